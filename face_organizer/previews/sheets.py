"""Contact sheets: faces in rows under headings, as one JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from face_organizer.files import printable, write_jpeg
from face_organizer.previews.thumbnails import SIDE
from face_organizer.types import Image

_COLUMNS = 8
_GAP, _MARGIN = 8, 24
_TITLE, _HEADING, _CAPTION = 34, 20, 14  # sizes of type, in pixels
_LINE = 17  # pixels from one line of a caption to the next
_PAPER, _INK, _FAINT = (250, 250, 248), (24, 26, 30), (104, 108, 116)


@dataclass(frozen=True, slots=True)
class Section:
    """Faces under one heading: (SIDE, SIDE, 3) RGB thumbnails, and a caption of a line or more for each."""

    heading: str
    pictures: Sequence[Image]
    captions: Sequence[str]


def contact_sheet(target: Path, title: str, subtitle: str, sections: Sequence[Section]) -> None:
    """Write a contact sheet as JPEG to `target`, replacing what is there."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    most = max((caption.count("\n") for s in sections for caption in s.captions), default=0)
    cell = SIDE + (most + 1) * _LINE + 2 * _GAP
    rows = [-(-len(s.pictures) // _COLUMNS) for s in sections]
    width = 2 * _MARGIN + _COLUMNS * (SIDE + _GAP) - _GAP
    height = 2 * _MARGIN + _TITLE + 4 * _GAP + _HEADING
    height += sum(_HEADING + 3 * _GAP + n * cell for n in rows)
    sheet = Pillow.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)

    def write(x: int, y: int, text: str, size: int, ink: tuple[int, int, int]) -> None:
        font = ImageFont.load_default(size)
        pen.text((x, y), _fitting(printable(text), font, width - _MARGIN - x), ink, font)

    write(_MARGIN, _MARGIN, title, _TITLE, _INK)
    y = _MARGIN + _TITLE + _GAP
    write(_MARGIN, y, subtitle, _HEADING - 2, _FAINT)
    y += _HEADING + 3 * _GAP
    for section, count in zip(sections, rows, strict=True):
        write(_MARGIN, y, section.heading, _HEADING, _INK)
        y += _HEADING + _GAP
        for i, (picture, caption) in enumerate(zip(section.pictures, section.captions, strict=True)):
            x = _MARGIN + i % _COLUMNS * (SIDE + _GAP)
            top = y + i // _COLUMNS * cell
            sheet.paste(Pillow.fromarray(picture), (x, top))
            font = ImageFont.load_default(_CAPTION)
            for n, line in enumerate(caption.split("\n")):
                pen.text((x, top + SIDE + 3 + n * _LINE), _fitting(printable(line), font, SIDE), _FAINT, font)
        y += count * cell + 2 * _GAP
    write_jpeg(target, sheet)


def _fitting(text: str, font: Any, width: float) -> str:
    """`text`, cut until it is no wider than `width` pixels; two thirds of what stays are its end: there names
    differ."""
    kept, shown = len(text), text
    while font.getlength(shown) > width and kept > 2:
        kept -= 1
        shown = f"{text[: kept // 3]}…{text[-(kept - kept // 3) :]}"
    return shown

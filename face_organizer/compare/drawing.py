"""A benchmark as a chart, and diagnosed pictures with what was found on them. Drawn with Pillow, which is
here anyway: matplotlib would be 60 MB more and a second to import."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from face_organizer.compare.trial import Seen, Trial
from face_organizer.errors import ImageError
from face_organizer.files import atomic_write, count, printable, write_jpeg
from face_organizer.media import images
from face_organizer.previews.sheets import Section, contact_sheet
from face_organizer.previews.thumbnails import Tile, thumbnails

PAPER, INK, FAINT, RULE = (250, 250, 248), (24, 26, 30), (104, 108, 116), (226, 226, 222)
OURS, THEIRS, BEST = (31, 96, 168), (196, 98, 16), (30, 132, 73)
COLOURS = (OURS, THEIRS, BEST, (150, 40, 140), (190, 30, 45), (0, 140, 150))
WIDTH = 1000
_NAME, _SPEED, _FOUND, _BAR, _LINE = 40, 300, 660, 240, 44  # pixels: columns, longest bar, height of a row


def plot(trials: Sequence[Trial], recommended: Trial | None, pictures: int, path: Path) -> None:
    """Draw a row per back end that ran: its speed and its share of `pictures` with a face; the `recommended`
    one is marked."""
    rows = [trial for trial in trials if trial.best_speed]
    sheet = Pillow.new("RGB", (WIDTH, 160 + _LINE * max(len(rows), 1)), PAPER)
    pen = ImageDraw.Draw(sheet)

    def write(x: float, y: float, text: str, size: int = 17, ink: tuple[int, int, int] = INK) -> None:
        pen.text((x, y), printable(text), ink, ImageFont.load_default(size), anchor="lm")

    write(_NAME, 42, f"Face detectors on {count(pictures, 'picture')}", 28)
    write(_SPEED, 96, "pictures per second (pale: many at once)", 15, FAINT)
    write(_FOUND, 96, "pictures with a face" if rows else "no back end ran", 15, FAINT)
    for i, row in enumerate(rows):
        y = 142 + _LINE * i
        pen.line((_NAME, y - _LINE / 2, WIDTH - _NAME, y - _LINE / 2), RULE)
        best = row is recommended
        ink = BEST if best else OURS if row.name.startswith("ours:") else THEIRS
        write(_NAME, y - 8 * best, row.name, 17, ink)
        write(_NAME, y + 12, "recommended" * best, 13, ink)
        fastest, share = max(trial.best_speed for trial in trials), row.found / len(row.looked)
        pale = tuple((value + 2 * 250) // 3 for value in ink)
        bars = [(_SPEED, row.best_speed / fastest, pale), (_SPEED, (row.speed or 0) / fastest, ink)]
        for x, part, colour in [*bars, (_FOUND, 1.0, RULE), (_FOUND, share, ink)]:
            pen.rectangle((x, y - 9, x + max(part * _BAR, 2), y + 9), fill=colour)
        write(_SPEED + row.best_speed / fastest * _BAR + 8, y, f"{row.best_speed:,.3g}", 15)
        write(_FOUND + _BAR + 8, y, f"{share:.0%}", 15)
    with atomic_write(path) as file:
        sheet.save(file, "PNG", optimize=True)


def annotate(picture: str, findings: Sequence[Seen], lines: Sequence[str], path: Path) -> None:
    """Write a picture with the boxes of `findings`, thin where only another setting finds the face, above
    `lines`, the last of which are one per finding."""
    try:
        pixels = images.read(picture)
    except ImageError:
        pixels = np.full((200, WIDTH, 3), 96, np.uint8)
    scale = WIDTH / pixels.shape[1]
    photo = Pillow.fromarray(pixels).resize((WIDTH, max(1, round(pixels.shape[0] * scale))))
    plain = len(lines) - len(findings)
    inks = [INK if i < plain else COLOURS[(i - plain) % len(COLOURS)] for i in range(len(lines))]
    text = [
        (part, ink)
        for line, ink in zip(lines, inks, strict=True)
        for part in textwrap.wrap(printable(line), 105)
    ]
    sheet = Pillow.new("RGB", (WIDTH, photo.height + 20 + 25 * len(text)), PAPER)
    sheet.paste(photo, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for i, finding in enumerate(findings):
        for found, width in [*((f, 1) for f in list(finding.tried.values())[:1]), (finding.found, 4)]:
            for box in found.faces.boxes * scale:
                pen.rectangle(tuple(box.tolist()), outline=COLOURS[i % len(COLOURS)], width=width)
    for n, (part, ink) in enumerate(text):
        pen.text((14, photo.height + 10 + 25 * n), part, ink, ImageFont.load_default(18))
    write_jpeg(path, sheet)


def summary(groups: Mapping[str, Sequence[str]], path: Path) -> None:
    """Write a sheet of pictures, by the heading of their group."""
    nowhere = np.full((5, 2), np.nan, np.float32)
    sections = [
        Section(
            f"{title} ({len(group)})",
            list(thumbnails([Tile(picture, nowhere) for picture in group])),
            [Path(picture).name for picture in group],
        )
        for title, group in groups.items()
        if group
    ]
    pictures = count(sum(len(group) for group in groups.values()), "picture")
    contact_sheet(path, "Diagnosis", pictures, sections)

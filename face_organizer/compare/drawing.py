"""A benchmark as a chart, and diagnosed pictures with what was found on them, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from face_organizer.compare.trial import Seen, Trial
from face_organizer.embed.setup import EmbedOptions
from face_organizer.errors import ImageError
from face_organizer.files import atomic_write, count, printable, write_jpeg
from face_organizer.previews.sheets import Section, contact_sheet
from face_organizer.previews.thumbnails import Tile, thumbnails

PAPER, INK, RULE = (250, 250, 248), (24, 26, 30), (226, 226, 222)
OURS, THEIRS, BEST = (31, 96, 168), (196, 98, 16), (30, 132, 73)
COLOURS = (OURS, THEIRS, BEST, (150, 40, 140), (190, 30, 45), (0, 140, 150))
WIDTH = 1000
FONT = ImageFont.load_default(16)
_NAME, _SPEED, _FOUND, _BAR, _LINE = 40, 300, 660, 240, 44  # pixels: columns, longest bar, height of a row


def plot(trials: Sequence[Trial], recommended: Trial | None, pictures: int, path: Path) -> None:
    """Draw a row per back end that ran: its speed and its share of `pictures` with a face; the `recommended`
    one is green."""
    rows = [trial for trial in trials if trial.speed]
    sheet = Pillow.new("RGB", (WIDTH, 160 + _LINE * max(len(rows), 1)), PAPER)
    pen = ImageDraw.Draw(sheet)

    def write(x: float, y: float, text: str, size: int = 16, ink: tuple[int, int, int] = INK) -> None:
        pen.text((x, y), printable(text), ink, ImageFont.load_default(size), anchor="lm")

    write(_NAME, 42, f"Face detectors on {count(pictures, 'picture')} (green: recommended)", 26)
    write(_SPEED, 96, "pictures per second")
    write(_FOUND, 96, "pictures with a face" if rows else "no back end ran")
    fastest = max((trial.speed or 0 for trial in rows), default=0)
    for n, row in enumerate(rows):
        y, speed = 142 + _LINE * n, row.speed or 0
        ink = BEST if row is recommended else OURS if row.name.startswith("ours:") else THEIRS
        for x, part, colour in ((_SPEED, speed / fastest, ink), (_FOUND, 1, RULE), (_FOUND, row.share, ink)):
            pen.rectangle((x, y - 9, x + max(part * _BAR, 2), y + 9), fill=colour)
        write(_NAME, y, row.name, ink=ink)
        write(_SPEED + speed / fastest * _BAR + 8, y, f"{speed:,.3g}")
        write(_FOUND + _BAR + 8, y, f"{row.share:.0%}")
    with atomic_write(path) as file:
        sheet.save(file, "PNG", optimize=True)


def draw(pictures: Mapping[str, Mapping[str, Seen]], folder: Path) -> None:
    """Write into `folder` each picture with what the back ends found on it, and `summary.jpg` of them all."""
    tiles, captions, nowhere = [], [], np.full((5, 2), np.nan, np.float32)
    for number, (picture, findings) in enumerate(pictures.items(), 1):
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(picture).stem)[:60]
        path = folder / f"{number:03d}_{stem}.jpg"
        write_jpeg(path, annotated(picture, findings))
        tiles.append(Tile(str(path), nowhere))
        found = sum(len(seen.found.faces) > 0 for seen in findings.values())
        captions.append(f"{found} of {len(findings)}: {path.name}")
    section = Section("Back ends that found a face", list(thumbnails(tiles)), captions)
    contact_sheet(folder / "summary.jpg", "Diagnosis", count(len(pictures), "picture"), [section])


def annotated(picture: str, findings: Mapping[str, Seen]) -> Pillow.Image:
    """A picture with what each back end found, in a colour of its own, and thin what the surest other setting
    found more."""
    try:
        pixels = EmbedOptions().open(picture).pixels()[0]
    except ImageError:
        pixels = np.full((200, WIDTH, 3), 96, np.uint8)
    scale = WIDTH / max(pixels.shape)
    sheet = Pillow.fromarray(pixels).resize([max(1, round(side * scale)) for side in pixels.shape[1::-1]])
    pen = ImageDraw.Draw(sheet)
    for n, (name, seen) in enumerate(findings.items()):
        ink, looks = COLOURS[n % len(COLOURS)], [(name, seen.found, 4)]
        looks += [(f"{name} {setting}", found, 1) for setting, found in list(seen.tried.items())[:1]]
        for label, found, width in looks:
            for box, score in zip((found.faces.boxes * scale).tolist(), found.faces.scores, strict=True):
                pen.rectangle(box, outline=ink, width=width)
                x, y = np.maximum(box[:2], 0)
                text = f"{label} {score:.2f}".removesuffix(" nan")
                pen.text((x + 6, y + 4 + 20 * n), text, ink, FONT, stroke_width=2, stroke_fill=PAPER)
    return sheet

"""Speed against detection as a picture: one dot a back end, the recommended one marked. Drawn with Pillow,
which is here anyway: matplotlib would be 60 MB more and a second to import for one chart."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from face_organizer.compare.figures import Row
from face_organizer.files import atomic_write

WIDTH, HEIGHT = 1200, 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 60, 120, 130
_PAPER, _INK, _FAINT, _GRID = (250, 250, 248), (24, 26, 30), (104, 108, 116), (226, 226, 222)
_OURS, _THEIRS, _BEST = (31, 96, 168), (196, 98, 16), (30, 132, 73)
_TITLE, _TEXT, _SMALL = 30, 19, 16
_DOT = 9
_TIGHTEST, _LINE = 300, 24  # pixels: how far a label reaches to its side, how high it is


def plot(target: Path, rows: Sequence[Row], recommended: str, title: str) -> None:
    """Write the chart as PNG to `target`, replacing what is there."""
    picture = drawn(rows, recommended, title)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    with atomic_write(target) as file:
        file.write(buffer.getvalue())


def drawn(rows: Sequence[Row], recommended: str, title: str) -> Any:
    """The chart as a Pillow image."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    ran = sorted((row for row in rows if row.ran and row.best_speed), key=lambda row: -row.best_speed)
    lost = [f"{row.name} ({row.state})" for row in rows if not row.ran]
    picture = Pillow.new("RGB", (WIDTH, HEIGHT), _PAPER)
    pen = ImageDraw.Draw(picture)

    def write(x: float, y: float, text: str, size: int = _TEXT, ink: Any = _INK, anchor: str = "la") -> None:
        pen.text((x, y), text, ink, ImageFont.load_default(size), anchor=anchor)

    write(_LEFT, 26, title, _TITLE)
    write(_LEFT, 68, "Up: finds a face in more pictures. Right: faster.", _SMALL, _FAINT)
    x: float = WIDTH - _RIGHT
    for text, ink in (("DeepFace", _THEIRS), ("ours", _OURS), ("recommended", _BEST)):
        x -= pen.textlength(text, ImageFont.load_default(_SMALL)) + 34
        pen.ellipse((x, 70, x + 14, 84), fill=ink)
        write(x + 20, 68, text, _SMALL)
    low, high = _decades([row.best_speed for row in ran])
    span = math.log10(high / low)

    def place(row: Row) -> tuple[float, float]:
        share = row.found / row.pictures
        return (
            _LEFT + math.log10(row.best_speed / low) / span * (WIDTH - _LEFT - _RIGHT),
            HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM),
        )

    for percent in range(0, 101, 20):
        height = HEIGHT - _BOTTOM - percent / 100 * (HEIGHT - _TOP - _BOTTOM)
        pen.line((_LEFT, height, WIDTH - _RIGHT, height), _GRID)
        write(_LEFT - 12, height, f"{percent} %", _SMALL, _FAINT, "rm")
    tick: float = low
    while tick <= high * 1.001:
        x = _LEFT + math.log10(tick / low) / span * (WIDTH - _LEFT - _RIGHT)
        pen.line((x, _TOP, x, HEIGHT - _BOTTOM), _GRID)
        write(x, HEIGHT - _BOTTOM + 10, f"{tick:g}", _SMALL, _FAINT, "ma")
        tick *= 10
    write((WIDTH + _LEFT) / 2, HEIGHT - _BOTTOM + 36, "pictures a second", _TEXT, _FAINT, "ma")
    taken: list[tuple[float, float]] = []
    for row in ran:
        ink = _BEST if row.name == recommended else _OURS if row.name.startswith("ours:") else _THEIRS
        x, y = place(row)
        size = _DOT + 4 * (row.name == recommended)
        pen.ellipse((x - size, y - size, x + size, y + size), fill=ink)
        left = x > WIDTH - _RIGHT - _TIGHTEST
        label = y
        while any(abs(label - b) < _LINE and abs(x - a) < _TIGHTEST for a, b in taken):
            label += _LINE
        taken.append((x, label))
        text = f"{row.name}  {row.found / row.pictures:.0%}, {_figure(row.best_speed)}/s"
        write(x + (-18 if left else 18), label, text, _TEXT, ink, "rm" if left else "lm")
    if not ran:
        write(WIDTH / 2, HEIGHT / 2, "No back end ran.", _TITLE, _FAINT, "mm")
    if lost:
        font = ImageFont.load_default(_SMALL)
        shown, rest = list(lost), ""
        while pen.textlength(", ".join(shown) + rest, font) > WIDTH - _LEFT - _RIGHT - 110 and shown:
            shown.pop()
            rest = f" and {len(lost) - len(shown)} more"
        write(_LEFT, HEIGHT - 40, "Did not run: " + ", ".join(shown) + rest, _SMALL, _FAINT)
    return picture


def _figure(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"


def _decades(speeds: Sequence[float]) -> tuple[float, float]:
    """Powers of ten around all speeds, at least one apart."""
    low = 10 ** math.floor(math.log10(min(speeds, default=1.0)))
    high = 10 ** math.ceil(math.log10(max(speeds, default=1.0)))
    return low, max(high, low * 10)

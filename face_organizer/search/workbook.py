"""`report.xlsx`: what was found, to hand over. Written row by row, so that memory does not grow with it."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from face_organizer.files import atomic_write, clock, count, jpeg, printable
from face_organizer.previews.thumbnails import thumbnails
from face_organizer.search.match import CONFIDENCE
from face_organizer.search.pictures import tile
from face_organizer.search.report import COLUMNS, CSV, MATCH, XLSX, Report, folder_of

ROWS = 1_048_576
"""Of a sheet, by the format: https://support.microsoft.com/office (Excel specifications and limits)."""
_LINKS = 65_530  # of a sheet, by the same page
_LONGEST = 32_767  # characters of a cell
_SIDE = 64  # pixels of a thumbnail

_FACES = ("thumbnail", "photo", *(name for name in COLUMNS if name not in ("verdict", "placed")))
_PHOTOS = ("photo", "persons", "for_review", "source")
_WIDE = {"photo": 28, "persons": 28, "for_review": 28, "reason": 28, "source": 60}
_COSINE = {"num_format": "0.000"}
_FORMATS: dict[str, dict[str, Any]] = {
    "photo": {"font_color": "#1155CC", "underline": 1},
    "similarity": _COSINE,
    "best_reference": _COSINE,
    "chance": {"num_format": "0.0E+00"},
}
_CELL = {"valign": "vcenter", "align": "left"}
_HEADING = {"bold": True, "bg_color": "#E8E8E4", "bottom": 1, "text_wrap": True, "valign": "top"}


def write(folder: Path, report: Report, pictures: int, on_problem: Callable[[str, str], object]) -> None:
    """Write the workbook, with thumbnails of the first `pictures` faces of the sheets Matches and Review.

    `on_problem` hears, by name and why, of a sheet that cannot hold all rows.
    """
    import xlsxwriter

    matches = sum(len(one.matches) for one in report.persons)
    with (
        atomic_write(folder / XLSX) as file,
        xlsxwriter.Workbook(file, {"constant_memory": True, "nan_inf_to_errors": True}) as book,
    ):
        for name, columns, lines in (
            ("Matches", _FACES, _faces(report, True, pictures, folder)),
            ("Review", _FACES, _faces(report, False, max(pictures - matches, 0), folder)),
            ("Photos", _PHOTOS, _photos(report)),
        ):
            if rest := _table(book, name, columns, lines):
                on_problem(XLSX, f"its sheet {name} is full; {rest}")
        _settings(book, report)


def _table(book: Any, name: str, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """A sheet with a row per line and filters over them. In words, which also stand in its last row, what it
    could not hold; empty if it holds everything."""
    sheet = _sheet(book, name, [_WIDE.get(column, 12) for column in columns])
    sheet.repeat_rows(0)
    heading = book.add_format(_HEADING)
    formats = [book.add_format(_CELL | _FORMATS.get(column, {})) for column in columns]
    sheet.set_row_pixels(0, 34)  # two lines
    for i, column in enumerate(columns):
        _value(sheet, 0, i, column.replace("_", " "), heading)
    row = 0
    for row, line in enumerate(lines, 1):
        if row < ROWS - 1:
            for i, column in enumerate(columns):
                write = _WRITERS.get(column) or _value
                write(sheet, row, i, line[column], formats[i])
    written = min(row, ROWS - 2)
    sheet.autofilter(0, 0, max(written, 1), len(columns) - 1)
    if row == written:
        return ""
    rest = f"what follows ({count(row - written, 'row')}) stands only in {CSV}"
    _value(sheet, ROWS - 1, 0, rest, None)
    return rest


def _sheet(book: Any, name: str, widths: Sequence[int]) -> Any:
    """A new sheet with a heading that stays in view; printed, it is one page wide."""
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    for i, width in enumerate(widths):
        sheet.set_column(i, i, width)
    return sheet


def _value(sheet: Any, row: int, column: int, value: str | float | None, style: Any) -> None:
    # Not `write`: a name that looks like a formula, a number or a link is a text, whatever it says.
    if isinstance(value, str):
        sheet.write_string(row, column, _cell(value), style)
    elif value is not None:
        sheet.write_number(row, column, value, style)


def _cell(text: str) -> str:
    """`text` as a cell may hold it: lone surrogates and control characters escaped, not too long."""
    return (text if text.isprintable() else printable(text))[:_LONGEST]


def _link(sheet: Any, row: int, column: int, link: tuple[str, str], style: Any) -> None:
    """The name of a photo, leading there while the format allows for more links."""
    target, text = link
    if row > _LINKS or len(target) > 2000:
        _value(sheet, row, column, text, None)
    else:
        sheet.write_url(row, column, target, style, _cell(text)[:255])


def _picture(sheet: Any, row: int, column: int, pixels: Any, style: Any) -> None:
    if pixels is not None:
        sheet.set_row_pixels(row, _SIDE + 6)
        options = {"image_data": io.BytesIO(jpeg(pixels, 80)), "x_offset": 3, "y_offset": 3}
        sheet.insert_image(row, column, f"{row}.jpg", options)


_WRITERS: dict[str, Callable[[Any, int, int, Any, Any], None]] = {"thumbnail": _picture, "photo": _link}
"""How a column is written that holds more than a text or a number."""


def _faces(report: Report, match: bool, pictures: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of the report that are a match, or not, with links, the first `pictures` with thumbnails."""
    positions = ((one, at) for one in report.persons for at in np.flatnonzero(one.is_match == match).tolist())
    tiles = [tile(report, one, at, folder) for one, at in islice(positions, pictures)]
    shown = thumbnails(tiles, side=_SIDE)
    for line in report.rows():
        if (line["verdict"] == MATCH) == match:
            photo = _target(line["source"], line["placed"])
            yield {**line, "thumbnail": next(shown, None), "photo": photo}


def _photos(report: Report) -> Iterator[dict[str, Any]]:
    """A row per photo on which somebody was found, with all persons on it."""
    on: dict[str, dict[bool, list[str]]] = defaultdict(lambda: {True: [], False: []})
    for one in report.persons:
        for path, match in one.photos().items():
            on[path][match].append(one.name)
    for path in sorted(on, key=os.fsencode):
        places = [(path, folder_of(name, match)) for match, names in on[path].items() for name in names]
        placed = next((report.placed[place] for place in places if place in report.placed), "")
        sure, doubtful = (", ".join(names) for names in on[path].values())
        yield {"photo": _target(path, placed), "persons": sure, "for_review": doubtful, "source": path}


def _target(source: str, placed: str) -> tuple[str, str]:
    """Where a photo lies now, relative to the workbook if it was placed, and its name."""
    where = quote(os.fsencode(placed or source), safe="/ " if placed else "/")
    return f"{'external:' if placed else 'file://'}{where}", os.path.basename(source)


def _settings(book: Any, report: Report) -> None:
    """All that reproduces the run, the persons' thresholds and references, and what the words mean."""
    summary = report.summary()
    lines: list[tuple[Any, ...]] = [("Settings",), *summary["settings"].items(), ("",)]
    lines += [("Table searched",), *summary["table"].items(), ("",)]
    for person in summary["persons"]:
        name, references, videos = (person.pop(key) for key in ("name", "references", "videos"))
        lines += [(f"Person {name}",), *person.items()]
        for one in references:
            lines.append(
                ("reference", one["source"], "used" if one["used"] else f"left out: {one['reason']}")
            )
        for one in videos:
            seen = ", ".join(f"{clock(start)} to {clock(end)}" for start, end in one["seconds"])
            lines.append(("video", one["source"], seen))
        lines.append(("",))
    lines.append(("Confidence, in numbers",))
    for word, most in CONFIDENCE:
        meaning = f"up to {most:.0e} of other people's faces come as near" if most < 1 else "more than that"
        lines.append((word, meaning))
    lines.append(("similarity", "cosine to the mean of the references, -1 to 1, larger is closer"))
    sheet = _sheet(book, "Settings", (26, 60, 60))
    bold, left = book.add_format({"bold": True}), book.add_format(_CELL)
    for row, line in enumerate(lines):
        for column, value in enumerate(line):
            _value(sheet, row, column, _words(value), bold if len(line) == 1 else left)


def _words(value: Any) -> Any:
    """A setting as a cell: texts and numbers as they are, all else in words."""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value)) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else value

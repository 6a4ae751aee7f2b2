"""`report.xlsx`: what was found, to hand over. Written row by row, so that memory does not grow with it."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_WIDTHS = {
    "thumbnail": 10,
    "person": 16,
    "photo": 28,
    "persons": 28,
    "for_review": 28,
    "reason": 28,
    "source": 60,
}
_FORMATS: dict[str, dict[str, Any]] = {
    "photo": {"font_color": "#1155CC", "underline": 1},
    "similarity": {"num_format": "0.000"},
    "best_reference": {"num_format": "0.000"},
    "chance": {"num_format": "0.0E+00"},
}
_HEADING = {"bold": True, "bg_color": "#E8E8E4", "bottom": 1, "text_wrap": True, "valign": "top"}


def write(folder: Path, report: Report, pictures: int, on_problem: Callable[[str, str], object]) -> None:
    """Write the workbook, with thumbnails of the first `pictures` faces of the sheets Matches and Review.

    `on_problem` hears, by name and why, of a sheet that cannot hold all rows.
    """
    import xlsxwriter

    # A name that looks like a formula, a number or a link is a text here, whatever it says.
    options = {"constant_memory": True, "nan_inf_to_errors": True}
    with atomic_write(folder / XLSX) as file, xlsxwriter.Workbook(file, options) as book:
        matches, review = _Sheet(book, "Matches", _FACES), _Sheet(book, "Review", _FACES)
        photos = _Sheet(book, "Photos", _PHOTOS)
        for line in _faces(report, pictures, folder):
            (matches if line["verdict"] == MATCH else review).add(line)
        for line in _photos(report):
            photos.add(line)
        for sheet in (matches, review, photos):
            if left := sheet.close():
                on_problem(XLSX, f"its sheet {sheet.name} is full; {left}")
        _settings(book, report)


class _Sheet:
    """A table under a heading, with filters. Its last row says how much the sheet could not hold."""

    def __init__(self, book: Any, name: str, columns: Sequence[str]) -> None:
        self.name, self._columns, self._rows = name, columns, 0
        self._sheet = _sheet(book, name, [_WIDTHS.get(column, 12) for column in columns])
        self._sheet.repeat_rows(0)
        self._styles = [book.add_format({"valign": "vcenter", **_FORMATS.get(c, {})}) for c in columns]
        self._plain, heading = book.add_format({"valign": "vcenter"}), book.add_format(_HEADING)
        for i, column in enumerate(columns):
            _put(self._sheet, 0, i, column.replace("_", " "), heading)
        write: dict[str, Callable[[int, Any, Any], None]] = {"thumbnail": self._picture, "photo": self._link}
        self._write = [write.get(column) or self._value for column in columns]

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a row, whose cells are found in `line` by column."""
        self._rows += 1
        if self._rows < ROWS - 1:
            for i, column in enumerate(self._columns):
                self._write[i](i, line[column], self._styles[i])

    def close(self) -> str:
        """Put filters over the rows. In words, what did not fit in; empty if everything did."""
        written = min(self._rows, ROWS - 2)
        self._sheet.autofilter(0, 0, max(written, 1), len(self._columns) - 1)
        if written == self._rows:
            return ""
        words = f"what follows ({count(self._rows - written, 'row')}) stands only in {CSV}"
        _put(self._sheet, ROWS - 1, 0, words)
        return words

    def _value(self, column: int, value: str | float | None, style: Any) -> None:
        _put(self._sheet, self._rows, column, value, style)

    def _link(self, column: int, link: tuple[str, str], style: Any) -> None:
        """The name of a photo, leading there while the format allows for more links."""
        target, text = link
        if self._rows > _LINKS or len(target) > 2000:
            self._value(column, text, self._plain)
        else:
            self._sheet.write_url(self._rows, column, target, style, _cell(text)[:255])

    def _picture(self, column: int, picture: bytes | None, style: Any) -> None:
        if picture:
            self._sheet.set_row_pixels(self._rows, _SIDE + 6)
            place = {"image_data": io.BytesIO(picture), "x_offset": 3, "y_offset": 3}
            self._sheet.insert_image(self._rows, column, f"{self._rows}.jpg", place)


def _sheet(book: Any, name: str, widths: Sequence[int]) -> Any:
    """A new sheet with a heading that stays in view; printed, it is one page wide."""
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    for i, width in enumerate(widths):
        sheet.set_column(i, i, width)
    return sheet


def _put(sheet: Any, row: int, column: int, value: str | float | None, style: Any = None) -> None:
    # Not `write`: a name that looks like a formula, a number or a link is a text, whatever it says.
    if isinstance(value, str):
        sheet.write_string(row, column, _cell(value), style)
    elif value is not None:
        sheet.write_number(row, column, value, style)


def _cell(text: str) -> str:
    """`text` as a cell may hold it: lone surrogates and control characters escaped, not too long."""
    return (text if text.isprintable() else printable(text))[:_LONGEST]


def _faces(report: Report, pictures: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of the report with links and thumbnails: of the first `pictures` faces, matches first."""
    is_match = np.concatenate([one.is_match for one in report.persons])
    shown = np.sort(np.argsort(~is_match, kind="stable")[:pictures]).tolist()
    ends = np.cumsum([len(one.rows) for one in report.persons])
    owners = np.searchsorted(ends, shown, "right")
    persons = [report.persons[owner] for owner in owners]
    starts = [ends[owner] - len(one.rows) for owner, one in zip(owners, persons, strict=True)]
    tiles = [
        tile(report, one, i - start, folder) for one, start, i in zip(persons, starts, shown, strict=True)
    ]
    small, with_picture = thumbnails(tiles, side=_SIDE), set(shown)
    for i, line in enumerate(report.rows()):
        picture = jpeg(next(small), 80) if i in with_picture else None
        yield {**line, "thumbnail": picture, "photo": _link(line["source"], line["placed"])}


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
        yield {"photo": _link(path, placed), "persons": sure, "for_review": doubtful, "source": path}


def _link(source: str, placed: str) -> tuple[str, str]:
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
    bold, left = book.add_format({"bold": True}), book.add_format({"align": "left"})
    for row, line in enumerate(lines):
        for column, value in enumerate(line):
            _put(sheet, row, column, _words(value), bold if len(line) == 1 else left)


def _words(value: Any) -> Any:
    """A setting as a cell: texts and numbers as they are, all else in words."""
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value)) or "–"
    words: dict[Any, str] = {None: "–", True: "yes", False: "no"}
    return words[value] if value is None or isinstance(value, bool) else value

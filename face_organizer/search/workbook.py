"""`report.xlsx`: what was found, to hand over. Written row by row, so that memory does not grow with it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from face_organizer.files import atomic_write, printable
from face_organizer.previews.thumbnails import thumbnails
from face_organizer.search import report
from face_organizer.search.match import Found, photos
from face_organizer.types import Outcome

ROWS = 1_048_576
"""Of a sheet, by the format: https://support.microsoft.com/office (Excel specifications and limits)."""
_LINKS = 65_530  # of a sheet, by the same page
_LONGEST = 32_767  # characters of a cell
_SIDE = 64  # pixels of a thumbnail
_WIDTHS = {"thumbnail": 10, "photo": 28, "source": 60, "reason": 28, "person": 16, "placed": 36}
_FACE_COLUMNS = (
    "thumbnail",
    "person",
    "photo",
    "confidence",
    "similarity",
    "best_reference",
    "references_agree",
    "chance",
    "reason",
    "face_index",
    "source",
)


def write(
    path: Path, result: report.Result, *, pictures: int, on_step: Callable[[], object] = lambda: None
) -> None:
    """Write the workbook, with thumbnails of the first `pictures` faces of the sheets Matches and Review."""
    import xlsxwriter

    # A name that looks like a formula, a number or a link is a text here, whatever it says.
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
    }
    with atomic_write(path) as file:
        book = xlsxwriter.Workbook(file, options)
        styles = _Styles(book)
        left = _faces(book, styles, "Matches", result, path.parent, True, pictures)
        _faces(book, styles, "Review", result, path.parent, False, left)
        on_step()
        _photos(book, styles, result, path.parent)
        _all_photos(book, styles, result)
        on_step()
        _settings(book, styles, result)
        book.close()


class _Styles:
    def __init__(self, book: Any) -> None:
        self.head = book.add_format(
            {"bold": True, "bg_color": "#E8E8E4", "bottom": 1, "text_wrap": True, "valign": "top"}
        )
        self.plain = book.add_format({"valign": "vcenter"})
        self.link = book.add_format({"valign": "vcenter", "font_color": "#1155CC", "underline": 1})
        self.number = book.add_format({"valign": "vcenter", "num_format": "0.000"})
        self.tiny = book.add_format({"valign": "vcenter", "num_format": "0.0E+00"})
        self.bold = book.add_format({"bold": True})


class _Sheet:
    """A table that goes on in `NAME 2`, `NAME 3` … where one sheet is full."""

    def __init__(self, book: Any, styles: _Styles, name: str, columns: Sequence[str], most: int = ROWS):
        self._book, self._styles, self._name, self._columns, self._most = book, styles, name, columns, most
        self._number = self._links = 0
        self._open()

    def _open(self) -> None:
        self._number += 1
        title = self._name if self._number == 1 else f"{self._name} {self._number}"
        self.sheet = self._book.add_worksheet(title)
        self.sheet.freeze_panes(1, 0)
        for i, column in enumerate(self._columns):
            self.sheet.set_column(i, i, _WIDTHS.get(column, 12))
            self.sheet.write_string(0, i, _cell(column.replace("_", " ")), self._styles.head)
        self.at = 1
        self._links = 0

    def next(self) -> int:
        """The row to write now."""
        if self.at >= self._most:
            self.close()
            self._open()
        self.at += 1
        return self.at - 1

    def link(self, row: int, column: int, target: str, text: str) -> None:
        """`text`, leading to a file while the format allows for more links."""
        self._links += 1
        if self._links > _LINKS or len(target) > 2000:
            self.sheet.write_string(row, column, _cell(text), self._styles.plain)
        else:
            self.sheet.write_url(row, column, target, self._styles.link, _cell(text)[:255])

    def close(self) -> None:
        """Filters over all that was written."""
        self.sheet.autofilter(0, 0, max(self.at - 1, 1), len(self._columns) - 1)


def _faces(
    book: Any, styles: _Styles, name: str, result: report.Result, folder: Path, matches: bool, pictures: int
) -> int:
    """A row a face; how many thumbnails are left."""
    made = _Sheet(book, styles, name, _FACE_COLUMNS)
    for one in result.found:
        positions = np.flatnonzero(one.is_match == matches)
        shown = _pictures(result, one, positions[:pictures], folder)
        pictures -= min(len(positions), pictures)
        wanted = set(positions.tolist())
        for at, (_, line) in enumerate(report.rows(result, one)):
            if at not in wanted:
                continue
            row, sheet = made.next(), made.sheet
            picture = next(shown, None)
            if picture:
                sheet.set_row_pixels(row, _SIDE + 6)
                sheet.insert_image(
                    row, 0, f"{row}.jpg", {"image_data": picture, "x_offset": 3, "y_offset": 3}
                )
            for i, column in enumerate(_FACE_COLUMNS):
                if column == "photo":
                    made.link(row, i, _target(line), os.path.basename(line["source"]))
                elif column == "chance":
                    sheet.write_number(row, i, line[column], styles.tiny)
                elif column in ("similarity", "best_reference"):
                    sheet.write_number(row, i, line[column], styles.number)
                elif column == "face_index":
                    sheet.write_number(row, i, line[column], styles.plain)
                elif column != "thumbnail":
                    sheet.write_string(row, i, _cell(line[column]), styles.plain)
    made.close()
    return pictures


def _pictures(result: report.Result, found: Found, positions: Any, folder: Path) -> Iterator[io.BytesIO]:
    from PIL import Image as Pillow

    tiles = [report.tile(result, found, int(at), folder) for at in positions]
    for pixels in thumbnails(tiles, side=_SIDE):
        buffer = io.BytesIO()
        Pillow.fromarray(pixels).save(buffer, "JPEG", quality=80)
        yield buffer


def _target(line: dict[str, Any]) -> str:
    """A link to the photo where it was placed, relative to the workbook, else to the original."""
    if line["placed"]:
        return "external:" + quote(os.fsencode(line["placed"]), safe="/ ")
    return "file://" + quote(os.fsencode(line["source"]))


def _photos(book: Any, styles: _Styles, result: report.Result, folder: Path) -> None:
    """A row a photo on which somebody was found, with all persons on it."""
    on_photo: dict[int, list[list[str]]] = {}
    for one in result.found:
        for file, (_, match) in photos(result.table, one).items():
            on_photo.setdefault(file, [[], []])[0 if match else 1].append(one.profile.name)
    made = _Sheet(book, styles, "Photos", ("photo", "persons", "for_review", "source"))
    for file in sorted(on_photo):
        path = result.table.files.path[file]
        sure, doubtful = on_photo[file]
        names = [(n, True) for n in sure] + [(n, False) for n in doubtful]
        placed = next((p for n, m in names if (p := result.placed.get((path, report.folder_of(n, m))))), "")
        row = made.next()
        made.link(row, 0, _target({"placed": placed, "source": path}), os.path.basename(path))
        made.sheet.write_string(row, 1, _cell(", ".join(sure)), styles.plain)
        made.sheet.write_string(row, 2, _cell(", ".join(doubtful)), styles.plain)
        made.sheet.write_string(row, 3, _cell(path), styles.plain)
    made.close()


def _all_photos(book: Any, styles: _Styles, result: report.Result) -> None:
    """A row a photo of the table: what became of it, and for each person yes, review or no."""
    made = _Sheet(book, styles, "All photos", ("source", "outcome", "faces", *result.names))
    files = result.table.files
    counts = np.bincount(result.table.faces.file_index, minlength=len(files)).tolist()
    outcomes = [Outcome(o).label.replace("_", " ") for o in range(len(Outcome))]
    words = np.zeros((len(files), len(result.found)), np.int8)
    for i, one in enumerate(result.found):
        for file, (_, match) in photos(result.table, one).items():
            words[file, i] = 1 if match else 2
    labels = ("no", "yes", report.REVIEW)
    for path, outcome, count, found in zip(
        files.path, files.outcome.tolist(), counts, words.tolist(), strict=True
    ):
        row, sheet = made.next(), made.sheet
        sheet.write_string(row, 0, _cell(path))
        sheet.write_string(row, 1, outcomes[outcome])
        sheet.write_number(row, 2, count)
        for i, word in enumerate(found, 3):
            sheet.write_string(row, i, labels[word])
    made.close()


def _settings(book: Any, styles: _Styles, result: report.Result) -> None:
    """All that reproduces the run, the persons' thresholds and references, and what the words mean."""
    sheet = book.add_worksheet("Settings")
    sheet.set_column(0, 0, 26)
    sheet.set_column(1, 3, 60)
    lines: list[tuple[Any, ...]] = [("Settings",), *result.settings.items(), ("",), ("Table searched",)]
    lines += [*report.of_table(result.table).items(), ("",)]
    for person in report.persons(result):
        lines.append((f"Person {person['name']}",))
        lines += [(k, v) for k, v in person.items() if k not in ("name", "references")]
        lines += [
            ("reference", r["source"], "used" if r["used"] else f"left out: {r['reason']}")
            for r in person["references"]
        ]
        lines.append(("",))
    lines += [("Confidence, in numbers",), *report.confidence_in_words()]
    lines.append(("similarity", "cosine to the mean of the references, -1 to 1, larger is closer"))
    for row, line in enumerate(lines):
        for column, value in enumerate(line):
            style = styles.bold if len(line) == 1 else None
            if isinstance(value, int | float) and not isinstance(value, bool):
                sheet.write_number(row, column, value, style)
            else:
                sheet.write_string(row, column, _cell(_words(value)), style)
    sheet.freeze_panes(1, 0)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return {True: "yes", False: "no", None: "–"}.get(value, value) if not isinstance(value, str) else value


def _cell(text: str) -> str:
    """`text` as a cell may hold it: lone surrogates and control characters escaped, not too long."""
    return (text if text.isprintable() else printable(text))[:_LONGEST]

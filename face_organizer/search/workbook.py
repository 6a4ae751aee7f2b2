"""A workbook to hand over, written row by row, so that memory does not grow with it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from face_organizer.files import atomic_write, jpeg, printable

ROWS = 1_048_576
"""Of a sheet, by the format: https://support.microsoft.com/office (Excel specifications and limits)."""
SIDE = 64
"""Pixels of a thumbnail."""
_LINKS = 65_530  # of a sheet, by the same page
_WIDE = {"photo": 28, "persons": 28, "for_review": 28, "reason": 28, "setting": 28, "source": 60, "value": 60}
_CELL = {"valign": "vcenter", "align": "left"}
_LINK = _CELL | {"font_color": "#1155CC", "underline": 1}
_HEADING = {"bold": True, "bg_color": "#E8E8E4", "bottom": 1, "text_wrap": True, "valign": "top"}
# A name that looks like a formula, a number or a link is a text, whatever it says.
_OPTIONS = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}

Sheets = Mapping[str, tuple[Sequence[str], Iterable[Mapping[str, Any]]]]
"""Name → columns, and rows: texts, numbers, None; thumbnails, (SIDE, SIDE, 3) RGB; (source, where it was put,
or empty) of a photo, which becomes a link to where it lies now."""


def write(path: Path, sheets: Sheets) -> list[str]:
    """Write a workbook; give the names of the sheets that could not hold all of their rows."""
    import xlsxwriter

    with atomic_write(path) as file, xlsxwriter.Workbook(file, _OPTIONS) as book:
        return [name for name, sheet in sheets.items() if not _write(book, name, *sheet)]


def _write(book: Any, name: str, columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> bool:
    """A sheet with a row per line and filters over them; printed, it is one page wide. Whether it could hold
    them all: if not, its last row says so."""
    sheet, cell, blue = book.add_worksheet(name), book.add_format(_CELL), book.add_format(_LINK)
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    for i, column in enumerate(columns):
        sheet.set_column(i, i, _WIDE.get(column, 12), cell)
    sheet.write_row(0, 0, [column.replace("_", " ") for column in columns], book.add_format(_HEADING))
    row = 0
    for row, line in enumerate(lines, 1):
        if row < ROWS - 1:
            for i, column in enumerate(columns):
                _put(sheet, row, i, line[column], blue)
    written = min(row, ROWS - 2)
    sheet.autofilter(0, 0, max(written, 1), len(columns) - 1)
    if row > written:
        sheet.write(ROWS - 1, 0, f"{row - written:,} more do not fit; all of them are in report.csv")
    return row == written


def _put(sheet: Any, row: int, column: int, value: Any, blue: Any) -> None:
    if isinstance(value, np.ndarray):
        sheet.set_row_pixels(row, SIDE + 6)
        picture = {"image_data": io.BytesIO(jpeg(value, 80)), "x_offset": 3, "y_offset": 3}
        sheet.insert_image(row, column, f"{row}.jpg", picture)
    elif isinstance(value, tuple):
        source, placed = value
        where = quote(os.fsencode(placed or source), safe="/ " if placed else "/")
        target, name = ("external:" if placed else "file://") + where, _cell(os.path.basename(source))
        if row > _LINKS or len(target) > 2000:
            sheet.write(row, column, name)
        else:
            sheet.write_url(row, column, target, blue, name[:255])
    else:
        sheet.write(row, column, _cell(value))


def _cell(value: Any) -> Any:
    """`value` as a cell may hold it: control characters and lone surrogates escaped."""
    text = str(value) if isinstance(value, bool | list) else value
    return printable(text) if isinstance(text, str) and not text.isprintable() else text

"""A workbook to hand over, written row by row, so that memory does not grow with it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from face_organizer.files import atomic_write, jpeg, printable
from face_organizer.library.answers import RIGHT

ROWS = 1_048_576
"""Of a sheet, by the format: https://support.microsoft.com/office (Excel specifications and limits)."""
SIDE, LARGE = 64, 96
"""Pixels of a thumbnail, and of a portrait."""
_LINKS = 65_530  # of a sheet, by the same page
_WIDE = {"portrait": 15, "name": 40, "photo": 56, "person": 22, "at": 8, "source": 60, "value": 60}
_WIDE |= dict.fromkeys(("persons", "for_review", "why", "setting"), 28)
_CELL: dict[str, Any] = {"valign": "vcenter", "align": "left"}
_HEADING = {"bold": True, "bg_color": "#E8E8E4", "bottom": 1, "text_wrap": True, "valign": "top"}
_LOOKS: dict[str, dict[str, Any]] = {
    "": {},
    "link": {"font_color": "#1155CC", "underline": 1},
    "sure": {"bg_color": "#C6EFCE", "font_color": "#0B5B16"},
    "likely": {"bg_color": "#FFF2B3", "font_color": "#6B5200"},
    "look": {"bg_color": "#FFDCC2", "font_color": "#8A3300"},
}
"""Of cells: plain ones, links, and words that stand out."""
_CHOICE = {"validate": "list", "source": ["yes", "no"]}
# A name that looks like a formula, a number or a link is a text, whatever it says.
_OPTIONS = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}


class Word(str):
    """A word that stands out: sure, likely or look."""


class Sheet(NamedTuple):
    """Columns and rows: texts, numbers, None; thumbnails, (n, n, 3) RGB; (text, path), absolute or from the
    workbook's folder, which becomes a link. `technical` columns come last, folded away, and a sheet with no
    others too; `above` are lines of text over the headings."""

    columns: Sequence[str]
    lines: Iterable[Mapping[str, Any]]
    technical: Sequence[str] = ()
    above: Sequence[str] = ()


def write(path: Path, sheets: Mapping[str, Sheet]) -> list[str]:
    """Write a workbook; give the names of the sheets that could not hold all of their rows."""
    import xlsxwriter

    with atomic_write(path) as file, xlsxwriter.Workbook(file, _OPTIONS) as book:
        formats = {name: book.add_format(_CELL | look) for name, look in _LOOKS.items()}
        return [name for name, sheet in sheets.items() if not _write(book, name, sheet, formats)]


def _write(book: Any, name: str, content: Sheet, formats: Mapping[str, Any]) -> bool:
    """A sheet with a row per line and filters over them; printed, it is one page wide. Whether it could hold
    them all: if not, its last row says so."""
    sheet, columns, top = book.add_worksheet(name), [*content.columns, *content.technical], len(content.above)
    sheet.freeze_panes(top + 1, 0)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(top)
    sheet.set_footer("&L&A&R&P / &N")
    if not content.columns:
        sheet.hide()
    for i, column in enumerate(columns):
        folded = {"hidden": True, "level": 1} if 0 < len(content.columns) <= i else {}
        sheet.set_column(i, i, _WIDE.get(column, 12), formats[""], folded)
    for i, text in enumerate(content.above):
        sheet.write(i, 0, text, book.add_format({"bold": not i, "font_size": 11 if i else 16}))
    sheet.write_row(top, 0, [column.replace("_", " ") for column in columns], book.add_format(_HEADING))
    row = top
    for row, line in enumerate(content.lines, top + 1):
        if row < ROWS - 1:
            for i, column in enumerate(columns):
                _put(sheet, row, i, line[column], formats)
    written = min(row, ROWS - 2)
    sheet.autofilter(top, 0, max(written, top + 1), len(columns) - 1)
    if RIGHT in columns:
        at = columns.index(RIGHT)
        sheet.data_validation(top + 1, at, max(written, top + 1), at, _CHOICE)
    if row > written:
        sheet.write(ROWS - 1, 0, f"{row - written:,} more do not fit; all of them are in report.csv")
    return row == written


def _put(sheet: Any, row: int, column: int, value: Any, formats: Mapping[str, Any]) -> None:
    if isinstance(value, np.ndarray):
        sheet.set_row_pixels(row, len(value) + 6)
        picture = {"image_data": io.BytesIO(jpeg(value, 80)), "x_offset": 3, "y_offset": 3}
        sheet.insert_image(row, column, f"{row}.jpg", picture)
    elif isinstance(value, tuple):
        name, place = _cell(value[0]), value[1]
        where = quote(os.fsencode(place), safe="/" if os.path.isabs(place) else "/ ")
        target = ("file://" if os.path.isabs(place) else "external:") + where
        if row > _LINKS or len(target) > 2000:
            sheet.write(row, column, name)
        else:
            sheet.write_url(row, column, target, formats["link"], name[-255:])
    else:
        sheet.write(row, column, _cell(value), formats[value] if isinstance(value, Word) else None)


def _cell(value: Any) -> Any:
    """`value` as a cell may hold it: control characters and lone surrogates escaped."""
    text = str(value) if isinstance(value, bool | list) else value
    return printable(text) if isinstance(text, str) and not text.isprintable() else text

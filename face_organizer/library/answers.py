"""The answers that somebody wrote into a report of `search`: a workbook, as any spreadsheet saves it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from face_organizer.errors import LibraryError
from face_organizer.files import printable

RIGHT, PERSON, NUMBER = "right?", "person", "face number"
"""Columns: the answer, the person's name as it is printed, and the number of the face in the library."""
_WORDS = {"yes": True, "y": True, "no": False, "n": False, "": None, "?": None}
_SHEET = re.compile(r"xl/worksheets/sheet\d+\.xml")


class Answer(NamedTuple):
    """Whether a face, by its number in the library, is the person of that name."""

    person: str
    face: int
    is_right: bool


def read(path: Path) -> list[Answer]:
    """The answers in a workbook, none where it is not there. Raises `LibraryError` for one that cannot be
    read, and for an answer that is neither yes nor no, so that nothing that somebody wrote is lost."""
    if not path.is_file():
        return []
    found = []
    try:
        with zipfile.ZipFile(path) as book:
            for line in _lines(book):
                word = line[RIGHT].strip().casefold()
                if word not in _WORDS:
                    said = f"{line[RIGHT]!r} in the column “{RIGHT}”"
                    raise LibraryError(f"{printable(path)}: {said}: yes, no or nothing is wanted")
                if (is_right := _WORDS[word]) is not None:
                    found.append(Answer(line[PERSON], int(float(line[NUMBER])), is_right))
    except (zipfile.BadZipFile, ElementTree.ParseError, OSError, KeyError, ValueError) as error:
        mend = "save it again as .xlsx, or remove it to go on without its answers"
        raise LibraryError(f"{printable(path)} cannot be read: {error}", mend) from error
    return found


def _lines(book: zipfile.ZipFile) -> Iterator[dict[str, str]]:
    """The lines with an answer, by heading, of all sheets that ask for one."""
    shared = []
    if "xl/sharedStrings.xml" in book.namelist():
        shared = [_text(one) for one in ElementTree.fromstring(book.read("xl/sharedStrings.xml"))]
    for name in filter(_SHEET.fullmatch, book.namelist()):
        names: dict[str, str] = {}
        with book.open(name) as file:
            for _, row in ElementTree.iterparse(file):
                if not row.tag.endswith("}row"):
                    continue
                cells = {cell.get("r", "").rstrip("0123456789"): _value(cell, shared) for cell in row}
                row.clear()
                line = {names[column]: value for column, value in cells.items() if column in names}
                if RIGHT in cells.values() and not names:
                    names = {column: value for column, value in cells.items() if value}
                elif line.get(RIGHT):
                    yield line


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    text = _text(cell)
    return shared[int(text)] if cell.get("t") == "s" and text else text


def _text(element: ElementTree.Element) -> str:
    return "".join(one.text or "" for one in element.iter() if one.tag.endswith(("}t", "}v")))

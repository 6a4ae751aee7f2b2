"""People who are known, from a list or from folders, and what a result of `cluster` made of them."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_organizer.cluster import Former, People, former
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.evaluate.scores import PersonScore, Scores, score, worst
from face_organizer.files import count, os_errors, printable
from face_organizer.types import Int64

PATH_COLUMNS = ("path", "image_path", "source", "file", "filename", "image", "photo")
PERSON_COLUMNS = ("person", "identity", "label", "name")
_Known = dict[tuple[str, int], str]  # picture and number of the face on it → person


class Evaluation(NamedTuple):
    """The `judged` of all `faces`, whose person is known, show `people` persons and lie in `clusters`
    clusters, `unassigned` of them in none; how well that fits, and the persons that fit worst. Of `strange`
    pictures the person is known, and the result does not hold them: they came later, or show no face."""

    faces: int
    judged: int
    people: int
    clusters: int
    unassigned: int
    scores: Scores
    worst: list[PersonScore]
    strange: int = 0


def evaluate(result: People | str | Path, labels: str | Path, *, worst_people: int = 10) -> Evaluation:
    """Judge a result of `cluster` (or the folder that it was written into) against known people.

    `labels` is a folder with a folder per person, or a CSV with the columns path and person (others of their
    names are known too) and perhaps face_index; without that, the main face of the picture is meant. A
    picture is found by its path, else by its file name where that is unique on both sides. Scores are in
    [0, 1], 1 is best; the `worst_people` persons with the lowest BCubed F are named. Raises
    `FaceOrganizerError` where nothing fits or something cannot be read.
    """
    one = former(result)
    rows, people, strange = judged(one, Path(labels))
    found = one.labels[rows]
    clusters, lost = len(np.unique(found[found >= 0])), int((found < 0).sum())
    scores, least = score(found, people), worst(found, people, worst_people)
    return Evaluation(len(one.paths), len(rows), len(set(people)), clusters, lost, scores, least, strange)


def judged(result: Former, labels: Path) -> tuple[Int64, list[str], int]:
    """The rows of `result` that `labels` names, the name for each, and how many more `labels` names; see
    `evaluate`."""
    if not labels.exists():
        raise UsageError(f"{printable(labels)} is not there")
    known = _from_folders(labels) if labels.is_dir() else _from_csv(labels)
    by_name: dict[tuple[str, int], list[str]] = defaultdict(list)
    for (path, index), person in known.items():
        by_name[os.path.basename(path), index].append(person)
    pictures = Counter(os.path.basename(p) for p in dict.fromkeys(result.paths))
    found = {}
    for row, (path, index) in enumerate(zip(result.paths, result.face_index.tolist(), strict=True)):
        name = os.path.basename(path)
        namesakes = by_name.get((name, index), [])
        if (own := known.get((os.path.abspath(path), index))) is not None:
            found[row] = own
        elif len(namesakes) == pictures[name] == 1:
            found[row] = namesakes[0]
    if not found:
        raise FaceOrganizerError(f"{printable(labels)}: names none of the {count(len(result.paths), 'face')}")
    return np.array([*found], np.int64), [*found.values()], len(known) - len(found)


def _from_folders(root: Path) -> _Known:
    folders = sorted(p for p in root.iterdir() if p.is_dir())
    return {
        (os.path.abspath(os.path.join(path, file)), 0): folder.name
        for folder in folders
        for path, _, files in os.walk(folder)
        for file in files
    }


def _from_csv(file: Path) -> _Known:
    known: _Known = {}
    for line, row in csv_rows(file):
        path = next((row[c] for c in PATH_COLUMNS if row.get(c)), None)
        person = next((row[c] for c in PERSON_COLUMNS if row.get(c)), None)
        where = f"{printable(file)}, line {line}:"
        if path is None or person is None:
            columns = f"({', '.join(PATH_COLUMNS)}) and a person ({', '.join(PERSON_COLUMNS)})"
            there = ", ".join(map(printable, row))
            raise FaceOrganizerError(f"{where} wants a picture {columns}; its columns are {there}")
        try:
            index = int(row.get("face_index") or 0)
        except ValueError as error:
            raise FaceOrganizerError(f"{where} face_index is no number") from error
        known[os.path.abspath(os.path.join(file.parent, path)), index] = person
    return known


def csv_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column, in lower case, of each row that is not blank, as spreadsheets save
    them: separated by comma, semicolon or tab, in UTF-8 or UTF-16, with or without a BOM. Raises
    `FaceOrganizerError`."""
    with os_errors(file):
        raw = file.read_bytes()
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = raw.decode("utf-16") if wide else raw.decode("utf-8-sig", "surrogateescape")
        said = re.match(r'"?sep=(.)"?[\r\n]+', text)  # Excel's own line
        lines = io.StringIO(text[said.end() if said else 0 :], newline="")
        head = next(lines, "")
        separator = said[1] if said else max(",;\t", key=lambda mark: (head.count(mark), mark == ","))
        columns = [name.strip().lower() for name in next(csv.reader([head], delimiter=separator), [])]
        reader, rows = csv.reader(lines, delimiter=separator), []
        for cells in reader:
            row = dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))
            if any(value.strip() for value in cells):
                rows.append((reader.line_num + 1 + bool(said), row))
    except (csv.Error, UnicodeDecodeError) as error:
        raise FaceOrganizerError(f"{printable(file)}: no CSV: {error}") from error
    return rows

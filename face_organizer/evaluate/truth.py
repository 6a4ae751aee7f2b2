"""People who are known, from a list or from folders, and what a result of `cluster` made of them."""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_organizer.cluster import Former, People, former
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.evaluate.scores import PersonScore, Scores, score, worst
from face_organizer.files import count, os_errors, printable
from face_organizer.types import Int64

PATH_COLUMNS = ("path", "image_path", "source", "file", "filename", "image", "photo")
PERSON_COLUMNS = ("person", "identity", "label", "name")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The `judged` of all `faces`, whose person is known, show `people` persons and lie in `clusters`
    clusters, `unassigned` of them in none; how well that fits, and the persons that fit worst."""

    faces: int
    judged: int
    people: int
    clusters: int
    unassigned: int
    scores: Scores
    worst: list[PersonScore]


def evaluate(result: People | str | Path, labels: str | Path, *, worst_people: int = 10) -> Evaluation:
    """Judge a result of `cluster` (or the folder that it was written into) against known people.

    `labels` is a folder with a folder per person, or a CSV with the columns path and person (others of their
    names are known too) and perhaps face_index; without that, the main face of the picture is meant. A
    picture is found by its path, else by its file name where that is unique on both sides. Scores are in
    [0, 1], 1 is best; the `worst_people` persons with the lowest BCubed F are named. Raises
    `FaceOrganizerError` where nothing fits or something cannot be read.
    """
    one = former(result)
    rows, people = judged(one, Path(labels))
    found = one.labels[rows]
    return Evaluation(
        len(one.paths),
        len(rows),
        len(set(people)),
        len(set(found[found >= 0].tolist())),
        int((found < 0).sum()),
        score(found, people),
        worst(found, people, worst_people),
    )


def judged(result: Former, labels: Path) -> tuple[Int64, list[str]]:
    """The rows of `result` that `labels` names, and the name for each; see `evaluate`."""
    if not labels.exists():
        raise UsageError(f"{printable(labels)} is not there")
    known = _from_folders(labels) if labels.is_dir() else _from_csv(labels)
    by_name: dict[tuple[str, int], set[str]] = defaultdict(set)
    for (path, index), name in known.items():
        by_name[os.path.basename(path), index].add(f"{path}\0{name}")
    pictures = Counter(os.path.basename(p) for p in dict.fromkeys(result.paths))
    rows, people = [], []
    for row, (path, index) in enumerate(zip(result.paths, result.face_index.tolist(), strict=True)):
        person = known.get((os.path.abspath(path), index))
        if person is None:
            name = os.path.basename(path)
            found = by_name.get((name, index), set())
            if len(found) == 1 and pictures[name] == 1:
                person = next(iter(found)).partition("\0")[2]
        if person is not None:
            rows.append(row)
            people.append(person)
    if not rows:
        raise FaceOrganizerError(f"{printable(labels)}: names none of the {count(len(result.paths), 'face')}")
    return np.array(rows, np.int64), people


def _from_folders(root: Path) -> dict[tuple[str, int], str]:
    known: dict[tuple[str, int], str] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        for path, _, files in os.walk(folder):
            known.update({(os.path.abspath(os.path.join(path, f)), 0): folder.name for f in files})
    return known


def _from_csv(file: Path) -> dict[tuple[str, int], str]:
    known: dict[tuple[str, int], str] = {}
    for line, row in csv_rows(file):
        path = next((row[c] for c in PATH_COLUMNS if row.get(c)), None)
        person = next((row[c] for c in PERSON_COLUMNS if row.get(c)), None)
        if path is None or person is None:
            raise FaceOrganizerError(
                f"{printable(file)}, line {line}: wants a picture ({', '.join(PATH_COLUMNS)}) and a person "
                f"({', '.join(PERSON_COLUMNS)})"
            )
        try:
            index = int(row.get("face_index") or 0)
        except ValueError as error:
            raise FaceOrganizerError(f"{printable(file)}, line {line}: face_index is no number") from error
        known[os.path.abspath(os.path.join(file.parent, path)), index] = person
    return known


def csv_rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column of each row. Raises `FaceOrganizerError`."""
    try:
        with os_errors(file), open(file, newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
            reader = csv.DictReader(text)
            return [(reader.line_num, {str(k): v or "" for k, v in row.items() if k}) for row in reader]
    except csv.Error as error:
        raise FaceOrganizerError(f"{printable(file)}: no CSV: {error}") from error

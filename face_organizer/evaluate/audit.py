"""A result of `cluster` against people that are known, or against the answers of somebody who looks at
pairs."""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_organizer.cluster.result import Former
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import atomic_write, printable
from face_organizer.types import Int64

PATH_COLUMNS = ("path", "image_path", "source", "file", "filename", "image", "photo")
PERSON_COLUMNS = ("person", "identity", "label", "name")
AUDIT_COLUMNS = ("kind", "image_a", "face_a", "person_a", "image_b", "face_b", "person_b", "same")
YES, NO, UNSURE = {"y", "yes", "1", "true", "same"}, {"n", "no", "0", "false", "different"}, {"", "?"}


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of a result whose person is known, and the persons' names."""

    rows: Int64
    people: Sequence[str]


def judged(result: Former, labels: Path) -> Judged:
    """The faces of `result` that `labels` names: a CSV with a path and a person a row (and `face_index`,
    without it
    the main face), or a folder with a folder per person.

    A picture is found by its path, else by its file name where that is unique on both sides. Raises
    `FaceOrganizerError`.
    """
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
        raise FaceOrganizerError(f"{printable(labels)}: names none of the {len(result.paths):,} faces")
    return Judged(np.array(rows, np.int64), people)


def _from_folders(root: Path) -> dict[tuple[str, int], str]:
    known: dict[tuple[str, int], str] = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        for path, _, files in os.walk(folder):
            known.update({(os.path.abspath(os.path.join(path, f)), 0): folder.name for f in files})
    return known


def _from_csv(file: Path) -> dict[tuple[str, int], str]:
    known: dict[tuple[str, int], str] = {}
    for line, row in _rows(file):
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


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with open(file, newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
            reader = csv.DictReader(text)
            return [(reader.line_num, {str(k): v or "" for k, v in row.items() if k}) for row in reader]
    except OSError as error:
        raise FaceOrganizerError(f"{printable(file)}: cannot be read: {error.strerror or error}") from error
    except csv.Error as error:
        raise FaceOrganizerError(f"{printable(file)}: no CSV: {error}") from error


def audit(result: Former, count: int, seed: int) -> list[dict[str, str]]:
    """`count` pairs to look at, keys `AUDIT_COLUMNS`, in random order with `same` left empty.

    Half are `together`: a face drawn from all that have company, and one of its cluster. Half are `apart`: a
    face drawn from all that are in a cluster, and one of the other cluster that is most like its own.
    """
    random = np.random.default_rng(seed)
    labels, centers = result.labels, result.centers
    clusters = int(labels.max(initial=-1)) + 1
    sizes = np.bincount(labels[labels >= 0], minlength=clusters)
    members = [np.flatnonzero(labels == i) for i in range(clusters)]
    company = np.flatnonzero((labels >= 0) & (sizes[np.maximum(labels, 0)] > 1)) if clusters else labels[:0]
    if not len(company):
        raise FaceOrganizerError("no folder holds two faces: there is nothing to judge")
    pairs: list[tuple[str, int, int]] = []
    apart = count // 2 if clusters > 1 else 0
    for a in random.choice(company, count - apart).tolist():
        others = members[labels[a]]
        pairs.append(("together", a, int(random.choice(others[others != a]))))
    for a in random.choice(np.flatnonzero(labels >= 0), apart).tolist():
        alike = centers[:clusters] @ centers[labels[a]]
        alike[[labels[a], *np.flatnonzero(sizes == 0)]] = -2
        pairs.append(("apart", a, int(random.choice(members[int(alike.argmax())]))))
    random.shuffle(pairs)
    return [_pair(result, *pair) for pair in pairs]


def _pair(result: Former, kind: str, a: int, b: int) -> dict[str, str]:
    names = [*result.names, "unassigned"]
    return {
        "kind": kind,
        "image_a": result.paths[a],
        "face_a": str(result.face_index[a]),
        "person_a": names[result.labels[a]],
        "image_b": result.paths[b],
        "face_b": str(result.face_index[b]),
        "person_b": names[result.labels[b]],
        "same": "",
    }


def write_audit(file: Path, pairs: Sequence[dict[str, str]]) -> None:
    """Write the pairs as a CSV, paths byte for byte."""
    import io

    with atomic_write(file) as binary:
        text = io.TextIOWrapper(binary, "utf-8", errors="surrogateescape", newline="")
        writer = csv.DictWriter(text, AUDIT_COLUMNS)
        writer.writeheader()
        writer.writerows(pairs)
        text.flush()
        text.detach()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with the interval that holds it with 95 % certainty, from `answers` pairs; `unsure` had no
    answer."""

    share: float
    low: float
    high: float
    answers: int
    unsure: int


def answered(file: Path) -> dict[str, Estimate]:
    """What the answers in an audit's column `same` (y or n, ? or empty: unsure) say.

    `precision`: of a face and another of its folder, how often they are one person. `split`: of a face and
    one of the folder most like its own, how often they are one person after all. Raises `FaceOrganizerError`.
    """
    said: dict[str, Counter[str]] = {"together": Counter(), "apart": Counter()}
    for line, row in _rows(file):
        kind, same = row.get("kind", ""), row.get("same", "").strip().lower()
        if kind not in said or same not in YES | NO | UNSURE:
            raise FaceOrganizerError(
                f"{printable(file)}, line {line}: wants y, n or ? in the column `same` of an audit"
            )
        said[kind]["yes" if same in YES else "no" if same in NO else "unsure"] += 1
    estimates = {
        name: interval(said[kind]["yes"], said[kind]["no"], said[kind]["unsure"])
        for name, kind in (("precision", "together"), ("split", "apart"))
        if said[kind]["yes"] + said[kind]["no"]
    }
    if not estimates:
        raise FaceOrganizerError(f"{printable(file)}: no pair is answered yet (y or n in the column `same`)")
    return estimates


def interval(yes: int, no: int, unsure: int = 0) -> Estimate:
    """Wilson's score interval (1927) of 95 % for the share of yes; right near 0 and 1 and for few answers."""
    z, n = 1.959964, yes + no
    share = yes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0), n, unsure)

"""Pairs of faces that a person looks at, and what the answers say of a result of `cluster`."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_organizer.cluster import UNASSIGNED, Former, People, former
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.evaluate.truth import csv_rows
from face_organizer.files import count, printable, write_csv

AUDIT_COLUMNS = ("kind", "image_a", "face_a", "person_a", "image_b", "face_b", "person_b", "same")
_ANSWERS = {
    **dict.fromkeys(("y", "yes", "1", "true", "same"), "yes"),
    **dict.fromkeys(("n", "no", "0", "false", "different"), "no"),
    **dict.fromkeys(("", "?"), "unsure"),
}


def audit(result: People | str | Path, file: str | Path, pairs: int = 200, *, seed: int = 1234) -> int:
    """Write a CSV, `file`, of `pairs` pairs of faces to look at; how many there are.

    Somebody fills its column `same` with y, n or ?; `answered` reads it. Half of the pairs are `together`: a
    face drawn from all that have company, and one of its cluster. Half are `apart`: a face drawn from all
    that are in a cluster, and one of the other cluster that is most like its own. Raises `UsageError` where
    `file` is there, `FaceOrganizerError` where no cluster holds two faces.
    """
    place = Path(file)
    if place.exists():
        raise UsageError(f"{printable(place)} is there; give another name, or remove it")
    drawn = draw(former(result), pairs, seed)
    write_csv(place, AUDIT_COLUMNS, drawn)
    return len(drawn)


def draw(result: Former, count: int, seed: int) -> list[dict[str, str]]:
    """`count` pairs as `audit` writes them, keys `AUDIT_COLUMNS`, in random order with `same` left empty."""
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
    names = [*result.names, UNASSIGNED]

    def face(row: int) -> tuple[str, str, str]:
        return result.paths[row], str(result.face_index[row]), names[labels[row]]

    return [dict(zip(AUDIT_COLUMNS, (kind, *face(a), *face(b), ""), strict=True)) for kind, a, b in pairs]


class Estimate(NamedTuple):
    """A share and the interval that holds it with 95 % certainty, from `answers` pairs; `unsure` pairs had no
    answer."""

    share: float
    low: float
    high: float
    answers: int
    unsure: int


def answered(file: str | Path, result: People | str | Path | None = None) -> dict[str, Estimate]:
    """What the answers in an audit's column `same` (y or n, ? or empty: unsure) say of `result`.

    `precision`: of a face and another of its folder, how often they are one person. `split`: of a face and
    one of the folder most like its own, how often they are one person after all. Raises `FaceOrganizerError`,
    and `UsageError` where `result` has changed since, so that pairs are no longer what they were drawn as.
    """
    place = Path(file)
    said: dict[str, Counter[str]] = {"together": Counter(), "apart": Counter()}
    for line, row in csv_rows(place):
        kind, same = row.get("kind", ""), row.get("same", "").strip().lower()
        if kind not in said or same not in _ANSWERS:
            words = "wants y, n or ? in the column `same` of an audit"
            raise FaceOrganizerError(f"{printable(place)}, line {line}: {words}")
        said[kind][_ANSWERS[same]] += 1
    estimates = {
        name: interval(answers["yes"], answers["no"], answers["unsure"])
        for name, answers in (("precision", said["together"]), ("split", said["apart"]))
        if answers["yes"] + answers["no"]
    }
    if result is not None:
        _check_drawn_from(former(result), place)
    if not estimates:
        raise FaceOrganizerError(f"{printable(place)}: no pair is answered yet (y or n in the column `same`)")
    return estimates


def _check_drawn_from(result: Former, file: Path) -> None:
    labels, rows = result.labels.tolist(), result.rows()
    other = 0
    for _, row in csv_rows(file):
        faces = [(row.get(f"image_{end}", ""), int(row.get(f"face_{end}") or 0)) for end in "ab"]
        if not all(face in rows for face in faces):
            other += 1
            continue
        one, two = (labels[rows[face]] for face in faces)
        other += (row.get("kind") == "together") != (one == two and one >= 0)
    if other:
        what = f"{count(other, 'pair')} of {printable(file)} did not come from this result"
        raise UsageError(what, "the folders have changed since: draw anew with --audit")


def interval(yes: int, no: int, unsure: int = 0) -> Estimate:
    """Wilson's score interval (1927) of 95 % for the share of yes; right near 0 and 1 and for few answers."""
    z, n = 1.959964, yes + no
    share = yes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0), n, unsure)

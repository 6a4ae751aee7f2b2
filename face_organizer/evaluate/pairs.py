"""Pairs of faces that a person looks at, and what the answers say of a result of `cluster`."""

from __future__ import annotations

import base64
import math
import os
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_organizer.cluster import UNASSIGNED, Former, People, former
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.evaluate.truth import csv_rows
from face_organizer.files import count, csv_line, printable, write_csv
from face_organizer.previews import pages
from face_organizer.previews.thumbnails import Tile, thumbnails

AUDIT_COLUMNS = ("kind", "image_a", "face_a", "person_a", "image_b", "face_b", "person_b", "same")
_ANSWERS = {
    **dict.fromkeys(("y", "yes", "1", "true", "same"), "yes"),
    **dict.fromkeys(("n", "no", "0", "false", "different"), "no"),
    "?": "unsure",
    "": "blank",
}
_KINDS = {"together": "precision", "apart": "split", "alone": "missed"}
_ON_PAGE, _SIDE = 500, 192  # pairs; pixels of a face


def audit(result: People | str | Path, file: str | Path, pairs: int = 200, *, seed: int = 1234) -> int:
    """Write a CSV, `file`, of `pairs` pairs of faces to look at, and beside it a page (its name with .html)
    that shows them, at most 500, and saves answers as such a CSV; how many pairs there are.

    Somebody fills the column `same` with y, n or ?; `answered` reads it. Half of the pairs are `together`: a
    face drawn from all that have company, and one of its cluster. Half are `apart`: a face drawn from all
    that are in a cluster, and one of the other cluster that is most like its own; or, where faces are
    unassigned, one in two of those `alone`: such a face, and one of the cluster that is most like it. Raises
    `UsageError` where a file is there, `FaceOrganizerError` where no cluster holds two faces.
    """
    place, one = Path(file), former(result)
    page = place.with_suffix(".html")
    if page == place:
        raise UsageError(f"{printable(place)} is to be a CSV: the page beside it ends in .html")
    for there in (place, page):
        if there.exists():
            raise UsageError(f"{printable(there)} is there; give another name, or remove it")
    drawn = draw(one, pairs, seed)
    lines = [_line(one, *pair) for pair in drawn]
    write_csv(place, AUDIT_COLUMNS, lines)
    rows = [row for _, *both in drawn[:_ON_PAGE] for row in both]
    tiles = [Tile(_now(one, row), one.landmarks[row], time=float(one.time[row])) for row in rows]
    faces = thumbnails(tiles, side=_SIDE)
    cells = [csv_line(line.values()).removesuffix(b"\r\n") for line in lines[:_ON_PAGE]]
    shown = [[(next(faces), _now(one, row)) for row in both] for _, *both in drawn[:_ON_PAGE]]
    pages.write(
        page,
        "face_organizer.evaluate",
        "audit.html.j2",
        file=printable(place.name),
        head=",".join(AUDIT_COLUMNS),
        key=f"{place.name} {zlib.crc32(b''.join(cells))}",
        left=len(drawn) - len(cells),
        side=_SIDE,
        pairs=[*zip((base64.b64encode(cell).decode() for cell in cells), shown, strict=True)],
    )
    return len(drawn)


def draw(result: Former, count: int, seed: int) -> list[tuple[str, int, int]]:
    """Kind and rows of `count` pairs as `audit` draws them, in random order."""
    random = np.random.default_rng(seed)
    labels, centers = result.labels, result.centers
    clusters = int(labels.max(initial=-1)) + 1
    sizes = np.bincount(labels[labels >= 0], minlength=clusters)
    members = [np.flatnonzero(labels == i) for i in range(clusters)]
    company = np.flatnonzero((labels >= 0) & (sizes[np.maximum(labels, 0)] > 1)) if clusters else labels[:0]
    if not len(company):
        raise FaceOrganizerError("no folder holds two faces: there is nothing to judge")
    pairs: list[tuple[str, int, int]] = []
    lost = np.flatnonzero((labels < 0) & np.isin(result.nearest, np.flatnonzero(sizes)))
    alone = count // 4 if len(lost) else 0
    apart = count // 2 - alone if clusters > 1 else 0
    for a in random.choice(company, count - apart - alone).tolist():
        others = members[labels[a]]
        pairs.append(("together", a, int(random.choice(others[others != a]))))
    for a in random.choice(np.flatnonzero(labels >= 0), apart).tolist():
        alike = centers[:clusters] @ centers[labels[a]]
        alike[[labels[a], *np.flatnonzero(sizes == 0)]] = -2
        pairs.append(("apart", a, int(random.choice(members[int(alike.argmax())]))))
    some = random.choice(lost, alone).tolist() if alone else ()
    pairs += [("alone", a, int(random.choice(members[result.nearest[a]]))) for a in some]
    random.shuffle(pairs)
    return pairs


def _line(result: Former, kind: str, *rows: int) -> dict[str, str]:
    """A pair as a line of the CSV, keys `AUDIT_COLUMNS`, with `same` left empty."""
    names = [*result.names, UNASSIGNED]
    faces = [(result.paths[row], str(result.face_index[row]), names[result.labels[row]]) for row in rows]
    return dict(zip(AUDIT_COLUMNS, (kind, *faces[0], *faces[1], ""), strict=True))


def _now(result: Former, row: int) -> str:
    return os.path.abspath(result.moved.get(result.paths[row], result.paths[row]))


class Estimate(NamedTuple):
    """A share and the interval that holds it with 95 % certainty, from `answers` pairs; of `unsure` pairs
    somebody could not tell, and `blank` ones nobody has answered."""

    share: float
    low: float
    high: float
    answers: int
    unsure: int
    blank: int = 0


def answered(file: str | Path, result: People | str | Path | None = None) -> dict[str, Estimate]:
    """What the answers in an audit's column `same` (y, n, ? for unsure, or nothing yet) say of `result`.

    `precision`: of a face and another of its folder, how often they are one person. `split`: of a face and
    one of the folder most like its own, how often they are one person after all. `missed`: the same of a face
    in `unassigned` and one of the folder most like it. Raises `FaceOrganizerError`, and `UsageError` where
    `result` has changed since, so that pairs are no longer what they were drawn as.
    """
    place = Path(file)
    said: dict[str, Counter[str]] = {kind: Counter() for kind in _KINDS}
    for line, row in csv_rows(place):
        kind, same = row.get("kind", ""), row.get("same", "").strip().lower()
        if kind not in said or same not in _ANSWERS:
            words = "wants y, n or ? in the column `same` of an audit"
            raise FaceOrganizerError(f"{printable(place)}, line {line}: {words}")
        said[kind][_ANSWERS[same]] += 1
    estimates = {
        _KINDS[kind]: interval(answers["yes"], answers["no"], answers["unsure"], answers["blank"])
        for kind, answers in said.items()
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


def interval(yes: int, no: int, unsure: int = 0, blank: int = 0) -> Estimate:
    """Wilson's score interval (1927) of 95 % for the share of yes; right near 0 and 1 and for few answers."""
    z, n = 1.959964, yes + no
    share = yes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Estimate(share, max(middle - half, 0.0), min(middle + half, 1.0), n, unsure, blank)

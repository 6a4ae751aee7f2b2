"""From what a network says of faces to one verdict a picture, and those verdicts as a CSV."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from face_organizer.files import atomic_write, plain_cell
from face_organizer.gender import GENDERS, Judged
from face_organizer.gender.judging import Looked
from face_organizer.types import FaceTable, Float32, Outcome

CSV = "gender.csv"
COLUMNS = ("image_path", "verdict", "gender", "confidence", "faces", "face_index", "person", "reason")
ATTRIBUTES = ("age", "emotion", "race")

_LOUDEST = 4.0
"""Log odds beyond which a face's vote counts no more (0.98): one photo that is surely wrong is outvoted."""


class Verdict(StrEnum):
    """What became of a picture. Every picture ends in exactly one."""

    MATCHED = "matched"
    OTHER = "other"
    UNSURE = "unsure"
    NO_FACE = "no_face"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Rules:
    """Which pictures match. `faces` is `main` (the main face of a picture decides) or `any` (one face that
    surely matches is enough); below `min_confidence`, 0.5 to 1, a face is unsure."""

    gender: str
    min_confidence: float
    faces: str = "main"

    def __post_init__(self) -> None:
        if self.gender not in GENDERS or self.faces not in ("main", "any"):
            raise ValueError(f"no such rules: {self!r}")


@dataclass(frozen=True, slots=True)
class Filed:
    """The verdict on one picture, and the face that it rests on: `row` of `Faces`, -1 where there is none."""

    path: str
    verdict: Verdict
    row: int = -1
    faces: int = 0
    reason: str = ""


def vote(woman: Float32, persons: Sequence[str]) -> Float32:
    """(n,) probabilities in which all faces of one person are given that of the person as a whole.

    `persons` names each face's person; empty for a face that stands for itself. A person's log odds are the
    mean of the faces', each cut off at 4. Faces that were not judged (NaN) neither vote nor get a vote.
    """
    odds = np.clip(np.log(woman + 1e-9) - np.log(1 - woman + 1e-9), -_LOUDEST, _LOUDEST)
    names, member = np.unique(np.array(persons, object).astype(str), return_inverse=True)
    voting = np.isfinite(odds)
    sums = np.bincount(member[voting], odds[voting], len(names))
    counts = np.bincount(member[voting], minlength=len(names))
    mean = (sums / np.maximum(counts, 1))[member]
    alone = np.array([not name for name in names])[member]
    return np.where(alone | ~voting, woman, 1 / (1 + np.exp(-mean))).astype(np.float32)


def decide(table: FaceTable, looked: Looked, woman: Float32, rules: Rules) -> list[Filed]:
    """The verdict on each file of `table`, in its order; `woman` is (number of faces,), voted or not."""
    starts = np.searchsorted(table.faces.file_index, np.arange(len(table.files) + 1)).tolist()
    wanted = woman if rules.gender == "Woman" else 1 - woman
    filed = []
    for i, path in enumerate(table.files.path):
        outcome = Outcome(table.files.outcome[i])
        first, count = starts[i], starts[i + 1] - starts[i]
        if i in looked.failed:
            filed.append(Filed(path, Verdict.UNREADABLE, faces=count, reason=looked.failed[i]))
        elif not count:
            unusable = outcome in (Outcome.UNREADABLE, Outcome.UNSUPPORTED)
            verdict = Verdict.UNREADABLE if unusable else Verdict.NO_FACE
            reason = table.files.reason[i] or (outcome.label if outcome is not Outcome.NO_FACE else "")
            filed.append(Filed(path, verdict, reason=reason))
        else:
            deciding = wanted[first : first + (1 if rules.faces == "main" else count)]
            best = int(deciding.argmax())
            filed.append(Filed(path, _verdict(deciding, rules.min_confidence), first + best, count))
    return filed


def _verdict(wanted: Float32, least: float) -> Verdict:
    """Of one or several faces: one that surely matches is enough; other needs all to be surely other."""
    if wanted.max() >= least:
        return Verdict.MATCHED
    return Verdict.OTHER if (1 - wanted).min() >= least else Verdict.UNSURE


def counts(filed: Sequence[Filed], untold: int = 0) -> dict[str, int]:
    """Pictures by verdict, all there; `untold` files that a table only counts are without a face."""
    found = Counter(one.verdict for one in filed)
    found[Verdict.NO_FACE] += untold
    return {verdict.value: found[verdict] for verdict in Verdict}


def row(
    one: Filed, judged: Judged, woman: Float32, table: FaceTable, persons: Sequence[str], attributes: bool
) -> Mapping[str, object]:
    """One picture's row of the CSV. The gender is the likelier one, even where it is not sure enough."""
    columns = (*COLUMNS, *ATTRIBUTES) if attributes else COLUMNS
    values: dict[str, object] = dict.fromkeys(columns, "")
    values |= {"image_path": one.path, "verdict": one.verdict.value, "faces": one.faces, "reason": one.reason}
    if one.row >= 0:
        sure = float(woman[one.row])
        values["gender"] = GENDERS[0] if sure >= 0.5 else GENDERS[1]
        values["confidence"] = round(max(sure, 1 - sure), 4)
        values["face_index"] = int(table.faces.face_index[one.row])
        values["person"] = persons[one.row] if persons else ""
        if attributes:
            age = float(judged.age[one.row])
            values["age"] = "" if math.isnan(age) else round(age, 1)
            values["emotion"], values["race"] = judged.emotion[one.row], judged.race[one.row]
    return values


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """The rows as a CSV, whole or not at all; paths byte for byte."""
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="", write_through=True)
        writer = csv.DictWriter(text, list(rows[0]) if rows else COLUMNS)
        writer.writeheader()
        writer.writerows({name: plain_cell(value) for name, value in row.items()} for row in rows)
        text.detach()

"""From what a network says of faces to one verdict per picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from face_organizer.files import write_csv
from face_organizer.gender.judging import Judged
from face_organizer.organize import View
from face_organizer.types import FaceTable, Float32, Outcome

GENDERS = ("Woman", "Man")
CSV = "gender.csv"
COLUMNS = ("image_path", "verdict", "gender", "confidence", "faces", "face_index", "person", "reason")
ATTRIBUTES = ("age", "emotion", "race")
VERDICTS = ("matched", "other", "unsure", "no_face", "unreadable")
"""What becomes of a picture: each ends in exactly one."""
_LOUDEST = 4.0  # log odds (0.98): one photo that is surely wrong is outvoted


class Picture(NamedTuple):
    """The verdict on one picture, the row of `Faces` that it rests on (-1: none), and how many there are."""

    path: str
    verdict: str
    row: int = -1
    faces: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Genders:
    """What a gender network says of the pictures and faces of `table`; `fo.plan` puts them into folders.

    `judged` has a row for each face, with the columns woman, age, emotion and race; `woman`, (number of
    faces,) float32, is the probability of each that counts: 0 to 1, after the vote of each person's faces,
    NaN where it was not looked at. `pictures` has the verdict on each file, for the wanted `gender` and by
    `min_confidence`; `persons` are the names by which faces voted, one per face, or none.

    `used` says by what: `model` (its name), `description`, `licence` and `identity`; `devices`, `why_devices`
    and `threads` on each; `finder`, the pack or detector that looked for faces in `searched` pictures; the
    number of pictures `known` from an earlier run; `problems`, folders that could not be listed; and `later`,
    faces that the clustering does not hold.
    """

    table: FaceTable
    judged: Judged
    woman: Float32
    pictures: Sequence[Picture]
    persons: Sequence[str]
    gender: str
    min_confidence: float
    attributes: bool
    used: Mapping[str, Any]

    def counts(self) -> dict[str, int]:
        """Pictures by verdict, all verdicts present; the values add up to `table.total_files`."""
        found = Counter(one.verdict for one in self.pictures)
        found["no_face"] += self.table.unnamed_files
        return {verdict: found[verdict] for verdict in VERDICTS}

    def view(self, unsure: str = "unsure") -> View:
        """Pictures that match in the folder itself, those on which the network is not sure in `unsure`, and
        `gender.csv` with every picture."""
        folders = {"matched": "", "unsure": unsure}
        entries = [(one.path, folders[one.verdict]) for one in self.pictures if one.verdict in folders]
        columns = COLUMNS + ATTRIBUTES * self.attributes
        return View(entries, [CSV], lambda folder, *_: write_csv(folder / CSV, columns, self.rows()))

    def rows(self) -> Iterator[dict[str, object]]:
        """The CSV, one dict per picture. `gender` is the likelier one, even where it is not sure enough, and
        `confidence` its probability, 0.5 to 1; what is unknown is left out."""
        for path, verdict, row, faces, reason in self.pictures:
            values: dict[str, object] = {"image_path": path, "verdict": verdict, "faces": faces}
            values["reason"] = reason
            if row >= 0:
                sure, said = float(self.woman[row]), self.judged[row]
                values["gender"], values["confidence"] = GENDERS[sure < 0.5], round(max(sure, 1 - sure), 4)
                values["face_index"] = int(self.table.faces.face_index[row])
                values["person"] = self.persons[row] if self.persons else ""
                if self.attributes:
                    age = "" if math.isnan(said.age) else round(float(said.age), 1)
                    values |= {"age": age, "emotion": str(said.emotion), "race": str(said.race)}
            yield values


def vote(woman: Float32, persons: Sequence[str]) -> Float32:
    """(n,) probabilities in which all faces of one person are given that of the person as a whole.
    `persons` names each face's person; empty for a face that stands for itself. A person's log odds are the
    mean of the faces', each cut off at 4. Faces that were not judged (NaN) neither vote nor get a vote."""
    odds = np.clip(np.log(woman + 1e-9) - np.log(1 - woman + 1e-9), -_LOUDEST, _LOUDEST)
    names, member = np.unique(np.array(persons, object).astype(str), return_inverse=True)
    voting = np.isfinite(odds)
    sums = np.bincount(member[voting], odds[voting], len(names))
    voices = np.bincount(member[voting], minlength=len(names))
    mean = (sums / np.maximum(voices, 1))[member]
    alone = (names == "")[member]
    return np.where(alone | ~voting, woman, 1 / (1 + np.exp(-mean))).astype(np.float32)


def decide(
    table: FaceTable, failed: Mapping[int, str], woman: Float32, gender: str, least: float, *, every: bool
) -> list[Picture]:
    """The verdict on each file of `table`, in its order. `woman` is (number of faces,), voted or not;
    `failed` says why files could not be used. The main face of a picture decides, or with `every` one face
    that surely matches is enough; a face is sure from a confidence of `least`, 0.5 to 1."""
    ends = np.searchsorted(table.faces.file_index, np.arange(len(table.files) + 1)).tolist()
    wanted = woman if gender == "Woman" else 1 - woman
    pictures = []
    for i, path in enumerate(table.files.path):
        outcome, first, faces = Outcome(table.files.outcome[i]), ends[i], ends[i + 1] - ends[i]
        if i in failed:
            pictures.append(Picture(path, "unreadable", faces=faces, reason=failed[i]))
        elif faces:
            deciding = wanted[first : first + (faces if every else 1)]
            other = (1 - deciding).min() >= least
            verdict = "matched" if deciding.max() >= least else "other" if other else "unsure"
            pictures.append(Picture(path, verdict, first + int(deciding.argmax()), faces))
        else:
            unusable = outcome in (Outcome.UNREADABLE, Outcome.UNSUPPORTED)
            reason = table.files.reason[i] or (outcome.label if outcome is not Outcome.NO_FACE else "")
            pictures.append(Picture(path, "unreadable" if unusable else "no_face", reason=reason))
    return pictures

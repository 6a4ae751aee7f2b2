"""What one answer per 50 faces is worth: `people.suggestions` answered by the truth, and clustered again.

`python benchmarks/answers.py [BATCHES]`: the halves of LFW, every face with nobody a person of its own. An
answer makes both persons known with the faces that they have; the same ones are one from then on. Who a
person is, most of its faces say.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from clustering import EMBEDDERS, lfw
from common import row
from numpy.typing import NDArray

import face_organizer as fo
from face_organizer.evaluate import scores as metrics
from face_organizer.library import NOBODY, Person, Said
from face_organizer.types import Faces, FaceTable, Files, Outcome

FACES_AN_ANSWER = 50
Int64 = NDArray[np.int64]


def table_of(vectors: NDArray[np.float32]) -> FaceTable:
    """A table of these faces, each on a picture of its own."""
    count = len(vectors)
    files = Files.empty(
        count, path=[f"/{i:05}.jpg" for i in range(count)], outcome=np.full(count, Outcome.FACES, np.uint8)
    )
    return FaceTable(vectors, Faces.empty(count, file_index=np.arange(count)), files, None)


class Told:
    """What was answered so far."""

    def __init__(self, who: Int64) -> None:
        self.who, self.known = who, np.full(len(who), NOBODY, np.int64)
        self.persons: list[Person] = []
        self.refused: list[tuple[int, int]] = []
        self.differ: list[tuple[int, int]] = []
        self.answers = self.yes = 0

    def said(self) -> Said:
        """In the form that `cluster` takes."""
        pairs = [np.array(rows, np.int64).reshape(-1, 2) for rows in (self.refused, self.differ)]
        nothing = Said.nothing(len(self.who))
        return Said(self.persons, self.known, pairs[0], nothing.ignored, nothing.before, pairs[1])

    def person(self, rows: Int64) -> tuple[int, int]:
        """The number of the person that has these faces, known from now on, and who most of them are."""
        number = int(self.known[rows].max())
        if number == NOBODY:
            number = len(self.persons)
            self.persons.append(Person(number, f"someone {number}"))
        rows = rows[[(row, number) not in self.refused for row in rows.tolist()]]
        self.known[rows] = number
        return number, int(np.bincount(self.who[rows]).argmax())

    def answer(self, people: fo.People, one: Any) -> None:
        """Whether two persons are one, or a face is its person."""
        self.answers += 1
        if hasattr(one, "face"):
            others = np.flatnonzero(people.labels == one.person)
            number, who = self.person(others[others != one.face])
            if who == self.who[one.face]:
                self.known[one.face] = number
            else:
                self.refused.append((one.face, number))
            self.yes += int(who != self.who[one.face])
            return
        (a, who_a), (b, who_b) = (self.person(np.flatnonzero(people.labels == i)) for i in one[:2])
        if who_a == who_b:
            self.known[self.known == b] = a
            self.differ = [(a if p == b else p, a if q == b else q) for p, q in self.differ]
            self.refused = [(face, a if p == b else p) for face, p in self.refused]
        else:
            self.differ.append((a, b))
        self.yes += int(who_a == who_b)


def worth(name: str, batches: int = 4) -> None:
    """BCubed errors before and after the answers, given in so many batches."""
    vectors, names = lfw(name)
    table, told = table_of(vectors), Told(np.unique(names, return_inverse=True)[1].astype(np.int64))
    total, errors = len(names) // FACES_AN_ANSWER, []
    for batch in range(batches + 1):
        people = fo.cluster(table, min_cluster_size=1, said=told.said())
        errors.append(round(1 - metrics.score(people.labels, names).bcubed_f, 5))
        for one in people.questions(total // batches) if batch < batches else ():
            told.answer(people, one)
    fallen = round(1 - errors[-1] / errors[0], 3)
    row("answers", embedder=name, answers=told.answers, mended=told.yes, errors=errors, fallen=fallen)


if __name__ == "__main__":
    for embedder in EMBEDDERS:
        worth(embedder, *map(int, sys.argv[1:]))

"""What people said of the faces of one table: the form in which decisions reach clustering and search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Int64

NOBODY, NEW = -1, -2


class Person(NamedTuple):
    """A person of a library: an `id` that never changes and what the person is called today.

    `known`: somebody said something of this person, so that it never merges with another known one. `hidden`:
    it gets no folder.
    """

    id: int
    name: str
    known: bool = True
    hidden: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What was said of the n faces of a table, and where they were before; people are rows of `persons`."""

    persons: Sequence[Person]
    known: Int64
    """(n,): the known person that a face is, said by somebody; -1 where nobody said."""
    refused: Int64
    """(m, 2): face and known person that it is not, whatever it looks like."""
    ignored: NDArray[np.bool_]
    """(n,): faces of nobody, or that are no faces."""
    before: Int64
    """(n,): the person that the last run put the face with; -1 nobody, -2 a face that it did not see."""
    differ: Int64
    """(m, 2): persons that are two, said by somebody."""
    spoken: NDArray[np.bool_]
    """(n,): whether `known` was said of that very face, and not of all that its person had."""

    @classmethod
    def nothing(cls, count: int) -> Said:
        """Nothing was said of `count` faces, and none was seen before."""
        pairs = np.empty((0, 2), np.int64)
        none, new = np.full(count, NOBODY, np.int64), np.full(count, NEW, np.int64)
        nowhere = np.zeros(count, np.bool_)
        return cls((), none, pairs, nowhere, new, pairs, nowhere)

    def own(self, name: str) -> Int64:
        """The faces, by row, that are the person called `name`: those that somebody said so of, else those
        that the last run put there; none for a name that nobody has."""
        person = next((row for row, person in enumerate(self.persons) if person.name == name), None)
        if person is None:
            return np.empty(0, np.int64)
        said = np.flatnonzero(self.known == person)
        return said if len(said) else np.flatnonzero((self.before == person) & ~self.ignored)


def pairs_of(pairs: Iterable[tuple[int, int]]) -> Int64:
    """Pairs as (m, 2) int64."""
    return np.array(list(pairs), np.int64).reshape(-1, 2)

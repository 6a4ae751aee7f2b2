"""What was chosen: rows for people and programs, and the set as files."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.faceset import spread
from face_organizer.faceset.choosing import Choice, Copies
from face_organizer.faceset.figures import Figures
from face_organizer.faceset.worth import Worth
from face_organizer.types import FaceTable, Float32, Int64

CSV, PAGE, PNG = "faceset.csv", "faceset.html", "faceset.png"


@dataclass(eq=False)
class Member:
    """One person of a set: n `rows` of the `table`, ascending, with their `figures` (n,) and `worth`; and of
    them what was chosen."""

    name: str
    table: FaceTable
    rows: Int64
    figures: Figures
    worth: Worth
    choice: Choice = field(default_factory=lambda: Choice([], [], 0))
    apart: Sequence[float] = ()
    """Of two persons: how far each chosen face is from its pair, in bins of the axes."""

    @cached_property
    def fit(self) -> Int64:
        """(f,) which of `rows` are fit, by number."""
        return np.array([i for i, why in enumerate(self.worth.left_out) if not why], np.int64)

    @property
    def left_out(self) -> Counter[str]:
        """How many were left out, by reason."""
        return Counter(why for why in self.worth.left_out if why)

    @cached_property
    def axes(self) -> dict[str, Float32]:
        """(f,) the value of each fit face on each axis."""
        return spread.axes_of({name: values[self.fit] for name, values in self.worth.columns.items()})

    @property
    def quality(self) -> Float32:
        """(f,) of the fit faces."""
        return self.worth.quality[self.fit]

    @cached_property
    def moments(self) -> spread.Moments:
        """When the fit faces were seen."""
        return spread.moments(self.table, self.rows[self.fit])

    @cached_property
    def copies(self) -> Copies:
        """What tells copies among the fit faces."""
        return spread.copies(self.table, self.rows[self.fit], self.figures.take(self.fit), self.moments)

    def take(self, choice: Choice, apart: Sequence[float] = ()) -> None:
        """Settle what is chosen, by numbers of fit faces."""
        self.choice, self.apart = choice, apart

    @property
    def chosen(self) -> Int64:
        """(c,) the rows of the table that were chosen, in the order in which they were taken."""
        return self.rows[self.fit[np.array(self.choice.rows, np.int64)]]


@dataclass(frozen=True, eq=False)
class Chosen:
    """A training set of one person, or two that are fitted to each other.

    `rows` gives every face with its figures, whether it was chosen and why; `members` hold the rest, their
    `chosen` the rows of the `table`.
    """

    table: FaceTable
    members: Sequence[Member]
    scales: Sequence[spread.Ends]
    size: int
    purpose: str

    def rows(self, placed: Mapping[int, str] | None = None) -> Iterator[dict[str, Any]]:
        """One dict per face of the persons, chosen ones first in the order in which they were taken: person,
        whether it was `chosen` and as which, `why`, its file and second, all figures, and where it was
        `placed`."""
        for member in self.members:
            taken = {int(member.fit[f]): i for i, f in enumerate(member.choice.rows)}
            rest = [i for i in range(len(member.rows)) if i not in taken]
            for i in [*taken, *rest]:
                yield self._row(member, i, taken.get(i), placed or {})

    def _row(self, member: Member, i: int, order: int | None, placed: Mapping[int, str]) -> dict[str, Any]:
        row = int(member.rows[i])
        path, time = self.source(row), float(self.table.faces.time[row])
        why = member.worth.left_out[i] or "no more room for its kind, or a copy of a chosen one"
        if order is not None:
            apart = f"; {member.apart[order]:.1f} bins from its pair" if len(member.apart) else ""
            why = f"adds {member.choice.gains[order]:.2f}{apart}"
        known = {name: number(values[i]) for name, values in member.worth.columns.items()}
        return {
            "person": member.name,
            "chosen": "" if order is None else order + 1,
            "why": why,
            "source": path,
            "face_index": int(self.table.faces.face_index[row]),
            "time": number(time),
            "quality": number(member.worth.quality[i]),
            **known,
            "placed": placed.get(row, ""),
        }

    @property
    def folders(self) -> list[str]:
        """The folder of each member below the output: the output itself where there is one."""
        return [member.name if len(self.members) > 1 else "" for member in self.members]

    def source(self, row: int) -> str:
        """The path of a face's picture."""
        return str(self.table.files.path[self.table.faces.file_index[row]])

    def now(self, row: int, folder: Path, placed: Mapping[int, str]) -> str:
        """The same, where the picture may have been moved into `folder` since."""
        source = self.source(row)
        return source if os.path.lexists(source) else str(folder / placed.get(row, source))

    @property
    def columns(self) -> list[str]:
        """The keys of `rows`."""
        return list(next(self.rows()))


def number(value: Any) -> float | None:
    """Rounded for people; None where it is not known."""
    return None if math.isnan(value) else round(float(value), 4)

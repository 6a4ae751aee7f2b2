"""What was chosen: rows for people and programs, and the set as files."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import UsageError
from face_organizer.faceset import report, spread, swap
from face_organizer.faceset.choosing import Choice, Copies
from face_organizer.faceset.extract import Extracted, extracted
from face_organizer.faceset.figures import Figures
from face_organizer.faceset.worth import Worth
from face_organizer.files import count, write_csv
from face_organizer.library.people import Library
from face_organizer.media.video import is_video
from face_organizer.organize import Placed, View
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
class Faceset:
    """A training set of one person, or two that are fitted to each other.

    `rows` gives every face with its figures, whether it was chosen and why; `members` hold the rest, their
    `chosen` the rows of the `table`; `view` is the set as files.
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
        known = {name: _number(values[i]) for name, values in member.worth.columns.items()}
        return {
            "person": member.name,
            "chosen": "" if order is None else order + 1,
            "why": why,
            "source": path,
            "face_index": int(self.table.faces.face_index[row]),
            "time": _number(time),
            "quality": _number(member.worth.quality[i]),
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

    def summary(self) -> dict[str, Any]:
        """Counts, what was left out and why, and what is missing, for `--json`."""
        members = [
            {
                "name": m.name,
                "faces": len(m.rows),
                "fit": len(m.fit),
                "chosen": len(m.choice.rows),
                "copies_passed_over": m.choice.copies,
                "left_out": dict(m.left_out.most_common()),
                "median_sharpness": _number(np.median(m.worth.columns["sharpness"][m.fit[m.choice.rows]])),
            }
            for m in self.members
        ]
        return {
            "purpose": self.purpose,
            "size": self.size,
            "members": members,
            "missing": report.missing(self),
        }

    def view(self, extract: int | None = None, library: Library | None = None) -> View:
        """The set as files: the pictures as they are, byte for byte, or with `extract` aligned crops of that
        many pixels; faceset.csv, faceset.html, faceset.png; and of a set for swappers what they load. The
        folder takes down whose faces these are in the `library`, so that they can be forgotten.

        Raises `UsageError` for faces out of videos that are not to be cut out.
        """
        chosen = [
            (row, folder)
            for m, folder in zip(self.members, self.folders, strict=True)
            for row in m.chosen.tolist()
        ]
        made: Extracted | None = None
        if extract is None:
            if films := {path for row, _ in chosen if is_video(path := self.source(row))}:
                what = f"{count(len(films), 'film')} cannot be put into a set as a whole"
                raise UsageError(what, "--extract 512 cuts the faces out")
            entries = [(self.source(row), folder) for row, folder in chosen]
        else:
            entries, made = [], extracted(self.table, chosen, extract)
        names = [*(made.names if made else []), *swap.names(self), CSV, PAGE, PNG]

        def write(folder: Path, placed: Placed, on_step: Callable[[], object]) -> None:
            if made:
                where = made.write(folder, on_step)
            else:
                found = {row: placed.get((self.source(row), below)) for row, below in chosen}
                where = {row: path for row, path in found.items() if path}
            swap.write(self, folder, where)
            write_csv(folder / CSV, self.columns, self.rows(where))
            report.write(self, folder, where)

        def remember() -> tuple[str, Mapping[str, int]]:
            if library is None:
                return "", {}
            known = {person.name: person.id for person in library.people()}
            wanted = zip(self.folders, self.members, strict=True)
            return library.uuid, {f: known[m.name] for f, m in wanted if m.name in known}

        return View(entries, names, write, len(made.names) if made else 0, remember)

    @property
    def columns(self) -> list[str]:
        """The keys of `rows`."""
        return list(next(self.rows()))


def _number(value: Any) -> float | None:
    """Rounded for people; None where it is not known."""
    return None if math.isnan(value) else round(float(value), 4)

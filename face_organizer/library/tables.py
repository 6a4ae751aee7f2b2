"""What the faces of a table are to a library: what was said of them, and where the last run put them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from face_organizer.errors import UsageError
from face_organizer.files import printable
from face_organizer.library import registry
from face_organizer.library.opened import Opened
from face_organizer.library.said import NEW, NOBODY, Said, pairs_of
from face_organizer.types import FaceTable, Float32, Int64

_SEEN = "SELECT id, coalesce(person, 0) FROM faces WHERE seen AND id < ?"
_IDLE = (
    "DELETE FROM persons WHERE id NOT IN (SELECT person FROM faces WHERE person NOT NULL) "
    "AND id NOT IN (SELECT person FROM decisions WHERE person NOT NULL) "
    "AND id NOT IN (SELECT other FROM decisions WHERE other NOT NULL)"
)


class Tables(Opened):
    """The library as clustering and search know it; see `people.Library`."""

    def said(self, table: FaceTable) -> Said:
        """What was said of the faces of `table`, which are entered where they are new."""
        numbers = registry.enter(self.connection, table)
        state, persons = self.state, self._persons()
        row_of = {person.id: row for row, person in enumerate(persons)}
        size = int(numbers.max(initial=0)) + 1
        known, before = np.full(size, NOBODY, np.int64), np.full(size, NEW, np.int64)
        for face, person in state.known.items():
            if face < size:
                known[face] = row_of.get(person, NOBODY)
        seen = self.connection.execute(
            "SELECT id, coalesce(person, 0) FROM faces WHERE seen AND id < ?", (size,)
        )
        while part := seen.fetchmany(65_536):
            faces, whose = np.array(part, np.int64).T
            at, inverse = np.unique(whose, return_inverse=True)
            before[faces] = np.array([row_of.get(state.root(p), NOBODY) for p in at.tolist()])[inverse]
        ignored, spoken = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        ignored[[face for face in state.ignored if face < size]] = True
        spoken[[face for face in state.said if face < size]] = True
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        refused = []
        for face, person in state.refused:
            if person in row_of:
                start, end = np.searchsorted(ordered, [face, face + 1])
                refused += [(row, row_of[person]) for row in order[start:end].tolist()]
        out = ignored[numbers]
        for threshold, vector in self._kept_out(table):
            out |= table.embeddings @ vector >= threshold
        pairs = [(row_of[a], row_of[b]) for a, b in state.differ if a in row_of and b in row_of]
        return Said(
            persons,
            known[numbers],
            pairs_of(sorted(refused)),
            out,
            before[numbers],
            pairs_of(pairs),
            spoken[numbers],
        )

    def rows_of(self, names: Sequence[str], table: FaceTable) -> dict[str, Int64]:
        """The rows of `table` that each of the persons `names` has, all that the last run put there too.
        Raises `UsageError` for a name that nobody has, or of whom no face is in the table."""
        said, found = self.said(table), {}
        for name in names:
            called = self._name(self.person(name))
            (person,) = (row for row, one in enumerate(said.persons) if one.name == called)
            put = (said.before == person) & np.isin(said.known, (NOBODY, person)) & ~said.ignored
            refused = said.refused[said.refused[:, 1] == person, 0]
            put[refused] = False
            found[name] = np.flatnonzero((said.known == person) | put)
            if not len(found[name]):
                raise UsageError(f"no face of {printable(name)} is in the table: is it another one?")
        return found

    def adopt(self, table: FaceTable, said: Said) -> None:
        """Take over what another result knew of faces that no run of this library has put anywhere: where
        they were, and the names that somebody gave."""
        with self.transaction():
            numbers = registry.enter(self.connection, table)
            by_name = {one.name: one.id for one in self._persons()}
            ids = [by_name.get(one.name) or self._new(one.name) for one in said.persons]
            seen = [face for face, _ in self.connection.execute(_SEEN, (int(numbers.max(initial=0)) + 1,))]
            new = ~np.isin(numbers, seen) & (said.before > NEW)
            self._put(numbers[new], np.array([*ids, 0], np.int64)[said.before[new]])
            for one, number in zip(said.persons, ids, strict=True):
                if one.known and one.name not in by_name:
                    self.add("name", number, name=one.name, how="folders")
        self._state = None

    def remember(
        self, table: FaceTable, labels: Int64, names: Sequence[str], ids: Sequence[int | None]
    ) -> dict[str, int]:
        """Keep whom a run put each face of `table` with: `labels` (n,), -1 nobody, -2 not asked; `names` of
        the persons and their `ids`, None for a new one. The number of each person by name."""
        with self.transaction():
            numbers = registry.enter(self.connection, table)[labels > NEW]
            labels = labels[labels > NEW]
            self.connection.execute(
                _IDLE
            )  # of runs before: this one's folders name persons without a face too
            found = []
            for name, given in zip(names, ids, strict=True):
                if given is not None and given not in self.state.names:
                    self.connection.execute("UPDATE persons SET label = ? WHERE id = ?", (name, given))
                found.append(self._new(name) if given is None else given)
            whose = np.array([*found, 0], np.int64)[labels]
            self._put(numbers, whose)
        return dict(zip(names, found, strict=True))

    def _new(self, label: str) -> int:
        cursor = self.connection.execute("INSERT INTO persons (label) VALUES (?)", (label,))
        return cast(int, cursor.lastrowid)

    def _put(self, numbers: Int64, whose: Int64) -> None:
        """Write whose each face is, where that is not what stands there."""
        size = int(numbers.max(initial=0)) + 1
        now, then = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
        now[numbers] = whose
        rows = self.connection.execute(
            "SELECT id, coalesce(person, 0) FROM faces WHERE seen AND id < ?", (size,)
        )
        while part := rows.fetchmany(65_536):
            faces, persons = np.array(part, np.int64).T
            then[faces] = persons
        changed = np.flatnonzero((now >= 0) & (now != then))
        self.connection.executemany(
            "UPDATE faces SET person = nullif(?, 0), seen = 1 WHERE id = ?",
            zip(now[changed].tolist(), changed.tolist(), strict=True),
        )

    def numbers(self, table: FaceTable) -> Int64:
        """The number (n,) of each face of `table`, those that are new entered."""
        return registry.enter(self.connection, table)

    def use(self, kind: str, *paths: str | Path) -> None:
        """Keep that it is used with these tables, or output folders, so that forgetting finds them."""
        with self.transaction():
            lines = [(os.fsencode(os.path.abspath(path)), kind) for path in paths]
            self.connection.executemany("INSERT OR REPLACE INTO used VALUES (?, ?)", lines)

    def _kept_out(self, table: FaceTable) -> list[tuple[float, Float32]]:
        space = repr(table.stamp.space if table.stamp else None)
        rows = self.connection.execute("SELECT threshold, vector FROM kept_out WHERE space = ?", (space,))
        return [(threshold, np.frombuffer(vector, np.float32)) for threshold, vector in rows]

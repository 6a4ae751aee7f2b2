"""Work that survives a kill: which pictures are still to be looked at, in which shards, and what is done.

Beside the table that is being made lies a folder `NAME.work` with the plan (`plan.json`), a fixed division of
sorted pictures, and a small table of each finished shard, until all are there and are merged into the table.
The same call again, whenever it was killed, goes on from there and comes to the same table.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer import table
from face_organizer.embed.known import Known, at_new_places, find, fresh
from face_organizer.embed.shards import Shard, divide
from face_organizer.errors import FaceOrganizerError, TableError, UsageError
from face_organizer.files import atomic_write, count, is_inside, os_errors, printable
from face_organizer.types import FaceTable, Stamp

_PLAN, _TABLES = "plan.json", "shard-*"


@dataclass(frozen=True, slots=True)
class Todo:
    """What a run has to do. `shards` are still to be made, `done` are made; `kept` counts pictures that are
    taken over from the table before; `backup` says why that is kept as `NAME.bak`, empty where it is not;
    `known` tells what is known by its bytes, and what stays."""

    shards: Sequence[Shard]
    done: Sequence[Shard]
    kept: int
    backup: str
    known: Known = field(default_factory=Known)

    @property
    def pictures(self) -> int:
        """Pictures that are still to be looked at."""
        return sum(len(s.paths) for s in self.shards)


class Workplace:
    """The folder beside the table `output` in which that table is made, to be used inside `with
    workplace.locked():`. `lock` keeps another run out of it, see `Engine.lock`."""

    def __init__(self, output: Path, lock: Callable[[Path], AbstractContextManager[None]]) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".work")
        self._lock = lock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and remove it in the end where nothing in it is worth keeping."""
        # Where the run before removes the folder just now, that says that it exists; `lock` will say so.
        with os_errors(self.folder, "cannot be made", TableError), suppress(FileExistsError):
            self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock(self.folder):
            try:
                yield
            finally:
                if not any(self.folder.glob(_TABLES)):
                    shutil.rmtree(self.folder, ignore_errors=True)

    def plan(
        self,
        paths: Sequence[str],
        stamp: Stamp,
        again: str | None = None,
        *,
        replace: bool = False,
        unlisted: Sequence[str] = (),
    ) -> Todo:
        """What is to be done so that the table holds `paths` (sorted), looked at as `stamp` says.

        `again` is what is looked at although it is known: files that `failed`, that `changed` under the same
        size and time (reads every file), or `all`, but for what an unfinished run with `all` looked at.
        Bytes that the table knows are not looked at again, wherever they lie now, and bytes that several of
        `paths` have are looked at once. Rows in `unlisted` folders, which could not be looked into, stay.
        Raises `UsageError` where the table that is there holds pictures that still exist, are not among
        `paths` and don't stay, unless `replace`.
        """
        settings, listed, everything = _settings(stamp), set(paths), again == "all"
        read = self.output.exists() and not (everything and replace)
        there = table.read(self.output) if read else None
        before = None if everything else _if_made_as(there, settings)
        old = find(paths, before, again, unlisted, lambda: self._backed_up(settings))
        if there is not None and not replace:
            self._refuse_others(there, listed, old, unlisted)
        known = old.fresh.union(old.moved, old.back)
        backup = ""
        if before is not None:
            if dropped := len(self._let_go(before, listed, old)):
                backup = f"it holds {count(dropped, 'picture')} not among the inputs now"
        elif self.output.exists():
            backup = "it was made with other settings or models"
            if everything:
                backup = "everything is looked at again"
        kept = len(known & listed)

        planned = self._planned(settings, everything=everything)
        numbers = itertools.count(1 + max((s.number for s in planned), default=-1))
        done, left = [], []
        for shard in planned:
            made = self._table_of(shard, settings, listed, again)
            if made is None:
                left.append(shard)
                continue
            done.append(dataclasses.replace(shard, paths=list(made.files.path)))
            known.update(made.files.path)
            if len(made.files) < len(shard.paths):  # a run that was stopped left it in part
                left.append(self._shard(next(numbers), shard.paths))
        twins = {p: first for p, first in old.twins.items() if p not in known}
        old = dataclasses.replace(old, twins=twins)
        known.update(twins)
        rest = [(s.number, [p for p in s.paths if p in listed and p not in known]) for s in left]
        taken = known.union(*(some for _, some in rest))
        rest += zip(numbers, divide([p for p in paths if p not in taken]), strict=False)
        todo = [self._shard(number, some) for number, some in rest if some]
        if todo or done:
            shards = {s.number: list(s.paths) for s in (*done, *todo)}
            document = {"settings": settings, "force": everything, "shards": shards}
            with atomic_write(self.folder / _PLAN) as file:
                file.write(json.dumps(document).encode("ascii"))
        return Todo(todo, done, kept, backup, old)

    def finish(self, todo: Todo, paths: Sequence[str], stamp: Stamp) -> FaceTable:
        """Merge what was kept and all shards into the table, write it, and forget the plan. Raises
        `FaceOrganizerError` where the tables of the shards do not hold all pictures."""
        known = todo.known
        if not (todo.done or todo.shards or todo.backup or known.moved or known.back or known.twins):
            self.clear()
            return table.read(self.output)
        parts = [table.read(s.target) for s in (*todo.done, *todo.shards)]
        if todo.kept or known.stay:
            before = table.read(self.output)
            wanted = known.fresh.union(known.stay).difference(
                known.moved, *(made.files.path for made in parts)
            )
            parts.append(before.take_files(np.array([p in wanted for p in before.files.path], bool)))
            parts.append(at_new_places(before, known.moved))
            if known.back and (old := self._backed_up(_settings(stamp))) is not None:
                parts.append(at_new_places(old, known.back))
        merged = dataclasses.replace(table.merge(parts, [str(self.output)] * len(parts)), stamp=stamp)
        if known.twins:
            row_of = {path: row for row, path in enumerate(merged.files.path)}
            twins = {path: row_of[first] for path, first in known.twins.items() if first in row_of}
            merged = table.merge([merged, at_new_places(merged, twins)])
        if missing := len(set(paths).difference(merged.files.path)):
            what = f"{count(missing, 'picture')} got no outcome, since a shard was not finished"
            raise FaceOrganizerError(what, "run it again")
        if todo.backup and self.output.exists():
            self._keep_old()
        table.write(merged, self.output)
        self.clear()
        return merged

    def _backed_up(self, settings: Mapping[str, Any]) -> FaceTable | None:
        """The table before, if it is there and was made with these settings."""
        return _if_made_as(table.read(self._bak) if self._bak.exists() else None, settings)

    @property
    def _bak(self) -> Path:
        return self.output.with_name(self.output.name + ".bak")

    def _let_go(self, there: FaceTable, listed: set[str], known: Known) -> list[str]:
        """Paths of the table neither listed nor known to stay, whose bytes were not found elsewhere."""
        at = {*known.stay.values(), *known.moved.values()}
        contents = there.files.content.tolist()
        again = {contents[row] for row in known.moved.values() if row < len(contents)} - {0}
        rows = enumerate(there.files.path)
        return [p for row, p in rows if not (p in listed or row in at or contents[row] in again)]

    def _refuse_others(
        self, there: FaceTable, listed: set[str], known: Known, unlisted: Sequence[str]
    ) -> None:
        """Raise where the table holds pictures that are there, and are neither listed nor known to stay."""
        others = [path for path in self._let_go(there, listed, known) if os.path.exists(path)]
        others = [path for path in others if not any(is_inside(path, Path(folder)) for folder in unlisted)]
        if others:
            raise UsageError(
                f"{printable(self.output)} holds {count(len(others), 'picture')} not among these inputs, "
                f"such as {printable(others[0])}",
                "name all inputs in one call, give another --output (cluster takes several tables), or say "
                "--replace",
            )

    def clear(self) -> None:
        """Forget plan and shards."""
        for place in [self.folder / _PLAN, *self.folder.glob(_TABLES)]:
            place.unlink(missing_ok=True)

    def _keep_old(self) -> None:
        backup = self._bak
        if backup.is_dir():
            shutil.rmtree(backup)
        if self.output.is_dir():
            os.replace(self.output, backup)
            return
        # A second name first, so that the old table is under its own until the new one takes its place.
        second = self.folder / "old"
        second.unlink(missing_ok=True)
        try:
            os.link(self.output, second)
        except OSError:  # no hard links on this file system
            shutil.copyfile(self.output, second)
        os.replace(second, backup)

    def _table_of(
        self, shard: Shard, settings: Mapping[str, Any], listed: set[str], again: str | None
    ) -> FaceTable | None:
        """The table of a shard that an unfinished run has made, or None; one that no longer holds goes."""
        if shard.target.exists():
            made = _if_made_as(table.read(shard.target), settings)
            if made is not None and fresh(made, again) >= set(made.files.path) <= listed:
                return made
            shard.target.unlink()
        return None

    def _planned(self, settings: Mapping[str, Any], *, everything: bool) -> list[Shard]:
        """The shards of an unfinished plan with these settings, and made so where `everything`; others go."""
        try:
            document = json.loads((self.folder / _PLAN).read_text("ascii"))
            if document["settings"] == settings and (document.get("force") or not everything):
                return [self._shard(int(number), list(paths)) for number, paths in document["shards"].items()]
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            place = printable(self.folder / _PLAN)
            raise TableError(f"{place}: damaged", "remove the folder to start anew") from error
        self.clear()
        return []

    def _shard(self, number: int, paths: Sequence[str]) -> Shard:
        return Shard(number, paths, self.folder / f"shard-{number:06d}.pkl")


def _if_made_as(there: FaceTable | None, settings: Mapping[str, Any]) -> FaceTable | None:
    """The table, if there is one and it was made with these settings."""
    return there if there is not None and there.stamp and _settings(there.stamp) == settings else None


def _settings(stamp: Stamp) -> dict[str, Any]:
    """What must be equal for rows of two runs to stand in one table."""
    return dict(json.loads(json.dumps({"space": stamp.space, "options": dict(stamp.options)})))

"""Work that survives a kill: which pictures are still to be looked at, in which shards, and what is done.

Beside the table that is being made lies a folder `NAME.work` with the plan (`plan.json`) and one small table
a finished shard. The plan is a fixed division of sorted pictures; a shard's table appears whole or not at
all. When all are there, they are merged into the table and the folder goes. The same call again, whenever it
was killed, goes on from there and comes to the same table; after that, it looks only at what is new or
changed.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer import table
from face_organizer.embed.known import unchanged
from face_organizer.embed.shards import Shard, parts
from face_organizer.errors import FaceOrganizerError, TableError, UsageError
from face_organizer.files import atomic_write, printable
from face_organizer.types import FaceTable, Stamp

_PLAN, _LOCK = "plan.json", "lock"


@dataclass(frozen=True, slots=True)
class Todo:
    """What a run has to do. `shards` are still to be made; `done` are made; `kept` counts pictures of the
    table before that are taken over; `dropped` those of it that are no longer among the inputs."""

    shards: Sequence[Shard]
    done: Sequence[Shard]
    kept: int
    dropped: int
    backup: str = ""
    """Why the table that is there is kept as `NAME.bak`; empty where the new one holds all that it held."""

    @property
    def pictures(self) -> int:
        """Pictures that are still to be looked at."""
        return sum(len(s.paths) for s in self.shards)


class Workplace:
    """The folder beside a table in which that table is made. Use it inside `with workplace.locked():`."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.folder = output.with_name(output.name + ".work")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run from writing the same table. Raises `FaceOrganizerError` where one is at it."""
        busy = FaceOrganizerError(f"{printable(self.output)}: another run is writing this table")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if self.folder.is_file():
                raise TableError(f"{printable(self.folder)} is a file, where a folder is wanted") from None
            raise busy from None  # the run before removes the folder just now
        except OSError as error:
            raise TableError(f"{printable(self.folder)}: cannot be made: {error.strerror}") from error
        try:
            file = open(self.folder / _LOCK, "w")  # noqa: SIM115 - held below, for as long as the block runs
        except FileNotFoundError:
            raise busy from None
        except OSError as error:
            raise TableError(f"{printable(self.folder)}: cannot be written: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The run before may have removed the folder since: then this lock keeps nobody away.
                held = os.path.samestat(os.fstat(file.fileno()), os.stat(self.folder / _LOCK))
            except (BlockingIOError, FileNotFoundError):
                held = False
            if not held:
                raise busy
            try:
                yield
            finally:
                if self.folder.is_dir() and not any(self.folder.glob("shard-*")):
                    shutil.rmtree(self.folder, ignore_errors=True)

    def plan(
        self,
        paths: Sequence[str],
        stamp: Stamp,
        again: Callable[[FaceTable], Any],
        *,
        force: bool = False,
        replace_table: bool = False,
    ) -> Todo:
        """What is to be done so that the table holds `paths` (sorted), looked at as `stamp` says.

        `again` gives, for a table, a mask (n files) of those that should be looked at again although they are
        known. `force` looks at everything again, but for what an unfinished run with `force` looked at.

        Raises `UsageError` where the table that is there holds pictures that still exist and are not among
        `paths`, unless `replace_table`: nobody means to lose them.
        """
        settings, listed = _settings(stamp), set(paths)
        there = None if force and replace_table else self._table_there()
        if there is not None and not replace_table:
            self._check_nothing_is_lost(there, listed)
        before = None if force else _if_made_as(there, settings)
        planned = self._planned(settings, force=force)
        if planned is None:
            self.clear()
            planned = []
        known: set[str] = set()
        kept = dropped = 0
        if before is not None:
            fresh = unchanged(before, again)
            known = {p for p, good in zip(before.files.path, fresh, strict=True) if good and p in listed}
            kept, dropped = len(known), sum(p not in listed for p in before.files.path)
        done, open_shards, rests = [], [], []
        for shard in planned:
            if shard.target.exists():
                made = table.read(shard.target)
                good = {
                    p for p, ok in zip(made.files.path, unchanged(made, again), strict=True) if ok
                } & listed
                if len(good) == len(made.files) and made.stamp and _settings(made.stamp) == settings:
                    known |= good
                    done.append(replace(shard, paths=list(made.files.path)))
                    # A run that was stopped left it in part, chunks from its start: the rest are the others.
                    rests.append([p for p in shard.paths if p in listed and p not in good])
                    continue
                shard.target.unlink()
            open_shards.append(shard)
        known_now = frozenset(known)
        still = [
            replace(s, paths=[p for p in s.paths if p in listed and p not in known_now]) for s in open_shards
        ]
        rests = [rest for paths in rests if (rest := [p for p in paths if p not in known_now])]
        taken = known_now.union(*(s.paths for s in still), *rests)
        number = 1 + max((s.number for s in planned), default=-1)
        new = [
            self._shard(number + n, part)
            for n, part in enumerate([*rests, *parts([p for p in paths if p not in taken])])
        ]
        todo = [s for s in still if s.paths] + new
        if todo or done:
            self._write_plan(settings, [*done, *todo], force=force)
        backup = ""
        if dropped:
            backup = f"{dropped:,} of its pictures are not among the inputs now"
        elif self.output.exists() and before is None:
            backup = "everything is looked at again" if force else "it was made with other settings or models"
        return Todo(todo, done, kept, dropped, backup)

    def finish(self, todo: Todo, paths: Sequence[str], stamp: Stamp) -> FaceTable:
        """Merge what was kept and all shards into the table, write it, and remove the work folder.

        A table before it that held pictures which the new one does not hold is kept as `NAME.bak`.
        """
        if not todo.done and not todo.shards and not todo.dropped:
            self.clear()
            return table.read(self.output)
        made = [table.read(s.target) for s in (*todo.done, *todo.shards)]
        before = _if_made_as(self._table_there(), _settings(stamp)) if todo.kept else None
        parts = made
        if before is not None:
            fresh = {p for t in made for p in t.files.path}
            wanted = set(paths) - fresh
            parts = [before.take_files(np.array([p in wanted for p in before.files.path], bool)), *made]
        merged = replace(table.merge(parts, [str(self.output)] * len(parts)), stamp=stamp) if parts else None
        if merged is None:
            raise FaceOrganizerError("nothing to write")
        if todo.backup and self.output.exists():
            self._keep_old()
        table.write(merged, self.output)
        self.clear()
        return merged

    def _check_nothing_is_lost(self, there: FaceTable, listed: set[str]) -> None:
        others = [p for p in there.files.path if p not in listed and os.path.exists(p)]
        if others:
            raise UsageError(
                f"{printable(self.output)} holds {len(others):,} pictures that are not among these inputs, "
                f"such as {printable(others[0])}: name all inputs in one call, give another --output "
                "(cluster takes several tables), or say --replace"
            )

    def clear(self) -> None:
        """Forget plan and shards."""
        for name in os.listdir(self.folder) if self.folder.is_dir() else []:
            if name != _LOCK:
                (self.folder / name).unlink()

    def _keep_old(self) -> None:
        backup = self.output.with_name(self.output.name + ".bak")
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

    def _table_there(self) -> FaceTable | None:
        """The table that is there, however it was made."""
        return table.read(self.output) if self.output.exists() else None

    def _planned(self, settings: Mapping[str, Any], *, force: bool) -> list[Shard] | None:
        """The shards of an unfinished plan with these settings, None where there is none; with `force`, of
        one that was made so."""
        try:
            document = json.loads((self.folder / _PLAN).read_text("ascii"))
            if document["settings"] != settings or (force and not document.get("force")):
                return None
            return [self._shard(int(number), list(paths)) for number, paths in document["shards"].items()]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TableError(
                f"{printable(self.folder / _PLAN)}: damaged; remove the folder to start anew"
            ) from error

    def _shard(self, number: int, paths: Sequence[str]) -> Shard:
        return Shard(number, paths, self.folder / f"shard-{number:06d}.pkl")

    def _write_plan(self, settings: Mapping[str, Any], shards: Sequence[Shard], *, force: bool) -> None:
        paths = {s.number: list(s.paths) for s in shards}
        document = {"settings": settings, "force": force, "shards": paths}
        with atomic_write(self.folder / _PLAN) as file:
            file.write(json.dumps(document).encode("ascii"))


def _if_made_as(there: FaceTable | None, settings: Mapping[str, Any]) -> FaceTable | None:
    """The table, if there is one and it was made with these settings."""
    return there if there is not None and there.stamp and _settings(there.stamp) == settings else None


def _settings(stamp: Stamp) -> dict[str, Any]:
    """What must be equal for rows of two runs to stand in one table."""
    plain: dict[str, Any] = json.loads(json.dumps({"space": stamp.space, "options": dict(stamp.options)}))
    return plain

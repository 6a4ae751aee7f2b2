"""Walks through plans in changing modes: whatever happens in between, no file is lost, none lies twice, and
every file in a folder is one that the plan counts or names."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from face_organizer import organize
from face_organizer.files import MARKER
from face_organizer.organize.journal import GONE

FOLDERS = ("ann", "bob", "ann/review", "")
NAMES = ("a.jpg", "b.jpg", "A.jpg", "c.heic")
CALLS = ("link", "symlink", "unlink", "rename", "replace", "mkdir", "rmdir")
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a walk is not worth the minutes of making it shorter
WALKS = int(os.environ.get("FACE_ORGANIZER_WALKS", "40"))


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def mortal(steps: int) -> Iterator[None]:
    """After so many changes to the disk no other comes to be, as after a kill."""
    left = [steps]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*given, **named)

        return made

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        yield


class Plans(RuleBasedStateMachine):
    """One output folder and a disk of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.out, self.disk, self.away = (self.root / name for name in ("out", "disk", "away"))
        self.rows: dict[str, str] = {}
        """The path by which the table names each picture, by its home."""
        self.folders: dict[str, set[str]] = {}
        self.bytes: dict[str, bytes] = {}
        self.beside: dict[str, bytes] = {}
        self.mine: dict[Path, bytes] = {}
        self.deleted: set[bytes] = set()
        self.number = 0
        self.is_lost = False

    def teardown(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.root)

    @initialize()
    def start(self) -> None:
        """A disk with a few pictures."""
        for folder, name in (("x", "a.jpg"), ("y", "a.jpg"), ("x", "b.jpg")):
            self.add(folder, name, {"ann"}, edited=name == "b.jpg")

    def _new(self, path: Path) -> bytes:
        self.number += 1
        data = b"%05d" % self.number
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(10**18 + self.number, 10**18 + self.number))  # almost at once
        return data

    @rule(
        folder=st.sampled_from("xy"),
        name=st.sampled_from(NAMES),
        into=st.sets(st.sampled_from(FOLDERS), min_size=1, max_size=2),
        edited=st.booleans(),
    )
    def add(self, folder: str, name: str, into: set[str], *, edited: bool) -> None:
        """A picture, maybe with a file that describes how it was edited."""
        path = self.disk / folder / name
        if not (str(path) not in self.bytes and not self.away.exists()):
            return
        self.bytes[str(path)] = self._new(path)
        self.rows[str(path)], self.folders[str(path)] = str(path), into
        sidecar = path.with_suffix(".xmp")
        if edited and str(sidecar) not in self.beside:
            self.beside[str(sidecar)] = self._new(sidecar)

    @rule(data=st.data(), into=st.sets(st.sampled_from(FOLDERS), max_size=2))
    def sort_differently(self, data: st.DataObject, into: set[str]) -> None:
        """A picture is somebody else's, or nobody wants it."""
        self.folders[data.draw(st.sampled_from(sorted(self.folders)))] = into

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """The user deletes an original, which the table goes on to know."""
        there = [home for home in self.bytes if os.path.exists(home)]
        if not (there):
            return
        home = data.draw(st.sampled_from(sorted(there)))
        os.unlink(home)
        self.deleted.add(self.bytes[home])

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """What was deleted comes back from a backup."""
        back = [h for h, content in self.bytes.items() if content in self.deleted and not os.path.exists(h)]
        if not (back and not self.away.exists()):
            return
        home = data.draw(st.sampled_from(sorted(back)))
        data_of = self.bytes[home]
        self.number, number = int(data_of) - 1, self.number
        self._new(Path(home))
        self.number = number
        self.deleted.discard(data_of)

    @rule()
    def unmount(self) -> None:
        """The disk goes, or comes back."""
        if self.away.exists():
            if self.disk.exists():
                if any(p.is_file() for p in self.disk.rglob("*")):
                    return
                shutil.rmtree(self.disk)
            self.away.rename(self.disk)
        elif self.disk.exists():
            self.disk.rename(self.away)

    @rule(folder=st.sampled_from(FOLDERS), name=st.sampled_from(NAMES))
    def drop(self, folder: str, name: str) -> None:
        """The user puts a file of their own into a folder."""
        path = self.out / folder / name
        if not ((self.out / folder).is_dir() and not os.path.lexists(path)):
            return
        self.mine[path] = self._new(path)

    @rule(folder=st.sampled_from(["ann", "bob"]))
    def rename(self, folder: str) -> None:
        """The user gives a folder a name of their own, or its old one back."""
        one, other = self.out / folder, self.out / f"{folder} smith"
        if other.exists():
            one, other = other, one
        if one.is_dir() and not other.exists():
            one.rename(other)
            self.mine = {self._below(path, one, other): content for path, content in self.mine.items()}

    @staticmethod
    def _below(path: Path, one: Path, other: Path) -> Path:
        return other / path.relative_to(one) if one in path.parents else path

    @rule(data=st.data(), folder=st.sampled_from(["ann", "bob"]))
    def drag(self, data: st.DataObject, folder: str) -> None:
        """The user drags a placed picture into another folder, or out of all where there is another."""
        placed = [p for p in self._there(self.out) if p not in self.mine and not p.is_symlink()]
        if not placed:
            return
        path = data.draw(st.sampled_from(sorted(placed)))
        target = self.out / folder / path.name
        if target.parent.is_dir() and not target.exists():
            path.rename(target)

    @rule(data=st.data())
    def drop_a_twin(self, data: st.DataObject) -> None:
        """The journal is lost: what stands there is nobody's, and the very pictures."""
        if not ((self.out / MARKER / "plan.jsonl").exists()):
            return
        if not (all(os.path.exists(home) for home in self.bytes)):
            return
        (self.out / MARKER / "plan.jsonl").unlink()
        self.is_lost = True

    def _entries(self) -> list[tuple[str, str]]:
        return [(self.rows[home], folder) for home in self.folders for folder in self.folders[home]]

    def _rename(self, places: Mapping[str, str]) -> None:
        self.rows = {home: places.get(path, path) for home, path in self.rows.items()}

    def _apply(self, mode: str) -> organize.Applied:
        return organize.plan(self._entries(), self.out, mode=mode).apply(on_places=self._rename)

    @rule(mode=st.sampled_from(organize.MODES), steps=st.none() | st.integers(0, 40))
    def run(self, mode: str, steps: int | None) -> None:
        """A plan is carried out, perhaps killed before and called again."""
        if steps is not None:
            try:
                with mortal(steps):
                    self._apply(mode)
            except Killed:
                self.nothing_is_lost()
        applied = self._apply(mode)
        self._check(applied)
        again = self._apply(mode)
        if not (self.is_lost or self.deleted or self.away.exists()):
            assert list(again.moves) == list(applied.moves)
        self._check(again)

    def _check(self, applied: organize.Applied) -> None:
        counted = {str(self.out / move.target) for move in applied.moves}
        named = {*applied.kept, *applied.gone, *applied.foreign}
        folders = {self.out / move.folder for move in applied.moves} - {self.out}
        for path in self._there(self.out):
            if path.parent in folders:
                assert str(path) in counted | named, path
        assert all(os.path.lexists(path) for path in counted)
        lies = Counter((m.folder, m.source) for m in applied.moves)
        assert set(lies.values()) <= {1}
        lost = {one.source for one in applied.missing}
        for home, folders in self.folders.items():
            found = {move.folder for move in applied.moves if move.source == home}
            assert found <= folders
            assert bool(found) != (home in lost) or not folders
            if os.path.exists(home) or (home not in lost and self.bytes[home] not in self.deleted):
                assert found == folders or not os.path.exists(home)
        assert {Path(path).parts[len(self.out.parts)] for path in applied.gone} <= {GONE}

    @rule(steps=st.none() | st.integers(0, 40))
    def undo(self, steps: int | None) -> None:
        """All is taken back, perhaps killed before and called again."""
        if not ((self.out / MARKER).exists()):
            return
        if steps is not None:
            try:
                with mortal(steps):
                    organize.undo(self.out)
            except Killed:
                self.nothing_is_lost()
        kept: list[str] = []
        if (self.out / MARKER).exists():
            kept = list(organize.undo(self.out).kept)
        self.rows = {home: home for home in self.rows}
        if not (self.away.exists() or self.is_lost):
            left = {str(path) for path in self._there(self.out)}
            assert left == {*kept, *(str(path) for path in self.mine)} or kept

    @staticmethod
    def _there(folder: Path) -> list[Path]:
        return [p for p in folder.rglob("*") if not p.is_dir() and MARKER not in p.parts]

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every picture, sidecar and file of the user's own is there, whole."""
        found = {path.read_bytes() for path in self._there(self.root) if path.exists()}
        for content in [*self.bytes.values(), *self.beside.values()]:
            assert content in found or content in self.deleted, content
        for path, content in self.mine.items():
            assert path.read_bytes() == content


Plans.TestCase.settings = settings(max_examples=WALKS, stateful_step_count=20, deadline=None, phases=PHASES)
TestPlans = Plans.TestCase

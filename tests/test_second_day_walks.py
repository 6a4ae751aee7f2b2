"""Walks through many days, of which nothing may be lost.

Whatever is added, deleted, renamed, dragged, killed or undone, in any order: no file is lost, none lies
twice, no name is lost, the summary is what lies in the folders, and decisions hold.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from households import Household
from hypothesis import Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from shell import here

import face_organizer as fo
from face_organizer.organize import applying

WHO = ("ann", "bob", "cid", "dee")
NAMES = ("Alice", "Ben", "Carl", "Dora", "Eve")
ASIDE = {"unassigned", "gone"}
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a walk is not worth the minutes of making it shorter
WALKS = int(os.environ.get("FACE_ORGANIZER_WALKS", "12"))


class Days(RuleBasedStateMachine):
    """What one household does to its pictures, and what must hold after each run."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.home = Household(self.root)
        self.taken: Counter[str] = Counter()
        self.originals: dict[str, bytes] = {}
        self.sure: dict[bytes, int] = {}
        self.never: set[tuple[bytes, int]] = set()
        self.names: dict[int, str] = {}
        self.mode = "copy"
        self.fresh = False

    def teardown(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.root)

    @initialize(mode=st.sampled_from(["copy", "copy", "move", "hardlink"]))
    def first_day(self, mode: str) -> None:
        """Three people and a stranger."""
        self.mode = mode
        for who, count in (("ann", 6), ("bob", 5), ("cid", 4), ("stranger", 1)):
            self._add(who, count)
        self.run()

    def _add(self, who: str, count: int) -> None:
        for path in self.home.photos(who, count, self.taken[who]):
            self.originals[path.name] = path.read_bytes()
        self.taken[who] += count

    @rule(who=st.sampled_from(WHO), count=st.integers(1, 4))
    def add(self, who: str, count: int) -> None:
        """More photos."""
        self._add(who, count)

    @rule(data=st.data())
    def delete_an_original(self, data: st.DataObject) -> None:
        """Some photo is no longer in the collection."""
        assume(len(self.originals) > 12 and self.mode != "move")
        name = data.draw(st.sampled_from(sorted(self.originals)))
        (self.home.inbox / name).unlink()
        del self.originals[name]

    @rule()
    def remount(self) -> None:
        """The collection lies elsewhere, an hour later."""
        assume(self.mode != "move")
        elsewhere = self.root / f"disk {len(list(self.root.iterdir()))}"
        self.home.inbox.rename(elsewhere)
        self.home.inbox = elsewhere
        for path in elsewhere.iterdir():
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 3_600_000_000_000))

    @rule(words=st.sampled_from([[], ["-k", "2"], ["--threshold", "0.55"], ["--min-cluster-size", "2"]]))
    def run(self, words: list[str] | None = None) -> None:
        """Sort again."""
        done = self.home.cluster("--json", "--mode", self.mode, *(words or []))
        self.fresh = True
        told = json.loads(done.out)
        folders = self.home.folders()
        placed = {f: len(names) for f, names in folders.items() if f.partition("/")[0] != "gone"}
        assert told["persons"] == placed
        with fo.Library(self.home.people) as library:
            self._check_decisions(library, folders)

    def _check_decisions(self, library: fo.Library, folders: dict[str, list[str]]) -> None:
        contents = {data: name for name, data in self.originals.items()}
        lies = {
            (self.home.people / folder / name).read_bytes(): folder
            for folder, names in folders.items()
            for name in names
            if folder.partition("/")[0] not in ASIDE and not folder.endswith("/review")
        }
        for data, person in self.sure.items():
            if data in contents:
                assert lies.get(data) == library.name_of(person), contents[data]
        for data, person in self.never:
            if data in contents:
                assert lies.get(data) != library.name_of(person), contents[data]
        for person, name in self.names.items():
            assert library.name_of(person) == name

    @rule(at=st.integers(0, 30))
    def killed(self, at: int) -> None:
        """A run ends in the middle, and is called again."""
        left, make = [at], applying.make

        def mortal(*given: Any) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            make(*given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(applying, "make", mortal)
            self.home.cluster("--mode", self.mode, code=None)
        self.run()

    def _person_folders(self) -> list[str]:
        return sorted(f for f in self.home.folders() if f not in ASIDE and "/" not in f)

    def _id(self, folder: str) -> int:
        with fo.Library(self.home.people) as library:
            return library.person(folder)

    @precondition(lambda self: self.fresh)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def rename(self, data: st.DataObject, name: str) -> None:
        """A person gets a name."""
        assume(name not in self.names.values() and not (self.home.people / name).exists())
        folder = data.draw(st.sampled_from(self._person_folders()))
        self.names[self._id(folder)] = name
        (self.home.people / folder).rename(self.home.people / name)
        self.fresh = False

    @precondition(lambda self: self.fresh)
    @rule(data=st.data())
    def swap(self, data: st.DataObject) -> None:
        """Two folders' names were mixed up."""
        assume(len(self._person_folders()) > 1)
        one, other = data.draw(st.permutations(self._person_folders()))[:2]
        ids = self._id(one), self._id(other)
        people = self.home.people
        (people / one).rename(people / "x")
        (people / other).rename(people / one)
        (people / "x").rename(people / other)
        self.names[ids[0]], self.names[ids[1]] = other, one
        self.fresh = False

    def _drawn(self, data: st.DataObject, least: int) -> tuple[str, str, bytes]:
        """A person's folder with at least so many pictures, one of these, and its bytes."""
        folders = self.home.folders()
        large = [f for f in self._person_folders() if len(folders[f]) >= least]
        assume(large)
        folder = data.draw(st.sampled_from(large))
        name = data.draw(st.sampled_from(folders[folder]))
        return folder, name, (self.home.people / folder / name).read_bytes()

    @precondition(lambda self: self.fresh)
    @rule(data=st.data())
    def drag(self, data: st.DataObject) -> None:
        """A picture is somebody else."""
        folder, name, content = self._drawn(data, 4)
        others = [f for f in self._person_folders() if f != folder]
        assume(others)
        target = data.draw(st.sampled_from(others))
        assume(not (self.home.people / target / name).exists())
        self._not(content, self._id(folder))
        self.sure[content] = self._id(target)
        self.never.discard((content, self.sure[content]))
        os.rename(self.home.people / folder / name, self.home.people / target / name)
        self.fresh = False

    def _not(self, content: bytes, person: int) -> None:
        self.never.add((content, person))
        if self.sure.get(content) == person:
            del self.sure[content]

    @precondition(lambda self: self.fresh)
    @rule(data=st.data())
    def delete_a_copy(self, data: st.DataObject) -> None:
        """A picture is not that person."""
        folder, name, content = self._drawn(data, 4)
        assume(self.mode != "move")
        self._not(content, self._id(folder))
        (self.home.people / folder / name).unlink()
        self.fresh = False

    @precondition(lambda self: self.fresh)
    @rule()
    def undo(self) -> None:
        """The folders go; what was said stays."""
        assert here("undo", self.home.people).code in (0, 3)
        self.fresh = False

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every original is there, byte for byte."""
        places = [self.home.inbox, *([self.home.people] if self.mode == "move" else [])]
        found = {p.name: p.read_bytes() for place in places for p in place.rglob("*.jpg")}
        assert found == self.originals

    @invariant()
    def nothing_lies_twice(self) -> None:
        """A picture of one face lies in one folder, once."""
        if self.fresh:
            lies = Counter(
                path.read_bytes() for path in self.home.people.rglob("*.jpg") if "gone" not in path.parts
            )
            assert set(lies.values()) <= {1}


Days.TestCase.settings = settings(max_examples=WALKS, stateful_step_count=20, deadline=None, phases=PHASES)
TestDays = Days.TestCase

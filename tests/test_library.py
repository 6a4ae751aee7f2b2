"""The library: faces known by their bytes and boxes, a journal that is only added to, a file that lasts."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from households import Household, embedded, photo
from hypothesis import given
from hypothesis import strategies as st
from shell import here

from face_organizer.errors import LibraryError, UsageError
from face_organizer.library import NEW, NOBODY, registry, store
from face_organizer.library.decisions import ContradictionError, State
from face_organizer.library.people import Library
from face_organizer.types import Faces, FaceTable, Files, Outcome


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def numbers(library: Library, table: FaceTable) -> list[int]:
    """What `registry.enter` gives, inside a transaction that writes the file."""
    with library.transaction():
        return registry.enter(library.connection, table).tolist()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A new one."""
    return Library(tmp_path / "l.sqlite")


@pytest.fixture
def some(tmp_path: Path) -> FaceTable:
    """Ann on six photos, Bob on five, both on a seventh."""
    home = Household(tmp_path)
    home.photos("ann", 6)
    home.photos("bob", 5)
    photo(home.inbox / "z.jpg", "ann", "bob", number=9)
    return embedded(home.inbox)


def put(library: Library, table: FaceTable) -> dict[str, int]:
    """As if a run had put each face with whom it shows."""
    labels = np.array([0] * 6 + [1] * 5 + [0, 1])
    return library.remember(table, labels, ["A", "B"], [None, None])


def test_a_face_is_known_wherever_its_picture_lies_and_whatever_detector_found_it(
    library: Library, tmp_path: Path
) -> None:
    home = Household(tmp_path)
    photo(home.inbox / "a.jpg", "ann", "bob")
    photo(home.inbox / "b.jpg", "cid")
    first = numbers(library, embedded(home.inbox))
    (home.inbox / "a.jpg").rename(home.inbox / "z.jpg")
    again = numbers(library, embedded(home.inbox, detector=2))
    assert (first[:2], first[2:]) == (again[1:], again[:1])


def test_copies_of_a_picture_are_one_and_other_faces_on_it_are_not(library: Library, tmp_path: Path) -> None:
    home = Household(tmp_path)
    photo(home.inbox / "a.jpg", "ann", "bob")
    photo(home.inbox / "b" / "copy.jpg", "ann", "bob")
    table = embedded(home.inbox)
    assert numbers(library, table) == [1, 2, 1, 2]
    moved = dataclasses.replace(table.faces, box=table.faces.box + np.float32(1000))
    assert numbers(library, dataclasses.replace(table, faces=moved)) == [3, 4, 3, 4]


def test_a_detector_that_numbers_faces_otherwise_still_finds_each(library: Library, tmp_path: Path) -> None:
    home = Household(tmp_path)
    photo(home.inbox / "a.jpg", "ann", "bob", "cid")
    table = embedded(home.inbox)
    first = numbers(library, table)
    order = np.array([2, 0, 1])
    faces = dataclasses.replace(table.faces.take(order), face_index=np.arange(3, dtype=np.int32))
    assert numbers(library, dataclasses.replace(table, faces=faces)) == [first[i] for i in order]


def test_faces_of_a_video_are_told_apart_by_their_moment(library: Library) -> None:
    time = np.array([0.5, 1.5, 1.5], np.float32)
    faces = Faces.empty(
        3, file_index=np.zeros(3, np.int64), face_index=np.array([0, 0, 1], np.int32), time=time,
        box=np.array([[0, 0, 9, 9], [0, 0, 9, 9], [20, 0, 29, 9]], np.float32),
    )  # fmt: skip
    files = Files.empty(1, path=["/v.mp4"], outcome=np.array([Outcome.FACES], np.uint8))
    table = FaceTable(np.ones((3, 1), np.float32), faces, files, None)
    assert numbers(library, table) == numbers(library, table) == [1, 2, 3]


def test_a_table_from_elsewhere_is_known_by_path_and_number(library: Library) -> None:
    faces = Faces.empty(2, file_index=np.array([0, 1]), face_index=np.zeros(2, np.int32))
    files = Files.empty(2, path=["/a.jpg", "/b.jpg"], outcome=np.full(2, Outcome.FACES, np.uint8))
    table = FaceTable(np.ones((2, 1), np.float32), faces, files, None)
    assert numbers(library, table) == numbers(library, table) == [1, 2]


def test_what_was_said_reaches_every_copy_of_a_face(
    library: Library, some: FaceTable, tmp_path: Path
) -> None:
    put(library, some)
    library.name("A", "Ann")
    library.is_not("B", [some.files.path[7]])
    library.ignore([some.files.path[8]])
    said = library.said(some)
    ann, bob = ([p.name for p in said.persons].index(name) for name in ("Ann", "B"))
    assert said.known.tolist() == [ann] * 6 + [bob, NOBODY, NOBODY, bob, bob] + [ann, bob]
    assert said.refused.tolist() == [[7, bob]]
    assert np.flatnonzero(said.ignored).tolist() == [8]
    assert said.before.tolist() == [ann] * 6 + [bob] * 5 + [ann, bob]
    photo(tmp_path / "inbox" / "new.jpg", "ann", number=77)
    assert library.said(embedded(tmp_path / "inbox")).before.tolist().count(NEW) == 1


def test_contradictions_are_refused_with_what_they_contradict(library: Library, some: FaceTable) -> None:
    put(library, some)
    path = some.files.path
    said = library.is_("A", [path[7]])
    refused = library.is_not("B", [path[8]])
    for contradiction, number in (
        (lambda: library.is_not("A", [path[7]]), said),
        (lambda: library.is_("B", [path[7]]), said),
        (lambda: library.is_("B", [path[8]]), refused),
        (lambda: library.ignore([path[7]]), said),
    ):
        with pytest.raises(ContradictionError, match=rf"contradicts decision {number} \("):
            contradiction()
    differ = library.differ("A", "B")
    with pytest.raises(ContradictionError, match=rf"contradicts decision {differ} \(differ A"):
        library.merge("A", "B")
    library.undo(differ)
    library.is_not("B", [path[0]])
    library.is_("A", [path[0]])
    with pytest.raises(ContradictionError, match="contradicts decision 5"):
        library.merge("A", "B")
    with pytest.raises(ContradictionError, match="another person is called B"):
        library.name("A", "B")


def test_merging_carries_over_what_was_said_of_either(
    library: Library, some: FaceTable, tmp_path: Path
) -> None:
    photo(tmp_path / "inbox" / "zz.jpg", "cid", number=1)
    table = embedded(tmp_path / "inbox")
    labels = np.array([0] * 6 + [1] * 5 + [0, 1, 2])
    library.remember(table, labels, ["A", "B", "C"], [None] * 3)
    library.differ("B", "C")
    library.name("B", "Bob")
    merged = library.merge("A", "Bob")
    assert [one.name for one in library.people()] == ["Bob", "C"]
    with pytest.raises(ContradictionError):
        library.merge("C", "Bob")
    library.undo(*merged)
    assert [one.name for one in library.people()] == ["A", "Bob", "C"]


def test_undoing_an_undoing_redoes(library: Library, some: FaceTable) -> None:
    put(library, some)
    library.name("A", "Ann")
    library.undo()
    assert [one.name for one in library.people()] == ["A", "B"]
    library.undo(2)
    assert [one.name for one in library.people()] == ["Ann", "B"]
    with pytest.raises(UsageError, match="no decision 2 that holds"):
        library.undo(2)


KINDS = ("is", "is-not", "same", "differ", "ignore", "hide", "name", "undo")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 12), st.integers(0, 1)), max_size=12))
def test_what_holds_never_contradicts_itself(
    tmp_path_factory: pytest.TempPathFactory, words: list[tuple[str, int, int]]
) -> None:
    """Whatever is said, and said again otherwise by folders, in any order: no face is known to be a person
    that it is not, ignored and somebody, or somebody who is another one; and all undone, nothing holds."""
    root = tmp_path_factory.mktemp("l")
    home = Household(root)
    home.photos("ann", 6)
    home.photos("bob", 6)
    photo(home.inbox / "z.jpg", "ann", number=99)
    table = embedded(home.inbox)
    with Library(root / "l.sqlite") as library:
        labels = np.array([0] * 6 + [1] * 6 + [0])
        ids = list(library.remember(table, labels, ["A", "B"], [None, None]).values())
        for kind, face, who in words:
            if kind == "undo":
                if said := [d.id for d in library.history() if not d.undone]:
                    library.undo(said[face % len(said)])
                continue
            other = ids[1 - who] if kind in ("same", "differ") else None
            faces = [face + 1] if kind in ("is", "is-not", "ignore") else []
            person = None if kind == "ignore" else ids[who]
            library.add(kind, person, other, faces=faces, how="folders", name="N" if kind == "name" else None)
            state = library.state
            assert not state.known.items() & state.refused.keys()
            assert not state.known.keys() & state.ignored
            assert not set(state.known.values()) & set(state.into)
        for decision in reversed([d for d in library.history() if d.kind != "undo" and not d.undone]):
            library.undo(decision.id)
        state = library.state
        assert state == State()


def test_what_is_no_library_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no library is there"):
        Library(tmp_path, create=False)
    place = tmp_path / "l.sqlite"
    place.write_bytes(b"SQLite format 3\0" + b"x" * 4000)
    with pytest.raises(LibraryError, match="restore it from a backup"):
        Library(place)
    place.unlink()
    with sqlite3.connect(place) as other:
        other.execute("CREATE TABLE notes (line TEXT)")
    with pytest.raises(LibraryError, match="no library of this program"):
        Library(place)
    place.unlink()
    with Library(place) as library:
        library.new_person("Ann")
        library.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LibraryError, match="of version 99"):
        Library(place)


def test_the_journal_is_only_added_to(library: Library) -> None:
    library.new_person("Ann")
    for statement in ("DELETE FROM decisions", "UPDATE decisions SET kind = 'hide'"):
        with pytest.raises(sqlite3.IntegrityError, match="only added"):
            library.connection.execute(statement)


def test_doctor_looks_into_a_library(library: Library, tmp_path: Path) -> None:
    library.new_person("Ann")
    library.close()
    assert store.problems(tmp_path / "l.sqlite") == []
    done = here("doctor", "--quick", "--device", "cpu", "--library", tmp_path / "l.sqlite")
    assert "l.sqlite is whole" in done.out
    data = bytearray((tmp_path / "l.sqlite").read_bytes())
    data[4096:8192] = b"\xff" * 4096
    (tmp_path / "l.sqlite").write_bytes(data)
    broken = here("doctor", "--quick", "--device", "cpu", "--library", tmp_path / "l.sqlite")
    assert (broken.code, "restore it from a backup" in broken.err) == (1, True)


def test_looking_at_a_run_writes_nothing(tmp_path: Path) -> None:
    home = Household(tmp_path)
    home.photos("ann", 4)
    home.cluster("--dry-run")
    assert not home.people.exists()
    home.cluster()
    before = files(home.people)
    (home.people / "person_A").rename(home.people / "Ann")
    assert "would be learned: person_A is called Ann" in home.cluster("--dry-run").out
    (home.people / "Ann").rename(home.people / "person_A")
    assert files(home.people) == before

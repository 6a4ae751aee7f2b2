"""Folders tell the truth: what stands in them is adopted, counted, named or set aside; nothing is doubled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_organize import Entries, files, picture, pictures, sort, targets

from face_organizer import organize
from face_organizer.errors import UsageError
from face_organizer.files import MARKER
from face_organizer.organize.moves import Lookup, Move, Moves
from face_organizer.organize.undoing import LIBRARY

TEXT = st.text(st.characters(exclude_characters="/\0"), min_size=1).filter(
    lambda name: name not in {".", "..", MARKER}
)
MOVE = st.builds(
    lambda source, folder, name, size, time, mode, sidecar: Move(
        f"/{source}", f"{folder}/{name}", size, time, mode, sidecar
    ),
    TEXT | st.just("a\udcff"),
    TEXT,
    TEXT,
    st.integers(0, 2**62),
    st.integers(-(2**62), 2**62),
    st.sampled_from(organize.MODES),
    st.booleans(),
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder beside the one with pictures."""
    out = tmp_path / ".hidden" / "people"  # above which a name that begins with a dot means nothing
    out.parent.mkdir()
    return out


@given(st.lists(MOVE))
def test_columns_of_moves_are_a_list_of_moves(moves: list[Move]) -> None:
    columns = Moves(moves)
    assert [*columns] == moves
    assert columns[1:] == moves[1:]
    by_source = Lookup(columns, lambda m: m.source, lambda m: m.target, lambda m: m.mode == "move")
    expected = {m.source: m.target for m in moves if m.mode == "move"}
    assert {source: by_source.get(source) for source in [m.source for m in moves]} == {
        m.source: expected.get(m.source) for m in moves
    }


@pytest.mark.parametrize("mode", organize.MODES)
def test_what_a_lost_plan_placed_is_adopted(tmp_path: Path, out: Path, mode: str) -> None:
    entries: Entries = [(path, "p") for path in pictures(tmp_path / "in", "a.jpg", "b.jpg")]
    organize.plan(entries, out, mode="copy" if mode == "move" else mode).apply()
    before = files(out)
    (out / MARKER / "plan.jsonl").unlink()
    applied = organize.plan(entries, out, mode=mode).apply()
    assert (files(out), applied.foreign) == (before, [])
    assert organize.undo(out).kept == []
    assert (len(files(tmp_path / "in")), out.exists()) == (2, False)


@pytest.mark.parametrize("mode", organize.MODES)
def test_a_file_of_the_same_size_and_time_is_not_adopted(tmp_path: Path, out: Path, mode: str) -> None:
    a = picture(tmp_path / "in" / "a.jpg", "theirs")
    mine = picture(out / "p" / "a.jpg", "mine!!")
    os.utime(mine, ns=(os.stat(a).st_mtime_ns,) * 2)
    applied = organize.plan([(a, "p")], out, mode=mode).apply()
    assert [move.target for move in applied.moves] == ["p/a_1.jpg"]
    assert applied.foreign == [mine]
    organize.undo(out)
    assert files(out) == {"p/a.jpg": b"mine!!"}


def test_fewer_copies_than_folders_stand_in_where_they_are(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p"), (a, "q"), (b, "p")], out)
    os.unlink(a)
    applied = sort([(a, "o"), (a, "q"), (a, "r"), (b, "p")], out)
    assert sorted(files(out)) == ["o/a.jpg", "p/b.jpg", "q/a.jpg"]
    assert dict(applied.folders) == {"o": 1, "p": 1, "q": 1}
    picture(Path(a), a)
    assert sorted(sort([(a, "o"), (a, "q"), (a, "r"), (b, "p")], out).folders) == ["o", "p", "q", "r"]


def test_a_copy_in_gone_stands_in_again(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p"), (b, "p")], out)
    os.unlink(a)
    assert sort([(b, "p")], out).gone == [str(out / "gone" / "a.jpg")]
    assert sort([(a, "q"), (b, "p")], out).gone == []
    assert sorted(files(out)) == ["p/b.jpg", "q/a.jpg"]


def test_a_hard_link_whose_other_name_is_gone_is_a_copy(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    organize.plan([(a, "p"), (b, "p")], out, mode="hardlink").apply()
    os.unlink(a)
    applied = organize.plan([(b, "p")], out, mode="hardlink").apply()
    assert applied.gone == [str(out / "gone" / "a.jpg")]
    picture(Path(a), a)
    organize.plan([(a, "p"), (b, "p")], out, mode="hardlink").apply()
    assert os.path.samefile(a, out / "p" / "a.jpg")
    assert sorted(files(out)) == ["p/a.jpg", "p/b.jpg"]


def test_dangling_links_are_removed(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    organize.plan([(a, "p"), (b, "p")], out, mode="symlink").apply()
    os.unlink(a)
    applied = organize.plan([(a, "p"), (b, "p")], out, mode="symlink").apply()
    assert ([m.source for m in applied.missing], os.listdir(out / "p")) == ([a], ["b.jpg"])


# --- moved pictures


class Named(dict[str, str]):
    """What a table calls each picture; it learns of new places."""

    def __init__(self, *paths: str) -> None:
        super().__init__((path, path) for path in paths)

    def learn(self, places: Mapping[str, str]) -> None:
        self.update({home: places.get(path, path) for home, path in self.items()})

    def move(self, entries: Entries, out: Path) -> organize.Applied:
        named = [(self[home], folder) for home, folder in entries]
        return organize.plan(named, out, mode="move").apply(on_places=self.learn)


def test_moved_pictures_are_known_by_both_paths_and_folders_that_were_renamed(
    tmp_path: Path, out: Path
) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    named = Named(a, b)
    named.move([(a, "p"), (b, "p")], out)
    assert named == {a: str(out / "p" / "a.jpg"), b: str(out / "p" / "b.jpg")}
    (out / "p").rename(out / "Ann")
    named[b] = b
    applied = named.move([(a, "Ann"), (b, "Bob")], out)
    assert (applied.missing, applied.kept, sorted(files(out))) == ([], [], ["Ann/a.jpg", "Bob/b.jpg"])
    assert named == {a: str(out / "Ann" / "a.jpg"), b: str(out / "Bob" / "b.jpg")}
    assert organize.undo(out).returned == 2


def test_who_returns_is_told_before(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    named = Named(a, b)
    named.move([(a, "p"), (b, "p")], out)
    named.move([(b, "p")], out)
    assert named[a] == a
    assert os.path.exists(a)
    named.move([(a, "p"), (b, "p")], out)
    assert organize.plan([(named[a], "p"), (b, "q")], out).apply().missing == []


def test_a_moved_picture_is_copied_into_a_folder_of_a_later_day(tmp_path: Path, out: Path) -> None:
    (a,) = pictures(tmp_path / "in", "a.jpg")
    named = Named(a)
    named.move([(a, "p")], out)
    assert named.move([(a, "p"), (a, "q")], out).missing == []
    assert sorted(files(out)) == ["p/a.jpg", "q/a.jpg"]


def test_places_that_no_plan_knows_are_refused(tmp_path: Path, out: Path) -> None:
    (a,) = pictures(tmp_path / "in", "a.jpg")
    named = Named(a)
    named.move([(a, "p")], out)
    organize.undo(out)
    with pytest.raises(UsageError, match="no plan moved them there"):
        named.move([(a, "p")], out)


def test_a_film_beside_two_pictures_goes_with_the_first(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.HEIC", "a.jpg")
    pictures(tmp_path / "in", "a.MOV", "a.txt")
    applied = organize.plan([(a, "p"), (b, "q")], out, mode="move").apply()
    assert (applied.missing, applied.sidecars, dict(applied.folders)) == ([], 1, {"p": 1, "q": 1})
    assert sorted(files(out)) == ["p/a.HEIC", "p/a.MOV", "q/a.jpg"]
    assert organize.undo(out).returned == 2
    assert len(files(tmp_path / "in")) == 4


def test_a_sidecar_has_the_name_of_its_picture_and_never_that_of_another_file(
    tmp_path: Path, out: Path
) -> None:
    a, b = picture(tmp_path / "in" / "a.jpg"), picture(tmp_path / "two" / "a.jpg")
    picture(tmp_path / "in" / "a.xmp")
    picture(tmp_path / "two" / "A.JPG.xmp", "of two")
    mine = picture(out / "p" / "a.xmp", "mine")
    applied = organize.plan([(a, "p"), (b, "p")], out, mode="move").apply()
    assert (applied.missing, applied.foreign) == ([], [mine])
    assert files(out)["p/a_1.jpg.xmp"] == b"of two"
    assert (tmp_path / "in" / "a.xmp").exists()


def test_a_sidecar_that_the_plan_places_itself_is_a_picture(tmp_path: Path, out: Path) -> None:
    a, raw = pictures(tmp_path / "in", "a.jpg", "a.DNG")
    assert targets([(a, "p"), (raw, "q")], out) == {a: "p/a.jpg", raw: "q/a.DNG"}
    applied = organize.plan([(a, "p"), (raw, "q")], out, mode="move").apply()
    assert (applied.sidecars, sorted(files(out))) == (0, ["p/a.jpg", "q/a.DNG"])


# --- what people said


def test_undo_leaves_what_people_said(tmp_path: Path, out: Path) -> None:
    (a,) = pictures(tmp_path / "in", "a.jpg")
    sort([(a, "p")], out)
    (out / MARKER / LIBRARY).write_bytes(b"")
    undone = organize.undo(out)
    assert (undone.removed, undone.remembers) == (1, True)
    assert os.listdir(out / MARKER) == [LIBRARY]
    sort([(a, "p")], out)
    os.unlink(a)
    undone = organize.undo(out, forget_names=True)
    assert (undone.kept, undone.remembers) == ([str(out / "p" / "a.jpg")], False)
    assert not (out / MARKER / LIBRARY).exists()


def test_undo_removes_what_a_kill_before_the_first_step_left(out: Path) -> None:
    (out / MARKER).mkdir(parents=True)
    organize.undo(out)
    assert not out.exists()

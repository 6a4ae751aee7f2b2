"""The four modes, each by the same contract: the picture is in its place, nothing is written over, undo
restores what was, and a kill at any moment loses and doubles nothing."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell import environment, here
from test_organize import APPLY, files, picture, pictures, whole, written

from face_organizer import organize
from face_organizer.errors import OrganizeError, UsageError
from face_organizer.organize import MODES

ALL_MODES = pytest.mark.parametrize("mode", MODES)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "people"


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    for place in ("/dev/shm", "/run", "/tmp"):
        if os.access(place, os.W_OK) and os.stat(place).st_dev != tmp_path.stat().st_dev:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                yield Path(folder)
            return
    pytest.skip("there is no second file system here")


def sort(entries: list[tuple[str, str]], out: Path, mode: str) -> organize.Applied:
    return organize.plan(entries, out, mode=mode).apply()


@ALL_MODES
def test_a_picture_gets_into_its_folder_and_back(tmp_path: Path, out: Path, mode: str) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "sub/a.jpg")
    before = files(tmp_path / "in")
    entries = [(a, "person_A"), (b, "person_A/review"), (b, "")]
    for _ in range(2):  # the second time there is nothing to do, and nothing is missing
        assert whole(sort(entries, out, mode))
        assert files(out) == {
            "person_A/a.jpg": before["a.jpg"],
            "person_A/review/a.jpg": before["sub/a.jpg"],
            "a.jpg": before["sub/a.jpg"],
        }
        assert files(tmp_path / "in") == ({} if mode == "move" else before)
    assert (out / "person_A" / "a.jpg").is_symlink() == (mode == "symlink")
    if mode == "hardlink":
        assert os.path.samefile(a, out / "person_A" / "a.jpg")
    undone = organize.undo(out)
    assert (undone.removed, undone.returned, undone.kept) == ((1, 2, []) if mode == "move" else (3, 0, []))
    assert files(tmp_path / "in") == before
    assert not out.exists()


@ALL_MODES
def test_what_stands_there_is_never_written_over(tmp_path: Path, out: Path, mode: str) -> None:
    a = picture(tmp_path / "in" / "a.jpg", "new")
    planned = organize.plan([(a, "p")], out, mode=mode)
    picture(out / "p" / "a.jpg", "mine")
    with pytest.raises(OrganizeError, match=r"a file that this run did not make is in the way"):
        planned.apply()
    assert Path(a).read_bytes() == b"new"
    sort([(a, "p")], out, mode)
    assert files(out) == {"p/a.jpg": b"mine", "p/a_1.jpg": b"new"}
    organize.undo(out)
    assert files(tmp_path) == {"people/p/a.jpg": b"mine", "in/a.jpg": b"new"}


@ALL_MODES
def test_one_mode_takes_the_place_of_another(tmp_path: Path, out: Path, mode: str) -> None:
    sources = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    before = files(tmp_path / "in")
    for first in MODES:
        sort([(s, "p") for s in sources], out, first)
        assert whole(sort([(s, "q") for s in sources], out, mode))
        assert sorted(files(out)) == ["q/a.jpg", "q/b.jpg"]
    organize.undo(out)
    assert files(tmp_path) == {f"in/{name}": content for name, content in before.items()}


@ALL_MODES
def test_a_renamed_folder_is_followed(tmp_path: Path, out: Path, mode: str) -> None:
    sources = pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    before = files(tmp_path / "in")
    sort([(sources[0], "person_A"), (sources[1], "person_A/review"), (sources[2], "person_B")], out, mode)
    (out / "person_A").rename(out / "Alice")
    assert organize.renamed(out) == {"person_A": "Alice"}
    entries = [(sources[0], "Alice"), (sources[1], "Alice/review"), (sources[2], "person_B")]
    inode = os.lstat(out / "Alice" / "a.jpg").st_ino
    assert whole(sort(entries, out, mode))
    assert sorted(files(out)) == ["Alice/a.jpg", "Alice/review/b.jpg", "person_B/c.jpg"]
    assert os.lstat(out / "Alice" / "a.jpg").st_ino == inode
    organize.undo(out)
    assert not out.exists()
    assert files(tmp_path / "in") == before


def test_a_folder_of_the_users_is_no_renamed_one(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "person_A"), (b, "person_A")], out, "copy")
    shutil.rmtree(out / "person_A")
    picture(out / "mine" / "a.jpg", "mine")
    assert organize.renamed(out) == {}


def test_a_picture_of_two_people_is_moved_once_and_copied(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "both.jpg", "b.jpg")
    before = files(tmp_path / "in")
    sort([(a, "person_B"), (a, "person_A"), (b, "person_B")], out, "move")
    assert sorted(files(out)) == ["person_A/both.jpg", "person_B/b.jpg", "person_B/both.jpg"]
    # The copy goes though its original is away: the plan knows where it is.
    assert whole(sort([(a, "person_A"), (b, "person_B")], out, "move"))
    assert sorted(files(out)) == ["person_A/both.jpg", "person_B/b.jpg"]
    organize.undo(out)
    assert files(tmp_path / "in") == before


def test_a_move_does_not_return_onto_something_else(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p"), (b, "p")], out, "move")
    picture(Path(a), "another")
    assert organize.undo(out) == organize.Undone(0, [str(out / "p" / "a.jpg")], 1)
    assert files(tmp_path) == {"in/a.jpg": b"another", "in/b.jpg": b.encode(), "people/p/a.jpg": a.encode()}
    os.unlink(a)
    assert organize.undo(out) == organize.Undone(0, [], 1)
    assert files(tmp_path / "in") == {"a.jpg": a.encode(), "b.jpg": b.encode()}


def test_undo_never_loses_a_moved_picture_to_a_link(tmp_path: Path, out: Path) -> None:
    """The old place was made a way to the new one: removing either name would remove the picture."""
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p"), (b, "q")], out, "move")
    os.symlink(out / "p" / "a.jpg", a)
    organize.undo(out)
    assert (out / "p" / "a.jpg").read_bytes() == a.encode()
    shutil.rmtree(tmp_path / "in")
    (tmp_path / "in").symlink_to(out / "p")
    organize.undo(out)
    assert (out / "p" / "a.jpg").read_bytes() == a.encode()


def test_a_link_is_not_moved(tmp_path: Path, out: Path) -> None:
    a = picture(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "link.jpg").symlink_to("a.jpg")
    planned = organize.plan([(str(tmp_path / "in" / "link.jpg"), "p")], out, mode="move")
    assert [m.reason for m in planned.missing] == ["a symbolic link, which is not moved; use --mode copy"]
    sort([(str(tmp_path / "in" / "link.jpg"), "p")], out, "hardlink")
    assert os.path.samefile(a, out / "p" / "link.jpg")
    assert not (out / "p" / "link.jpg").is_symlink()


def test_a_mode_that_there_is_not(out: Path) -> None:
    with pytest.raises(UsageError, match="no mode 'teleport'; there are copy, hardlink, symlink, move"):
        organize.plan([], out, mode="teleport")


# --- another file system


def test_a_move_to_another_disk_is_verified_before_the_original_goes(
    tmp_path: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    out = other_disk / "people"
    planned = organize.plan([(a, "p"), (b, "p")], out, mode="move")
    assert planned.bytes == len(a) + len(b)
    monkeypatch.setattr("face_organizer.organize.modes.same_bytes", lambda one, other: one != a)
    applied = planned.apply()
    assert [(m.source, m.reason) for m in applied.missing] == [
        (a, "what was written is not what was read; it was not moved")
    ]
    assert files(tmp_path / "in") == {"a.jpg": a.encode()}
    assert files(out) == {"p/b.jpg": b.encode()}
    monkeypatch.undo()
    assert sort([(a, "p"), (b, "p")], out, "move").missing == []
    assert files(tmp_path / "in") == {}
    assert organize.undo(out).returned == 2
    assert files(tmp_path / "in") == {"a.jpg": a.encode(), "b.jpg": b.encode()}


def test_a_hard_link_to_another_disk_is_refused_with_the_mend(tmp_path: Path, other_disk: Path) -> None:
    a = picture(tmp_path / "a.jpg")
    with pytest.raises(OrganizeError, match="hard links cannot reach another file system; use --mode copy"):
        sort([(a, "p")], other_disk / "people", "hardlink")


def test_a_file_system_without_links_still_moves(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = picture(tmp_path / "in" / "a.jpg")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    sort([(a, "p")], out, "move")
    assert files(tmp_path) == {"people/p/a.jpg": a.encode()}
    with pytest.raises(OrganizeError, match="knows no such links; use --mode copy"):
        sort([(picture(tmp_path / "b.jpg"), "p")], out, "hardlink")


# --- kills


@pytest.mark.parametrize("mode", ["move", "move to another disk", "hardlink"])
def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    tmp_path: Path, mode: str, request: pytest.FixtureRequest
) -> None:
    out = tmp_path / "people"
    if mode == "move to another disk":
        out = request.getfixturevalue("other_disk") / "people"
    mode = mode.split()[0]
    entries = [
        (picture(tmp_path / "in" / f"{i:03d}.jpg", f"{i} " * random.Random(i).randrange(9000)), f"p{i % 3}")
        for i in range(200)
    ]
    whole = Counter(Path(s).read_bytes() for s, _ in entries)
    script = APPLY.format(before="print('go', flush=True)").replace(
        "organize.plan(entries, out)", f"organize.plan(entries, out, mode={mode!r})"
    )
    undoing = "import sys; from pathlib import Path; from face_organizer import organize\n"
    undoing += "print('go', flush=True); organize.undo(Path(sys.argv[2]))"
    listed, kills = written(tmp_path, entries), 0
    for n in range(14):
        child = subprocess.Popen(
            [sys.executable, "-c", undoing if n % 4 == 3 and out.exists() else script, listed, out],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.002 * 1.3**n)
        child.send_signal(signal.SIGKILL)
        with child.stdout:
            kills += child.wait() == -signal.SIGKILL
        held = [*files(tmp_path / "in").values(), *files(out).values()]
        assert set(held) >= set(whole), "a picture is in neither place"
    assert kills >= 3
    assert sort(entries, out, mode).missing == []
    assert Counter(files(out).values()) == whole
    assert len(files(tmp_path / "in")) == (0 if mode == "move" else 200)
    assert organize.undo(out).kept == []
    assert Counter(files(tmp_path / "in").values()) == whole
    assert not out.exists()


# --- any plan


NAMES = st.text(st.sampled_from("aA1_.é\u0301"), min_size=1, max_size=3).filter(
    lambda n: n not in (".", "..")
)


@given(
    st.sets(st.tuples(st.sampled_from("xy"), NAMES, st.sampled_from(["p", "P", "q/r", ""])), min_size=1),
    st.lists(st.sampled_from(MODES), min_size=1, max_size=3),
)
def test_any_plans_after_one_another_are_undone(found: set[tuple[str, str, str]], modes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder), Path(folder, "people")
        entries = [(picture(root / "in" / sub / name), target) for sub, name, target in found]
        before = files(root / "in")
        for mode in modes:
            assert whole(sort(entries, out, mode))
            assert Counter(files(out).values()) == Counter(s.encode() for s, _ in entries)
        assert organize.undo(out).kept == []
        assert files(root) == {f"in/{name}": content for name, content in before.items()}


# --- as a user types


def test_the_command_line_of_modes(table_of_photos: tuple[Path, list[Path]], tmp_path: Path) -> None:
    table, photos = table_of_photos
    out = tmp_path / "people"
    words = ["cluster", "-e", table, "-o", out, "-k", "1"]
    dry = here(*words, "--mode", "move", "--dry-run", "--json")
    assert dry.code == 0
    assert not out.exists()
    assert json.loads(dry.out)["placing"]["dry_run"] is True
    assert "Dry run, nothing is written. With --mode move" in dry.err
    assert here(*words, "--mode", "move").code == 0
    assert not any(p.exists() for p in photos)
    assert here(*words, "--mode", "move").code == 0, "there is nothing left to do"
    undone = here("undo", out)
    assert f"{len(photos)} pictures moved back" in undone.out
    assert all(p.exists() for p in photos)
    assert here(*words, "--mode", "fly").code == 2


@pytest.fixture
def table_of_photos(tmp_path: Path) -> tuple[Path, list[Path]]:
    from making_tables import table_of

    from face_organizer import table

    photos = [Path(p) for p in pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")]
    table.write(table_of({str(p): 1 for p in photos}), tmp_path / "faces.pkl")
    return tmp_path / "faces.pkl", photos


def test_a_copy_that_was_only_touched_is_still_the_copy(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p"), (b, "p")], out, "copy")
    os.utime(out / "p" / "a.jpg")
    assert whole(sort([(a, "p"), (b, "p")], out, "copy"))
    assert sorted(files(out)) == ["p/a.jpg", "p/b.jpg"]
    assert organize.undo(out) == organize.Undone(2, [])


def test_a_rerun_of_cluster_keeps_the_names_of_renamed_folders(
    table_of_photos: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    table, _ = table_of_photos
    out = tmp_path / "people"
    words = ["cluster", "-e", table, "-o", out, "-k", "1", "--keep-strangers"]
    assert here(*words).code == 0
    (out / "person_A").rename(out / "Alice")
    again = here(*words)
    assert again.code == 0
    assert "learned: person_A is called Alice" in again.out
    assert [p.name for p in out.iterdir() if p.is_dir() and not p.name.startswith(".")] == ["Alice"]
    assert "3 pictures = 3 sorted" in again.out

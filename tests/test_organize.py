"""Plan, apply, undo: every copy byte for byte, nothing of the user's written over, whatever interrupts."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell import CANNOT_DROP, environment, python

from face_organizer import organize
from face_organizer.errors import OrganizeError, UsageError
from face_organizer.files import MARKER, atomic_write
from face_organizer.organize.copying import PART

Entries = list[tuple[str, str]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "people"


def picture(path: Path, content: str = "") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content or str(path)).encode("utf-8", "surrogateescape"))
    os.utime(path, ns=(10**18, 10**18 + hash(content) % 10**6))
    return str(path)


def pictures(folder: Path, *names: str) -> list[str]:
    return [picture(folder / name) for name in names]


def sort(entries: Sequence[tuple[str, str]], out: Path) -> organize.Applied:
    planned = organize.plan(entries, out)
    assert planned.missing == []
    return planned.apply()


def whole(applied: organize.Applied) -> bool:
    """Whether all went well, and nothing of an earlier plan had to stay."""
    return (applied.missing, applied.kept) == ([], [])


def files(folder: Path) -> dict[str, bytes]:
    """Path below `folder` and content of each file, our own marker left out."""
    found = (p for p in folder.rglob("*") if p.is_file() and MARKER not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def targets(entries: Sequence[tuple[str, str]], out: Path) -> dict[str, str]:
    return {move.source: move.target for move in organize.plan(entries, out).moves}


# --- copies


def test_copies_are_the_originals_with_their_times_and_the_originals_stay(tmp_path: Path, out: Path) -> None:
    a = picture(tmp_path / "in" / "a.jpg", "A" * 3_000_000)
    b = picture(tmp_path / "in" / "b.jpg", "B")
    os.chmod(b, 0o440)
    before = files(tmp_path / "in")
    assert whole(sort([(a, "person_A"), (b, "person_A"), (b, "person_B")], out))
    assert files(out) == {
        "person_A/a.jpg": before["a.jpg"],
        "person_A/b.jpg": b"B",
        "person_B/b.jpg": b"B",
    }
    assert files(tmp_path / "in") == before
    for source, copy in ((a, "person_A/a.jpg"), (b, "person_B/b.jpg")):
        assert os.stat(source).st_mtime_ns == os.stat(out / copy).st_mtime_ns
        assert os.stat(source).st_mode == os.stat(out / copy).st_mode
        assert not os.path.samefile(source, out / copy)


def test_the_same_plan_again_touches_nothing(tmp_path: Path, out: Path) -> None:
    entries = [(p, "person_A") for p in pictures(tmp_path / "in", "a.jpg", "b.jpg", "sub/a.jpg")]
    sort(entries, out)
    before = {p: os.stat(out / p).st_ino for p in files(out)}
    sort(entries, out)
    assert {p: os.stat(out / p).st_ino for p in files(out)} == before


def test_a_result_writes_its_own_files_with_what_was_really_placed(tmp_path: Path, out: Path) -> None:
    a, b, gone = pictures(tmp_path / "in", "a.jpg", "b.jpg", "gone.jpg")

    def write(folder: Path, placed: organize.Placed, on_step: Callable[[], object]) -> None:
        names = sorted(f"{os.path.basename(source)} {target}" for (source, _), target in placed.items())
        (folder / "list.txt").write_text("\n".join(names))
        on_step()

    view = organize.View([(a, "p"), (b, ""), (gone, "p")], ["list.txt"], write, steps=1)
    planned = organize.plan(view, out)
    assert not out.exists()
    assert (planned.bytes, planned.folders) == (sum(map(len, (a, b, gone))), {"p": 2, "": 1})
    os.unlink(gone)
    done: list[str] = []
    applied = planned.apply(lambda move: done.append(move.source), lambda: done.append("step"))
    assert (sorted(done[:-1]), done[-1]) == ([a, b, gone], "step")
    assert [m.source for m in applied.missing] == [gone]
    assert (applied.folders, {m.source for m in applied.moves}) == ({"p": 1, "": 1}, {a, b})
    assert (out / "list.txt").read_text() == "a.jpg p/a.jpg\nb.jpg b.jpg"
    organize.undo(str(out))
    assert not out.exists()


def test_results_in_folders_go_with_them_and_links_lead_nowhere(tmp_path: Path, out: Path) -> None:
    names = [f"sub/{'long' * 50}.png", "sub/b.png", "top.txt"]

    def write(folder: Path, placed: organize.Placed, on_step: Callable[[], object]) -> None:
        for name in names:
            with atomic_write(folder / name) as file:
                file.write(b"made")

    organize.plan(organize.View([], names, write), out).apply()
    left = out / "sub" / f".{('long' * 50)[:100]}.0123456789abcdef.part"  # of a killed run
    left.write_bytes(b"half")
    (out / "sub" / "mine.txt").write_bytes(b"the user's")
    organize.undo(out)
    assert [p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()] == ["sub/mine.txt"]
    # a folder that the user put a link in place of
    (out / "sub" / "mine.txt").unlink()
    organize.plan(organize.View([], names, write), out).apply()
    shutil.move(out / "sub", tmp_path / "elsewhere")
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    organize.undo(out)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2
    for name in ("../x.txt", "a/../../x", "/x", ""):
        with pytest.raises(ValueError, match="results outside"):
            organize.Journal(results=[name])


def test_pairs_take_no_options_of_a_result(out: Path) -> None:
    with pytest.raises(TypeError, match="pairs of path and folder take no options: sheets"):
        organize.plan([], out, sheets=3)


# --- names


def test_of_one_name_the_first_by_path_keeps_it(tmp_path: Path, out: Path) -> None:
    c, a, b = pictures(tmp_path, "c/x.jpg", "a/x.jpg", "b/x.jpg")
    expected = {a: "p/x.jpg", b: "p/x_1.jpg", c: "p/x_2.jpg"}
    for order in ([a, b, c], [c, b, a], [b, c, a]):
        assert targets([(s, "p") for s in order], out) == expected


def test_a_picture_that_is_called_x_1_keeps_its_name(tmp_path: Path, out: Path) -> None:
    a, b, one, two = pictures(tmp_path, "a/x.jpg", "b/x.jpg", "c/x_1.jpg", "d/x_1.jpg")
    assert targets([(s, "p") for s in (a, b, one, two)], out) == {
        a: "p/x.jpg",
        b: "p/x_2.jpg",
        one: "p/x_1.jpg",
        two: "p/x_1_1.jpg",
    }


def test_names_that_some_file_systems_hold_for_one_are_one(tmp_path: Path, out: Path) -> None:
    """Case, and the two ways to write é: on such a file system one would replace the other."""
    composed, apart = unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg")
    sources = pictures(tmp_path, "a/X.JPG", "b/x.jpg", f"c/{composed}", f"d/{apart}", f"e/{composed.upper()}")
    made = targets([(s, "p") for s in sources], out).values()
    assert len({unicodedata.normalize("NFC", t).casefold() for t in made}) == 5


LETTERS = st.text(st.sampled_from("xX_1é\u0301.ßſ"), min_size=1, max_size=4)
NAMES = LETTERS.filter(lambda name: name not in (".", ".."))


@given(st.sets(st.tuples(st.sampled_from("abc"), NAMES), min_size=1), st.randoms(use_true_random=False))
def test_any_names_keep_apart_in_one_order(found: set[tuple[str, str]], shuffle: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder), Path(folder, "people")
        entries = [(picture(root / "in" / sub / name), "p") for sub, name in found]
        made = targets(entries, out)
        folded = {unicodedata.normalize("NFC", t).casefold() for t in made.values()}
        assert len(folded) == len(entries)
        shuffle.shuffle(entries)
        assert targets(entries, out) == made
        assert sort(entries, out).missing == []
        assert {out / t: (out / t).read_bytes() for t in made.values()} == {
            out / t: Path(s).read_bytes() for s, t in made.items()
        }


def test_a_name_of_255_bytes_is_shortened_between_characters(tmp_path: Path, out: Path) -> None:
    long = "é" * 125 + "x.jpg"
    assert len(long.encode()) == 255
    sources = pictures(tmp_path, f"a/{long}", f"b/{long}", f"c/{long}")
    sort([(s, "p") for s in sources], out)
    made = sorted(files(out), key=len)
    assert len(made) == 3
    for name in made:
        assert len(os.fsencode(name.removeprefix("p/"))) <= 255
        name.encode("utf-8")
    assert sorted(files(out).values()) == sorted(Path(s).read_bytes() for s in sources)


def test_hostile_names_stay_inside_and_whole(tmp_path: Path, out: Path) -> None:
    hostile = [
        "new\nline.jpg",
        "\x1b[31mred.jpg",
        os.fsdecode(b"\xff\xfe.jpg"),
        "-rf.jpg",
        "..jpg",
        "...",
        "😀.jpg",
        '"\\.jpg',
    ]
    sources = pictures(tmp_path / "in", *hostile)
    sort([(s, "person_A") for s in sources], out)
    sort([(s, "person_A") for s in sources], out)
    assert sorted(files(out)) == sorted(f"person_A/{name}" for name in hostile)
    assert organize.undo(out).removed == len(hostile)
    assert sorted(os.listdir(tmp_path)) == ["in"]


@pytest.mark.parametrize("folder", [".", "..", "../x", "a/../b", "a//b", "/etc", MARKER, f"a/{MARKER}"])
def test_a_folder_name_that_leaves_the_output_is_refused(tmp_path: Path, out: Path, folder: str) -> None:
    with pytest.raises(OrganizeError, match="cannot be the name of a folder"):
        organize.plan([(picture(tmp_path / "a.jpg"), folder)], out)


# --- what is there already


def test_a_file_of_the_users_keeps_its_name_and_its_bytes(tmp_path: Path, out: Path) -> None:
    picture(out / "person_A" / "X.jpg", "mine")
    picture(out / "notes.txt", "mine too")
    entries = [(picture(tmp_path / "in" / "x.jpg", "new"), "person_A")]
    for _ in range(2):
        sort(entries, out)
        assert files(out) == {"person_A/X.jpg": b"mine", "person_A/x_1.jpg": b"new", "notes.txt": b"mine too"}
    assert organize.undo(out) == organize.Undone(1, [])
    assert files(out) == {"person_A/X.jpg": b"mine", "notes.txt": b"mine too"}


def test_a_file_that_appears_between_plan_and_copy_is_not_written_over(tmp_path: Path, out: Path) -> None:
    planned = organize.plan([(picture(tmp_path / "x.jpg", "new"), "p")], out)
    picture(out / "p" / "x.jpg", "mine")
    with pytest.raises(OrganizeError, match=r"p/x\.jpg: a file that this run did not make"):
        planned.apply()
    assert files(out) == {"p/x.jpg": b"mine"}


def test_another_plan_takes_the_place_of_the_one_before(tmp_path: Path, out: Path) -> None:
    a, b, c = pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    sort([(a, "person_A"), (b, "person_A"), (c, "person_B")], out)
    stays = os.stat(out / "person_A" / "a.jpg").st_ino
    assert sort([(a, "person_A"), (b, "person_C")], out).kept == []
    assert sorted(files(out)) == ["person_A/a.jpg", "person_C/b.jpg"]
    assert os.stat(out / "person_A" / "a.jpg").st_ino == stays, "not copied twice"
    assert not (out / "person_B").exists()


def test_a_copy_stands_in_for_a_picture_that_cannot_be_reached(tmp_path: Path, out: Path) -> None:
    a, b, c = pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    sort([(a, "p"), (b, "p"), (c, "p")], out)
    os.unlink(a)
    picture(out / "p" / "b.jpg", "edited by the user")
    planned = organize.plan([(a, "q"), (b, "p"), (c, "q")], out)
    assert not planned.missing
    applied = planned.apply()
    assert (applied.kept, applied.gone) == ([str(out / "p" / "b.jpg")], [])
    assert files(out) == {
        "p/b.jpg": b"edited by the user",
        "p/b_1.jpg": b.encode(),
        "q/a.jpg": a.encode(),
        "q/c.jpg": c.encode(),
    }


def test_a_copy_that_nobody_wants_goes_to_gone_where_its_original_is_not_there(
    tmp_path: Path, out: Path
) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    aside = picture(tmp_path / "in2" / "a.jpg", "another")
    sort([(a, "p"), (b, "p"), (aside, "q")], out)
    for lost in (a, aside):
        os.unlink(lost)
    applied = sort([(b, "p")], out)
    assert sorted(applied.gone) == [str(out / "gone" / "a.jpg"), str(out / "gone" / "a_1.jpg")]
    assert sorted(files(out)) == ["gone/a.jpg", "gone/a_1.jpg", "p/b.jpg"]
    assert sorted(sort([(b, "p")], out).gone) == sorted(applied.gone)
    picture(Path(a), a)
    assert sort([(a, "p"), (b, "p")], out).gone == [str(out / "gone" / "a_1.jpg")]
    assert sorted(files(out)) == ["gone/a_1.jpg", "p/a.jpg", "p/b.jpg"]
    assert organize.undo(out).kept == [str(out / "gone" / "a_1.jpg")]


def test_a_collection_that_moved_is_placed_once(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p"), (b, "p")], out)
    stays = os.stat(out / "p" / "a.jpg").st_ino
    (tmp_path / "in").rename(tmp_path / "there")
    os.rename(tmp_path / "there" / "b.jpg", tmp_path / "there" / "c.jpg")
    os.utime(tmp_path / "there" / "a.jpg", (1, 1))
    new = [(str(tmp_path / "there" / "a.jpg"), "p"), (str(tmp_path / "there" / "c.jpg"), "q")]
    applied = sort(new, out)
    assert (applied.kept, applied.gone, applied.missing) == ([], [], [])
    assert sorted(files(out)) == ["p/a.jpg", "q/c.jpg"]
    assert os.stat(out / "p" / "a.jpg").st_ino == stays
    assert organize.undo(out).kept == []


def test_files_of_the_users_own_are_named(tmp_path: Path, out: Path) -> None:
    a = picture(tmp_path / "in" / "a.jpg")
    sort([(a, "p")], out)
    mine = picture(out / "p" / "mine.jpg", "mine")
    picture(out / "p" / ".DS_Store", "x")
    assert sort([(a, "p")], out).foreign == [mine]


def test_an_original_that_was_edited_is_copied_anew_beside_the_old_copy(tmp_path: Path, out: Path) -> None:
    a = picture(tmp_path / "a.jpg", "old")
    sort([(a, "p")], out)
    picture(tmp_path / "a.jpg", "new and longer")
    assert sort([(a, "p")], out).kept == [str(out / "p" / "a.jpg")]
    assert files(out) == {"p/a.jpg": b"old", "p/a_1.jpg": b"new and longer"}


def test_pictures_in_the_output_folder_are_refused_before_anything_goes(tmp_path: Path, out: Path) -> None:
    a = picture(tmp_path / "in" / "a.jpg")
    sort([(a, "person_A")], out)
    (tmp_path / "link").symlink_to(out)
    for source in (out / "person_A" / "a.jpg", tmp_path / "link" / "person_A" / "a.jpg"):
        with pytest.raises(UsageError, match="lie in the output folder"):
            organize.plan([(str(source), "person_B")], out)
    assert list(files(out)) == ["person_A/a.jpg"]


def test_a_person_folder_that_is_a_link_is_not_followed(tmp_path: Path, out: Path) -> None:
    a = picture(tmp_path / "in" / "a.jpg")
    (tmp_path / "elsewhere").mkdir()
    out.mkdir()
    (out / "person_A").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OrganizeError, match="a symbolic link stands where a folder should"):
        sort([(a, "person_A")], out)
    assert os.listdir(tmp_path / "elsewhere") == []


def test_undo_never_removes_an_original_through_a_link(tmp_path: Path, out: Path) -> None:
    """The person folder was replaced by a link to the pictures themselves: same name, size and time."""
    a = picture(tmp_path / "in" / "a.jpg")
    sort([(a, "person_A")], out)
    (out / "person_A" / "a.jpg").unlink()
    (out / "person_A").rmdir()
    (out / "person_A").symlink_to(tmp_path / "in")
    assert organize.undo(out) == organize.Undone(0, [str(out / "person_A" / "a.jpg")])
    assert Path(a).exists()


def test_undo_keeps_the_copy_that_became_the_original(tmp_path: Path, out: Path) -> None:
    """The original was replaced by a link to the copy: the copy is the only one left."""
    a = picture(tmp_path / "in" / "a.jpg")
    sort([(a, "p")], out)
    os.unlink(a)
    os.symlink(out / "p" / "a.jpg", a)
    assert organize.undo(out).removed == 0
    assert (out / "p" / "a.jpg").exists()


def test_the_output_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "people").symlink_to(tmp_path / "disk")
    sort([(picture(tmp_path / "in" / "a.jpg"), "p")], tmp_path / "people")
    assert list(files(tmp_path / "disk")) == ["p/a.jpg"]


# --- undo


def test_undo_restores_the_folder(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    organize.plan(organize.View([(a, "p"), (b, "q")], ["cluster_assignments.csv"]), out).apply()
    (out / "cluster_assignments.csv").write_text("made by cluster")
    (out / ".cluster_assignments.csv.abc123.part").write_text("left by a kill")
    assert organize.undo(out) == organize.Undone(2, [])
    assert not out.exists()
    assert len(files(tmp_path / "in")) == 2


def test_undo_keeps_changed_and_last_copies(tmp_path: Path, out: Path) -> None:
    a, b, c = pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    sort([(a, "p"), (b, "p"), (c, "p")], out)
    os.unlink(a)
    (out / "p" / "b.jpg").write_bytes(b"edited")
    undone = organize.undo(out)
    assert (undone.removed, sorted(undone.kept)) == (1, [str(out / "p" / "a.jpg"), str(out / "p" / "b.jpg")])
    assert sorted(files(out)) == ["p/a.jpg", "p/b.jpg"]


def test_nothing_to_undo(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "person_A" / "a.jpg")
    for folder in (tmp_path / "photos", tmp_path / "nowhere"):
        with pytest.raises(OrganizeError, match="not an output folder of this program"):
            organize.undo(folder)
    assert list(files(tmp_path)) == ["photos/person_A/a.jpg"]


# --- a plan from outside


@pytest.mark.parametrize(
    "line",
    [
        b'{"source": "/in/a.jpg", "target": "p/a.j',
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b"null",
        *(
            json.dumps({"source": "/in/a.jpg", "bytes": 1, "mtime_ns": 1, "target": target}).encode()
            for target in ("../../in/a.jpg", "/in/a.jpg", "../a.jpg", "p/..", f"{MARKER}/a", 3)
        ),
        b'{"source": "in/a.jpg", "target": "p/a.jpg", "bytes": 1, "mtime_ns": 1}',
        b'{"source": "/in/a.jpg", "target": "p/a.jpg", "bytes": "1", "mtime_ns": 1}',
    ],
)
def test_a_damaged_or_hostile_plan_is_refused(tmp_path: Path, out: Path, line: bytes) -> None:
    a = picture(tmp_path / "in" / "a.jpg")
    sort([(a, "p")], out)
    with open(out / MARKER / "plan.jsonl", "ab") as file:
        file.write(line + b"\n")
    before = files(tmp_path)
    for attempt in (lambda: organize.undo(out), lambda: sort([(a, "q")], out)):
        with pytest.raises(OrganizeError, match="is damaged"):
            attempt()
    assert files(tmp_path) == before


# --- sources that fail


def test_sources_that_are_gone_or_no_files_are_named(tmp_path: Path, out: Path) -> None:
    a = picture(tmp_path / "in" / "a.jpg")
    os.mkfifo(tmp_path / "in" / "fifo.jpg")
    (tmp_path / "in" / "folder.jpg").mkdir()
    gone = [str(tmp_path / "in" / n) for n in ("fifo.jpg", "folder.jpg", "gone.jpg")]
    planned = organize.plan([(s, "p") for s in (*gone, a)], out)
    assert [(m.source, m.reason) for m in planned.missing] == [
        (gone[0], "not a regular file"),
        (gone[1], "not a regular file"),
        (gone[2], "no such file or directory"),
    ]
    assert planned.apply().missing == planned.missing
    assert list(files(out)) == ["p/a.jpg"]


def test_sources_that_vanish_or_change_after_the_plan(tmp_path: Path, out: Path) -> None:
    a, b, c, d = pictures(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    planned = organize.plan([(s, "p") for s in (a, b, c, d)], out)
    os.unlink(a)
    picture(Path(b), "of another size")
    os.utime(c, ns=(5 * 10**17, 5 * 10**17))
    missing = planned.apply().missing
    assert [(m.source, m.reason) for m in missing] == [
        (a, "no such file or directory"),
        (b, "it changed while it was copied"),
        (c, "it changed while it was copied"),
    ]
    assert files(out) == {"p/d.jpg": d.encode()}
    sort([(s, "p") for s in (b, c, d)], out)
    assert sorted(files(out)) == ["p/b.jpg", "p/c.jpg", "p/d.jpg"]


# --- outputs that fail

APPLY = (
    "import json, sys; from pathlib import Path\n"
    "from face_organizer import organize\n"
    "from face_organizer.errors import FaceOrganizerError\n"
    "entries = [tuple(e) for e in json.loads(Path(sys.argv[1]).read_text())]\n"
    "out = Path(sys.argv[2])\n"
    "{before}\n"
    "try: print(organize.plan(entries, out).apply())\n"
    "except FaceOrganizerError as error: sys.exit(str(error))"
)


def written(tmp_path: Path, entries: Entries) -> Path:
    (tmp_path / "entries.json").write_text(json.dumps(entries))
    return tmp_path / "entries.json"


def test_a_full_disk_is_told_and_the_next_run_goes_on(tmp_path: Path, out: Path) -> None:
    """A limit on the size of files stands for the disk: a write in the middle of a picture fails."""
    entries = [(picture(tmp_path / "in" / f"{n}.jpg", n * 1_000_000), "p") for n in "abc"]
    entries.append((picture(tmp_path / "in" / "z.jpg", "z" * 3_000_000), "p"))
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))"
    )
    done = python("-c", APPLY.format(before=limit), written(tmp_path, entries), out)
    assert done.code == 1
    assert "file too large; nothing is lost, and the same command goes on from here" in done.err
    assert sorted(files(out)) == ["p/a.jpg", "p/b.jpg", "p/c.jpg"], "whole ones stay, the half one is gone"
    sort(entries, out)
    assert len(files(out)) == 4


def test_no_room_is_told_before_the_first_copy(tmp_path: Path, out: Path) -> None:
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(2**43)  # sparse
    with pytest.raises(OrganizeError, match=r"8,796\.1 GB to copy and .* GB free; nothing was copied"):
        sort([(str(tmp_path / "huge.jpg"), "p")], out)
    assert files(out) == {}


def test_an_output_that_cannot_be_written(tmp_path: Path, out: Path) -> None:
    entries = written(tmp_path, [(picture(tmp_path / "in" / "a.jpg"), "p")])
    out.mkdir()
    out.chmod(0o555)
    done = python("-c", APPLY.format(before=""), entries, out, bound=True)
    out.chmod(0o755)
    if done.code == CANNOT_DROP:
        pytest.skip("root, and not allowed to give up writing where it may not")
    assert done.code == 1
    assert "permission denied; nothing is lost" in done.err
    assert os.listdir(out) == []


def test_a_file_where_a_person_folder_should_be(tmp_path: Path, out: Path) -> None:
    picture(out / "person_A", "a file")
    with pytest.raises(OrganizeError, match="person_A: file exists"):
        sort([(picture(tmp_path / "a.jpg"), "person_A")], out)
    assert files(out) == {"person_A": b"a file"}


def test_one_run_at_a_time(tmp_path: Path, out: Path) -> None:
    entries = [(picture(tmp_path / "in" / "a.jpg"), "p")]
    sort(entries, out)
    handle = os.open(out / MARKER, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    for attempt in (lambda: sort(entries, out), lambda: organize.undo(out)):
        with pytest.raises(OrganizeError, match="another run is at work"):
            attempt()
    os.close(handle)
    assert organize.undo(out).removed == 1


# --- kills


def test_killed_at_any_moment_the_same_call_finishes(tmp_path: Path, out: Path) -> None:
    """SIGKILL again and again: what has its name is whole, the last run completes, undo takes all."""
    entries: Entries = []
    for i in range(400):
        source = picture(
            tmp_path / "in" / str(i % 7) / f"{i // 7}.jpg", f"{i} " * random.Random(i).randrange(20_000)
        )
        entries.append((source, f"person_{'ABC'[i % 3]}"))
    wanted = {m.target: Path(m.source).read_bytes() for m in organize.plan(entries, out).moves}
    listed = written(tmp_path, entries)
    kills = 0
    for delay in [0.0, *(0.005 * 1.35**n for n in range(18))]:
        script = APPLY.format(before="print('go', flush=True)")
        child = subprocess.Popen(
            [sys.executable, "-c", script, listed, out], stdout=subprocess.PIPE, env=environment()
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        with child.stdout:
            kills += child.wait() == -signal.SIGKILL
        whole = {p: c for p, c in files(out).items() if not p.endswith(PART)}
        assert whole.items() <= wanted.items()
        assert len(files(out)) - len(whole) <= 1
    assert kills >= 3, "the runs are meant to be killed"
    sort(entries, out)
    assert files(out) == wanted
    assert len(files(tmp_path / "in")) == 400
    assert organize.undo(out).removed == 400
    assert not out.exists()


def test_what_a_kill_left_of_another_plan_goes_too(tmp_path: Path, out: Path) -> None:
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p"), (b, "q")], out)
    (out / "q" / PART).write_bytes(b"half")
    sort([(a, "p")], out)
    assert files(out) == {"p/a.jpg": a.encode()}


def test_a_part_is_never_written_through(tmp_path: Path, out: Path) -> None:
    """A kill between the two steps of naming leaves the copy under both names; the next run spares it."""
    a, b = pictures(tmp_path / "in", "a.jpg", "b.jpg")
    sort([(a, "p")], out)
    os.link(out / "p" / "a.jpg", out / "p" / PART)
    sort([(a, "p"), (b, "p")], out)
    assert files(out) == {"p/a.jpg": a.encode(), "p/b.jpg": b.encode()}


# --- size


@pytest.mark.slow
def test_a_plan_of_many_needs_no_square_of_steps(tmp_path: Path, out: Path) -> None:
    """50,000 entries of one name and 1,000 folders: counted in looks at the disk, not in seconds."""
    sources = pictures(tmp_path, *(f"{i}/IMG.jpg" for i in range(500)))
    entries = [(source, f"person_{i}") for i in range(100) for source in sources]
    sort([(sources[0], f"person_{i}") for i in range(100)], out)
    script = (
        "import json, sys; from pathlib import Path; from face_organizer import organize\n"
        "entries = [tuple(e) for e in json.loads(Path(sys.argv[1]).read_text())]\n"
        "counts = {}\n"
        "sys.addaudithook(lambda name, args: counts.__setitem__(name, counts.get(name, 0) + 1))\n"
        "plan = organize.plan(entries, Path(sys.argv[2]))\n"
        "print(len(plan.moves), len({m.target for m in plan.moves}), counts['open'], counts['os.listdir'])"
    )
    done = python("-c", script, written(tmp_path, entries), out)
    moves, names, opened, listed = map(int, done.out.split())
    assert (moves, names) == (50_000, 50_000)
    assert opened <= 3, "the plan that lies there is read once, not once a folder"
    assert listed == 100

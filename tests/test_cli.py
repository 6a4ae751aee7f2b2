"""The commands as a user types them, on real photos with the embedded pack; no mistake ends in a trace."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell import CANNOT_DROP, ROOT, Done, apart, environment, here, python

from face_organizer import table
from face_organizer.types import FaceTable, Outcome

PEOPLE = ("Tiger_Woods", "Trent_Lott")
EACH = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, dev_faces: Path) -> Path:
    """Two people, six photos each, one a folder; a file that is no picture and one that only says it is."""
    folder = tmp_path_factory.mktemp("photos")
    for person in PEOPLE:
        (folder / person).mkdir()
        for photo in sorted((dev_faces / "identities" / person).iterdir())[:EACH]:
            shutil.copy2(photo, folder / person)
    (folder / "notes.txt").write_text("no picture")
    (folder / "text.jpg").write_text("no picture either")
    return folder


@pytest.fixture(scope="module")
def faces(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of `photos`."""
    path = tmp_path_factory.mktemp("table") / "faces.pkl"
    assert here("embed", "--input", photos, "--output", path).code == 3
    return path


def original_pickle(path: Path, embeddings: Any, paths: list[str], **keys: Any) -> Path:
    """A table as the original script wrote it, with its four keys alone."""
    document = {
        "embeddings": np.asarray(embeddings, np.float32),
        "image_paths": paths,
        "no_face_count": 0,
        "total_images": len(paths),
    }
    path.write_bytes(pickle.dumps({**document, **keys}))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but for the library and its number, which are different in each."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    same = {name: data for name, data in found.items() if "library.sqlite" not in name}
    return {name: re.sub(rb'"library": "\w*"', b"", data) for name, data in same.items()}


def paths_of(result: FaceTable) -> list[str]:
    return [os.path.basename(p) for p in result.files.path]


# --- the main job


def test_two_commands_make_one_folder_per_person(photos: Path, tmp_path: Path) -> None:
    done = here("embed", "--input", photos, "--output", tmp_path / "faces.pkl")
    assert done.code == 3, "one file could not be used"
    assert "13 pictures\nLeft alone: 1 .txt\n" in done.out
    assert "Pack opencv (" in done.out
    assert "Device cpu (" in done.out
    assert "13 pictures = 12 with faces + 1 unreadable" in done.out
    assert f"{photos / 'text.jpg'}: not a picture, or damaged at its start" in done.err
    before = tree(photos)
    done = here(
        "cluster", "--embeddings", tmp_path / "faces.pkl", "--output", tmp_path / "people", "--clusters", "2"
    )
    assert done.code == 0
    assert "13 pictures = 12 sorted + 1 unreadable" in done.out
    folders = {p.name: sorted(tree(p).values()) for p in (tmp_path / "people").glob("person_*/")}
    assert sorted(folders) == ["person_A", "person_B"]
    assert sorted(folders.values()) == sorted(sorted(tree(photos / person).values()) for person in PEOPLE)
    assert tree(photos) == before
    made = ("cluster_assignments.pkl", "manifest.csv", "manifest.json", "index.html", "person_B.jpg")
    for name in made:
        assert (tmp_path / "people" / name).stat().st_size > 100
    assert here("undo", tmp_path / "people").code == 0
    assert not (tmp_path / "people").exists()


def test_a_result_holds_on_any_number_of_threads(photos: Path, faces: Path, tmp_path: Path) -> None:
    for workers in (1, 5):
        here("embed", "-i", photos, "-o", tmp_path / "f.pkl", "-w", str(workers))
        assert (tmp_path / "f.pkl").read_bytes() == faces.read_bytes()


def test_the_scripts_under_their_original_names_do_the_same(
    photos: Path, faces: Path, tmp_path: Path
) -> None:
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    output = ("--output", "embeddings_gpu0.pkl")
    done = python(
        "scripts/generate_embeddings.py", "--input", photos, *output, "--workers", "2", cwd=tmp_path
    )
    assert done.code == 3
    assert (tmp_path / "embeddings_gpu0.pkl").read_bytes() == faces.read_bytes()
    done = python(
        "scripts/cluster_faces.py", "-e", "embeddings_gpu0.pkl", faces, "-o", "clustered_faces", "-k", "2",
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.code, "13 pictures = 12 sorted + 1 unreadable" in done.out) == (0, True)
    here("cluster", "-e", faces, "-o", tmp_path / "people", "-k", "2")
    ours, theirs = tree(tmp_path / "people"), tree(tmp_path / "clustered_faces")
    plans = {name for name in ours if name.endswith("plan.jsonl")}
    assert len(plans) == 1
    assert ours == theirs


# --- how options are written

SPELLINGS: dict[str, Callable[[str, str, str], list[str]]] = {
    "several after one flag": lambda a, b, c: ["--input", a, b, c],
    "repeated": lambda a, b, c: ["--input", a, "--input", b, "-i", c],
    "mixed": lambda a, b, c: ["-i", a, b, "--limit", "99", "--input", c],
    "with =": lambda a, b, c: [f"--input={a}", b, c],
    "short and joined": lambda a, b, c: [f"-i{a}", b, "-i", c],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("output_first", [True, False])
def test_many_inputs(spelling: str, output_first: bool, photos: Path, tmp_path: Path) -> None:
    single = next((photos / PEOPLE[1]).iterdir())
    inputs = SPELLINGS[spelling](str(photos / PEOPLE[0]), str(single), str(photos / "text.jpg"))
    output = ["--output", str(tmp_path / "f.pkl")]
    done = here("embed", *(output + inputs if output_first else inputs + output))
    assert "8 pictures = 7 with faces + 1 unreadable" in done.out, done.err


def test_a_value_that_begins_with_a_dash(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / PEOPLE[0], tmp_path / "-odd")
    done = apart("embed", "--input=-odd", "-o", "f.pkl", cwd=tmp_path)
    assert (done.code, "6 pictures = 6 with faces" in done.out) == (0, True)


def test_many_tables(photos: Path, tmp_path: Path) -> None:
    for person in PEOPLE:
        here("embed", "-i", photos / person, "-o", tmp_path / f"{person}.pkl")
    tables = [tmp_path / f"{person}.pkl" for person in PEOPLE]
    for words in (["-e", *tables], ["--embeddings", tables[1], "--embeddings", tables[0]]):
        done = here("cluster", *words, "-o", tmp_path / "people", "-k", "2")
        assert "12 pictures = 12 sorted" in done.out
        assert "person_A: 6 images" in done.out


# --- options


def test_limit_and_offset_walk_the_sorted_inputs(photos: Path, faces: Path, tmp_path: Path) -> None:
    whole = table.read(faces)
    parts = []
    for offset in (0, 5, 10):
        call = ("embed", "-i", photos, "-o", tmp_path / "part.pkl", "--offset", str(offset), "--limit", "5")
        done = here(*call, "--replace")
        assert f"{min(5, 13 - offset)} of 13 pictures" in done.out
        parts.append(table.read(tmp_path / "part.pkl"))
    assert [p for part in parts for p in part.files.path] == list(whole.files.path)
    assert np.concatenate([p.embeddings for p in parts]) == pytest.approx(whole.embeddings, abs=1e-4)
    done = here("embed", "-i", photos, "-o", tmp_path / "part.pkl", "--offset", "13")
    assert (done.code, done.err) == (2, "Error: --offset leaves nothing of 13 pictures\n")


def test_a_call_that_would_let_go_of_pictures_does_nothing(photos: Path, tmp_path: Path) -> None:
    call = ("embed", "-i", photos / PEOPLE[0], "-o", tmp_path / "f.pkl")
    here(*call)
    before = (tmp_path / "f.pkl").read_bytes()
    other = ("embed", "-i", photos / PEOPLE[1], "-o", tmp_path / "f.pkl")
    refused(here(*other), 2, "not among these inputs", "--replace")
    assert (tmp_path / "f.pkl").read_bytes() == before
    assert os.listdir(tmp_path) == ["f.pkl"]
    assert "kept as f.pkl.bak" in here(*other, "--replace").err
    assert (tmp_path / "f.pkl.bak").read_bytes() == before


def test_no_recursion_and_exclude(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copytree(photos / PEOPLE[0], tmp_path / "in" / "sub")
    top = shutil.copy2(next((photos / PEOPLE[1]).iterdir()), tmp_path / "in")
    here("embed", "-i", tmp_path / "in", "-o", tmp_path / "f.pkl", "--no-recursive")
    assert table.read(tmp_path / "f.pkl").files.path == [str(top)]
    here("embed", "-i", tmp_path / "in", "-o", tmp_path / "g.pkl", "--exclude", "*_000[2-9].jpg", "Trent*")
    assert paths_of(table.read(tmp_path / "g.pkl")) == ["Tiger_Woods_0001.jpg"]


def test_min_face_size_and_confidence(photos: Path, tmp_path: Path) -> None:
    here("embed", "-i", photos / PEOPLE[0], "-o", tmp_path / "f.pkl", "--min-face-size", "240")
    found = table.read(tmp_path / "f.pkl")
    assert found.outcome_counts()["too_small"] + found.outcome_counts()["faces"] == EACH
    assert found.outcome_counts()["too_small"] > 0
    assert all(
        "px, the least is 240" in r
        for r, o in zip(found.files.reason, found.files.outcome, strict=True)
        if o == Outcome.TOO_SMALL
    )
    here("embed", "-i", photos / PEOPLE[0], "-o", tmp_path / "f.pkl", "--min-confidence", "1")
    assert table.read(tmp_path / "f.pkl").outcome_counts()["no_face"] == EACH


def test_max_megapixels(photos: Path, tmp_path: Path) -> None:
    done = here("embed", "-i", photos / PEOPLE[0], "-o", tmp_path / "f.pkl", "--max-megapixels", "0.05")
    assert (done.code, "6 pictures = 0 with faces + 6 unsupported" in done.out) == (3, True)


def test_all_faces_put_a_photo_into_the_folder_of_each_person(photos: Path, tmp_path: Path) -> None:
    """A photo of both people, made of two: it is in both folders, and counted once."""
    cv2 = pytest.importorskip("cv2")
    (tmp_path / "in").mkdir()
    pair = [sorted((photos / person).iterdir()) for person in PEOPLE]
    for person in pair:
        for photo in person[1:]:
            shutil.copy2(photo, tmp_path / "in")
    both = np.hstack([cv2.imread(str(person[0])) for person in pair])
    cv2.imwrite(str(tmp_path / "in" / "both.png"), both)
    here("embed", "-i", tmp_path / "in", "-o", tmp_path / "f.pkl", "--faces", "all")
    found = table.read(tmp_path / "f.pkl")
    assert found.face_paths().count(str(tmp_path / "in" / "both.png")) == 2
    done = here("cluster", "-e", tmp_path / "f.pkl", "-o", tmp_path / "people", "-k", "2")
    assert "11 pictures = 11 sorted" in done.out
    for folder in ("person_A", "person_B"):
        assert (tmp_path / "people" / folder / "both.png").read_bytes() == (
            tmp_path / "in" / "both.png"
        ).read_bytes()
    here("embed", "-i", tmp_path / "in", "-o", tmp_path / "f.pkl")
    assert len(table.read(tmp_path / "f.pkl")) == 11


# --- what is printed


def test_json_is_one_object_and_all_else_goes_to_stderr(photos: Path, tmp_path: Path) -> None:
    done = here("embed", "-i", photos, "-o", tmp_path / "f.pkl", "--json")
    result = json.loads(done.out)
    assert sum(result["outcomes"].values()) == result["inputs"] == 13
    assert result["unusable"] == [
        {"path": str(photos / "text.jpg"), "reason": "not a picture, or damaged at its start"}
    ]
    assert "13 pictures" in done.err
    assert set(result["stages"]) == {"read", "detect", "choose", "align", "embed", "measure", "write"}
    assert sum(result["stages"].values()) > 0
    assert "Time by stage: read " in done.err
    done = here("cluster", "-e", tmp_path / "f.pkl", "-o", tmp_path / "people", "--json", "-q")
    result = json.loads(done.out)
    assert result["persons"] == {"person_A": 6, "person_B": 6}
    assert result["sorted"] + result["missing"] + result["outcomes"]["unreadable"] == result["inputs"] == 13
    assert done.err == ""
    assert json.loads(here("convert", tmp_path / "f.pkl", tmp_path / "f.faces", "--json").out)["faces"] == 12
    assert json.loads(here("undo", tmp_path / "people", "--json").out) == {
        "removed": 12,
        "returned": 0,
        "kept": [],
        "remembers": False,
    }
    assert "opencv" in [row["name"] for row in json.loads(here("packs", "list", "--json").out)["packs"]]


def test_quiet_is_silent_but_for_warnings(photos: Path, tmp_path: Path) -> None:
    done = here("embed", "-i", photos / PEOPLE[0], "-o", tmp_path / "f.pkl", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = here("cluster", "-e", tmp_path / "f.pkl", "-o", tmp_path / "people", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = here("embed", "-i", photos, "-o", tmp_path / "f.pkl", "-q")
    assert (done.code, done.out, done.err.count("\n")) == (3, "", 2)


def test_progress_off_a_terminal_is_plain_lines(photos: Path, tmp_path: Path) -> None:
    done = apart("embed", "-i", photos / PEOPLE[0], "-o", tmp_path / "f.pkl")
    assert "\r" not in done.err + done.out
    assert re.fullmatch(r"6/6 pictures \[\d\d:\d\d, .* pictures/s, faces=6, errors=0\]\n", done.err)


def test_progress_on_a_terminal_is_a_bar_that_damaged_pictures_do_not_break(
    dev_faces: Path, tmp_path: Path
) -> None:
    """libjpeg speaks up about two files of this folder, past Python, straight to the terminal."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (25, 100))
    words = ["embed", "-i", dev_faces / "broken", "-o", tmp_path / "f.pkl"]
    done = subprocess.run(
        [sys.executable, "-m", "face_organizer", *words],
        stderr=slave, stdout=subprocess.DEVNULL, env=environment(), check=False,
    )  # fmt: skip
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert done.returncode == 3
    assert "\r100%|" in shown
    assert "errors=6" in shown
    assert "JPEG data" not in shown
    assert "libpng" not in shown


def test_names_of_any_bytes_reach_folders_and_not_the_terminal(photos: Path, tmp_path: Path) -> None:
    source = next((photos / PEOPLE[0]).iterdir())
    names = ["new\nline.jpg", "\x1b]0;title\x07.jpg", os.fsdecode(b"caf\xe9.jpg"), "😀.jpg", "-rf.jpg"]
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copy2(source, tmp_path / "in" / name)
        (tmp_path / "in" / f"bad {name}").write_text("no picture")
    done = apart("embed", "-i", tmp_path / "in", "-o", tmp_path / "f.pkl")
    assert (done.code, "10 pictures = 5 with faces + 5 unreadable" in done.out) == (3, True)
    for line in (done.err + done.out).split("\n"):
        assert line.isprintable(), line
    assert r"bad new\nline.jpg: not a picture" in done.err
    done = apart("cluster", "-e", tmp_path / "f.pkl", "-o", tmp_path / "people", "-k", "1")
    assert done.code == 0
    assert sorted(os.listdir(tmp_path / "people" / "person_A")) == sorted(names)


def test_a_terminal_that_knows_no_unicode(faces: Path, tmp_path: Path) -> None:
    done = apart("cluster", "-e", faces, "-o", tmp_path / "people", PYTHONIOENCODING="latin-1")
    assert (done.code, r"\u2192" in done.out) == (0, True)


def test_a_reader_that_leaves_early(faces: Path, tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m face_organizer cluster -e {faces} -o {tmp_path / 'people'} | true"
    done = subprocess.run(
        ["sh", "-c", command], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


# --- folders within folders


def test_an_output_folder_inside_the_input_is_not_read_back(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "in")
    for _ in range(2):
        done = here("embed", "-i", tmp_path / "in", "-o", tmp_path / "in" / "faces.pkl")
        assert "13 pictures = 12 with faces + 1 unreadable" in done.out
        done = here("cluster", "-e", tmp_path / "in" / "faces.pkl", "-o", tmp_path / "in" / "people")
        assert "13 pictures = 12 sorted + 1 unreadable" in done.out
    done = here("embed", "-i", tmp_path / "in", "-o", tmp_path / "in" / "faces.pkl")
    assert f"Left out {tmp_path / 'in' / 'people'}: an output folder of this program" in done.out


def test_pictures_of_an_output_folder_are_not_sorted_into_it(faces: Path, tmp_path: Path) -> None:
    here("cluster", "-e", faces, "-o", tmp_path / "people")
    here("embed", "-i", tmp_path / "people" / "person_A", "-o", tmp_path / "a.pkl")
    before = tree(tmp_path / "people")
    done = here("cluster", "-e", tmp_path / "a.pkl", "-o", tmp_path / "people")
    assert (done.code, "lie in the output folder, and no plan moved them there" in done.err) == (2, True)
    assert tree(tmp_path / "people") == before


# --- mistakes


def refused(done: Done, code: int, *said: str) -> None:
    assert done.code == code, done
    for words in said:
        assert words in done.err
    assert done.err.splitlines()[-1].startswith("Error: ")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    output = ("-o", tmp_path / "f.pkl")
    refused(here("embed", "-i", tmp_path / "nowhere", *output), 2, f"{tmp_path / 'nowhere'}: no such folder")
    refused(here("embed", "-i", "", *output), 2, "an empty name")
    (tmp_path / "empty").mkdir()
    refused(
        here("embed", "-i", tmp_path / "empty", *output), 1, f"no pictures or videos in {tmp_path / 'empty'}"
    )
    (tmp_path / "empty" / "x.txt").touch()
    refused(here("embed", "-i", tmp_path / "empty", *output), 1, "no pictures or videos in", "(1 other file)")
    assert not (tmp_path / "f.pkl").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["embed", "-o", "OUT"],
        ["embed", "-i", "IN"],
        ["embed", "-i", "IN", "-o", "OUT", "--workers", "-1"],
        ["embed", "-i", "IN", "-o", "OUT", "--workers", "0"],
        ["embed", "-i", "IN", "-o", "OUT", "--limit", "0"],
        ["embed", "-i", "IN", "-o", "OUT", "--min-confidence", "1.5"],
        ["embed", "-i", "IN", "-o", "OUT", "--min-confidence", "nan"],
        ["embed", "-i", "IN", "-o", "OUT", "--min-face-size", "nan"],
        ["embed", "-i", "IN", "-o", "OUT", "--max-megapixels", "inf"],
        ["embed", "-i", "IN", "-o", "OUT", "--faces", "some"],
        ["embed", "-i", "IN", "-o", "OUT", "--device", "gpu"],
        ["embed", "-i", "IN", "-o", "OUT", "--nonsense"],
        ["embed", "-i", "IN", "-o", "OUT", "--", "stray"],
        ["cluster", "-e", "TABLE", "-o", "OUT", "-k", "0"],
        ["cluster", "-e", "TABLE", "-o", "OUT", "-k", "two"],
        ["cluster", "-e", "TABLE", "-o", "OUT", "--seed", "-1"],
        ["convert", "TABLE", "TABLE"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_calls_end_with_2(words: list[str], photos: Path, faces: Path, tmp_path: Path) -> None:
    stand = {"IN": photos, "OUT": tmp_path / "out", "TABLE": faces}
    refused(here(*(stand.get(w, w) for w in words)), 2)
    assert os.listdir(tmp_path) == []


def test_unknown_packs_and_devices(photos: Path, tmp_path: Path) -> None:
    call = ("embed", "-i", photos, "-o", tmp_path / "f.pkl")
    refused(here(*call, "--pack", "nono"), 1, "nono", "opencv")
    done = apart(*call, GPU_ID="31")
    refused(done, 4, "--device cpu")
    assert done.err.count("\n") == 1, done.err
    refused(apart(*call, "--device", "31"), 4)
    assert apart(*call, "--device", "cpu", GPU_ID="31").code == 3
    assert os.listdir(tmp_path) == ["f.pkl"]


def test_an_output_that_would_replace_something_else(photos: Path, tmp_path: Path) -> None:
    picture = shutil.copy2(next((photos / PEOPLE[0]).iterdir()), tmp_path / "mine.jpg")
    before = Path(picture).read_bytes()
    refused(here("embed", "-i", photos, "-o", picture), 2, "is no name of a table")
    refused(here("embed", "-i", photos, "-o", tmp_path), 2, "is no name of a table")
    refused(here("embed", "-i", photos, "-o", tmp_path / "mine.jpg" / "f.pkl"), 2, "is a file")
    (tmp_path / "data.faces").mkdir()
    (tmp_path / "data.faces" / "mine.json").write_text("{}")
    refused(here("embed", "-i", photos, "-o", tmp_path / "data.faces"), 2, "is there and is no table")
    refused(here("cluster", "-e", "any.pkl", "-o", picture), 2, "is a file, where a folder is wanted")
    assert Path(picture).read_bytes() == before
    assert (tmp_path / "data.faces" / "mine.json").read_text() == "{}"


def test_outputs_that_cannot_be_written_are_told_before_the_work(
    photos: Path, faces: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    done = apart("embed", "-i", photos, "-o", closed / "f.pkl", bound=True)
    if done.code == CANNOT_DROP:
        pytest.skip("root, and not allowed to give up writing where it may not")
    refused(done, 1, f"{closed}: cannot be written to")
    assert done.out == ""
    done = apart("cluster", "-e", faces, "-o", closed / "people", bound=True)
    refused(done, 1, f"{closed}: cannot be written to")
    assert done.out == ""
    refused(apart("convert", faces, closed / "x.faces", bound=True), 1, f"{closed}: cannot be written to")


def test_a_folder_that_cannot_be_looked_into_is_not_passed_over(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / PEOPLE[0], tmp_path / "in")
    (tmp_path / "in" / "closed").mkdir(mode=0)
    done = apart("embed", "-i", tmp_path / "in", "-o", tmp_path / "f.pkl", bound=True)
    if done.code == CANNOT_DROP:
        pytest.skip("root, and not allowed to give up reading what it may not")
    assert (done.code, "6 pictures = 6 with faces" in done.out) == (3, True)
    assert f"Warning: cannot look into {tmp_path / 'in' / 'closed'}: permission denied\n" in done.err


def test_a_disk_that_is_full_is_told(photos: Path, tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from face_organizer.cli import group, run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "sys.exit(run(group, sys.argv[1:]))"
    )
    call = ("embed", "-i", photos, "-o", tmp_path / "f.pkl")
    refused(python("-c", script, *call), 1, "f.pkl", "cannot be written: file too large")
    assert not (tmp_path / "f.pkl").exists()
    assert here(*call).code == 3


# --- tables from elsewhere


def test_a_table_of_the_original_script(photos: Path, tmp_path: Path) -> None:
    paths = [str(p) for person in PEOPLE for p in sorted((photos / person).iterdir())]
    vectors = np.repeat([[3.0, 0.1, 0], [0, 0.1, 5.0]], EACH, axis=0) + np.linspace(0, 0.1, 36).reshape(12, 3)
    pkl = original_pickle(tmp_path / "f.pkl", vectors, paths, no_face_count=3, total_images=15)
    done = here("cluster", "-e", pkl, "-o", tmp_path / "people")
    assert (done.code, "15 pictures = 12 sorted + 3 no face" in done.out) == (0, True)
    assert sorted(os.listdir(tmp_path / "people" / "person_A")) == sorted(map(os.path.basename, paths[:6]))


def test_two_pictures_of_one_name_are_both_kept(photos: Path, tmp_path: Path) -> None:
    """The original wrote the second over the first."""
    sources = []
    for folder, photo in zip("abc", sorted((photos / PEOPLE[0]).iterdir()), strict=False):
        (tmp_path / folder).mkdir()
        sources.append(shutil.copy2(photo, tmp_path / folder / "IMG_1.jpg"))
    pkl = original_pickle(tmp_path / "f.pkl", np.ones((3, 4)), [str(s) for s in sources])
    here("cluster", "-e", pkl, "-o", tmp_path / "people", "-k", "1")
    folder = tmp_path / "people" / "person_A"
    for name, source in zip(("IMG_1.jpg", "IMG_1_1.jpg", "IMG_1_2.jpg"), sources, strict=True):
        assert (folder / name).read_bytes() == Path(source).read_bytes()


def test_pictures_that_are_gone_are_named_and_counted(faces: Path, photos: Path, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jpg")
    here_still = str(next((photos / PEOPLE[0]).iterdir()))
    pkl = original_pickle(tmp_path / "f.pkl", np.eye(2), [gone, here_still])
    done = here("cluster", "-e", pkl, "-o", tmp_path / "people", "-k", "1")
    assert (done.code, "2 pictures = 1 sorted + 1 missing" in done.out) == (3, True)
    assert f"{gone}: no such file or directory" in done.err


def test_tables_that_cannot_be_sorted(photos: Path, faces: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "people")
    refused(here("cluster", "-e", tmp_path / "nowhere.pkl", *out), 1, "nowhere.pkl: cannot be read")
    refused(here("cluster", "-e", faces, *out, "-k", "13"), 1, "12 faces cannot be divided into 13")
    refused(here("cluster", "-e", photos / "notes.txt", *out), 1, "notes.txt: not a face table")
    (tmp_path / "cut.pkl").write_bytes(faces.read_bytes()[:-100])
    refused(here("cluster", "-e", tmp_path / "cut.pkl", *out), 1, "cut.pkl: not a face table, or damaged")
    pkl = original_pickle(tmp_path / "empty.pkl", np.empty((0, 4)), [], no_face_count=2, total_images=2)
    refused(here("cluster", "-e", pkl, *out), 1, "no faces among 2 pictures")
    pkl = original_pickle(tmp_path / "nan.pkl", [[np.nan, 1]], ["/x.jpg"])
    refused(here("cluster", "-e", pkl, *out, "-k", "1"), 1, "NaN")
    assert not (tmp_path / "people").exists()


def test_tables_of_different_embedders_are_refused(faces: Path, tmp_path: Path) -> None:
    mine = table.read(faces)
    assert mine.stamp is not None
    other = dataclasses.replace(
        mine, stamp=dataclasses.replace(mine.stamp, embedder_sha256="0" * 64, pack="other")
    )
    table.write(other, tmp_path / "other.pkl")
    done = here("cluster", "-e", faces, tmp_path / "other.pkl", "-o", tmp_path / "people")
    refused(done, 1, str(faces), "other.pkl", "cannot be compared")
    assert not (tmp_path / "people").exists()


class Hostile:
    """Pickles as a call of a program."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("command", ["cluster", "convert"])
def test_a_hostile_pickle_is_refused_and_runs_nothing(command: str, tmp_path: Path) -> None:
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"embeddings": Hostile(f"touch {tmp_path}/pwned")}))
    target = ["-o", tmp_path / "people"] if command == "cluster" else [tmp_path / "x.faces"]
    flag = ["-e"] if command == "cluster" else []
    refused(here(command, *flag, tmp_path / "evil.pkl", *target), 1, "posix.system", "nothing of it was run")
    assert os.listdir(tmp_path) == ["evil.pkl"]


def test_convert_there_and_back(faces: Path, tmp_path: Path) -> None:
    assert here("convert", faces, tmp_path / "f.faces").code == 0
    assert here("convert", tmp_path / "f.faces", tmp_path / "back.pkl").code == 0
    there, back = table.read(tmp_path / "f.faces"), table.read(tmp_path / "back.pkl")
    assert np.array_equal(there.embeddings, back.embeddings)
    assert (list(there.files.path), there.stamp) == (list(back.files.path), back.stamp)
    for path in (faces, tmp_path / "f.faces"):
        done = here("cluster", "-e", path, "-o", tmp_path / f"people of {path.name}")
        assert "13 pictures = 12 sorted + 1 unreadable" in done.out
    people = [tree(tmp_path / f"people of {name}") for name in ("faces.pkl", "f.faces")]
    assert people[0] == people[1]


# --- Ctrl-C


def interrupted(words: list[str | Path], moment: Callable[[subprocess.Popen[str]], None]) -> str:
    child = subprocess.Popen(
        [sys.executable, "-m", "face_organizer", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        # What runs in the background of a shell, such as these tests, is started with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    moment(child)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert err.endswith("Interrupted; nothing is half-written, and the same command goes on from here.\n")
    return err


def wait_for(true: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    while not true():
        assert child.poll() is None, "it ended before it was interrupted"
        time.sleep(0.001)


def test_interrupted_while_it_looks(dev_faces: Path, tmp_path: Path) -> None:
    def looking(child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        while not child.stdout.readline().startswith("Device"):
            assert child.poll() is None
        time.sleep(0.5)

    call: list[str | Path] = [
        "embed",
        "-i",
        dev_faces / "identities",
        "-o",
        tmp_path / "f.pkl",
        "--limit",
        "150",
    ]
    interrupted(call, looking)
    assert not (tmp_path / "f.pkl").exists()
    assert here(*call).code == 0
    assert os.listdir(tmp_path) == ["f.pkl"]
    assert table.read(tmp_path / "f.pkl").total_files == 150


def test_interrupted_while_it_copies(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{i}.jpg" for i in range(5_000)]
    for i, path in enumerate(paths):
        path.write_text(f"picture {i}")
    vectors = np.random.default_rng(0).normal(size=(len(paths), 8))
    pkl = original_pickle(tmp_path / "f.pkl", vectors, [str(p) for p in paths])
    call: list[str | Path] = ["cluster", "-e", pkl, "-o", tmp_path / "people", "-k", "1", "--keep-strangers"]
    folder = tmp_path / "people" / "person_A"
    interrupted(call, lambda child: wait_for(lambda: folder.is_dir() and len(os.listdir(folder)) > 20, child))
    whole = {p: p.read_text() for p in folder.iterdir()}
    assert 20 <= len(whole) < len(paths)  # one of those counted may have been on its way
    assert all(text == (tmp_path / "in" / p.name).read_text() for p, text in whole.items())
    assert here(*call).code == 0
    assert tree(folder) == tree(tmp_path / "in")
    assert here("undo", tmp_path / "people").code == 0
    assert not (tmp_path / "people").exists()


# --- help


def test_help_of_every_command() -> None:
    for words in (
        ["embed"],
        ["cluster"],
        ["undo"],
        ["convert"],
        ["packs"],
        ["packs", "list"],
        ["packs", "pull"],
    ):
        for flag in ("-h", "--help"):
            done = here(*words, flag)
            assert done.code == 0
            assert done.out.startswith(f"Usage: face-organizer {' '.join(words)} ")
    assert "Exit codes: 0 done" in here("--help").out
    assert here("--version").out.startswith("face-organizer, version ")
    assert here().code == 2

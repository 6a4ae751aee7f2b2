"""Processes that die, fail or find no device; and the same table from any number of devices."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from making_tables import content
from running import Running, another, run, some_photos, wait_for

from face_organizer import table
from face_organizer.embed import known
from face_organizer.embed.maker import unreadable
from face_organizer.embed.setup import EmbedOptions, stamp_of
from face_organizer.networks import packs
from face_organizer.types import FaceTable, Outcome

COUNT = 40


@pytest.fixture(scope="module")
def photos(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_photos(dev_faces, tmp_path_factory.mktemp("jobs") / "photos", COUNT)


@pytest.fixture(scope="module")
def plain(photos: Path) -> Path:
    output = photos.parent / "plain.pkl"
    code, said = run(photos, output)
    assert code == 0, said
    return output


def without(made: FaceTable, *names: str) -> FaceTable:
    return made.take_files(np.array([Path(p).name not in names for p in made.files.path], bool))


def close(one: FaceTable, other: FaceTable) -> None:
    """The same faces and embeddings; a chunk of another composition may differ in the last bits."""
    assert list(one.files.outcome) == list(other.files.outcome)
    assert list(one.faces.file_index) == list(other.faces.file_index)
    np.testing.assert_allclose(one.faces.box, other.faces.box, atol=1e-2)
    np.testing.assert_allclose(one.embeddings, other.embeddings, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("shard_files", ["64", "8"])
def test_a_picture_that_kills_its_process(
    photos: Path, plain: Path, tmp_path: Path, shard_files: str
) -> None:
    """In one shard, and in one of several that the process has in hand."""
    killers = ["killer.jpg", "killer 2.jpg"]
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    for name in killers:
        another(photos / "005.jpg", folder / name)
    output = tmp_path / "faces.pkl"
    code, said = run(folder, output, FAULT="killer", SHARD_FILES=shard_files)
    assert code == 3, said
    made = table.read(output)
    bad = np.flatnonzero(made.files.outcome == Outcome.UNREADABLE)
    reasons = {Path(made.files.path[i]).name: made.files.reason[i] for i in bad}
    assert reasons == dict.fromkeys(killers, "ended the process that read it: killed by SIGSEGV")
    assert all(f"{folder / name}: ended the process" in said for name in killers)
    rest = without(made, *killers)
    expected = table.read(plain)
    assert [Path(p).name for p in rest.files.path] == [Path(p).name for p in expected.files.path]
    close(rest, expected)
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "faces.pkl", "faces.pkl.log"}
    # Known now: it kills nobody a second time, until someone asks for it.
    code, said = run(folder, output, FAULT="killer")
    assert (code, "a process ended" in said) == (3, False)
    assert content(table.read(output)) == content(made)
    code, said = run(folder, output, "--again", "failed")
    assert code == 0, said
    assert table.read(output).outcome_counts()["faces"] == COUNT + len(killers)


@pytest.mark.slow
def test_a_killer_alone(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    another(photos / "005.jpg", folder / "killer.jpg")
    code, said = run(folder, tmp_path / "faces.pkl", FAULT="killer")
    assert code == 3, said
    made = table.read(tmp_path / "faces.pkl")
    assert made.outcome_counts()["unreadable"] == made.total_files == 1
    assert made.files.bytes[0] == (folder / "killer.jpg").stat().st_size
    assert not made.files.retry[0]


@pytest.mark.slow
def test_a_picture_whose_process_is_killed_once_is_tried_again(photos: Path, tmp_path: Path) -> None:
    """As a video of an hour is, alone in its shard: the kill is rarely its fault."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copyfile(photos / "005.jpg", folder / "005.jpg")
    running = Running(folder, tmp_path / "faces.pkl", "--workers", "4", HOLD=str(tmp_path), HOLD_AT="005.jpg")
    wait_for((tmp_path / "held").exists, "the process holds")
    os.kill(running.children()[0], signal.SIGKILL)
    (tmp_path / "go").touch()
    assert running.end() == 0, running.said
    assert f"{folder / '005.jpg'} is tried once more" in running.said
    assert "device cpu: going on with 2 threads, to use less memory" in running.said
    assert table.read(tmp_path / "faces.pkl").outcome_counts()["faces"] == 1


def test_what_ran_out_of_memory_is_looked_at_by_the_next_run(tmp_path: Path) -> None:
    stamp = stamp_of(packs.find("opencv"), EmbedOptions())
    for passing in (True, False):
        made = unreadable(str(tmp_path / "a.jpg"), "killed", stamp, passing=passing)
        assert known.fresh(made, None) == (set() if passing else {str(tmp_path / "a.jpg")})


@pytest.mark.slow
def test_processes_that_die_before_they_begin(photos: Path, tmp_path: Path) -> None:
    running = Running(photos, tmp_path / "faces.pkl", FAULT="early")
    assert running.end() == 1
    assert (
        running.said.splitlines()[-1] == "Error: processes on device cpu end before they begin: exit code 7"
    )
    assert not running.output.exists()


@pytest.mark.slow
def test_early_deaths_count_only_in_a_row(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "killer.jpg"):
        another(photos / "005.jpg", folder / name)
    code, said = run(folder, tmp_path / "faces.pkl", FAULT="flaky", HOLD=str(tmp_path))
    assert code == 3, said
    assert len(list(tmp_path.glob("child-*"))) >= 6, "three of them died early"
    assert table.read(tmp_path / "faces.pkl").outcome_counts()["faces"] == 4


@pytest.mark.slow
def test_a_fault_of_the_program_ends_the_run(photos: Path, tmp_path: Path) -> None:
    running = Running(photos, tmp_path / "faces.pkl", FAULT="bug")
    assert running.process.wait(60) == 1
    assert running.said.count("ZeroDivisionError: a fault of the program") == 1, "told once, not tried again"
    assert "please report this" in running.said
    assert not running.output.exists()
    code, said = run(photos, running.output)
    assert code == 0, said


@pytest.mark.slow
def test_a_device_that_is_not_there(photos: Path, tmp_path: Path) -> None:
    running = Running(photos, tmp_path / "faces.pkl", "--device", "cpu,cpu", FAULT="device")
    assert running.end() == 4
    errors = [line for line in running.said.splitlines() if line.startswith("Error")]
    assert errors == ["Error: device 0 was asked for, but it is a toaster; use --device cpu"]
    assert running.said.splitlines()[-1] == errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("devices", ["cpu,0", "0,cpu"])
def test_a_card_that_is_not_there_beside_a_cpu(photos: Path, tmp_path: Path, devices: str) -> None:
    """Although the CPU alone is through before the card could say anything."""
    running = Running(photos, tmp_path / "faces.pkl", "--device", devices, "--limit", "2")
    assert running.end() == 4, running.said
    assert not running.output.exists()


@pytest.mark.slow
def test_five_devices_give_the_same_bytes_as_one(photos: Path, plain: Path, tmp_path: Path) -> None:
    """Two: see `test_numbers_of_devices_mapped_by_the_environment`."""
    output = tmp_path / "faces.pkl"
    code, said = run(photos, output, "--device", "cpu,cpu,cpu,cpu,cpu", "--workers", "1", SHARD_FILES="8")
    assert code == 0, said
    assert output.read_bytes() == plain.read_bytes()


@pytest.mark.slow
def test_shards_and_threads_make_no_difference(photos: Path, plain: Path, tmp_path: Path) -> None:
    output = tmp_path / "faces.pkl"
    code, said = run(photos, output, "--workers", "3", SHARD_FILES="48")
    assert code == 0, said
    assert content(table.read(output)) == content(table.read(plain))


@pytest.mark.slow
def test_numbers_of_devices_mapped_by_the_environment(photos: Path, plain: Path, tmp_path: Path) -> None:
    running = Running(photos, tmp_path / "faces.pkl", "--device", "0,1", FACE_ORGANIZER_DEVICES="cpu,cpu")
    assert running.end() == 0, running.said
    assert "Device cpu, cpu" in running.said
    assert running.output.read_bytes() == plain.read_bytes()

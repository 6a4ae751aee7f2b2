"""Kills at any moment, and Ctrl-C: the same call again comes to the table of a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from running import Running, command_of, run, some_photos, wait_for

from face_organizer import table

pytestmark = pytest.mark.slow

COUNT = 48  # three shards


@pytest.fixture(scope="module")
def photos(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_photos(dev_faces, tmp_path_factory.mktemp("kill") / "photos", COUNT)


@pytest.fixture(scope="module")
def undisturbed(photos: Path) -> bytes:
    output = photos.parent / "undisturbed.pkl"
    code, said = run(photos, output)
    assert code == 0, said
    return output.read_bytes()


def held(photos: Path, tmp_path: Path, at: str, *words: str) -> Running:
    """A run whose process stands still when it comes to the file `at`, until `tmp_path/go` is there."""
    running = Running(photos, tmp_path / "faces.pkl", *words, HOLD=str(tmp_path), HOLD_AT=at)
    wait_for((tmp_path / "held").exists, f"the process holds:\n{running.said}")
    return running


def completes(photos: Path, output: Path, undisturbed: bytes) -> None:
    """The same call again: the table is whole, and nothing else is left."""
    code, said = run(photos, output)
    assert code == 0, said
    assert output.read_bytes() == undisturbed
    left = {p.name for p in output.parent.iterdir() if not p.name.endswith((".log", "held", "go"))}
    assert left == {output.name}


@pytest.mark.parametrize("seed", range(2))
def test_the_main_process_is_killed(photos: Path, undisturbed: bytes, tmp_path: Path, seed: int) -> None:
    output = tmp_path / "faces.pkl"
    for shards in (seed % 2, 1 + seed % 2):  # killed twice, a random while after so many shards are made
        running = Running(photos, output)
        running.reach(shards)
        time.sleep(random.Random(seed + shards).uniform(0, 0.1))  # any moment will do
        running.kill()
        assert running.end() in (-signal.SIGKILL, 0)  # 0: the moment came too late
        assert output.exists() or running.shards() >= shards, "what was made stays"
    completes(photos, output, undisturbed)


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
def test_processes_are_killed(photos: Path, undisturbed: bytes, tmp_path: Path, devices: str) -> None:
    output = tmp_path / "faces.pkl"
    running = Running(
        photos, output, "--device", devices, "--workers", "1", HOLD=str(tmp_path), HOLD_AT="016.jpg"
    )
    wait_for((tmp_path / "held").exists, "the process holds")
    victims = running.children()
    assert len(victims) == len(devices.split(","))
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    (tmp_path / "go").touch()
    assert running.end() == 0, running.said
    assert "a process ended (killed by SIGKILL, likely out of memory)" in running.said
    assert output.read_bytes() == undisturbed


def test_an_orphaned_process_ends_by_itself(photos: Path, undisturbed: bytes, tmp_path: Path) -> None:
    running = held(photos, tmp_path, "000.jpg")
    processes = running.children()
    assert len(processes) == 1, running.said
    running.kill()
    assert running.end() == -signal.SIGKILL
    assert command_of(processes[0]), "it stands still"
    (tmp_path / "go").touch()
    wait_for(lambda: not command_of(processes[0]), "the orphan ends")
    completes(photos, running.output, undisturbed)


def test_an_idle_orphan_ends_too(photos: Path, tmp_path: Path) -> None:
    running = held(photos, tmp_path, "000.jpg", "--device", "cpu,cpu", "--limit", "17")
    running.reach(shards=1)
    wait_for(lambda: len(running.children()) == 2 or running.process.poll() is not None, "both processes")
    processes = running.children()
    assert len(processes) == 2, running.said
    running.kill()
    running.end()
    (tmp_path / "go").touch()
    wait_for(lambda: not any(map(command_of, processes)), "the orphans end")


def test_a_second_run_at_the_same_table_is_refused(photos: Path, undisturbed: bytes, tmp_path: Path) -> None:
    running = held(photos, tmp_path, "016.jpg")
    other = Running(photos, running.output)
    other._log.rename(tmp_path / "other.log")
    code = other.process.wait(60)
    said = (tmp_path / "other.log").read_text()
    assert code == 1
    assert said.splitlines()[-1] == f"Error: {running.output}: another run is writing this table"
    assert "Traceback" not in said
    (tmp_path / "go").touch()
    assert running.process.wait(120) == 0
    assert running.output.read_bytes() == undisturbed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_hand(
    photos: Path, undisturbed: bytes, tmp_path: Path, number: signal.Signals
) -> None:
    running = held(photos, tmp_path, "016.jpg")
    running.reach(shards=1)
    os.killpg(running.process.pid, number)  # as a terminal does it: its processes get it too
    wait_for(lambda: "the pictures in hand are finished and saved first" in running.said, "the first signal")
    (tmp_path / "go").touch()
    assert running.end() == 130
    assert running.shards() >= 2
    assert not running.output.exists()
    assert "goes on from here" in running.said
    completes(photos, running.output, undisturbed)


def test_a_signal_leaves_a_shard_in_part(photos: Path, undisturbed: bytes, tmp_path: Path) -> None:
    """A shard of hundreds of pictures is not finished first: the chunks in hand are, and they count."""
    words = ("--workers", "1")
    running = Running(
        photos, tmp_path / "faces.pkl", *words, HOLD=str(tmp_path), HOLD_AT="000.jpg", SHARD_FILES="480"
    )
    wait_for((tmp_path / "held").exists, f"the process holds:\n{running.said}")
    os.killpg(running.process.pid, signal.SIGTERM)
    wait_for(lambda: "the pictures in hand are finished" in running.said, "the first signal")
    (tmp_path / "go").touch()
    assert running.end() == 130
    (shard,) = running.work.glob("shard-*.pkl")
    assert len(table.read(shard).files) in (16, 32, 48)
    completes(photos, running.output, undisturbed)


def test_a_signal_to_processes_of_two_devices(photos: Path, undisturbed: bytes, tmp_path: Path) -> None:
    running = held(photos, tmp_path, "016.jpg", "--device", "cpu,cpu", "--workers", "1")
    os.killpg(running.process.pid, signal.SIGINT)
    wait_for(lambda: "the pictures in hand are finished" in running.said, "the first signal")
    (tmp_path / "go").touch()
    assert running.end() == 130
    completes(photos, running.output, undisturbed)


def test_a_second_signal_stops_at_once(photos: Path, undisturbed: bytes, tmp_path: Path) -> None:
    running = held(photos, tmp_path, "016.jpg")
    running.reach(shards=1)
    processes = running.children()
    os.killpg(running.process.pid, signal.SIGINT)
    wait_for(lambda: "once more stops at once" in running.said, "the first signal")
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.end() == 130  # the process still holds
    assert running.shards() == 1
    wait_for(lambda: not any(map(command_of, processes)), "the processes are gone")
    (tmp_path / "go").touch()
    completes(photos, running.output, undisturbed)


def test_a_signal_while_processes_start(photos: Path, undisturbed: bytes, tmp_path: Path) -> None:
    running = held(photos, tmp_path, "start")
    os.killpg(running.process.pid, signal.SIGINT)
    wait_for(lambda: "once more stops at once" in running.said, "the first signal")
    (tmp_path / "go").touch()
    assert running.end() == 130  # and no traceback of a process
    completes(photos, running.output, undisturbed)

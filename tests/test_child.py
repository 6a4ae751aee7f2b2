"""A function in a process of its own: what it answers, raises, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import child_standins as standins
import numpy as np
import pytest

from face_organizer.errors import DeviceError
from face_organizer.machine import how_it_ended
from face_organizer.networks.child import Child, ChildError, call

TESTS = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def _stand_ins_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def test_it_answers_from_another_process() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    with Child(standins.opened) as child:
        assert child.ask("pid") == child.pid
        np.testing.assert_array_equal(child.ask("", picture), picture)
        assert 0 < child.seconds < 60
        peak = child.peak_memory()
        assert peak is None or 1_000_000 < peak < 10_000_000_000
    assert child.peak_memory() is None


def test_threads_get_their_own_answers() -> None:
    with Child(standins.opened) as child, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: child.ask("", i), range(40))) == list(range(40))


def test_what_it_raises_is_raised_here_and_it_goes_on() -> None:
    with Child(standins.opened) as child:
        with pytest.raises(ChildError, match=r"^RuntimeError: out of luck$") as failed:
            child.ask("raise")
        assert failed.value.state == "failed"
        with pytest.raises(DeviceError, match="no such card"):
            child.ask("device")
        assert child.ask("", 7) == 7


def test_how_it_dies_is_told_with_its_last_words() -> None:
    with pytest.raises(ChildError, match=r"its process ended \(killed by SIGSEGV\).*about to fall") as died:
        Child(standins.opened, "segfault")
    assert died.value.state == "crashed"
    with Child(standins.opened, name="Somebody's") as child:
        with pytest.raises(ChildError, match=r"Somebody's process ended \(exit code 5\)"):
            child.ask("exit")
        with pytest.raises(ChildError, match="ended"):
            child.ask("", 1)


def test_it_is_stopped_at_its_limit() -> None:
    with pytest.raises(ChildError, match=r"no answer within 0\.2 s") as late:
        Child(standins.opened, "hang", limit=0.2)
    assert late.value.state == "timeout"
    with Child(standins.opened) as child, pytest.raises(ChildError, match="no answer"):
        child.ask("hang", limit=0.2)


def test_one_call() -> None:
    assert call(standins.answer, "", 3, limit=60) == 3
    with pytest.raises(ChildError, match="out of luck"):
        call(standins.answer, "raise")


def test_a_parent_that_is_killed_takes_it_along() -> None:
    code = (
        "import child_standins, os\nfrom face_organizer.networks.child import Child\n"
        "child = Child(child_standins.opened)\nprint(child.pid, flush=True)\nchild.ask('hang')"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    # The pipe of this child's standard output is not ours: wait for its entry to go.
    while Path(f"/proc/{child}/stat").exists():
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "killed by SIGKILL, likely out of memory"),
        (-11, "killed by SIGSEGV"),
        (-77, "killed by signal 77"),
        (1, "exit code 1"),
    ],
)
def test_words_for_an_end(code: int, words: str) -> None:
    assert how_it_ended(code) == words

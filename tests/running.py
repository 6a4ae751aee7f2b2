"""Runs of `driven.py` for tests of kills and faults: started, watched, killed, waited for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shell import environment

DRIVEN = Path(__file__).resolve().parent / "driven.py"
PATIENCE = 120.0  # seconds until something that should happen at once is given up


def wait_for(happened: Callable[[], object], what: str) -> None:
    """Wait until `happened` says so."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.005)


def some_photos(dev_faces: Path, target: Path, count: int) -> Path:
    """A folder of `count` small photos, `000.jpg` and on, spread over the people of dev-faces/identities."""
    target.mkdir(parents=True)
    found = sorted((dev_faces / "identities").glob("*/*.jpg"))
    for i, photo in enumerate(found[:: len(found) // count][:count]):
        shutil.copyfile(photo, target / f"{i:03d}.jpg")
    return target


def another(source: Path, target: Path) -> None:
    """The same picture or video in a file of other bytes: what follows the end of either is passed over."""
    tail = target.name.encode()
    box = (8 + len(tail)).to_bytes(4, "big") + b"free"  # of MP4, where every byte belongs to a box
    target.write_bytes(source.read_bytes() + box + tail)


class Running:
    """`embed` of `photos` to `output`, in a process group of its own; `said` is what it printed."""

    def __init__(self, photos: Path, output: Path, *words: str, **env: str) -> None:
        self.output = output
        self.work = output.with_name(output.name + ".work")
        self._log = output.with_name(output.name + ".log")
        command = [
            sys.executable,
            str(DRIVEN),
            "embed",
            "-i",
            str(photos),
            "-o",
            str(output),
            "--pack",
            "opencv",
        ]
        if "--device" not in words:
            command += ["--device", "cpu"]
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, *words], stdout=log, stderr=log, env=environment(**env), start_new_session=True
            )

    @property
    def said(self) -> str:
        """Output so far."""
        return self._log.read_text("utf-8", errors="replace")

    def shards(self) -> int:
        """Tables of finished shards."""
        return len(list(self.work.glob("shard-*.pkl"))) if self.work.is_dir() else 0

    def children(self) -> list[int]:
        """Ids of its processes that live."""
        pid = self.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return []
        return [int(child) for child in children if b"spawn_main" in command_of(int(child))]

    def reach(self, shards: int) -> None:
        """Wait until the plan stands and so many shards are made."""
        wait_for(
            lambda: (
                ((self.work / "plan.json").exists() and self.shards() >= shards)
                or self.process.poll() is not None
            ),
            f"{shards} shards:\n{self.said}",
        )

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the main process."""
        os.kill(self.process.pid, number)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(PATIENCE)
        assert "Traceback" not in self.said, self.said
        return code


def run(photos: Path, output: Path, *words: str, **env: str) -> tuple[int, str]:
    """A run from begin to end: exit code, and what it printed."""
    running = Running(photos, output, *words, **env)
    return running.end(), running.said


def command_of(pid: int) -> bytes:
    """Command line of a process; empty where there is none (any more)."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

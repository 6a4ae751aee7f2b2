"""Peak memory of placing pictures, beside what is there before: plan, apply, the same a day later, undo.
`python benchmarks/placing.py [PICTURES] [MODE]`
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import row

from face_organizer import organize

_STEPS = ("first plan", "first apply", "second plan", "second apply", "undo")
_PEOPLE = 400


def names(folder: Path, count: int) -> Iterator[str]:
    """Paths as long as those of a real collection."""
    for i in range(count):
        yield f"{folder}/{2000 + i // 25_000}/{i // 500 % 50:02d} summer/IMG_{i:08d}_{i % 97:02d}.jpg"


def peak() -> int:
    """Of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def step(name: str, folder: Path, count: int, mode: str) -> None:
    """Do one and print seconds and bytes."""
    before, start = peak(), time.perf_counter()
    if name == "undo":
        organize.undo(folder / "out")
    else:
        entries = ((path, f"person_{i % _PEOPLE}") for i, path in enumerate(names(folder / "in", count)))
        plan = organize.plan(entries, folder / "out", mode=mode)
        if name.endswith("apply"):
            plan.apply()
    print(time.perf_counter() - start, peak() - before)


def main(count: int, mode: str) -> None:
    """Each step in a process of its own."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        folder = Path(name)
        for i, path in enumerate(names(folder / "in", count)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(b"%d" % i)
        for which in _STEPS:
            words = [sys.executable, __file__, which, name, str(count), mode]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            seconds, size = map(float, done.stdout.split())
            each = round(size / count)
            row("placing", step=which, mode=mode, pictures=count, seconds=round(seconds, 1), bytes_each=each)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        step(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        main(*map(int, sys.argv[1:2] or ["523000"]), *(sys.argv[2:3] or ["copy"]))

"""SIGKILL at random moments, to the main process or one of its own, then the same call again: the same table?

`python benchmarks/kill.py [KILLS]` prints one JSON line. Moments are spread evenly over the time of an
undisturbed run; every third kills one of its processes, the others the main process; one that comes too late
does not count. A kill is survived when the table of the call after it equals the undisturbed one byte for
byte.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from common import DATA, row

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from running import Running, run, some_photos

PHOTOS = 96


def one(photos: Path, output: Path, delay: float, child: bool) -> bool:
    """Kill after `delay` seconds; whether anything was killed."""
    running = Running(photos, output)
    time.sleep(delay)
    victims = running.children() if child else [running.process.pid]
    killed = running.process.poll() is None and bool(victims)
    if killed:
        os.kill(victims[0], signal.SIGKILL)
    running.end()
    return killed


def main(kills: int) -> None:
    """All kills, one row."""
    chance = random.Random(3)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos = some_photos(DATA / "dev-faces", root / "photos", PHOTOS)
        start = time.perf_counter()
        code, said = run(photos, root / "undisturbed.pkl")
        seconds = time.perf_counter() - start
        if code:
            raise SystemExit(said)
        expected = (root / "undisturbed.pkl").read_bytes()
        equal = killed = clean = number = 0
        while killed < kills:
            number += 1
            output = root / f"{number}" / "faces.pkl"
            output.parent.mkdir()
            if not one(photos, output, chance.uniform(0, seconds), child=number % 3 == 2):
                continue
            killed += 1
            code, _ = run(photos, output)
            equal += code == 0 and output.read_bytes() == expected
            clean += {p.name for p in output.parent.iterdir()} == {"faces.pkl", "faces.pkl.log"}
    row(
        "kill",
        killed=killed,
        equal=equal,
        nothing_left_behind=clean,
        pictures=PHOTOS,
        seconds=round(seconds, 2),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)

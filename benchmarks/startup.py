"""Processor seconds of `face-organizer --help`, the median of ten. `python benchmarks/startup.py`"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from common import row


def one() -> float:
    """User and system seconds of a go."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "face_organizer", "--help"], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    one()
    row("start-up", cpu_seconds=round(statistics.median(one() for _ in range(10)), 3))

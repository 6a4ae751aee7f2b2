"""Back ends that misbehave, opened by name in a trial's real process, and one whose answers are known."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

from face_organizer.compare import Face, Shot
from face_organizer.detect import Look
from face_organizer.networks.devices import Device


class Known:
    """Finds one face, its score told by the picture's width; the argument says what goes wrong, and where."""

    at_once = 4
    tunable = False

    def __init__(self, fault: str) -> None:
        self.fault, self.calls = fault, 0

    def find(self, shots: Sequence[Shot], look: Look) -> list[list[Face]]:
        self.calls += 1
        if self.calls > 2:  # after the warm-up and one picture
            misbehave(self.fault)
        return [[{"box": [1.0, 2.0, 30.0, 40.0], "landmarks": None, "score": 0.5, "turn": 0}] for _ in shots]

    def device(self) -> str:
        return "cpu"


def misbehave(fault: str) -> None:
    if fault == "segfault":
        sys.stderr.write("about to fall\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "hang":
        time.sleep(600)
    elif fault == "slow":
        time.sleep(0.7)
    elif fault == "exit":
        os._exit(5)
    elif fault == "raise":
        raise RuntimeError("out of luck\nsecond line")


def open_known(fault: str, device: Device) -> Known:
    if fault == "noisy":
        sys.stdout.write("a line that is no event\n")  # libraries do
    if fault.startswith("load-"):
        misbehave(fault.removeprefix("load-"))
    return Known(fault)

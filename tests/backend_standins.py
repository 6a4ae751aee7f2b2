"""Back ends that misbehave, opened by name in a trial's real process, and one whose answers are known."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

import numpy as np

from face_organizer.compare.backends import Backend
from face_organizer.detect import Found, Look
from face_organizer.media.images import Shrinkable
from face_organizer.networks.devices import Device
from face_organizer.types import Detections


def known(fault: str, device: Device) -> Backend:
    """Finds one face on each picture; `fault` says what goes wrong, and `@NAME` on which picture, else on all
    but the first two that it sees."""
    fault, _, where = fault.partition("@")
    calls = 0
    if fault == "noisy":
        sys.stdout.write("a line that is no answer\n")  # libraries do
    if fault.startswith("load-"):
        misbehave(fault.removeprefix("load-"))

    def find(pictures: Sequence[Shrinkable], look: Look) -> list[Found]:
        nonlocal calls
        calls += 1
        names = [f"{picture.pixels(float('inf'))[0][0, 0, 0] // 40}.png" for picture in pictures]
        if any(name.endswith(where) for name in names) if where else calls > 2:
            misbehave(fault)
        box = np.array([[1, 2, 30, 40]], np.float32)
        nowhere = np.full((1, 5, 2), np.nan, np.float32)
        return [Found(Detections(box, np.array([0.5], np.float32), nowhere)) for _ in pictures]

    return Backend(find, lambda: "cpu", at_once=4)


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

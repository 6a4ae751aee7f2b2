"""Functions that tests run in a process of their own, by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from face_organizer.errors import DeviceError


def opened(fault: str = "") -> Callable[..., Any]:
    misbehave(fault)
    return answer


def answer(fault: str, value: Any = None) -> Any:
    sys.stdout.write(f"asked for {fault}\n")
    sys.stdout.flush()
    misbehave(fault)
    return os.getpid() if fault == "pid" else value


def misbehave(fault: str) -> None:
    if fault == "segfault":
        os.write(2, b"about to fall\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "hang":
        time.sleep(600)
    elif fault == "exit":
        os._exit(5)
    elif fault == "raise":
        raise RuntimeError("out of luck\nsecond line")
    elif fault == "device":
        raise DeviceError("no such card")

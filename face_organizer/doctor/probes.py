"""Running a trial in a child process: what it says, how it dies, how long it takes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from face_organizer.networks.devices import Device

_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_CODE = (
    f"import sys; sys.path.append({_ROOT!r}); from face_organizer.doctor.trial import main; "
    "sys.exit(main(sys.argv[1:]))"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """How a trial of `framework` on `device` went; `why` is empty where it ran and its numbers are right."""

    framework: str
    device: Device
    why: str = ""
    ran_on: str = ""
    version: str = ""
    seconds: float = 0.0
    """The child's whole life, imports included."""


def run_trial(framework: str, device: Device, limit: float, command: Sequence[str] = ()) -> Trial:
    """One trial by `doctor.trial` in a child process of at most `limit` seconds. Never raises.

    `command` stands in for the child program in tests.
    """
    # -P: a numpy.py in the user's folder is not taken for the library.
    child = [*(command or (sys.executable, "-P", "-c", _CODE)), framework, str(device)]
    start = time.perf_counter()
    try:
        done = subprocess.run(child, capture_output=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Trial(framework, device, f"no answer within {limit:g} s", seconds=limit)
    except OSError as error:
        return Trial(framework, device, f"the trial could not be started: {error.strerror}")
    seconds = time.perf_counter() - start
    answer = _answer(done.stdout)
    if done.returncode < 0:
        return Trial(framework, device, f"killed by {_signal(-done.returncode)}", seconds=seconds)
    if done.returncode or not answer:
        why = answer.get("why") or _last_line(done.stderr) or f"ended with code {done.returncode}"
        return Trial(framework, device, str(why), seconds=seconds)
    return Trial(framework, device, "", str(answer["ran_on"]), str(answer["version"]), seconds)


def _answer(output: bytes) -> dict[str, Any]:
    """The JSON object on the last line; empty where there is none (libraries print what they like)."""
    try:
        answer = json.loads(_last_line(output))
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.keys() & {"why", "ran_on"} else {}


def _last_line(output: bytes) -> str:
    return (output.decode("utf-8", "replace").strip().splitlines() or [""])[-1].strip()


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

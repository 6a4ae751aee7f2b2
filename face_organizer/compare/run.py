"""Running one back end's trial, whatever becomes of it: a crash or a hang is a row, not the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from face_organizer.compare import Spec
from face_organizer.compare.deepface import DOWNLOADS
from face_organizer.files import printable
from face_organizer.networks.devices import Device

STATES = ("ran", "partial", "missing", "failed", "crashed", "timeout")
"""What may become of a back end; only the first two have figures."""


@dataclass(slots=True)
class Trial:
    """What one back end did. Seconds; `pictures` are raw rows, in the order of the paths: `path`, then
    `seconds` and `faces`, or `unreadable`. `why` says in words what went wrong and what mends it."""

    name: str
    state: str = "ran"
    why: str = ""
    device: str = ""
    load: float | None = None
    warm_up: float | None = None
    peak_mb: float | None = None
    batched: dict[str, Any] | None = None
    tunable: bool = False
    pictures: list[dict[str, Any]] = field(default_factory=list)


def run(
    spec: Spec,
    paths: Sequence[str],
    *,
    device: Device,
    limit: float,
    every_face: bool = False,
    downloads: bool = False,
    variants: bool = False,
    on_picture: Callable[[], object] = lambda: None,
) -> Trial:
    """Try `spec` on `paths` in a process of its own, for `limit` seconds at most (loading included).

    A back end that is only slow stops at the limit by itself and keeps what it did (`partial`); one that
    does not answer is killed a little later (`timeout`).
    """
    trial = Trial(spec.name)
    trial.why = spec.missing(downloads=downloads)
    if trial.why:
        trial.state = "missing"
        return trial
    job = {
        "opener": spec.opener,
        "argument": spec.argument,
        "device": str(device),
        "paths": list(paths),
        "every_face": every_face,
        "seconds": limit,
        "variants": variants,
    }
    environment = {**os.environ, DOWNLOADS: str(int(downloads))}
    with tempfile.TemporaryFile() as noise:
        process = subprocess.Popen(
            [sys.executable, "-m", "face_organizer.compare.trial"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=noise,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # what it starts itself ends with it
        )
        _converse(process, json.dumps(job), trial, limit + max(1.0, min(10.0, limit / 4)), on_picture)
        if trial.state == "crashed":
            trial.why += _last_line(noise)
    if trial.state == "ran" and len(trial.pictures) < len(paths):
        trial.state = "partial"
        seen = f"{len(trial.pictures)} of {len(paths)} pictures"
        trial.why = f"looked at {seen} in {limit:g} s; --time-limit gives more"
    return trial


def _converse(
    process: subprocess.Popen[str], job: str, trial: Trial, limit: float, on_picture: Callable[[], object]
) -> None:
    """Take in the events of a trial until it ends or is killed."""
    assert process.stdin
    assert process.stdout
    stopped = threading.Event()

    def stop() -> None:
        stopped.set()
        _kill(process)

    timer = threading.Timer(limit, stop)
    timer.daemon = True
    timer.start()
    start, at, done = time.monotonic(), "while it was loaded", False
    try:
        try:
            process.stdin.write(job)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it died at once; its exit code tells
        for line in process.stdout:
            event = json.loads(line)
            at, done = _take(event, trial, at), done or event["event"] == "done"
            if event["event"] == "picture":
                on_picture()
        process.wait()
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
        process.stdout.close()
    if done or trial.state == "failed":
        return
    if stopped.is_set():
        trial.state, trial.why = (
            "timeout",
            f"no answer within {time.monotonic() - start:.0f} s, {at}; stopped",
        )
    else:
        trial.state, trial.why = "crashed", f"{_death(process.returncode)} {at}"


def _take(event: dict[str, Any], trial: Trial, at: str) -> str:
    """Put an event into the trial; where the trial is now, in words."""
    kind = event.pop("event")
    event["event"] = kind
    if kind == "loaded":
        trial.load, trial.tunable = event["seconds"], event["tunable"]
        return "at its first picture"
    if kind == "warm":
        trial.warm_up = event["seconds"]
    elif kind == "begun":
        return f"at {printable(os.path.basename(event['path']))}"
    elif kind == "picture":
        trial.pictures.append({key: value for key, value in event.items() if key != "event"})
    elif kind == "batched":
        trial.batched = {"pictures": event["pictures"], "seconds": event["seconds"]}
        return "after its last picture"
    elif kind == "failed":
        trial.state, trial.why = "failed", f"{event['why']} ({at})"
    elif kind == "done":
        trial.device, trial.peak_mb = event["device"], event["peak_mb"]
    return at


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _death(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    name = signal.strsignal(-code) or f"signal {-code}"
    hint = ", out of memory most likely" if code == -signal.SIGKILL else ""
    return f"its process crashed ({name.lower()}{hint})"


def _last_line(noise: IO[bytes]) -> str:
    noise.seek(max(0, noise.seek(0, os.SEEK_END) - 4000))
    lines = noise.read().decode("utf-8", "replace").strip().splitlines()
    return f"; its last words: {printable(lines[-1])[:200]}" if lines else ""

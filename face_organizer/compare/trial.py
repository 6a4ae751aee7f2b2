"""The program of one back end's process: load it, show it pictures, tell what it found and what it took.

    python -m face_organizer.compare.trial < job.json

Prints one JSON object a line as it goes, so that what was done before a crash or a hang is not lost.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from face_organizer.compare import Backend, Shot
from face_organizer.compare.variants import VARIANTS, Variant
from face_organizer.detect import Look
from face_organizer.errors import FaceOrganizerError, ImageError
from face_organizer.media.images import open_source
from face_organizer.networks.devices import Device

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    """Run the job on standard input; 0 when the back end ran to its end."""
    # A parent that is killed takes this process with it: a hung back end would stay for ever.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    job = json.load(sys.stdin)
    # What libraries print must not stand between our lines.
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        for event in run(job):
            said.write(json.dumps(event) + "\n")
    except FaceOrganizerError as error:
        _fail(said, str(error))
    except Exception as error:  # DeepFace and what is under it raise what they like; it ends this back end
        _fail(said, f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no reason given'])[0]}")
    else:
        return 0
    return 1


def _fail(said: TextIO, why: str) -> None:
    said.write(json.dumps({"event": "failed", "why": why[:400]}) + "\n")


def run(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a job: `loaded`, `warm`, a `picture` each, `batched`, `done`.

    `job`: opener, argument, device, paths, every_face, seconds (after which no further picture is begun),
    variants (whether pictures without a face are tried again changed).
    """
    end = time.monotonic() + job["seconds"]
    start = time.perf_counter()
    module, _, attribute = job["opener"].partition(":")
    backend: Backend = getattr(importlib.import_module(module), attribute)(
        job["argument"], Device.parse(job["device"])
    )
    yield {"event": "loaded", "seconds": time.perf_counter() - start, "tunable": backend.tunable}
    look = Look(every_face=job["every_face"])
    paths: Sequence[str] = job["paths"]
    seconds = _warm(backend, paths, look)
    yield {"event": "warm", "seconds": seconds}
    done = 0
    for path in paths:
        if time.monotonic() > end:
            break
        yield {"event": "begun", "path": path}
        yield _picture(backend, path, look, variants=job["variants"])
        done += 1
    if backend.at_once > 1 and not job["variants"] and done == len(paths) and time.monotonic() < end:
        yield _batched(backend, paths, look)
    yield {"event": "done", "device": backend.device(), "peak_mb": _peak_mb(), "pictures": done}


def _warm(backend: Backend, paths: Sequence[str], look: Look) -> float:
    """Seconds of the first picture that can be read, which are not like the later ones."""
    start = time.perf_counter()
    for path in paths:
        try:
            backend.find([Shot(path, open_source(path))], look)
        except ImageError:
            continue
        break
    return time.perf_counter() - start


def _picture(backend: Backend, path: str, look: Look, *, variants: bool) -> dict[str, Any]:
    start = time.perf_counter()
    event: dict[str, Any] = {"event": "picture", "path": path}
    try:
        source = open_source(path)
        faces = backend.find([Shot(path, source)], look)[0]
        event |= {"seconds": time.perf_counter() - start, "faces": faces}
        event |= {"width": source.width, "height": source.height}
        if variants and not faces:
            event["variants"] = list(_tried(backend, path, look))
    except ImageError as error:
        event |= {"unreadable": error.reason}
    return event


def _tried(backend: Backend, path: str, look: Look) -> Iterator[dict[str, Any]]:
    """What the back end finds on the picture changed, for each change that makes sense to it."""
    for variant in VARIANTS:
        if variant.tunable and not backend.tunable:
            continue
        faces = _changed(backend, path, look, variant)
        yield {"name": variant.name, "faces": faces}


def _changed(backend: Backend, path: str, look: Look, variant: Variant) -> list[Any]:
    source = open_source(path, enhance=variant.enhance)
    picture = variant.change(source)
    faces = backend.find([Shot(path, picture)], variant.look(look))[0]
    return variant.back(faces, source)


def _batched(backend: Backend, paths: Sequence[str], look: Look) -> dict[str, Any]:
    """Pictures and seconds where many are given at once, reading included."""
    start, count = time.perf_counter(), 0
    for i in range(0, len(paths), backend.at_once):
        shots = []
        for path in paths[i : i + backend.at_once]:
            try:
                shots.append(Shot(path, open_source(path)))
                shots[-1].picture.pixels(320)
            except ImageError:
                continue
        count += _found(backend, shots, look)
    return {"event": "batched", "pictures": count, "seconds": time.perf_counter() - start}


def _found(backend: Backend, shots: Sequence[Shot], look: Look) -> int:
    """Pictures of `shots` that could be looked at: one that is damaged further in than the first pixels fails
    alone."""
    try:
        if shots:
            backend.find(shots, look)
        return len(shots)
    except ImageError:
        if len(shots) == 1:
            return 0
        return sum(_found(backend, [shot], look) for shot in shots)


def _peak_mb() -> float | None:
    """The most memory that this process had, in MB; not `ru_maxrss`, which holds its parent's too."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return None
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peak[0]) / 1000 if peak else None


if __name__ == "__main__":
    sys.exit(main())

"""Trying a back end out in a process of its own: a crash or a hang is a result, not the end."""

from __future__ import annotations

import importlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from face_organizer.compare.backends import Backend, Spec
from face_organizer.detect import Found, Look
from face_organizer.errors import FaceOrganizerError, ImageError, PackError
from face_organizer.files import printable
from face_organizer.media.images import open_source
from face_organizer.networks.child import Child, ChildError, first_line
from face_organizer.networks.devices import Device

MOST_DEATHS = 3
"""Pictures that may kill a back end before it is given up."""
Progress = Callable[[str, int, int], object]
"""Gets the name of a back end, the pictures that it has done, and how many they will be."""


@dataclass(slots=True)
class Seen:
    """What a back end made of one picture; its seconds include reading. `tried` is what more it found in
    another setting, by that setting, the surest first. `error` says why it made nothing of the picture,
    `fault` that this is not the picture's doing. `gender` of the main face is Woman, Man, or empty where a
    model is not sure."""

    path: str
    seconds: float = 0.0
    found: Found = field(default_factory=Found)
    tried: dict[str, Found] = field(default_factory=dict)
    error: str = ""
    fault: bool = False
    gender: str = ""
    gender_confidence: float | None = None


@dataclass(slots=True)
class Trial:
    """What one back end did. Times in seconds; `batched` is in pictures per second where it takes many at
    once, else None; `matched`, `precision` and `recall` are None where nothing is known of them.

    `state` is `ran`; `partial` where the time was over between two pictures; `missing` where it is not
    installed; `failed` where it raised an error, `crashed` where its process died, `timeout` where it did not
    answer any more. `why` says what was wrong, also where single pictures were too much for it.
    """

    name: str
    state: str = "ran"
    why: str = ""
    device: str = ""
    load: float | None = None
    batched: float | None = None
    peak_mb: float | None = None
    seen: list[Seen] = field(default_factory=list)
    matched: int | None = None
    precision: float | None = None
    recall: float | None = None

    @property
    def looked(self) -> list[Seen]:
        """The pictures that it could look at."""
        return [one for one in self.seen if not one.error]

    @property
    def found(self) -> int:
        """Pictures with a face."""
        return sum(len(one.found.faces) > 0 for one in self.looked)

    @property
    def speed(self) -> float | None:
        """Pictures per second, one by one, reading included."""
        return len(self.looked) / sum(one.seconds for one in self.looked) if self.looked else None

    @property
    def best_speed(self) -> float:
        """Pictures per second the way in which it is faster; 0 where it looked at none."""
        return max(self.speed or 0.0, self.batched or 0.0)

    @property
    def score(self) -> float:
        """Share of the pictures with a face or, where true boxes are known, F1 against them; 0 to 1."""
        if self.precision is None or self.recall is None:
            return self.found / max(len(self.looked), 1)
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Its figures, for JSON and CSV: those above; pictures that it looked at, those in which it `found` a
        face, their share, all faces; pictures that `failed`, without a face or too much for it."""
        seconds = [one.seconds for one in self.looked]
        return {
            "name": self.name,
            "state": self.state,
            "why": self.why,
            "device": self.device,
            "load": self.load,
            "median": statistics.median(seconds) if seconds else None,
            "speed": self.speed,
            "batched": self.batched,
            "peak_mb": self.peak_mb,
            "pictures": len(seconds),
            "found": self.found,
            "share": self.found / len(seconds) if seconds else None,
            "faces": sum(len(one.found.faces) for one in self.looked),
            "failed": len(self.seen) - self.found,
            "matched": self.matched,
            "precision": self.precision,
            "recall": self.recall,
        }


def try_out(
    spec: Spec,
    paths: Sequence[str],
    *,
    device: Device,
    look: Look,
    limit: float,
    tries: bool = False,
    on_progress: Progress = lambda name, done, total: None,
) -> Trial:
    """Try `spec` on `paths` for `limit` seconds, loading included; `tries` asks for other settings too.

    A back end that is only slow stops at the limit by itself and keeps what it did; one that does not answer
    is killed a little later. A picture that kills it costs that picture alone.
    """
    trial = Trial(spec.name, "missing" if spec.absent else "ran", spec.absent)
    if spec.absent:
        return trial
    end, at, deaths = time.monotonic() + limit, "while it was loaded", 0
    killed = end + max(1.0, min(10.0, limit / 4))
    child: Child | None = None
    processes = ExitStack()

    def ask(*question: Any) -> Any:
        nonlocal child
        if child is None:
            left = max(killed - time.monotonic(), 0.0)
            child = processes.enter_context(Child(open_backend, spec, device, limit=left))
            trial.load = trial.load or child.seconds
        return child.ask(*question, limit=max(killed - time.monotonic(), 0.0))

    with processes:
        try:
            ask("device")
            for turn, path in enumerate([paths[0], *paths]):  # the first one twice, to warm up
                at = f"at {printable(os.path.basename(path))}"
                if time.monotonic() >= end:
                    trial.state, trial.why = "partial", f"stopped after {limit:g} s, {at}"
                    break
                try:
                    seen = ask("look", path, look, tries and turn > 0)
                except ChildError as error:
                    deaths += 1
                    if error.state != "crashed" or deaths == MOST_DEATHS:
                        raise
                    child, seen = None, Seen(path, error=str(error), fault=True)
                if turn:
                    trial.seen.append(seen)
                    on_progress(spec.name, turn, len(paths))
            if trial.looked and not tries and sum(o.seconds for o in trial.looked) < end - time.monotonic():
                trial.batched = ask("look_together", [one.path for one in trial.looked], look)
            trial.device = ask("device")
            peak = child.peak_memory() if child else None
            trial.peak_mb = peak and peak / 1e6
        except FaceOrganizerError as error:
            missing = isinstance(error, PackError)
            trial.state = "missing" if missing else getattr(error, "state", "failed")
            why = f"no answer within {limit:g} s" if trial.state == "timeout" else str(error)
            trial.why = why if missing else f"{why} ({at})"
    faults = [one for one in trial.seen if one.fault]
    if faults and trial.state == "ran":
        trial.state = "ran" if trial.looked else "failed"
        trial.why = f"{len(faults)} of {len(paths)} pictures were too much for it, such as "
        trial.why += f"{printable(os.path.basename(faults[0].path))}: {faults[0].error}"
    return trial


# --- in the process ---


def open_backend(spec: Spec, device: Device) -> Callable[..., Any]:
    """A function that answers what `try_out` asks, by name; for `networks.child`."""
    module, _, name = spec.opener.partition(":")
    backend: Backend = getattr(importlib.import_module(module), name)(*spec.arguments, device=device)
    answers: dict[str, Callable[..., Any]] = {"look": look_at, "look_together": look_together}
    answers["device"] = lambda backend: backend.device()
    return lambda question, *arguments: answers[question](backend, *arguments)


def look_at(backend: Backend, path: str, look: Look, tries: bool) -> Seen:
    """The faces on one picture; with `tries` also those in other settings, where that makes sense."""
    start = time.perf_counter()
    try:
        found = backend.find([path], [open_source(path)], look)[0]
        seen = Seen(path, time.perf_counter() - start, found)
        for variant in backend.tries if tries else ():
            if variant.always or not len(found.faces):
                picture, back = variant.change(open_source(path, enhance=variant.enhance))
                other = back(backend.find([path], [picture], variant.looked(look))[0])
                if len(other.faces) > len(found.faces):
                    seen.tried[variant.name] = other
        seen.tried = dict(sorted(seen.tried.items(), key=lambda item: -item[1].faces.scores[0]))
    except ImageError as error:
        return Seen(path, error=error.reason)
    except Exception as error:  # DeepFace and what is under it raise what they like; the next may pass
        return Seen(path, error=f"{type(error).__name__}: {first_line(error)}", fault=True)
    return seen


def look_together(backend: Backend, paths: Sequence[str], look: Look) -> float | None:
    """Pictures per second where many are given at once, reading included; None for a back end that takes them
    one by one."""
    size, start = backend.at_once, time.perf_counter()
    if size == 1:
        return None
    for i in range(0, len(paths), size):
        batch = paths[i : i + size]
        backend.find(batch, [open_source(path) for path in batch], look)
    return len(paths) / (time.perf_counter() - start)

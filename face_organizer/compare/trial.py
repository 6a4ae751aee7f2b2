"""Trying a back end out in a process of its own: a crash or a hang is a result, not the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from face_organizer.compare.backends import Backend, Opener
from face_organizer.detect import Found
from face_organizer.embed.setup import EmbedOptions
from face_organizer.errors import FaceOrganizerError, ImageError, PackError
from face_organizer.networks.child import Child, first_line
from face_organizer.networks.devices import Device

DEFAULT = EmbedOptions()
SETTINGS: dict[str, dict[str, Any]] = {
    "--faces all": {"faces": "all"},
    "--tiles all": {"tiles": "all"},
    "--det-size 1280": {"det_size": 1280},
    "--min-confidence 0.3": {"min_confidence": 0.3},
    "--min-face-size 5": {"min_face_size": 5.0},
    "--enhance clahe": {"enhance": "clahe"},
}
"""What a user of `embed` can say, in the order in which it is tried, and the options that this is."""


@dataclass(slots=True)
class Seen:
    """What a back end made of one picture; its seconds include reading. `tried` is what more it found in
    another setting, by that setting, the surest first. `error` says why it made nothing of the picture,
    `fault` that this is not the picture's doing. `gender` of the main face is Woman, Man, or empty where a
    model is not sure; its confidence is 0.5 to 1."""

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
    """What one back end did. `speed` is in pictures per second, reading included, many at
    once where it takes them so; `matched` is None where no gender model is installed.
    `state` is `ran`; `timeout` where the time was over; `missing` where it is not installed; `failed` where
    it raised an error; `crashed` where its process died. `why` says what was wrong, also where single
    pictures were too much for it.
    """

    name: str
    state: str = "ran"
    why: str = ""
    device: str = ""
    speed: float | None = None
    peak_mb: float | None = None
    seen: list[Seen] = field(default_factory=list)
    matched: int | None = None
    precision: float | None = None
    recall: float | None = None
    """Against true boxes, 0 to 1; None without them."""

    @property
    def looked(self) -> list[Seen]:
        """The pictures that it could look at."""
        return [one for one in self.seen if not one.error]

    @property
    def faces(self) -> list[int]:
        """How many faces it found on each of them."""
        return [len(one.found.faces) for one in self.looked]

    @property
    def share(self) -> float:
        """Share of them with a face, 0 to 1."""
        return sum(map(bool, self.faces)) / max(len(self.looked), 1)

    def as_dict(self) -> dict[str, Any]:
        """Its figures, for JSON: those above; pictures that it looked at, in how many it `found` a face, all
        faces, and pictures that `failed`, without a face or too much for it."""
        names = "name state why device speed peak_mb share matched precision recall"
        found = sum(map(bool, self.faces))
        counts = {"pictures": len(self.looked), "found": found, "faces": sum(self.faces)}
        return {n: getattr(self, n) for n in names.split()} | counts | {"failed": len(self.seen) - found}


def try_out(
    name: str,
    opener: Opener | str,
    paths: Sequence[str],
    device: Device,
    limit: float,
    *,
    settings: bool = False,
    options: EmbedOptions = DEFAULT,
) -> Trial:
    """Try a back end on `paths` for `limit` seconds, loading included; with `settings` in other ones than
    `options` too.

    A back end that dies, or is stopped at the limit, slow or hung, keeps what it did.
    """
    if isinstance(opener, str):
        return Trial(name, "missing", opener)
    trial = Trial(name)
    end, at = time.monotonic() + limit, "while it was loaded"

    def left() -> float:
        return max(end - time.monotonic(), 0.0)

    try:
        with Child(open_backend, opener, device, limit=left()) as child:
            for turn, path in enumerate([paths[0], *paths]):  # the first one twice, to warm up
                at = f"at {os.path.basename(path)}"
                seen, trial.device = child.ask(look_at, path, options, settings and turn > 0, limit=left())
                trial.peak_mb = (child.peak_memory() or 0) / 1e6 or None
                if turn:
                    trial.seen.append(seen)
            if not settings and 2 * sum(one.seconds for one in trial.looked) < left():
                trial.speed = child.ask(
                    look_together, [one.path for one in trial.looked], options, limit=left()
                )
    except PackError as error:
        trial.state, trial.why = "missing", str(error)
    except FaceOrganizerError as error:
        trial.state = getattr(error, "state", "failed")
        why = f"stopped after {limit:g} s" if trial.state == "timeout" else str(error)
        trial.why = f"{why} ({at})"
    if trial.looked and not trial.speed:
        trial.speed = len(trial.looked) / sum(one.seconds for one in trial.looked)
    faults = [one for one in trial.seen if one.fault]
    if faults and trial.state == "ran":
        trial.state = "ran" if trial.looked else "failed"
        one = f"such as {os.path.basename(faults[0].path)}: {faults[0].error}"
        trial.why = f"{len(faults)} of {len(paths)} pictures were too much for it, {one}"
    return trial


# --- in the process ---


def open_backend(opener: Opener, device: Device) -> Callable[..., Any]:
    """What answers `try_out` there: it calls a function with the back end; for `networks.child`."""
    backend = opener(device)
    return lambda function, *arguments: function(backend, *arguments)


def look_at(backend: Backend, path: str, options: EmbedOptions, settings: bool) -> tuple[Seen, str]:
    """The faces on one picture, with `settings` also those in other ones, where that makes sense; and what
    it ran on."""
    start = time.perf_counter()
    try:
        found = backend.find([options.open(path)], options.look)[0]
        seen = Seen(path, time.perf_counter() - start, found)
        for name, setting in SETTINGS.items() if settings and backend.settings else ():
            other_options = replace(options, **setting)
            if other_options.faces == "all" or not len(found.faces):
                other = backend.find([other_options.open(path)], other_options.look)[0]
                if len(other.faces) > len(found.faces):
                    seen.tried[name] = other
        seen.tried = dict(sorted(seen.tried.items(), key=lambda item: -item[1].faces.scores[0]))
    except ImageError as error:
        seen = Seen(path, error=error.reason)
    except Exception as error:  # DeepFace and what is under it raise what they like; the next may pass
        seen = Seen(path, error=f"{type(error).__name__}: {first_line(error)}", fault=True)
    return seen, backend.device()


def look_together(backend: Backend, paths: Sequence[str], options: EmbedOptions) -> float | None:
    """Pictures per second where many are given at once, reading included; None for a back end that takes them
    one by one."""
    size, start = backend.at_once, time.perf_counter()
    if size == 1 or not paths:
        return None
    for i in range(0, len(paths), size):
        backend.find([options.open(path) for path in paths[i : i + size]], options.look)
    return len(paths) / (time.perf_counter() - start)

"""Trying a back end out, whatever becomes of it: a crash or a hang is a result, not the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from face_organizer.compare.backends import Spec
from face_organizer.compare.child import Seen, open_backend
from face_organizer.detect.looks import Look
from face_organizer.errors import FaceOrganizerError, PackError
from face_organizer.files import printable
from face_organizer.networks.child import Child, ChildError
from face_organizer.networks.devices import Device

MOST_DEATHS = 3
"""Pictures that may kill a back end before it is given up."""


@dataclass(slots=True)
class Trial:
    """What one back end did. Times in seconds; `batched` in pictures per second.

    `state` is `ran`; `partial` where the time was over between two pictures; `missing` where it is not
    installed; `failed` where it raised an error, `crashed` where its process died, `timeout` where it did not
    answer any more. `why` says what was wrong, also where single pictures were too much for it.
    """

    name: str
    state: str = "ran"
    why: str = ""
    device: str = ""
    load: float | None = None
    warm_up: float | None = None
    batched: float | None = None
    peak_mb: float | None = None
    pictures: list[Seen] = field(default_factory=list)


def try_out(
    spec: Spec,
    paths: Sequence[str],
    *,
    device: Device,
    look: Look,
    limit: float,
    tries: bool = False,
    on_picture: Callable[[], object] = lambda: None,
) -> Trial:
    """Try `spec` on `paths` in a process of its own, for `limit` seconds at most, loading included.

    A back end that is only slow stops at the limit by itself and keeps what it did; one that does not answer
    is killed a little later. `tries` asks for other ways to look too (see `variants`).
    """
    trial = Trial(spec.name, "missing" if spec.absent else "ran", spec.absent)
    if spec.absent:
        return trial
    end = time.monotonic() + limit
    process = _Process(spec, device, end + max(1.0, min(10.0, limit / 4)))
    try:
        trial.load = process.open()
        trial.warm_up = process.look(paths[0], look, False).seconds
        for path in paths:
            if time.monotonic() >= end:
                trial.state = "partial"
                trial.why = f"looked at {len(trial.pictures)} of {len(paths)} pictures in {limit:g} s"
                break
            trial.pictures.append(process.look(path, look, tries))
            on_picture()
        sound = [seen.path for seen in trial.pictures if not seen.error]
        if not tries and trial.state == "ran" and sound:
            trial.batched = process.ask("look_together", sound, look, end - time.monotonic())
        trial.device, trial.peak_mb = process.ask("device"), process.peak_mb()
    except FaceOrganizerError as error:
        timeout = isinstance(error, ChildError) and error.state == "timeout"
        why = f"no answer within {limit:g} s; stopped" if timeout else str(error)
        trial.why = f"{why} ({process.at})" if process.at else why
        trial.state = "missing" if isinstance(error, PackError) else getattr(error, "state", "failed")
    finally:
        process.close()
    _count_faults(trial)
    return trial


def _count_faults(trial: Trial) -> None:
    faults = [seen for seen in trial.pictures if seen.fault]
    if not faults or trial.state != "ran":
        return
    if len(faults) == len(trial.pictures):
        trial.state = "failed"
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    trial.why = f"{faults[0].error} (at {_name(faults[0].path)}{more})"


class _Process:
    """A back end's process; a new one where a picture killed it. `end`, on the monotonic clock, is when it is
    given up; `at` says in words where it is."""

    def __init__(self, spec: Spec, device: Device, end: float) -> None:
        self._spec, self._device, self._end = spec, device, end
        self._child: Child | None = None
        self._deaths = 0
        self.at = ""

    def open(self) -> float:
        """The seconds that it takes to load."""
        self.at = "while it was loaded"
        self._child = Child(open_backend, self._spec, self._device, limit=self._left())
        return self._child.seconds

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer of `child.Looker`. Raises `ChildError` and what the back end raises of ours."""
        assert self._child
        return self._child.ask(question, *arguments, limit=self._left())

    def look(self, path: str, look: Look, tries: bool) -> Seen:
        """See `child.Looker.look`; a picture that kills the process costs that picture alone."""
        if self._child is None:
            self.open()
        self.at = f"at {_name(path)}"
        try:
            seen: Seen = self.ask("look", path, look, tries)
        except ChildError as error:
            self._deaths += 1
            if error.state != "crashed" or self._deaths == MOST_DEATHS:
                raise
            self.close()
            return Seen(path, error=str(error), fault=True)
        return seen

    def peak_mb(self) -> float | None:
        """The most memory that it had, in MB."""
        peak = self._child.peak_memory() if self._child else None
        return peak and peak / 1e6

    def close(self) -> None:
        if self._child:
            self._child.close()
        self._child = None

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())


def _name(path: str) -> str:
    return printable(os.path.basename(path))

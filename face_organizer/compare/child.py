"""What runs in a back end's process: it is opened, shown pictures, and says what it found and what it took."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from face_organizer.compare.backends import Backend, Spec
from face_organizer.compare.variants import Variant, brought_back, drawn
from face_organizer.detect.looks import Found, Look
from face_organizer.errors import ImageError
from face_organizer.media.images import open_source
from face_organizer.networks.child import first_line
from face_organizer.networks.devices import Device


@dataclass(frozen=True, slots=True)
class Seen:
    """What a back end made of one picture, reading included in its seconds. `error` says why it made nothing
    of it, `fault` that this is the back end's doing rather than the picture's. `tried` is by the name of the
    variant."""

    path: str
    seconds: float = 0.0
    found: Found = field(default_factory=Found)
    error: str = ""
    fault: bool = False
    tried: dict[str, Found] = field(default_factory=dict)


def open_backend(spec: Spec, device: Device) -> Callable[..., Any]:
    """A function that answers `Looker`'s questions by name; for `networks.child`."""
    looker = Looker(spec, device)
    return lambda question, *arguments: getattr(looker, question)(*arguments)


class Looker:
    """A back end that is open; its methods are what can be asked of it."""

    def __init__(self, spec: Spec, device: Device) -> None:
        module, _, name = spec.opener.partition(":")
        opener = getattr(importlib.import_module(module), name)
        self._backend: Backend = opener(*spec.arguments, device=device)

    def look(self, path: str, look: Look, tries: bool) -> Seen:
        """The faces on one picture; with `tries` also those of other ways to look, where that makes sense."""
        start = time.perf_counter()
        try:
            found = self._backend.find([path], [open_source(path)], look)[0]
            seconds = time.perf_counter() - start
            wanted = [v for v in self._backend.tries if tries and (v.always or not len(found.faces))]
            return Seen(path, seconds, found, tried={v.name: self._try(path, look, v) for v in wanted})
        except ImageError as error:
            return Seen(path, error=error.reason)
        except Exception as error:  # DeepFace and what is under it raise what they like; the next may pass
            return Seen(path, error=f"{type(error).__name__}: {first_line(error)}", fault=True)

    def _try(self, path: str, look: Look, variant: Variant) -> Found:
        source = open_source(path, enhance=variant.enhance)
        placement = variant.placed(source)
        if placement is None:
            return self._backend.find([path], [source], variant.looked(look))[0]
        return brought_back(self._backend.find([path], [drawn(source, placement)], look)[0], placement)

    def look_together(self, paths: Sequence[str], look: Look, seconds: float) -> float | None:
        """Pictures per second where many are given at once, reading included, for about `seconds`; None for
        a back end that takes them one by one."""
        size, start, count = self._backend.at_once, time.perf_counter(), 0
        while size > 1 and count < len(paths) and time.perf_counter() - start < seconds:
            batch = paths[count : count + size]
            self._backend.find(batch, [open_source(path) for path in batch], look)
            count += len(batch)
        return count / (time.perf_counter() - start) if count else None

    def device(self) -> str:
        """See `Backend.device`."""
        return self._backend.device()

"""What `embed` tells while it works: a value for each thing that happens, passed to `on_event`."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from face_organizer.machine import Threads
from face_organizer.media.listing import Listing
from face_organizer.networks.devices import Device
from face_organizer.networks.packs import Pack


@dataclass(slots=True)
class Report:
    """What looking at pictures took and met: seconds by stage, summed over threads, counters, and notes for
    the user, each once."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as part of stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def add(self, other: Report) -> None:
        """Take in the figures of another chunk or shard."""
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        self.counts.update(other.counts)
        self.notes += [note for note in other.notes if note not in self.notes]


class Listed(NamedTuple):
    """The inputs were searched: what was found, and the pictures and videos of it that this run is for."""

    found: Listing
    paths: Sequence[str]
    videos: int


class Chosen(NamedTuple):
    """The networks and what they run on, with the reasons in words; `threads` are those of each device. Only
    `pack` where the caller gave an engine: the others are its own."""

    pack: Pack
    devices: Sequence[Device] = ()
    why_devices: str = ""
    threads: Threads | None = None


class Planned(NamedTuple):
    """Of `pictures`, `left` are to be looked at; the others are known."""

    pictures: int
    left: int


class Progress(NamedTuple):
    """What was looked at since the last of these: pictures (fewer than 0 where a process ended and its
    pictures are looked at again), faces on them, files that could not be used, frames of a video."""

    pictures: int
    faces: int = 0
    unusable: int = 0
    frames: int = 0


class Warned(NamedTuple):
    """Something that the user should know of at once."""

    text: str


class Made(NamedTuple):
    """The table stands. `looked_at` of its pictures were looked at now; `backup` says why the table before it
    is kept as `NAME.bak`, empty where it is not; `elapsed` seconds since the pictures were listed. `moved`
    were known by their bytes from another place or time, `copies` have the bytes of another one that was
    looked at; `stay` are those that are kept although nobody lists them now."""

    report: Report
    looked_at: int
    backup: str
    elapsed: float
    moved: int = 0
    copies: int = 0
    stay: Sequence[str] = ()


Event = Listed | Chosen | Planned | Progress | Warned | Made

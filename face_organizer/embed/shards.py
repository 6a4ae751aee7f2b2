"""Shards: fixed parts of the pictures, each of which becomes a table that is written whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from face_organizer.embed.events import Event, Report
from face_organizer.embed.setup import Setup
from face_organizer.errors import UsageError
from face_organizer.media import video

SHARD_FILES = 512  # pictures per shard; a video is a shard of its own
SHARD_BYTES = 256 << 20  # of a shard's files, at which it ends: large photos make small shards
CHUNK_FILES = 16  # pictures that a thread takes at a time; a kill costs those in hand


@dataclass(frozen=True, slots=True)
class Shard:
    """Some pictures of a plan in order, or one video, and the file that their table goes to. `again`: it is a
    part of one over which a process died."""

    number: int
    paths: Sequence[str]
    target: Path
    again: bool = False

    def parts(self) -> list[Self]:
        """To find the picture that ends processes: the chunks of a shard, and then each picture."""
        size, stem = 1 if self.again else CHUNK_FILES, self.target.stem
        return [
            replace(
                self,
                paths=self.paths[i : i + size],
                target=self.target.with_name(f"{stem}.{i:05d}.pkl"),
                again=True,
            )
            for i in range(0, len(self.paths), size)
        ]


class Engine(Protocol):
    """Something that runs shards: processes of this machine (`Processes`), or whatever else, wherever it is,
    as long as the shards' targets can be read here."""

    def lock(self, folder: Path) -> AbstractContextManager[None]:
        """Keep other runs out of the work folder `folder`. Raises `FaceOrganizerError` where one is in it."""
        ...

    def run(self, setup: Setup, shards: Sequence[Shard], on_event: Callable[[Event], None]) -> Report:
        """Have the table of every shard made, each by a `ShardMaker`, which writes it whole or not at all: a
        shard may be made twice, the tables are equal. Tells of progress and warnings. Raises
        `KeyboardInterrupt` where it was asked to stop; tables of finished shards then lie there."""
        ...


def divide(paths: Sequence[str]) -> Iterator[list[str]]:
    """The paths of each shard. Each video alone, since one may take an hour, and first, so that none is left
    for the end; then the pictures."""
    yield from ([path] for path in paths if video.is_video(path))
    shard: list[str] = []
    size = 0
    for path in itertools.filterfalse(video.is_video, paths):
        shard.append(path)
        with suppress(OSError):  # its outcome will say so
            size += os.stat(path).st_size
        if len(shard) >= SHARD_FILES or size >= SHARD_BYTES:
            yield shard
            shard, size = [], 0
    if shard:
        yield shard


def split(paths: Sequence[str], which: str, roots: Sequence[str | Path]) -> list[str]:
    """The paths of shard `which`, such as `0/2`, of a work that several machines share: by a hash of the path
    below its root, the same wherever a machine mounts them. Raises `UsageError` for what is no such word."""
    number, _, total = which.partition("/")
    if not (number.isdecimal() and total.isdecimal() and int(number) < int(total)):
        raise UsageError(f"{which!r} is no shard: say 0/2 and 1/2 for two halves")
    tops = sorted((os.path.abspath(r) for r in roots), key=len, reverse=True)

    def belongs(path: str) -> bool:
        top = next((t for t in tops if path.startswith(t + os.sep)), os.path.dirname(path))
        below = os.fsencode(os.path.relpath(path, top))
        digest = hashlib.blake2b(below, digest_size=8).digest()
        return int.from_bytes(digest, "big") % int(total) == int(number)

    return [path for path in paths if belongs(path)]

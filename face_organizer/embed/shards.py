"""Dividing pictures: into the shards of a run, and between machines that share the work."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from face_organizer.media import video

SHARD_FILES = 512
"""Pictures a shard. A kill costs those in hand, one or two a device. A video is a shard of its own."""
SHARD_BYTES = 256 << 20
"""Size of a shard's files, in bytes: large photos make small shards."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Some pictures of a plan in order, or one video, and the file that their table goes to."""

    number: int
    paths: Sequence[str]
    target: Path


def parts(paths: Sequence[str]) -> Iterator[list[str]]:
    """Each video alone, since one may take an hour, and first, so that none is left for the end; then the
    pictures."""
    yield from ([path] for path in paths if video.is_video(path))
    part: list[str] = []
    size = 0
    for path in paths:
        if video.is_video(path):
            continue
        part.append(path)
        with suppress(OSError):  # its outcome will say so
            size += os.stat(path).st_size
        if len(part) >= SHARD_FILES or size >= SHARD_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def split(paths: Sequence[str], part: int, parts: int, roots: Sequence[str]) -> list[str]:
    """The pictures of part `part` (from 0) of `parts`: the same for the same names on every machine, whatever
    else is there.

    By a hash of the path below its input, so that two machines that mount a share in different places agree.
    """
    tops = sorted((os.path.abspath(r) for r in roots), key=len, reverse=True)

    def key(path: str) -> int:
        top = next((t for t in tops if path.startswith(t + os.sep)), os.path.dirname(path))
        below = os.fsencode(os.path.relpath(path, top))
        return int.from_bytes(hashlib.blake2b(below, digest_size=8).digest(), "big") % parts

    return [path for path in paths if key(path) == part]

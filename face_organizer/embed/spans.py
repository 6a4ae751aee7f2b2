"""What a process of the local engine is given: a shard, or after a death over it, less and less of it."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

import numpy as np

from face_organizer.embed.pictures import Picture, files_of
from face_organizer.embed.shards import CHUNK_FILES, Shard
from face_organizer.errors import ImageError
from face_organizer.types import Faces, FaceTable, Outcome, Stamp


@dataclass(frozen=True, slots=True)
class Span:
    """The pictures `start` to `stop` of a shard: all of it, or after the death of a process over it, a chunk,
    and then a single picture. `again`: it is looked at after such a death."""

    shard: Shard
    start: int
    stop: int
    again: bool = False

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def alone(self) -> bool:
        """Whether a process gets no other beside it. One picture may be a video of hours."""
        return self.again or len(self) == 1

    def to_make(self) -> Shard:
        """What a process is given."""
        shard = self.shard
        if len(self) == len(shard.paths):
            return shard
        name = f"{shard.target.stem}.{self.start:05d}-{self.stop:05d}.pkl"
        return replace(shard, paths=shard.paths[self.start : self.stop], target=shard.target.with_name(name))

    def smaller(self) -> list[Span]:
        """To find out which of its pictures ends processes: by chunks, which stay those of the whole, then
        one by one."""
        size = 1 if self.again else CHUNK_FILES
        starts = range(self.start, self.stop, size)
        return [Span(self.shard, start, min(start + size, self.stop), again=True) for start in starts]


def how(exitcode: int | None) -> str:
    """How a process ended, in words."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (", likely out of memory" if name == "SIGKILL" else "")
    return f"exit code {exitcode}"


def unreadable(path: str, why: str, stamp: Stamp, *, passing: bool) -> FaceTable:
    """The table of the one file that ends every process that opens it; `passing`: the next run tries
    again."""
    picture = Picture.at(path)
    picture.fails(ImageError(Outcome.UNREADABLE, f"ended the process that read it: {why}", passing=passing))
    return FaceTable(np.empty((0, stamp.dim), np.float32), Faces.empty(), files_of([picture]), stamp)

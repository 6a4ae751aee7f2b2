"""What workers are given: a shard, or a piece of one whose worker died."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import numpy as np

from face_organizer.embed.picture import Picture
from face_organizer.embed.pictures import CHUNK_FILES
from face_organizer.embed.rows import files_of
from face_organizer.embed.shards import Shard
from face_organizer.embed.worker import Task
from face_organizer.errors import ImageError
from face_organizer.types import Faces, FaceTable, Outcome, Stamp


@dataclass(slots=True)
class Piece:
    """Rows `start` to `stop` of a shard's paths. `alone`: a worker gets no other beside it; `tried`: it was
    once, one picture, and ended its worker."""

    shard: Shard
    start: int
    stop: int
    alone: bool = False
    tried: bool = False

    @classmethod
    def of(cls, shard: Shard) -> Piece:
        """All of a shard. One picture is alone, since it may be a video of hours."""
        return cls(shard, 0, len(shard.paths), len(shard.paths) == 1)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def whole(self) -> bool:
        """Whether it is all of its shard."""
        return len(self) == len(self.shard.paths)

    @property
    def task(self) -> Task:
        """What a worker is told."""
        target = self.shard.target
        if not self.whole:
            target = target.with_name(f"{target.stem}.{self.start:05d}-{self.stop:05d}.pkl")
        return Task(self.shard.paths[self.start : self.stop], target)

    def halves(self) -> list[Piece]:
        """Both halves, cut between chunks as long as there are several, so that they hold those of the
        whole."""
        middle = self.start + len(self) // 2
        if len(self) > CHUNK_FILES:
            middle = self.start + -(-(middle - self.start) // CHUNK_FILES) * CHUNK_FILES
        return [Piece(self.shard, *span, True) for span in ((self.start, middle), (middle, self.stop))]


def how(exitcode: int | None) -> str:
    """How a process ended, in words."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (", likely out of memory" if name == "SIGKILL" else "")
    return f"exit code {exitcode}"


def unreadable(path: str, why: str, stamp: Stamp, *, passing: bool) -> FaceTable:
    """The table of the one file that ends every worker that opens it; `passing`: the next run tries again."""
    picture = Picture.at(path)
    picture.fails(ImageError(Outcome.UNREADABLE, f"ended the process that read it: {why}", passing=passing))
    return FaceTable(np.empty((0, stamp.dim), np.float32), Faces.empty(), files_of([picture]), stamp)

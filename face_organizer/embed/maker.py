"""Making the tables of shards on one device: what every engine runs, in whatever process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, Self

import numpy as np

from face_organizer import table
from face_organizer.embed import pictures, videos
from face_organizer.embed.events import Progress, Report
from face_organizer.embed.pictures import Picture
from face_organizer.embed.setup import Models, Setup, open_models
from face_organizer.embed.shards import CHUNK_FILES, Shard
from face_organizer.errors import ImageError
from face_organizer.faceswap.trust import Crops
from face_organizer.machine import in_order
from face_organizer.media import video
from face_organizer.networks import packs
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.types import Faces, FaceTable, Files, Outcome, Stamp

OnProgress = Callable[[Progress], None]
OnChunk = Callable[[FaceTable], None]
Stopping = Callable[[], bool]


class Finished(NamedTuple):
    """A shard's table lies at its target, with `pictures` of its pictures: all, unless it was stopped."""

    pictures: int
    report: Report


class ShardMaker:
    """The networks of a pack on one device, and `threads` threads that take chunks through them."""

    def __init__(self, models: Models, setup: Setup, threads: int) -> None:
        self._models, self._setup, self._threads = models, setup, threads
        options = setup.options
        self._crops = Crops(models.detector, options.look, setup.samples) if options.headers else None

    @classmethod
    def open(cls, setup: Setup, device: Device, threads: int, cuda: CudaOptions = CUDA_DEFAULTS) -> Self:
        """With the networks of the setup's pack. Raises `PackError`, `DeviceError`."""
        return cls(open_models(packs.find(setup.pack), device, cuda), setup, threads)

    def make(
        self,
        first: Shard,
        more: Iterable[Shard] = (),
        on_progress: OnProgress = lambda progress: None,
        stopping: Stopping = lambda: False,
    ) -> Iterator[Finished]:
        """Make the table of `first`, then of each of `more`, which is asked for the next one as soon as a
        thread finds nothing to do: none waits for the end of a shard. A video is made alone.

        Once `stopping` says so, no chunk is begun any more: the last table may hold a part of its shard,
        whole chunks from its start. A video that is not finished then has no table.
        """

        class StoppedError(Exception):
            """The video in hand is let go of."""

        def on_frames(frames: int) -> None:
            if stopping():
                raise StoppedError
            on_progress(Progress(0, frames=frames))

        def on_rows(rows: FaceTable) -> None:
            unusable = int((rows.files.outcome == Outcome.UNREADABLE).sum())
            on_progress(Progress(len(rows.files), len(rows.faces), unusable))

        if video.is_video(path := first.paths[0]):
            with suppress(StoppedError):
                made, report = videos.look(path, self._models, self._setup, self._threads, on_frames)
                on_rows(made)
                yield _write(first, made, report)
            return
        begun: deque[Shard] = deque()

        def waiting() -> Iterator[Sequence[str]]:
            for shard in chain([first], more):
                begun.append(shard)
                yield shard.paths

        for made, report in self.tables(waiting(), on_rows, stopping):
            yield _write(begun.popleft(), made, report)

    def tables(
        self,
        shards: Iterable[Sequence[str]],
        on_chunk: OnChunk = lambda chunk: None,
        stopping: Stopping = lambda: False,
    ) -> Iterator[tuple[FaceTable, Report]]:
        """The table of each of `shards`, given by the paths of its pictures, and what it took; see `make`.

        A thread takes chunk after chunk all the way, so that one decodes while another computes. `on_chunk`
        is called in order.
        """

        def chunks() -> Iterator[tuple[Sequence[str], bool]]:
            """The paths of each chunk, and whether it is the last of its shard."""
            for paths in shards:
                for start in range(0, max(len(paths), 1), CHUNK_FILES):
                    if stopping():
                        return
                    yield paths[start : start + CHUNK_FILES], start + CHUNK_FILES >= len(paths)

        def look(item: tuple[Sequence[str], bool]) -> tuple[FaceTable, Report, bool]:
            files = map(Picture.at, item[0])
            return *pictures.look(files, self._models, self._setup.options, self._crops), item[1]

        done, report = [], Report()
        for chunk, took, last in in_order(chunks(), look, self._threads):
            done.append(chunk)
            report.add(took)
            on_chunk(chunk)
            if last:
                yield self._joined(done, report)
                done, report = [], Report()
        if done:
            yield self._joined(done, report)

    def _joined(self, chunks: Sequence[FaceTable], report: Report) -> tuple[FaceTable, Report]:
        starts = np.cumsum([0] + [len(c.files) for c in chunks])
        faces = Faces.concatenate([c.faces for c in chunks])
        file_index = faces.file_index + np.repeat(starts[:-1], [len(c) for c in chunks])
        embeddings = np.concatenate([c.embeddings for c in chunks])
        files = Files.concatenate([c.files for c in chunks])
        report.notes += [*self._models.notes, *(self._crops.notes() if self._crops else [])]
        return FaceTable(embeddings, replace(faces, file_index=file_index), files, self._setup.stamp), report


def look_at(
    paths: Sequence[str], models: Models, setup: Setup, threads: int, on_chunk: OnChunk = lambda chunk: None
) -> tuple[FaceTable, Report]:
    """The face table of the pictures at `paths` (sorted), made in this process, and what it took. It depends
    on files and `setup` alone, not on the number of threads."""
    return next(ShardMaker(models, setup, threads).tables([paths], on_chunk))


def unreadable(path: str, why: str, stamp: Stamp, *, passing: bool) -> FaceTable:
    """The table of a file that ends every process that opens it; `passing`: the next run tries again."""
    picture = Picture.at(path)
    picture.fails(ImageError(Outcome.UNREADABLE, f"ended the process that read it: {why}", passing=passing))
    return replace(pictures.measure([picture], [], np.empty((0, stamp.dim), np.float32)), stamp=stamp)


def _write(shard: Shard, made: FaceTable, report: Report) -> Finished:
    with report.stage("write"):
        # A process whose run was killed may leave a part of what another run has made whole by now.
        if len(made.files) == len(shard.paths) or not shard.target.exists():
            table.write(made, shard.target)
    return Finished(len(made.files), report)

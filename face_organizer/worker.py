"""A worker: one process, one device. It takes shards from a pipe and leaves their tables on disk.

A worker that dies costs the shard in its hands, nothing else: `jobs` sees its pipe close and goes on.
"""

from __future__ import annotations

import contextlib
import signal
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from face_organizer import clips, extract, packs, table, video
from face_organizer.crops import Crops
from face_organizer.device import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.engine import open_engine
from face_organizer.errors import DeviceError, FaceOrganizerError
from face_organizer.picture import ExtractOptions
from face_organizer.rows import Chunk
from face_organizer.types import Outcome, Stamp

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The parent decides what they mean; workers start with them blocked."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker has to know before its first shard."""

    pack: str
    options: ExtractOptions
    stamp: Stamp
    device: Device
    lanes: int
    cuda: CudaOptions = CUDA_DEFAULTS


@dataclass(frozen=True, slots=True)
class Task:
    """Pictures to look at, and the file for their table. `samples` are pictures by which each folder's
    FaceSwap headers are judged."""

    paths: Sequence[str]
    target: Path
    samples: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    """The networks are loaded and run on the device."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A chunk of the shard in hand is done, or some frames of a video."""

    pictures: int
    faces: int
    unusable: int
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The shard's table is on disk; seconds by stage summed over lanes, counters, and notes for the user."""

    seconds: Mapping[str, float]
    counts: Mapping[str, int]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker cannot go on; `device` tells a missing device (exit 4) from another failure."""

    message: str
    device: bool


def serve(pipe: Connection, setup: Setup) -> None:
    """Body of a worker process: open the networks, then shard after shard until the pipe closes."""
    # The parent decides what Ctrl-C and a stopped container mean; a worker finishes what it has in hand.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    import cv2

    # Lanes are the threads: OpenCV's own would fight over the same cores, and cost more than they give on a
    # chip.
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # remarks on odd EXIF blocks
    try:
        engine = open_engine(packs.find(setup.pack), setup.device, setup.cuda)
        pipe.send(Ready())
        crops: Crops | None = None
        while True:
            task: Any = pipe.recv()
            if crops is None and setup.options.headers:
                # Kept from shard to shard: the samples are the whole run's, and judging costs eight looks.
                crops = Crops(engine.detector, setup.options.look, task.samples)
            pipe.send(_work(task, engine, crops, setup, pipe))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except FaceOrganizerError as error:
        _tell(pipe, Failed(str(error), isinstance(error, DeviceError)))
    except Exception:
        # A fault of this program, not of a file: it ends the run instead of being tried on every picture.
        _tell(pipe, Failed(f"a worker failed; please report this:\n{traceback.format_exc()}", False))


def _tell(pipe: Connection, failed: Failed) -> None:
    with contextlib.suppress(OSError):  # another worker failed first, and nobody listens any more
        pipe.send(failed)


def _work(
    task: Task, engine: extract.Engine, crops: Crops | None, setup: Setup, pipe: Connection
) -> Finished:
    def on_chunk(chunk: Chunk) -> None:
        unusable = int((chunk.files.outcome == Outcome.UNREADABLE).sum())
        pipe.send(Progress(len(chunk.files), len(chunk.faces), unusable))

    if video.is_video(task.paths[0]):  # alone in its shard
        made, run = clips.extract_clip(
            task.paths[0],
            engine,
            setup.options,
            stamp=setup.stamp,
            lanes=setup.lanes,
            on_frames=lambda frames: pipe.send(Progress(0, 0, 0, frames)),
        )
        unusable = int((made.files.outcome == Outcome.UNREADABLE).sum())
        pipe.send(Progress(1, len(made), unusable))
        table.write(made, task.target)
        return Finished(run.seconds, run.counts, run.notes)
    made, run = extract.extract(
        task.paths,
        engine,
        setup.options,
        stamp=setup.stamp,
        lanes=setup.lanes,
        crops=crops,
        on_chunk=on_chunk,
    )
    table.write(made, task.target)
    return Finished(run.seconds, run.counts, run.notes)

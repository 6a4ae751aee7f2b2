"""A worker: one process, one device. It takes shards from a pipe and leaves their tables on disk.

A worker that dies costs the shard in its hands, nothing else: `jobs` sees its pipe close and goes on.
"""

from __future__ import annotations

import contextlib
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Queue
from threading import Event, Thread

from face_organizer import table
from face_organizer.embed import pictures as extract
from face_organizer.embed import videos
from face_organizer.embed.engine import open_engine
from face_organizer.embed.picture import ExtractOptions, Run
from face_organizer.embed.rows import Chunk
from face_organizer.errors import DeviceError, FaceOrganizerError
from face_organizer.faceswap.trust import Crops
from face_organizer.media import video
from face_organizer.networks import packs
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.types import FaceTable, Files, Outcome, Stamp

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The parent decides what they mean; workers start with them blocked."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a worker has to know before its first shard. `samples` are pictures by which each folder's
    FaceSwap headers are judged (see `crops.samples`)."""

    pack: str
    options: ExtractOptions
    stamp: Stamp
    device: Device
    lanes: int
    cuda: CudaOptions = CUDA_DEFAULTS
    samples: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """Pictures to look at, or one video, and the file for their table."""

    paths: Sequence[str]
    target: Path


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish the pictures in hand, write what is done of their shard, and end; let go of a video."""


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
    """The table of the shard in hand is on disk, with so many of its pictures: all, but after `Stop`. Seconds
    by stage summed over lanes, counters, and notes for the user."""

    pictures: int
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
        if setup.options.headers:
            crops = Crops(engine.detector, setup.options.look, setup.samples)
        inbox = _Inbox(pipe)
        while task := inbox.take():
            if video.is_video(task.paths[0]):  # alone in its shard
                _watch(task, inbox, engine, setup, pipe)
            else:
                _extract(task, inbox, engine, crops, setup, pipe)
    except (_StoppedError, EOFError, BrokenPipeError, ConnectionResetError):
        return
    except FaceOrganizerError as error:
        _tell(pipe, Failed(str(error), isinstance(error, DeviceError)))
    except Exception:
        # A fault of this program, not of a file: it ends the run instead of being tried on every picture.
        _tell(pipe, Failed(f"a worker failed; please report this:\n{traceback.format_exc()}", False))


class _StoppedError(Exception):
    """The video in hand is let go of."""


class _Inbox:
    """What the parent sends, taken in at once by a thread: a parent never waits for a busy worker."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._tasks: Queue[Task | None] = Queue()
        self.stopping = Event()
        Thread(target=self._receive, name="inbox", daemon=True).start()

    def _receive(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # the parent is gone
            while isinstance(message := self._pipe.recv(), Task):
                self._tasks.put(message)
            self.stopping.set()
        self._tasks.put(None)

    def take(self) -> Task | None:
        """The next task, waited for; None, again and again, at the end."""
        task = None if self.stopping.is_set() else self._tasks.get()
        if task is None:
            self._tasks.put(None)
        return task

    def waiting(self) -> Iterator[Task]:
        """The tasks that are here already."""
        while not self._tasks.empty() and (task := self.take()):
            yield task


def _tell(pipe: Connection, failed: Failed) -> None:
    with contextlib.suppress(OSError):  # another worker failed first, and nobody listens any more
        pipe.send(failed)


def _extract(
    first: Task,
    inbox: _Inbox,
    engine: extract.Engine,
    crops: Crops | None,
    setup: Setup,
    pipe: Connection,
) -> None:
    """Do `first` and the tasks that wait behind it, so that no lane waits at the end of a shard."""
    begun: deque[Task] = deque()

    def waiting() -> Iterator[Sequence[str]]:
        for task in chain([first], inbox.waiting()):  # no videos: `jobs` gives none beside others
            begun.append(task)
            yield task.paths

    def on_chunk(chunk: Chunk) -> None:
        pipe.send(Progress(len(chunk.files), len(chunk.faces), _unusable(chunk.files)))

    for made, run in extract.extract_each(
        waiting(),
        engine,
        setup.options,
        stamp=setup.stamp,
        lanes=setup.lanes,
        crops=crops,
        on_chunk=on_chunk,
        stopping=inbox.stopping.is_set,
    ):
        _finish(begun.popleft(), made, run, pipe)


def _watch(task: Task, inbox: _Inbox, engine: extract.Engine, setup: Setup, pipe: Connection) -> None:
    """Do a task that is a video. Raises `_StoppedError`."""

    def on_frames(frames: int) -> None:
        if inbox.stopping.is_set():
            raise _StoppedError
        pipe.send(Progress(0, 0, 0, frames))

    made, run = videos.extract_clip(
        task.paths[0],
        engine,
        setup.options,
        stamp=setup.stamp,
        lanes=setup.lanes,
        on_frames=on_frames,
    )
    pipe.send(Progress(1, len(made), _unusable(made.files)))
    _finish(task, made, run, pipe)


def _unusable(files: Files) -> int:
    return int((files.outcome == Outcome.UNREADABLE).sum())


def _finish(task: Task, made: FaceTable, run: Run, pipe: Connection) -> None:
    with run.stage("write"):
        table.write(made, task.target)
    pipe.send(Finished(len(made.files), run.seconds, run.counts, run.notes))

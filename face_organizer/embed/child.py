"""A process of the local engine: one device. It takes shards from a pipe and leaves their tables on disk.

One that dies costs the chunks in its hands, nothing else: `processes` sees its pipe close and goes on.
"""

from __future__ import annotations

import contextlib
import signal
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import Queue
from threading import Event, Thread

from face_organizer.embed.maker import ShardMaker
from face_organizer.embed.shards import Setup, Shard
from face_organizer.errors import FaceOrganizerError
from face_organizer.networks.devices import CudaOptions, Device

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""The parent decides what they mean; its processes start with them blocked."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish the chunks in hand, write what is done of their shard, and end; let go of a video."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The networks are loaded and run on the device."""


def serve(pipe: Connection, setup: Setup, device: Device, threads: int, cuda: CudaOptions) -> None:
    """Body of the process: open the networks, then shard after shard until the pipe closes.

    Sends `Ready`, then `Progress` and `Finished`; an error that ends the run, for the parent to raise.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    import cv2

    # OpenCV's own threads would fight ours over the cores, and cost more than they give on a chip.
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # remarks on odd EXIF blocks
    try:
        maker = ShardMaker.open(setup, device, threads, cuda)
        pipe.send(Ready())
        inbox = _Inbox(pipe)
        while shard := inbox.take():
            for finished in maker.make(shard, inbox.waiting(), pipe.send, inbox.stopping.is_set):
                pipe.send(finished)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except FaceOrganizerError as error:
        _send(pipe, error)
    except Exception:
        # A fault of this program, not of a file: it ends the run instead of being tried on every picture.
        _send(pipe, FaceOrganizerError(f"a process failed; please report this:\n{traceback.format_exc()}"))


def _send(pipe: Connection, error: FaceOrganizerError) -> None:
    with contextlib.suppress(OSError):  # another process failed first, and nobody listens any more
        pipe.send(error)


class _Inbox:
    """What the parent sends, taken in at once by a thread: a parent never waits for a busy process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._shards: Queue[Shard | None] = Queue()
        self.stopping = Event()
        Thread(target=self._receive, name="inbox", daemon=True).start()

    def _receive(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # the parent is gone
            while isinstance(message := self._pipe.recv(), Shard):
                self._shards.put(message)
        self.stopping.set()
        self._shards.put(None)

    def take(self) -> Shard | None:
        """The next shard, waited for; None at the end."""
        shard = None if self.stopping.is_set() else self._shards.get()
        if shard is None:
            self._shards.put(None)
        return shard

    def waiting(self) -> Iterator[Shard]:
        """The shards that are here already."""
        while not self._shards.empty() and (shard := self.take()):
            yield shard

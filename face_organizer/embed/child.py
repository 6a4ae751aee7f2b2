"""A process of the local engine: one device. It takes shards from a pipe and leaves their tables on disk."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import Queue
from typing import Any

from face_organizer.embed.maker import ShardMaker
from face_organizer.embed.setup import Setup
from face_organizer.embed.shards import Shard
from face_organizer.errors import FaceOrganizerError
from face_organizer.networks.devices import CudaOptions, Device

_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # the parent decides what they mean


class Ready:
    """The networks are loaded and run on the device."""


@contextlib.contextmanager
def handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Have `handler` take Ctrl-C and SIGTERM in the main thread, which alone gets them."""
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in _SIGNALS} if main else {}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def start(setup: Setup, device: Device, threads: int, cuda: CudaOptions) -> tuple[BaseProcess, Connection]:
    """A process that runs `serve`, and the pipe to it."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    args = (theirs, setup, device, threads, cuda)
    process = context.Process(target=serve, args=args, name=f"embed-{device}", daemon=True)
    # Blocked signals stay so in the new process until `serve` ignores them: Ctrl-C while it starts is
    # the parent's. multiprocessing starts its tracker with the first process, and unblocks them then.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return process, ours


def serve(pipe: Connection, setup: Setup, device: Device, threads: int, cuda: CudaOptions) -> None:
    """Body of the process: open the networks, then shard after shard until the pipe closes or None comes:
    then the chunks in hand are finished, and what is done of their shard is written; a video is let go of.
    Sends `Ready`, then `Progress` and `Finished`; an error that ends the run, for the parent to raise."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    import cv2

    # OpenCV's own threads would fight ours over the cores, and cost more than they give on a chip.
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # remarks on odd EXIF blocks
    shards: Queue[Shard | None] = Queue()
    stopping = threading.Event()

    def receive() -> None:
        """Take in at once what the parent sends: it never waits for a busy process."""
        with contextlib.suppress(EOFError, OSError):  # the parent is gone
            while shard := pipe.recv():
                shards.put(shard)
        stopping.set()
        shards.put(None)

    def waiting() -> Iterator[Shard]:
        """The shards that are here already."""
        while not (stopping.is_set() or shards.empty()) and (shard := shards.get()):
            yield shard

    try:
        maker = ShardMaker.open(setup, device, threads, cuda)
        pipe.send(Ready())
        # What decoders print of damaged files from here on, each file's outcome tells.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        threading.Thread(target=receive, name="inbox", daemon=True).start()
        while not stopping.is_set() and (shard := shards.get()):
            for finished in maker.make(shard, waiting(), pipe.send, stopping.is_set):
                pipe.send(finished)
        return
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except Exception as fault:
        error = fault
        if not isinstance(fault, FaceOrganizerError):
            # Of this program, not of a file: it ends the run instead of being tried on every picture.
            error = FaceOrganizerError(f"a process failed; please report this:\n{traceback.format_exc()}")
    with contextlib.suppress(OSError):  # another process failed first, and nobody listens any more
        pipe.send(error)

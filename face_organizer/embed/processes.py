"""The engine of this machine: a process for each device; shards go to whichever is free.

Processes that die, lost devices and Ctrl-C end up here.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from face_organizer import table
from face_organizer.embed.child import SIGNALS, Ready, Stop, serve
from face_organizer.embed.events import Event, Progress, Report, Warned
from face_organizer.embed.maker import Finished
from face_organizer.embed.shards import CHUNK_FILES, Setup, Shard
from face_organizer.embed.spans import Span, how, unreadable
from face_organizer.errors import DeviceError, FaceOrganizerError, TableError
from face_organizer.files import count, os_errors, printable
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device

_EARLY_DEATHS = 3
_LOCK = "lock"


class Processes:
    """An `Engine`: one process for each of `devices`, with `threads` threads each."""

    def __init__(self, devices: Sequence[Device], threads: int, cuda: CudaOptions = CUDA_DEFAULTS) -> None:
        self.devices = devices
        self.threads = threads
        self.cuda = cuda

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Keep other runs of this machine out of `folder`, see `Engine.lock`."""
        busy = FaceOrganizerError(f"{printable(folder.with_suffix(''))}: another run is writing this table")
        with os_errors(folder, "cannot be written", TableError):
            try:
                file = open(folder / _LOCK, "w")  # noqa: SIM115 - held below, for as long as the block runs
            except FileNotFoundError:
                raise busy from None  # the run before removes the folder just now
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The run before may have removed the folder since: then this lock keeps nobody away.
                held = os.path.samestat(os.fstat(file.fileno()), os.stat(folder / _LOCK))
            except (BlockingIOError, FileNotFoundError):
                held = False
            if not held:
                raise busy
            yield

    def run(self, setup: Setup, shards: Sequence[Shard], on_event: Callable[[Event], None]) -> Report:
        """Have every shard's table made, see `Engine.run`. The first Ctrl-C or SIGTERM lets the chunks in
        hand be finished and saved, the second stops at once.

        Raises `DeviceError` for a device that does not run, `FaceOrganizerError` where processes cannot be
        started.
        """
        return _Run(self, setup, on_event).run(shards)


@dataclass(slots=True)
class _Child:
    device: Device
    threads: int
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    in_hand: deque[Span] = field(default_factory=deque)
    left: int = 0
    """Pictures that it was given and has said nothing of yet."""

    @property
    def wants(self) -> int:
        """Pictures that keep its threads busy: what `in_order` holds at a time, and some for the way here."""
        return (2 * self.threads + 4) * CHUNK_FILES


class _Run:
    """One run over some shards."""

    def __init__(self, engine: Processes, setup: Setup, tell: Callable[[Event], None]) -> None:
        self._engine = engine
        self._setup = setup
        self._tell = tell
        self._context = get_context("spawn")
        self._waiting: deque[Span] = deque()
        self._made: dict[int, list[Span]] = defaultdict(list)
        """Of shards that are made in spans: those of which a table is on disk."""
        self._children: list[_Child] = []
        self._early_deaths = 0
        self._signals = 0
        self._woken, self._wake = self._context.Pipe(duplex=False)
        self._report = Report()

    def run(self, shards: Sequence[Shard]) -> Report:
        self._waiting.extend(Span(shard, 0, len(shard.paths)) for shard in shards)
        with self._handling_signals():
            try:
                for number, device in enumerate(self._engine.devices):
                    if number < len(shards) or device.kind == "cuda":
                        self._start(device, self._engine.threads)
                while self._children and not self._done():
                    self._turn()
            finally:
                self._end_all()
        if self._signals:
            raise KeyboardInterrupt
        return self._report

    def _done(self) -> bool:
        # A card that was asked for says that it runs, even where others are through before.
        busy = any(c.in_hand or not (c.ready or self._signals) for c in self._children)
        return not busy and (bool(self._signals) or not self._waiting)

    def _turn(self) -> None:
        """Hand out what waits, then take in what one or more processes say."""
        for child in self._children:
            while self._is_next(child):
                self._hand_out(child)
        children = {child.pipe: child for child in self._children}
        for pipe in wait([*children, self._woken]):
            if pipe is self._woken:
                self._stop()
                continue
            child = children[pipe]  # type: ignore[index]
            try:
                message = child.pipe.recv()
            except (EOFError, OSError):
                self._died(child)
            else:
                self._heard(child, message)

    def _is_next(self, child: _Child) -> bool:
        """Whether `child` gets the next span: it has none, or so little left that threads would wait for it.

        The last ones go to whoever is free, so that a slow device keeps nobody waiting at the end.
        """
        if not child.ready or not self._waiting or self._signals:
            return False
        if not child.in_hand:
            return True
        alone = self._waiting[0].alone or child.in_hand[-1].alone
        return not alone and child.left < child.wants and len(self._waiting) >= len(self._children)

    def _hand_out(self, child: _Child) -> None:
        span = self._waiting.popleft()
        child.in_hand.append(span)
        child.left += len(span)
        _send(child, span.to_make())

    def _heard(self, child: _Child, message: Any) -> None:
        match message:
            case Ready():
                child.ready = True
                self._early_deaths = 0
            case Progress():
                child.left -= message.pictures
                self._tell(message)
            case Finished():
                self._report.add(message.report)
                span = child.in_hand.popleft()
                if message.pictures == len(span):
                    self._finish(span)
            case FaceOrganizerError():
                raise message

    def _finish(self, span: Span) -> None:
        """The span's table is on disk; with the last one of a shard, write the shard's."""
        shard = span.shard
        if len(span) == len(shard.paths):
            return
        spans = self._made[shard.number]
        spans.append(span)
        if sum(map(len, spans)) == len(shard.paths):
            places = [one.to_make().target for one in spans]
            table.write(table.merge([table.read(p) for p in places], list(map(str, places))), shard.target)
            for place in places:
                place.unlink()

    def _died(self, child: _Child) -> None:
        """A process is gone: its pictures are looked at again, down to the one that ends it."""
        child.process.join()
        code = child.process.exitcode
        why = how(code)
        self._children.remove(child)
        if self._signals:
            return
        spans = list(child.in_hand)
        pictures = sum(map(len, spans))
        self._tell(Progress(child.left - pictures))  # what it was done with is looked at again
        if not spans:
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS:
                fault = FaceOrganizerError if child.device.kind == "cpu" else DeviceError
                raise fault(f"processes on device {child.device} end before they begin: {why}")
        elif pictures == 1 and spans[0].again:
            self._give_up(spans[0], why, passing=code == -signal.SIGKILL)
        else:
            path = spans[0].to_make().paths[0]
            again = (
                f"{printable(path)} is tried once more"
                if pictures == 1
                else f"its {pictures:,} pictures are looked at again, few at a time"
            )
            self._tell(Warned(f"a process ended ({why}); {again}"))
            self._waiting.extendleft(reversed([part for span in spans for part in span.smaller()]))
        threads = child.threads
        if code == -signal.SIGKILL and threads > 1:  # most likely memory ran out
            threads //= 2
            self._tell(
                Warned(f"device {child.device}: going on with {count(threads, 'thread')}, to use less memory")
            )
        self._start(child.device, threads)

    def _give_up(self, span: Span, why: str, *, passing: bool) -> None:
        shard = span.to_make()
        table.write(unreadable(shard.paths[0], why, self._setup.stamp, passing=passing), shard.target)
        self._tell(Progress(1, unusable=1))
        self._finish(span)

    def _start(self, device: Device, threads: int) -> None:
        ours, theirs = self._context.Pipe()
        args = (theirs, self._setup, device, threads, self._engine.cuda)
        process = self._context.Process(target=serve, args=args, name=f"embed-{device}", daemon=True)
        # Blocked signals stay so in the new process until `serve` ignores them: Ctrl-C while it starts is
        # the parent's. multiprocessing starts its tracker with the first process, and unblocks them then.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._children.append(_Child(device, threads, process, ours))

    def _stop(self) -> None:
        self._woken.recv()
        for child in self._children:
            _send(child, Stop())
        self._tell(
            Warned("stopping: the pictures in hand are finished and saved first; once more stops at once")
        )

    def _end_all(self) -> None:
        for child in self._children:
            child.pipe.close()
        for child in self._children:
            child.process.join(timeout=0.0 if child.in_hand else 5.0)
            if child.process.is_alive():
                child.process.kill()
                child.process.join()

    @contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """First signal: finish the chunks in hand. Second: stop at once. Elsewhere than in the main thread,
        which alone gets signals, nothing changes."""

        def handler(number: int, frame: Any) -> None:
            self._signals += 1
            if self._signals > 1:
                raise KeyboardInterrupt
            self._wake.send(number)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, handler) for s in SIGNALS}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


def _send(child: _Child, message: Shard | Stop) -> None:
    # Where it just died, its pipe says so in the next turn.
    with suppress(BrokenPipeError, ConnectionResetError):
        child.pipe.send(message)

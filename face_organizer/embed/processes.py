"""The engine of this machine: a process for each device; shards go to whichever is free.
What processes that die, lost devices and Ctrl-C mean is decided here."""

from __future__ import annotations

import fcntl
import os
import signal
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from face_organizer import table
from face_organizer.embed.child import Ready, handling, start
from face_organizer.embed.events import Event, Progress, Report, Warned
from face_organizer.embed.maker import Finished, unreadable
from face_organizer.embed.setup import Setup
from face_organizer.embed.shards import CHUNK_FILES, Shard
from face_organizer.errors import DeviceError, FaceOrganizerError, TableError
from face_organizer.files import count, os_errors, printable
from face_organizer.machine import how_it_ended
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device

_EARLY_DEATHS = 3
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Processes:
    """An `Engine`: one process for each of `devices`, with `threads` threads each."""

    devices: Sequence[Device]
    threads: int
    cuda: CudaOptions = CUDA_DEFAULTS

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
        """See `Engine.run`. The first Ctrl-C or SIGTERM lets the chunks in hand be finished and saved, the
        second stops at once. Raises `DeviceError` for a device that does not run, `FaceOrganizerError` where
        processes cannot be started."""
        return _Run(self, setup, on_event).run(shards)


@dataclass(slots=True)
class _Child:
    device: Device
    threads: int
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    in_hand: deque[Shard] = field(default_factory=deque)
    left: int = 0  # pictures that it was given and has said nothing of yet

    def send(self, message: Shard | None) -> None:
        """Where it just died, its pipe says so in the next turn."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)

    def wants(self, shard: Shard) -> bool:
        """Whether its threads would soon wait for it: they are busy with what `in_order` holds at a time, and
        some for the way here. What may kill it is alone with it, and so is a picture: it may be a video."""
        alone = any(s.again or len(s.paths) == 1 for s in (shard, self.in_hand[-1]))
        return not alone and self.left < (2 * self.threads + 4) * CHUNK_FILES


class _Run:
    """One run over some shards."""

    def __init__(self, engine: Processes, setup: Setup, tell: Callable[[Event], None]) -> None:
        self._engine = engine
        self._setup = setup
        self._tell = tell
        self._waiting: deque[Shard] = deque()
        self._broken: dict[int, Shard] = {}  # those over which a process died: they are made in parts
        self._parts: dict[int, list[Shard]] = defaultdict(list)  # of these, what is on disk
        self._children: list[_Child] = []
        self._early_deaths = 0
        self._signals = 0
        self._woken, self._wake = Pipe(duplex=False)
        self._report = Report()

    def run(self, shards: Sequence[Shard]) -> Report:
        self._waiting.extend(shards)
        with handling(self._signalled):
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
                child.in_hand.append(self._waiting.popleft())
                child.left += len(child.in_hand[-1].paths)
                child.send(child.in_hand[-1])
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
        """Whether `child` gets the next shard. The last ones go to whoever is free: nobody waits for a slow
        device at the end."""
        if not child.ready or not self._waiting or self._signals:
            return False
        enough = len(self._waiting) >= len(self._children)
        return not child.in_hand or (enough and child.wants(self._waiting[0]))

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
                shard = child.in_hand.popleft()
                if message.pictures == len(shard.paths):
                    self._finish(shard)
            case FaceOrganizerError():
                raise message

    def _finish(self, shard: Shard) -> None:
        """The shard's table is on disk; with the last part of a broken one, write the whole one's."""
        if not shard.again:
            return
        whole, parts = self._broken[shard.number], self._parts[shard.number]
        parts.append(shard)
        if sum(len(part.paths) for part in parts) == len(whole.paths):
            table.write(table.read(*(part.target for part in parts)), whole.target)
            for part in parts:
                part.target.unlink()

    def _died(self, child: _Child) -> None:
        """A process is gone: its pictures are looked at again, down to the one that ends it."""
        child.process.join()
        code = child.process.exitcode
        why, killed = how_it_ended(code), code == -signal.SIGKILL
        self._children.remove(child)
        if self._signals:
            return
        shards = list(child.in_hand)
        pictures = sum(len(shard.paths) for shard in shards)
        self._tell(Progress(child.left - pictures))  # what it was done with is looked at again
        if not shards:
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS:
                fault = FaceOrganizerError if child.device.kind == "cpu" else DeviceError
                raise fault(f"processes on device {child.device} end before they begin: {why}")
        elif pictures == 1 and shards[0].again:
            made = unreadable(shards[0].paths[0], why, self._setup.stamp, passing=killed)
            table.write(made, shards[0].target)
            self._tell(Progress(1, unusable=1))
            self._finish(shards[0])
        else:
            again = f"its {pictures:,} pictures are looked at again, few at a time"
            if pictures == 1:
                again = f"{printable(shards[0].paths[0])} is tried once more"
            self._tell(Warned(f"a process ended ({why}); {again}"))
            self._broken.update((shard.number, shard) for shard in shards if not shard.again)
            self._waiting.extendleft(reversed([part for shard in shards for part in shard.parts()]))
        if killed and child.threads > 1:  # most likely memory ran out
            child.threads //= 2
            going = f"going on with {count(child.threads, 'thread')}, to use less memory"
            self._tell(Warned(f"device {child.device}: {going}"))
        self._start(child.device, child.threads)

    def _start(self, device: Device, threads: int) -> None:
        made = start(self._setup, device, threads, self._engine.cuda)
        self._children.append(_Child(device, threads, *made))

    def _signalled(self, number: int, frame: Any) -> None:
        """The first signal lets chunks in hand be finished, the second does not."""
        self._signals += 1
        if self._signals > 1:
            raise KeyboardInterrupt
        self._wake.send(number)

    def _stop(self) -> None:
        self._woken.recv()
        for child in self._children:
            child.send(None)
        said = "stopping: the pictures in hand are finished and saved first; once more stops at once"
        self._tell(Warned(said))

    def _end_all(self) -> None:
        for child in self._children:
            child.pipe.close()
        for child in self._children:
            child.process.join(timeout=0.0 if child.in_hand else 5.0)
            if child.process.is_alive():
                child.process.kill()
                child.process.join()

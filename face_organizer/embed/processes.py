"""A process for each device; shards go to whichever is free. Dead workers, lost devices and Ctrl-C end up
here."""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from face_organizer import table
from face_organizer.embed.pictures import CHUNK_FILES
from face_organizer.embed.pieces import Piece, how, unreadable
from face_organizer.embed.shards import Shard
from face_organizer.embed.worker import SIGNALS, Failed, Finished, Progress, Ready, Setup, Stop, Task, serve
from face_organizer.errors import DeviceError, FaceOrganizerError
from face_organizer.files import printable

_EARLY_DEATHS = 3


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: what was in hand is finished and written."""


@dataclass(slots=True)
class Report:
    """What a run took and met."""

    seconds: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, finished: Finished) -> None:
        """Take a shard's figures in; each note once."""
        self.seconds.update(finished.seconds)
        self.counts.update(finished.counts)
        self.notes += [note for note in finished.notes if note not in self.notes]


@dataclass(slots=True)
class _Worker:
    setup: Setup
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    in_hand: deque[Piece] = field(default_factory=deque)
    left: int = 0
    """Pictures that it was given and has said nothing of yet."""
    told: bool = False
    """To stop."""

    @property
    def wants(self) -> int:
        """Pictures that keep its lanes busy: what `extract` holds at a time, and some for the way here."""
        return (2 * self.setup.lanes + 4) * CHUNK_FILES


class Jobs:
    """One run over some shards. `run` returns when all their tables are on disk."""

    def __init__(
        self,
        setups: Sequence[Setup],
        on_progress: Callable[[Progress], None],
        warn: Callable[[str], None],
    ) -> None:
        self._setups = setups
        self._on_progress = on_progress
        self._warn = warn
        self._waiting: deque[Piece] = deque()
        self._pieces: dict[int, list[Piece]] = {}
        self._workers: list[_Worker] = []
        self._early_deaths = 0
        self._stopping = 0
        self.report = Report()

    def run(self, shards: Sequence[Shard]) -> Report:
        """Have every shard's table made. Raises `DeviceError` for a device that does not run, `Interrupted`
        after Ctrl-C with all that is finished on disk, `FaceOrganizerError` where workers cannot be
        started."""
        self._waiting.extend(map(Piece.of, shards))
        with self._signals():
            try:
                for number, setup in enumerate(self._setups):
                    if number < len(shards) or setup.device.kind == "cuda":
                        self._workers.append(self._start(setup))
                while self._workers and not self._done():
                    self._turn()
            finally:
                self._stop_all()
        if self._stopping:
            raise Interrupted
        return self.report

    def _done(self) -> bool:
        # A card that was asked for says that it runs, even where others are through before.
        busy = any(w.in_hand or not (w.ready or self._stopping) for w in self._workers)
        return not busy and (bool(self._stopping) or not self._waiting)

    def _turn(self) -> None:
        """Hand out what waits, then take in what one or more workers say."""
        for worker in self._workers:
            while self._is_next(worker):
                self._hand_out(worker)
            if self._stopping and not worker.told:
                worker.told = True
                self._send(worker, Stop())
        pipes = {w.pipe: w for w in self._workers}
        for pipe in wait(list(pipes), timeout=0.5):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                message = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                self._died(worker)
            else:
                self._heard(worker, message)

    def _is_next(self, worker: _Worker) -> bool:
        """Whether `worker` gets the next piece: it has none, or so little left that lanes would wait for it.

        The last pieces go to whoever is free, so that a slow device keeps nobody waiting at the end.
        """
        if not worker.ready or not self._waiting or self._stopping:
            return False
        if not worker.in_hand:
            return True
        alone = self._waiting[0].alone or any(piece.alone for piece in worker.in_hand)
        return not alone and worker.left < worker.wants and len(self._waiting) >= len(self._workers)

    def _hand_out(self, worker: _Worker) -> None:
        piece = self._waiting.popleft()
        worker.in_hand.append(piece)
        worker.left += len(piece)
        self._send(worker, piece.task)

    def _send(self, worker: _Worker, message: Task | Stop) -> None:
        # Where it just died, its pipe says so in the next turn.
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send(message)

    def _heard(self, worker: _Worker, message: Any) -> None:
        match message:
            case Ready():
                worker.ready = True
                self._early_deaths = 0
            case Progress():
                worker.left -= message.pictures
                self._on_progress(message)
            case Finished():
                self.report.add(message)
                self._complete(worker, message.pictures)
            case Failed(text, device):
                raise DeviceError(text) if device else FaceOrganizerError(text)

    def _complete(self, worker: _Worker, pictures: int) -> None:
        piece = worker.in_hand.popleft()
        if pictures == len(piece):
            self._made(piece)

    def _made(self, piece: Piece) -> None:
        """A piece's table is on disk; with the last one of a shard, write the shard's."""
        if piece.whole:
            return
        shard = piece.shard
        pieces = self._pieces.setdefault(shard.number, [])
        pieces.append(piece)
        if sum(map(len, pieces)) == len(shard.paths):
            targets = [one.task.target for one in pieces]
            table.write(table.merge([table.read(t) for t in targets], list(map(str, targets))), shard.target)
            for target in targets:
                target.unlink()

    def _died(self, worker: _Worker) -> None:
        """A worker is gone: try its shard again in halves, down to the file that kills it, twice; where it
        had several in hand, each of them apart first."""
        worker.process.join()
        why = how(worker.process.exitcode)
        self._workers.remove(worker)
        if worker.told:
            return
        pieces = list(worker.in_hand)
        count = sum(map(len, pieces))
        self._on_progress(Progress(worker.left - count, 0, 0))  # what it told of is looked at again
        if not pieces:
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS:
                device = worker.setup.device
                fault = FaceOrganizerError if device.kind == "cpu" else DeviceError
                raise fault(f"workers on device {device} end before they begin: {why}")
        elif count > 1:
            self._warn(f"a worker ended ({why}); its {count} pictures are tried again in parts")
            if len(pieces) == 1:
                pieces = pieces[0].halves()
            for piece in reversed(pieces):
                piece.alone = True
                self._waiting.appendleft(piece)
        else:
            (piece,) = pieces
            path, target = piece.task.paths[0], piece.task.target
            if not piece.tried:
                self._warn(f"a worker ended ({why}); {printable(path)} is tried once more")
                piece.tried = True
                self._waiting.appendleft(piece)
            else:
                lack = worker.process.exitcode == -signal.SIGKILL  # of memory, most likely, which may pass
                table.write(unreadable(path, why, worker.setup.stamp, passing=lack), target)
                self._on_progress(Progress(1, 0, 1))
                self._made(piece)
        setup = worker.setup
        if worker.process.exitcode == -signal.SIGKILL and setup.lanes > 1:
            setup = replace(setup, lanes=max(1, setup.lanes // 2))  # most likely memory ran out
            self._warn(f"device {setup.device}: going on with {setup.lanes} workers, to use less memory")
        self._workers.append(self._start(setup))

    def _start(self, setup: Setup) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, setup), name=f"worker-{setup.device}", daemon=True
        )
        # Blocked signals stay so in the new process until `serve` ignores them: Ctrl-C while it starts is
        # the parent's. multiprocessing starts it with the first process, and unblocks them then
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(setup, process, ours)

    def _stop_all(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(timeout=0.0 if worker.in_hand else 5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """First signal: finish the pictures in hand. Second: stop at once."""

        def handler(number: int, frame: FrameType | None) -> None:
            self._stopping += 1
            if self._stopping > 1:
                raise Interrupted
            self._warn("stopping: the pictures in hand are finished and saved first; once more stops at once")

        before = {s: signal.signal(s, handler) for s in SIGNALS}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)

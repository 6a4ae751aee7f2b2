"""A process for each device; shards go to whichever is free. Dead workers, lost devices and Ctrl-C end up
here."""

from __future__ import annotations

import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import numpy as np

from face_organizer import table
from face_organizer.errors import DeviceError, FaceOrganizerError
from face_organizer.shards import Shard
from face_organizer.types import Faces, FaceTable, Files, Outcome
from face_organizer.worker import SIGNALS, Failed, Finished, Progress, Ready, Setup, Task, serve

_CHUNK = (
    16  # pieces of a shard are cut here, so that they hold the same chunks as the whole (extract.CHUNK_FILES)
)
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
class _Piece:
    """A shard, or part of one whose worker died: rows `start` to `stop` of the shard's paths."""

    shard: Shard
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        return self.stop - self.start == len(self.shard.paths)

    def task(self, samples: Mapping[str, Sequence[str]]) -> Task:
        target = self.shard.target
        if not self.whole:
            target = target.with_name(f"{target.stem}.{self.start:05d}-{self.stop:05d}.pkl")
        return Task(self.shard.paths[self.start : self.stop], target, samples)

    def halves(self) -> list[_Piece]:
        middle = self.start + (self.stop - self.start) // 2
        if self.stop - self.start > _CHUNK:
            middle = self.start + -(-(middle - self.start) // _CHUNK) * _CHUNK
        return [_Piece(self.shard, self.start, middle), _Piece(self.shard, middle, self.stop)]


@dataclass(slots=True)
class _Worker:
    setup: Setup
    process: BaseProcess
    pipe: Connection
    piece: _Piece | None = None
    ready: bool = False
    task: Task | None = None


class Jobs:
    """One run over some shards. `run` returns when all their tables are on disk."""

    def __init__(
        self,
        setups: Sequence[Setup],
        samples: Mapping[str, Sequence[str]],
        on_progress: Callable[[Progress], None],
        warn: Callable[[str], None],
    ) -> None:
        self._setups = setups
        self._samples = samples
        self._on_progress = on_progress
        self._warn = warn
        self._waiting: deque[_Piece] = deque()
        self._pieces: dict[int, list[Task]] = {}
        self._workers: list[_Worker] = []
        self._early_deaths = 0
        self._stopping = 0
        self.report = Report()

    def run(self, shards: Sequence[Shard]) -> Report:
        """Have every shard's table made. Raises `DeviceError` for a device that does not run, `Interrupted`
        after Ctrl-C with all finished shards on disk, `FaceOrganizerError` where workers cannot be
        started."""
        self._waiting.extend(_Piece(shard, 0, len(shard.paths)) for shard in shards)
        with self._signals():
            try:
                for setup in self._setups[: len(shards)]:
                    self._workers.append(self._start(setup))
                while self._workers and not self._done():
                    self._turn()
            finally:
                self._stop_all()
        if self._stopping:
            raise Interrupted
        return self.report

    def _done(self) -> bool:
        busy = any(w.piece for w in self._workers)
        return not busy and (bool(self._stopping) or not self._waiting)

    def _turn(self) -> None:
        """Hand out what waits, then take in what one or more workers say."""
        for worker in self._workers:
            if worker.ready and worker.piece is None and self._waiting and not self._stopping:
                self._hand_out(worker)
        pipes = {w.pipe: w for w in self._workers}
        for pipe in wait(list(pipes), timeout=0.5):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                message = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                self._died(worker)
            else:
                self._heard(worker, message)

    def _hand_out(self, worker: _Worker) -> None:
        worker.piece = self._waiting.popleft()
        worker.task = worker.piece.task(self._samples)
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it just died: its pipe says so in the next turn
            worker.pipe.send(worker.task)

    def _heard(self, worker: _Worker, message: Any) -> None:
        match message:
            case Ready():
                worker.ready = True
                self._early_deaths = 0
            case Progress():
                self._on_progress(message)
            case Finished():
                self.report.add(message)
                self._complete(worker)
            case Failed(text, device):
                raise DeviceError(text) if device else FaceOrganizerError(text)

    def _complete(self, worker: _Worker) -> None:
        piece, task = worker.piece, worker.task
        worker.piece = worker.task = None
        assert piece is not None
        assert task is not None
        if not piece.whole:
            self._keep_piece(piece.shard, task)

    def _keep_piece(self, shard: Shard, task: Task) -> None:
        """Remember a piece of a shard; with the last one, write the shard's table."""
        pieces = self._pieces.setdefault(shard.number, [])
        pieces.append(task)
        if sum(len(t.paths) for t in pieces) == len(shard.paths):
            tables = [table.read(t.target) for t in pieces]
            table.write(table.merge(tables, [str(t.target) for t in pieces]), shard.target)
            for t in pieces:
                t.target.unlink()

    def _died(self, worker: _Worker) -> None:
        """A worker is gone: try its shard again in halves, down to the file that kills it."""
        worker.process.join()
        how = _how(worker.process.exitcode)
        self._workers.remove(worker)
        piece = worker.piece
        if piece is None:
            self._early_deaths += 1
            if self._early_deaths >= _EARLY_DEATHS:
                raise FaceOrganizerError(
                    f"workers on device {worker.setup.device} end before they begin: {how}"
                )
        elif piece.stop - piece.start > 1:
            self._warn(
                f"a worker ended ({how}); its {piece.stop - piece.start} pictures are tried again in parts"
            )
            self._waiting.extendleft(reversed(piece.halves()))
        else:
            task = piece.task(self._samples)
            table.write(_unreadable(task.paths[0], how, worker.setup), task.target)
            self._on_progress(Progress(1, 0, 1))
            if not piece.whole:
                self._keep_piece(piece.shard, task)
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
            worker.process.join(timeout=0.0 if worker.piece else 5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """First signal: finish the shards in hand. Second: stop at once."""

        def handler(number: int, frame: FrameType | None) -> None:
            self._stopping += 1
            if self._stopping > 1:
                raise Interrupted
            self._warn("stopping: the shards in hand are finished and saved first; once more stops at once")

        before = {s: signal.signal(s, handler) for s in SIGNALS}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


def _how(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (", likely out of memory" if name == "SIGKILL" else "")
    return f"exit code {exitcode}"


def _unreadable(path: str, how: str, setup: Setup) -> FaceTable:
    """The table of the one file that ends every worker that opens it."""
    size = mtime = -1
    with suppress(OSError):  # it may be gone by now
        status = os.stat(path)
        size, mtime = status.st_size, status.st_mtime_ns
    files = Files.empty(
        1,
        path=[path],
        outcome=np.array([Outcome.UNREADABLE], np.uint8),
        reason=[f"ended the process that read it: {how}"],
        bytes=np.array([size], np.int64),
        mtime_ns=np.array([mtime], np.int64),
    )
    return FaceTable(np.empty((0, setup.stamp.dim), np.float32), Faces.empty(), files, setup.stamp)

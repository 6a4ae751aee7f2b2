"""The three that are raced, each in a process of its own that stays up over all rounds, its networks loaded:

- `Ours`: the worker process of `face-organizer embed` itself, given the same shards, tables written;
- `Original`: the loop of the original scripts, InsightFace's `FaceAnalysis.get` one picture at a time, fed by
  eight threads that read, at 640 x 640;
- `Networks`: only the network runs that a real run of ours made, same sizes, batches and number, on tensors
  that are ready, in as many threads as ours has lanes.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from common import CORES

from face_organizer.embed import child, shards
from face_organizer.embed.maker import Finished, look_at
from face_organizer.embed.setup import EmbedOptions, Setup, open_models, stamp_of
from face_organizer.faceswap import trust
from face_organizer.networks import sessions
from face_organizer.networks.devices import CPU, CUDA_DEFAULTS
from face_organizer.networks.packs import find, resolve

READERS = 8
DET_SIZE = 640


class _Process:
    """A process at the other end of a pipe; `cpu` collects the processor seconds of each go."""

    def __init__(self, body: Any, *arguments: Any) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=body, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.cpu: list[float] = []

    @contextmanager
    def _counted(self) -> Iterator[None]:
        before = self._cpu_seconds()
        yield
        self.cpu.append(self._cpu_seconds() - before)

    def _cpu_seconds(self) -> float:
        words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


class Ours(_Process):
    """`face-organizer embed` without its start."""

    def __init__(self, pack_name: str, paths: Sequence[str], folder: Path, **options: Any) -> None:
        pack = resolve(pack_name)
        settings = EmbedOptions(**options)
        stamp = stamp_of(pack, settings)
        setup = Setup(pack.location, settings, stamp, trust.samples(paths))
        divided = shards.divide(paths)
        self._shards = [shards.Shard(i, part, folder / f"{i}.pkl") for i, part in enumerate(divided)]
        super().__init__(child.serve, setup, CPU, CORES, CUDA_DEFAULTS)
        self._hear(child.Ready)
        self.faces = self.found = 0
        self.stages: Counter[str] = Counter()

    def __call__(self) -> float:
        """Seconds for all the pictures."""
        start = time.perf_counter()
        self.faces, self.stages = 0, Counter()
        with self._counted():
            for shard in self._shards:  # it takes them in at once, and begins with them in turn
                self._pipe.send(shard)
            for _ in self._shards:
                self.stages.update(self._hear(Finished).report.seconds)
        return time.perf_counter() - start

    def _hear(self, kind: type) -> Any:
        while not isinstance(message := self._pipe.recv(), kind):
            if isinstance(message, Exception):
                raise message
            self.faces += message.faces
        return message


class _Rival(_Process):
    """A process that runs a function over the same pictures whenever it is told to."""

    def __init__(self, body: Any, *arguments: Any) -> None:
        super().__init__(body, *arguments)
        self.answer: Any = self._pipe.recv()

    def __call__(self) -> float:
        with self._counted():
            self._pipe.send(True)
            seconds, self.answer = self._pipe.recv()
        return float(seconds)


class Original(_Rival):
    """The loop of the original scripts; `answer` counts its faces and the pictures with one.

    `denormals`: as it was, numbers below 1e-38 and all; without, as ours takes them, for 0.
    """

    def __init__(
        self, pack_name: str, paths: Sequence[str], *, every_face: bool = False, denormals: bool = True
    ) -> None:
        super().__init__(_original, str(find(pack_name).folder), list(paths), every_face, denormals)


class Networks(_Rival):
    """Network runs alone; `answer` says, once made, which runs they are."""

    def __init__(self, pack_name: str, paths: Sequence[str], **options: Any) -> None:
        super().__init__(_networks, pack_name, list(paths), options)
        self.runs: dict[str, int] = self.answer


def _original(pipe: Connection, folder: str, paths: list[str], every_face: bool, denormals: bool) -> None:
    import contextlib
    import io
    import warnings

    import cv2
    from insightface.app import FaceAnalysis

    warnings.filterwarnings("ignore", category=FutureWarning)
    if not denormals:
        _without_denormals()
    with contextlib.redirect_stdout(io.StringIO()):
        app = FaceAnalysis(name=folder, providers=["CPUExecutionProvider"])
        app.prepare(ctx_id=-1, det_size=(DET_SIZE, DET_SIZE), det_thresh=0.5)
    pipe.send("ready")

    def run() -> tuple[int, int]:
        faces = found = 0
        waiting: deque[Any] = deque()
        with ThreadPoolExecutor(READERS) as readers:
            left = iter(paths)
            waiting.extend(readers.submit(cv2.imread, p) for p in itertools.islice(left, 4 * READERS))
            while waiting:
                picture = waiting.popleft().result()
                waiting.extend(readers.submit(cv2.imread, p) for p in itertools.islice(left, 1))
                seen = [] if picture is None else app.get(picture, max_num=0 if every_face else 1)
                faces += len(seen)
                found += bool(seen)
        return faces, found

    _serve(pipe, run)


def _without_denormals() -> None:
    """Have InsightFace's sessions, and their threads, take numbers below 1e-38 for 0."""
    import onnxruntime
    from insightface.model_zoo.model_zoo import PickableInferenceSession

    def init(self: Any, model_path: str, **words: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        onnxruntime.InferenceSession.__init__(self, model_path, options, **words)
        self.model_path = model_path

    PickableInferenceSession.__init__ = init


def _serve(pipe: Connection, run: Any) -> None:
    try:
        while pipe.recv():
            start = time.perf_counter()
            answer = run()
            pipe.send((time.perf_counter() - start, answer))
    except EOFError:
        return


@dataclass
class _Log:
    """The network runs of a real run: session and shape of each, and one tensor for each that differs."""

    runs: list[tuple[sessions.Session, tuple[int, ...]]] = field(default_factory=list)
    ready: dict[tuple[int, tuple[int, ...]], np.ndarray[Any, Any]] = field(default_factory=dict)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Note every run inside the block."""
        real = sessions.Session.run

        def run(session: sessions.Session, feeds: Any) -> Any:
            (tensor,) = feeds.values()
            self.runs.append((session, tensor.shape))
            self.ready.setdefault((id(session), tensor.shape), np.array(tensor))
            return real(session, feeds)

        sessions.Session.run = run  # type: ignore[method-assign]
        try:
            yield
        finally:
            sessions.Session.run = real  # type: ignore[method-assign]

    def again(self, number: int) -> None:
        """Make one of the runs, and nothing else."""
        session, shape = self.runs[number]
        session.run({session.inputs[0]: self.ready[id(session), shape]})


def _networks(pipe: Connection, pack_name: str, paths: list[str], options: dict[str, Any]) -> None:
    import cv2

    cv2.setNumThreads(1)
    pack = resolve(pack_name)
    models = open_models(pack, CPU)
    settings = EmbedOptions(**options)
    stamp = stamp_of(pack, settings)
    log = _Log()
    with log.recording():
        look_at(paths, models, Setup("", settings, stamp, trust.samples(paths)), CORES)
    pipe.send(dict(Counter("x".join(map(str, shape)) for _, shape in log.runs)))

    def run() -> int:
        left = iter(range(len(log.runs)))
        lock = threading.Lock()

        def lane() -> None:
            while True:
                with lock:
                    number = next(left, None)
                if number is None:
                    return
                log.again(number)

        threads = [threading.Thread(target=lane) for _ in range(CORES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(log.runs)

    _serve(pipe, run)


def megabytes(paths: Sequence[str]) -> float:
    """Mean size of the files."""
    return sum(os.path.getsize(p) for p in paths) / len(paths) / 1e6

"""A function in a process of its own: for libraries that may crash, hang, print, or take a card whole."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable
from face_organizer.machine import how_it_ended

_GRACE = 5.0  # seconds to end by itself
_PARENT = str(Path(__file__).resolve().parent.parent.parent)
# -P: a numpy.py in the user's folder is not taken for the library. This package is the parent's own.
_CODE = (
    f"import sys, typing; sys.path.insert(0, {_PARENT!r}); import face_organizer; del sys.path[0]; "
    "from face_organizer.networks.child import serve; serve(int(sys.argv[1]))"
)


class ChildError(FaceOrganizerError):
    """Why a child gave no answer. `state` is `failed` (its function raised), `crashed` or `timeout`."""

    def __init__(self, text: str, state: str = "failed") -> None:
        super().__init__(text)
        self.state = state


class Child(AbstractContextManager["Child"]):
    """A new process in which `opener(*args)` runs once; what it returns is called there for each `ask`.

    The opener must be importable by its name; arguments and answers are pickled. Threads may ask at the same
    time, and are answered one after the other. What the process prints is not shown; its last line is given
    where it dies. The process is killed when the thread that made it ends, even by SIGKILL.

    `name` says whose process it is; `limit` is in seconds, and `seconds` what the opener took with its
    imports. `__init__` and `ask` raise `ChildError`, and what the function raises of `FaceOrganizerError`.
    """

    def __init__(
        self, opener: Callable[..., Any], *args: Any, name: str = "its", limit: float | None = None
    ) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._noise = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._noise,
                stderr=self._noise,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is the parent's; what the child starts ends with it
            )
        self.pid = self._process.pid
        try:
            self.seconds: float = self._talk(opener, args, limit)
        except BaseException:
            self.close()
            raise

    def ask(self, *message: Any, limit: float | None = None) -> Any:
        """What the opened function returns for `message`."""
        with self._lock:
            return self._talk(None, message, limit)

    def peak_memory(self) -> int | None:
        """The most memory that it had so far, in bytes, without its parent's; None where unknown."""
        with suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.pid}/status").read_text("ascii", "replace")
            return int(status.split("VmHWM:")[1].split()[0]) * 1024
        return None

    def close(self) -> None:
        """End it, and all that it started."""
        self._pipe.close()
        self._end(_GRACE)
        self._noise.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _talk(self, opener: Callable[..., Any] | None, args: tuple[Any, ...], limit: float | None) -> Any:
        self._noise.seek(0)  # it is the child's place in the file too: noise does not add up
        self._noise.truncate()
        try:
            self._pipe.send((opener, args))
            if not self._pipe.poll(limit):
                self._end(0)
                raise ChildError(f"no answer within {limit:g} s", "timeout")
            error, said = self._pipe.recv()
        except (EOFError, OSError):
            self._end(_GRACE)
            self._noise.seek(max(0, self._noise.seek(0, os.SEEK_END) - 4000))
            lines = self._noise.read().decode("utf-8", "replace").strip().splitlines()
            words = f"; its last words: {printable(lines[-1])[:200]}" if lines else ""
            why = f"{self._name} process ended ({how_it_ended(self._process.returncode)}){words}"
            raise ChildError(why, "crashed") from None
        if error is not None:
            raise error
        return said

    def _end(self, grace: float) -> None:
        """Give it so many seconds to end by itself, then kill it and what it started."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def call(function: Callable[..., Any], *args: Any, limit: float | None = None) -> Any:
    """`function(*args)` in a process of its own, ended after `limit` seconds; raises as `Child`."""
    with Child(partial, function, *args, limit=limit) as child:
        return child.ask(limit=limit)


def serve(handle: int) -> None:
    """Body of the process: answer what comes by the socket `handle` until it is closed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    pipe = Connection(handle)
    answer: Any = None
    with suppress(EOFError, OSError):  # the parent is gone, or has closed its end
        while True:
            request, start = pipe.recv_bytes(), time.perf_counter()
            reply: tuple[Exception | None, Any]
            try:
                opener, args = ForkingPickler.loads(request)
                if opener:
                    answer = opener(*args)
                reply = None, time.perf_counter() - start if opener else answer(*args)
            except FaceOrganizerError as error:
                reply = error, None
            except Exception as error:  # libraries raise what they like; it crosses as one line
                reply = ChildError(f"{type(error).__name__}: {first_line(error)}"), None
            pipe.send(reply)


def first_line(error: BaseException) -> str:
    """What an exception of a library says, in one line."""
    return (str(error).strip().splitlines() or ["no reason given"])[0][:300]

"""The command line as a user types it: in this process, or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from face_organizer.cli import group, run

ROOT = Path(__file__).resolve().parent.parent

_WITHOUT_OVERRIDE = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: what makes permissions nothing to root
    if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) and os.geteuid() == 0:
        sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
CANNOT_DROP = 77


@dataclass(frozen=True)
class Done:
    """What a command answered."""

    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.err, self.err


def here(*words: str | os.PathLike[str]) -> Done:
    """`face-organizer WORDS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(group, [os.fspath(w) for w in words], name="face-organizer")
    return Done(code, out.getvalue(), err.getvalue())


def python(*words: str | os.PathLike[str], cwd: Path | None = None, bound: bool = False, **env: str) -> Done:
    """`python WORDS` as its own process; `bound` by file permissions even where the tests run as root."""
    before: Sequence[str] = ["-c", _WITHOUT_OVERRIDE] if bound else []
    done = subprocess.run(
        [sys.executable, *before, *words],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def apart(*words: str | os.PathLike[str], cwd: Path | None = None, bound: bool = False, **env: str) -> Done:
    """`face-organizer WORDS` as a process of its own."""
    return python("-m", "face_organizer", *words, cwd=cwd, bound=bound, **env)


def environment(**env: str) -> dict[str, str]:
    """This process's environment with the package within reach, no GPU asked for, and `env`."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("GPU_ID", "FACE_ORGANIZER_DEVICES")}
    return {**inherited, "PYTHONPATH": str(ROOT), **env}

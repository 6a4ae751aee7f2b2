"""The command line with small shards and with faults, as a program of its own: `python driven.py embed …`.

Workers are spawned, so they run this file too, before they begin: what it puts into place really happens in
them, and the process above knows nothing of it. The faults come from the environment:

- `SHARD_FILES`: pictures a shard;
- `FAULT=killer`: a worker that opens `killer*.jpg` (or reads `killer*.mp4`) dies of SIGSEGV;
- `FAULT=early`: a worker dies before its networks are open; with `FAULT=flaky`, every second one does, and
  those that live are as with `killer`;
- `FAULT=bug`: a worker meets an error of the program; `FAULT=device`: its device is not there; - `HOLD` (a
folder): a worker that comes to a chunk beginning with a file named `HOLD_AT` writes the file `held` there and
waits for the file `go`; with `HOLD_AT=start`, before it does anything.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

FAULT = os.environ.get("FAULT", "")
HOLD = os.environ.get("HOLD", "")
HOLD_AT = os.environ.get("HOLD_AT", "")
IN_WORKER = __name__ == "__mp_main__"


def hold() -> None:
    """Say so, and wait."""
    Path(HOLD, "held").touch()
    end = time.monotonic() + 120  # should the test be no more
    while not Path(HOLD, "go").exists() and time.monotonic() < end:
        time.sleep(0.01)


def is_odd() -> bool:
    """Whether this is the first, third, fifth … worker."""
    before = len(list(Path(HOLD).glob("worker-*")))
    Path(HOLD, f"worker-{before}").touch()
    return before % 2 == 0


def main() -> None:
    """The real command line, with small shards."""
    from face_organizer.cli import main as run
    from face_organizer.embed import shards

    shards.SHARD_FILES = int(os.environ.get("SHARD_FILES", "16"))
    run()


def spoil() -> None:
    """Put the faults in place."""
    from face_organizer.embed import pictures, worker
    from face_organizer.errors import DeviceError
    from face_organizer.media import images

    look, open_source = pictures.extract_chunk, images.open_source
    content_of_file = images.content_of_file

    def extract_chunk(paths: Sequence[str], *rest: Any) -> Any:
        if HOLD and os.path.basename(paths[0]) == HOLD_AT:
            hold()
        if FAULT == "bug":
            raise ZeroDivisionError("a fault of the program")
        return look(paths, *rest)

    def deadly(path: str, **options: Any) -> images.Source:
        if FAULT in ("killer", "flaky") and os.path.basename(path).startswith("killer"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return open_source(path, **options)

    def deadly_content(path: str) -> int:
        if FAULT == "killer" and os.path.basename(path).startswith("killer"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return content_of_file(path)

    def no_device(*args: Any) -> Any:
        raise DeviceError("device 0 was asked for, but it is a toaster; use --device cpu")

    pictures.extract_chunk, images.open_source = extract_chunk, deadly  # type: ignore[assignment]
    images.content_of_file = deadly_content
    if FAULT == "device":
        worker.open_engine = no_device


if IN_WORKER:
    if FAULT == "early" or (FAULT == "flaky" and is_odd()):
        os._exit(7)
    if HOLD_AT == "start":
        hold()
    spoil()

if __name__ == "__main__":
    main()

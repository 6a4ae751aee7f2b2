"""The command line with small shards and with faults, as a program of its own: `python driven.py embed …`.

The processes of `embed` are spawned, so they run this file too, before they begin: what it puts into place
really happens in them, and the process above knows nothing of it. The faults come from the environment:

- `SHARD_FILES`: pictures per shard;
- `FAULT=killer`: a process that opens `killer*.jpg` (or reads `killer*.mp4`) dies of SIGSEGV;
- `FAULT=early`: a process dies before its networks are open; with `FAULT=flaky`, every second one does, and
  those that live are as with `killer`;
- `FAULT=bug`: a process meets an error of the program; `FAULT=device`: its device is not there;
- `HOLD` (a folder): a process that comes to a file named `HOLD_AT` writes the file `held` there and waits for
  the file `go`; with `HOLD_AT=start`, before it does anything.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

FAULT = os.environ.get("FAULT", "")
HOLD = os.environ.get("HOLD", "")
HOLD_AT = os.environ.get("HOLD_AT", "")
IN_CHILD = __name__ == "__mp_main__"


def hold() -> None:
    """Say so, and wait."""
    Path(HOLD, "held").touch()
    end = time.monotonic() + 120  # should the test be no more
    while not Path(HOLD, "go").exists() and time.monotonic() < end:
        time.sleep(0.01)


def is_odd() -> bool:
    """Whether this is the first, third, fifth … process."""
    before = len(list(Path(HOLD).glob("child-*")))
    Path(HOLD, f"child-{before}").touch()
    return before % 2 == 0


def main() -> None:
    """The real command line, with small shards."""
    from face_organizer.cli import main as run
    from face_organizer.embed import shards

    shards.SHARD_FILES = int(os.environ.get("SHARD_FILES", "16"))
    run()


def spoil() -> None:
    """Put the faults in place."""
    from face_organizer.embed import maker, pictures
    from face_organizer.errors import DeviceError
    from face_organizer.media import images

    at, open_source = pictures.Picture.at, images.open_source
    content_of_file = images.content_of_file

    def picture_at(path: str) -> pictures.Picture:
        if HOLD and os.path.basename(path) == HOLD_AT:
            hold()
        if FAULT == "bug":
            raise ZeroDivisionError("a fault of the program")
        return at(path)

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

    pictures.Picture.at, images.open_source = picture_at, deadly  # type: ignore[method-assign, assignment]
    images.content_of_file = deadly_content
    if FAULT == "device":
        maker.open_models = no_device  # type: ignore[assignment]


if IN_CHILD:
    if FAULT == "early" or (FAULT == "flaky" and is_odd()):
        os._exit(7)
    if HOLD_AT == "start":
        hold()
    spoil()

if __name__ == "__main__":
    main()

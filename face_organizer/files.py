"""Files: names fit for a terminal, and writing that a kill at any moment cannot leave half done.

What is under a name is the old file or the new one, never half of either.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

MARKER = ".face-organizer"
"""Folder that marks an output of this program; what is below it is no input of another run."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula."""
_NAME_BYTES = 100  # of the file's own name in the temporary one: whole, it could be longer than names may be


def printable(path: str | os.PathLike[str]) -> str:
    """`path` fit for one line of a terminal: control characters and bytes that are no UTF-8 are escaped."""
    text = os.fspath(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def plain_cell(value: Any) -> Any:
    """`value` as a cell: with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def cache_dir() -> Path:
    """`$FACE_ORGANIZER_CACHE`, else face-organizer in `$XDG_CACHE_HOME` or `~/.cache`; not made here."""
    own = os.environ.get("FACE_ORGANIZER_CACHE")
    if own:
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg).expanduser() if xdg else Path.home() / ".cache") / "face-organizer"


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file; remembered while size and modification time stay. OSError as open()."""
    status = path.stat()
    return _sha256(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under `path`, synced to disk, when the block ends well, and else not at all.

    A file that is replaced keeps its permissions. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    temporary = path.parent / f".{name}.{secrets.token_hex(8)}.part"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable, where the file system can (some shares cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

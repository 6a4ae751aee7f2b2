"""Copying one file so that a kill at any moment leaves nothing that looks like a whole copy and is none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from face_organizer.files import reason

PART = ".face-organizer-part"
"""Name of the one unfinished file that a folder may hold."""

_NAME_REFUSED = frozenset({errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG})


class SourceError(Exception):
    """The source of a copy, not its target, is what failed; the message says how."""


def is_same(path: str | Path, size: int, mtime_ns: int) -> bool:
    """Whether a regular file is there, no symbolic link, of this size and modification time."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    near = abs(status.st_mtime_ns - mtime_ns) < 2_000_000_000  # FAT keeps times to two seconds
    return stat.S_ISREG(status.st_mode) and status.st_size == size and near


def copy_new(source: str, target: Path, *, size: int, mtime_ns: int, synced: bool = False) -> None:
    """Copy `source`, which had that size and time when it was looked at, to `target`, which is not there yet.

    Bytes, times and mode are kept; `synced` waits until the bytes are on the disk. Raises `SourceError` for
    what lies at the source, `OSError` for what lies at the target; neither leaves anything behind.
    """
    part = target.parent / PART
    part.unlink(missing_ok=True)
    try:
        _fill(part, source, synced)
        if not is_same(part, size, mtime_ns):
            raise SourceError("it changed while it was copied")
        _rename_new(part, target)
    finally:
        part.unlink(missing_ok=True)


def give_name(place: Path, target: Path) -> None:
    """Give a file another name on the same file system, and never over what is there. Raises `OSError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _rename_new(place, target)
    place.unlink(missing_ok=True)


def same_bytes(one: str | Path, other: str | Path) -> bool:
    """Whether two paths hold equal content, read anew; False where one cannot be read."""
    filecmp.clear_cache()
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


@contextlib.contextmanager
def _reading(failure: type[OSError] = OSError) -> Iterator[None]:
    try:
        yield
    except failure as error:
        raise SourceError(reason(error)) from error


def _fill(part: Path, source: str, synced: bool) -> None:
    with _reading():
        file = open(source, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK))  # noqa: SIM115
    with file, open(part, "xb") as copy:
        while True:
            with _reading():
                block = file.read(1 << 20)
            if not block:
                break
            copy.write(block)
        if synced:
            copy.flush()
            os.fsync(copy.fileno())
    with _reading(FileNotFoundError):
        shutil.copystat(source, part)


def in_the_way(target: Path) -> FileExistsError:
    """The error for a name that is taken."""
    return FileExistsError(errno.EEXIST, "a file that this run did not make is in the way", str(target))


def _rename_new(part: Path, target: Path) -> None:
    """Give the copy its name, and never over a file that has come to stand there meanwhile."""
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise in_the_way(target) from error
        if error.errno in _NAME_REFUSED:
            raise SourceError("the file system of the output takes no such name") from error
        if os.path.lexists(target):
            raise
        os.rename(part, target)  # a file system without hard links


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One run at a time: raises `BlockingIOError` while another holds `folder`, which is made where missing.

    File systems that know no locks are left be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        words = "another run is at work in this folder"
        raise BlockingIOError(error.errno, words, str(folder.parent)) from error
    except OSError:
        pass
    try:
        yield
    finally:
        os.close(handle)

"""The four ways to put a picture into a folder, and to take it back. What is done is told by the files.

A move to another file system copies, reads the copy back, and only then removes the original.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from face_organizer.files import reason, sync_folder
from face_organizer.organize.copying import SourceError, copy_new, in_the_way, is_same, same_bytes
from face_organizer.organize.moves import Move

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def is_made(move: Move, output: Path) -> bool:
    """Whether the picture is in its place, whole and unchanged, and nothing is left to do."""
    target = output / move.target
    if move.mode == "hardlink":
        return _is_one(move.source, target)
    if move.mode == "symlink":
        return target.is_symlink() and os.readlink(target) == move.source
    if move.mode == "move":
        return is_same(target, move.bytes, move.mtime_ns) and not os.path.lexists(move.source)
    return _is_copy(move, target, move.source)


def make(move: Move, output: Path, original: str) -> None:
    """Put the picture in its place, a copy from where the `original` lies now. Raises `SourceError` for its
    source, `OSError` for its target."""
    target = output / move.target
    for folder in reversed(_below(move, output)):
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "a symbolic link stands where a folder should", str(folder))
        folder.mkdir(exist_ok=True)
    if move.mode == "copy":
        copy_new(original, target, size=move.bytes, mtime_ns=move.mtime_ns)
    elif move.mode != "move":
        if move.mode == "hardlink" and _is_twin(move.source, target):
            target.unlink()  # a link to what lay there before and was brought back from a backup
        _link(move, target)
    elif is_same(target, move.bytes, move.mtime_ns) and _is_twin(move.source, target):
        os.unlink(move.source)  # a killed run had come so far
    else:
        _relocate(move.source, target, move)


def may_go(move: Move, output: Path, original: str) -> bool:
    """Whether taking the picture back loses nothing: it is what was made, and `original` is still there.

    For a move: whether its old place is free, or holds the same picture.
    """
    target = output / move.target
    if any(folder.is_symlink() for folder in _below(move, output)):
        return False
    if move.mode == "move":
        is_free = not os.path.lexists(move.source)
        return is_same(target, move.bytes, move.mtime_ns) and (is_free or _is_twin(move.source, target))
    if move.mode == "hardlink":
        return _is_twin(move.source, target)
    if move.mode == "symlink":
        return is_made(move, output)
    try:
        there, here = os.stat(original), os.lstat(target)
    except OSError:
        return False
    if os.path.samestat(there, here):
        return _is_one(original, target)  # a link stood in for it while it was away
    return there.st_size == move.bytes and _is_copy(move, target, original)


def is_left(move: Move, output: Path, original: str) -> bool:
    """Whether a copy is in its place, and what it was made from is gone: it may be the last one."""
    if move.mode not in ("copy", "hardlink") or os.path.lexists(original):
        return False
    if move.mode == "copy":
        return is_same(output / move.target, move.bytes, move.mtime_ns)
    try:
        status = os.lstat(output / move.target)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == move.bytes  # times are shared with other names


def as_dated(move: Move, output: Path) -> None:
    """Give a copy the time of its picture, where it has the bytes and another time: only so it is known again
    when its original is gone."""
    target = output / move.target
    if not is_same(target, move.bytes, move.mtime_ns):
        with contextlib.suppress(PermissionError):  # another user put it there
            os.utime(target, ns=(os.lstat(target).st_atime_ns, move.mtime_ns))


def take_back(move: Move, output: Path) -> None:
    """Undo one picture that `may_go`."""
    target = output / move.target
    if move.mode != "move" or os.path.lexists(move.source):  # a killed run did not come to remove this one
        target.unlink()
        return
    os.makedirs(os.path.dirname(move.source), exist_ok=True)
    try:
        _relocate(str(target), Path(move.source), move)
    except SourceError as error:
        raise OSError(errno.EIO, str(error), str(target)) from error


def _below(move: Move, output: Path) -> Sequence[Path]:
    """The folders from the picture's own up to, and without, the output."""
    return (output / move.target).parents[: move.target.count("/")]


def _relocate(source: str, target: Path, move: Move) -> None:
    """Give a file another place and never write over what is there."""
    try:
        with _new_name(target):
            os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EXDEV:
            copy_new(source, target, size=move.bytes, mtime_ns=move.mtime_ns, synced=True)
            if not same_bytes(source, target):
                target.unlink()
                raise SourceError("what was written is not what was read; it was not moved") from error
            sync_folder(target.parent)
        elif error.errno in _NO_LINKS and not os.path.lexists(target):
            os.rename(source, target)
            return
        else:
            raise
    try:
        os.unlink(source)
    except OSError as error:
        target.unlink()
        raise SourceError(f"cannot be taken from its folder: {reason(error)}") from error


def _link(move: Move, target: Path) -> None:
    try:
        with _new_name(target):
            if move.mode == "symlink":
                os.symlink(move.source, target)
            else:
                os.link(os.path.realpath(move.source), target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            words = "hard links cannot reach another file system; use --mode copy or --mode symlink"
        elif error.errno in _NO_LINKS:
            words = "this file system knows no such links; use --mode copy"
        else:
            raise
        raise OSError(error.errno, words, str(target)) from error


@contextlib.contextmanager
def _new_name(target: Path) -> Iterator[None]:
    """In words: the name is taken, or what should get it is gone."""
    try:
        yield
    except FileExistsError as error:
        raise in_the_way(target) from error
    except FileNotFoundError as error:
        raise SourceError("no such file or directory") from error


def _is_copy(move: Move, target: Path, original: str) -> bool:
    """Whether the copy is what was made: by size and time, or by its bytes where only the time differs."""
    if is_same(target, move.bytes, move.mtime_ns):
        return True
    try:
        status = os.lstat(target)
    except OSError:
        return False
    alike = stat.S_ISREG(status.st_mode) and status.st_size == move.bytes
    return alike and is_same(original, move.bytes, move.mtime_ns) and same_bytes(original, target)


def _is_twin(source: str, target: Path) -> bool:
    """Whether `source`, a file of its own and no way to `target`, holds the same picture."""
    if os.path.islink(source) or os.path.realpath(source) == os.path.realpath(target):
        return False
    return _is_one(source, target) or same_bytes(source, target)


def _is_one(source: str, target: Path) -> bool:
    """Whether both are names of one file, and neither is a symbolic link to it."""
    try:
        there, here = os.stat(source), os.lstat(target)
    except OSError:
        return False
    is_link = os.path.realpath(source) == os.path.realpath(target)
    return stat.S_ISREG(here.st_mode) and os.path.samestat(there, here) and not is_link

"""Folders as a plan: plan → apply → undo. The only module that fills folders with a user's pictures.

A plan says which picture goes where. It lies in the output folder (`.face-organizer/plan.jsonl`) before the
first picture does. Every picture arrives under a temporary name and gets its own when it is whole, and
nothing that is already there is ever written over; so a killed run is finished by the same call again, and
`undo` removes what the plan made, as long as it is still exactly that.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from face_organizer.copying import PART, SourceError, copy_new, is_same, locked, reason
from face_organizer.errors import OrganizeError, UsageError
from face_organizer.files import atomic_write, printable
from face_organizer.listing import MARKER

_PLAN = "plan.jsonl"
WHY_KEPT = "changed since it was copied, or its original is gone"
"""Why a copy is kept, for messages."""

_LONGEST_NAME = 255  # bytes of a file name on the usual file systems


@dataclass(frozen=True, slots=True)
class Move:
    """One picture on its way: `source`, absolute; `target`, FOLDER/NAME below the output; size and time."""

    source: str
    target: str
    bytes: int
    mtime_ns: int

    def __post_init__(self) -> None:
        folder, name = self.target.split("/")
        if {folder, name} & {"", ".", ".."} or folder == MARKER or not os.path.isabs(self.source):
            raise ValueError(f"not a way into the output folder: {self!r}")
        if type(self.bytes) is not int or type(self.mtime_ns) is not int:
            raise TypeError(f"size and time must be whole numbers: {self!r}")


@dataclass(frozen=True, slots=True)
class Missing:
    """A picture that is no longer where the table says, or cannot be copied, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes where, sorted by folder and source, and what cannot go."""

    moves: Sequence[Move]
    missing: Sequence[Missing]


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` could not copy after all, and the copies of an earlier plan that it left (see `undo`)."""

    missing: Sequence[Missing]
    kept: Sequence[str]


@dataclass(frozen=True, slots=True)
class Undone:
    """What `undo` did: pictures removed, and those left because they are no longer what was made."""

    removed: int
    kept: Sequence[str]


def plan(entries: Iterable[tuple[str, str]], output: Path) -> Plan:
    """The plan that puts each (source path, folder name) into `output`/folder under its own file name.

    Of pictures with one name, the first by path keeps it and the next get `_1`, `_2` …; names that differ
    only in case or in the way an accent is written count as one, since some file systems hold them for one.
    Files that stand there already, and that no plan made, keep their names. Raises `UsageError` for
    pictures that lie in `output` themselves.
    """
    wanted = sorted({(os.path.abspath(s), f) for s, f in entries}, key=lambda e: (e[1], os.fsencode(e[0])))
    _check_places(wanted, output)
    used = _foreign_names({folder for _, folder in wanted}, output)
    plain = {(folder, _folded(os.path.basename(source))) for source, folder in wanted}
    next_suffix: dict[tuple[str, str], int] = defaultdict(lambda: 1)
    moves: list[Move] = []
    missing: list[Missing] = []
    for source, folder in wanted:
        try:
            status = _status(source)
        except OSError as error:
            missing.append(Missing(source, reason(error)))
            continue
        own = os.path.basename(source)
        name, key = own, (folder, _folded(own))
        while (folder, _folded(name)) in used or (name != own and (folder, _folded(name)) in plain):
            name = _suffixed(own, next_suffix[key])
            next_suffix[key] += 1
        used.add((folder, _folded(name)))
        moves.append(Move(source, f"{folder}/{name}", status.st_size, status.st_mtime_ns))
    return Plan(moves, missing)


def _check_places(wanted: Sequence[tuple[str, str]], output: Path) -> None:
    for folder in {f for _, f in wanted}:
        if folder in ("", ".", "..", MARKER) or "/" in folder:
            raise OrganizeError(f"{printable(folder)!r} cannot be the name of a folder")
    place = os.path.realpath(output)
    for parent in {os.path.dirname(s) for s, _ in wanted}:
        if os.path.commonpath([place, os.path.realpath(parent)]) == place:
            where = printable(parent)
            raise UsageError(
                f"{where}: pictures of the table lie in the output folder; give another --output"
            )


def _status(source: str) -> os.stat_result:
    status = os.stat(source)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if not os.access(source, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return status


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _foreign_names(folders: Iterable[str], output: Path) -> set[tuple[str, str]]:
    """(folder, folded name) of all that stands in `folders` and will stay, since it is not a copy of ours."""
    ours = {move.target: move for move in _read_plan(output)}
    foreign = set()
    for folder in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(output / folder):
                move = ours.get(f"{folder}/{name}")
                if name != PART and not (move and _may_go(move, output)):
                    foreign.add((folder, _folded(name)))
    return foreign


def _suffixed(name: str, number: int) -> str:
    stem, ending = os.path.splitext(name)
    suffix = f"_{number}{ending}"
    while stem and len(os.fsencode(stem + suffix)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + suffix


def apply(planned: Plan, output: Path, *, on_file: Callable[[Move], object] = lambda move: None) -> Applied:
    """Carry out `planned` in `output`. Raises `OrganizeError` where it cannot be written or has no room.

    The same plan again finishes what a killed run began and copies nothing twice. Copies of another plan
    that the new one does not want are removed first, as `undo` removes them.
    """
    with _in_words(output), locked(output / MARKER):
        new = set(planned.moves)
        stale = [move for move in _read_plan(output) if move not in new]
        _check_room(planned, stale, output)
        _, kept = _remove(stale, output)
        _write_plan(planned.moves, output)
        missing: list[Missing] = []
        for move in planned.moves:
            try:
                if not _is_made(move, output):
                    copy_new(move.source, output / move.target, size=move.bytes, mtime_ns=move.mtime_ns)
            except SourceError as error:
                missing.append(Missing(move.source, str(error)))
            on_file(move)
    return Applied(missing, kept)


@contextlib.contextmanager
def _in_words(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = printable(error.filename or output)
        raise OrganizeError(
            f"{where}: {reason(error)}; no original was changed, and the same command goes on from here"
        ) from error


def _check_room(planned: Plan, stale: Sequence[Move], output: Path) -> None:
    needed = sum(m.bytes for m in planned.moves if not _is_made(m, output))
    free = shutil.disk_usage(output).free + sum(m.bytes for m in stale if _may_go(m, output))
    if needed > free:
        sizes = f"{needed / 1e9:.1f} GB to copy and {free / 1e9:.1f} GB free"
        raise OrganizeError(f"{printable(output)}: {sizes}; nothing was copied")


def _is_made(move: Move, output: Path) -> bool:
    """Whether the copy is there, whole and unchanged."""
    return is_same(output / move.target, move.bytes, move.mtime_ns)


def _may_go(move: Move, output: Path) -> bool:
    """Whether the copy is there, unchanged, and the original still another file than it, of the same size."""
    target = output / move.target
    if target.parent.is_symlink() or not _is_made(move, output):
        return False
    try:
        source = os.stat(move.source)
    except OSError:
        return False
    return source.st_size == move.bytes and not os.path.samestat(source, os.lstat(target))


def _write_plan(moves: Iterable[Move], output: Path) -> None:
    with atomic_write(output / MARKER / _PLAN) as file:
        file.writelines(json.dumps(asdict(move)).encode("ascii") + b"\n" for move in moves)


def _read_plan(output: Path) -> list[Move]:
    """The plan that lies in `output`, if any, read as a file from outside: no target leaves `output`."""
    path = output / MARKER / _PLAN
    try:
        return [Move(**json.loads(line)) for line in path.read_bytes().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (ValueError, TypeError, AttributeError) as error:
        raise OrganizeError(
            f"{printable(path)} is damaged, so that nobody can tell which files are copies; "
            "give another --output, or delete that file to keep all that is there"
        ) from error


def undo(output: Path, also: Sequence[str] = ()) -> Undone:
    """Remove the copies that the plan in `output` made, files named in `also`, and then empty folders.

    A copy stays, and is named in the result, when it was changed since or when its source is gone, so that
    it may be the last one; a later `undo` tries those again. Raises `OrganizeError` where there is nothing to
    undo.
    """
    if not (output / MARKER).is_dir():
        raise OrganizeError(f"{printable(output)}: not an output folder of this program, nothing to undo")
    with _in_words(output):
        with locked(output / MARKER):
            moves = _read_plan(output)
            removed, kept = _remove(moves, output)
            for name in also:
                for file in (output / name, *output.glob(f".{name}.*.part")):
                    file.unlink(missing_ok=True)
            if kept:
                _write_plan([move for move in moves if str(output / move.target) in set(kept)], output)
            else:
                shutil.rmtree(output / MARKER)
        if also and not any(output.iterdir()):
            output.rmdir()
    return Undone(removed, kept)


def _remove(moves: Sequence[Move], output: Path) -> tuple[int, list[str]]:
    """Remove the copies of `moves` that may go, and then empty folders; how many went, and what stays."""
    removed, kept = 0, []
    for move in moves:
        target = output / move.target
        if _may_go(move, output):
            target.unlink()
            removed += 1
        elif os.path.lexists(target):
            kept.append(str(target))
    for folder in {(output / move.target).parent for move in moves}:
        if folder.is_dir() and not folder.is_symlink():
            (folder / PART).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
    return removed, kept

"""Carrying out a plan, and taking it back. Killed at any moment, the next call finishes or undoes it."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from face_organizer.errors import OrganizeError
from face_organizer.files import MARKER, printable
from face_organizer.organize import journal as journals
from face_organizer.organize.copying import PART, SourceError, locked, reason
from face_organizer.organize.journal import Journal, Move
from face_organizer.organize.modes import is_made, make, may_go, take_back
from face_organizer.organize.planning import Missing, Plan


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` could not place after all, and what it left of an earlier plan (see `undo`)."""

    missing: Sequence[Missing]
    kept: Sequence[str]


@dataclass(frozen=True, slots=True)
class Undone:
    """What `undo` did: files removed, files moved back, and those left since they are not what was made."""

    removed: int
    kept: Sequence[str]
    returned: int = 0


def apply(
    planned: Plan,
    output: Path,
    *,
    results: Sequence[str] = (),
    on_file: Callable[[Move], object] = lambda move: None,
) -> Applied:
    """Carry out `planned` in `output`. Raises `OrganizeError` where it cannot be written or has no room.

    The same plan again finishes what a killed run began and places nothing twice. What another plan made
    and the new one does not want is taken back first, as `undo` does. `results` are names of files that the
    caller writes into `output`, for `undo`.
    """
    with _in_words(output), locked(output / MARKER):
        before = journals.read(output)
        new = set(planned.moves)
        stale = Journal([move for move in before.moves if move not in new])
        _check_room(planned, before, output)
        _check_results(results, before, output)
        # Until the journal of the new plan stands, the old one tells what there is: it comes last.
        _, _, kept = _take_back(stale, before, output)
        journals.write(Journal(planned.moves, results), output)
        _remove_results(set(before.results) - set(results), output)
        missing: list[Missing] = []
        for move in sorted(planned.moves, key=lambda m: m.mode == "move"):  # copies need what is moved away
            try:
                if not is_made(move, output):
                    make(move, output)
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
            f"{where}: {reason(error)}; nothing is lost, and the same command goes on from here"
        ) from error


def room_needed(planned: Plan, output: Path) -> int:
    """Bytes that carrying out `planned` would write: those of copies, and of moves to another file system."""
    place = output.absolute()
    while not place.is_dir():
        place = place.parent
    device = os.stat(place).st_dev
    return sum(
        move.bytes for move in planned.moves if _is_written(move, device) and not is_made(move, output)
    )


def _is_written(move: Move, device: int) -> bool:
    if move.mode != "move":
        return move.mode == "copy"
    try:
        return os.stat(move.source).st_dev != device
    except OSError:
        return False


def _check_room(planned: Plan, before: Journal, output: Path) -> None:
    needed = room_needed(planned, output)
    free = shutil.disk_usage(output).free
    if needed > free:
        new = set(planned.moves)
        stale = (m for m in before.moves if m.mode == "copy" and m not in new)
        free += sum(m.bytes for m in stale if may_go(m, output, before.original(m, output)))
    if needed > free:
        sizes = f"{needed / 1e9:.1f} GB to copy and {free / 1e9:.1f} GB free"
        raise OrganizeError(f"{printable(output)}: {sizes}; nothing was copied")


def undo(output: Path) -> Undone:
    """Take back what the plan in `output` made, and the files of its results; empty folders go too.

    Copies and links are removed, moved pictures return to their old place. A file stays, and is named in the
    result, when it was changed since, when its source is gone, so that it may be the last one, or when
    something else stands at its old place; a later `undo` tries those again. Raises `OrganizeError` where
    there is nothing to undo.
    """
    if not (output / MARKER).is_dir():
        raise OrganizeError(f"{printable(output)}: not an output folder of this program, nothing to undo")
    with _in_words(output):
        with locked(output / MARKER):
            before = journals.read(output)
            removed, returned, kept = _take_back(before, before, output)
            _remove_results(before.results, output)
            if kept:
                left = set(kept)
                journals.write(Journal([m for m in before.moves if str(output / m.target) in left]), output)
            else:
                shutil.rmtree(output / MARKER)
        with contextlib.suppress(OSError):  # not empty
            output.rmdir()
    return Undone(removed, kept, returned)


def _check_results(results: Iterable[str], before: Journal, output: Path) -> None:
    for name in set(results) - set(before.results):
        if os.path.lexists(output / name):
            words = "stands there, and this program did not make it: move it away, or give another --output"
            raise OrganizeError(f"{printable(output / name)} {words}")


def _remove_results(names: Iterable[str], output: Path) -> None:
    for name in names:
        for file in (output / name, *output.glob(f".{glob.escape(name)}.*.part")):
            file.unlink(missing_ok=True)


def _take_back(journal: Journal, before: Journal, output: Path) -> tuple[int, int, list[str]]:
    """Take back what of `journal`, a part of `before`, may go: how many were removed and returned, what
    stays."""
    for folder in {os.path.dirname(source) for source in before.homes}:
        with contextlib.suppress(OSError):  # what a killed undo left where pictures return to
            os.unlink(os.path.join(folder, PART))
    removed, returned, kept = 0, 0, []
    for move in sorted(journal.moves, key=lambda m: m.mode != "move"):  # originals of copies return first
        target = output / move.target
        if may_go(move, output, before.original(move, output)):
            take_back(move, output)
            removed += move.mode != "move"
            returned += move.mode == "move"
        elif os.path.lexists(target):
            kept.append(str(target))
    _remove_empty({(output / move.target).parent for move in journal.moves}, output)
    return removed, returned, kept


def _remove_empty(folders: set[Path], output: Path) -> None:
    """Remove `folders` below `output`, the deepest first, and those above them, where nothing is left."""
    above = {parent for folder in folders for parent in (folder, *folder.parents) if output in parent.parents}
    for folder in sorted(above, key=lambda f: -len(f.parts)):
        if folder.is_dir() and not folder.is_symlink():
            (folder / PART).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
    (output / PART).unlink(missing_ok=True)

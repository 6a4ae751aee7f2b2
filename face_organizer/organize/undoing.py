"""Taking back what a plan made. Killed at any moment, the next call goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from face_organizer.errors import OrganizeError
from face_organizer.files import MARKER, printable, reason, remove_written
from face_organizer.organize import journal as journals
from face_organizer.organize.copying import PART, locked
from face_organizer.organize.following import read
from face_organizer.organize.journal import Journal
from face_organizer.organize.modes import may_go, take_back
from face_organizer.organize.moves import Move

LIBRARY = "library.sqlite"
"""Name of the library in an output folder: what people said, which no undo takes back."""


class Undone(NamedTuple):
    """What `undo` did: files removed, files left since they are not what was made, pictures moved back, and
    whether what people said of the folder stays in it."""

    removed: int
    kept: Sequence[str]
    returned: int = 0
    remembers: bool = False


def undo(folder: str | Path, *, forget_names: bool = False) -> Undone:
    """Take back what the plan in `folder` made, and the files of its results; empty folders go too.

    What people said stays in the library of the folder, unless `forget_names`.

    Copies and links are removed, moved pictures return to their old place. A file stays, and is named in the
    result, when it was changed since, when its source is gone, so that it may be the last one, or when
    something else stands at its old place; a later `undo` tries those again. Raises `OrganizeError` where
    there is nothing to undo.
    """
    output = Path(folder)
    if not (output / MARKER).is_dir():
        raise OrganizeError(f"{printable(output)}: not an output folder of this program, nothing to undo")
    with in_words(output):
        with locked(output / MARKER):
            before = read(output)
            is_said = (output / MARKER / LIBRARY).exists()
            if is_said and not (before.moves or before.results or forget_names):
                words = "nothing is there to undo but what people said, which --forget-names removes"
                raise OrganizeError(f"{printable(output)}: {words}")
            journals.set_applied(output, False)
            undone = take_all_back(before.moves, before, output)
            undone = undone._replace(remembers=is_said and not forget_names)
            remove_results(before.results, output)
            for path in _of_library(output / MARKER) if forget_names else ():
                path.unlink(missing_ok=True)
            if undone.kept:
                left = set(undone.kept)
                moves = [m for m in before.moves if str(output / m.target) in left]
                journals.write(replace(before, moves=moves, results=()), output)
            elif undone.remembers:
                for path in {*(output / MARKER).iterdir()} - _of_library(output / MARKER):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()  # a table of `sort` is a folder
            else:
                shutil.rmtree(output / MARKER)
        with contextlib.suppress(OSError):  # not empty
            output.rmdir()
    return undone


def forget(folder: Path, left: Sequence[Move]) -> None:
    """Let the plan in `folder` be `left` alone, without results: the caller removes what else it placed."""
    with in_words(folder), locked(folder / MARKER):
        journals.set_applied(folder, False)
        journals.write(replace(read(folder), moves=left, results=(), persons={}), folder)


def _of_library(marker: Path) -> set[Path]:
    return {marker / f"{LIBRARY}{ending}" for ending in ("", "-wal", "-shm")}


@contextlib.contextmanager
def in_words(output: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into an `OrganizeError`."""
    try:
        yield
    except OSError as error:
        where = printable(error.filename or output)
        mend = "nothing is lost, and the same command goes on from here"
        raise OrganizeError(f"{where}: {reason(error)}; {mend}") from error


def remove_results(names: Iterable[str], output: Path) -> None:
    """Remove files of results, and what a killed run left of them; folders that they leave empty go too."""
    by_folder: dict[Path, set[str]] = defaultdict(set)
    for name in names:
        by_folder[(output / name).parent].add((output / name).name)
    for folder, own in by_folder.items():
        if folder.is_dir() and (
            folder == output or not folder.is_symlink()
        ):  # what a link leads to is not ours
            remove_written(folder, own)
    remove_empty(by_folder.keys() - {output}, output)


def in_turn(moves: Sequence[Move], *, moved_first: bool) -> Iterator[Move]:
    """Those of mode `move` first, or last."""
    for turn in (moved_first, not moved_first):
        yield from (move for move in moves if (move.mode == "move") == turn)


def take_all_back(moves: Sequence[Move], before: Journal, output: Path) -> Undone:
    """Take back what may go of `moves`, some of those of `before`."""
    homes = {os.path.dirname(source) for source in before.homes}
    for folder in homes | {str(output / move.folder) for move in before.moves}:
        with contextlib.suppress(OSError):  # what a killed run left
            os.unlink(os.path.join(folder, PART))
    gone, kept = Counter[bool](), []
    for move in in_turn(moves, moved_first=True):  # originals of copies return first
        target = output / move.target
        if may_go(move, output, before.original(move, output)):
            take_back(move, output)
            gone[move.mode == "move"] += not move.sidecar
        elif os.path.lexists(target):
            kept.append(str(target))
    remove_empty({(output / move.target).parent for move in moves}, output)
    return Undone(gone[False], kept, gone[True])


def remove_empty(folders: set[Path], output: Path) -> None:
    """Remove `folders` below `output`, the deepest first, and those above them, where nothing is left."""
    above = {parent for folder in folders for parent in (folder, *folder.parents) if output in parent.parents}
    for folder in sorted(above, key=lambda f: -len(f.parts)):
        if folder.is_dir() and not folder.is_symlink():
            (folder / PART).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
    (output / PART).unlink(missing_ok=True)

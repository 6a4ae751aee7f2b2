"""Carrying out a plan, and taking it back. Killed at any moment, the next call finishes or undoes it."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from face_organizer.errors import OrganizeError
from face_organizer.files import MARKER, printable, reason
from face_organizer.organize import journal as journals
from face_organizer.organize.copying import PART, SourceError, locked
from face_organizer.organize.following import read
from face_organizer.organize.journal import Journal, Move
from face_organizer.organize.modes import is_made, make, may_go, take_back

Placed = Mapping[tuple[str, str], str]
"""(source path, folder) of each picture that was placed → its path below the output folder."""


@dataclass(frozen=True, slots=True)
class View:
    """A result as folders: pictures by folder, and files that the program itself writes into the output."""

    entries: Iterable[tuple[str, str]]
    """(source path, folder below the output) of each picture."""
    files: Sequence[str] = ()
    """Names of the files that `write` makes in the output folder, so that `undo` removes them."""
    write: Callable[[Path, Placed, Callable[[], object]], None] = lambda folder, placed, on_step: None
    """`write(folder, placed, on_step)` makes these files; `on_step` is called after each slow one."""
    steps: int = 0
    """How often `write` calls `on_step`."""
    remember: Callable[[], tuple[str, Mapping[str, int]]] = lambda: ("", {})
    """Called by `apply` before anything is placed, to take down who is where: the library that did, and its
    number of each folder's person."""


class Missing(NamedTuple):
    """A picture that is no longer where the table says, or cannot be placed, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Placing:
    output: Path
    mode: str
    moves: Sequence[Move]
    """The pictures that go into folders, sorted by folder and source."""
    missing: Sequence[Missing]
    """Those that cannot, or could not after all."""

    @property
    def folders(self) -> Counter[str]:
        """Pictures in each folder below the output, the output itself under an empty name."""
        return Counter(move.folder for move in self.moves)


@dataclass(frozen=True, slots=True)
class Applied(_Placing):
    """What `Plan.apply` placed, what it could not, and the files it left of an earlier plan (see `undo`)."""

    bytes: int
    """What had to be copied."""
    kept: Sequence[str]


@dataclass(frozen=True, slots=True)
class Plan(_Placing):
    """What goes where, and what cannot go. Nothing is written before `apply`."""

    view: View

    @property
    def bytes(self) -> int:
        """What carrying it out would write: copies, and moves to another file system, not yet in place."""
        place = self.output.absolute()
        while not place.is_dir():
            place = place.parent
        device = os.stat(place).st_dev

        def is_written(move: Move) -> bool:
            with contextlib.suppress(OSError):
                return move.mode == "copy" or (move.mode == "move" and os.stat(move.source).st_dev != device)
            return False

        return sum(m.bytes for m in self.moves if is_written(m) and not is_made(m, self.output))

    def apply(
        self,
        on_file: Callable[[Move], object] = lambda move: None,
        on_step: Callable[[], object] = lambda: None,
    ) -> Applied:
        """Carry it out: the pictures, then the files of the result, which tell what was really placed.

        The same plan again finishes what a killed run began and places nothing twice. What another plan made
        in the folder and this one does not want is taken back first, as `undo` does. `on_file` is called
        after each picture, `on_step` after each slow file of the result (`view.steps` of them). Raises
        `OrganizeError` where the folder cannot be written or has no room.
        """
        output, results = self.output, self.view.files
        missing = list(self.missing)
        with _in_words(output), locked(output / MARKER):
            before = read(output)
            wanted = set(self.moves)
            stale = [move for move in before.moves if move not in wanted]
            needed = self.bytes
            _check_room(needed, stale, before, output)
            for place in (output / name for name in set(results) - set(before.results)):
                if os.path.lexists(place):
                    words = "stands there, and this program did not make it"
                    raise OrganizeError(f"{printable(place)} {words}: move it away, or give another --output")
            journals.set_applied(output, False)
            library, persons = self.view.remember()
            # Until the journal of the new plan stands, the old one tells what there is: it comes last.
            kept = _take_back(stale, before, output).kept
            journals.write(Journal(self.moves, results, persons, library), output)
            _remove_results(set(before.results) - set(results), output)
            for move in sorted(self.moves, key=lambda m: m.mode == "move"):  # copies need what is moved away
                try:
                    if not is_made(move, output):
                        make(move, output)
                except SourceError as error:
                    missing.append(Missing(move.source, str(error)))
                on_file(move)
            journals.set_applied(output, True)
        gone = {one.source for one in missing}
        moves = [move for move in self.moves if move.source not in gone]
        self.view.write(output, {(m.source, m.folder): m.target for m in moves}, on_step)
        return Applied(output, self.mode, moves, missing, needed, kept)


class Undone(NamedTuple):
    """What `undo` did: files removed, files left since they are not what was made, and files moved back."""

    removed: int
    kept: Sequence[str]
    returned: int = 0


def undo(folder: str | Path) -> Undone:
    """Take back what the plan in `folder` made, and the files of its results; empty folders go too.

    Copies and links are removed, moved pictures return to their old place. A file stays, and is named in the
    result, when it was changed since, when its source is gone, so that it may be the last one, or when
    something else stands at its old place; a later `undo` tries those again. Raises `OrganizeError` where
    there is nothing to undo.
    """
    output = Path(folder)
    if not (output / MARKER).is_dir():
        raise OrganizeError(f"{printable(output)}: not an output folder of this program, nothing to undo")
    with _in_words(output):
        with locked(output / MARKER):
            before = read(output)
            journals.set_applied(output, False)
            undone = _take_back(before.moves, before, output)
            _remove_results(before.results, output)
            if undone.kept:
                left = set(undone.kept)
                moves = [m for m in before.moves if str(output / m.target) in left]
                journals.write(replace(before, moves=moves, results=()), output)
            else:
                shutil.rmtree(output / MARKER)
        with contextlib.suppress(OSError):  # not empty
            output.rmdir()
    return undone


@contextlib.contextmanager
def _in_words(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = printable(error.filename or output)
        mend = "nothing is lost, and the same command goes on from here"
        raise OrganizeError(f"{where}: {reason(error)}; {mend}") from error


def _check_room(needed: int, stale: Sequence[Move], before: Journal, output: Path) -> None:
    free = shutil.disk_usage(output).free
    if needed > free:
        copies = (m for m in stale if m.mode == "copy")
        free += sum(m.bytes for m in copies if may_go(m, output, before.original(m, output)))
    if needed > free:
        sizes = f"{needed / 1e9:.1f} GB to copy and {free / 1e9:.1f} GB free"
        raise OrganizeError(f"{printable(output)}: {sizes}; nothing was copied")


def _remove_results(names: Iterable[str], output: Path) -> None:
    for name in names:
        for file in (output / name, *output.glob(f".{glob.escape(name)}.*.part")):
            file.unlink(missing_ok=True)


def _take_back(moves: Sequence[Move], before: Journal, output: Path) -> Undone:
    """Take back what may go of `moves`, some of those of `before`."""
    for folder in {os.path.dirname(source) for source in before.homes}:
        with contextlib.suppress(OSError):  # what a killed undo left where pictures return to
            os.unlink(os.path.join(folder, PART))
    gone, kept = Counter[bool](), []
    for move in sorted(moves, key=lambda m: m.mode != "move"):  # originals of copies return first
        target = output / move.target
        if may_go(move, output, before.original(move, output)):
            take_back(move, output)
            gone[move.mode == "move"] += 1
        elif os.path.lexists(target):
            kept.append(str(target))
    _remove_empty({(output / move.target).parent for move in moves}, output)
    return Undone(gone[False], kept, gone[True])


def _remove_empty(folders: set[Path], output: Path) -> None:
    """Remove `folders` below `output`, the deepest first, and those above them, where nothing is left."""
    above = {parent for folder in folders for parent in (folder, *folder.parents) if output in parent.parents}
    for folder in sorted(above, key=lambda f: -len(f.parts)):
        if folder.is_dir() and not folder.is_symlink():
            (folder / PART).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
    (output / PART).unlink(missing_ok=True)

"""Carrying out a plan, and taking it back. Killed at any moment, the next call finishes or undoes it."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from face_organizer.errors import OrganizeError
from face_organizer.files import MARKER, printable, reason
from face_organizer.organize import journal as journals
from face_organizer.organize import settling
from face_organizer.organize.copying import PART, SourceError, locked
from face_organizer.organize.following import read
from face_organizer.organize.journal import Journal
from face_organizer.organize.modes import as_dated, is_made, make, may_go, take_back
from face_organizer.organize.moves import Lookup, Move, Moves

LIBRARY = "library.sqlite"
"""Name of the library in an output folder: what people said, which no undo takes back."""

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
        return Counter(move.folder for move in self.moves if not move.sidecar)

    @property
    def sidecars(self) -> int:
        """Files that go along with pictures."""
        return sum(move.sidecar for move in self.moves)


@dataclass(frozen=True, slots=True)
class Applied(_Placing):
    """What `Plan.apply` placed, what it could not, and the files it left of an earlier plan (see `undo`)."""

    bytes: int
    """What had to be copied."""
    kept: Sequence[str]
    gone: Sequence[str] = ()
    """Copies that lie in `gone/`: nobody wants them any more, and their originals are not there."""
    foreign: Sequence[str] = ()
    """Files in the folders that no plan placed: the user's own, left alone."""


@dataclass(frozen=True, slots=True)
class Plan(_Placing):
    """What goes where, and what cannot go. Nothing is written before `apply`."""

    view: View
    given: Mapping[str, str] = field(default_factory=dict)
    """Moved pictures that the view named by their place in the output: that place, by their home."""

    @property
    def bytes(self) -> int:
        """What carrying it out would write: copies, and moves to another file system, not yet in place."""
        place = self.output.absolute()
        while not place.is_dir():
            place = place.parent
        device = os.stat(place).st_dev

        def is_written(move: Move) -> bool:
            if move.mode == "copy":
                return os.path.lexists(move.source)
            with contextlib.suppress(OSError):
                return move.mode == "move" and os.stat(move.source).st_dev != device
            return False

        return sum(m.bytes for m in self.moves if is_written(m) and not is_made(m, self.output))

    def apply(
        self,
        on_file: Callable[[Move], object] = lambda move: None,
        on_step: Callable[[], object] = lambda: None,
        on_places: Callable[[Mapping[str, str]], object] = lambda places: None,
    ) -> Applied:
        """Carry it out: the pictures, then the files of the result, which tell what was really placed.

        The same plan again finishes what a killed run began and places nothing twice. What another plan made
        in the folder and this one does not want is taken back first, as `undo` does. `on_file` is called
        after each picture, `on_step` after each slow file of the result (`view.steps` of them). `on_places`
        is for whoever keeps paths: it is called before pictures return to their old places and before others
        move, with the paths that are known so far and those where these pictures will lie. Raises
        `OrganizeError` where the folder cannot be written or has no room.

        A copy of an earlier plan whose original is gone is never removed, since it may be the last one. It
        stays, or goes to another folder, where this plan wants the picture all the same (its table knows it,
        and its disk may only be away); else it goes to `gone/`.
        """
        output, results = self.output, self.view.files
        missing, failed = list(self.missing), set[str]()
        with _in_words(output), locked(output / MARKER):
            before = read(output)
            wanted = Lookup(self.moves, lambda m: m.target, lambda m: m)
            stale: Sequence[Move] = Moves(m for m in before.moves if wanted.get(m.target) != m)
            needed = self.bytes
            _check_room(needed, stale, before, output)
            for place in (output / name for name in set(results) - set(before.results)):
                if os.path.lexists(place):
                    words = "stands there, and this program did not make it"
                    raise OrganizeError(f"{printable(place)} {words}: move it away, or give another --output")
            journals.set_applied(output, False)
            library, persons = self.view.remember()
            # Until the journal of the new plan stands, the old one tells what there is: it comes last.
            going = Lookup(self.moves, lambda m: m.source, lambda m: m, lambda m: m.mode == "move")
            on_places(before.lying(output, lambda m: m.source not in going))
            back, last = settling.moved_on(stale, self.moves, before, output)
            kept = _take_back(back, before, output).kept
            gone = settling.settled(last, self.moves, output)
            _remove_empty({(output / move.target).parent for move in stale}, output)
            moves = Moves(itertools.chain(self.moves, gone)) if gone else self.moves
            planned = Journal(moves, results, persons, library)
            journals.write(planned, output)
            on_places(self._places())
            _remove_results(set(before.results) - set(results), output)
            for move in _in_turn(self.moves, moved_first=False):  # copies need what is moved away
                try:
                    if not is_made(move, output):
                        make(move, output, planned.original(move, output))
                    elif move.mode == "copy":
                        as_dated(move, output)
                except SourceError as error:
                    missing.append(Missing(move.source, str(error)))
                    failed.add(move.target)
                on_file(move)
            journals.set_applied(output, True)
        moves = Moves(move for move in self.moves if move.target not in failed) if failed else self.moves
        placed = Lookup(
            moves,
            lambda m: (self.given.get(m.source, m.source), m.folder),
            lambda m: m.target,
            lambda m: not m.sidecar,
        )
        self.view.write(output, placed, on_step)
        left = sorted(str(output / move.target) for move in gone)
        foreign = settling.foreign([self.moves, gone, before.moves], output)
        return Applied(output, self.mode, moves, missing, needed, kept, left, foreign)

    def _places(self) -> Mapping[str, str]:
        here = os.path.abspath(self.output)

        def given(move: Move) -> str:
            return self.given.get(move.source, move.source)

        def place(move: Move) -> str:
            return os.path.join(here, move.target)

        return Lookup(self.moves, given, place, lambda m: m.mode == "move" and given(m) != place(m))


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
    with _in_words(output):
        with locked(output / MARKER):
            before = read(output)
            is_said = (output / MARKER / LIBRARY).exists()
            if is_said and not (before.moves or before.results or forget_names):
                words = "nothing is there to undo but what people said, which --forget-names removes"
                raise OrganizeError(f"{printable(output)}: {words}")
            journals.set_applied(output, False)
            undone = _take_back(before.moves, before, output)
            undone = undone._replace(remembers=is_said and not forget_names)
            _remove_results(before.results, output)
            for path in _of_library(output / MARKER) if forget_names else ():
                path.unlink(missing_ok=True)
            if undone.kept:
                left = set(undone.kept)
                moves = [m for m in before.moves if str(output / m.target) in left]
                journals.write(replace(before, moves=moves, results=()), output)
            elif undone.remembers:
                for path in {*(output / MARKER).iterdir()} - _of_library(output / MARKER):
                    path.unlink()
            else:
                shutil.rmtree(output / MARKER)
        with contextlib.suppress(OSError):  # not empty
            output.rmdir()
    return undone


def forget(folder: Path, left: Sequence[Move]) -> None:
    """Let the plan in `folder` be `left` alone, without results: the caller removes what else it placed."""
    with _in_words(folder), locked(folder / MARKER):
        journals.set_applied(folder, False)
        journals.write(replace(read(folder), moves=left, results=(), persons={}), folder)


def _of_library(marker: Path) -> set[Path]:
    return {marker / f"{LIBRARY}{ending}" for ending in ("", "-wal", "-shm")}


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


def _in_turn(moves: Sequence[Move], *, moved_first: bool) -> Iterator[Move]:
    for turn in (moved_first, not moved_first):
        yield from (move for move in moves if (move.mode == "move") == turn)


def _take_back(moves: Sequence[Move], before: Journal, output: Path) -> Undone:
    """Take back what may go of `moves`, some of those of `before`."""
    homes = {os.path.dirname(source) for source in before.homes}
    for folder in homes | {str(output / move.folder) for move in before.moves}:
        with contextlib.suppress(OSError):  # what a killed run left
            os.unlink(os.path.join(folder, PART))
    gone, kept = Counter[bool](), []
    for move in _in_turn(moves, moved_first=True):  # originals of copies return first
        target = output / move.target
        if may_go(move, output, before.original(move, output)):
            take_back(move, output)
            gone[move.mode == "move"] += not move.sidecar
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

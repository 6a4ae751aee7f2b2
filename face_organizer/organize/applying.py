"""A plan, and carrying it out. Killed at any moment, the next call finishes it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from face_organizer.errors import OrganizeError
from face_organizer.files import MARKER, printable, size
from face_organizer.organize import journal as journals
from face_organizer.organize import settling
from face_organizer.organize.copying import SourceError, locked
from face_organizer.organize.following import read
from face_organizer.organize.journal import Journal
from face_organizer.organize.modes import as_dated, is_made, make, may_go
from face_organizer.organize.moves import Lookup, Move, Moves
from face_organizer.organize.undoing import in_turn, in_words, remove_empty, remove_results, take_all_back

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
        with in_words(output), locked(output / MARKER):
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
            kept = take_all_back(back, before, output).kept
            gone = settling.settled(last, self.moves, output)
            remove_empty({(output / move.target).parent for move in stale}, output)
            moves = Moves(itertools.chain(self.moves, gone)) if gone else self.moves
            planned = Journal(moves, results, persons, library)
            journals.write(planned, output)
            on_places(self._places())
            remove_results(set(before.results) - set(results), output)
            for move in in_turn(self.moves, moved_first=False):  # copies need what is moved away
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


def _check_room(needed: int, stale: Sequence[Move], before: Journal, output: Path) -> None:
    free = shutil.disk_usage(output).free
    if needed > free:
        copies = (m for m in stale if m.mode == "copy")
        free += sum(m.bytes for m in copies if may_go(m, output, before.original(m, output)))
    if needed > free:
        sizes = f"{size(needed)} to copy and {size(free)} free"
        raise OrganizeError(f"{printable(output)}: {sizes}; nothing was copied")

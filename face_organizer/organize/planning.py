"""Which picture goes where: names that never meet, and what cannot go."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any

from face_organizer.errors import OrganizeError, UsageError
from face_organizer.files import is_inside, printable, reason
from face_organizer.organize.applying import Missing, Plan, View
from face_organizer.organize.copying import PART, is_same, same_bytes
from face_organizer.organize.following import read
from face_organizer.organize.journal import Journal
from face_organizer.organize.modes import is_left, is_made, may_go
from face_organizer.organize.moves import MODES, Lookup, Move, Moves, is_folder
from face_organizer.organize.sidecars import Sidecars

_LONGEST_NAME = 255  # bytes of a file name on the usual file systems


def plan(
    result: Any | Iterable[tuple[str, str]], folder: str | Path, *, mode: str = "copy", **options: Any
) -> Plan:
    """How `result` becomes folders in `folder`: nothing is written before `.apply()` of what is returned.

    `result` is what `cluster`, `search` or `gender` returns (`options` are those of its `view`), a `View`, or
    pairs of a picture's path and the folder that it goes into: a name below `folder`, such as `Anna/review`,
    or empty for `folder` itself. `mode` is one of `MODES`; a picture that is to be moved into several folders
    is moved into the first and copied into the others.

    Of pictures with one name, the first by path keeps it and the next get `_1`, `_2` …; names that differ
    only in case or in the way an accent is written count as one, since some file systems hold them for one.
    Files that stand there already, and that no plan made, keep their names. Raises `UsageError` for
    pictures that lie in `folder` themselves.
    """
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}; there are {', '.join(MODES)}")
    if hasattr(result, "view"):
        result = result.view(**options)
    elif options:
        raise TypeError(f"pairs of path and folder take no options: {', '.join(options)}")
    view = result if isinstance(result, View) else View(result)
    output = Path(folder)
    journal = read(output)
    lying = journal.lying(output)
    given: dict[str, str] = {}
    places: dict[str, set[str]] = defaultdict(set)
    for source, place in view.entries:
        path = os.path.abspath(source)
        path = source if path == source else path  # which is kept already
        if (home := lying.get(path)) is not None:
            given[home] = path
        places[place].add(home or path)
    _check_places(places, output)
    planned = _Planned(output, mode, journal)
    for place in sorted(places):
        planned.fill(place, sorted(places.pop(place), key=os.fsencode), places)
    if mode == "move":
        planned.add_sidecars()
    return Plan(output, mode, planned.moves, planned.missing, view, given)


class _Planned:
    """A plan that is being made, folder by folder."""

    def __init__(self, output: Path, mode: str, journal: Journal) -> None:
        self.output, self.mode, self.journal = output, mode, journal
        self.moves = Moves()
        self.missing: list[Missing] = []
        self._ours = Lookup(journal.moves, lambda m: m.target, lambda m: m)
        self._moved = self._by_source(lambda m: m.mode == "move" and is_made(m, output))
        self._on_their_way: set[str] = set()
        self._standing_in: set[str] = set()

    def _by_source(self, wanted: Callable[[Move], bool]) -> Lookup[str, Move]:
        return Lookup(self.journal.moves, lambda m: m.source, lambda m: m, wanted)

    def fill(self, place: str, sources: Sequence[str], to_come: Mapping[str, set[str]]) -> None:
        """Plan the pictures of one folder, in this order; `to_come` are those of the folders after it."""
        plain = {_folded(os.path.basename(source)) for source in sources}
        taken = self._staying(place)
        used: set[str] = set()
        suffixes: dict[str, int] = defaultdict(lambda: 1)
        for source in sources:
            first = own = os.path.basename(source)
            try:
                size, time, mode = self._as_it_is(source)
            except OSError as error:
                if source not in self._standing:
                    self.missing.append(Missing(source, reason(error)))
                    continue
                if (copy := self._stand_in(source, place, to_come)) is None:
                    continue  # there are fewer copies than folders
                size, time, mode = copy.bytes, copy.mtime_ns, "copy"
                first = os.path.basename(copy.target) if copy.folder == place else own
            for name in chain([first], (_suffixed(own, n) for n in count(suffixes[_folded(own)]))):
                folded = _folded(name)
                if folded in used or (name != own and folded in plain):
                    continue
                move = Move(source, f"{place}/{name}" if place else name, size, time, mode)
                if folded not in taken or (taken[folded] == {name} and self._is_it(move)):
                    break
            used.add(folded)
            while _folded(_suffixed(own, suffixes[_folded(own)])) in used:
                suffixes[_folded(own)] += 1
            self.moves.append(move)

    def _as_it_is(self, source: str) -> tuple[int, int, str]:
        """Size, time and mode of a picture, wherever an earlier run may have moved it. Raises `OSError` for
        one that cannot go."""
        mode = "copy" if self.mode == "move" and source in self._on_their_way else self.mode
        moved = self._moved.get(source)
        size, time = (moved.bytes, moved.mtime_ns) if moved else _size_and_time(source, mode)
        if self.mode == "move":
            self._on_their_way.add(source)
        return size, time, mode

    def _stand_in(self, source: str, place: str, to_come: Mapping[str, set[str]]) -> Move | None:
        """A copy for `place` of a picture that cannot be reached: the one there, else one that no other
        folder wants."""
        free = [copy for _, copy in self._standing.all(source) if copy.target not in self._standing_in]
        here = [copy for copy in free if copy.folder == place]
        here += [copy for copy in free if source not in to_come.get(copy.folder, ())]
        self._standing_in.update(copy.target for copy in here[:1])
        return here[0] if here else None

    @cached_property
    def _standing(self) -> Lookup[str, Move]:
        """Copies of earlier runs whose original is not there."""
        return self._by_source(lambda m: is_left(m, self.output, self.journal.original(m, self.output)))

    def _staying(self, place: str) -> dict[str, set[str]]:
        """Folded names and names of all that stands in a folder and will stay."""
        staying = defaultdict[str, set[str]](set)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(self.output / place):
                if name != PART and self._stays(f"{place}/{name}" if place else name):
                    staying[_folded(name)].add(name)
        return staying

    def _stays(self, target: str) -> bool:
        """Whether something stands at `target` that no plan takes away."""
        move = self._ours.get(target)
        if move and may_go(move, self.output, self.journal.original(move, self.output)):
            return False
        return os.path.lexists(self.output / target)

    def _is_it(self, move: Move) -> bool:
        """Whether the file that stands at the target, and that no plan takes away, is the picture itself."""
        place, own = self.output / move.target, self._ours.get(move.target)
        if own and own.source == move.source and move.mode == "copy" and _fits(place, move):
            return True  # a copy whose original is gone
        if move.mode in ("hardlink", "symlink"):
            return is_made(move, self.output)
        return _is_twin(place, move) and (move.mode == "copy" or _fits(place, move))

    def add_sidecars(self) -> None:
        """Plan what goes along with moved pictures, under the name that its picture gets."""
        beside = Sidecars(move.source for move in self._moved.values() if move.sidecar)
        sources = Lookup(self.moves, lambda m: m.source, lambda m: m)
        taken = Lookup(self.moves, lambda m: _folded(m.target), lambda m: m)
        along: set[str] = set()
        for move in (self.moves[i] for i in range(len(self.moves))):
            if move.mode != "move":
                continue
            for sidecar, name in beside.of(move.source, os.path.basename(move.target)):
                target = f"{move.folder}/{name}" if move.folder else name
                old = self._moved.get(sidecar)
                if {sidecar, _folded(target)} & along or sidecar in sources or _folded(target) in taken:
                    continue
                if self._stays(target):
                    continue  # the user's own; the sidecar stays at home
                with contextlib.suppress(OSError):
                    size, time = (old.bytes, old.mtime_ns) if old else _size_and_time(sidecar, "move")
                    along |= {sidecar, _folded(target)}
                    self.moves.append(Move(sidecar, target, size, time, "move", sidecar=True))


def _check_places(places: Mapping[str, set[str]], output: Path) -> None:
    for folder in places:
        if not is_folder(folder):
            raise OrganizeError(f"{printable(folder)!r} cannot be the name of a folder")
    for parent in {os.path.dirname(source) for sources in places.values() for source in sources}:
        if is_inside(parent, output):
            words = "pictures of the table lie in the output folder, and no plan moved them there"
            mend = "embed them again where they lie now, or give another --output"
            raise UsageError(f"{printable(parent)}: {words}", mend)


def _size_and_time(source: str, mode: str) -> tuple[int, int]:
    """Of a picture. Raises `OSError` for one that cannot go."""
    status = os.stat(source)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if not os.access(source, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if mode == "move":
        if os.path.islink(source):
            raise OSError(errno.EINVAL, "a symbolic link, which is not moved; use --mode copy")
        if not os.access(os.path.dirname(source), os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "its folder is read-only; use --mode copy")
    return status.st_size, status.st_mtime_ns


def _fits(place: Path, move: Move) -> bool:
    return is_same(place, move.bytes, move.mtime_ns)


def _is_twin(place: Path, move: Move) -> bool:
    """Whether the regular file at `place` is one of its own that holds the bytes of the source."""
    try:
        status = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == move.bytes and same_bytes(move.source, place)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _suffixed(name: str, number: int) -> str:
    stem, ending = os.path.splitext(name)
    suffix = f"_{number}{ending}"
    while stem and len(os.fsencode(stem + suffix)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + suffix

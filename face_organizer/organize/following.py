"""What became of the pictures of a plan: the disk compared with the journal, to follow the user's hand.

A picture is found again in its own folder under its own name; else under its name in another folder (folders
renamed, swapped, merged; pictures dragged); else anywhere in the output by its bytes.
"""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from face_organizer.files import MARKER
from face_organizer.organize.copying import PART, same_bytes
from face_organizer.organize.journal import GONE, Journal, read_plan
from face_organizer.organize.moves import Lookup, Move, Moves

_NEAR = 2_000_000_000  # FAT keeps times to two seconds


class _File(NamedTuple):
    size: int
    mtime_ns: int
    link: str | None


@dataclass(eq=False)
class Places(Sequence[str | None]):
    """The path below the output of each of n moves; None for one that is gone."""

    moves: Sequence[Move]
    is_own: bytearray = field(init=False)
    """(n): whether each is at its target."""
    elsewhere: dict[int, str] = field(default_factory=dict)
    """Number and path of those that are elsewhere."""

    def __post_init__(self) -> None:
        self.is_own = bytearray(len(self.moves))

    def __len__(self) -> int:
        return len(self.is_own)

    def __getitem__(self, at: Any) -> Any:
        return self.moves[at].target if self.is_own[at] else self.elsewhere.get(at)

    def __setitem__(self, at: int, place: str) -> None:
        self.elsewhere[at] = place


@dataclass(frozen=True, slots=True)
class Changes:
    """Where the pictures of a plan lie now, and what else is there.

    `homes` tells for each folder of the plan, by its first name below the output, which folder holds most of
    its pictures today; None where none is left. `places` is in the order of the moves: the path below the
    output, None for a picture that is gone. `copies` are files that hold the same bytes as one of the moves,
    which is in its place too: (number of the move, path). `strange` are all other files in the folders.
    """

    homes: Mapping[str, str | None]
    places: Places
    copies: Sequence[tuple[int, str]]
    strange: Sequence[str]


def changes(moves: Sequence[Move], output: Path) -> Changes:
    """Compare the plan `moves` with what lies in `output`. A file whose name, size and time tell enough is
    not read."""
    places, left, kept = Places(moves), dict[str, _File](), Counter[str]()
    planned = Counter(_top(move.target) for move in moves)
    own = Lookup(moves, lambda m: m.target, lambda m: m)
    for path, file in _files(output):
        found = own.find(path)
        if found is not None and _fits(found[1], file):
            places.is_own[found[0]] = True
            kept[_top(path)] += 1
        elif "/" in path:
            left[path] = file
    lost = [i for i, is_own in enumerate(places.is_own) if not is_own]
    homes: dict[str, str | None] = {folder: folder for folder in planned}
    copies: list[tuple[int, str]] = []
    if lost:
        by_rest = _by_rest(moves, lost, left)
        counts = {folder: Counter({folder: kept[folder]}) for folder in planned}
        for i, paths in by_rest.items():
            counts[_top(moves[i].target)].update({_top(path) for path in paths})
        _by_name(moves, by_rest, _homes(counts, planned, output), places, left)
    if left:
        copies = _by_bytes(moves, places, left, output)
    if lost:
        counts = {folder: Counter() for folder in planned}
        for move, place in zip(moves, places, strict=True):
            counts[_top(move.target)].update([_top(place)] if place else ())
        homes = _homes(counts, planned, output)
        _changed(moves, homes, places, left)
    return Changes(homes, places, copies, sorted(left))


def read(output: Path) -> Journal:
    """The journal that lies in `output`, empty where there is none, with each picture where it lies today.

    Raises `OrganizeError` for a damaged one.
    """
    journal = read_plan(output)
    if not journal.moves:
        return journal
    found = changes(journal.moves, output)
    if not found.places.elsewhere and all(home in (folder, None) for folder, home in found.homes.items()):
        return journal
    return replace(journal, moves=Moves(_today(journal.moves, found)), written=journal.moves)


def _today(moves: Sequence[Move], found: Changes) -> Iterator[Move]:
    for move, place in zip(moves, found.places, strict=True):
        folder, slash, rest = move.target.partition("/")
        home = found.homes[folder] if slash else None
        target = place or f"{home or folder}{slash}{rest}"
        yield move if target == move.target else replace(move, target=target)


def renamed(output: Path) -> dict[str, str]:
    """Folders of the plan in `output` that the user has renamed: the planned name and today's."""
    homes = changes(read_plan(output).moves, output).homes
    return {folder: home for folder, home in homes.items() if home is not None and home != folder}


def moved(output: Path) -> dict[str, str]:
    """Where the pictures lay that the plan in `output` has moved away, and where they lie now."""
    homes = {s: os.path.join(os.path.abspath(output), target) for s, target in read(output).homes.items()}
    return {s: t for s, t in homes.items() if not os.path.lexists(s) and os.path.lexists(t)}


def _top(path: str) -> str:
    return path.partition("/")[0] if "/" in path else ""


def _files(output: Path) -> Iterator[tuple[str, _File]]:
    """All files below `output`, by their path there."""
    pending = [(os.fspath(output), "")]
    while pending:
        folder, below = pending.pop()
        if below == f"{MARKER}/":
            continue
        for entry in _scan(folder):
            if _is_folder(entry):
                pending.append((entry.path, f"{below}{entry.name}/"))
            elif entry.name != PART:
                link = os.readlink(entry.path) if entry.is_symlink() else None
                status = entry.stat(follow_symlinks=False)
                if link is not None or stat.S_ISREG(status.st_mode):
                    yield f"{below}{entry.name}", _File(status.st_size, status.st_mtime_ns, link)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _fits(move: Move, file: _File) -> bool:
    """Whether the file is what the move made, by size and time, or by where a link leads."""
    if move.mode == "symlink" or file.link is not None:
        return file.link == move.source
    return file.size == move.bytes and abs(file.mtime_ns - move.mtime_ns) < _NEAR


def _by_rest(moves: Sequence[Move], lost: Sequence[int], left: Mapping[str, _File]) -> dict[int, list[str]]:
    """For each lost picture the files of its name, in other folders, that fit."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in left:
        files[path.partition("/")[2]].append(path)
    found: dict[int, list[str]] = {}
    for i in lost:
        named = files.get(moves[i].target.partition("/")[2], ())
        fitting = [p for p in named if _fits(moves[i], left[p])]
        if not fitting and named and not os.path.lexists(moves[i].source):
            # A hard link whose other name was touched and moved: name and size are all that is left.
            fitting = [p for p in named if left[p].link is None and left[p].size == moves[i].bytes]
        if fitting and _top(moves[i].target):
            found[i] = fitting
    return found


def _homes(
    counts: Mapping[str, Counter[str]], planned: Mapping[str, int], output: Path
) -> dict[str, str | None]:
    """Where each folder of the plan lies today: where more than half of its pictures do, of which `counts`
    tells how many lie in which folder. One that still holds some of its own has not gone into another that
    lives on."""
    best: dict[str, str | None] = {}
    for folder, found in counts.items():
        most_in, most = max(
            ((top, n) for top, n in found.items() if top != GONE),
            key=lambda one: (one[1], one[0] == folder, one[0]),
            default=("", 0),
        )
        best[folder] = most_in if most and 2 * most > planned[folder] else None
    moved_in = {home for folder, home in best.items() if home not in (None, folder)}
    for folder, home in best.items():
        lives_on = home is not None and best.get(home) == home
        if home is None or (home != folder and counts[folder][folder] and lives_on):
            stands = (output / folder).is_dir() and folder not in moved_in
            best[folder] = folder if counts[folder][folder] or stands else None
    return best


def _by_name(
    moves: Sequence[Move],
    by_rest: Mapping[int, Sequence[str]],
    homes: Mapping[str, str | None],
    places: Places,
    left: dict[str, _File],
) -> None:
    for i, paths in by_rest.items():
        home = homes[_top(moves[i].target)]
        free = sorted((path for path in paths if path in left), key=lambda path: (_top(path) != home, path))
        if free:
            places[i] = free[0]
            del left[free[0]]


def _changed(
    moves: Sequence[Move], homes: Mapping[str, str | None], places: Places, left: dict[str, _File]
) -> None:
    """A file that was edited is still where it was."""
    for i, move in enumerate(moves):
        if places[i] is None and (home := homes[_top(move.target)]) is not None:
            place = f"{home}/{move.target.partition('/')[2]}" if "/" in move.target else move.target
            if place in left:
                places[i] = place
                del left[place]


def _by_bytes(
    moves: Sequence[Move], places: Places, left: dict[str, _File], output: Path
) -> list[tuple[int, str]]:
    """Give a file of another name or time to the picture whose bytes it holds: a lost one, else as a copy."""
    sizes = {file.size for file in left.values() if file.link is None}
    by_size: dict[int, list[int]] = defaultdict(list)
    for i, move in enumerate(moves):
        if move.bytes in sizes and move.mode != "symlink":
            by_size[move.bytes].append(i)
    copies = []
    for path in sorted(left):
        file = left[path]
        for i in sorted(by_size.get(file.size, ()), key=lambda i: places[i] is not None):
            if file.link is None and _holds(moves[i], places[i], output, path, file):
                if places[i] is None:
                    places[i] = path
                else:
                    copies.append((i, path))
                del left[path]
                break
    return copies


def _holds(move: Move, place: str | None, output: Path, path: str, file: _File) -> bool:
    original = move.source if place is None else str(output / place)
    if same_bytes(original, output / path):
        return True
    return place is None and not os.path.lexists(original) and file.mtime_ns == move.mtime_ns

"""Which picture goes where: names that never meet, and what cannot go."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from face_organizer.errors import OrganizeError, UsageError
from face_organizer.files import is_inside, printable, reason
from face_organizer.organize.applying import Missing, Plan, View
from face_organizer.organize.copying import PART
from face_organizer.organize.following import read
from face_organizer.organize.journal import MODES, Journal, Move, is_folder
from face_organizer.organize.modes import is_made, may_go

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
    entries = {(os.path.abspath(source), place) for source, place in view.entries}
    wanted = sorted(entries, key=lambda e: (e[1], os.fsencode(e[0])))
    _check_places(wanted, output)
    journal = read(output)
    moved = {m.source: m for m in journal.moves if m.mode == "move" and is_made(m, output)}
    used = _foreign_names({place for _, place in wanted}, output, journal)
    plain = {(place, _folded(os.path.basename(source))) for source, place in wanted}
    next_suffix: dict[tuple[str, str], int] = defaultdict(lambda: 1)
    moves: list[Move] = []
    missing: list[Missing] = []
    first: set[str] = set()
    for source, place in wanted:
        how = "copy" if mode == "move" and source in first else mode
        try:
            size, time = _size_and_time(source, how, moved)
        except OSError as error:
            missing.append(Missing(source, reason(error)))
            continue
        first.add(source)
        own = os.path.basename(source)
        name, key = own, (place, _folded(own))
        while (place, _folded(name)) in used or (name != own and (place, _folded(name)) in plain):
            name = _suffixed(own, next_suffix[key])
            next_suffix[key] += 1
        used.add((place, _folded(name)))
        moves.append(Move(source, f"{place}/{name}" if place else name, size, time, how))
    return Plan(output, mode, moves, missing, view)


def _check_places(wanted: Sequence[tuple[str, str]], output: Path) -> None:
    for folder in {f for _, f in wanted}:
        if not is_folder(folder):
            raise OrganizeError(f"{printable(folder)!r} cannot be the name of a folder")
    for parent in {os.path.dirname(s) for s, _ in wanted}:
        if is_inside(parent, output):
            words = "pictures of the table lie in the output folder; give another --output"
            raise UsageError(f"{printable(parent)}: {words}")


def _size_and_time(source: str, mode: str, moved: dict[str, Move]) -> tuple[int, int]:
    """Of the picture, wherever an earlier run may have moved it. Raises `OSError` for one that cannot go."""
    if source in moved:
        return moved[source].bytes, moved[source].mtime_ns
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


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _foreign_names(folders: Iterable[str], output: Path, journal: Journal) -> set[tuple[str, str]]:
    """(folder, folded name) of all that stands in `folders` and will stay, since it is none of ours."""
    ours = {move.target: move for move in journal.moves}
    foreign = set()
    for folder in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in os.listdir(output / folder):
                move = ours.get(f"{folder}/{name}" if folder else name)
                if name != PART and not (move and may_go(move, output, journal.original(move, output))):
                    foreign.add((folder, _folded(name)))
    return foreign


def _suffixed(name: str, number: int) -> str:
    stem, ending = os.path.splitext(name)
    suffix = f"_{number}{ending}"
    while stem and len(os.fsencode(stem + suffix)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + suffix

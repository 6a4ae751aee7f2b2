"""What becomes of files of earlier plans that the new one does not want where they are.

A moved picture goes straight to its new folder. A copy whose original is gone is never removed, since it may
be the last one: it stands in for its picture where that is wanted, and else goes to `gone/`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from face_organizer.organize.copying import give_name, is_same, same_bytes
from face_organizer.organize.journal import GONE, Journal
from face_organizer.organize.modes import is_left
from face_organizer.organize.moves import Lookup, Move, Moves

_UNMENTIONED = frozenset({"thumbs.db", "desktop.ini"})


def moved_on(
    stale: Sequence[Move], wanted: Sequence[Move], before: Journal, output: Path
) -> tuple[Moves, Moves]:
    """Give moved pictures that are wanted elsewhere their new place, where it is free. Of the rest, those to
    take back, and copies of which each may be the last one."""
    back, last = Moves(), Moves()
    going = Lookup(wanted, lambda m: m.source, lambda m: m.target, lambda m: m.mode == "move")
    for move in stale:
        to = going.get(move.source) if move.mode == "move" else None
        is_free = to is not None and not (os.path.lexists(move.source) or os.path.lexists(output / to))
        if to is not None and is_free and is_same(output / move.target, move.bytes, move.mtime_ns):
            give_name(output / move.target, output / to)
        elif is_left(move, output, before.original(move, output)):
            last.append(move)
        else:
            back.append(move)
    return back, last


def settled(last: Sequence[Move], wanted: Sequence[Move], output: Path) -> list[Move]:
    """Find a place for copies whose original is gone; those that now lie in `gone/`."""
    if not last:
        return []
    by_source: dict[str, list[Move]] = defaultdict(list)
    by_size: dict[int, list[Move]] = defaultdict(list)
    sources, sizes = {move.source for move in last}, {move.bytes for move in last}
    for move in wanted:
        if move.source in sources and not os.path.lexists(output / move.target):
            by_source[move.source].append(move)
        if move.bytes in sizes:
            by_size[move.bytes].append(move)
    targets = {move.target for move in wanted}
    gone: list[Move] = []
    for move in last:
        place = output / move.target
        if move.target in targets:
            continue  # the very file stands in for the picture, or was adopted
        if stands := by_source[move.source]:
            give_name(place, output / stands.pop().target)
        elif any(same_bytes(_now(twin, output), place) for twin in by_size[move.bytes]):
            place.unlink()
        else:
            gone.append(_to_gone(move, output))
    return gone


def _now(move: Move, output: Path) -> str:
    return move.source if os.path.lexists(move.source) else str(output / move.target)


def _to_gone(move: Move, output: Path) -> Move:
    if move.folder == GONE:
        return move
    stem, ending = os.path.splitext(os.path.basename(move.target))
    names = (f"{stem}{f'_{n}' if n else ''}{ending}" for n in itertools.count())
    name = next(name for name in names if not os.path.lexists(output / GONE / name))
    give_name(output / move.target, output / GONE / name)
    time = os.lstat(output / GONE / name).st_mtime_ns
    return replace(move, target=f"{GONE}/{name}", mode="copy", mtime_ns=time)


def foreign(plans: Sequence[Sequence[Move]], output: Path) -> list[str]:
    """Files in the folders of some plans that none of them placed, but for what file managers hide there."""
    ours = [Lookup(plan, lambda m: m.target, lambda m: m) for plan in plans]
    found = []
    for folder in sorted({move.folder for plan in plans for move in plan} - {"", GONE}):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with os.scandir(output / folder) as entries:
                files = [e.name for e in entries if not e.is_dir(follow_symlinks=False)]
            for name in sorted(files):
                hidden = name.startswith(".") or name.casefold() in _UNMENTIONED
                if not hidden and not any(f"{folder}/{name}" in own for own in ours):
                    found.append(str(output / folder / name))
    return found

"""One picture on its way into a folder, and many of them in little memory."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, TypeVar

import numpy as np

from face_organizer.files import MARKER

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


MODES = ("copy", "hardlink", "symlink", "move")


@dataclass(frozen=True, slots=True)
class Move:
    """One picture on its way: `source`, absolute; `target`, FOLDER/…/NAME below the output; size in bytes,
    modification time, and one of `MODES`. A `sidecar` is no picture, and goes along with one."""

    source: str
    target: str
    bytes: int
    mtime_ns: int
    mode: str = "copy"
    sidecar: bool = False

    def __post_init__(self) -> None:
        folder, _, name = self.target.rpartition("/")
        if not is_folder(folder) or name in ("", ".", "..") or not os.path.isabs(self.source):
            raise ValueError(f"not a way into the output folder: {self!r}")
        if type(self.bytes) is not int or type(self.mtime_ns) is not int or self.mode not in MODES:
            raise TypeError(f"no size, time or mode: {self!r}")

    @property
    def folder(self) -> str:
        """The folder of the target, below the output."""
        return self.target.rpartition("/")[0]


def is_folder(name: str) -> bool:
    """Whether `name` (`person_A`, `Anna/review`; empty for the output itself) stays inside the output."""
    parts = name.split("/") if name else []
    return not {"", ".", "..", MARKER}.intersection(parts)


class Moves(Sequence[Move]):
    """A list of moves: 40 bytes each and their texts, out of which one is made when it is looked at."""

    __slots__ = ("_ends", "_kinds", "_numbers", "_texts")

    def __init__(self, moves: Iterable[Move] = ()) -> None:
        self._texts = bytearray()
        self._ends = array("q", [0])  # of source and target, in turn
        self._numbers = array("q")  # bytes and time, in turn
        self._kinds = bytearray()
        for move in moves:
            self.append(move)

    def append(self, move: Move) -> None:
        """Add one at the end. Raises `OverflowError` for a size or time of more than 64 bits."""
        self._numbers.extend((move.bytes, move.mtime_ns))
        for text in (move.source, move.target):
            self._texts += text.encode("utf-8", "surrogatepass")
            self._ends.append(len(self._texts))
        self._kinds.append(2 * MODES.index(move.mode) + move.sidecar)

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[row] for row in range(len(self))[at]]
        row = range(len(self))[at]
        start, middle, end = self._ends[2 * row : 2 * row + 3]
        texts = str(self._texts[start:end], "utf-8", "surrogatepass")
        if not texts.isascii():
            middle = start + len(str(self._texts[start:middle], "utf-8", "surrogatepass"))
        source, target = texts[: middle - start], texts[middle - start :]
        mode, sidecar = divmod(self._kinds[row], 2)
        move = object.__new__(Move)  # which was checked when it was added
        values = (source, target, *self._numbers[2 * row : 2 * row + 2], MODES[mode], bool(sidecar))
        for name, value in zip(Move.__slots__, values, strict=True):
            object.__setattr__(move, name, value)
        return move


class Lookup(Mapping[K, V], Generic[K, V]):
    """A mapping made of moves, 12 bytes each: what `key` and `value` make of one; of several with one key the
    last counts, and those that `wanted` does not want not at all."""

    def __init__(
        self,
        moves: Sequence[Move],
        key: Callable[[Move], K],
        value: Callable[[Move], V],
        wanted: Callable[[Move], bool] = lambda move: True,
    ) -> None:
        self._moves, self._key, self._value = moves, key, value
        hashes, rows = array("q"), array("I")
        for row, move in enumerate(moves):
            if wanted(move):
                hashes.append(hash(key(move)))
                rows.append(row)
        order = np.argsort(hashes, kind="stable")
        self._hashes = np.asarray(hashes, np.int64)[order].data
        self._rows = np.asarray(rows, np.uint32)[order].data

    def all(self, key: K) -> Iterator[tuple[int, Move]]:
        """The moves of that key, in order, and which of the moves each is."""
        value = hash(key)
        for at in range(bisect_left(self._hashes, value), len(self._hashes)):
            if self._hashes[at] != value:
                break
            move = self._moves[self._rows[at]]
            if self._key(move) == key:
                yield self._rows[at], move

    def find(self, key: K) -> tuple[int, Move] | None:
        """The last move of that key, and which of the moves it is."""
        return max(self.all(key), key=itemgetter(0), default=None)

    def __getitem__(self, key: K) -> V:
        found = self.find(key)
        if found is None:
            raise KeyError(key)
        return self._value(found[1])

    def __contains__(self, key: object) -> bool:
        return self.find(key) is not None  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[K]:
        for row in sorted(self._rows):
            yield self._key(self._moves[row])

    def __len__(self) -> int:
        return len(self._rows)

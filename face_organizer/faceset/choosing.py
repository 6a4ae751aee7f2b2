"""Which faces: spread over what a swap needs, the best of each kind, no two alike.

A set is worth the sum, over the cells of some grids (pose, mouth and light together; eyes; source …), of the
square root of the quality that it has there. So a first face in a cell counts most, a second less, and a
sharp one more than a soft one: a feature-based submodular function (Wei, Iyer, Bilmes 2014, "Fast
multi-stage submodular maximization"). Faces are taken one by one, always the one that adds most, which for
such functions is within 1 - 1/e of the best set (Nemhauser, Wolsey, Fisher 1978); what a face would add only
falls as the set grows, so that few need a second look (Minoux 1978).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Float32, Int64


class Grid(NamedTuple):
    """A way to divide n faces into cells: the number (n,) of each face's, and what a cell counts."""

    cells: Int64
    weight: float


_ALIKE, _MOST = 0.995, 6
"""Correlation from which whole pictures, 24 pixels a side, are compared; and the largest difference of a
pixel, of 255 where 48 is a deviation, up to which they are one. Seen: recompressed to quality 30 or halved up
to 3; the next frame of a film 3 to 20, the third after it, of a head that stands still and talks, 3 to 30."""
_SAME_FACE, _SAME_VECTOR = 0.8, 0.85
"""Correlation of the tiny pictures of such faces, and cosine of their embeddings: on a photo, or before a
still background, the whole picture tells little of the face."""


@dataclass(slots=True)
class Copies:
    """What tells that two of n faces are one picture: seen in the same `sequence` (n,) at a `moment` (n,)
    that is within `near` (n,) (NaN: not known); or the `whole` pictures (n, w, w) alike, the `tiny` ones
    (n, p, p), and the `embeddings` (m, d), of unit length, of their `rows` (n,)."""

    sequence: Int64
    moment: NDArray[np.float64]
    near: NDArray[np.float64]
    tiny: NDArray[np.uint8]
    whole: NDArray[np.uint8]
    embeddings: Float32
    rows: Int64
    _taken: Float32 = field(init=False)
    """The whole pictures of the taken faces, of unit length."""
    _known: list[int] = field(init=False, default_factory=list)
    """Which ones these are."""

    def __post_init__(self) -> None:
        self._taken = np.empty((16, self.whole[0].size if len(self.whole) else 0), np.float32)

    def among(self, face: int, taken: Sequence[int]) -> bool:
        """Whether `face` is a copy of one of `taken`; cheap where that only grows from call to call."""
        known = self._known
        if len(known) > len(taken) or (known and known[-1] != taken[len(known) - 1]):
            known.clear()
        for other in taken[len(known) :]:
            if len(known) == len(self._taken):
                self._taken = np.concatenate([self._taken, np.empty_like(self._taken)])
            self._taken[len(known)] = _unit(self.whole[other])
            known.append(other)
        if not len(taken):
            return False
        others = np.asarray(taken)
        with np.errstate(invalid="ignore"):
            apart = np.abs(self.moment[others] - self.moment[face])
            if ((self.sequence[others] == self.sequence[face]) & (apart <= self.near[face])).any():
                return True
        likely = others[self._taken[: len(known)] @ _unit(self.whole[face]) >= _ALIKE]
        return any(self._is_same(face, other) for other in likely.tolist())

    def _is_same(self, face: int, other: int) -> bool:
        if np.abs(self.whole[face].astype(np.int16) - self.whole[other]).max() > _MOST:
            return False
        one, two = (np.asarray(self.embeddings[self.rows[i]], np.float32) for i in (face, other))
        if float(one @ two) < _SAME_VECTOR:
            return False
        return float(_unit(self.tiny[face]) @ _unit(self.tiny[other])) >= _SAME_FACE


def _unit(picture: NDArray[np.uint8]) -> Float32:
    flat = picture.ravel().astype(np.float32) - 128
    return np.asarray(flat / max(float(np.linalg.norm(flat)), 1.0), np.float32)


class Choice(NamedTuple):
    """The chosen faces in the order they were taken, what each added to the worth of the set, and how many
    copies of chosen ones were met on the way."""

    rows: list[int]
    gains: list[float]
    copies: int


def choose(
    quality: Float32,
    grids: Sequence[Grid],
    size: int,
    is_copy: Callable[[int, Sequence[int]], bool],
    filled: Sequence[dict[int, float]] = (),
) -> Choice:
    """At most `size` of n faces of `quality` (n,), above 0 to 1. Of equal ones the first is taken, so that
    the same call gives the same set. `filled` holds the quality that is in the cells of each grid already,
    and is added to."""
    columns = [grid.cells.tolist() for grid in grids]
    filled = filled or [{} for _ in grids]
    values = quality.astype(np.float64).tolist()

    def added(face: int) -> float:
        total, value = 0.0, values[face]
        for cells, has, grid in zip(columns, filled, grids, strict=True):
            there = has.get(cells[face], 0.0)
            total += grid.weight * (math.sqrt(there + value) - math.sqrt(there))
        return total

    # Of an empty set every cell is empty: what each face adds to it is at most this.
    whole = sum(grid.weight for grid in grids)
    heap = [(-whole * math.sqrt(value), face, -1) for face, value in enumerate(values)]
    heapq.heapify(heap)
    taken, gains, copies = list[int](), list[float](), 0
    while heap and len(taken) < size:
        worth_then, face, seen = heapq.heappop(heap)
        if seen != len(taken):
            heapq.heappush(heap, (-added(face), face, len(taken)))
            continue
        if is_copy(face, taken):
            copies += 1
            continue
        for cells, has in zip(columns, filled, strict=True):
            has[cells[face]] = has.get(cells[face], 0.0) + values[face]
        taken.append(face)
        gains.append(-worth_then)
    return Choice(taken, gains, copies)

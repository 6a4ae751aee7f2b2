"""Two persons' sets fitted to each other: chosen in pairs, a face of the one and one of the other that look
the same way, in the same light, with the same expression. So both sets show the same, cell for cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster import faiss_device
from face_organizer.faceset import spread
from face_organizer.faceset.choosing import Choice, Copies, Grid, choose
from face_organizer.types import Float32, Int64

_PARTS, _MOST_PAIRS = 12, 1_000_000
"""A face may go with the nearest one of each of so many parts of the other person's faces, fewer where pairs
get too many. What was seen within seconds lies in one part: the nearest of all would be one moment's."""
_MOMENTS = 10  # times as long as what counts as one moment
_APART = 0.5  # bins: pairs that far apart count e times less


class Side(NamedTuple):
    """The n faces of one person: `places` (n, a) on the axes, in bins; `quality` (n,); what tells copies; and
    the number (n,) of each face's source."""

    places: Float32
    quality: Float32
    copies: Copies
    source: Int64


class Pairs(NamedTuple):
    """The choice, of pairs; the faces of both persons in it; and how far apart each pair is, in bins."""

    choice: Choice
    faces: tuple[list[int], list[int]]
    apart: list[float]


def pairs(one: Side, two: Side, size: int) -> Pairs:
    """At most `size` pairs, each face in one alone, spread as the set of one person is (`spread.grids`). What
    is left when near ones are used up is paired anew."""
    sides, made = (one, two), Pairs(Choice([], [], 0), ([], []), [])
    gone = tuple(np.zeros(len(side.quality), np.bool_) for side in sides)
    filled: list[dict[int, float]] = []
    while len(made.apart) < size and not _all_gone(gone):
        before = len(made.apart)
        made = _more(sides, gone, made, size, filled)
        if len(made.apart) == before:
            break
    return made


def _all_gone(gone: Sequence[NDArray[np.bool_]]) -> bool:
    """Whether one of the persons has no face left."""
    return any(bool(one.all()) for one in gone)


def _more(
    sides: tuple[Side, Side],
    gone: Sequence[NDArray[np.bool_]],
    made: Pairs,
    size: int,
    filled: list[dict[int, float]],
) -> Pairs:
    """`made`, and pairs of faces that are not `gone` (n,), until near ones are used up."""
    one, two = sides
    first, second, apart = _near(one, two, *gone)
    worth = np.minimum(one.quality[first], two.quality[second]) * np.exp(-((apart / _APART) ** 2))
    middle = np.asarray((one.places[first] + two.places[second]) / 2, np.float32)
    divided = spread.crossed(middle)
    divided += [
        Grid(side.source[faces], spread.ADDED_WEIGHT) for side, faces in ((one, first), (two, second))
    ]
    filled += [{} for _ in divided[len(filled) :]]
    both = list(zip(first.tolist(), second.tolist(), strict=True))
    copies = 0

    def is_copy(pair: int, taken: Sequence[int]) -> bool:
        nonlocal copies
        for side, face, left, chosen in zip(sides, both[pair], gone, made.faces, strict=True):
            if left[face]:
                return True
            if side.copies.among(face, chosen):
                left[face] = True
                copies += 1
                return True
        for face, left, chosen in zip(both[pair], gone, made.faces, strict=True):
            left[face] = True
            chosen.append(face)
        return False

    quality = np.clip(worth, 1e-6, 1).astype(np.float32)
    chosen = choose(quality, divided, size - len(made.apart), is_copy, filled)
    return Pairs(
        Choice([], [*made.choice.gains, *chosen.gains], made.choice.copies + copies),
        made.faces,
        [*made.apart, *apart[chosen.rows].tolist()],
    )


def _near(
    one: Side, two: Side, one_gone: NDArray[np.bool_], two_gone: NDArray[np.bool_]
) -> tuple[Int64, Int64, Float32]:
    """Each face of either person that is not gone with near ones of the other: numbers (p,) of both; how far
    apart."""
    found, parts = [], max(1, min(_PARTS, _MOST_PAIRS // (len(one.quality) + len(two.quality))))
    for a, b, a_gone, b_gone, turned in (
        (one, two, one_gone, two_gone, False),
        (two, one, two_gone, one_gone, True),
    ):
        asking = np.flatnonzero(~a_gone)
        when = np.nan_to_num(b.copies.moment // (_MOMENTS * b.copies.near), nan=-1)
        # Without a moment each face stands alone.
        alone = np.where(np.isnan(b.copies.moment), np.arange(len(when)), -1)
        keys = np.stack([b.copies.sequence, when, alone], axis=1)
        part = np.unique(keys, axis=0, return_inverse=True)[1].ravel() % parts
        for number in range(parts):
            own = np.flatnonzero((part == number) & ~b_gone)
            if len(own):
                index = faiss_device.faiss().IndexFlatL2(b.places.shape[1])
                index.add(np.ascontiguousarray(b.places[own], np.float32))
                _, near = index.search(np.ascontiguousarray(a.places[asking], np.float32), 1)
                both = asking, own[near[:, 0]]
                found.append(np.stack(both[::-1] if turned else both, axis=1))
    first, second = np.unique(np.concatenate(found), axis=0).T.astype(np.int64)
    return first, second, np.linalg.norm(one.places[first] - two.places[second], axis=1).astype(np.float32)

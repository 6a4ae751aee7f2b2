"""Two persons' sets fitted to each other: chosen in pairs, a face of the one and one of the other that look
the same way, in the same light, with the same expression. So both sets show the same, cell for cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from face_organizer.cluster import faiss_device
from face_organizer.faceset import spread
from face_organizer.faceset.choosing import Choice, Copies, Grid, choose
from face_organizer.types import Float32, Int64

_NEAREST = 4  # faces of the other person that each face may go with
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
    """At most `size` pairs, each face in one alone, spread as the set of one person is (`spread.grids`)."""
    first, second, apart = _near(one.places, two.places)
    worth = np.minimum(one.quality[first], two.quality[second]) * np.exp(-((apart / _APART) ** 2))
    middle = np.asarray((one.places[first] + two.places[second]) / 2, np.float32)
    divided = spread.crossed(middle)
    divided += [
        Grid(side.source[faces], spread.ADDED_WEIGHT) for side, faces in ((one, first), (two, second))
    ]
    used: tuple[set[int], set[int]] = set(), set()

    def is_copy(pair: int, taken: Sequence[int]) -> bool:
        a, b = int(first[pair]), int(second[pair])
        if a in used[0] or b in used[1]:
            return True
        if one.copies.among(a, first[taken].tolist()) or two.copies.among(b, second[taken].tolist()):
            return True
        used[0].add(a)
        used[1].add(b)
        return False

    chosen = choose(np.clip(worth, 1e-6, 1).astype(np.float32), divided, size, is_copy)
    rows = np.array(chosen.rows, np.int64)
    both = first[rows].tolist(), second[rows].tolist()
    return Pairs(chosen, both, apart[rows].tolist())


def _near(one: Float32, two: Float32) -> tuple[Int64, Int64, Float32]:
    """Each face of either person with the nearest ones of the other: numbers (p,) of both; how far apart."""
    found = []
    for a, b in ((one, two), (two, one)):
        index = faiss_device.faiss().IndexFlatL2(b.shape[1])
        index.add(np.ascontiguousarray(b, np.float32))
        _, near = index.search(np.ascontiguousarray(a, np.float32), min(_NEAREST, len(b)))
        found.append(np.stack([np.repeat(np.arange(len(a)), near.shape[1]), near.ravel()], axis=1))
    both = np.unique(np.concatenate([found[0], found[1][:, ::-1]]), axis=0)
    first, second = both.T.astype(np.int64)
    return first, second, np.linalg.norm(one[first] - two[second], axis=1).astype(np.float32)

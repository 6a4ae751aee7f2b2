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

_NEAREST, _MOST_PAIRS = 12, 1_000_000
"""Faces of the other person that each face may go with: fewer where there are so many that pairs get too
many."""
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
    pairs_of, spent = list(zip(first.tolist(), second.tolist(), strict=True)), (set[int](), set[int]())
    chosen_of: tuple[list[int], list[int]] = [], []
    copies = 0

    def is_copy(pair: int, taken: Sequence[int]) -> bool:
        nonlocal copies
        for side, face, gone, chosen in zip((one, two), pairs_of[pair], spent, chosen_of, strict=True):
            if face in gone:
                return True
            if side.copies.among(face, chosen):
                gone.add(face)
                copies += 1
                return True
        for face, gone, chosen in zip(pairs_of[pair], spent, chosen_of, strict=True):
            gone.add(face)
            chosen.append(face)
        return False

    chosen = choose(np.clip(worth, 1e-6, 1).astype(np.float32), divided, size, is_copy)
    return Pairs(chosen._replace(copies=copies), chosen_of, apart[chosen.rows].tolist())


def _near(one: Float32, two: Float32) -> tuple[Int64, Int64, Float32]:
    """Each face of either person with the nearest ones of the other: numbers (p,) of both; how far apart."""
    found, most = [], max(1, min(_NEAREST, _MOST_PAIRS // (len(one) + len(two))))
    for a, b in ((one, two), (two, one)):
        index = faiss_device.faiss().IndexFlatL2(b.shape[1])
        index.add(np.ascontiguousarray(b, np.float32))
        _, near = index.search(np.ascontiguousarray(a, np.float32), min(most, len(b)))
        found.append(np.stack([np.repeat(np.arange(len(a)), near.shape[1]), near.ravel()], axis=1))
    both = np.unique(np.concatenate([found[0], found[1][:, ::-1]]), axis=0)
    first, second = both.T.astype(np.int64)
    return first, second, np.linalg.norm(one[first] - two[second], axis=1).astype(np.float32)

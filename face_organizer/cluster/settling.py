"""Faces go to centers and move them: trimmed K-Means that heeds what people said."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from face_organizer.cluster.constraints import Hints
from face_organizer.cluster.graph import Found, without
from face_organizer.types import Float32, Int64

_ITERATIONS = 100
_BLOCK = 8192


class Bound(NamedTuple):
    """What people said, by centers: `center` (n,) that a face belongs to, or -1, and `barred` (m, 2), rows of
    a face and a center that it stays out of, by face."""

    center: Int64
    barred: Int64

    @classmethod
    def of(cls, hints: Hints, persons: Int64, count: int) -> Bound:
        """`persons` (k,) are those of the centers, -1 for somebody of whom nothing was said."""
        at = np.full(max(int(persons.max()), int(hints.refused[:, 1].max(initial=-1))) + 2, -1, np.int64)
        at[persons] = np.arange(len(persons))
        at[-1] = -1  # of no person
        barred = np.stack([hints.refused[:, 0], at[hints.refused[:, 1]]], axis=1)
        barred = barred[barred[:, 1] >= 0]
        return cls(at[hints.persons(count)], barred[np.argsort(barred[:, 0], kind="stable")])

    def heeded(self, cosines: Float32, start: int) -> Float32:
        """`cosines` (b, k) of the faces from `start` on, infinite where something was said."""
        center = self.center[start : start + len(cosines)]
        rows = np.flatnonzero(center >= 0)
        cosines[rows] = -np.inf
        cosines[rows, center[rows]] = np.inf
        a, b = np.searchsorted(self.barred[:, 0], [start, start + len(cosines)])
        faces, centers = self.barred[a:b].T
        cosines[faces - start, centers] = -np.inf
        return cosines


def settled(embeddings: Float32, means: Float32, found: Found, bound: Bound) -> tuple[Int64, Float32]:
    """The nearest center (n,) of each face and how alike it is to that cluster, as far as `bound` lets it.

    Trimmed K-Means (Cuesta-Albertos et al. 1997), trimmed by likeness instead of by share: `means` (k, d)
    move to the mean of the faces that belong to them, until no face changes sides.
    """
    labels = np.full(len(embeddings), -1, np.int64)
    likeness = np.zeros(len(embeddings), np.float32)
    members = labels.copy()
    for _ in range(_ITERATIONS):
        # A mean vector of length r: the cosine to it times the root of r is `merging.likeness`.
        scaled = means / np.sqrt(np.linalg.norm(means, axis=1, keepdims=True))
        sums, sizes, changed = np.zeros(means.shape), np.zeros(len(means)), 0
        for at in range(0, len(embeddings), _BLOCK):
            block = without(embeddings[at : at + _BLOCK], found.shift)
            part = slice(at, at + len(block))
            cosines = bound.heeded(block @ scaled.T, at)
            best = cosines.argmax(axis=1)
            labels[part], likeness[part] = best, np.take_along_axis(cosines, best[:, None], axis=1)[:, 0]
            inside = np.where(likeness[part] >= found.threshold, best, -1)
            changed += int((inside != members[part]).sum())
            members[part] = inside
            chosen = (inside[:, None] == np.arange(len(means))).astype(np.float32)
            sums += chosen.T @ block
            sizes += chosen.sum(axis=0)
        if not changed:
            break
        moved = sums / np.maximum(sizes, 1)[:, None]
        means = np.where(sizes[:, None] > 0, moved, means).astype(np.float32)
    return labels, likeness


def one_a_photo(labels: Int64, likeness: Float32, conflicts: Int64) -> Int64:
    """Of two faces of one photo in one cluster, the less alike one leaves, unless it is said to be there."""
    both = conflicts[(labels[conflicts[:, 0]] == labels[conflicts[:, 1]]) & (labels[conflicts[:, 0]] >= 0)]
    leaving = np.where(likeness[both[:, 0]] < likeness[both[:, 1]], both[:, 0], both[:, 1])
    out = labels.copy()
    out[leaving[likeness[leaving] < np.inf]] = -1
    return out

"""What the similarities of other people look like: the crowd that a person must stand out from.

Of a good embedder, they are near normal. Center and spread are read off the very collection that is looked
at, without labels: what may be the person's own is cut off until the cut stands still (sigma clipping).
`search` and `cluster` ask it for each person; `threshold` tells the same of any two faces of a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Float32

WRONG_LINKS = 0.003
"""Strangers in the whole table that are taken for a face's person, in expectation: one in some 300 faces."""
_SAMPLE = 40_000  # faces that the crowd is read off: its spread is then known to half a percent
_CENTER, _SPREAD, _FACES = 0.05, 0.10, 25
"""What is expected before anything was seen, and how many faces it counts as. SFace's crowd lies at
0.11 ± 0.09, mobilefacenet's at 0.01 ± 0.10 (LFW)."""
_ROUNDS = 12
_LEFT, _RIGHT = 0.158655, 0.75  # quantiles: one standard deviation below the median, and 0.67 above
_NORMAL = NormalDist()
_LEAST_CHANCE = 1e-15
_COLUMNS = 256  # persons at a time


@dataclass(frozen=True, slots=True)
class Crowd:
    """A normal distribution of the cosines of other people's faces; `faces` it was read off."""

    center: float
    spread: float
    faces: int

    def threshold(self, rate: float) -> float:
        """The cosine that a share `rate` (0 to 1) of other people's faces reaches."""
        return self.center - self.spread * _NORMAL.inv_cdf(rate)

    def surplus(self, cosine: float) -> float:
        """How many spreads `cosine` lies above the center."""
        return (cosine - self.center) / self.spread

    def chance(self, cosine: float) -> float:
        """The share of other people's faces that reach `cosine`, 0 to 1."""
        return chance(self.surplus(cosine))


def chance(surplus: float) -> float:
    """The share of other people's faces that reach so many spreads above their center, 0 to 1."""
    return max(_NORMAL.cdf(-surplus), _LEAST_CHANCE)


def sample(embeddings: Float32) -> Float32:
    """At most 40,000 rows of `embeddings` (n, d), evenly from begin to end: the same on every machine."""
    if len(embeddings) <= _SAMPLE:
        return np.asarray(embeddings)
    return np.asarray(embeddings[np.linspace(0, len(embeddings) - 1, _SAMPLE).astype(np.int64)])


def crowds_of(cosines: Float32) -> list[Crowd]:
    """The crowd of each of k persons, among (n, k) `cosines` to all faces, their own among them; NaN for a
    face that is surely the person's.

    The spread is the larger one of both sides of the median, so that a heavy right side is not taken for
    matches; on the right only as far as the quartile: a brother who is on every sixth picture stays out.
    The first cut leaves most faces of the person out even where the collection is mostly theirs.
    """
    parts = [cosines[:, at : at + _COLUMNS] for at in range(0, cosines.shape[1], _COLUMNS)]
    return [crowd for part in parts for crowd in _crowds(np.sort(np.asarray(part, np.float64), axis=0))]


def _crowds(ordered: NDArray[np.float64]) -> list[Crowd]:
    center, spread = (np.full(ordered.shape[1], value) for value in (_CENTER, _SPREAD))
    kept = (ordered < center + 4 * spread).sum(axis=0)
    for _ in range(_ROUNDS):
        low, middle, high = (_quantile(ordered, kept, share) for share in (_LEFT, 0.5, _RIGHT))
        weight = kept / (kept + _FACES)
        center = weight * middle + (1 - weight) * _CENTER
        wide = np.maximum(middle - low, (high - middle) / _NORMAL.inv_cdf(_RIGHT))
        spread = weight * wide + (1 - weight) * _SPREAD
        # The cosine that less than one face of this crowd would reach.
        cut = center - spread * np.array([_NORMAL.inv_cdf(1 / max(n, 100)) for n in kept.tolist()])
        before, kept = kept, (ordered < cut).sum(axis=0)
        if np.array_equal(kept, before):
            break
    columns = zip(center.tolist(), spread.tolist(), kept.tolist(), strict=True)
    return [Crowd(middle, max(wide, 1e-3), faces) for middle, wide, faces in columns]


def _quantile(ordered: NDArray[np.float64], kept: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    """Of the first `kept` (k,) of each column, ascending; 0 of none."""
    if not len(ordered):
        return np.zeros(len(kept))
    last = np.maximum(kept - 1, 0)
    low = (share * last).astype(np.int64)
    columns = np.arange(len(kept))
    below, above = ordered[low, columns], ordered[np.minimum(low + 1, last), columns]
    return np.where(kept > 0, below + (share * last - low) * (above - below), 0)

"""What the similarities of other people look like: the crowd that a profile must stand out from.

Of a good embedder, they are near normal. Center and spread are read off the very collection that is searched,
without labels: what may be the person's own is cut off until the cut stands still (sigma clipping).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from face_organizer.types import Float32

_SAMPLE = 40_000  # faces that the crowd is read off: its spread is then known to half a percent
_CENTER, _SPREAD, _FACES = 0.05, 0.10, 25
"""What is expected before anything was seen, and how many faces it counts as. SFace's crowd lies at
0.11 ± 0.09, mobilefacenet's at 0.01 ± 0.10 (LFW)."""
_ROUNDS = 12
_LEFT, _RIGHT = 0.158655, 0.75  # quantiles: one standard deviation below the median, and 0.67 above
_NORMAL = NormalDist()
_LEAST_CHANCE = 1e-15


@dataclass(frozen=True, slots=True)
class Crowd:
    """A normal distribution of the cosines of other people's faces; `faces` it was read off."""

    center: float
    spread: float
    faces: int

    def threshold(self, rate: float) -> float:
        """The cosine that a share `rate` (0 to 1) of other people's faces reaches."""
        return self.center - self.spread * _NORMAL.inv_cdf(rate)

    def chance(self, cosine: float) -> float:
        """The share of other people's faces that reach `cosine`, 0 to 1."""
        return max(_NORMAL.cdf((self.center - cosine) / self.spread), _LEAST_CHANCE)


def sample(embeddings: Float32) -> Float32:
    """At most 40,000 rows of `embeddings` (n, d), evenly from begin to end: the same on every machine."""
    if len(embeddings) <= _SAMPLE:
        return np.asarray(embeddings)
    return np.asarray(embeddings[np.linspace(0, len(embeddings) - 1, _SAMPLE).astype(np.int64)])


def crowd_of(cosines: Float32) -> Crowd:
    """The crowd among (n,) `cosines` of one profile to all faces, the person's own among them.

    The spread is the larger one of both sides of the median, so that a heavy right side is not taken for
    matches; on the right only as far as the quartile: a brother who is on every sixth picture stays out.
    The first cut leaves most faces of the person out even where the collection is mostly theirs.
    """
    ordered = np.sort(np.asarray(cosines, np.float64))
    center, spread = _CENTER, _SPREAD
    kept = int(np.searchsorted(ordered, center + 4 * spread))
    for _ in range(_ROUNDS):
        if not kept:
            break
        low, middle, high = np.quantile(ordered[:kept], [_LEFT, 0.5, _RIGHT])
        weight = kept / (kept + _FACES)
        center = weight * middle + (1 - weight) * _CENTER
        wide = max(middle - low, (high - middle) / _NORMAL.inv_cdf(_RIGHT))
        spread = weight * wide + (1 - weight) * _SPREAD
        # The cosine that less than one face of this crowd would reach.
        cut = center - spread * _NORMAL.inv_cdf(1 / max(kept, 100))
        before, kept = kept, int(np.searchsorted(ordered, cut))
        if kept == before:
            break
    return Crowd(float(center), float(max(spread, 1e-3)), kept)

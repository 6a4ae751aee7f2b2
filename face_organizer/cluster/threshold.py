"""What similarity two strangers reach by chance: read from the table itself, without labels.

Nearly all pairs of faces out of a large table show two people, and their cosines are close to normal. So the
bulk of random pairs tells how similar strangers are, and from it follows how similar two faces must be for
chance to be no explanation in a table of so many people. Where a few people make up the whole table, pairs of
one person form a second hump; a mixture of two normals takes the two apart.

In `strangers` a crowd is what this is for two faces: how alike others are to one person.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from face_organizer.cluster.strangers import WRONG_LINKS, Crowd
from face_organizer.types import Float32, Int64

SAMPLE = 4096
_BINS = 800


class Strangers(NamedTuple):
    """Cosines of two faces of different people: near normal with `mean` and `deviation`.

    `people` is the estimated number of different people in the table, `typical` the usual cosine of two
    photos of one person (NaN where hardly any two faces are alike).
    """

    mean: float
    deviation: float
    people: float
    typical: float

    def threshold(self, wrong_links: float = WRONG_LINKS) -> float:
        """The cosine above which a face has `wrong_links` strangers, in expectation, in the whole table."""
        share = min(wrong_links / max(self.people, 2.0), 0.5)
        return min(Crowd(self.mean, self.deviation, 0).threshold(share), 0.999)


def sample_rows(embeddings: Float32, size: int, seed: int) -> Int64:
    """At most `size` rows, ascending. Which ones depends on the faces, not on their order, and one face more
    changes at most one of them (bottom-k sampling by a hash of the vector)."""
    if len(embeddings) <= size:
        return np.arange(len(embeddings))
    words = np.ascontiguousarray(embeddings[:, :2], np.float32).view(np.uint64)[:, 0]
    words = (words ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(32)
    return np.sort(np.argpartition(words, size)[:size]).astype(np.int64)


def estimate(embeddings: Float32, seed: int = 1234) -> Strangers:
    """Read `Strangers` from unit vectors (n, d), a sample of them in a large table."""
    vectors = np.asarray(embeddings[sample_rows(embeddings, SAMPLE, seed)], np.float32)
    if len(vectors) < 3:
        return Strangers(0.0, float(1 / np.sqrt(embeddings.shape[1])), float(len(vectors)), float("nan"))
    cosines = np.clip(vectors @ vectors.T, -1, 1)
    pairs = cosines[np.triu_indices(len(vectors), 1)]
    mean, deviation = _strangers(pairs)
    people, typical = _people(cosines, mean, deviation, len(embeddings))
    return Strangers(mean, deviation, people, typical)


def _strangers(pairs: Float32) -> tuple[float, float]:
    """Mean and deviation of the lower hump of the cosines of random pairs."""
    counts, edges = np.histogram(pairs, _BINS, (-1, 1))
    at = (edges[:-1] + edges[1:]) / 2
    low, middle = np.quantile(pairs, [NormalDist().cdf(-1), 0.5])
    one = (float(middle), float(max(middle - low, 1e-3)))
    two = _two_humps(counts.astype(np.float64), at)
    lower, deviation, upper = two or (*one, 0.0)
    if lower - 3 * deviation > 0 and lower > upper / 2:
        # Next to no pair is unlike: all faces are of one person. Strangers, of whom there are none, would lie
        # around 0, where independent directions lie.
        return 0.0, one[1]
    return lower, deviation


def _two_humps(counts: np.ndarray, at: np.ndarray) -> tuple[float, float, float] | None:
    """Mean and deviation of the lower of two normals and mean of the upper, by expectation-maximisation; None
    where there is one hump.

    Two humps are two where Ashman's D exceeds 2 (Ashman, Bird & Zepf 1994), and each holds a share of pairs
    that the bulk's own tail could not.
    """
    total = counts.sum()
    weight = np.cumsum(counts) / total
    first = np.cumsum(counts * at) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (first[-1] * weight - first) ** 2 / (weight * (1 - weight))
    cut = at[int(np.nanargmax(np.where(np.isfinite(between), between, -1)))]  # Otsu's
    humps = []
    for side in (at <= cut, at > cut):
        n = counts[side].sum()
        if not n:
            return None
        middle = float((counts * at)[side].sum() / n)
        deviation = max(float(np.sqrt((counts * (at - middle) ** 2)[side].sum() / n)), 5e-3)
        humps.append((n / total, middle, deviation))
    p, m, s = np.array(humps).T
    for _ in range(200):
        density = p[:, None] * np.exp(-0.5 * ((at - m[:, None]) / s[:, None]) ** 2) / s[:, None] + 1e-300
        belongs = counts * density / density.sum(axis=0)
        n = np.maximum(belongs.sum(axis=1), 1e-9)
        p, m = n / total, (belongs * at).sum(axis=1) / n
        s = np.maximum(np.sqrt((belongs * (at - m[:, None]) ** 2).sum(axis=1) / n), 5e-3)
    lower, upper = np.argsort(m)
    apart = (m[upper] - m[lower]) / np.sqrt((s[0] ** 2 + s[1] ** 2) / 2)
    if apart > 2 and p[upper] > 0.01 and p[lower] > 0.01:
        return float(m[lower]), float(s[lower]), float(m[upper])
    return None


def _people(cosines: Float32, mean: float, deviation: float, total: int) -> tuple[float, float]:
    """How many people there are, and the usual cosine of one person's photos.

    Each face counts 1 / (faces like it): the sum is the number of people. How it grew from half of the sample
    to all of it is carried on to the whole table (Heaps' law).
    """
    count = len(cosines)
    cut = Strangers(mean, deviation, float(count), 0.0).threshold()
    alike = cosines > cut
    np.fill_diagonal(alike, True)
    found = float((1 / alike.sum(axis=1)).sum())
    half = alike[::2, ::2]
    growth = np.log2(max(found / float((1 / half.sum(axis=1)).sum()), 1.0))
    np.fill_diagonal(alike, False)
    typical = float("nan")
    if alike.any():
        weights = (alike / np.maximum(alike.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        typical = float((weights * cosines).sum() / weights.sum())
    return found * (total / count) ** min(float(growth), 1.0), typical

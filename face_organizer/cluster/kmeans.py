"""Spherical K-Means over all faces: where fewer people are found than asked for.

Restarts run side by side: one pass over the faces serves the centers of all of them, since what a pass costs
is reading the faces, and runs that come to the same centers go on as one. FAISS's own loop runs them one
after another: as good, and two to three times as long (LFW; 100,000 faces of two people).
"""

from __future__ import annotations

import numpy as np

from face_organizer.cluster.labels import check, ordered
from face_organizer.cluster.threshold import sample_rows
from face_organizer.types import Clustering, Float32, Int64

_SEED_ROWS = 16_384
_BLOCK = 8192


def kmeans(
    embeddings: Float32, clusters: int, *, restarts: int = 10, iterations: int = 100, seed: int = 1234
) -> Clustering:
    """Spherical K-Means (Dhillon & Modha 2001) of unit vectors (n, d) float32: centers of unit length, faces
    go to the most similar center.

    The best of `restarts` runs by summed similarity is kept, each started by k-means++ (Arthur &
    Vassilvitskii 2007) from `seed`; a run ends when an iteration gains less than one part in 10^7. Faces are
    read in blocks and never copied. Raises `ClusterError` for more clusters than faces and for NaN.
    """
    check(embeddings, clusters)
    random = np.random.default_rng(seed)
    restarts = 1 if clusters == 1 else restarts
    sample = np.asarray(embeddings[sample_rows(embeddings, _SEED_ROWS, seed)], np.float32)
    runs = np.stack([_plus_plus(sample, clusters, i % 3, random) for i in range(restarts)])
    active = np.arange(restarts)
    scores = np.full(restarts, -np.inf)
    for _ in range(iterations):
        sums, sizes, gained = lloyd(embeddings, runs[active])
        better = gained > scores[active] * (1 + 1e-7)
        scores[active] = gained
        runs[active] = _moved(runs[active], sums, sizes)
        active = _different(active[better], runs, scores)
        if not len(active):
            break
    centers = runs[int(scores.argmax())]
    labels, similarity = assign(embeddings, centers)
    return ordered(labels, centers, similarity)


def lloyd(embeddings: Float32, runs: Float32) -> tuple[np.ndarray, Int64, np.ndarray]:
    """One pass for the centers (r, k, d) of r runs: sums (r, k, d) and sizes (r, k) of the faces that go to
    each center, and the summed similarity (r,) that the centers had."""
    count, clusters, dim = runs.shape
    flat = np.ascontiguousarray(runs.reshape(-1, dim).T)
    sums = np.zeros((count * clusters, dim), np.float64)
    sizes = np.zeros((count, clusters), np.int64)
    gained = np.zeros(count, np.float64)
    for at in range(0, len(embeddings), _BLOCK):
        block = np.ascontiguousarray(embeddings[at : at + _BLOCK], np.float32)
        cosines = (block @ flat).reshape(len(block), count, clusters)
        best = cosines.argmax(axis=2)
        gained += np.take_along_axis(cosines, best[:, :, None], axis=2).sum(axis=0, dtype=np.float64)[:, 0]
        chosen = np.zeros((len(block), count, clusters), np.float32)
        np.put_along_axis(chosen, best[:, :, None], 1, axis=2)
        sizes += chosen.sum(axis=0).astype(np.int64)
        sums += chosen.reshape(len(block), -1).T @ block
    return sums.reshape(count, clusters, dim), sizes, gained


def assign(embeddings: Float32, centers: Float32) -> tuple[Int64, Float32]:
    """The most similar center (n,) of each face, and their cosine (n,)."""
    labels = np.empty(len(embeddings), np.int64)
    similarity = np.empty(len(embeddings), np.float32)
    for at in range(0, len(embeddings), _BLOCK):
        # Seen with finite numbers on AVX-512: OpenBLAS works on what lies behind short rows too. The product
        # is right, the warning is not.
        with np.errstate(invalid="ignore"):
            cosines = embeddings[at : at + _BLOCK] @ centers.T
        best = cosines.argmax(axis=1)
        labels[at : at + _BLOCK] = best
        similarity[at : at + _BLOCK] = np.take_along_axis(cosines, best[:, None], axis=1)[:, 0]
    return labels, similarity


def _plus_plus(sample: Float32, clusters: int, draws: int, random: np.random.Generator) -> Float32:
    """Centers (k, d) out of `sample`: each drawn with a probability that grows with the square of its
    distance to those before, the best of some `draws`; without draws the farthest face is taken (Gonzalez
    1985)."""
    chosen = [int(random.integers(len(sample)))]
    far = np.maximum(1 - sample @ sample[chosen[0]], 0).astype(np.float64)
    for _ in range(clusters - 1):
        total = far.sum()
        if not draws:
            picks = far.argmax()[None]
        elif total > 1e-6 * len(sample):
            picks = np.searchsorted(np.cumsum(far), random.random(draws) * total, side="right")
            picks = np.minimum(picks, len(sample) - 1)
        else:
            picks = random.integers(len(sample), size=draws)
        left = np.minimum(far, np.maximum(1 - sample[picks] @ sample.T, 0))
        best = int(left.sum(axis=1).argmin())
        chosen.append(int(picks[best]))
        far = left[best]
    return sample[chosen]


def _moved(runs: Float32, sums: np.ndarray, sizes: Int64) -> Float32:
    """Each center in the mean direction of its faces; one without faces stays."""
    length = np.linalg.norm(sums, axis=2, keepdims=True)
    fine = (sizes[:, :, None] > 0) & (length > 1e-9)
    return np.where(fine, sums / np.maximum(length, 1e-9), runs).astype(np.float32)


def _different(active: Int64, runs: Float32, scores: np.ndarray) -> Int64:
    """The runs that go on: of those that came to the same centers, in whatever order, the first."""
    kept: list[int] = []
    for run in active:
        same = [r for r in kept if abs(scores[r] - scores[run]) <= 1e-9 * abs(scores[r])]
        if not any((runs[r] @ runs[run].T).max(axis=1).min() > 1 - 1e-6 for r in same):
            kept.append(int(run))
    return np.array(kept, np.int64)

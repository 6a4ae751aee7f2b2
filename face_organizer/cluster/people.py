"""A known number of people among strangers: K-Means that starts from people and lets strangers go.

Plain K-Means divides all faces: a third person drags a center away, and with few photos of one and many of
the other it rather halves the large one. So the centers start at the k largest groups that `Auto` finds (in a
sample of a large table), and only faces that belong to them move them on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster import check
from face_organizer.cluster.constraints import NO_HINTS, Hints, copy_cosine
from face_organizer.cluster.faiss_device import CPU
from face_organizer.cluster.graph import Auto, Space, from_labels
from face_organizer.cluster.kmeans import KMeans
from face_organizer.cluster.threshold import sample_rows
from face_organizer.types import Clustering, Float32, Int64

_SAMPLE = 10_000
_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class Advice:
    """What the table says of the number of people that was asked for.

    `sizes` are the faces of the groups that `Auto` finds, largest first, in a sample of `sampled` faces;
    `suggested` is how many of them are at least half as large as the smallest that was kept.
    """

    asked: int
    suggested: int
    sizes: tuple[int, ...]
    sampled: int
    threshold: float


@dataclass(frozen=True, slots=True)
class People:
    """The `clusters` people with the most faces.

    A face belongs to its nearest center where it is as alike to that cluster as `Auto` asks of two groups
    (`threshold`, None: from the table); with `keep_strangers` every face does.
    """

    clusters: int
    restarts: int = 10
    iterations: int = 100
    seed: int = 1234
    threshold: float | None = None
    keep_strangers: bool = False
    gpu: int = CPU
    name: str = "people"

    def cluster(self, embeddings: Float32, hints: Hints = NO_HINTS) -> Clustering:
        """Divide unit vectors (n, d) float32; -1 for strangers. Raises `ClusterError` for k > n and for
        NaN."""
        return self.found(embeddings, hints)[0]

    def found(self, embeddings: Float32, hints: Hints = NO_HINTS) -> tuple[Clustering, Advice]:
        """As `cluster`, and what the table says of the number that was asked for."""
        check(embeddings, self.clusters)
        rows = sample_rows(embeddings, _SAMPLE, self.seed)
        sample = np.asarray(embeddings[rows], np.float32)
        groups, read = Auto(self.threshold, 1, gpu=self.gpu, seed=self.seed).found(sample, hints.of(rows))
        sizes = groups.sizes()
        suggested = _suggested(sizes, self.clusters)
        shown = tuple(sizes[: max(12, suggested)].tolist())
        advice = Advice(self.clusters, suggested, shown, len(rows), read.threshold)
        if len(sizes) < self.clusters:
            plain = KMeans(self.clusters, self.restarts, self.iterations, self.seed, self.gpu)
            return plain.cluster(embeddings, hints), advice
        space = read.space
        kept = [space.of(sample[groups.labels == i]).mean(axis=0) for i in range(self.clusters)]
        labels, likeness = self._settled(embeddings, np.stack(kept), space, read.threshold)
        if not self.keep_strangers:
            labels = np.where(likeness >= read.threshold, labels, -1)
            if len(hints.conflicts):
                copies = _alike(embeddings, hints.conflicts, copy_cosine(read.chance))
                labels = _one_a_photo(labels, likeness, hints.conflicts[~copies])
        return from_labels(embeddings, labels), advice

    def _settled(
        self, embeddings: Float32, means: Float32, space: Space, threshold: float
    ) -> tuple[Int64, Float32]:
        """The nearest center (n,) of each face and how alike it is to that cluster.

        Trimmed K-Means (Cuesta-Albertos et al. 1997), trimmed by likeness instead of by share: `means` (k, d)
        move to the mean of the faces that belong to them, until no face changes sides.
        """
        labels = np.full(len(embeddings), -1, np.int64)
        likeness = np.zeros(len(embeddings), np.float32)
        members = labels.copy()
        for _ in range(self.iterations):
            # A mean vector of length r: the cosine to it times the root of r is `merging.likeness`.
            scaled = means / np.sqrt(np.linalg.norm(means, axis=1, keepdims=True))
            sums, sizes, changed = np.zeros(means.shape), np.zeros(len(means)), 0
            for at in range(0, len(embeddings), _BLOCK):
                block = space.of(embeddings[at : at + _BLOCK])
                part = slice(at, at + len(block))
                alike = block @ scaled.T
                best = alike.argmax(axis=1)
                labels[part], likeness[part] = best, np.take_along_axis(alike, best[:, None], axis=1)[:, 0]
                inside = np.where(likeness[part] >= threshold, best, -1)
                changed += int((inside != members[part]).sum())
                members[part] = inside
                chosen = (inside[:, None] == np.arange(len(means))).astype(np.float32)
                sums += chosen.T @ block
                sizes += chosen.sum(axis=0)
            if not changed:
                break
            means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], means).astype(
                np.float32
            )
        return labels, likeness


def _suggested(sizes: Int64, asked: int) -> int:
    """How many groups are at least half as large as the smallest of those asked for; all, where there are
    fewer."""
    if len(sizes) <= asked:
        return len(sizes)
    return int((sizes >= max(sizes[asked - 1] / 2, 2)).sum())


def _alike(embeddings: Float32, pairs: Int64, cosine: float) -> NDArray[np.bool_]:
    """Which pairs (m, 2) of faces are as alike as copies are: mirrors, collages."""
    parts = [
        np.einsum("ij,ij->i", embeddings[some[:, 0]], embeddings[some[:, 1]]) >= cosine
        for some in np.array_split(pairs, len(pairs) // _BLOCK + 1)
    ]
    return np.concatenate(parts)


def _one_a_photo(labels: Int64, likeness: Float32, conflicts: Int64) -> Int64:
    """Of two faces of one photo in one cluster, the less alike one leaves."""
    both = conflicts[(labels[conflicts[:, 0]] == labels[conflicts[:, 1]]) & (labels[conflicts[:, 0]] >= 0)]
    out = labels.copy()
    out[np.where(likeness[both[:, 0]] < likeness[both[:, 1]], both[:, 0], both[:, 1])] = -1
    return out

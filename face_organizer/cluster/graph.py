"""People of unknown number: a neighbour graph, and groups that grow along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from face_organizer.cluster import check, ordered
from face_organizer.cluster.constraints import NO_HINTS, Hints, copy_cosine
from face_organizer.cluster.faiss_device import CPU
from face_organizer.cluster.merging import Conflicts, Groups, merge, start
from face_organizer.cluster.neighbours import between, edges
from face_organizer.cluster.threshold import SAMPLE, Chance, estimate, sample_rows
from face_organizer.types import Clustering, Float32, Int64

_ROWS = 1 << 16
_AFFORDED = 1 << 28  # cosines of a last look at everything: a second or two


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Unit vectors without the direction `shift` (d,) that all people share; None: as they are."""

    shift: Float32 | None

    def of(self, embeddings: Float32) -> Float32:
        """The vectors (n, d) in this space, of unit length."""
        if self.shift is None:
            return embeddings
        moved = np.empty(embeddings.shape, np.float32)
        for at in range(0, len(moved), _ROWS):
            part = embeddings[at : at + _ROWS] - self.shift
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
            moved[at : at + _ROWS] = part
        return moved


def space_of(embeddings: Float32, seed: int) -> Space:
    """The space in which the faces of this table are compared.

    What faces have in common (the embedder's own bias) says nothing of who they are. It is the mean over
    people, each face counting one part in the number of faces like it; as much of it is taken as the usual
    cosine of strangers proves beyond what so few people could show by chance.
    """
    first = estimate(embeddings, seed)
    sample = np.asarray(embeddings[sample_rows(embeddings, SAMPLE, seed)], np.float32)
    weight = 1 / np.maximum((sample @ sample.T > first.threshold()).sum(axis=1), 1)
    mean = (weight @ sample / weight.sum()).astype(np.float32)
    proven = first.mean - 2 * first.deviation * np.sqrt(2) / weight.sum()
    length = float(mean @ mean)
    if proven <= 0 or length <= 0:
        return Space(None)
    return Space(mean * np.float32(min(proven / length, 1.0)))


@dataclass(frozen=True, slots=True)
class Found:
    """What `Auto` read from the table: the cosine at which two faces are one person, and what it follows
    from."""

    threshold: float
    chance: Chance
    space: Space


@dataclass(frozen=True, slots=True)
class Auto:
    """People by agglomeration (`merging`) along the nearest neighbours (`neighbours`).

    `threshold` None takes it from the table (`chance`). Clusters below `min_cluster_size` are dissolved, and
    members that are less alike to the rest of their cluster than `weak` of the way to the threshold leave it.
    """

    threshold: float | None = None
    min_cluster_size: int = 3
    neighbours: int = 16
    gpu: int = CPU
    exact: bool | None = None
    seed: int = 1234
    name: str = "auto"

    def cluster(self, embeddings: Float32, hints: Hints = NO_HINTS) -> Clustering:
        """Divide unit vectors (n, d) float32; -1 for faces in no cluster. Raises `ClusterError` for NaN."""
        return self.found(embeddings, hints)[0]

    def found(self, embeddings: Float32, hints: Hints = NO_HINTS) -> tuple[Clustering, Found]:
        """As `cluster`, and what was read from the table."""
        check(embeddings)
        space = space_of(embeddings, self.seed)
        vectors = space.of(embeddings)
        chance = estimate(vectors, self.seed)
        threshold = chance.threshold() if self.threshold is None else self.threshold
        groups = self._grown(vectors, threshold, chance, hints)
        labels = _settled(groups, vectors, hints, self.min_cluster_size)
        return from_labels(embeddings, labels), Found(threshold, chance, space)

    def _grown(self, vectors: Float32, threshold: float, chance: Chance, hints: Hints) -> Groups:
        count = len(vectors)
        floor = min(chance.threshold(1.0), threshold)
        found, cosines = edges(vectors, floor, min(self.neighbours, count), gpu=self.gpu, exact=self.exact)
        label, weight, named = hints.first_groups(vectors, found, cosines, chance)
        groups = start(vectors, weight, label, named)
        conflicts = (
            Conflicts(hints.conflicts, max(copy_cosine(chance) - threshold, 0))
            if len(hints.conflicts)
            else None
        )
        groups = merge(groups, groups.label[found], threshold, conflicts, cosines)
        return consolidated(groups, threshold, self.neighbours, conflicts)


def consolidated(groups: Groups, threshold: float, k: int, conflicts: Conflicts | None) -> Groups:
    """Compare all groups with the centers of those of more than one face, and go on merging.

    Where a person has more faces than a face has neighbours in the graph, the parts may not be joined there.
    """
    while True:
        before = len(groups.weight)
        centers = groups.sums / np.linalg.norm(groups.sums, axis=1, keepdims=True)
        large = np.flatnonzero(np.bincount(groups.label, minlength=before) > 1)
        # Faces alone too, where that is cheap: approximate neighbours may have missed them.
        every = np.arange(before) if before * len(large) <= _AFFORDED else large
        pairs = between(centers[every], centers[large], threshold, k)
        pairs = np.stack([every[pairs[:, 0]], large[pairs[:, 1]]], axis=1)
        groups = merge(groups, pairs, threshold, conflicts)
        if len(groups.weight) == before:
            return groups


def _settled(groups: Groups, vectors: Float32, hints: Hints, smallest: int) -> Int64:
    label = groups.label.copy()
    sizes = np.bincount(label, minlength=len(groups.weight))
    small = (sizes < smallest) & (groups.named < 0)
    label[small[label]] = -1
    return label


def from_labels(embeddings: Float32, labels: Int64) -> Clustering:
    """The `Clustering` of `labels` (n,), -1 for none: centers are mean directions."""
    kept = np.flatnonzero(labels >= 0)
    names, inverse = np.unique(labels[kept], return_inverse=True)
    sums = np.zeros((len(names), embeddings.shape[1]), np.float64)
    order = np.argsort(inverse, kind="stable")
    starts = np.searchsorted(inverse[order], np.arange(len(names) + 1))
    for i in range(len(names)):
        rows = kept[order[starts[i] : starts[i + 1]]]
        for at in range(0, len(rows), _ROWS):
            sums[i] += embeddings[rows[at : at + _ROWS]].sum(axis=0, dtype=np.float64)
    centers = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    renamed = np.full(len(labels), -1, np.int64)
    renamed[kept] = inverse
    similarity = np.zeros(len(labels), np.float32)
    for at in range(0, len(labels), _ROWS):
        part = slice(at, at + _ROWS)
        own = renamed[part]
        if len(centers):
            similarity[part] = np.einsum("ij,ij->i", embeddings[part], centers[np.maximum(own, 0)])
            lost = np.flatnonzero(own < 0)
            if len(lost):
                similarity[at + lost] = _best_similarity(embeddings[at + lost], centers)
    return ordered(renamed, centers, similarity)


def _best_similarity(vectors: Float32, centers: Float32) -> Float32:
    best = np.full(len(vectors), -1, np.float32)
    for at in range(0, len(centers), 4096):
        np.maximum(best, (vectors @ centers[at : at + 4096].T).max(axis=1), out=best)
    return best

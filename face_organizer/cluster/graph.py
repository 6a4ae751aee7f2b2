"""People of unknown number: a neighbour graph, and groups that grow along it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from face_organizer.cluster.constraints import NO_HINTS, Hints, copy_cosine
from face_organizer.cluster.faiss_device import CPU
from face_organizer.cluster.gathering import HEAVY_TAIL, gathered
from face_organizer.cluster.labels import Clustering, check, from_labels
from face_organizer.cluster.merging import Conflicts, Groups, merge
from face_organizer.cluster.neighbours import between, edges
from face_organizer.cluster.threshold import SAMPLE, Strangers, estimate, sample_rows
from face_organizer.types import Float32

_ROWS = 1 << 16
_AFFORDED = 1 << 28  # cosines of a last look at everything: a second or two


def without(embeddings: Float32, shift: Float32 | None) -> Float32:
    """Unit vectors (n, d) without the direction `shift` (d,) that all people share; None: as they are."""
    if shift is None:
        return embeddings
    moved = np.empty(embeddings.shape, np.float32)
    for at in range(0, len(moved), _ROWS):
        part = embeddings[at : at + _ROWS] - shift
        part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
        moved[at : at + _ROWS] = part
    return moved


def shared_direction(embeddings: Float32, seed: int) -> Float32 | None:
    """What all faces of this table have in common, (d,); None where that is not proven.

    It (the embedder's own bias) says nothing of who they are. It is the mean over people, each face counting
    one part in the number of faces like it; as much of it is taken as the usual cosine of strangers proves
    beyond what so few people could show by chance.
    """
    first = estimate(embeddings, seed)
    sample = np.asarray(embeddings[sample_rows(embeddings, SAMPLE, seed)], np.float32)
    weight = 1 / np.maximum((sample @ sample.T > first.threshold()).sum(axis=1), 1)
    mean = (weight @ sample / weight.sum()).astype(np.float32)
    proven = first.mean - 2 * first.deviation * np.sqrt(2) / weight.sum()
    length = float(mean @ mean)
    if proven <= 0 or length <= 0:
        return None
    return np.asarray(mean * np.float32(min(proven / length, 1.0)), np.float32)


class Found(NamedTuple):
    """What was read from the table: `threshold` is the cosine at which two faces are one person."""

    threshold: float
    strangers: Strangers
    shift: Float32 | None


def find_people(
    embeddings: Float32,
    hints: Hints = NO_HINTS,
    *,
    threshold: float | None = None,
    min_cluster_size: int = 3,
    neighbours: int = 16,
    gpu: int = CPU,
    exact: bool | None = None,
    seed: int = 1234,
    tail: float = HEAVY_TAIL,
) -> tuple[Clustering, Found]:
    """People by agglomeration (`merging`) of unit vectors (n, d) along the nearest neighbours (`neighbours`).

    `threshold` None takes it from the table (`threshold`); small groups then join what they are too near to
    for chance (`gathering`, of strangers with that `tail`). Clusters of fewer than `min_cluster_size` faces
    are dissolved, unless somebody is known in them; -1 for faces in no cluster. The same input gives the same
    clusters. Raises `ClusterError` for NaN.
    """
    check(embeddings)
    shift = shared_direction(embeddings, seed)
    vectors = without(embeddings, shift)
    strangers = estimate(vectors, seed)
    given, threshold = threshold, strangers.threshold() if threshold is None else threshold
    floor = min(strangers.threshold(1.0), threshold)
    found, cosines = edges(vectors, floor, min(neighbours, len(vectors)), gpu=gpu, exact=exact)
    groups = hints.first_groups(vectors, found, cosines, strangers)
    cost = max(copy_cosine(strangers) - threshold, 0)
    conflicts = Conflicts(hints.conflicts, cost) if len(hints.conflicts) else None
    groups = merge(groups, groups.label[found], threshold, conflicts, cosines)
    groups = consolidated(groups, threshold, neighbours, conflicts)
    if given is None:
        groups = gathered(groups, embeddings, tail, conflicts)
    small = (hints.sizes(groups.label, len(groups.weight)) < min_cluster_size) & (groups.known < 0)
    labels = np.where(small[groups.label], -1, groups.label)
    return from_labels(embeddings, labels), Found(threshold, strangers, shift)


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

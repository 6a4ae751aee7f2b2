"""A known number of people among strangers: K-Means that starts from people and lets strangers go.

Plain K-Means divides all faces: a third person drags a center away, and with few photos of one and many of
the other it rather halves the large one. So the centers start at the k largest groups that `find_people`
finds (in a sample of a large table), and only faces that belong to them move them on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from face_organizer.cluster.constraints import NO_HINTS, Hints, alike, copy_cosine
from face_organizer.cluster.faiss_device import CPU, faiss
from face_organizer.cluster.graph import Found, find_people, without
from face_organizer.cluster.labels import Clustering, check, from_labels, ordered
from face_organizer.cluster.threshold import sample_rows
from face_organizer.types import Float32, Int64

_SAMPLE = 10_000
_TRAINED = 65_536  # faces that K-Means looks at
_EQUAL = 1 - 1e-5  # cosine of two centers that FAISS has made of one, since a cluster was empty
_ITERATIONS = 100
_BLOCK = 8192


class Advice(NamedTuple):
    """What the table says of the number of people that was asked for.

    `sizes` are the faces of the groups that `find_people` finds, largest first, in a sample of `sampled`
    faces; `suggested` is how many of them are at least half as large as the smallest that was kept, or all.
    """

    asked: int
    suggested: int
    sizes: tuple[int, ...]
    sampled: int


def largest_people(
    embeddings: Float32,
    clusters: int,
    hints: Hints = NO_HINTS,
    *,
    threshold: float | None = None,
    keep_strangers: bool = False,
    gpu: int = CPU,
    seed: int = 1234,
) -> tuple[Clustering, Found, Advice]:
    """The `clusters` people with the most faces among unit vectors (n, d); -1 for strangers.

    A face belongs to its nearest center where it is as alike to that cluster as `find_people` asks of two
    groups (`threshold`, None: from the table); with `keep_strangers` every face does. Raises `ClusterError`
    for more clusters than faces and for NaN.
    """
    check(embeddings, clusters)
    rows = sample_rows(embeddings, _SAMPLE, seed)
    sample = np.asarray(embeddings[rows], np.float32)
    groups, found = find_people(
        sample, hints.of(rows), threshold=threshold, min_cluster_size=1, gpu=gpu, seed=seed
    )
    sizes = groups.sizes()
    suggested = len(sizes)
    if suggested > clusters:
        suggested = int((sizes >= max(sizes[clusters - 1] / 2, 2)).sum())
    advice = Advice(clusters, suggested, tuple(sizes[: max(12, suggested)].tolist()), len(rows))
    if len(sizes) < clusters:
        return kmeans(embeddings, clusters, seed=seed), found, advice
    vectors = without(sample, found.shift)
    means = np.stack([vectors[groups.labels == i].mean(axis=0) for i in range(clusters)])
    labels, likeness = _settled(embeddings, means, found)
    if not keep_strangers:
        labels = np.where(likeness >= found.threshold, labels, -1)
        if len(hints.conflicts):
            copies = alike(embeddings, hints.conflicts, copy_cosine(found.strangers))
            labels = _one_a_photo(labels, likeness, hints.conflicts[~copies])
    return from_labels(embeddings, labels), found, advice


def _settled(embeddings: Float32, means: Float32, found: Found) -> tuple[Int64, Float32]:
    """The nearest center (n,) of each face and how alike it is to that cluster.

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
            cosines = block @ scaled.T
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


def _one_a_photo(labels: Int64, likeness: Float32, conflicts: Int64) -> Int64:
    """Of two faces of one photo in one cluster, the less alike one leaves."""
    both = conflicts[(labels[conflicts[:, 0]] == labels[conflicts[:, 1]]) & (labels[conflicts[:, 0]] >= 0)]
    out = labels.copy()
    out[np.where(likeness[both[:, 0]] < likeness[both[:, 1]], both[:, 0], both[:, 1])] = -1
    return out


def kmeans(embeddings: Float32, clusters: int, *, restarts: int = 10, seed: int = 1234) -> Clustering:
    """Spherical K-Means (Dhillon & Modha 2001) of unit vectors (n, d) float32: centers of unit length, faces
    go to the most similar center.

    The best of `restarts` runs is kept, each started by k-means++ (Arthur & Vassilvitskii 2007) from `seed`,
    on a sample of a large table. Raises `ClusterError` for more clusters than faces and for NaN.
    """
    check(embeddings, clusters)
    rows = sample_rows(embeddings, max(_TRAINED, 40 * clusters), seed)
    model = faiss().Kmeans(
        embeddings.shape[1],
        clusters,
        niter=100,
        nredo=restarts,
        seed=seed,
        spherical=True,
        init_method=faiss().ClusteringInitMethod_KMEANS_PLUS_PLUS,
        early_stop_threshold=1e-7,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    model.train(embeddings[rows])
    centers = np.asarray(model.centroids, np.float32)
    centers = centers[~np.triu(centers @ centers.T > _EQUAL, 1).any(axis=0)]
    labels = np.empty(len(embeddings), np.int64)
    similarity = np.empty(len(embeddings), np.float32)
    for at in range(0, len(embeddings), _BLOCK):
        # Seen with finite numbers on AVX-512: OpenBLAS works on what lies behind short rows too. The product
        # is right, the warning is not.
        with np.errstate(invalid="ignore"):
            cosines = embeddings[at : at + _BLOCK] @ centers.T
        labels[at : at + _BLOCK] = cosines.argmax(axis=1)
        similarity[at : at + _BLOCK] = cosines.max(axis=1)
    return ordered(labels, centers, similarity)

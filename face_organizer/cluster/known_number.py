"""A known number of people among strangers: K-Means that starts from people and lets strangers go.

Plain K-Means divides all faces: a third person drags a center away, and with few photos of one and many of
the other it rather halves the large one. So the centers start at the k largest groups that `find_people`
finds (in a sample of a large table), and only faces that belong to them move them on. A person that
somebody told of is there in any case, beside the k where it is none of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from face_organizer.cluster.constraints import NO_HINTS, Hints, alike, copy_cosine, pinned
from face_organizer.cluster.doubt import absorbed
from face_organizer.cluster.faiss_device import CPU, faiss
from face_organizer.cluster.gathering import HEAVY_TAIL
from face_organizer.cluster.graph import Found, find_people, without
from face_organizer.cluster.labels import Clustering, check, from_labels, ordered
from face_organizer.cluster.settling import Bound, one_a_photo, settled
from face_organizer.cluster.threshold import sample_rows
from face_organizer.types import Float32, Int64

_SAMPLE, _OF_EACH = 10_000, 50  # faces, and at least that many of each known person
_TRAINED = 20_000  # faces that K-Means looks at
_SOMEBODY = 3  # faces of a group that is a person beside those that were asked for
_EQUAL = 1 - 1e-5  # cosine of two centers that FAISS has made of one, since a cluster was empty
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
    tail: float = HEAVY_TAIL,
) -> tuple[Clustering, Found, Advice]:
    """The `clusters` people with the most faces among unit vectors (n, d), and all that are known; -1 for
    strangers.

    A face belongs to its nearest center where it is as alike to that cluster as `find_people` asks of two
    groups (`threshold`), or where that is None and so read from the table, where it surely stands out of that
    person's crowd (`doubt.absorbed`); with `keep_strangers` every face does that is not refused by all.
    Raises `ClusterError` for more clusters than faces and for NaN.
    """
    check(embeddings, clusters)
    known = hints.persons(len(embeddings))
    rows = _sampled(embeddings, known, seed)
    sample = np.asarray(embeddings[rows], np.float32)
    groups, found = find_people(
        sample, hints.of(rows), threshold=threshold, min_cluster_size=1, gpu=gpu, seed=seed, tail=tail
    )
    sizes = groups.sizes()
    suggested = len(sizes)
    if suggested > clusters:
        suggested = int((sizes >= max(sizes[clusters - 1] / 2, 2)).sum())
    advice = Advice(clusters, suggested, tuple(sizes[: max(12, suggested)].tolist()), len(rows))
    first, asked = groups.labels, found
    if len(sizes) < clusters:
        plain = kmeans(embeddings, clusters, seed=seed)
        if (known < 0).all():
            return plain, found, advice
        # No group is left for some of them: all faces go to the nearest, as without anybody known.
        first, asked, keep_strangers = plain.labels[rows], Found(-1.0, found.strangers, None), True
    vectors, first = without(sample, asked.shift), pinned(first, known[rows])
    chosen, persons = _chosen(first, known[rows], clusters)
    means = np.stack([vectors[first == i].mean(axis=0) for i in chosen])
    labels, likeness = settled(embeddings, means, asked, Bound.of(hints, persons, len(embeddings)))
    if keep_strangers:
        labels = np.where(likeness > -np.inf, labels, -1)
    else:
        labels = np.where(likeness >= asked.threshold, labels, -1)
        if threshold is None:  # what was gathered stays, though no single face of it is that alike
            home = np.minimum(np.searchsorted(chosen, first), len(chosen) - 1)
            gathered = (labels[rows] < 0) & (chosen[home] == first)
            labels[rows[gathered]] = home[gathered]
        if len(hints.conflicts):
            copies = alike(embeddings, hints.conflicts, copy_cosine(found.strangers))
            hints = hints._replace(conflicts=hints.conflicts[~copies])
            labels = one_a_photo(labels, likeness, hints.conflicts)
        if threshold is None:
            kept, more = labels[rows] >= 0, np.setdiff1d(np.flatnonzero(sizes >= _SOMEBODY), chosen)
            inside = (groups.labels == i for i in more)
            rest = [vectors[own].mean(axis=0) for own in inside if kept[own].mean() < 0.5]
            others = np.array(rest, np.float32).reshape(-1, vectors.shape[1])
            labels = absorbed(embeddings, labels, hints, found, others, seed)
    return from_labels(embeddings, labels), found, advice


def _chosen(labels: Int64, known: Int64, clusters: int) -> tuple[Int64, Int64]:
    """The first `clusters` of `labels` (n,) and those of `known` persons, and who they are, -1 for others."""
    named = np.flatnonzero(known >= 0)
    chosen = np.unique(np.concatenate([labels[labels < clusters], labels[named]]))
    persons = np.full(len(chosen), -1, np.int64)
    persons[np.searchsorted(chosen, labels[named])] = known[named]
    return chosen, persons


def _sampled(embeddings: Float32, known: Int64, seed: int) -> Int64:
    """A sample of the rows, with some of each known person; all of a small table."""
    rows = [sample_rows(embeddings, _SAMPLE, seed)]
    if len(rows[0]) < len(embeddings):
        for one in np.unique(known[known >= 0]):
            own = np.flatnonzero(known == one)
            rows.append(own[sample_rows(embeddings[own, :2], _OF_EACH, seed)])
    return np.unique(np.concatenate(rows))


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

"""Spherical K-Means over all faces: where fewer people are found than asked for."""

from __future__ import annotations

import numpy as np

from face_organizer.cluster.faiss_device import faiss
from face_organizer.cluster.labels import Clustering, check, ordered
from face_organizer.cluster.threshold import sample_rows
from face_organizer.types import Float32

_SAMPLE, _BLOCK = 65_536, 8192
_EQUAL = 1 - 1e-5  # cosine of two centers that FAISS has made of one, since a cluster was empty


def kmeans(embeddings: Float32, clusters: int, *, restarts: int = 10, seed: int = 1234) -> Clustering:
    """Spherical K-Means (Dhillon & Modha 2001) of unit vectors (n, d) float32: centers of unit length, faces
    go to the most similar center.

    The best of `restarts` runs is kept, each started by k-means++ (Arthur & Vassilvitskii 2007) from `seed`,
    on a sample of a large table. Raises `ClusterError` for more clusters than faces and for NaN.
    """
    check(embeddings, clusters)
    rows = sample_rows(embeddings, max(_SAMPLE, 40 * clusters), seed)
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

"""Spherical K-Means over all faces, by FAISS: for a number of people that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from face_organizer.cluster import check, ordered
from face_organizer.types import Clustering, Float32


@dataclass(frozen=True, slots=True)
class KMeans:
    """Spherical K-Means (Dhillon & Modha 2001): centers of unit length, faces go to the most similar center.

    All faces train the centers (FAISS's default would take 256 a center: 512 of 500,000 with two people).
    The best of `restarts` runs by summed similarity is kept, each started by k-means++ (Arthur &
    Vassilvitskii 2007) from `seed`; a run ends when an iteration gains less than one part in 10^7.
    """

    clusters: int
    restarts: int = 10
    iterations: int = 100
    seed: int = 1234
    name: str = "kmeans"

    def cluster(self, embeddings: Float32) -> Clustering:
        """Divide unit vectors (n, d) float32 into `clusters`. Raises `ClusterError` for k > n and for NaN."""
        check(embeddings, self.clusters)
        import faiss

        vectors = np.ascontiguousarray(embeddings, np.float32)
        kmeans = faiss.Kmeans(
            vectors.shape[1],
            self.clusters,
            niter=self.iterations,
            nredo=self.restarts,
            seed=self.seed,
            spherical=True,
            min_points_per_centroid=1,
            max_points_per_centroid=len(vectors),
            init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
            early_stop_threshold=1e-7,
        )
        kmeans.train(vectors)
        similarity, labels = kmeans.assign(vectors)
        return ordered(labels.astype(np.int64), np.asarray(kmeans.centroids, np.float32), similarity)

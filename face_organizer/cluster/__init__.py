"""Clusterers: from unit embeddings to a `Clustering`. One file each, one line in the table below.

A clusterer is a pure function of the embeddings and its options; nothing else goes in.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import numpy as np

from face_organizer.errors import ClusterError
from face_organizer.types import Clustering, Float32, Int64

__all__ = ["divide", "faiss_device", "gallery", "result"]


class Clusterer(Protocol):
    """What a clusterer is."""

    name: str

    def cluster(self, embeddings: Float32) -> Clustering:
        """Divide unit vectors (n, d) float32; the same input gives the same clusters.

        Raises `ClusterError`.
        """
        ...


CLUSTERERS = {
    "auto": "face_organizer.cluster.graph:Auto",
    "kmeans": "face_organizer.cluster.kmeans:KMeans",
    "people": "face_organizer.cluster.people:People",
}
"""Name of each clusterer and where it lives; the module is imported when it is asked for."""


def clusterer(name: str, **options: Any) -> Clusterer:
    """The clusterer of that name with its options. Raises `ClusterError` for one that is not in the table."""
    if name not in CLUSTERERS:
        raise ClusterError(f"no clusterer {name!r}; there are {', '.join(sorted(CLUSTERERS))}")
    module, _, attribute = CLUSTERERS[name].partition(":")
    made: Clusterer = getattr(import_module(module), attribute)(**options)
    return made


def check(embeddings: Float32, clusters: int = 1) -> None:
    """Raise `ClusterError`, in words, unless (n, d) `embeddings` can be divided into that many clusters."""
    if clusters < 1:
        raise ClusterError(f"{clusters} clusters: at least 1 is needed")
    count = len(embeddings)
    if not count:
        raise ClusterError("there are no faces to cluster")
    if count < clusters:
        faces = f"{count} face" + ("" if count == 1 else "s")
        raise ClusterError(f"{faces} cannot be divided into {clusters} clusters: ask for at most {count}")
    block = 65_536  # rows looked at a time, so that no second copy of a large memory-mapped table arises
    for start in range(0, count, block):
        bad = np.flatnonzero(~np.isfinite(embeddings[start : start + block]).all(axis=1))
        if len(bad):
            raise ClusterError(
                f"the embedding in row {start + bad[0]} holds NaN or infinite values: embed it again"
            )


def ordered(labels: Int64, centers: Float32, similarity: Float32) -> Clustering:
    """A `Clustering` numbered from the largest cluster on, ties by the first face; empty clusters go."""
    members = np.flatnonzero(labels >= 0)
    found, first, inverse, sizes = np.unique(
        labels[members], return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    renamed = np.full(len(labels), -1, np.int64)
    renamed[members] = rank[inverse]
    return Clustering(renamed, np.ascontiguousarray(centers[found[order]], np.float32), similarity)


def person_name(index: int) -> str:
    """`person_A` for 0, `person_B` for 1 … `person_Z`, then `person_AA`, as the columns of a spreadsheet."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"person_{letters}"

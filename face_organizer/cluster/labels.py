"""Labels of faces as clusters: sound input, numbers from the largest on, centers, names of persons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from face_organizer.errors import ClusterError
from face_organizer.files import count as in_words
from face_organizer.types import FaceTable, Float32, Int64

NO_FACE = "no_face"  # folder of pictures without a usable one
UNASSIGNED = "unassigned"
"""The folder of faces that belong to no person."""
_ROWS = 1 << 16  # rows looked at a time, so that no second copy of a large memory-mapped table arises


@dataclass(frozen=True, eq=False)
class Clustering:
    """A division of n faces into k clusters, numbered from the largest on; `labels` is -1 for a face in none,
    `similarity` the cosine of each face to its center, or the highest to any."""

    labels: Int64
    centers: Float32
    similarity: Float32

    def sizes(self) -> Int64:
        """Faces in each cluster, (k,) int64."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.centers)).astype(np.int64)


def check(embeddings: Float32, clusters: int = 1) -> None:
    """Raise `ClusterError`, in words, unless (n, d) `embeddings` can be divided into that many clusters."""
    if clusters < 1:
        raise ClusterError(f"{clusters} clusters: at least 1 is needed")
    count = len(embeddings)
    if not count:
        raise ClusterError("there are no faces to cluster")
    if count < clusters:
        faces = in_words(count, "face")
        raise ClusterError(f"{faces} cannot be divided into {clusters} clusters: ask for at most {count}")
    for start in range(0, count, _ROWS):
        bad = np.flatnonzero(~np.isfinite(embeddings[start : start + _ROWS]).all(axis=1))
        if len(bad):
            row = start + bad[0]
            raise ClusterError(f"the embedding in row {row} holds NaN or infinite values: embed it again")


def components(count: int, pairs: Int64) -> Int64:
    """For each of `count` nodes the smallest one that it is connected with along `pairs` (m, 2)."""
    label = np.arange(count)
    while len(pairs):
        low = np.minimum(label[pairs[:, 0]], label[pairs[:, 1]])
        new = label.copy()
        np.minimum.at(new, label[pairs[:, 0]], low)
        np.minimum.at(new, label[pairs[:, 1]], low)
        new = new[new]
        if np.array_equal(new, label):
            break
        label = new
    return label


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
            if len(lost := np.flatnonzero(own < 0)):
                similarity[at + lost] = _best_similarity(embeddings[at + lost], centers)
    return ordered(renamed, centers, similarity)


def _best_similarity(vectors: Float32, centers: Float32) -> Float32:
    best = np.full(len(vectors), -1, np.float32)
    for at in range(0, len(centers), 4096):
        np.maximum(best, (vectors @ centers[at : at + 4096].T).max(axis=1), out=best)
    return best


def copies_of(table: FaceTable) -> Int64:
    """A number (n,) for each face, the same for equal faces on files of the same bytes, which are one picture
    however often it lies there."""
    files, faces = table.files, table.faces
    known = files.content.astype(np.int64)
    content = np.where(known == 0, -1 - np.arange(len(known)), known)[faces.file_index]
    moment = np.round(np.nan_to_num(faces.time, nan=-1) * 100).astype(np.int64)
    order = np.lexsort((faces.face_index, moment, content))
    new = np.zeros(len(order), np.bool_)
    for column in (content, moment, faces.face_index):
        new[1:] |= np.diff(column[order]) != 0
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new)
    return numbers


def person_name(index: int) -> str:
    """`person_A` for 0, `person_B` for 1 … `person_Z`, then `person_AA`, as the columns of a spreadsheet."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return f"person_{letters}"

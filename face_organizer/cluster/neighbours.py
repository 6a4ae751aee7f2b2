"""Pairs of faces that are alike: the edges of a neighbour graph, in blocks that bound memory.

Up to `EXACT` faces, and on a GPU, every face is compared with every other. Beyond, faces are divided into
lists around centers (an inverted file, Jegou et al. 2011), and each face is compared with those of the lists
nearest to it: as whole blocks, since the faces of one list are asked for by the same ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster.faiss_device import CPU, faiss, on_gpu
from face_organizer.types import Float32, Int64

Int32 = NDArray[np.int32]
EXACT = 20_000
PROBES = 16
_BLOCK = 4096
_CELLS = 1 << 24  # cosines in memory at a time: 64 MB


def edges(
    vectors: Float32, floor: float, k: int, *, gpu: int = CPU, exact: bool | None = None
) -> tuple[Int64, Float32]:
    """Pairs (m, 2) of rows of unit `vectors` whose cosine is at least `floor`, and that cosine (m,): for
    each row its `k` nearest; a pair may come twice.

    `exact` None decides by size. On a `gpu` FAISS compares all of them.
    """
    if gpu != CPU:
        with on_gpu(gpu, vectors.shape[1]) as index:
            return _by_index(index, vectors, floor, k)
    if exact or (exact is None and len(vectors) <= EXACT):
        return _others(*_compared(vectors, vectors, floor, k))
    return _by_lists(vectors, floor, k)


def between(queries: Float32, vectors: Float32, floor: float, k: int) -> Int64:
    """Pairs (row of `queries`, row of `vectors`), each query's `k` nearest of at least `floor`."""
    return _compared(queries, vectors, floor, k)[0]


def _nearest(cosines: Float32, floor: float, k: int) -> tuple[Int64, Int64, Float32]:
    """Row, column and value of what is at least `floor`, at most `k` a row."""
    alike = cosines >= floor
    crowded = np.flatnonzero(np.count_nonzero(alike, axis=1) > k)
    alike[crowded] = False
    row, col = np.nonzero(alike)
    if len(crowded):
        best = np.argpartition(cosines[crowded], -k, axis=1)[:, -k:]
        row = np.concatenate([row, np.repeat(crowded, k)])
        col = np.concatenate([col, best.ravel()])
    return row, col, cosines[row, col]


def _compared(queries: Float32, vectors: Float32, floor: float, k: int) -> tuple[Int64, Float32]:
    pairs, values = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    step = max(1, _CELLS // max(len(vectors), 1))
    for at in range(0, len(queries), step):
        row, col, value = _nearest(queries[at : at + step] @ vectors.T, floor, min(k + 1, len(vectors)))
        pairs.append(np.stack([row + at, col], axis=1))
        values.append(value)
    return np.concatenate(pairs), np.concatenate(values)


def _others(pairs: Int64, values: Float32) -> tuple[Int64, Float32]:
    """Without the pairs of a row with itself."""
    other = pairs[:, 0] != pairs[:, 1]
    return pairs[other], values[other]


def _by_lists(vectors: Float32, floor: float, k: int) -> tuple[Int64, Float32]:
    count, dim = vectors.shape
    lists = int(4 * np.sqrt(count))
    sample = np.sort(np.random.default_rng(1).choice(count, min(count, 24 * lists), replace=False))
    kmeans = faiss().Kmeans(
        dim, lists, niter=4, seed=1, spherical=True, min_points_per_centroid=1, max_points_per_centroid=24
    )
    kmeans.train(vectors[sample])
    centers = np.asarray(kmeans.centroids, np.float32)
    return _search_lists(vectors, _probed(vectors, centers), lists, floor, k)


def _probed(vectors: Float32, centers: Float32) -> Int32:
    """The lists (n, PROBES) nearest to each row, nearest first."""
    probes = min(PROBES, len(centers))
    found = np.empty((len(vectors), probes), np.int32)
    for at in range(0, len(vectors), _BLOCK):
        cosines = vectors[at : at + _BLOCK] @ centers.T
        near = np.argpartition(-cosines, probes - 1, axis=1)[:, :probes]
        order = np.argsort(-np.take_along_axis(cosines, near, axis=1), axis=1, kind="stable")
        found[at : at + _BLOCK] = np.take_along_axis(near, order, axis=1)
    return found


def _search_lists(vectors: Float32, probed: Int32, lists: int, floor: float, k: int) -> tuple[Int64, Float32]:
    """Compare the members of each list with all rows that probe it; then the `k` best of each row."""
    members = np.argsort(probed[:, 0], kind="stable")
    starts = np.searchsorted(probed[members, 0], np.arange(lists + 1))
    asking = np.argsort(probed.ravel(), kind="stable") // probed.shape[1]
    asked = np.concatenate([[0], np.cumsum(np.bincount(probed.ravel(), minlength=lists))])
    rows, cols, values = [], [], []
    for number in range(lists):
        inside = members[starts[number] : starts[number + 1]]
        who = asking[asked[number] : asked[number + 1]]
        if not len(inside):
            continue
        block, step = vectors[inside], max(1, _CELLS // len(inside))
        for at in range(0, len(who), step):
            some = who[at : at + step]
            row, col, value = _nearest(vectors[some] @ block.T, floor, k + 1)
            rows.append(some[row].astype(np.int32))
            cols.append(inside[col].astype(np.int32))
            values.append(value)
    return _best(np.concatenate(rows), np.concatenate(cols), np.concatenate(values), k)


def _best(row: Int32, col: Int32, value: Float32, k: int) -> tuple[Int64, Float32]:
    """The `k` pairs of the largest value for each row, without a row's pair with itself."""
    other = row != col
    row, col, value = row[other], col[other], value[other]
    # One sort by row, then by falling value: the bits of positive floats are in the order of the floats.
    falling = np.uint32(0xFFFFFFFF) - (value + np.float32(2)).view(np.uint32)
    order = np.argsort((row.astype(np.uint64) << np.uint64(32)) | falling)
    row, col, value = row[order], col[order], value[order]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    rank = np.arange(len(row)) - np.repeat(first, np.diff(first, append=len(row)))
    kept = rank < k
    return np.stack([row[kept], col[kept]], axis=1).astype(np.int64), value[kept]


def _by_index(index: Any, vectors: Float32, floor: float, k: int) -> tuple[Int64, Float32]:
    """The pairs that a flat index of FAISS finds, as `edges` gives them."""
    index.add(np.ascontiguousarray(vectors))
    pairs, values = [], []
    for at in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[at : at + _BLOCK])
        near, found = index.search(block, min(k + 1, len(vectors)))
        row, col = np.nonzero((near >= floor) & (found >= 0))
        pairs.append(np.stack([row + at, found[row, col]], axis=1).astype(np.int64))
        values.append(near[row, col])
    return _others(np.concatenate(pairs), np.concatenate(values))

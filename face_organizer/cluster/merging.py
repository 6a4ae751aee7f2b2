"""Agglomeration over a sparse graph: groups grow together as long as they are alike enough.

How alike two groups are is the mean cosine over their pairs, divided by the geometric mean of the lengths of
their mean vectors: between average linkage, which holds blurred faces away from a large group, and the cosine
of centers, which lets mixed groups attract one another. It follows from the sums of the vectors alone, so
that no pair of faces is ever looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.types import Float32, Int64

_ROWS = 1 << 17
_SMALL = 8


@dataclass
class Groups:
    """Groups under way: `label` (n,) of each point, their vector `sums` (g, d), `weight` and `known`.

    `known` (g,) int64 is the person that a group is said to be, or -1: two persons never merge. `refused`
    (m, 2) int64 are a group and a person that it holds no face of: it never merges with that one.
    """

    label: Int64
    sums: Float32
    weight: Float32
    known: Int64
    refused: Int64

    def length_of(self, which: Any) -> Float32:
        """Length of the mean vector of some groups: 1 where all faces are equal."""
        return np.asarray(np.linalg.norm(self.sums[which], axis=1) / self.weight[which], np.float32)


class Conflicts(NamedTuple):
    """Pairs of points that one photo shows: (m, 2); `cost` is what a full conflict takes from a cosine."""

    pairs: Int64
    cost: float


def start(points: Float32, weight: Float32, label: Int64, known: Int64, refused: Int64) -> Groups:
    """Groups `label` (n,), 0 to g-1, of the `points`, each counting `weight`."""
    count = int(label.max()) + 1 if len(label) else 0
    order = np.argsort(label, kind="stable")
    sums = points[order] * weight[order, None]
    if count < len(label):
        sums = np.add.reduceat(sums, np.searchsorted(label[order], np.arange(count)), axis=0)
    total = np.bincount(label, weight, count).astype(np.float32)
    return Groups(label, np.ascontiguousarray(sums, np.float32), total, known, refused)


def likeness(groups: Groups, pairs: Int64, length: Float32) -> Float32:
    """How alike the groups of each pair (m, 2) are."""
    found = np.empty(len(pairs), np.float32)
    for at in range(0, len(pairs), _ROWS):
        a, b = pairs[at : at + _ROWS].T
        dot = np.einsum("ij,ij->i", groups.sums[a], groups.sums[b])
        scale = groups.weight[a] * groups.weight[b] * np.sqrt(length[a] * length[b])
        found[at : at + _ROWS] = dot / np.maximum(scale, 1e-12)
    return found


def merge(
    groups: Groups,
    edges: Int64,
    threshold: float,
    conflicts: Conflicts | None = None,
    cosines: Float32 | None = None,
) -> Groups:
    """Merge along `edges` (m, 2) of groups until no two that are joined are alike by `threshold`.

    `cosines` (m,) of the faces that made the edges save looking at groups of one face again.

    Each round merges all pairs that are one another's nearest (Murtagh 1983: for a reducible linkage the same
    as one merge at a time), and small groups into the eight times larger one that is their nearest.
    """
    pairs, value = _first(groups, edges, cosines)
    length = groups.length_of(slice(None))
    while len(pairs):
        effective = value if conflicts is None else value - _conflict(groups, pairs, conflicts)
        allowed = (effective >= threshold) & ~_said_apart(groups, pairs)
        if not allowed.any():
            break
        parent = _joined(pairs[allowed], effective[allowed], groups)
        changed = _apply(groups, parent)
        length[changed] = groups.length_of(changed)
        moved = parent[pairs]
        keep = moved[:, 0] != moved[:, 1]
        stale = changed[moved[keep]].any(axis=1)
        moved, old = moved[keep], value[keep]
        fresh = _unique(moved[stale], len(groups.weight))
        pairs = np.concatenate([np.sort(moved[~stale], axis=1), fresh])
        value = np.concatenate([old[~stale], likeness(groups, fresh, length)])
    kept, label = np.unique(groups.label, return_inverse=True)
    refused = np.stack([np.searchsorted(kept, groups.refused[:, 0]), groups.refused[:, 1]], axis=1)
    return Groups(label.astype(np.int64), groups.sums[kept], groups.weight[kept], groups.known[kept], refused)


def _said_apart(groups: Groups, pairs: Int64) -> NDArray[np.bool_]:
    """Which `pairs` (m, 2) of groups never merge: two persons, or a person and who is said not to be it."""
    known = groups.known[pairs]
    apart = (known >= 0).all(axis=1) & (known[:, 0] != known[:, 1])
    width = int(groups.refused[:, 1].max(initial=-1)) + 1
    refusals = groups.refused @ np.array([width, 1])
    for side in (0, 1):
        rows = np.flatnonzero((known[:, side] >= 0) & (known[:, side] < width))
        apart[rows] |= np.isin(pairs[rows, 1 - side] * width + known[rows, side], refusals)
    return np.asarray(apart, np.bool_)


def _first(groups: Groups, edges: Int64, cosines: Float32 | None) -> tuple[Int64, Float32]:
    """Each pair of groups once, and how alike they are."""
    length, count = groups.length_of(slice(None)), len(groups.weight)
    if cosines is None:
        pairs = _unique(edges, count)
        return pairs, likeness(groups, pairs, length)
    single = (np.bincount(groups.label, minlength=count) == 1)[edges].all(axis=1)
    ends = np.sort(edges[single], axis=1)
    keys, first = np.unique(ends[:, 0] * count + ends[:, 1], return_index=True)
    rest = _unique(edges[~single], count)
    pairs = np.concatenate([np.stack([keys // count, keys % count], axis=1), rest])
    return pairs, np.concatenate([cosines[single][first], likeness(groups, rest, length)])


def _unique(pairs: Int64, count: int) -> Int64:
    """Each pair once, the smaller group first."""
    low, high = pairs.min(axis=1, initial=count), pairs.max(axis=1, initial=0)
    keys = np.unique((low * count + high)[low != high])
    return np.stack([keys // max(count, 1), keys % max(count, 1)], axis=1)


def _conflict(groups: Groups, pairs: Int64, conflicts: Conflicts) -> Float32:
    """What photos that show both groups take from their likeness: all of the cost where every other face
    of the smaller one stands beside one of the larger."""
    share = shown_together(groups, pairs, conflicts)
    return np.asarray(conflicts.cost * np.minimum(2 * share, 1), np.float32)


def shown_together(groups: Groups, pairs: Int64, conflicts: Conflicts) -> Float32:
    """(m,) of each pair of groups, how many photos show both, as a share of the smaller one's faces."""
    count = len(groups.weight)
    both = groups.label[conflicts.pairs]
    low, high = both.min(axis=1), both.max(axis=1)
    keys, times = np.unique((low * count + high)[low != high], return_counts=True)
    if not len(keys):
        return np.zeros(len(pairs), np.float32)
    wanted = pairs[:, 0] * count + pairs[:, 1]
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    seen = np.where(keys[at] == wanted, times[at], 0)
    sizes = np.bincount(groups.label, minlength=count)
    return np.asarray(seen / np.maximum(np.minimum(sizes[pairs[:, 0]], sizes[pairs[:, 1]]), 1), np.float32)


def _joined(pairs: Int64, value: Float32, groups: Groups) -> Int64:
    """For each group the one that it goes into (itself where it stays).

    Whom something was said of merges in pairs alone: nobody between brings two together who are apart.
    """
    weight, count = groups.weight, len(groups.weight)
    bound = groups.known >= 0
    bound[groups.refused[:, 0]] = True
    top = np.full(count, -np.inf, np.float32)
    best = np.full(count, count, np.int64)
    for side in (0, 1):
        np.maximum.at(top, pairs[:, side], value)
    for side in (0, 1):
        nearest = value == top[pairs[:, side]]
        np.minimum.at(best, pairs[nearest, side], pairs[nearest, 1 - side])
    best[best == count] = -1
    parent = np.arange(count)
    has = np.flatnonzero(best >= 0)
    mutual = has[best[best[has]] == has]
    parent[np.maximum(mutual, best[mutual])] = np.minimum(mutual, best[mutual])  # ties: the first
    rest = has[(best[best[has]] != has) & ~bound[has]]
    small = rest[weight[rest] * _SMALL <= weight[best[rest]]]
    parent[small] = best[small]
    while not np.array_equal(parent, up := parent[parent]):
        parent = up
    return parent


def _apply(groups: Groups, parent: Int64) -> NDArray[np.bool_]:
    """Carry a merge out in `groups`, in place; which groups grew. Those that went stay as empty places."""
    gone = np.flatnonzero(parent != np.arange(len(parent)))
    gone = gone[np.argsort(parent[gone], kind="stable")]
    into, first = np.unique(parent[gone], return_index=True)
    groups.sums[into] += np.add.reduceat(groups.sums[gone], first, axis=0)
    groups.weight[into] += np.add.reduceat(groups.weight[gone], first)
    groups.known[into] = np.maximum(groups.known[into], np.maximum.reduceat(groups.known[gone], first))
    groups.refused[:, 0] = parent[groups.refused[:, 0]]
    groups.label = parent[groups.label]
    changed = np.zeros(len(parent), np.bool_)
    changed[into] = True
    return changed

"""Small groups that stand too near to another one for chance: the other kind of mistake, weighed.

One threshold for the whole table counts strangers that are joined, and never asks how many parts of one
person stay apart. So each group is asked how far it stands out of its own crowd, all other groups, towards
its nearest one, z spreads. Of g - 1 strangers the nearest stands that far out by chance with p = 1 - (1 -
Φ(-z))^(g-1). If all groups were different people, g·t of them would have p ≤ t; where k do, g·t / k of these
are there by chance (the false discovery rate, Benjamini & Hochberg 1995). The nearest of one another are
merged as long as at least as many are right as wrong: up to a rate of one half, since a wrong merge of a
small group costs about as much as a right one wins. Two large groups are two people that were found already,
and stay apart."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster.merging import Conflicts, Groups, merge, shown_together
from face_organizer.types import Float32, Int64

SMALL = 4
"""Faces of a group that may still join another one."""
WRONG = 0.5
"""Of merges that may be chance."""
MOST_GROUPS = 5_000
"""The largest, that are looked at: all pairs of more are many."""
LEAST_GROUPS = 20
"""A crowd of fewer is no crowd: what is far out in it is not known."""
HEAVY_TAIL = 1.15
"""What the spreads of an embedder are divided by whose strangers' tail was not measured to be normal. Of
mobilefacenet_512's 2,900 groups of LFW the nearest stranger stands out 1.12 times as far as normal ones
would."""
TAILS = {"sface": 1.0}
"""Embedders whose nearest strangers stand out no further than those of a normal crowd (SFace: 0.96 times on
LFW)."""
HARDLY = 0.05
"""How likely chance may be to show so many groups that stand out."""
_ROUNDS, _COUNTED = 30, 40
_OF_EACH = 64  # faces of a group: more make no better mean
_NORMAL = NormalDist()
_LEFT = 0.158655  # one standard deviation below the median
_LEAST_SPREAD = 0.03


def _most_by_chance(count: int) -> float:
    """The most that may be expected by chance where `count` are seen, for `HARDLY` to be how likely that
    is."""
    low, high = 0.0, float(count)
    for _ in range(40):
        mean = (low + high) / 2
        below = math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(count))
        low, high = (mean, high) if 1 - below <= HARDLY else (low, mean)
    return low


_MOST_BY_CHANCE = np.array([*(_most_by_chance(k) for k in range(1, _COUNTED)), np.inf])


def gathered(groups: Groups, embeddings: Float32, tail: float, conflicts: Conflicts | None) -> Groups:
    """`groups` with the small ones joined to what they stand too near to for chance; see above. Groups that
    one photo shows together, and those that are said to be two, stay apart."""
    for _ in range(_ROUNDS):
        before = len(groups.weight)
        if before < LEAST_GROUPS:
            break
        largest = np.sort(np.argsort(-groups.weight, kind="stable")[:MOST_GROUPS])
        nearest, chance = _nearest(_centers(groups.label, largest, embeddings), tail)
        near = _too_near(chance)
        rows = np.flatnonzero(near & near[nearest] & (nearest[nearest] == np.arange(len(largest))))
        rows = rows[rows < nearest[rows]]
        pairs = largest[np.stack([rows, nearest[rows]], axis=1)]
        pairs = pairs[groups.weight[pairs].min(axis=1) <= SMALL]
        if conflicts is not None:
            pairs = pairs[shown_together(groups, pairs, conflicts) == 0]
        groups = merge(groups, pairs, -1.0)
        if len(groups.weight) == before:
            break
    return groups


def _centers(labels: Int64, which: Int64, embeddings: Float32) -> Float32:
    """(g, d) the directions of the means of groups `which`, of at most `_OF_EACH` faces each."""
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], [which, which + 1])
    counts = ends[1] - ends[0]
    taken = np.minimum(counts, _OF_EACH)
    starts = np.cumsum(taken) - taken
    nth = np.arange(int(taken.sum())) - np.repeat(starts, taken)  # evenly over each group
    at = np.repeat(ends[0], taken) + nth * np.repeat(counts, taken) // np.repeat(taken, taken)
    means = np.add.reduceat(np.asarray(embeddings[order[at]], np.float32), starts, axis=0)
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12), np.float32)


def _nearest(centers: Float32, tail: float) -> tuple[Int64, NDArray[np.float64]]:
    """(g,) the group that each stands out towards most, by both crowds, and how likely chance makes that."""
    cosines = np.asarray(centers @ centers.T, np.float32)
    count = len(cosines)
    others = cosines[~np.eye(count, dtype=np.bool_)].reshape(count, count - 1)
    low, middle = np.quantile(others, [_LEFT, 0.5], axis=1)
    spread = np.maximum(middle - low, _LEAST_SPREAD)
    # A group in an empty corner has a crowd that is too narrow: none is narrower than the usual one.
    middle, spread = np.maximum(middle, np.median(middle)), np.maximum(spread, np.median(spread))
    out: Float32 = (cosines - middle[:, None]) / (spread[:, None] * tail)
    out = np.minimum(out, out.T)
    np.fill_diagonal(out, -np.inf)
    nearest = np.asarray(out.argmax(axis=1), np.int64)
    stranger = np.array([_NORMAL.cdf(-float(z)) for z in out.max(axis=1)])
    return nearest, -np.expm1((count - 1) * np.log1p(-np.minimum(stranger, 0.5)))


def _too_near(chance: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(g,) the groups that are among the least likely ones of which at most `WRONG` are there by chance,
    where chance alone would hardly show so many at all (Poisson)."""
    order = np.argsort(chance, kind="stable")
    wrong, count = len(chance) * chance[order], np.arange(1, len(chance) + 1)
    most = _MOST_BY_CHANCE[np.minimum(count, _COUNTED) - 1]
    last = np.flatnonzero(wrong <= np.minimum(WRONG * count, most))
    near = np.zeros(len(chance), np.bool_)
    near[order[: last[-1] + 1 if len(last) else 0]] = True
    return near

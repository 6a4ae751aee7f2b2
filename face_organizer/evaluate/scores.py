"""How good a clustering is against known people: pairwise and BCubed scores, NMI, purity.

All of them follow from the table of counts of (cluster, person). A face in no cluster (label -1) counts as a
cluster of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.errors import ClusterError
from face_organizer.types import Int64


@dataclass(frozen=True, slots=True)
class Scores:
    """Each in [0, 1], 1 is best. NaN where there is nothing to divide by (no two faces of one person)."""

    pairwise_precision: float
    pairwise_recall: float
    pairwise_f: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f: float
    nmi: float
    purity: float

    def as_dict(self) -> dict[str, float]:
        """Name → value."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PersonScore:
    """One person: number of faces, their mean BCubed precision and recall, the F of both, and the number of
    clusters that they lie in."""

    person: str
    faces: int
    precision: float
    recall: float
    f: float
    clusters: int


class _Counts(NamedTuple):
    """The table of (cluster, person), its cells that are not empty: their counts, their cluster and person;
    and the sizes of all clusters and persons."""

    cells: NDArray[np.float64]
    cell_cluster: Int64
    cell_person: Int64
    cluster: NDArray[np.float64]
    person: NDArray[np.float64]


def score(labels: Int64, people: Sequence[str]) -> Scores:
    """The scores of cluster `labels` (n,) against the names of `people` (n). Raises `ClusterError`.

    BCubed: Bagga & Baldwin 1998, Amigo et al. 2009. NMI is normalised by the arithmetic mean of the
    entropies.
    """
    c = _counts(labels, people)
    n = c.cells.sum()
    own_cluster, own_person = c.cluster[c.cell_cluster], c.person[c.cell_person]
    together = _pairs(c.cells).sum()
    precision = _ratio(together, _pairs(c.cluster).sum())
    recall = _ratio(together, _pairs(c.person).sum())
    b_precision = float((c.cells * c.cells / own_cluster).sum() / n)
    b_recall = float((c.cells * c.cells / own_person).sum() / n)
    information = float((c.cells / n * np.log(n * c.cells / (own_cluster * own_person))).sum())
    entropy = (_entropy(c.cluster) + _entropy(c.person)) / 2
    best = np.zeros(len(c.cluster))
    np.maximum.at(best, c.cell_cluster, c.cells)
    return Scores(
        precision,
        recall,
        _f(precision, recall),
        b_precision,
        b_recall,
        _f(b_precision, b_recall),
        min(max(information / entropy, 0.0), 1.0) if entropy > 0 else 1.0,
        float(best.sum() / n),
    )


def worst(labels: Int64, people: Sequence[str], number: int = 10) -> list[PersonScore]:
    """The people with the lowest BCubed F of all, lowest first. Raises `ClusterError`."""
    c = _counts(labels, people)
    names = np.unique(np.asarray(people, object))
    sizes = len(names)
    precision = np.bincount(c.cell_person, c.cells**2 / c.cluster[c.cell_cluster], sizes) / c.person
    recall = np.bincount(c.cell_person, c.cells**2 / c.person[c.cell_person], sizes) / c.person
    clusters = np.bincount(c.cell_person, minlength=sizes)
    all_f = 2 * precision * recall / (precision + recall)
    order = np.lexsort((np.arange(sizes), all_f))[:number]
    columns = (names, c.person.astype(int), precision, recall, all_f, clusters)
    return [PersonScore(*row) for row in zip(*(column[order].tolist() for column in columns), strict=True)]


def _counts(labels: Int64, people: Sequence[str]) -> _Counts:
    if len(labels) != len(people):
        raise ClusterError(f"{len(labels)} labels for {len(people)} faces")
    if not len(labels):
        raise ClusterError("there are no faces to judge")
    alone = labels < 0
    own = np.where(alone, np.cumsum(alone) + labels.max(), labels)
    cluster = np.unique(own, return_inverse=True)[1]
    person = np.unique(np.asarray(people, object), return_inverse=True)[1]
    width = int(person.max()) + 1
    cell, count = np.unique(cluster.astype(np.int64) * width + person, return_counts=True)
    sizes = (np.bincount(cluster).astype(np.float64), np.bincount(person).astype(np.float64))
    return _Counts(count.astype(np.float64), cell // width, cell % width, *sizes)


def _pairs(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    return sizes * (sizes - 1) / 2


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _f(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _entropy(sizes: NDArray[np.float64]) -> float:
    share = sizes / sizes.sum()
    return float(-(share * np.log(share)).sum())

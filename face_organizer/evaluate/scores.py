"""How good a clustering is against known people: pairwise and BCubed scores, NMI, purity.

All of them follow from three numbers of each face: how many faces its cluster has, its person, and both. A
face in no cluster (label -1) counts as a cluster of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.errors import ClusterError
from face_organizer.types import Int64


class Scores(NamedTuple):
    """Each in [0, 1], 1 is best. NaN where there is nothing to divide by (no two faces of one person)."""

    pairwise_precision: float
    pairwise_recall: float
    pairwise_f: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f: float
    nmi: float
    purity: float


class PersonScore(NamedTuple):
    """One person: number of faces, their mean BCubed precision and recall, the F of both, and the number of
    clusters that they lie in."""

    person: str
    faces: int
    precision: float
    recall: float
    f: float
    clusters: int


def score(labels: Int64, people: Sequence[str]) -> Scores:
    """The scores of cluster `labels` (n,) against the names of `people` (n). Raises `ClusterError`.

    BCubed: Bagga & Baldwin 1998, Amigo et al. 2009. NMI is normalised by the arithmetic mean of the
    entropies.
    """
    (of_cluster, _, _), (cluster, person, both) = _counted(labels, people)
    n = len(labels)
    together = (both - 1).sum()
    precision, recall = (_ratio(together, (sizes - 1).sum()) for sizes in (cluster, person))
    b_precision, b_recall = float((both / cluster).mean()), float((both / person).mean())
    information = float(np.log(n * both / (cluster * person)).mean())
    entropy = -float(np.log(cluster / n).mean() + np.log(person / n).mean()) / 2
    best = np.zeros(n)
    np.maximum.at(best, of_cluster, both)
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
    (_, of_person, _), (cluster, _, both) = _counted(labels, people)
    names, faces = np.unique(np.asarray(people, object), return_counts=True)
    precision = np.bincount(of_person, both / cluster) / faces
    recall = np.bincount(of_person, both) / faces**2
    clusters = np.rint(np.bincount(of_person, 1 / both)).astype(int)
    all_f = 2 * precision * recall / (precision + recall)
    order = np.argsort(all_f, kind="stable")[:number]
    columns = (names, faces, precision, recall, all_f, clusters)
    return [PersonScore(*row) for row in zip(*(column[order].tolist() for column in columns), strict=True)]


def _counted(labels: Int64, people: Sequence[str]) -> tuple[list[Int64], list[NDArray[np.float64]]]:
    """Of each face, (n,) each: the number of its cluster, of its person, and of both; and how many faces
    these have."""
    if len(labels) != len(people):
        raise ClusterError(f"{len(labels)} labels for {len(people)} faces")
    if not len(labels):
        raise ClusterError("there are no faces to judge")
    alone = labels < 0
    own = np.where(alone, np.cumsum(alone) + labels.max(), labels)
    cluster, person = (np.unique(x, return_inverse=True)[1] for x in (own, np.asarray(people, object)))
    both = np.unique(cluster * (person.max() + 1) + person, return_inverse=True)[1]
    numbers = [cluster, person, both]
    return numbers, [np.bincount(x)[x].astype(np.float64) for x in numbers]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _f(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

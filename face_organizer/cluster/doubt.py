"""Between sure and stranger: how near every other face is to each person, and persons that may be one.

How near means: how far a cosine stands out of the crowd that a person has in this very table (`strangers`).
Which of many faces stand out is decided by how many would by chance (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster.constraints import Hints
from face_organizer.cluster.graph import Found, without
from face_organizer.cluster.labels import Clustering, from_labels
from face_organizer.cluster.neighbours import edges
from face_organizer.cluster.strangers import Crowd, chance, crowds_of
from face_organizer.cluster.threshold import SAMPLE, sample_rows
from face_organizer.types import Float32, Int64

FACES_AN_ANSWER = 50
"""So many faces for each member that is doubted."""
SURE, REVIEW = 0.0003, 0.5
"""The share of strangers, in expectation, among all faces of the persons, and among those for review."""
_ROUNDS, _FACES_OF_EACH = 5, 3
_CELLS = 1 << 23  # cosines, or numbers of vectors, at a time: 32 MB
_UNUSUAL = 0.1  # strangers as near as two persons that may be one: fewer than that are expected


class Near(NamedTuple):
    """The person (r,) to which each of `rows` (r,) is nearest, how far it stands out of that person's crowd,
    and how alike it is to the person, to be held against the threshold; -inf where all refuse it."""

    rows: Int64
    person: Int64
    surplus: Float32
    likeness: Float32

    def standing_out(self, share: float, persons: int, sure: int = 0) -> NDArray[np.bool_]:
        """Which rows to lay to their persons, (r,): of those and `sure` others a `share` may be strangers."""
        least = np.array([max(persons, 1) * chance(value) for value in self.surplus.tolist()])
        order = np.argsort(least, kind="stable")
        rank = np.arange(1, len(order) + 1) + sure
        passing = np.flatnonzero(least[order] <= share * rank / (len(order) + sure))
        return least <= (least[order[passing[-1]]] if len(passing) else -1)


@dataclass(frozen=True, slots=True)
class Persons:
    """The k persons of a table as a crowd sees them: unit `centers` (k, d) without what all faces share, the
    length (k,) of their mean vectors, and their crowds."""

    centers: Float32
    length: Float32
    crowds: Sequence[Crowd]
    found: Found

    @classmethod
    def of(cls, embeddings: Float32, division: Clustering, found: Found, seed: int) -> Persons:
        """Read from unit vectors (n, d); crowds from at most `SAMPLE` faces, few of each person."""
        sizes = division.sizes()
        inside = division.labels >= 0
        length = np.bincount(division.labels[inside], division.similarity[inside], len(sizes)) / sizes
        means: Float32 = division.centers * length[:, None].astype(np.float32)
        if found.shift is not None:
            means = means - found.shift
        length = np.linalg.norm(means, axis=1).astype(np.float32)
        centers: Float32 = means / np.maximum(length[:, None], np.float32(1e-12))
        rows = _of_each(division, sample_rows(embeddings, SAMPLE, seed))
        cosines = without(np.asarray(embeddings[rows], np.float32), found.shift) @ centers.T
        own = division.labels[rows]
        cosines[np.flatnonzero(own >= 0), own[own >= 0]] = np.nan
        return cls(centers, length, crowds_of(cosines), found)

    def nearest(self, embeddings: Float32, rows: Int64, barred: Int64) -> Near:
        """The nearest person of each of `rows` (r,), ascending; `barred` (m, 2) are a row and a person each
        that it is not."""
        middle = np.array([crowd.center for crowd in self.crowds], np.float32)
        spread = np.array([crowd.spread for crowd in self.crowds], np.float32)
        person, surplus = np.zeros(len(rows), np.int64), np.full(len(rows), -np.inf, np.float32)
        likeness = surplus.copy()
        at = np.searchsorted(rows, barred[:, 0])
        inside = np.isin(barred[:, 0], rows)
        refused = np.stack([at[inside], barred[inside, 1]], axis=1)
        step = max(1, _CELLS // max(len(middle), embeddings.shape[1]))
        for start in range(0, len(rows) if len(middle) else 0, step):
            part = slice(start, start + step)
            cosines = without(embeddings[rows[part]], self.found.shift) @ self.centers.T
            out = (cosines - middle) / spread
            here = refused[(refused[:, 0] >= start) & (refused[:, 0] < start + len(out))]
            out[here[:, 0] - start, here[:, 1]] = -np.inf
            person[part] = best = out.argmax(axis=1)
            surplus[part], own = out.max(axis=1), (np.arange(len(out)), best)
            alike = cosines[own] * np.sqrt(self.length[best])
            likeness[part] = np.where(surplus[part] > -np.inf, alike, -np.inf)
        return Near(rows, person, surplus, likeness)


def _of_each(division: Clustering, rows: Int64) -> Int64:
    """`rows` of faces in no cluster, and of each cluster the most typical ones: a hundred photos of one other
    person lie closer together than a hundred strangers, and would make the crowd look narrow."""
    order = rows[np.lexsort((-division.similarity[rows], division.labels[rows]))]
    labels = division.labels[order]
    rank = np.arange(len(order)) - np.searchsorted(labels, labels)
    return np.sort(order[(labels < 0) | (rank < _FACES_OF_EACH)])


def absorbed(
    embeddings: Float32, labels: Int64, hints: Hints, found: Found, others: Float32, seed: int
) -> Int64:
    """`labels` (n,), and with them the faces that stand out of a person's crowd, so far that a share `SURE`
    of all faces of persons are strangers; `others` (g, d) are the mean vectors of further people,
    who keep theirs."""
    away = others / np.sqrt(np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12))
    for _ in range(_ROUNDS):
        out = np.flatnonzero(labels < 0)
        if not len(out) or len(out) == len(labels):
            break
        division = from_labels(embeddings, labels)
        near = Persons.of(embeddings, division, found, seed).nearest(
            embeddings, out, hints.barred(division.labels)
        )
        taken = np.flatnonzero(near.standing_out(SURE, len(division.centers), len(labels) - len(out)))
        if len(others):
            vectors = without(embeddings[out[taken]], found.shift)
            taken = taken[(vectors @ away.T).max(axis=1) < found.threshold]
        labels = division.labels.copy()
        labels[out[taken]] = near.person[taken]
        beside = hints.conflicts[(labels[hints.conflicts[:, 0]] == labels[hints.conflicts[:, 1]])].ravel()
        labels[np.intersect1d(beside, out[taken])] = -1
        if np.array_equal(labels, division.labels):
            break
    return labels


class Outsider(NamedTuple):
    """A face, by row, that may not be its person, and the cosine to the person's other faces together."""

    face: int
    person: int
    similarity: float


def outsiders(division: Clustering, found: Found, sure: NDArray[np.bool_]) -> list[Outsider]:
    """The members that are least like the others of their person, at most one per 50 faces, as long as they
    are nearer to the threshold than to two usual photos of one person; without those who are `sure` (n,). Of
    two faces that are a person the first stands for both."""
    labels, sizes = division.labels, division.sizes()
    inside = labels >= 0
    length = np.bincount(labels[inside], division.similarity[inside], len(sizes)) / np.maximum(sizes, 1)
    asked = inside & ~sure
    size = np.where(inside, sizes[labels] if len(sizes) else 0, 0)
    asked &= size > 1
    asked[size == 2] &= np.isin(np.flatnonzero(size == 2), np.unique(labels, return_index=True)[1])
    rows = np.flatnonzero(asked)
    # Of the sum of n vectors what is left without one of them, and its cosine to that one.
    total, own = size[rows] * length[labels[rows]], division.similarity[rows]
    rest = np.sqrt(np.maximum(total**2 - 2 * total * own + 1, 1e-12))
    cosine = (total * own - 1) / rest
    usual = np.fmax(found.strangers.typical, found.threshold)
    order = np.argsort(cosine, kind="stable")[: len(labels) // FACES_AN_ANSWER + 1]
    order = order[cosine[order] < (found.threshold + usual) / 2]
    return [Outsider(int(rows[i]), int(labels[rows[i]]), round(float(cosine[i]), 4)) for i in order]


class Doubt(NamedTuple):
    """What is not sure of n faces and their persons: see the fields of `People` of these names."""

    review: Int64
    nearness: Float32
    suggestions: Sequence[Suggestion]


def doubt(
    embeddings: Float32,
    division: Clustering,
    found: Found,
    rows: Int64,
    barred: Int64,
    differ: set[tuple[int, int]],
    seed: int,
) -> Doubt:
    """What is not sure: of `rows`, ascending, those in no cluster, `barred` (`Hints.barred`) from some, and
    of the persons, without the pairs (i < j) that `differ`."""
    persons = Persons.of(embeddings, division, found, seed)
    out = rows[division.labels[rows] < 0]
    near = persons.nearest(embeddings, out, barred)
    review, nearness = np.full(len(embeddings), -1, np.int64), np.full(len(embeddings), np.nan, np.float32)
    nearness[out] = near.likeness
    likely = near.standing_out(REVIEW, len(division.centers))
    review[out[likely]] = near.person[likely]
    return Doubt(review, nearness, suggestions(persons, differ))


class Suggestion(NamedTuple):
    """Two persons, by number, that may be one: the smaller one first, and how alike they are, which is to be
    held against the threshold."""

    person: int
    other: int
    likeness: float


def suggestions(persons: Persons, differ: set[tuple[int, int]]) -> list[Suggestion]:
    """Persons that may be one, the likeliest first, without the pairs (i < j) in `differ`."""
    if len(persons.centers) < 2:
        return []
    pairs, cosines = edges(persons.centers, -1.0, min(16, len(persons.centers) - 1))
    pairs.sort(axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    found = []
    for (i, j), cosine in zip(pairs.tolist(), cosines[first].tolist(), strict=True):
        surplus = (persons.crowds[i].surplus(cosine) + persons.crowds[j].surplus(cosine)) / 2
        if (i, j) not in differ and chance(surplus) * len(persons.centers) <= _UNUSUAL:
            likeness = cosine * float(np.sqrt(persons.length[i] * persons.length[j]))
            found.append((surplus, Suggestion(j, i, round(likeness, 4))))
    return [one for _, one in sorted(found, key=lambda item: -item[0])]

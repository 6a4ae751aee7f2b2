"""The search itself: one exact pass over all vectors for all persons at once, and what is a match.

What decides is the cosine to the mean of a person's references, against the crowd that this mean has in the
collection. Measured on LFW with two embedders against the best reference, their median, the least one and
mixes (docs/search.md): the mean finds more at the same precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_organizer.search.profiles import Profile
from face_organizer.search.threshold import Crowd, crowd_of, sample
from face_organizer.types import FaceTable, Float32, Int64

FALSE_MATCHES = 2e-6
REVIEW_TIMES = 100
"""The review threshold lets so many times more strangers through than the one for matches."""
STRICT_TIMES = 0.1
CONFIDENCE = (("very high", 1e-9), ("high", 1e-7), ("medium", 1e-5), ("low", 1.0))
"""Words for the share of other people's faces that come as near as this one, up to so many."""
_MOST_REVIEW = 1e-2
_BLOCK = 16_384  # rows at a time: 33 MB of 512 dimensions


@dataclass(frozen=True, slots=True)
class Rules:
    """How to decide. `false_matches` is the share of other people's faces that may pass for a match, 0 to 1;
    `threshold` a cosine that overrides it; `strict` wants more references to agree; `second_opinion` asks
    embeddings weighted by the variance of their elements too."""

    false_matches: float = FALSE_MATCHES
    threshold: float | None = None
    strict: bool = False
    second_opinion: bool = False

    @property
    def match_rate(self) -> float:
        """The false-match rate in force."""
        return self.false_matches * (STRICT_TIMES if self.strict else 1)

    @property
    def review_rate(self) -> float:
        """That of what is shown for review."""
        return max(self.match_rate, min(self.false_matches * REVIEW_TIMES, _MOST_REVIEW))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The faces that may show one person, the nearest first: k rows of the table.

    `similarity` and `best` are (k,) float32 cosines to the mean and to the nearest reference; `agree` (k,)
    counts references above `review`; `is_match` (k,) tells matches from what wants a look, and `reasons` why.
    """

    profile: Profile
    crowd: Crowd
    match: float
    review: float
    rows: Int64
    similarity: Float32
    best: Float32
    agree: Int64
    is_match: NDArray[np.bool_]
    reasons: Sequence[str]

    def chance(self, i: int) -> float:
        """The share of other people's faces that come as near as the i-th."""
        return self.crowd.chance(float(self.similarity[i]))

    def confidence(self, i: int) -> str:
        """That share in a word of `CONFIDENCE`."""
        chance = self.chance(i)
        return next(word for word, most in CONFIDENCE if chance <= most)


def search(
    embeddings: Float32,
    profiles: Sequence[Profile],
    rules: Rules,
    on_rows: Callable[[int], object] = lambda count: None,
) -> list[Found]:
    """What of (n, d) `embeddings`, which may be memory-mapped, shows each of `profiles`.

    Exact: every face is compared with every person. A face that is a match of two persons stays with the one
    whose crowd it stands out of most; for the other it is for review.
    """
    some = sample(embeddings)
    centers = np.stack([p.center for p in profiles])
    crowds = [crowd_of(column) for column in (some @ centers.T).T]
    match = [
        rules.threshold if rules.threshold is not None else c.threshold(rules.match_rate) for c in crowds
    ]
    review = [min(m, c.threshold(rules.review_rate)) for m, c in zip(match, crowds, strict=True)]
    hits = _scan(embeddings, centers, np.array(review, np.float32), on_rows)
    opinion = _Weighted.of(some, profiles) if rules.second_opinion else None
    found = []
    for i, (profile, (rows, cosines)) in enumerate(zip(profiles, hits, strict=True)):
        order = np.lexsort((rows, -cosines))
        rows, cosines = rows[order], cosines[order]
        single = _to_references(embeddings, rows, profile)
        agree = (single >= review[i]).sum(axis=1).astype(np.int64)
        reasons = [""] * len(rows)
        _doubt(reasons, cosines < match[i], "below the threshold for a match")
        if rules.strict:
            wanted = -(-2 * len(profile.vectors) // 3)
            _doubt(reasons, agree < wanted, f"fewer than {wanted} references agree")
        if opinion:
            limit = rules.match_rate if rules.threshold is None else rules.review_rate
            _doubt(reasons, ~opinion.agrees(i, embeddings, rows, limit), "the second opinion is another one")
        is_match = np.array([not reason for reason in reasons], np.bool_)
        best = single.max(axis=1).astype(np.float32)
        found.append(
            Found(profile, crowds[i], match[i], review[i], rows, cosines, best, agree, is_match, reasons)
        )
    return _one_person_a_face(found)


def _doubt(reasons: list[str], mask: NDArray[np.bool_], why: str) -> None:
    for at in np.flatnonzero(mask):
        reasons[at] = reasons[at] or why


def _scan(
    embeddings: Float32, centers: Float32, least: Float32, on_rows: Callable[[int], object]
) -> list[tuple[Int64, Float32]]:
    """Of each center, the rows whose cosine reaches `least`, and the cosines."""
    parts: list[list[tuple[Int64, Float32]]] = [[] for _ in centers]
    columns = np.ascontiguousarray(centers.T)
    for start in range(0, len(embeddings), _BLOCK):
        cosines = embeddings[start : start + _BLOCK] @ columns
        rows, persons = np.nonzero(cosines >= least)
        for i in np.unique(persons):
            hit = rows[persons == i]
            parts[i].append((hit + start, cosines[hit, i]))
        on_rows(len(cosines))
    nothing = (np.empty(0, np.int64), np.empty(0, np.float32))
    return [
        (np.concatenate([r for r, _ in part]), np.concatenate([c for _, c in part])) if part else nothing
        for part in parts
    ]


def _to_references(embeddings: Float32, rows: Int64, profile: Profile) -> Float32:
    """(k, m) cosines of some rows to each reference."""
    made = np.empty((len(rows), len(profile.vectors)), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        made[part] = embeddings[rows[part]] @ profile.vectors.T
    return made


def _one_person_a_face(found: list[Found]) -> list[Found]:
    claims: dict[int, list[tuple[float, int, int]]] = {}
    for person, one in enumerate(found):
        for at in np.flatnonzero(one.is_match).tolist():
            surplus = (float(one.similarity[at]) - one.crowd.center) / one.crowd.spread
            claims.setdefault(int(one.rows[at]), []).append((-surplus, person, at))
    for rivals in claims.values():
        (_, winner, _), *losers = sorted(rivals)
        for _, person, at in losers:
            found[person].is_match[at] = False
            found[person].reasons[at] = f"more like {found[winner].profile.name}"  # type: ignore[index]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Weighted:
    """Cosines of embeddings whose elements are divided by their spread over the collection."""

    weights: Float32
    centers: Float32
    crowds: Sequence[Crowd]

    @classmethod
    def of(cls, some: Float32, profiles: Sequence[Profile]) -> _Weighted:
        weights = np.asarray(1 / np.sqrt(some.var(axis=0) + 1e-6), np.float32)
        centers = np.stack([_unit(p.vectors * weights).mean(axis=0) for p in profiles])
        centers = _unit(np.asarray(centers, np.float32))
        crowds = [crowd_of(column) for column in (_unit(some * weights) @ centers.T).T]
        return cls(weights, centers, crowds)

    def agrees(self, i: int, embeddings: Float32, rows: Int64, rate: float) -> NDArray[np.bool_]:
        limit = self.crowds[i].threshold(rate)
        return np.asarray(_unit(embeddings[rows] * self.weights) @ self.centers[i] >= limit, np.bool_)


def _unit(vectors: Float32) -> Float32:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6), np.float32)


def photos(table: FaceTable, found: Found) -> dict[int, tuple[int, bool]]:
    """File → (position in `found` of its best face, whether it is a match), matches before reviews."""
    best: dict[int, tuple[int, bool]] = {}
    files = table.faces.file_index[found.rows].tolist()
    for at, (file, match) in enumerate(zip(files, found.is_match.tolist(), strict=True)):
        if file not in best or (match and not best[file][1]):
            best[file] = (at, match)
    return best

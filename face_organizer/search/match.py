"""The comparison: one exact pass over all vectors for all persons at once, and what is a match.

What decides is the cosine to the mean of a person's references, against the crowd that this mean has in the
collection: of several rules the one that finds most at the same precision (docs/search.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster.strangers import WRONG_LINKS, Crowd, crowds_of, sample
from face_organizer.cluster.threshold import estimate
from face_organizer.errors import UsageError
from face_organizer.organize import Placed
from face_organizer.search import FALSE_MATCHES
from face_organizer.search.profiles import Profile
from face_organizer.types import FaceTable, Float32, Int64

_STRICT_TIMES, _REVIEW_TIMES, _MOST_REVIEW = 0.1, 100, 1e-2  # strangers let through, as multiples, at most
CONFIDENCE = (("very high", 1e-9), ("high", 1e-7), ("medium", 1e-5), ("low", 1.0))
"""Words for how few of other people's faces come as near as this one: at most that share."""
MATCH, REVIEW = "match", "review"
TOO_LOW = "below the threshold for a match"
_MOST_WIDENING = 30  # sure matches: more make no better mean
_BLOCK = 16_384  # rows at a time: 33 MB of 512 dimensions


@dataclass(frozen=True, slots=True)
class Rules:
    """How to decide: the options of `search` of these names; `widen` asks for a second pass, see
    `settled`."""

    false_matches: float | None = None
    threshold: float | None = None
    strict: bool = False
    widen: bool = False

    def __post_init__(self) -> None:
        if self.false_matches is not None and not 1e-12 <= self.false_matches <= 0.1:
            raise UsageError(f"false_matches must be from 1e-12 to 0.1, not {self.false_matches}")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise UsageError(f"threshold must be a cosine from -1 to 1, not {self.threshold}")

    def settled(self, embeddings: Float32) -> Rules:
        """The rules for a collection of these (n, d) embeddings. An album is one of few people, most of them
        on several photos: few others can look alike by chance, so of its faces 0.003 are let through in all,
        as by `cluster`, and there is a second pass."""
        faces = len(embeddings)
        album = 0 < faces < WRONG_LINKS / FALSE_MATCHES and estimate(embeddings).people <= faces / 3
        rate = self.false_matches or (WRONG_LINKS / faces if album else FALSE_MATCHES)
        return replace(self, false_matches=rate, widen=album and self.threshold is None)

    def thresholds(self, crowd: Crowd) -> tuple[float, float]:
        """The cosines from which a face is a match, and for review."""
        share = self.false_matches or FALSE_MATCHES
        rate = share * (_STRICT_TIMES if self.strict else 1)
        review = crowd.threshold(max(rate, min(share * _REVIEW_TIMES, _MOST_REVIEW)))
        match = crowd.threshold(rate) if self.threshold is None else self.threshold
        return match, min(match, review)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The faces that may show one person: k rows of `table`, the nearest first, each a match or for review.

    `similarity` and `best` are (k,) float32 cosines to the mean and to the nearest reference; `agree` (k,)
    int64 counts references whose cosine reaches `review_threshold`; `is_match` (k,) tells matches from faces
    for review, whose `reasons` say why they are no match.
    """

    profile: Profile
    table: FaceTable
    crowd: Crowd
    match_threshold: float
    review_threshold: float
    rows: Int64
    similarity: Float32
    best: Float32
    agree: Int64
    is_match: NDArray[np.bool_]
    reasons: list[str]

    @property
    def name(self) -> str:
        """What the person is called."""
        return self.profile.name

    @property
    def folders(self) -> tuple[str, str]:
        """Where photos of the person go, and doubtful ones, below the output folder."""
        return self.name, f"{self.name}/{REVIEW}"

    @property
    def matches(self) -> Int64:
        """The rows of the table that show the person, the nearest first."""
        return self.rows[self.is_match]

    @property
    def review(self) -> Int64:
        """The rows of the table that may show the person, the nearest first."""
        return self.rows[~self.is_match]

    def source(self, i: int) -> str:
        """The path of the photo or video that the i-th face is on."""
        return str(self.table.files.path[self.table.faces.file_index[self.rows[i]]])

    def photos(self) -> dict[str, bool]:
        """The path of each photo or video that may show the person → whether a face on it is a match."""
        files = self.table.faces.file_index[self.rows]
        sure = set(files[self.is_match].tolist())
        return {self.table.files.path[file]: file in sure for file in np.unique(files).tolist()}

    def now(self, path: str, placed: Placed) -> str:
        """Where one of these photos was put, below the output folder; empty where it was not."""
        return next((placed[path, folder] for folder in self.folders if (path, folder) in placed), "")

    def videos(self) -> dict[str, list[tuple[float, float]]]:
        """For each video with a match: the seconds (from, to) in which the person is seen, in order, those
        that touch as one."""
        faces, seen = self.table.faces, defaultdict[str, list[tuple[float, float]]](list)
        rows = self.matches[~np.isnan(faces.seen_from[self.matches])]
        for row in rows[np.lexsort((faces.seen_from[rows], faces.file_index[rows]))]:
            start, end = round(float(faces.seen_from[row]), 2), round(float(faces.seen_to[row]), 2)
            spans = seen[self.table.files.path[faces.file_index[row]]]
            if spans and start <= spans[-1][1]:
                start, before = spans.pop()
                end = max(before, end)
            spans.append((start, end))
        return dict(seen)


def compare(
    table: FaceTable,
    profiles: Sequence[Profile],
    rules: Rules,
    heed: Callable[[Candidates], Candidates] = lambda one: one,
) -> list[Candidates]:
    """Which faces of `table`, whose embeddings may be memory-mapped, may show each of `profiles`.

    Exact: every face is compared with every person. A face that is a match of two persons stays with the one
    whose crowd it stands out of most; for the other it is for review. `heed` may know better of each person.
    """
    rules, some = rules.settled(table.embeddings), sample(table.embeddings)
    centers = np.stack([p.center for p in profiles])
    crowds = crowds_of(some @ centers.T)
    least = np.array([rules.thresholds(crowd)[1] for crowd in crowds], np.float32)
    hits = zip(profiles, crowds, _scan(table.embeddings, centers, least), strict=True)
    found = [heed(_candidates(table, profile, crowd, rules, *hit)) for profile, crowd, hit in hits]
    _one_person_per_face(found)
    if rules.widen:
        _widen(found, some, rules)
        _one_person_per_face(found)
    return found


def _widen(found: Sequence[Candidates], some: Float32, rules: Rules) -> None:
    """Make matches of those faces for review that are near enough to the mean of references and sure matches.

    Once only, and only of what the references themselves call alike: it cannot run away to somebody else.
    """
    wider = []
    for one in found:
        sure = np.asarray(one.table.embeddings[one.matches[:_MOST_WIDENING]])
        mean = np.concatenate([one.profile.vectors, sure]).mean(axis=0)
        wider.append(mean / max(float(np.linalg.norm(mean)), 1e-6))
    crowds = crowds_of(some @ np.array(wider, np.float32).T)
    for one, center, crowd in zip(found, wider, crowds, strict=True):
        least, _ = rules.thresholds(crowd)
        for at in np.flatnonzero(one.table.embeddings[one.rows] @ center >= least).tolist():
            if one.reasons[at] == TOO_LOW:
                one.is_match[at], one.reasons[at] = True, ""


def _scan(embeddings: Float32, centers: Float32, least: Float32) -> list[tuple[Int64, Float32]]:
    """For each center: the rows whose cosine reaches `least`, the nearest first, and these cosines."""
    columns, hits = np.ascontiguousarray(centers.T), []
    for start in range(0, len(embeddings), _BLOCK):
        block = embeddings[start : start + _BLOCK] @ columns
        row, person = np.nonzero(block >= least)
        hits.append((row + start, person, block[row, person]))
    row, person, cosine = (np.concatenate(column) for column in zip(*hits, strict=True))
    order = np.lexsort((row, -cosine, person))
    ends = np.searchsorted(person[order], np.arange(len(centers) + 1))
    return [(row[order[a:b]], cosine[order[a:b]]) for a, b in pairwise(ends)]


def _candidates(
    table: FaceTable, profile: Profile, crowd: Crowd, rules: Rules, rows: Int64, cosines: Float32
) -> Candidates:
    match, review = rules.thresholds(crowd)
    blocks = np.array_split(rows, len(rows) // _BLOCK + 1)
    to_each = np.concatenate([table.embeddings[block] @ profile.vectors.T for block in blocks])
    agree = (to_each >= review).sum(axis=1).astype(np.int64)
    wanted = -(-2 * len(profile.vectors) // 3) if rules.strict else 0
    too_low, too_few = cosines < match, agree < wanted
    words = [f"fewer than {wanted} references agree", TOO_LOW]
    reasons = np.select([too_few, too_low], words, "").tolist()
    best, is_match = to_each.max(axis=1), ~(too_low | too_few)
    return Candidates(profile, table, crowd, match, review, rows, cosines, best, agree, is_match, reasons)


def _one_person_per_face(found: Sequence[Candidates]) -> None:
    """A face that is a match of several persons becomes one for review of all but one."""
    claims: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
    for person, one in enumerate(found):
        for at in np.flatnonzero(one.is_match).tolist():
            surplus = one.crowd.surplus(float(one.similarity[at]))
            claims[int(one.rows[at])].append((-surplus, person, at))
    for rivals in claims.values():
        (_, winner, _), *losers = sorted(rivals)
        for _, person, at in losers:
            found[person].is_match[at] = False
            found[person].reasons[at] = f"more like {found[winner].name}"

"""What people said, heeded by a search: who was refused stays out, who was confirmed is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from face_organizer.library import Said
from face_organizer.search.match import TOO_LOW, Candidates
from face_organizer.search.profiles import Given, Profile, Reference
from face_organizer.types import FaceTable, Int64

_MOST_ROWS = 200  # references of one person: more make no better mean


def person_in(said: Said, name: str) -> int:
    """The row of the person called `name`, or -1."""
    return next((row for row, person in enumerate(said.persons) if person.name == name), -1)


def own_faces(said: Said, name: str, table: FaceTable) -> Given:
    """The faces that are that person: those that somebody said so of, else those that a run put there."""
    some = _spread(said.own(name))
    paths = table.face_paths()
    return Given(np.asarray(table.embeddings[some], np.float32), [paths[row] for row in some.tolist()])


def with_confirmed(profile: Profile, said: Said, table: FaceTable) -> Profile:
    """`profile` with the faces as references that somebody, looking at them, said are this person."""
    person = person_in(said, profile.name)
    rows = _spread(np.flatnonzero(said.spoken & (said.known == person))) if person >= 0 else np.empty(0, int)
    known = {reference.source for reference in profile.references}
    paths = table.face_paths()
    rows = np.array([row for row in rows.tolist() if paths[row] not in known], np.int64)
    if not len(rows):
        return profile
    vectors = np.concatenate([profile.vectors, np.asarray(table.embeddings[rows], np.float32)])
    more = [Reference(paths[row]) for row in rows.tolist()]
    return replace(profile, vectors=vectors, references=[*profile.references, *more])


def with_their_person(found: Sequence[Candidates], said: Said) -> None:
    """Make matches of the faces for review that the last clustering put with the matches: where most faces of
    one of its persons, and three at least, are matches."""
    for one in found:
        before, taken = said.before[one.rows], {int(row) for other in found for row in other.matches}
        for person in np.unique(before[one.is_match & (before >= 0)]).tolist():
            mine = before == person
            if int((mine & one.is_match).sum()) >= max(3, (said.before == person).sum() / 2):
                for at in np.flatnonzero(mine & ~one.is_match).tolist():
                    if one.reasons[at] == TOO_LOW and int(one.rows[at]) not in taken:
                        one.is_match[at], one.reasons[at] = True, ""


def _spread(rows: Int64) -> Int64:
    if not len(rows):
        return rows
    return np.asarray(rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(int))])


def heeded(one: Candidates, said: Said) -> Candidates:
    """`one` without faces that are ignored, said to be somebody else or not to be this person, and with all
    that are said to be this person, each a match however unlike it looks."""
    person, table = person_in(said, one.name), one.table
    out = said.ignored | ((said.known >= 0) & (said.known != person))
    refused = said.refused[said.refused[:, 1] == person, 0]
    out[refused] = True
    mine = (said.known == person) & (person >= 0)
    new = np.flatnonzero(mine & ~np.isin(np.arange(len(mine)), one.rows))
    kept = ~out[one.rows]
    rows = np.concatenate([one.rows[kept], new])
    found = np.asarray(table.embeddings[new], np.float32)
    similarity = np.concatenate([one.similarity[kept], found @ one.profile.center]).astype(np.float32)
    to_each = found @ one.profile.vectors.T
    best = np.concatenate([one.best[kept], to_each.max(axis=1, initial=-1)]).astype(np.float32)
    agree = np.concatenate([one.agree[kept], (to_each >= one.review_threshold).sum(axis=1)]).astype(np.int64)
    is_match = np.concatenate([one.is_match[kept], np.ones(len(new), np.bool_)]) | mine[rows]
    reasons = [reason for reason, keep in zip(one.reasons, kept.tolist(), strict=True) if keep]
    reasons = [
        "said" if mine[row] else reason
        for row, reason in zip(rows, [*reasons, *[""] * len(new)], strict=True)
    ]
    order = np.lexsort((rows, -similarity))
    return replace(
        one,
        rows=rows[order],
        similarity=similarity[order],
        best=best[order],
        agree=agree[order],
        is_match=is_match[order],
        reasons=[reasons[i] for i in order.tolist()],
    )

"""What the pictures know of who is who, beside the embeddings."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster.labels import components, copies_of
from face_organizer.cluster.merging import Groups, start
from face_organizer.cluster.threshold import Strangers, estimate
from face_organizer.types import FaceTable, Float32, Int64

_BLOCK = 8192
_NO_PAIRS: Int64 = np.empty((0, 2), np.int64)
_FRAME = re.compile(r"^(.*?)(\d+)(\D*)$")


class Hints(NamedTuple):
    """Pairs of faces, as rows: `conflicts` (m, 2) are on one photo or frame, so rather not one person;
    `same` (m, 2) follow one another in a video, so rather one. What people said holds whatever faces look
    like: `known` (n,) is the person that a face is, or -1, None where nothing was said; `refused` (m, 2) are
    a face and a known person that it is not. `copies` (n,) is one number for equal faces on copies of a file,
    None where there are none.
    """

    conflicts: Int64 = _NO_PAIRS
    same: Int64 = _NO_PAIRS
    known: Int64 | None = None
    refused: Int64 = _NO_PAIRS
    copies: Int64 | None = None

    def of(self, rows: Int64) -> Hints:
        """What is known of some of the faces, `rows` in ascending order, numbered anew."""
        known = None if self.known is None else self.known[rows]
        faces, persons = self.refused.T
        at = np.searchsorted(rows, faces)
        inside = np.isin(faces, rows)
        refused = np.stack([at[inside], persons[inside]], axis=1).astype(np.int64)
        copies = None if self.copies is None else self.copies[rows]
        return Hints(_among(self.conflicts, rows), _among(self.same, rows), known, refused, copies)

    def sizes(self, labels: Int64, count: int) -> Int64:
        """How many faces each of `count` groups holds, `labels` (n,) of 0 and more; copies count once."""
        if self.copies is not None:
            pairs = np.unique(labels * (int(self.copies.max(initial=0)) + 1) + self.copies)
            labels = pairs // (int(self.copies.max(initial=0)) + 1)
        return np.bincount(labels, minlength=count).astype(np.int64)

    def persons(self, count: int) -> Int64:
        """`known` of `count` faces, -1 for all where nothing was said."""
        return np.full(count, -1, np.int64) if self.known is None else self.known

    def barred(self, labels: Int64) -> Int64:
        """Pairs (m, 2) of a face and a cluster of `labels` (n,) that it stays out of, since it is refused by
        the person that is known to be there."""
        known = self.persons(len(labels))
        told = np.flatnonzero((known >= 0) & (labels >= 0))
        cluster = np.full(max(known.max(initial=-1), self.refused[:, 1].max(initial=-1)) + 1, -1, np.int64)
        cluster[known[told]] = labels[told]
        pairs = np.stack([self.refused[:, 0], cluster[self.refused[:, 1]]], axis=1)
        return np.asarray(pairs[pairs[:, 1] >= 0])

    def first_groups(self, vectors: Float32, near: Int64, cosines: Float32, strangers: Strangers) -> Groups:
        """The groups before anything is merged; `near` (m, 2) are pairs of faces and `cosines` (m,) theirs.

        Near-identical faces are one group and count as one face together. Frames that follow one another are
        one group where their embeddings don't speak against it. A known person is one group, of the faces
        that are said to be this person alone.
        """
        count = len(vectors)
        named = self.persons(count)
        copies = _joined(count, near[cosines >= copy_cosine(strangers)], named)
        weight = (1 / np.bincount(copies, minlength=count)[copies]).astype(np.float32)
        alone = np.stack([np.arange(count), copies], axis=1)
        frames = self.same[alike(vectors, self.same, strangers.threshold(1.0))]
        label = _joined(count, np.concatenate([alone, frames, _in_person(named)]), named)
        _, label = np.unique(label, return_inverse=True)
        person = np.full(int(label.max()) + 1, -1, np.int64)
        np.maximum.at(person, label, named)
        refused = np.stack([label[self.refused[:, 0]], self.refused[:, 1]], axis=1)
        return start(vectors, weight, label.astype(np.int64), person, refused)


NO_HINTS = Hints()


def copy_cosine(strangers: Strangers) -> float:
    """From this cosine on two faces are copies: a quarter of the way of two usual photos of one person."""
    typical = strangers.typical if np.isfinite(strangers.typical) else strangers.threshold()
    return 1 - (1 - typical) / 4


def person_threshold(table: FaceTable) -> float:
    """The cosine from which two faces of `table` are one person, as `cluster` reads it from the table."""
    return estimate(table.embeddings).threshold()


def alike(vectors: Float32, pairs: Int64, cosine: float) -> NDArray[np.bool_]:
    """Which `pairs` (m, 2) of rows are at least that alike, (m,)."""
    parts = np.array_split(pairs, len(pairs) // _BLOCK + 1)
    cosines = [np.einsum("ij,ij->i", vectors[some[:, 0]], vectors[some[:, 1]]) for some in parts]
    return np.concatenate(cosines) >= cosine


def pinned(labels: Int64, person: Int64) -> Int64:
    """`labels` with all faces of each named `person` (n,) in one cluster, no two persons in the same one."""
    out = labels.copy()
    fresh = int(labels.max(initial=-1)) + 1
    taken: set[int] = set()
    people, sizes = np.unique(person[person >= 0], return_counts=True)
    for one in people[np.argsort(-sizes, kind="stable")].tolist():
        rows = np.flatnonzero(person == one)
        found = Counter(labels[rows][labels[rows] >= 0].tolist())
        target = min(found.keys() - taken, key=lambda label: (-found[label], label), default=fresh)
        fresh += target == fresh
        taken.add(target)
        out[rows] = target
    return out


def hints_of(
    table: FaceTable,
    *,
    photos: bool = True,
    frames: bool = True,
    known: Int64 | None = None,
    refused: Int64 = _NO_PAIRS,
) -> Hints:
    """What the pictures of `table` know, and what was said (`Hints.known`, `refused`).

    `photos`: two faces of one photo, or of one frame (of a video, or that FaceSwap crops were cut from), are
    two people. `frames`: FaceSwap faces of one number on neighbouring frames, or of one track, are one.
    """
    conflicts = _on_one_photo(table) if photos else _NO_PAIRS
    copies = copies_of(table)
    same = _on_next_frames(table) if frames else _NO_PAIRS
    return Hints(
        conflicts, same, known, refused, copies if copies.max(initial=-1) + 1 < len(copies) else None
    )


def _on_one_photo(table: FaceTable) -> Int64:
    faces, paths = table.faces, table.files.path
    by_photo: dict[object, list[int]] = defaultdict(list)
    seconds, number = np.nan_to_num(faces.time, nan=-1).tolist(), faces.source_face
    for i, (file, frame) in enumerate(zip(faces.file_index.tolist(), faces.source_filename, strict=True)):
        by_photo[(os.path.dirname(paths[file]), frame) if frame else (file, seconds[i])].append(i)
    pairs = [
        (a, b)
        for rows in by_photo.values()
        for a, b in combinations(rows, 2)
        # The same face of the same frame, extracted twice, is no second person; without numbers, who knows.
        if not faces.source_filename[a] or -1 < number[a] != number[b] > -1
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _on_next_frames(table: FaceTable) -> Int64:
    """Each face with the same face of the next frame, at most twice the usual step of its video on."""
    faces, paths = table.faces, table.files.path
    videos: dict[object, list[tuple[int, int]]] = defaultdict(list)
    for i, (file, frame) in enumerate(zip(faces.file_index.tolist(), faces.source_filename, strict=True)):
        match = _FRAME.match(os.path.splitext(frame)[0]) if frame else None
        if match and faces.source_face[i] >= 0:
            number = int(match[2][-15:])
            key = (os.path.dirname(paths[file]), match[1], match[3], int(faces.source_face[i]))
            videos[key].append((number, i))
    pairs = []
    for rows in videos.values():
        rows.sort()
        steps = np.diff([number for number, _ in rows])
        usual = np.median(steps[steps > 0]) if (steps > 0).any() else 0
        near = np.flatnonzero((steps <= 2 * usual) & (steps > 0)).tolist()
        pairs += [(rows[k][1], rows[k + 1][1]) for k in near]
    # Rows of one track of a video stand next to each other.
    same = (np.diff(faces.file_index) == 0) & (np.diff(faces.track) == 0) & (faces.track[1:] >= 0)
    pairs += [(k, k + 1) for k in np.flatnonzero(same).tolist()]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _among(pairs: Int64, rows: Int64) -> Int64:
    at = np.minimum(np.searchsorted(rows, pairs), len(rows) - 1).astype(np.int64)
    return np.asarray(at[(rows[at] == pairs).all(axis=1)])


def _joined(count: int, pairs: Int64, named: Int64) -> Int64:
    """`components`, but pairs that would join two named people, or one with somebody, are left out."""
    a, b = named[pairs[:, 0]], named[pairs[:, 1]]
    return components(count, pairs[(a == b) | (a < 0) & (b < 0)])


def _in_person(named: Int64) -> Int64:
    """Each named face with the first of its person."""
    rows = np.flatnonzero(named >= 0)
    _, first, inverse = np.unique(named[rows], return_index=True, return_inverse=True)
    return np.stack([rows, rows[first][inverse]], axis=1)

"""An earlier result of `cluster`: read back; names that stay, named people that keep their faces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from face_organizer import organize
from face_organizer.cluster.labels import UNASSIGNED, person_name
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable
from face_organizer.library import NEW, NOBODY, Person, Said
from face_organizer.library.people import Library
from face_organizer.table import safe_pickle
from face_organizer.types import FaceTable, Float32, Int64

PICKLE = "cluster_assignments.pkl"
_LETTERS = re.compile(r"person_[A-Z]+")


class Former(NamedTuple):
    """A former result of n faces and k persons, whose names are those of their folders today."""

    paths: Sequence[str]
    """(n): of the faces' pictures."""
    face_index: Int64
    """(n,): the number of each face on its picture."""
    labels: Int64
    """(n,): -1 for a face of nobody."""
    names: Sequence[str]
    centers: Float32
    """(k, d), unit length."""
    landmarks: Float32
    """(n, 5, 2) in source pixels, NaN where not known."""
    time: Float32
    """(n,): the second of a video, NaN on a picture."""
    nearest: Int64
    """(n,): of some faces of nobody the person, by number, that each is most like, else -1."""
    moved: Mapping[str, str] = MappingProxyType({})
    """Where pictures lie now that were moved into the output folder."""

    def rows(self) -> dict[tuple[str, int], int]:
        """The row of each face by its picture's path, the old one and today's, and its number there."""
        index = self.face_index.tolist()
        rows = {face: row for row, face in enumerate(zip(self.paths, index, strict=True))}
        return rows | {(self.moved[path], i): row for (path, i), row in rows.items() if path in self.moved}


def read(place: Path) -> Former:
    """The result in a `cluster_assignments.pkl`, or in the output folder that holds one.

    Folders that the user has renamed since give their persons their new names. Raises `FaceOrganizerError`.
    """
    path = place / PICKLE if place.is_dir() else place
    if not path.is_file():
        raise FaceOrganizerError(f"{printable(place)}: no result of `cluster` is there")
    names = organize.renamed(path.parent)
    try:
        document = safe_pickle.load(path)
        labels = np.asarray(document["labels"], np.int64)
        paths = [str(p) for p in document["image_paths"]]
        index = np.asarray(document.get("face_index", np.zeros(len(labels))), np.int64)
        known = list(document.get("persons", ()))
        centers = np.asarray(document["cluster_centers"], np.float32)
        known += [person_name(i) for i in range(len(known), len(centers))]
        n = len(paths)
        landmarks = np.asarray(document.get("landmarks", np.full((n, 5, 2), np.nan)), np.float32)
        time = np.asarray(document.get("time", np.full(n, np.nan)), np.float32)
        nearest = np.asarray(document.get("nearest", np.full(n, -1)), np.int64)
        if [x.shape for x in (labels, index, time, nearest, landmarks)] != [(n,)] * 4 + [(n, 5, 2)]:
            raise ValueError("columns of different lengths")
        if np.any((labels < -1) | (labels >= len(known))):
            raise ValueError("a label of nobody")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FaceOrganizerError(f"{printable(path)} is no result of `cluster`: {error}") from error
    now = [names.get(str(name), str(name)) for name in known]
    return Former(paths, index, labels, now, centers, landmarks, time, nearest, organize.moved(path.parent))


def unknown(folder: Path, library: Library) -> bool:
    """Whether `folder` holds a result of `cluster` that `library` did not take down when it was made."""
    return (folder / PICKLE).is_file() and organize.read_plan(folder).library != library.uuid


class Kept(NamedTuple):
    """Names of the clusters, and the rows of `Said.persons` that they go on from, or -1; of the `shared`
    faces, which both clusterings hold, how many `moved` to another person; and the names that are `gone`."""

    names: Sequence[str]
    persons: Sequence[int]
    shared: int
    moved: int
    gone: Sequence[str]

    @property
    def moved_share(self) -> float:
        """The share of the shared faces that moved, 0 to 1."""
        return self.moved / self.shared if self.shared else 0.0


def said(previous: Former, table: FaceTable) -> Said:
    """What a former result tells of the faces of `table`: where they were, and that those of a person whose
    name is no letter are this person."""
    rows = previous.rows()
    keys = zip(table.face_paths(), table.faces.face_index.tolist(), strict=True)
    at = np.array([rows.get(key, -1) for key in keys], np.int64).reshape(-1)
    before = np.where(at >= 0, previous.labels[at] if len(previous.labels) else NEW, NEW)
    given = [not _LETTERS.fullmatch(name) and name != UNASSIGNED for name in previous.names]
    persons = [
        Person(i, name, known) for i, (name, known) in enumerate(zip(previous.names, given, strict=True))
    ]
    known = np.where(np.array([*given, False, False])[before], before, NOBODY)
    return replace(Said.nothing(len(table)), persons=persons, known=known, before=before)


def anchored(said: Said) -> Said:
    """`said`, without faces that are ignored; a person that some are said not to be, while nobody said which
    ones are, is known by the faces that it had."""
    known = np.where(said.ignored, NOBODY, said.known)
    faces, persons = said.refused.T
    had = np.isin(said.before, np.setdiff1d(persons, known)) & (known < 0) & ~said.ignored
    had[faces[said.before[faces] == persons]] = False
    return replace(said, known=np.where(had, said.before, known))


def keep_names(labels: Int64, clusters: int, said: Said) -> Kept:
    """Names for the new clusters: that of the known person in it, else that of the person before with whom it
    shares most faces and of whom it holds no face that is said not to be this one; else a letter."""
    width, persons = len(said.persons) + 1, said.persons
    names, left = [person.name for person in persons], set(range(len(persons)))
    is_here = labels >= 0
    of = np.full(clusters, -1, np.int64)
    sure = is_here & (said.known >= 0)
    of[labels[sure]] = said.known[sure]
    left -= set(of.tolist())
    both = np.flatnonzero(is_here & (said.before >= 0))
    keys, counts = np.unique(labels[both] * width + said.before[both], return_counts=True)
    refused = said.refused[is_here[said.refused[:, 0]]]
    counts[np.isin(keys, labels[refused[:, 0]] * width + refused[:, 1])] = 0
    order = np.lexsort((keys % width, keys // width, -counts))
    for new, was in (divmod(key, width) for key in keys[order][counts[order] > 0].tolist()):
        if of[new] < 0 and was in left and names[was] != UNASSIGNED:
            of[new] = was
            left.discard(was)
    taken = set(names)
    letters = (name for name in map(person_name, count()) if name not in taken)
    all_names = [names[i] if i >= 0 else next(letters) for i in of.tolist()]
    seen = np.flatnonzero((said.before > NEW) & ~said.ignored)
    now = np.append(np.where(of >= 0, of, NEW), NOBODY)[labels[seen]]
    moved = int((now != said.before[seen]).sum())
    gone = [names[i] for i in np.unique(said.before[said.before >= 0]).tolist() if i in left]
    return Kept(all_names, of.tolist(), len(seen), moved, gone)

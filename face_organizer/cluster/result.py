"""An earlier result of `cluster`: read back; names that stay, named people that keep their faces."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_organizer import organize
from face_organizer.cluster.labels import UNASSIGNED, person_name
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable
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
        if not labels.shape == index.shape == (len(paths),) or np.any((labels < -1) | (labels >= len(known))):
            raise ValueError("columns of different lengths")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FaceOrganizerError(f"{printable(path)} is no result of `cluster`: {error}") from error
    return Former(paths, index, labels, [names.get(str(name), str(name)) for name in known], centers)


def renamed(folder: Path) -> bool:
    """Whether `folder` holds a result of `cluster`, some of whose person folders were renamed since."""
    return (folder / PICKLE).is_file() and bool(organize.renamed(folder))


class Kept(NamedTuple):
    """Names of the clusters; of the `shared` faces, which both clusterings hold, how many `moved` to another
    name; and the names that are `gone`."""

    names: Sequence[str]
    shared: int
    moved: int
    gone: Sequence[str]

    @property
    def moved_share(self) -> float:
        """The share of the shared faces that moved, 0 to 1."""
        return self.moved / self.shared if self.shared else 0.0


def before(previous: Former, table: FaceTable) -> Int64:
    """The label (n,) that each face of `table` had; -2 for one that was not there."""
    rows = {key: i for i, key in enumerate(zip(previous.paths, previous.face_index.tolist(), strict=True))}
    keys = zip(table.face_paths(), table.faces.face_index.tolist(), strict=True)
    at = np.array([rows.get(key, -1) for key in keys], np.int64).reshape(-1)
    return np.where(at >= 0, previous.labels[at] if len(previous.labels) else -2, -2)


def named(previous: Former, old: Int64) -> Int64:
    """The person (n,) of faces in a cluster that the user named, else -1; `old` is what `before` gives."""
    given = np.array([not _LETTERS.fullmatch(name) for name in previous.names] + [False, False])
    return np.where(given[old], old, -1)


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


def keep_names(labels: Int64, clusters: int, old: Int64, previous: Former) -> Kept:
    """Names for the new clusters: each takes that of the old one with which it shares most faces."""
    both = np.flatnonzero((labels >= 0) & (old >= 0))
    width = len(previous.names) + 1
    keys, counts = np.unique(labels[both] * width + old[both], return_counts=True)
    cells = np.stack([keys // width, keys % width], axis=1)
    given = np.array([not _LETTERS.fullmatch(name) for name in previous.names], np.bool_)
    names: dict[int, str] = {}
    left = {i for i, name in enumerate(previous.names) if name != UNASSIGNED}
    first = np.lexsort((cells[:, 1], cells[:, 0], -counts, ~given[cells[:, 1]]))
    for new, was in (cells[i].tolist() for i in first):
        if new not in names and was in left:
            names[new] = previous.names[was]
            left.discard(was)
    taken = set(previous.names)
    letters = (name for name in map(person_name, count()) if name not in taken)
    all_names = [names[i] if i in names else next(letters) for i in range(clusters)]
    seen = np.flatnonzero(old > -2)
    now = np.array([*all_names, UNASSIGNED], object)[labels[seen]]
    then = np.array([*previous.names, UNASSIGNED], object)[old[seen]]
    gone = [previous.names[i] for i in sorted(left)]
    return Kept(all_names, len(seen), int((now != then).sum()), gone)

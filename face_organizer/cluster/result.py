"""A result of `cluster` that lies on disk, read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from face_organizer import organize
from face_organizer.cluster.labels import person_name
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable
from face_organizer.table import safe_pickle
from face_organizer.types import Float32, Int64

PICKLE = "cluster_assignments.pkl"


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

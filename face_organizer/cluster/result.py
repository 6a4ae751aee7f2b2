"""Who is on which picture, on disk: `cluster_assignments.pkl` for programs, a manifest for people.

One row a face. `Sorting` is what a clustering says, with names and reasons; `read` brings a former one back.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer import organize
from face_organizer.cluster import person_name
from face_organizer.cluster.faiss_device import faiss
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import atomic_write, plain_cell, printable
from face_organizer.table import PICKLE_PROTOCOL, safe_pickle
from face_organizer.types import Clustering, FaceTable, Float32, Int64

PICKLE, CSV, JSON = "cluster_assignments.pkl", "manifest.csv", "manifest.json"
FILES = (PICKLE, CSV, JSON)
COLUMNS = ("source", "face_index", "person", "similarity", "margin", "reason", "placed")
UNASSIGNED = "unassigned"
_MANY, _BLOCK = 2048, 65_536


@dataclass(frozen=True, slots=True, eq=False)
class Sorting:
    """A clustering with the name of each person and, a face, the margin and the reason.

    `names` are k names; `margin` is (n,) float32, see `margins`; `reasons` are n texts.
    """

    table: FaceTable
    clustering: Clustering
    names: Sequence[str]
    margin: Float32
    reasons: Sequence[str]

    def __post_init__(self) -> None:
        faces, persons = len(self.table), len(self.clustering.centers)
        if len(self.clustering.labels) != faces or len(self.margin) != faces or len(self.reasons) != faces:
            raise ValueError("labels, margins and reasons are not one a face")
        if len(self.names) != persons or len(set(self.names)) != persons or UNASSIGNED in self.names:
            raise ValueError(f"{persons} persons want as many different names: {self.names!r}")

    def folders(self) -> list[str]:
        """The folder of each face's picture: the person's name, or `unassigned`."""
        names = [*self.names, UNASSIGNED]
        return [names[label] for label in self.clustering.labels]


def persons(clustering: Clustering) -> list[str]:
    """The name of each cluster, `person_A` first."""
    return [person_name(i) for i in range(len(clustering.centers))]


def margins(embeddings: Float32, clustering: Clustering) -> Float32:
    """(n,) float32: the cosine of each face to its own center less that to the nearest other one, in [-2, 2].

    Larger is surer; below 0 the face is nearer to somebody else. With one person the other cosine is 0, and
    so is the margin of a face in no cluster. Among more than `_MANY` centers the other one is looked for in a
    graph (HNSW, Malkov & Yashunin 2016), which misses it now and then and then overstates the margin.
    """
    labels, centers = clustering.labels, clustering.centers
    out = np.zeros(len(labels), np.float32)
    members = np.flatnonzero(labels >= 0)
    if len(centers) == 1:
        out[members] = clustering.similarity[members]
    elif len(centers):
        if len(centers) > _MANY:
            index = faiss().IndexHNSWFlat(centers.shape[1], 32, faiss().METRIC_INNER_PRODUCT)
        else:
            index = faiss().IndexFlatIP(centers.shape[1])
        index.add(np.ascontiguousarray(centers))
        for at in range(0, len(members), _BLOCK):
            block = members[at : at + _BLOCK]
            cosines, nearest = index.search(np.ascontiguousarray(embeddings[block]), 2)
            own = nearest[:, 0] == labels[block]
            out[block] = clustering.similarity[block] - np.where(own, cosines[:, 1], cosines[:, 0])
    return out


def rows(sorting: Sorting, placed: Mapping[tuple[str, str], str]) -> Iterator[dict[str, Any]]:
    """One dict a face, keys `COLUMNS`; `placed` maps (source, folder) to the path below the output."""
    similarity, margin = sorting.clustering.similarity.tolist(), sorting.margin.tolist()
    index = sorting.table.faces.face_index.tolist()
    for i, (path, folder) in enumerate(zip(sorting.table.face_paths(), sorting.folders(), strict=True)):
        yield {
            "source": path,
            "face_index": index[i],
            "person": folder,
            "similarity": round(similarity[i], 6),
            "margin": round(margin[i], 6),
            "reason": sorting.reasons[i],
            "placed": placed.get((path, folder), ""),
        }


def write(folder: Path, sorting: Sorting, placed: Mapping[tuple[str, str], str]) -> None:
    """Write `cluster_assignments.pkl`, `manifest.csv` and `manifest.json` into `folder`.

    The pickle is a dict of `labels` (n,) int64, `image_paths` list of n paths, `cluster_centers` (k, d)
    float32, and beside these of the original `face_index` (n,) int32, `similarity` (n,) float32 and
    `persons`, k names. The CSV holds paths byte for byte, but for an apostrophe before one that a spreadsheet
    would take for a formula; JSON holds them exactly and escapes what is no UTF-8 (PEP 383).
    """
    document = {
        "labels": sorting.clustering.labels,
        "image_paths": sorting.table.face_paths(),
        "cluster_centers": np.asarray(sorting.clustering.centers),
        "face_index": np.asarray(sorting.table.faces.face_index),
        "similarity": np.asarray(sorting.clustering.similarity),
        "persons": list(sorting.names),
    }
    with atomic_write(folder / PICKLE) as file:
        pickle.dump(document, file, protocol=PICKLE_PROTOCOL)
    with atomic_write(folder / CSV) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="", write_through=False)
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows({k: plain_cell(v) for k, v in row.items()} for row in rows(sorting, placed))
        text.flush()
        text.detach()
    with atomic_write(folder / JSON) as file:
        file.write(b'{"persons": ' + json.dumps(list(sorting.names)).encode("ascii") + b', "faces": [')
        for i, row in enumerate(rows(sorting, placed)):
            file.write((b",\n" if i else b"\n") + json.dumps(row).encode("ascii"))
        file.write(b"\n]}\n")


@dataclass(frozen=True, slots=True, eq=False)
class Former:
    """A former result: for each face its picture's path, index there and label (-1: none), and the persons'
    names as their folders are called today."""

    paths: Sequence[str]
    face_index: Int64
    labels: Int64
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
        count = len(centers)
        known += [person_name(i) for i in range(len(known), count)]
        if not labels.shape == index.shape == (len(paths),) or np.any((labels < -1) | (labels >= len(known))):
            raise ValueError("columns of different lengths")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FaceOrganizerError(f"{printable(path)} is no result of `cluster`: {error}") from error
    return Former(paths, index, labels, [names.get(str(name), str(name)) for name in known], centers)

"""The result of a clustering on disk: `cluster_assignments` as pickle, CSV and JSON, one row a face."""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.cluster import person_name
from face_organizer.files import atomic_write
from face_organizer.table import PICKLE_PROTOCOL
from face_organizer.types import Clustering, FaceTable

FILES = ("cluster_assignments.pkl", "cluster_assignments.csv", "cluster_assignments.json")
COLUMNS = ("image_path", "face_index", "label", "person", "similarity")


def persons(clustering: Clustering) -> list[str]:
    """The name of each cluster, `person_A` first."""
    return [person_name(i) for i in range(len(clustering.centers))]


def rows(table: FaceTable, clustering: Clustering) -> Iterator[dict[str, Any]]:
    """One dict a face with the keys of `COLUMNS`; `similarity` is the cosine to the cluster's center."""
    names: Sequence[str] = [*persons(clustering), "unassigned"]
    for i, path in enumerate(table.face_paths()):
        label = int(clustering.labels[i])
        yield {
            "image_path": path,
            "face_index": int(table.faces.face_index[i]),
            "label": label,
            "person": names[label],
            "similarity": round(float(clustering.similarity[i]), 6),
        }


def write(folder: Path, table: FaceTable, clustering: Clustering) -> None:
    """Write `cluster_assignments.pkl`, `.csv` and `.json` into `folder`.

    The pickle is a dict of `labels` (n,) int64, `image_paths` list of n paths, `cluster_centers` (k, d)
    float32, and beside these of the original `face_index` (n,) int32, `similarity` (n,) float32 and
    `persons`, k names. The CSV holds paths byte for byte; JSON escapes what is no UTF-8 (PEP 383).
    """
    document = {
        "labels": clustering.labels,
        "image_paths": table.face_paths(),
        "cluster_centers": np.asarray(clustering.centers),
        "face_index": np.asarray(table.faces.face_index),
        "similarity": np.asarray(clustering.similarity),
        "persons": persons(clustering),
    }
    with atomic_write(folder / "cluster_assignments.pkl") as file:
        pickle.dump(document, file, protocol=PICKLE_PROTOCOL)
    with atomic_write(folder / "cluster_assignments.csv") as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="", write_through=True)
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows(table, clustering))
        text.detach()
    with atomic_write(folder / "cluster_assignments.json") as file:
        document = {"persons": persons(clustering), "faces": list(rows(table, clustering))}
        file.write(json.dumps(document, indent=1).encode("ascii"))

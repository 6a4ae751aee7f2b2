"""What `fo.cluster` does: hints from the pictures, people by the faces, names from the result before."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from face_organizer.cluster import faiss_device, result
from face_organizer.cluster.constraints import hints_of
from face_organizer.cluster.graph import find_people
from face_organizer.cluster.known_number import largest_people
from face_organizer.cluster.labels import from_labels, person_name
from face_organizer.cluster.people import People, former, margins
from face_organizer.errors import ClusterError
from face_organizer.files import count
from face_organizer.types import FaceTable


def cluster(
    table: FaceTable,
    clusters: int | Literal["auto"] = "auto",
    *,
    threshold: float | None = None,
    min_cluster_size: int = 3,
    keep_strangers: bool = False,
    one_per_photo: bool = True,
    frames: bool = True,
    seed: int = 1234,
    previous: People | str | Path | None = None,
    device: str | None = None,
) -> People:
    """Divide the faces of `table` into people, the one with the most faces first.

    `clusters` is how many people there are, at least 1; "auto" finds out. `threshold` is the similarity
    (cosine, -1 to 1) from which two faces are one person; None reads it from the table. With "auto", people
    with fewer faces than `min_cluster_size` belong to nobody; with a number, the people with the most faces
    are kept, and `keep_strangers` gives every other face to the nearest of them.

    `one_per_photo`: two faces on one photo or video frame are rather not one person. `frames`: FaceSwap faces
    of one number on neighbouring frames, and faces of one track of a video, are one person where nothing
    speaks against it. `previous` is an earlier result, or the folder that it was written into: people keep
    their letters, and those whose folder was renamed their name and all their faces.

    `device` is "auto", "cpu" or the number of a GPU; None asks the variable GPU_ID, else "auto". The same
    table and `seed` give the same people. Raises `ClusterError` for a table without faces, with fewer faces
    than `clusters` or with NaN, `FaceOrganizerError` for a `previous` that is no result, and `DeviceError`
    for a GPU that FAISS does not have.
    """
    if not len(table):
        raise ClusterError(f"no faces among {count(table.total_files, 'picture')}: nothing to sort")
    gpu, why = faiss_device.choose(device)
    before = None if previous is None else former(previous)
    old = None if before is None else result.before(before, table)
    given = None if before is None or old is None else result.named(before, old)
    hints = hints_of(table, photos=one_per_photo, frames=frames, named=given)
    options: dict[str, Any] = {"threshold": threshold, "gpu": gpu, "seed": seed}
    advice, nobody = None, "stranger"
    if clusters == "auto":
        options["min_cluster_size"] = min_cluster_size
        division, found = find_people(table.embeddings, hints, **options)
        nobody = f"fewer than {min_cluster_size} faces"
    else:
        options["keep_strangers"] = keep_strangers
        division, found, advice = largest_people(table.embeddings, clusters, hints, **options)
    if given is not None:
        labels = result.pinned(division.labels, given)
        if not np.array_equal(labels, division.labels):
            division = from_labels(table.embeddings, labels)
    persons = len(division.centers)
    kept = None if before is None or old is None else result.keep_names(division.labels, persons, old, before)
    reasons = np.where(division.labels < 0, nobody, "assigned").astype(object)
    if given is not None:
        reasons[given >= 0] = "named before"
    return People(
        division.labels,
        division.centers,
        division.similarity,
        table,
        names=[person_name(i) for i in range(persons)] if kept is None else kept.names,
        margin=margins(table.embeddings, division),
        reasons=reasons.tolist(),
        threshold=found.threshold,
        strangers=found.strangers,
        advice=advice,
        kept=kept,
        device="cpu" if gpu == faiss_device.CPU else str(gpu),
        device_why=why,
    )

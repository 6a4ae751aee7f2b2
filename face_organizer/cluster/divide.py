"""What `fo.cluster` does: hints from the pictures, people by the faces, names from the result before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from face_organizer.cluster import faiss_device, result
from face_organizer.cluster.constraints import hints_of
from face_organizer.cluster.doubt import doubt, outsiders
from face_organizer.cluster.gathering import HEAVY_TAIL, TAILS
from face_organizer.cluster.graph import find_people
from face_organizer.cluster.known_number import largest_people
from face_organizer.cluster.labels import Clustering, from_labels
from face_organizer.cluster.people import People, former, margins
from face_organizer.errors import ClusterError, UsageError
from face_organizer.files import count
from face_organizer.library import Said
from face_organizer.library.people import Library
from face_organizer.types import FaceTable, Int64


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
    said: Said | None = None,
    library: Library | None = None,
    review: bool = True,
    device: str | None = None,
) -> People:
    """Divide the faces of `table` into people, the one with the most faces first.

    `clusters` is how many people there are, at least 1; "auto" finds out. `threshold` is the similarity
    (cosine, -1 to 1) from which two faces are one person; None reads it from the table. With "auto", people
    with fewer faces than `min_cluster_size` belong to nobody; with a number, the people with the most faces
    are kept, and `keep_strangers` gives every other face to the nearest of them.

    `said` is what people said of these faces, and holds whatever they look like and whatever else is asked
    for: known persons are there, each with all its faces, beside the `clusters` where they are none of those;
    no face is with a person that it is said not to be; ignored ones are with nobody; and persons keep their
    names. `library` tells it, in place of `said`. `previous` is an earlier result, or the folder that it was
    written into: people keep their letters, and those whose folder was renamed their name and all their
    faces; a `library` takes that over for faces that it has not seen placed.

    `one_per_photo`: two faces on one photo or video frame are rather not one person. `frames`: FaceSwap faces
    of one number on neighbouring frames, and faces of one track of a video, are one person where nothing
    speaks against it.

    `review`: faces between sure and stranger get the person that they may be (`People.review`), and stay
    members of none.

    `device` is "auto", "cpu" or the number of a GPU; None asks the variable GPU_ID, else "auto". The same
    table and `seed` give the same people. Raises `ClusterError` for a table without faces, with fewer faces
    than `clusters` or with NaN, `FaceOrganizerError` for a `previous` that is no result, `UsageError` for
    `previous` and `said` together, and `DeviceError` for a GPU that FAISS does not have.
    """
    if not len(table):
        raise ClusterError(f"no faces among {count(table.total_files, 'picture')}: nothing to sort")
    gpu, why = faiss_device.choose(device)
    if said is not None and (previous or library) is not None:
        raise UsageError("`said` tells what `previous` and `library` do: give it alone")
    if previous is not None:
        said = result.said(former(previous), table)
    if library is not None:
        if said is not None:
            library.adopt(table, said)
        said = library.said(table)
    told = result.anchored(said or Said.nothing(len(table)))
    hints = hints_of(table, photos=one_per_photo, frames=frames, known=told.known, refused=told.refused)
    tail = TAILS.get(table.stamp.embedder, HEAVY_TAIL) if table.stamp else HEAVY_TAIL
    options: dict[str, Any] = {"threshold": threshold, "gpu": gpu, "seed": seed, "tail": tail}
    advice, nobody = None, "stranger"
    rows = np.flatnonzero(~told.ignored)
    embeddings = table.embeddings[rows] if len(rows) < len(table) else table.embeddings
    if clusters == "auto":
        options["min_cluster_size"] = min_cluster_size
        division, found = find_people(embeddings, hints.of(rows), **options)
        nobody = f"fewer than {min_cluster_size} faces"
    else:
        options["keep_strangers"] = keep_strangers
        division, found, advice = largest_people(embeddings, clusters, hints.of(rows), **options)
    division = _of_all(division, table, rows)
    kept = result.keep_names(division.labels, len(division.centers), told)
    barred = hints.barred(division.labels)
    doubtful = doubt(
        table.embeddings, division, found, rows, barred, _two(told, kept.persons, barred, division), seed
    )
    persons = [told.persons[i] if i >= 0 else None for i in kept.persons]
    hidden = frozenset(i for i, one in enumerate(persons) if one is not None and one.hidden)
    maybe = np.where(np.isin(doubtful.review, list(hidden)) | (not review), -1, doubtful.review)
    reasons = np.where(division.labels < 0, nobody, "assigned").astype(object)
    reasons[maybe >= 0] = "for review"
    reasons[told.known >= 0], reasons[told.ignored] = "said", "ignored"
    return People(
        division.labels,
        division.centers,
        division.similarity,
        table,
        names=kept.names,
        margin=margins(table.embeddings, division),
        reasons=reasons.tolist(),
        threshold=found.threshold,
        strangers=found.strangers,
        advice=advice,
        kept=None if said is None else kept,
        person_ids=[None if one is None else one.id for one in persons],
        hidden=hidden,
        review=maybe.tolist(),
        nearness=doubtful.nearness,
        suggestions=doubtful.suggestions,
        outsiders=outsiders(division, found, told.known >= 0),
        device="cpu" if gpu == faiss_device.CPU else str(gpu),
        device_why=why,
    )


def _two(told: Said, persons: Sequence[int], barred: Int64, division: Clustering) -> set[tuple[int, int]]:
    """Pairs (i < j) of clusters that are said to be two people, of `persons` or by a face that is refused."""
    number = {person: i for i, person in enumerate(persons) if person >= 0}
    said = [(number[a], number[b]) for a, b in told.differ.tolist() if a in number and b in number]
    pairs = [*said, *zip(division.labels[barred[:, 0]].tolist(), barred[:, 1].tolist(), strict=True)]
    return {(min(pair), max(pair)) for pair in pairs}


def _of_all(division: Clustering, table: FaceTable, rows: Int64) -> Clustering:
    """`division` of some `rows` of `table`, with the others in no cluster."""
    if len(rows) == len(table):
        return division
    labels = np.full(len(table), -1, np.int64)
    labels[rows] = division.labels
    return from_labels(table.embeddings, labels)

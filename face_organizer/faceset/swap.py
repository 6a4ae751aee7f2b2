"""What swappers load that need no training: a set of faces as one file, or their mean embedding."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from face_organizer.errors import FaceOrganizerError, ImageError
from face_organizer.faceset.chosen import Chosen
from face_organizer.faceset.extract import crop
from face_organizer.files import atomic_write, png, printable
from face_organizer.media import video

RECOGNISER = "w600k_r50"
"""Of InsightFace's buffalo_l and buffalo_m: its embeddings are those that `inswapper_128` takes, so that no
others are written."""
_STORE = "Inswapper128ArcFace"  # what VisoMaster calls it
_SIDE = 512
_DATE = (1980, 1, 1, 0, 0, 0)  # the same faces give the same file


def names(faceset: Chosen) -> list[str]:
    """The files that `write` makes."""
    if faceset.purpose != "swap":
        return []
    name = faceset.members[0].name
    return [f"{name}.fsz", *([f"{name}.json", f"{name}.txt"] if is_for_inswapper(faceset) else [])]


def is_for_inswapper(faceset: Chosen) -> bool:
    """Whether the table's embeddings are those that `inswapper_128` takes."""
    stamp = faceset.table.stamp
    return stamp is not None and RECOGNISER in stamp.embedder


def write(faceset: Chosen, folder: Path, placed: Mapping[int, str]) -> None:
    """`NAME.fsz` for roop-unleashed, a zip of 0.png, 1.png …; and where the embeddings fit, their mean as
    `NAME.json` for VisoMaster and `NAME.txt` for Rope. Nothing for a training set.

    Sources: roop-unleashed `roop/face_util.py`, VisoMaster `save_load_actions.py`, Rope
    `merged_embeddings.txt`. `placed` is as for `Faceset.rows`. Raises `FaceOrganizerError` for a picture that
    cannot be read any more.
    """
    if not (made := names(faceset)):
        return
    member = faceset.members[0]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, row in enumerate(member.chosen.tolist()):
            path, time = faceset.now(row, folder, placed), float(faceset.table.faces.time[row])
            try:
                face = crop(video.picture(path, time), faceset.table.faces.landmarks[row], _SIDE)
            except ImageError as error:
                raise FaceOrganizerError(f"{printable(path)}: {error.reason}", "embed again") from error
            archive.writestr(zipfile.ZipInfo(f"{number}.png", _DATE), png(face))
    with atomic_write(folder / made[0]) as file:
        file.write(buffer.getvalue())
    if len(made) > 1:
        vectors = np.asarray(faceset.table.embeddings[member.chosen], np.float64)
        norms = faceset.table.faces.norm[member.chosen].astype(np.float64)
        mean = (vectors * norms[:, None]).mean(axis=0).tolist()
        with atomic_write(folder / made[1]) as file:
            file.write(json.dumps([{"name": member.name, "embedding_store": {_STORE: mean}}]).encode())
        with atomic_write(folder / made[2]) as file:
            file.write(f"Name: {member.name}, {' '.join(map(repr, mean))}\n".encode())

"""A library of 500,000 pictures and 600,000 faces: made from a table, and asked again when nothing is new.
`python benchmarks/library.py`
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
from common import row, temporary

import face_organizer as fo
from face_organizer.types import Faces, FaceTable, Files, Outcome, Texts

PICTURES, FACES, PERSONS = 500_000, 600_000, 2_000


def peak() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def collection(luck: np.random.Generator) -> FaceTable:
    """Faces without vectors: the library holds none."""
    on = np.sort(np.concatenate([np.arange(PICTURES), luck.integers(0, PICTURES, FACES - PICTURES)]))
    number = (np.arange(FACES) - np.searchsorted(on, on)).astype(np.int32)
    left = 100.0 * number
    box = np.stack([left, np.full(FACES, 10.0), left + 80, np.full(FACES, 90.0)], axis=1).astype(np.float32)
    faces = Faces.empty(FACES, file_index=on, face_index=number, box=box)
    paths = Texts.of([f"/collection/a video/{i // 1000:04d}/video_{i:08d}_0.png" for i in range(PICTURES)])
    files = Files.empty(
        PICTURES,
        path=paths,
        outcome=np.full(PICTURES, Outcome.FACES, np.uint8),
        bytes=np.full(PICTURES, 80_000),
        content=luck.integers(1, 2**63, PICTURES).astype(np.uint64),
    )
    return FaceTable(np.zeros((FACES, 1), np.float32), faces, files, None)


def taken_down(table: FaceTable, place: Path, labels: np.ndarray) -> float:
    """What a run of cluster asks and leaves in a library; the seconds that takes."""
    start = time.perf_counter()
    with fo.Library(place) as library:
        said = library.said(table)
        names = [person.name for person in said.persons] or [f"person {i}" for i in range(PERSONS)]
        ids = [person.id for person in said.persons] or [None] * PERSONS
        library.remember(table, labels, names, ids)
    return time.perf_counter() - start


def main() -> None:
    """Make it, and ask it twice more."""
    table = collection(np.random.default_rng(0))
    labels, before = np.repeat(np.arange(PERSONS), FACES // PERSONS), peak()
    with temporary() as folder:
        place = folder / "library.sqlite"
        seconds = [taken_down(table, place, labels) for _ in range(3)]
        size = place.stat().st_size
    figures = {
        "made_s": round(seconds[0], 1),
        "again_s": round(min(seconds[1:]), 1),
        "file_mb": round(size / 1e6),
    }
    row("library", pictures=PICTURES, faces=FACES, **figures, table_mb=round(before), peak_mb=round(peak()))


if __name__ == "__main__":
    main()

"""The values that travel through face-organizer: frozen, columnar, checked when made.

Conventions, everywhere: pictures are RGB uint8 (height, width, 3) with EXIF applied; boxes are
x1, y1, x2, y2 and points x, y in source pixels, origin at the top left corner; the five landmarks are
the viewer's left eye, right eye, nose tip, left and right corner of the mouth; similarities are cosines
in [-1, 1], larger is closer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_organizer.columns import Columns, column, text

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Image = NDArray[np.uint8]


class Outcome(IntEnum):
    """What became of one input file. Every input ends in exactly one."""

    FACES = 0
    NO_FACE = 1
    UNREADABLE = 2
    UNSUPPORTED = 3
    TOO_SMALL = 4
    DUPLICATE = 5

    @property
    def label(self) -> str:
        """The word used in tables, summaries and JSON, such as `no_face`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, eq=False)
class Detections(Columns):
    """The faces of one picture (or canvas), best score first: `len()` of them, possibly none."""

    boxes: Float32 = column((4,), "float32")
    """x1, y1, x2, y2 in pixels; may reach beyond the picture."""
    scores: Float32 = column((), "float32")
    """Confidence of the detector, 0 to 1."""
    landmarks: Float32 = column((5, 2), "float32")
    """Eyes, nose tip, mouth corners; pixels."""


NO_FACES = Detections.empty()
"""To begin with, for every picture and canvas."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces(Columns):
    """One row a face. Rows are sorted by file and face index."""

    file_index: Int64 = column((), "int64")
    """Row of `Files`, a picture or a video, that the face is on."""
    face_index: NDArray[np.int32] = column((), "int32", 0)
    """0 for the main face of its file (large and central; on a video, seen longest), 1 for the next."""
    box: Float32 = column((4,), "float32", np.nan)
    """x1, y1, x2, y2 in source pixels; NaN where a table from elsewhere does not tell."""
    landmarks: Float32 = column((5, 2), "float32", np.nan)
    """Source pixels; NaN where not known."""
    score: Float32 = column((), "float32", np.nan)
    """Detection score, 0 to 1; NaN where not known or not detected (FaceSwap headers)."""
    turn: NDArray[np.int16] = column((), "int16", 0)
    """Degrees, 0 to 359, by which the picture had to be turned counter-clockwise for the face to be
    upright."""
    size: Float32 = column((), "float32", np.nan)
    """Square root of the box's area, in source pixels."""
    sharpness: Float32 = column((), "float32", np.nan)
    """Of the aligned face: 0 for a flat one, see `quality.light`; larger is sharper."""
    brightness: Float32 = column((), "float32", np.nan)
    """Mean luma of the aligned face, 0 (black) to 255 (white)."""
    yaw: Float32 = column((), "float32", np.nan)
    """Degrees that the face looks to the viewer's right (left: negative), estimated from the landmarks."""
    pitch: Float32 = column((), "float32", np.nan)
    """Degrees that the face looks down (up: negative), estimated from the landmarks."""
    roll: Float32 = column((), "float32", np.nan)
    """Degrees in (-180, 180] that the face is turned clockwise in its picture."""
    norm: Float32 = column((), "float32", np.nan)
    """Length of the raw embedding; on one embedder, larger means a face that it recognises more surely."""
    outside: Float32 = column((), "float32", np.nan)
    """Share of the box's area that lies outside the picture, 0 to 1."""
    source_filename: Sequence[str] = text()
    """FaceSwap: the frame that the crop was cut from; empty where there is no header."""
    source_face: NDArray[np.int32] = column((), "int32", -1)
    """FaceSwap: number of the face on that frame; -1 where there is no header."""
    frame_width: NDArray[np.int32] = column((), "int32", 0)
    """FaceSwap: size of that frame in pixels; 0 where not known."""
    frame_height: NDArray[np.int32] = column((), "int32", 0)
    time: Float32 = column((), "float32", np.nan)
    """Video: seconds from its start at which the frame that this row was cut from is shown; NaN on a
    picture."""
    track: NDArray[np.int32] = column((), "int32", -1)
    """Video: which appearance of a face on it the row belongs to, 0 for the one seen longest; a few rows
    share one. -1 on a picture."""
    seen_from: Float32 = column((), "float32", np.nan)
    """Video: seconds from its start at which that appearance was seen first; NaN on a picture."""
    seen_to: Float32 = column((), "float32", np.nan)
    """... and last."""


@dataclass(frozen=True, slots=True, eq=False)
class Files(Columns):
    """One row an input file, sorted by path, with what became of it."""

    path: Sequence[str] = text()
    """Absolute; bytes that are no UTF-8 stand as lone surrogates (PEP 383), as `os.fsdecode` gives them."""
    outcome: NDArray[np.uint8] = column((), "uint8", int(Outcome.NO_FACE))
    """A value of `Outcome`."""
    reason: Sequence[str] = text()
    """Why, in a few words; empty where the outcome says it all."""
    width: NDArray[np.int32] = column((), "int32", 0)
    """Source pixels after EXIF; 0 where not known."""
    height: NDArray[np.int32] = column((), "int32", 0)
    bytes: Int64 = column((), "int64", -1)
    """Size of the file; -1 where not known."""
    mtime_ns: Int64 = column((), "int64", -1)
    """Modification time in nanoseconds since 1970; -1 where not known."""
    content: NDArray[np.uint64] = column((), "uint64", 0)
    """BLAKE2b of the file's bytes, its first 64 bits; 0 where not known."""
    retry: NDArray[np.uint8] = column((), "uint8", 0)
    """1 where it failed for a reason that may pass (permission, a share that was away), else 0."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where a table's embeddings come from. Only tables of the same `space` may be merged or compared."""

    pack: str
    detector: str
    detector_sha256: str
    embedder: str
    embedder_sha256: str
    dim: int
    preprocessing: str
    licence: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            kind = {"dim": int, "options": Mapping}.get(spec.name, str)
            if not isinstance(value, kind):
                raise ValueError(
                    f"{spec.name} of a stamp must be a {kind.__name__}, not {type(value).__name__}"
                )

    @property
    def space(self) -> tuple[str, ...]:
        """What must be equal for two embeddings to be comparable: weights, alignment, dimension."""
        return (self.detector_sha256, self.embedder_sha256, self.preprocessing, str(self.dim))


@dataclass(frozen=True, slots=True, eq=False)
class FaceTable:
    """All that is known of a set of pictures: embeddings, faces, files and the stamp.

    `embeddings` is (n, d) float32, one unit vector a face in the order of `faces`; it may be read-only
    and memory-mapped. `stamp` is None for a table that another program wrote without one; `untold_files` are
    faceless files that such a table counts and does not name.
    """

    embeddings: Float32
    faces: Faces
    files: Files
    stamp: Stamp | None
    untold_files: int = 0

    def __post_init__(self) -> None:
        shape, dtype, index = self.embeddings.shape, self.embeddings.dtype, self.faces.file_index
        if len(shape) != 2 or dtype != np.float32:
            raise ValueError(f"embeddings must be (n, d) float32, not {shape} {dtype}")
        if shape[0] != len(self.faces):
            raise ValueError(f"{shape[0]} embeddings for {len(self.faces)} faces")
        if self.stamp is not None and len(self.faces) and self.stamp.dim != shape[1]:
            raise ValueError(f"stamp says {self.stamp.dim} dimensions, embeddings have {shape[1]}")
        if len(index) and (index.min() < 0 or index.max() >= len(self.files)):
            raise ValueError("a face points to a file that the table does not hold")
        if np.any(self.files.outcome >= len(Outcome)):
            raise ValueError("a file has an outcome that there is not")
        with_faces = np.zeros(len(self.files), np.bool_)
        with_faces[index] = True
        if not np.array_equal(with_faces, self.files.outcome == Outcome.FACES):
            raise ValueError("files with faces and files with the outcome `faces` are not the same")
        if self.untold_files < 0:
            raise ValueError("fewer than no untold files")

    def __len__(self) -> int:
        return len(self.faces)

    def face_paths(self) -> list[str]:
        """The path of each face's picture, in row order."""
        return [self.files.path[i] for i in self.faces.file_index]

    def take_files(self, kept: NDArray[np.bool_]) -> FaceTable:
        """The table of the files in `kept`, a mask (number of files), with their faces; `untold_files` go."""
        if kept.all() and not self.untold_files:
            return self
        new_index = np.cumsum(kept) - 1
        rows = np.flatnonzero(kept[self.faces.file_index])
        faces: Faces = self.faces.take(rows)
        moved = dataclasses.replace(faces, file_index=new_index[faces.file_index].astype(np.int64))
        return FaceTable(self.embeddings[rows], moved, self.files.take(kept), self.stamp)

    @property
    def total_files(self) -> int:
        """Number of input files, named or only counted."""
        return len(self.files) + self.untold_files

    def outcome_counts(self) -> dict[str, int]:
        """Number of files by outcome label, all labels present; the values add up to `total_files`."""
        counts = np.bincount(self.files.outcome, minlength=len(Outcome))
        counts[Outcome.NO_FACE] += self.untold_files
        return {o.label: int(counts[o]) for o in Outcome}


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """A division of faces into clusters numbered from 0, the largest first.

    `labels` is (n,) int64, -1 for a face in none; `centers` is (k, d) float32 of unit length;
    `similarity` is (n,) float32, the cosine of each face to its center.
    """

    labels: Int64
    centers: Float32
    similarity: Float32

    def __post_init__(self) -> None:
        if self.labels.dtype != np.int64 or self.labels.ndim != 1:
            raise ValueError(f"labels must be (n,) int64, not {self.labels.shape} {self.labels.dtype}")
        if self.centers.ndim != 2 or self.centers.dtype != np.float32:
            raise ValueError(f"centers must be (k, d) float32, not {self.centers.shape} {self.centers.dtype}")
        if self.similarity.shape != self.labels.shape or self.similarity.dtype != np.float32:
            raise ValueError("similarity must be float32, one a label")
        if len(self.labels) and (self.labels.min() < -1 or self.labels.max() >= len(self.centers)):
            raise ValueError("a label points to a cluster that does not exist")
        sizes = self.sizes()
        if np.any(sizes[1:] > sizes[:-1]):
            raise ValueError("clusters must be numbered from the largest to the smallest")

    def sizes(self) -> Int64:
        """Faces in each cluster, (k,) int64."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.centers)).astype(np.int64)

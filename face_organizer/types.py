"""The values that travel through face-organizer: frozen, columnar, checked when made.

Conventions, everywhere: pictures are RGB uint8 (height, width, 3) with EXIF applied; boxes are
x1, y1, x2, y2 and points x, y in source pixels, origin at the top left corner; the five landmarks are
the viewer's left eye, right eye, nose tip, left and right corner of the mouth; similarities are cosines
in [-1, 1], larger is closer.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from importlib import import_module
from itertools import chain, pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Image = NDArray[np.uint8]


class Texts(Sequence[str]):
    """A column of texts that decodes them where they are read, so that opening a million costs nothing.

    `data` (b,) uint8 holds all in UTF-8 one after the other, lone surrogates included (PEP 383), and `ends`
    (n,) int64 where each ends. Raises `ValueError` where these are no texts.
    """

    __slots__ = ("data", "starts")

    def __init__(self, data: NDArray[np.uint8], ends: Int64) -> None:
        if data.ndim != 1 or data.dtype != np.uint8 or ends.ndim != 1 or ends.dtype != np.int64:
            raise ValueError("texts must be (b,) uint8 and their ends (n,) int64")
        self.data, self.starts = data, np.concatenate([np.zeros(1, np.int64), ends])
        if np.any(self.starts[1:] < self.starts[:-1]) or self.starts[-1] != len(data):
            raise ValueError("texts that end before they begin, or beyond the last byte")
        if len(data) and data.max() > 127:
            list(self)  # each decodes on its own, or raises

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """The column of `texts`; one that is a column already, as it is."""
        if isinstance(texts, cls):
            return texts
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum(list(map(len, encoded)), dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return list(self)[at]
        row = range(len(self))[at]
        return str(self.data.data[self.starts[row] : self.starts[row + 1]], "utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), 65_536):
            starts = self.starts[first : first + 65_537]
            raw, bounds = self.data.data[starts[0] : starts[-1]], pairwise((starts - starts[0]).tolist())
            text = str(raw, "utf-8", "surrogatepass")
            if text.isascii():
                yield from [text[a:b] for a, b in bounds]
            else:
                yield from [str(raw[a:b], "utf-8", "surrogatepass") for a, b in bounds]


def column(shape: tuple[int, ...], dtype: str, default: float = 0) -> Any:
    """A numeric column: the shape of one row, the dtype, and the value that stands for 'not known'."""
    kind = np.dtype(dtype)
    meta = {"shape": shape, "dtype": kind, "unknown": lambda n: np.full((n, *shape), default, kind)}
    return field(metadata=meta)


def text() -> Any:
    """A column of texts; the empty one stands for 'not known'."""
    return field(metadata={"text": True, "unknown": lambda n: [""] * n})


class Columns:
    """Base of the column groups: arrays and lists of texts, one row per thing, of one length and as declared.

    Columns are never written to once they are in a group: groups share them.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        for spec in self.specs():
            value, meta = getattr(self, spec.name), spec.metadata
            if not _fits(meta, value):
                wanted = "texts" if "text" in meta else f"{meta['dtype']} {meta['shape']} per row"
                got = f"{getattr(value, 'dtype', type(value).__name__)} {getattr(value, 'shape', '')}"
                raise ValueError(f"{spec.name} must be {wanted}, not {got}")
        lengths = {len(getattr(self, spec.name)) for spec in self.specs()}
        if len(lengths) > 1:
            raise ValueError(f"{type(self).__name__}: columns of different lengths {sorted(lengths)}")

    def __len__(self) -> int:
        return len(getattr(self, self.specs()[0].name))

    @classmethod
    @cache  # groups of a few rows are made by the dozen for each picture
    def specs(cls) -> tuple[dataclasses.Field[Any], ...]:
        """The declared columns, in order."""
        return dataclasses.fields(cls)  # type: ignore[arg-type]

    def take(self, rows: NDArray[Any]) -> Self:
        """The same columns for `rows`: an integer index or a boolean mask."""
        rows = np.arange(len(self))[rows]
        columns = {s.name: getattr(self, s.name) for s in self.specs()}
        for name, column in columns.items():
            columns[name] = column[rows] if isinstance(column, np.ndarray) else [column[i] for i in rows]
        return type(self)(**columns)

    @classmethod
    def empty(cls, count: int = 0, **known: Any) -> Self:
        """`count` rows in which every column that is not in `known` holds its 'not known' value."""
        unknown = {s.name: s.metadata["unknown"](count) for s in cls.specs() if s.name not in known}
        return cls(**unknown, **known)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """The rows of `parts`, one after the other; one part alone as it is."""
        if len(parts) < 2:
            return parts[0] if parts else cls.empty()
        columns: dict[str, Any] = {s.name: [getattr(p, s.name) for p in parts] for s in cls.specs()}
        for name, values in columns.items():
            arrays = isinstance(values[0], np.ndarray)
            columns[name] = np.concatenate(values) if arrays else list(chain.from_iterable(values))
        return cls(**columns)


def _fits(meta: Mapping[str, Any], value: Any) -> bool:
    if "text" in meta:
        is_list = isinstance(value, list | tuple)
        return isinstance(value, Texts) or (is_list and {str}.issuperset(map(type, value)))
    is_rows = isinstance(value, np.ndarray) and value.ndim > 0
    return is_rows and value.shape[1:] == meta["shape"] and bool(value.dtype == meta["dtype"])


class Outcome(IntEnum):
    """What became of one input file. Every input ends in exactly one."""

    FACES = 0
    NO_FACE = 1
    UNREADABLE = 2
    UNSUPPORTED = 3
    TOO_SMALL = 4

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
"""No faces: what every picture and canvas starts with."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces(Columns):
    """One row per face, sorted by file and face index."""

    file_index: Int64 = column((), "int64")
    """Row in `Files` of the picture or video that the face is on."""
    face_index: NDArray[np.int32] = column((), "int32", 0)
    """0 for the main face of its file (large and central; on a video, seen longest), 1 for the next."""
    box: Float32 = column((4,), "float32", np.nan)
    """x1, y1, x2, y2 in source pixels; NaN where not known (a table from elsewhere)."""
    landmarks: Float32 = column((5, 2), "float32", np.nan)
    """Source pixels; NaN where not known."""
    score: Float32 = column((), "float32", np.nan)
    """Detection score, 0 to 1; NaN where not known or not detected (headers of crops)."""
    turn: NDArray[np.int16] = column((), "int16", 0)
    """Degrees, 0 to 359, by which the picture had to be turned counter-clockwise to show it upright."""
    size: Float32 = column((), "float32", np.nan)
    """Square root of the box's area, in source pixels."""
    sharpness: Float32 = column((), "float32", np.nan)
    """Of the aligned face: 0 for one without any detail, larger is sharper (`geometry.quality.light`)."""
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
    """FaceSwap, DeepFaceLab: the frame that the crop was cut from; empty where there is no header."""
    source_face: NDArray[np.int32] = column((), "int32", -1)
    """FaceSwap, DeepFaceLab: number of the face on that frame; -1 where not known."""
    frame_width: NDArray[np.int32] = column((), "int32", 0)
    """FaceSwap: size of that frame in pixels; 0 where not known."""
    frame_height: NDArray[np.int32] = column((), "int32", 0)
    time: Float32 = column((), "float32", np.nan)
    """Video: seconds from its start at which the frame of this row is shown; NaN on a picture."""
    track: NDArray[np.int32] = column((), "int32", -1)
    """Video: appearance of a face that this and a few more rows are of, 0 the longest; -1 on a picture."""
    seen_from: Float32 = column((), "float32", np.nan)
    """Video: seconds from its start at which that appearance was seen first; NaN on a picture."""
    seen_to: Float32 = column((), "float32", np.nan)
    """... and last."""


@dataclass(frozen=True, slots=True, eq=False)
class Files(Columns):
    """One row per input file, sorted by path, with what became of it."""

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
            kind = {"dim": int, "options": Mapping}.get(spec.name, str)
            if not isinstance(getattr(self, spec.name), kind):
                raise ValueError(f"{spec.name} of a stamp must be a {kind.__name__}")

    @property
    def space(self) -> tuple[str, ...]:
        """What must be equal for two embeddings to be comparable: weights, alignment, dimension."""
        return (self.detector_sha256, self.embedder_sha256, self.preprocessing, str(self.dim))


@dataclass(frozen=True, slots=True, eq=False)
class FaceTable:
    """All that is known of a set of pictures: embeddings, faces, files and the stamp.

    `embeddings` is (n, d) float32, one unit vector per face, in the order of `faces`; it may be read-only
    and memory-mapped. `stamp` is None for a table that another program wrote without one; `unnamed_files` are
    files without a face that such a table counts but does not name.
    """

    embeddings: Float32
    faces: Faces
    files: Files
    stamp: Stamp | None
    unnamed_files: int = 0

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
            raise ValueError("a file has an unknown outcome")
        with_faces = np.zeros(len(self.files), np.bool_)
        with_faces[index] = True
        if not np.array_equal(with_faces, self.files.outcome == Outcome.FACES):
            raise ValueError("files with faces and files with the outcome `faces` are not the same")
        if self.unnamed_files < 0:
            raise ValueError(f"unnamed_files must not be negative, and is {self.unnamed_files}")

    def __len__(self) -> int:
        return len(self.faces)

    def face_paths(self) -> list[str]:
        """The path of each face's picture, in row order."""
        paths = list(self.files.path)
        return [paths[i] for i in self.faces.file_index.tolist()]

    def to_pandas(self, *, embeddings: bool = True) -> Any:
        """A `pandas.DataFrame` with one row per face: `path`, the columns of `Faces`, and `embedding`.

        `box`, `landmarks` and `embedding` hold an array per face, a view on the table's; `embeddings=False`
        leaves the last out. Raises `ImportError` where pandas is not installed.
        """
        pandas = _installed("pandas")
        columns = self._by_face(embeddings)
        for name, column in columns.items():
            if not isinstance(column, np.ndarray) or column.ndim > 1:
                columns[name] = pandas.Series(list(column), dtype=object)
        return pandas.DataFrame(columns)

    def to_arrow(self, *, embeddings: bool = True) -> Any:
        """A `pyarrow.Table` with the same columns; arrays are lists of a fixed size.

        Arrow's texts are UTF-8: other bytes of a path stand in it as `\\udcXX`, and `files.path` has the path
        itself at `file_index`. The schema's metadata holds the stamp as JSON. Raises `ImportError` where
        pyarrow is not installed.
        """
        arrow = _installed("pyarrow")
        columns = self._by_face(embeddings)
        for name, column in columns.items():
            if not isinstance(column, np.ndarray):
                texts = [text.encode("utf-8", "backslashreplace").decode() for text in column]
                columns[name] = arrow.array(texts, arrow.string())
                continue
            columns[name] = arrow.array(column.reshape(-1))
            for size in reversed(column.shape[1:]):
                columns[name] = arrow.FixedSizeListArray.from_arrays(columns[name], max(size, 1))
        stamp = json.dumps(dataclasses.asdict(self.stamp) if self.stamp else None)
        return arrow.table(columns, metadata={"stamp": stamp})

    def _by_face(self, embeddings: bool) -> dict[str, Any]:
        columns = {"path": self.face_paths(), **{s.name: getattr(self.faces, s.name) for s in Faces.specs()}}
        return columns | {"embedding": self.embeddings} if embeddings else columns

    def take_files(self, kept: NDArray[np.bool_]) -> FaceTable:
        """The table of the files in `kept`, a mask (number of files), with their faces; none is unnamed."""
        if kept.all() and not self.unnamed_files:
            return self
        new_index = np.cumsum(kept) - 1
        rows = np.flatnonzero(kept[self.faces.file_index])
        faces: Faces = self.faces.take(rows)
        moved = dataclasses.replace(faces, file_index=new_index[faces.file_index].astype(np.int64))
        return FaceTable(self.embeddings[rows], moved, self.files.take(kept), self.stamp)

    @property
    def total_files(self) -> int:
        """Number of input files, named or only counted."""
        return len(self.files) + self.unnamed_files

    def outcome_counts(self) -> dict[str, int]:
        """Number of files by outcome label, all labels present; the values add up to `total_files`."""
        counts = np.bincount(self.files.outcome, minlength=len(Outcome))
        counts[Outcome.NO_FACE] += self.unnamed_files
        return {o.label: int(counts[o]) for o in Outcome}


def _installed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"{package} is not installed; this gets it: pip install {package}") from error

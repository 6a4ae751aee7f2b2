"""Face tables for tests: made from a seed, or drawn by Hypothesis."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from face_organizer.types import Faces, FaceTable, Files, Outcome, Stamp

WEIRD_PATHS = (
    "/photos/a\nb.jpg",
    "/photos/tab\tand\rreturn.jpg",
    '/photos/"quoted", and; comma.jpg',
    "/photos/🎉 fête.jpg",
    os.fsdecode(b"/photos/no-utf8-\xff\xfe.jpg"),
    "/photos/ plain.jpg ",
)


def stamp(**changes: Any) -> Stamp:
    """The stamp of a pack that does not exist."""
    values: dict[str, Any] = {
        "pack": "toy",
        "detector": "d",
        "detector_sha256": "a" * 64,
        "embedder": "e",
        "embedder_sha256": "b" * 64,
        "dim": 4,
        "preprocessing": "none",
        "licence": "MIT",
        "options": {"faces": "all", "min_confidence": 0.5},
        "version": "0.1.0",
    }
    return Stamp(**{**values, **changes})


def unit(rows: int, dim: int = 4, seed: int = 0) -> NDArray[np.float32]:
    """Random unit vectors, (rows, dim) float32."""
    vectors = np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(columns: type, count: int, random: np.random.Generator, **given: Any) -> Any:
    """`count` rows with the columns that are given, and something other than 'not known' in every other
    one."""
    for spec in columns.specs():
        if spec.name not in given and spec.metadata.get("text"):
            given[spec.name] = [f"{spec.name} {i}" for i in range(count)]
        elif spec.name not in given:
            shape, dtype = spec.metadata["shape"], spec.metadata["dtype"]
            given[spec.name] = random.integers(1, 100, (count, *shape)).astype(dtype)
    return columns(**given)


def table_of(
    faces_by_path: dict[str, int], *, dim: int = 4, seed: int = 0, stamped: bool = True, mtime_ns: int = 7
) -> FaceTable:
    """A table of files with so many faces each; a file of none is `no_face`. Rows are sorted by path."""
    paths = sorted(faces_by_path, key=os.fsencode)
    counts = [faces_by_path[p] for p in paths]
    rows = sum(counts)
    random = np.random.default_rng(seed)
    faces = filled(
        Faces,
        rows,
        random,
        file_index=np.repeat(np.arange(len(paths)), counts).astype(np.int64),
        face_index=np.array([i for count in counts for i in range(count)], np.int32),
        box=random.uniform(0, 500, (rows, 4)).astype(np.float32),
        landmarks=random.uniform(0, 500, (rows, 5, 2)).astype(np.float32),
        score=random.uniform(0.5, 1, rows).astype(np.float32),
    )
    files = filled(
        Files,
        len(paths),
        random,
        path=paths,
        outcome=np.array([Outcome.FACES if c else Outcome.NO_FACE for c in counts], np.uint8),
        reason=[""] * len(paths),
        width=np.full(len(paths), 640, np.int32),
        height=np.full(len(paths), 480, np.int32),
        bytes=np.arange(1000, 1000 + len(paths), dtype=np.int64),
        mtime_ns=np.full(len(paths), mtime_ns, np.int64),
    )
    return FaceTable(unit(rows, dim, seed), faces, files, stamp(dim=dim) if stamped else None)


def paths() -> st.SearchStrategy[str]:
    """Absolute paths as the system gives them: any bytes but NUL, no UTF-8 as lone surrogates."""
    return st.binary(min_size=1, max_size=12).map(lambda b: os.fsdecode(b"/" + b.replace(b"\0", b"0")))


@st.composite
def tables(draw: st.DrawFn, *, stamped: bool | None = None, seeds: Sequence[int] = range(1000)) -> FaceTable:
    """Any table: of no, few or many files and faces, stamped or not, with files that are only counted."""
    outcomes = [o for o in Outcome if o != Outcome.FACES]
    counts = draw(st.dictionaries(paths(), st.integers(0, 3), max_size=8))
    table = table_of(
        counts,
        seed=draw(st.sampled_from(list(seeds))),
        stamped=draw(st.booleans()) if stamped is None else stamped,
        mtime_ns=draw(st.integers(-1, 2**62)),
    )
    faceless = np.flatnonzero(table.files.outcome != Outcome.FACES)
    reasons = list(table.files.reason)
    for i in faceless:
        table.files.outcome[i] = draw(st.sampled_from(outcomes))
        reasons[i] = draw(st.text(max_size=6))
    files = Files.empty(**{s.name: getattr(table.files, s.name) for s in Files.specs()} | {"reason": reasons})
    return FaceTable(table.embeddings, table.faces, files, table.stamp, draw(st.integers(0, 3)))


def content(table: FaceTable) -> dict[str, Any]:
    """All that a table holds, as values that `==` compares exactly, NaN included."""
    values: dict[str, Any] = {
        "embeddings": (table.embeddings.shape, table.embeddings.tobytes()),
        "stamp": table.stamp,
        "unnamed": table.unnamed_files,
    }
    for group in (table.faces, table.files):
        for spec in type(group).specs():
            column = getattr(group, spec.name)
            plain = isinstance(column, np.ndarray)
            values[spec.name] = (column.dtype.str, column.shape, column.tobytes()) if plain else list(column)
    return values

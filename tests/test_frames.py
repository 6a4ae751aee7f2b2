"""A table as a pandas or Arrow one: values unchanged, whatever bytes a path holds."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import pytest
from making_tables import WEIRD_PATHS, table_of

from face_organizer.types import Faces, FaceTable

TABLES = [table_of(dict.fromkeys(WEIRD_PATHS, 1) | {"/two": 2, "/none": 0}), table_of({}, stamped=False)]
NAMES = ["path", *(s.name for s in Faces.specs()), "embedding"]


@pytest.mark.parametrize("table", TABLES, ids=["weird names", "empty"])
def test_pandas_holds_a_row_per_face(table: FaceTable) -> None:
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame) == NAMES
    assert frame["path"].tolist() == table.face_paths()
    for name in NAMES[1:-1]:
        column = getattr(table.faces, name)
        assert np.array_equal(
            np.array(frame[name].tolist()).reshape(np.shape(column)), column, equal_nan=_is_float(column)
        )
    assert np.array_equal(
        np.array(frame["embedding"].tolist()).reshape(table.embeddings.shape), table.embeddings
    )
    assert all(np.shares_memory(row, table.embeddings) for row in frame["embedding"])
    assert list(table.to_pandas(embeddings=False)) == NAMES[:-1]


@pytest.mark.parametrize("table", TABLES, ids=["weird names", "empty"])
def test_arrow_holds_a_row_per_face(table: FaceTable) -> None:
    arrow = pytest.importorskip("pyarrow")
    made = table.to_arrow()
    made.validate(full=True)
    assert made.column_names == NAMES
    paths = made["path"].to_pylist()
    assert paths == [path.encode("utf-8", "backslashreplace").decode() for path in table.face_paths()]
    assert all(os.fsencode(path) for path in paths)
    for name, column in [
        *((n, getattr(table.faces, n)) for n in NAMES[1:-1]),
        ("embedding", table.embeddings),
    ]:
        read = np.array(made[name].to_pylist()).reshape(np.shape(column))
        assert np.array_equal(read, column, equal_nan=_is_float(column))
    width = max(table.embeddings.shape[1], 1)
    assert made.schema.field("embedding").type == arrow.list_(arrow.float32(), width)
    assert made.schema.field("landmarks").type == arrow.list_(arrow.list_(arrow.float32(), 2), 5)
    stamp = json.loads(made.schema.metadata[b"stamp"])
    assert (stamp["embedder_sha256"] if table.stamp else stamp) == (
        table.stamp and table.stamp.embedder_sha256
    )
    assert table.to_arrow(embeddings=False).column_names == NAMES[:-1]


def _is_float(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind == "f"


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_package_that_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        TABLES[0].to_pandas() if package == "pandas" else TABLES[0].to_arrow()

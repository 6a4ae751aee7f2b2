"""Writers leave the old file or the whole new one; messages say which file and why."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making_tables import WEIRD_PATHS

from face_organizer.errors import TableError
from face_organizer.files import count, jpeg, os_errors, write_csv, write_jpeg, write_json


def test_counts_have_the_right_ending() -> None:
    assert [count(n, "face") for n in (0, 1, 2, 2000)] == ["0 faces", "1 face", "2 faces", "2,000 faces"]
    assert [count(n, "match", "matches") for n in (1, 3)] == ["1 match", "3 matches"]


def test_a_csv_holds_paths_byte_for_byte(tmp_path: Path) -> None:
    rows = [{"path": path, "n": i} for i, path in enumerate(WEIRD_PATHS)]
    write_csv(tmp_path / "out" / "a.csv", ("path", "n"), iter(rows))
    with open(tmp_path / "out" / "a.csv", newline="", encoding="utf-8", errors="surrogateescape") as text:
        read = list(csv.DictReader(text))
    assert read == [{"path": row["path"], "n": str(row["n"])} for row in rows]


def test_a_cell_of_a_csv_is_no_formula(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["a", "b"], [{"a": "=1+1", "b": -1}, {"a": "é,\n", "b": None}])
    assert (tmp_path / "a.csv").read_bytes().decode() == 'a,b\r\n\'=1+1,-1\r\n"é,\n",\r\n'


VALUES: list[tuple[Any, list[Any] | None]] = [
    ([1, "é"], None),
    ({}, None),
    ({"a": {"b": {}}, "c": list(WEIRD_PATHS)}, None),
    ({"a": {"b": {}}}, [{"path": p} for p in WEIRD_PATHS]),
    ({"a": 1}, []),
]


@pytest.mark.parametrize(("value", "faces"), VALUES)
def test_json_reads_back_as_it_was(tmp_path: Path, value: Any, faces: list[Any] | None) -> None:
    write_json(tmp_path / "a.json", value, None if faces is None else iter(faces))
    text = (tmp_path / "a.json").read_bytes()
    assert text.isascii()
    assert text.endswith(b"\n")
    assert json.loads(text) == (value if faces is None else value | {"faces": faces})


def test_a_jpeg_shows_the_picture(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.full((40, 60, 3), (200, 30, 90), np.uint8)
    for picture in (pixels, Image.fromarray(pixels)):
        write_jpeg(tmp_path / "a.jpg", picture, quality=95)
        assert (tmp_path / "a.jpg").read_bytes() == jpeg(pixels, 95)
    with Image.open(io.BytesIO(jpeg(pixels, 95))) as read:
        assert (read.format, read.size) == ("JPEG", (60, 40))
        assert np.abs(np.asarray(read).astype(int) - pixels).max() < 8


def test_what_fails_halfway_leaves_the_old_file(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise ZeroDivisionError

    for name in ("a.csv", "a.json"):
        (tmp_path / name).write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_csv(tmp_path / "a.csv", ["a"], rows())
    with pytest.raises(ZeroDivisionError):
        write_json(tmp_path / "a.json", {"b": 1}, rows())
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.csv": "old", "a.json": "old"}


def test_an_error_of_the_system_names_the_file_and_the_reason() -> None:
    def message(error: OSError, **options: Any) -> str:
        with pytest.raises(TableError) as raised, os_errors("a\n.pkl", kind=TableError, **options):
            raise error
        return str(raised.value)

    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    assert message(denied) == "a\\n.pkl: cannot be read: permission denied"
    assert message(denied, failed="cannot be written", mend="choose another place") == (
        "a\\n.pkl: cannot be written: permission denied; choose another place"
    )
    assert message(OSError("encoder error")).endswith(": encoder error")
    assert message(OSError()).endswith(": OSError")

"""`cluster_assignments` as pickle, CSV and JSON: the same rows, whatever the pictures are called."""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_tables import WEIRD_PATHS, table_of, tables, unit

from face_organizer import assignments, safe_pickle
from face_organizer.cluster import ordered, person_name
from face_organizer.types import Clustering, FaceTable

SAMPLE = table_of(dict.fromkeys(WEIRD_PATHS, 1) | {"/photos/two.jpg": 2, "/photos/none.jpg": 0})


def clustered(table: FaceTable, labels: list[int]) -> Clustering:
    """A clustering with these labels, numbered as a clusterer would."""
    similarity = np.linspace(-1, 1, len(table), dtype=np.float32)
    return ordered(np.array(labels, np.int64), unit(30), similarity)


def read_csv(folder: Path) -> list[dict[str, str]]:
    """The rows as any program reads them that knows CSV."""
    with open(
        folder / "cluster_assignments.csv", encoding="utf-8", errors="surrogateescape", newline=""
    ) as file:
        return list(csv.DictReader(file))


def read_json(folder: Path) -> Any:
    return json.loads((folder / "cluster_assignments.json").read_bytes())


def assert_all_hold(folder: Path, table: FaceTable, clustering: Clustering) -> None:
    """The three files hold exactly the rows of `table` and `clustering`."""
    document = safe_pickle.load(folder / "cluster_assignments.pkl")
    plain = pickle.loads((folder / "cluster_assignments.pkl").read_bytes())
    names = [person_name(i) for i in range(len(clustering.centers))]
    people = [names[label] if label >= 0 else "unassigned" for label in clustering.labels]
    labels, faces = clustering.labels.tolist(), table.faces.face_index.tolist()
    for read in (document, plain):
        assert read["labels"].dtype == np.int64
        assert read["labels"].tolist() == labels
        assert type(read["image_paths"]) is list
        assert read["image_paths"] == table.face_paths()
        assert np.array_equal(read["cluster_centers"], clustering.centers)
        assert read["face_index"].tolist() == faces
        assert np.array_equal(read["similarity"], clustering.similarity)
        assert read["persons"] == names
    expected = list(zip(table.face_paths(), faces, labels, people, strict=True))
    csv_rows, document = read_csv(folder), read_json(folder)
    columns = ("image_path", "face_index", "label", "person")
    assert [
        (r["image_path"], int(r["face_index"]), int(r["label"]), r["person"]) for r in csv_rows
    ] == expected
    assert [tuple(r[c] for c in columns) for r in document["faces"]] == expected
    assert document["persons"] == names
    for rows in (csv_rows, document["faces"]):
        assert all(list(row) == [*columns, "similarity"] for row in rows)
        similarities = [float(row["similarity"]) for row in rows]
        assert np.allclose(similarities, clustering.similarity, atol=1e-6)


def test_the_three_files_hold_the_same_rows(tmp_path: Path) -> None:
    clustering = clustered(SAMPLE, [3, 3, -1, 0, 3, 1, 0, 3])
    assignments.write(tmp_path / "new" / "folder", SAMPLE, clustering)
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == sorted(assignments.FILES)
    assert_all_hold(tmp_path / "new" / "folder", SAMPLE, clustering)


@given(table=tables(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_names_and_labels_round_trip(
    tmp_path_factory: pytest.TempPathFactory, table: FaceTable, data: st.DataObject
) -> None:
    labels = data.draw(st.lists(st.integers(-1, 29), min_size=len(table), max_size=len(table)))
    folder = tmp_path_factory.getbasetemp()
    clustering = clustered(table, labels)
    assignments.write(folder, table, clustering)
    assert_all_hold(folder, table, clustering)


def test_the_csv_holds_the_bytes_of_every_path(tmp_path: Path) -> None:
    assignments.write(tmp_path, SAMPLE, clustered(SAMPLE, [0] * 8))
    data = (tmp_path / "cluster_assignments.csv").read_bytes()
    assert data.startswith(b"image_path,face_index,label,person,similarity\r\n")
    for path in WEIRD_PATHS:
        assert os.fsencode(path).replace(b'"', b'""') in data
    assert [os.fsencode(row["image_path"]) for row in read_csv(tmp_path)] == [
        os.fsencode(path) for path in SAMPLE.face_paths()
    ]


def test_the_json_is_ascii_and_the_pickle_is_of_protocol_4(tmp_path: Path) -> None:
    assignments.write(tmp_path, SAMPLE, clustered(SAMPLE, [0] * 8))
    assert (tmp_path / "cluster_assignments.json").read_bytes().isascii()
    assert (tmp_path / "cluster_assignments.pkl").read_bytes()[:2] == b"\x80\x04"


def test_plain_pickle_reads_what_the_original_wrote(tmp_path: Path) -> None:
    assignments.write(tmp_path, SAMPLE, clustered(SAMPLE, [0] * 5 + [1] * 3))
    script = (
        "import pickle, sys; from pathlib import Path; d = pickle.loads(Path(sys.argv[1]).read_bytes());"
        "print(d['labels'].tolist(), len(d['image_paths']), d['cluster_centers'].shape);"
        "print('face_organizer' in sys.modules)"
    )
    command = [sys.executable, "-I", "-c", script, str(tmp_path / "cluster_assignments.pkl")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "[0, 0, 0, 0, 0, 1, 1, 1] 8 (2, 4)\nFalse\n"


def test_a_later_result_replaces_the_one_before(tmp_path: Path) -> None:
    assignments.write(tmp_path, SAMPLE, clustered(SAMPLE, [0] * 8))
    smaller = table_of({"/a": 1, "/b": 1})
    clustering = clustered(smaller, [1, 0])
    assignments.write(tmp_path, smaller, clustering)
    assert_all_hold(tmp_path, smaller, clustering)
    assert sorted(os.listdir(tmp_path)) == sorted(assignments.FILES)


def test_a_result_without_faces_has_headings_only(tmp_path: Path) -> None:
    nobody = table_of({"/faceless": 0})
    assignments.write(tmp_path, nobody, clustered(nobody, []))
    assert read_csv(tmp_path) == []
    assert read_json(tmp_path) == {"persons": [], "faces": []}


def test_people_are_named_in_order() -> None:
    assert assignments.persons(clustered(table_of({"/a": 28}), list(range(28))))[-3:] == [
        "person_Z",
        "person_AA",
        "person_AB",
    ]

"""The result of a clustering on disk: the same rows in every file, whatever the pictures are called."""

from __future__ import annotations

import csv
import dataclasses
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

from face_organizer import organize
from face_organizer.cluster import People, result
from face_organizer.cluster.labels import Clustering, ordered, person_name
from face_organizer.cluster.people import COLUMNS, FILES, margins
from face_organizer.errors import FaceOrganizerError
from face_organizer.table import safe_pickle
from face_organizer.types import FaceTable

SAMPLE = table_of(dict.fromkeys(WEIRD_PATHS, 1) | {"/photos/two.jpg": 2, "/photos/none.jpg": 0})


def clustered(table: FaceTable, labels: list[int]) -> Clustering:
    """A clustering with these labels, numbered as a clusterer would."""
    similarity = np.linspace(-1, 1, len(table), dtype=np.float32)
    return ordered(np.array(labels, np.int64), unit(30), similarity)


def read_csv(folder: Path) -> list[dict[str, str]]:
    """The rows as any program reads them that knows CSV."""
    with open(folder / "manifest.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def read_json(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_bytes())


def sorting(table: FaceTable, labels: list[int], **changes: Any) -> People:
    """A result with these labels, margins and reasons."""
    made = clustered(table, labels)
    values: dict[str, Any] = {
        "names": [person_name(i) for i in range(len(made.centers))],
        "margin": np.linspace(1, -1, len(table), dtype=np.float32),
        "reasons": [f"reason {i % 3}" for i in range(len(table))],
    }
    return People(made.labels, made.centers, made.similarity, table, **{**values, **changes})


def write(folder: Path, made: People) -> None:
    """As after a run in which every second picture got a place."""
    pairs = zip(made.paths, made.folders, strict=True)
    made.write(folder, {pair: f"{pair[1]}/x.jpg" for pair in list(pairs)[::2]})


def assert_all_hold(folder: Path, made: People) -> None:
    """The three files hold exactly the rows of `made`."""
    document = safe_pickle.load(folder / "cluster_assignments.pkl")
    plain = pickle.loads((folder / "cluster_assignments.pkl").read_bytes())
    table, clustering = made.table, made
    names = [person_name(i) for i in range(len(clustering.centers))]
    people = [names[label] if label >= 0 else "unassigned" for label in clustering.labels]
    faces = table.faces.face_index.tolist()
    for read in (document, plain):
        assert read["labels"].dtype == np.int64
        assert read["labels"].tolist() == clustering.labels.tolist()
        assert type(read["image_paths"]) is list
        assert read["image_paths"] == table.face_paths()
        assert np.array_equal(read["cluster_centers"], clustering.centers)
        assert read["face_index"].tolist() == faces
        assert np.array_equal(read["similarity"], clustering.similarity)
        assert read["persons"] == names
    expected = list(zip(table.face_paths(), faces, people, made.reasons, strict=True))
    places = dict.fromkeys(list(zip(table.face_paths(), people, strict=True))[::2])
    csv_rows, document = read_csv(folder), read_json(folder)
    assert [(r["source"], int(r["face_index"]), r["person"], r["reason"]) for r in csv_rows] == expected
    assert [
        tuple(r[c] for c in ("source", "face_index", "person", "reason")) for r in document["faces"]
    ] == expected
    assert document["persons"] == names
    for rows in (csv_rows, document["faces"]):
        assert all(tuple(row) == COLUMNS for row in rows)
        assert np.allclose([float(row["similarity"]) for row in rows], clustering.similarity, atol=1e-6)
        assert np.allclose([float(row["margin"]) for row in rows], made.margin, atol=1e-6)
        assert [row["placed"] for row in rows] == [
            f"{person}/x.jpg" if (path, person) in places else ""
            for path, person in zip(table.face_paths(), people, strict=True)
        ]


def test_the_three_files_hold_the_same_rows(tmp_path: Path) -> None:
    made = sorting(SAMPLE, [3, 3, -1, 0, 3, 1, 0, 3])
    write(tmp_path / "new" / "folder", made)
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == sorted(FILES)
    assert_all_hold(tmp_path / "new" / "folder", made)


@given(table=tables(), data=st.data())
@settings(max_examples=60)
def test_any_names_and_labels_round_trip(
    tmp_path_factory: pytest.TempPathFactory, table: FaceTable, data: st.DataObject
) -> None:
    labels = data.draw(st.lists(st.integers(-1, 29), min_size=len(table), max_size=len(table)))
    folder = tmp_path_factory.getbasetemp()
    made = sorting(table, labels)
    write(folder, made)
    assert_all_hold(folder, made)


def test_the_csv_holds_the_bytes_of_every_path(tmp_path: Path) -> None:
    write(tmp_path, sorting(SAMPLE, [0] * 8))
    data = (tmp_path / "manifest.csv").read_bytes()
    assert data.startswith(",".join(COLUMNS).encode() + b"\r\n")
    for path in WEIRD_PATHS:
        assert os.fsencode(path).replace(b'"', b'""') in data
    assert [os.fsencode(row["source"]) for row in read_csv(tmp_path)] == [
        os.fsencode(path) for path in SAMPLE.face_paths()
    ]


def test_the_json_is_ascii_and_the_pickle_is_of_protocol_4(tmp_path: Path) -> None:
    write(tmp_path, sorting(SAMPLE, [0] * 8))
    assert (tmp_path / "manifest.json").read_bytes().isascii()
    assert (tmp_path / "cluster_assignments.pkl").read_bytes()[:2] == b"\x80\x04"


def test_plain_pickle_reads_what_the_original_wrote(tmp_path: Path) -> None:
    write(tmp_path, sorting(SAMPLE, [0] * 5 + [1] * 3))
    script = (
        "import pickle, sys; from pathlib import Path; d = pickle.loads(Path(sys.argv[1]).read_bytes());"
        "print(d['labels'].tolist(), len(d['image_paths']), d['cluster_centers'].shape);"
        "print('face_organizer' in sys.modules)"
    )
    command = [sys.executable, "-I", "-c", script, str(tmp_path / "cluster_assignments.pkl")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == "[0, 0, 0, 0, 0, 1, 1, 1] 8 (2, 4)\nFalse\n"


def test_a_later_result_replaces_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, sorting(SAMPLE, [0] * 8))
    smaller = table_of({"/a": 1, "/b": 1})
    made = sorting(smaller, [1, 0])
    write(tmp_path, made)
    assert_all_hold(tmp_path, made)
    assert sorted(os.listdir(tmp_path)) == sorted(FILES)


def test_a_result_without_faces_has_headings_only(tmp_path: Path) -> None:
    nobody = table_of({"/faceless": 0})
    write(tmp_path, sorting(nobody, []))
    assert read_csv(tmp_path) == []
    assert read_json(tmp_path) == {"persons": [], "faces": []}


def test_people_are_named_in_order() -> None:
    assert sorting(table_of({"/a": 28}), list(range(28))).names[-3:] == [
        "person_Z",
        "person_AA",
        "person_AB",
    ]


def test_a_cell_is_never_a_formula(tmp_path: Path) -> None:
    """Paths are absolute, but reasons and folder names may begin with anything."""
    made = sorting(table_of({"/a": 1}), [0])
    dataclasses.replace(made, names=["=cmd|' /C calc'!A0"], reasons=["+1"]).write(tmp_path)
    assert [(row["person"], row["reason"]) for row in read_csv(tmp_path)] == [("'=cmd|' /C calc'!A0", "'+1")]
    assert read_json(tmp_path)["faces"][0]["person"] == "=cmd|' /C calc'!A0"


def test_names_must_be_one_a_person() -> None:
    made = sorting(table_of({"/a": 2}), [0, 1])
    for names in (["A"], ["A", "A"], ["A", "unassigned"]):
        with pytest.raises(ValueError, match="2 persons want as many different names"):
            dataclasses.replace(made, names=names)


@pytest.mark.parametrize("persons", [1, 2, 7])
def test_margins_are_those_of_brute_force(persons: int) -> None:
    faces, centers = unit(60, 8, seed=1), unit(persons, 8, seed=2)
    cosines = faces @ centers.T
    labels = cosines.argmax(axis=1)
    labels[::9] = -1
    made = ordered(labels, centers, cosines.max(axis=1))
    cosines = faces @ made.centers.T
    for row, (label, margin) in enumerate(zip(made.labels, margins(faces, made), strict=True)):
        others = np.delete(cosines[row], label) if persons > 1 else np.zeros(1)
        expected = 0 if label < 0 else cosines[row, label] - others.max()
        assert margin == pytest.approx(expected, abs=1e-6)


def test_a_former_result_is_read_with_the_names_of_today(tmp_path: Path) -> None:
    picture = tmp_path / "in" / "a.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"a")
    made = sorting(table_of({str(picture): 2}), [0, -1])
    out = tmp_path / "people"
    organize.plan(organize.View([(str(picture), "person_A")], FILES), out).apply()
    write(out, made)
    assert result.read(out).names == ["person_A"]
    (out / "person_A").rename(out / "Alice")
    for place in (out, out / "cluster_assignments.pkl"):
        former = result.read(place)
        assert (former.names, former.paths) == (["Alice"], [str(picture)] * 2)
        assert (former.labels.tolist(), former.face_index.tolist()) == ([0, -1], [0, 1])


@pytest.mark.parametrize(
    "document",
    [
        {"labels": np.zeros(2, np.int64), "image_paths": ["/a"], "cluster_centers": unit(1)},
        {"labels": np.full(1, 5), "image_paths": ["/a"], "cluster_centers": unit(1)},
        {"image_paths": []},
        [1],
    ],
)
def test_what_is_no_result_is_refused_in_words(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "cluster_assignments.pkl"
    path.write_bytes(pickle.dumps(document, protocol=4))
    with pytest.raises(FaceOrganizerError, match="is no result of `cluster`"):
        result.read(path)
    with pytest.raises(FaceOrganizerError, match="no result of `cluster` is there"):
        result.read(tmp_path / "in")

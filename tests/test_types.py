"""Column groups and tables refuse what does not fit together, and hand out rows unchanged."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_tables import content, stamp, table_of, tables, unit

from face_organizer.types import Detections, Faces, FaceTable, Files, Outcome, Texts

GROUPS = [Detections, Faces, Files]


def example(group: type, count: int):
    """Rows of `group` whose values are all different."""
    values = {}
    for spec in group.specs():
        if spec.metadata.get("text"):
            values[spec.name] = [f"{spec.name}{i}" for i in range(count)]
        else:
            shape = (count, *spec.metadata["shape"])
            values[spec.name] = np.arange(np.prod(shape)).reshape(shape).astype(spec.metadata["dtype"])
    return group(**values)


@pytest.mark.parametrize("group", GROUPS)
def test_columns_of_different_lengths_are_refused(group: type) -> None:
    for spec in group.specs():
        with pytest.raises(ValueError, match="different lengths"):
            dataclasses.replace(example(group, 3), **{spec.name: getattr(example(group, 2), spec.name)})


@pytest.mark.parametrize("group", GROUPS)
def test_columns_of_another_type_are_refused(group: type) -> None:
    for spec in group.specs():
        good = getattr(example(group, 2), spec.name)
        if spec.metadata.get("text"):
            wrong = ["ab", [b"a", b"b"], ["a", None], np.array(["a", "b"])]
        else:
            wrong = [good.tolist(), good.astype(np.complex64), good[:, None], good.sum(), None, "ab"]
            wrong.append(
                good.astype(good.dtype.newbyteorder(">")) if good.itemsize > 1 else good.astype(np.int8)
            )
        for value in wrong:
            with pytest.raises(ValueError, match=spec.name):
                dataclasses.replace(example(group, 2), **{spec.name: value})


@pytest.mark.parametrize("group", GROUPS)
def test_rows_are_taken_by_index_and_by_mask(group: type) -> None:
    rows = example(group, 4)
    for part in (
        rows.take(np.array([2, 0])),
        rows.take(np.array([True, False, True, False])).take(np.array([1, 0])),
    ):
        assert len(part) == 2
        for spec in group.specs():
            whole, got = getattr(rows, spec.name), getattr(part, spec.name)
            assert np.array_equal(got, [whole[2], whole[0]])
    with pytest.raises(IndexError, match="3"):
        rows.take(np.ones(3, np.bool_))
    assert len(rows.take(np.array([], np.int64))) == 0


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("cuts", [(0, 5), (0, 2, 5), (0, 0, 1, 5, 5)])
def test_concatenate_puts_parts_back_together(group: type, cuts: tuple[int, ...]) -> None:
    rows = example(group, 5)
    parts = [rows.take(np.arange(a, b)) for a, b in itertools.pairwise(cuts)]
    for spec in group.specs():
        assert np.array_equal(getattr(group.concatenate(parts), spec.name), getattr(rows, spec.name))
    assert len(group.concatenate([])) == 0


def test_empty_rows_say_not_known() -> None:
    faces = Faces.empty(2, file_index=np.array([3, 4]))
    assert faces.file_index.tolist() == [3, 4]
    assert np.isnan(faces.box).all()
    assert np.isnan(faces.landmarks).all()
    assert np.isnan(faces.score).all()
    files = Files.empty(2)
    assert (files.path, files.reason) == (["", ""], ["", ""])
    assert files.bytes.tolist() == files.mtime_ns.tolist() == [-1, -1]
    assert files.width.tolist() == [0, 0]
    assert [Outcome(o).label for o in files.outcome] == ["no_face", "no_face"]


def test_values_are_frozen() -> None:
    table = table_of({"/a": 1})
    for value, name in [
        (table, "embeddings"),
        (table.faces, "box"),
        (table.files, "path"),
        (stamp(), "pack"),
    ]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embeddings": unit(3).astype(np.float64)}, "float64"),
        ({"embeddings": unit(3)[0]}, r"\(4,\)"),
        ({"embeddings": unit(2)}, "2 embeddings for 3 faces"),
        ({"stamp": stamp(dim=5)}, "stamp says 5 dimensions"),
        ({"faces": Faces.empty(3, file_index=np.array([0, 0, 9]))}, "does not hold"),
        ({"faces": Faces.empty(3, file_index=np.array([0, 0, -1]))}, "does not hold"),
        ({"faces": Faces.empty(3, file_index=np.array([0, 1, 1]))}, "not the same"),
        ({"faces": Faces.empty(3, file_index=np.array([1, 1, 1]))}, "not the same"),
        ({"files": Files.empty(2, outcome=np.array([0, 6], np.uint8))}, "unknown outcome"),
        ({"unnamed_files": -1}, "unnamed_files"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(table_of({"/a": 3, "/b": 0}), **changes)


@given(tables())
def test_counts_add_up_to_the_inputs(table: FaceTable) -> None:
    counts = table.outcome_counts()
    assert list(counts) == [o.label for o in Outcome]
    assert sum(counts.values()) == table.total_files == len(table.files) + table.unnamed_files
    assert counts["faces"] == len(set(table.face_paths()))
    assert content(dataclasses.replace(table)) == content(table)


@given(tables(), st.data())
def test_files_are_taken_with_their_faces(table: FaceTable, data: st.DataObject) -> None:
    count = len(table.files)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_)
    part = table.take_files(kept)
    assert list(part.files.path) == [p for p, k in zip(table.files.path, kept, strict=True) if k]
    rows = np.flatnonzero(kept[table.faces.file_index])
    assert np.array_equal(part.embeddings, table.embeddings[rows])
    assert part.face_paths() == [table.face_paths()[row] for row in rows]
    assert part.total_files == kept.sum()
    assert part.stamp == table.stamp


@pytest.mark.parametrize(
    ("name", "value"), [("dim", "4"), ("pack", None), ("options", [1]), ("embedder_sha256", ["a"])]
)
def test_a_stamp_of_other_types_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        stamp(**{name: value})


def test_space_is_weights_alignment_and_dimension() -> None:
    told = {"pack": "x", "version": "9", "options": {}, "licence": "", "detector": "x", "embedder": "x"}
    assert stamp(**told).space == stamp().space
    for name in ("detector_sha256", "embedder_sha256", "preprocessing"):
        assert stamp(**{name: "other"}).space != stamp().space
    assert stamp(dim=5).space != stamp().space


@settings(max_examples=30)
@given(st.lists(st.text(max_size=5) | st.just("\udcff"), max_size=20))
def test_texts_are_what_they_were_made_of(texts: list[str]) -> None:
    column = Texts.of(texts)
    assert list(column) == texts
    assert [column[i] for i in range(-len(texts), len(texts))] == texts * 2
    assert column[1:4] == texts[1:4]
    assert column[::-2] == texts[::-2]


@pytest.mark.parametrize(
    ("data", "ends"), [(b"abc", [2]), (b"abc", [3, 2]), (b"abc", [-1, 3]), (b"\xc3\xa9", [1, 2]), (b"", [1])]
)
def test_texts_that_are_none_are_refused(data: bytes, ends: list[int]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Texts(np.frombuffer(data, np.uint8), np.array(ends, np.int64))

"""What people said holds, whatever the faces look like and whatever else is asked for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_tables import table_of, unit
from numpy.typing import NDArray

import face_organizer as fo
from face_organizer.cluster import merging
from face_organizer.errors import UsageError
from face_organizer.library import NEW, NOBODY, Person, Said
from face_organizer.types import FaceTable

DIM = 24
Vectors = NDArray[np.float32]


@dataclasses.dataclass
class Case:
    """Faces of a few people, one to three on a picture, some of them copies or frames; and what was said."""

    vectors: Vectors
    on: list[int]  # the picture of each face, ascending
    frames: bool
    said: Said

    def table(self) -> FaceTable:
        """The table of these faces."""
        pictures = {f"/p/{i:03}.png": self.on.count(i) for i in range(max(self.on) + 1)}
        table = table_of(pictures, dim=DIM)
        names = [f"clip_{i:06}.png" if self.frames else "" for i in self.on]
        count = len(self.on)
        track = np.full(count, -1, np.int32)
        faces = dataclasses.replace(
            table.faces, source_filename=names, source_face=table.faces.face_index, track=track
        )
        return FaceTable(self.vectors, faces, table.files, table.stamp)

    def of(self, order: NDArray[np.int64], vectors: Vectors) -> Case:
        """The same with the pictures in another `order`, as `vectors`; rows beyond ours are new."""
        old = {int(row): at for at, row in enumerate(order) if row < len(self.on)}
        said, count = self.said, len(order)
        known, before = np.full(count, NOBODY, np.int64), np.full(count, NEW, np.int64)
        ignored = np.zeros(count, np.bool_)
        for row, at in old.items():
            known[at], before[at], ignored[at] = said.known[row], said.before[row], said.ignored[row]
        refused = [(old[f], p) for f, p in said.refused.tolist() if f in old]
        pairs = np.array(refused, np.int64).reshape(-1, 2)
        return Case(
            vectors[order],
            list(range(count)),
            False,
            Said(said.persons, known, pairs, ignored, before, said.differ, known >= 0),
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any faces, and anything said of them that does not contradict itself."""
    seed = draw(st.integers(0, 9999))
    random = np.random.default_rng(seed)
    count, people, persons = (draw(st.integers(a, b)) for a, b in ((6, 40), (1, 6), (0, 5)))
    near = draw(st.floats(0.3, 0.97))
    who = random.integers(0, people, count)
    vectors = near * unit(people, DIM, seed)[who] + np.sqrt(1 - near**2) * unit(count, DIM, seed + 1)
    for row in random.integers(1, count, count // 5):
        vectors[row] = vectors[row - 1]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    on = np.cumsum(random.random(count) < draw(st.sampled_from([0.6, 1.0]))).tolist()
    on = [i - on[0] for i in on]
    told = draw(st.floats(0, 0.8))
    # Said in accord with the looks, or against all looks.
    guess = who % max(persons, 1) if draw(st.booleans()) else random.integers(0, max(persons, 1), count)
    known = np.where((random.random(count) < told) & (persons > 0), guess, NOBODY)
    ignored = (random.random(count) < 0.1) & (known < 0) & (np.arange(count) > 5)
    before = random.integers(NEW, max(persons, 0), count) if persons else np.full(count, NEW)
    every = np.argwhere(random.random((count, persons)) < draw(st.floats(0, 0.5))).reshape(-1, 2)
    refused = every[known[every[:, 0]] != every[:, 1]] if persons else every
    names = ["person_A", "Alice", "person_C", "Ben", "person_B"]
    rows = [
        Person(10 + i, names[i], bool((known == i).any()), bool(random.random() < 0.2))
        for i in range(persons)
    ]
    said = Said(
        rows,
        known.astype(np.int64),
        refused.astype(np.int64),
        ignored,
        before.astype(np.int64),
        np.empty((0, 2), np.int64),
        known >= 0,
    )
    return Case(vectors.astype(np.float32), on, draw(st.booleans()), said)


def asked() -> st.SearchStrategy[dict[str, Any]]:
    """Any options."""
    return st.fixed_dictionaries(
        {
            "clusters": st.sampled_from(["auto", "auto", 1, 2, 3, 6]),
            "threshold": st.sampled_from([None, None, -1.0, 0.0, 0.3, 0.7, 1.0]),
            "min_cluster_size": st.integers(1, 5),
            "keep_strangers": st.booleans(),
            "one_per_photo": st.booleans(),
            "frames": st.booleans(),
            "seed": st.integers(0, 3),
        }
    )


def assert_obeyed(case: Case, options: dict[str, Any]) -> fo.People:
    """Cluster, and hold the result against every single thing that was said."""
    said = case.said
    people = fo.cluster(case.table(), said=said, **options)
    labels, ids = people.labels, [*people.person_ids]
    named = {one.name: one.id for one in said.persons}
    for i, one in enumerate(said.persons):
        places = set(labels[said.known == i].tolist())
        assert len(places) <= 1
        if places:
            (place,) = places
            assert (people.names[place], ids[place]) == (one.name, one.id)
    for face, person in said.refused.tolist():
        assert labels[face] < 0 or ids[labels[face]] != said.persons[person].id
    assert (labels[said.ignored] == -1).all()
    assert {people.reasons[i] for i in np.flatnonzero(said.ignored)} <= {"ignored"}
    assert {people.reasons[i] for i in np.flatnonzero(said.known >= 0)} <= {"said"}
    continued = [one for one in ids if one is not None]
    assert len(set(continued)) == len(continued)
    assert all(named.get(name) == one for name, one in zip(people.names, ids, strict=True))
    hidden = {one.id for one in said.persons if one.hidden}
    assert {ids[i] for i in people.hidden} == hidden & set(continued)
    return people


@given(cases(), asked())
@settings(max_examples=200)
def test_no_run_breaks_what_was_said(case: Case, options: dict[str, Any]) -> None:
    assert_obeyed(case, options)


@given(cases(), asked(), st.integers(0, 99), st.integers(0, 10))
@settings(max_examples=100)
def test_nor_in_another_order_nor_with_pictures_added_nor_by_another_embedder(
    case: Case, options: dict[str, Any], seed: int, more: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = np.concatenate([case.vectors, unit(more, DIM, seed), case.vectors[: more // 2]])
    turned = vectors @ np.linalg.qr(random.standard_normal((DIM, DIM)))[0] + 0.1 * unit(len(vectors), DIM)
    turned = (turned / np.linalg.norm(turned, axis=1, keepdims=True)).astype(np.float32)
    order = random.permutation(len(vectors))
    for seen in (vectors, turned):
        assert_obeyed(case.of(order, seen), options)


def said_of(count: int, persons: int, **changes: Any) -> Said:
    """What was said of `count` faces: nothing but `changes`."""
    people = [Person(i, f"person {i}") for i in range(persons)]
    return dataclasses.replace(Said.nothing(count), persons=people, **changes)


def near(to: Vectors, count: int, seed: int = 0) -> Vectors:
    """Unit vectors close to one direction."""
    made = to + 0.02 * unit(count, DIM, seed)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("said", ["two known persons", "a refusal"])
def test_nobody_between_brings_two_together_who_are_apart(said: str) -> None:
    """In one round a small group joins a large one, which joins its own nearest."""
    middle, known, refused = unit(1, DIM), np.full(12, -1), np.empty((0, 2), np.int64)
    vectors = np.concatenate([near(middle, 10), middle + 0.4 * unit(2, DIM, 5)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    label = np.array([0] * 9 + [1, 2, 3])
    known = np.array([-1, 0, 1, -1]) if said == "two known persons" else np.array([-1, 0, -1, -1])
    refused = np.array([[2, 0]] if said == "a refusal" else []).reshape(-1, 2).astype(np.int64)
    groups = merging.start(vectors.astype(np.float32), np.ones(12, np.float32), label, known, refused)
    every = np.array([(a, b) for a in range(4) for b in range(a)], np.int64)
    merged = merging.merge(groups, every, 0.5).label
    assert merged[9] != merged[10]
    assert merged[0] in (merged[9], merged[10])


def test_two_who_look_the_same_are_two_where_there_are_fewer_groups_than_people_asked_for() -> None:
    ways = unit(3, DIM, 2)
    vectors = np.concatenate([near(ways[0], 6), near(ways[1], 2), near(ways[2], 2)])
    known = np.array([0, 1] * 3 + [-1] * 4)
    case = Case(vectors, list(range(10)), False, said_of(10, 2, known=known))
    people = assert_obeyed(case, {"clusters": 3, "threshold": -1.0})
    assert len(people.names) == 4


@pytest.mark.parametrize(
    "options", [{"clusters": "auto"}, {"clusters": 2}, {"clusters": 1, "keep_strangers": True}]
)
def test_a_face_taken_from_a_person_of_whom_nothing_else_was_said_leaves_and_the_person_stays(
    options: dict[str, Any],
) -> None:
    ways = unit(2, DIM, 2)
    vectors = np.concatenate([near(ways[0], 8), near(ways[1], 4)])
    before, refused = np.array([0] * 8 + [1] * 4), np.array([[3, 0]])
    case = Case(vectors, list(range(12)), False, said_of(12, 2, before=before, refused=refused))
    people = assert_obeyed(case, options)
    assert people.names[people.labels[0]] == "person 0"
    assert set(people.labels[:8].tolist()) - {people.labels[3]} == {people.labels[0]}


def test_a_hidden_person_has_no_folder_and_its_pictures_are_nowhere_but_with_others() -> None:
    ways = unit(2, DIM, 2)
    vectors = np.concatenate([near(ways[0], 8), near(ways[1], 4)])
    known = np.array([0] * 8 + [1] * 4)
    said = dataclasses.replace(
        said_of(12, 2, known=known), persons=[Person(7, "Ann", hidden=True), Person(8, "Ben")]
    )
    on = [0, 1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10]
    people = assert_obeyed(Case(vectors, on, False, said), {"clusters": "auto"})
    view = people.view()
    assert {folder for _, folder in view.entries} == {"Ben"}
    assert [path for path, _ in sorted(view.entries)] == [f"/p/{i:03}.png" for i in (7, 8, 9, 10)]
    assert "Ann.jpg" not in view.files
    assert [row["person"] for row in people.rows()].count("Ann") == 8


def test_previous_and_said_are_not_given_together() -> None:
    table = table_of({"/a": 4})
    with pytest.raises(UsageError, match="give it alone"):
        fo.cluster(table, previous=fo.cluster(table), said=Said.nothing(4))

"""Between sure and stranger: faces for review, persons that may be one, faces that may not be theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making_tables import table_of, unit
from numpy.typing import NDArray
from shell import here

import face_organizer as fo
from face_organizer.cluster.people import COLUMNS
from face_organizer.library import Person, Said
from face_organizer.types import FaceTable

DIM = 64
Vectors = NDArray[np.float32]


def around(center: Vectors, nears: list[float], seed: int) -> Vectors:
    """Unit vectors with these cosines to a unit `center`."""
    noise = unit(len(nears), DIM, seed)
    noise -= np.outer(noise @ center, center)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    near = np.array(nears, np.float32)[:, None]
    return np.asarray(near * center + np.sqrt(1 - near**2) * noise, np.float32)


def table(vectors: Vectors, on: list[int] | None = None) -> FaceTable:
    """These faces, `on[i]` of them on picture i; each on one of its own without."""
    drawn = table_of({f"/p/{i:03}.jpg": n for i, n in enumerate(on or [1] * len(vectors))}, dim=DIM)
    faces = drawn.faces
    faces.track[:] = -1
    faces.source_filename[:] = [""] * len(vectors)
    return FaceTable(vectors, faces, drawn.files, drawn.stamp)


def hard(lost: float = 0.52, strangers: int = 120) -> tuple[Vectors, slice, slice]:
    """Two persons of 30 clear photos, 10 more of the first that are `lost` at today's threshold, strangers;
    the rows of the lost, and of the strangers."""
    ways = unit(2, DIM, 3)
    parts = [around(ways[0], [0.85] * 30, 1), around(ways[1], [0.85] * 30, 2)]
    parts += [around(ways[0], [lost] * 10, 4), unit(strangers, DIM, 5)]
    return np.concatenate(parts), slice(60, 70), slice(70, 70 + strangers)


@pytest.mark.parametrize("clusters", ["auto", 2])
def test_what_stands_out_of_the_strangers_is_the_persons_or_for_review(clusters: Any) -> None:
    vectors, lost, strangers = hard()
    people = fo.cluster(table(vectors), clusters)
    review = np.array(people.review)
    taken = (people.labels[lost] == people.labels[0]) | (review[lost] == people.labels[0])
    assert taken.sum() >= 8
    assert (people.labels[strangers] >= 0).sum() == 0
    assert (review[strangers] >= 0).sum() <= 10
    assert np.all(people.labels[review >= 0] == -1)  # review is no membership
    assert {people.reasons[i] for i in np.flatnonzero(review >= 0)} <= {"for review"}


def test_a_threshold_that_is_given_holds_and_without_review_nobody_is_in_doubt() -> None:
    vectors, lost, _ = hard()
    people = fo.cluster(table(vectors), 2, threshold=0.7, review=False)
    assert set(people.labels[lost].tolist()) == {-1}
    assert set(people.review) == {-1}
    assert (people.maybe, people.lower()) == ({}, None)
    assert {folder for _, folder in people.entries()} == {"person_A", "person_B", "unassigned"}


def test_many_near_faces_are_told_of_with_the_threshold_that_brings_them_in() -> None:
    vectors, _, _ = hard(lost=0.42)
    people = fo.cluster(table(vectors), threshold=0.7)
    told = people.lower()
    assert told is not None
    assert people.nearness is not None
    assert told.faces == (people.nearness >= told.threshold).sum() >= 7
    again = fo.cluster(table(vectors), 2, threshold=told.threshold)
    assert (again.labels >= 0).sum() >= (people.labels >= 0).sum() + told.faces - 2


def test_a_photo_for_review_that_surely_shows_another_goes_there_only() -> None:
    vectors, lost, strangers = hard()
    first = fo.cluster(table(vectors), threshold=0.7)
    doubtful = np.flatnonzero(np.array(first.review[lost]) >= 0) + lost.start
    assert len(doubtful) > 2
    # The photo of a doubtful face shows somebody else: a member, another doubtful one, a stranger.
    a, b, c = doubtful[:3].tolist()
    member, stranger = 35, strangers.start
    pairs = [(member, a), (b, c)] + [(stranger, d) for d in doubtful[3:4].tolist()]
    order = [row for row in range(len(vectors)) if row not in {x for pair in pairs for x in pair}]
    rows = order + [row for pair in pairs for row in pair]
    on = [1] * len(order) + [2] * len(pairs)
    people = fo.cluster(table(vectors[rows], on), threshold=0.7)
    where: dict[str, set[str]] = {}
    for path, folder in people.entries():
        where.setdefault(path, set()).add(folder)
    name = people.names[people.labels[0]]
    paths = [f"/p/{len(order) + i:03}.jpg" for i in range(len(pairs))]
    assert where[paths[0]] == {people.names[people.labels[rows.index(member)]]}
    assert all(where[path] == {f"{name}/review"} for path in paths[1:])


def test_persons_that_may_be_one_are_listed_until_they_are_said_to_differ() -> None:
    way, other = unit(2, DIM, 8)
    cap = around(way, [0.5] * 1, 9)[0]  # the same person in a cap: photos around another direction
    parts = [
        around(way, [0.9] * 12, 1),
        around(cap, [0.9] * 6, 2),
        around(other, [0.9] * 9, 3),
        unit(150, DIM, 5),
    ]
    vectors = np.concatenate(parts)
    people = fo.cluster(table(vectors), threshold=0.6)
    a, b = people.labels[0], people.labels[12]
    assert a != b
    best = people.suggestions[0]
    assert (best.person, best.other) == (max(a, b), min(a, b))
    assert 0.2 < best.likeness < 0.6
    known = np.full(len(vectors), -1)
    known[:12], known[12:18] = 0, 1
    for said in (
        {"differ": np.array([[0, 1]])},
        {"refused": np.array([[12, 0]])},
    ):
        told = Said.nothing(len(vectors))
        values = {"known": known, "refused": told.refused, "differ": told.differ, **said}
        told = Said(
            [Person(1, "Ann"), Person(2, "Ben")],
            values["known"],
            values["refused"],
            told.ignored,
            told.before,
            values["differ"],
            told.spoken,
        )
        after = fo.cluster(table(vectors), threshold=0.6, said=told)
        names = [{after.names[one.person], after.names[one.other]} for one in after.suggestions]
        assert {"Ann", "Ben"} not in names


def test_a_face_that_is_least_like_the_others_of_its_person_is_asked_for_first() -> None:
    ways = unit(2, DIM, 8)
    wrong = around(ways[0], [0.6], 4)
    vectors = np.concatenate(
        [around(ways[0], [0.9] * 12, 1), wrong, around(ways[1], [0.9] * 9, 3), unit(40, DIM, 5)]
    )
    people = fo.cluster(table(vectors), threshold=0.4)
    assert people.labels[12] == people.labels[0]
    first = people.outsiders[0]
    assert (first.face, first.person) == (12, people.labels[0])
    rest = vectors[:12].sum(axis=0)
    assert first.similarity == pytest.approx(float(vectors[12] @ rest / np.linalg.norm(rest)), abs=1e-3)
    known = np.where(people.labels == people.labels[0], 0, -1)
    said = Said.nothing(len(vectors))
    told = Said([Person(1, "Ann")], known, said.refused, said.ignored, said.before, said.differ, said.spoken)
    assert 12 not in [one.face for one in fo.cluster(table(vectors), threshold=0.4, said=told).outsiders]


@pytest.mark.parametrize("faces", [1, 2, 5])
def test_few_faces_without_any_person_are_no_matter(faces: int) -> None:
    people = fo.cluster(table(unit(faces, DIM)))
    assert (len(people.names), list(people.suggestions), list(people.outsiders)) == (0, [], [])
    assert set(people.review) == {-1}


def test_the_command_lays_doubt_aside_and_counts_every_picture(tmp_path: Path) -> None:
    vectors, _, _ = hard()
    pictures = tmp_path / "in"
    pictures.mkdir()
    drawn = table_of({str(pictures / f"{i:03}.jpg"): 1 for i in range(len(vectors))}, dim=DIM)
    for path in drawn.files.path:
        Path(path).write_bytes(path.encode())
    drawn.faces.track[:] = -1
    drawn.faces.source_filename[:] = [""] * len(vectors)
    fo.write(FaceTable(vectors, drawn.faces, drawn.files, drawn.stamp), tmp_path / "f.pkl")
    call = ["cluster", "-e", tmp_path / "f.pkl", "-o", tmp_path / "people", "-k", "2", "--threshold", "0.7"]
    done = here(*call)
    assert "two faces are one person from a similarity of 0.700 on (given; strangers:" in done.out
    assert "may be one of them: see the folders review/ in theirs" in done.out
    assert "more faces at --threshold 0." in done.out
    told = json.loads(here(*call, "--json", "-q").out)
    in_review = sorted(p.name for p in (tmp_path / "people").glob("*/review/*"))
    assert told["review"] == len(in_review) >= 8
    assert told["sorted"] + told["review"] + told["unassigned"] == told["inputs"] == len(vectors)
    assert f" + {told['review']} for review + {told['unassigned']} unassigned" in done.out
    rows = [line.split(",") for line in (tmp_path / "people" / "manifest.csv").read_text().splitlines()]
    at = {name: rows[0].index(name) for name in COLUMNS}
    marked = [row for row in rows[1:] if row[at["review"]]]
    assert sorted(Path(row[at["source"]]).name for row in marked) == in_review
    assert {(row[at["person"]], row[at["reason"]]) for row in marked} == {("unassigned", "for review")}
    assert all(0 < float(row[at["nearness"]]) < 0.7 for row in marked)
    assert all(row[at["placed"]].startswith(f"{row[at['review']]}/review/") for row in marked)
    told = json.loads(here(*call, "--json", "-q", "--no-review").out)
    assert (told["review"], list((tmp_path / "people").glob("*/review/*"))) == (0, [])

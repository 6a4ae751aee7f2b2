"""People among strangers, their number unknown, and what the pictures and an earlier result know of them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_tables import table_of, unit
from numpy.typing import NDArray

import face_organizer as fo
from face_organizer.cluster import merging, neighbours
from face_organizer.cluster import result as stability
from face_organizer.cluster import threshold as strangers
from face_organizer.cluster.constraints import NO_HINTS, Hints, hints_of, pinned
from face_organizer.cluster.faiss_device import CPU, choose
from face_organizer.cluster.graph import find_people, shared_direction, without
from face_organizer.cluster.known_number import largest_people
from face_organizer.cluster.labels import Clustering
from face_organizer.cluster.result import Former
from face_organizer.errors import ClusterError, DeviceError, UsageError
from face_organizer.evaluate import scores as metrics
from face_organizer.types import FaceTable

Vectors = NDArray[np.float32]


def faces(sizes: list[int], near: float = 0.8, dim: int = 128, seed: int = 0, bias: float = 0) -> Vectors:
    """Faces with cosine `near` to their person's center; `bias` is what all centers share."""
    random = np.random.default_rng(seed)
    centers = unit(len(sizes) + 1, dim, seed)
    centers = np.sqrt(1 - bias) * centers[1:] + np.sqrt(bias) * centers[0]
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    noise = random.standard_normal((sum(sizes), dim))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    made = near * np.repeat(centers, sizes, axis=0) + np.sqrt(1 - near**2) * noise
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def auto(vectors: Vectors, hints: Hints = NO_HINTS, **options: Any) -> Clustering:
    return find_people(vectors, hints, **options)[0]


def largest(vectors: Vectors, clusters: int, hints: Hints = NO_HINTS, **options: Any) -> Clustering:
    return largest_people(vectors, clusters, hints, **options)[0]


def who(sizes: list[int]) -> list[str]:
    return [str(i) for i, size in enumerate(sizes) for _ in range(size)]


# Chance and threshold.


def test_chance_is_what_pairs_of_strangers_show() -> None:
    sizes = [3] * 400
    vectors = faces(sizes, bias=0.1)
    names = np.array(who(sizes))
    others = (vectors @ vectors.T)[names[:, None] != names[None]]
    found = strangers.estimate(vectors)
    assert abs(found.mean - others.mean()) < 0.01
    assert abs(found.deviation - others.std()) < 0.01
    assert 380 < found.people < 420
    assert abs(found.typical - 0.8**2) < 0.03


@pytest.mark.parametrize("people", [1, 2, 3, 10, 200])
def test_the_number_of_people_is_found_whatever_it_is(people: int) -> None:
    sizes = [max(400 // people, 4)] * people
    clustering = auto(faces(sizes, near=0.85))
    assert metrics.score(clustering.labels, who(sizes)).bcubed_f > 0.99
    assert len(clustering.centers) == people


def test_a_face_more_or_another_order_changes_at_most_one_of_the_sample() -> None:
    vectors = unit(3000, 8)
    before = {vectors[i].tobytes() for i in strangers.sample_rows(vectors[:-1], 500, 1)}
    after = {vectors[i].tobytes() for i in strangers.sample_rows(vectors, 500, 1)}
    turned = vectors[::-1]
    assert len(before) == 500
    assert len(after - before) <= 1
    assert {turned[i].tobytes() for i in strangers.sample_rows(turned, 500, 1)} == after


def test_what_all_faces_share_is_taken_away_only_where_it_is_proven() -> None:
    assert shared_direction(faces([20, 20]), 1) is None
    biased = faces([2] * 500, bias=0.2)
    moved = without(biased, shared_direction(biased, 1))
    assert abs(np.median(moved @ moved.T)) < 0.03 < np.median(biased @ biased.T)


def test_small_groups_are_left_out_and_a_threshold_that_is_given_holds() -> None:
    vectors = faces([8, 5, 2, 1])
    assert auto(vectors).labels.tolist() == [0] * 8 + [1] * 5 + [-1] * 3
    assert auto(vectors, min_cluster_size=1).labels.tolist() == [0] * 8 + [1] * 5 + [2] * 2 + [3]
    assert len(auto(vectors, threshold=0.999, min_cluster_size=1).centers) == 16


# Neighbours.


def brute(vectors: Vectors, floor: float, k: int) -> set[tuple[int, int]]:
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    near = np.argsort(-cosines, axis=1)[:, :k]
    return {(i, int(j)) for i in range(len(vectors)) for j in near[i] if cosines[i, j] >= floor}


@pytest.mark.parametrize(("floor", "k"), [(0.3, 5), (0.0, 3), (0.99, 4), (-1.0, 10)])
def test_exact_edges_are_those_of_brute_force(floor: float, k: int) -> None:
    vectors = faces([6] * 20, dim=16)
    pairs, cosines = neighbours.edges(vectors, floor, k)
    got = {(a, b) for a, b in pairs.tolist()}
    assert got >= brute(vectors, floor, k)
    assert np.allclose(cosines, np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]]), atol=1e-5)
    assert cosines.min(initial=1) >= floor
    assert np.bincount(pairs[:, 0]).max(initial=0) <= k + 1


def test_edges_by_lists_hold_nearly_all_of_the_exact_ones() -> None:
    vectors = faces([5] * 600, dim=64)
    exact = brute(vectors, 0.5, 8)
    pairs, cosines = neighbours.edges(vectors, 0.5, 8, exact=False)
    got = {(a, b) for a, b in pairs.tolist()}
    assert len(got & exact) / len(exact) > 0.9
    assert len(got) == len(pairs)
    assert np.allclose(cosines, np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]]), atol=1e-5)


def test_people_by_lists_and_by_all_pairs_are_the_same() -> None:
    sizes = [5] * 600
    vectors = faces(sizes)
    for exact in (True, False):
        assert metrics.score(auto(vectors, exact=exact).labels, who(sizes)).bcubed_f > 0.999


def test_a_person_with_more_copies_than_a_face_has_neighbours_is_one() -> None:
    clustering = auto(faces([300, 200], near=0.8), neighbours=4)
    assert clustering.sizes().tolist() == [300, 200]


# Merging.


@given(st.integers(0, 999), st.floats(0.2, 0.9))
@settings(max_examples=25)
def test_likeness_is_that_of_the_pairs_and_nothing_alike_is_left_apart(seed: int, threshold: float) -> None:
    vectors = faces([4, 4, 3, 1], near=0.7, dim=12, seed=seed)
    every = np.array([(a, b) for a in range(12) for b in range(a)], np.int64)
    nothing = np.full(12, -1), np.empty((0, 2), np.int64)
    first = merging.start(vectors, np.ones(12, np.float32), np.arange(12), *nothing)
    groups = merging.merge(first, every, threshold)
    count = len(groups.weight)
    pairs = np.array([(a, b) for a in range(count) for b in range(a)], np.int64).reshape(-1, 2)
    alike = merging.likeness(groups, pairs, groups.length_of(slice(None)))
    cosines = vectors.astype(np.float64) @ vectors.T
    for (a, b), value in zip(pairs.tolist(), alike.tolist(), strict=True):
        inside = [np.flatnonzero(groups.label == g) for g in (a, b)]
        lengths = [np.sqrt(cosines[np.ix_(rows, rows)].mean()) for rows in inside]
        expected = cosines[np.ix_(*inside)].mean() / np.sqrt(lengths[0] * lengths[1])
        assert abs(value - expected) < 1e-4
        assert value < threshold + 1e-5


# A known number.


def test_strangers_go_and_do_not_drag_the_centers() -> None:
    sizes = [40, 30, *[2] * 35]
    vectors = faces(sizes)
    labels = largest(vectors, 2).labels
    assert labels.tolist() == [0] * 40 + [1] * 30 + [-1] * 70
    kept = largest(vectors, 2, keep_strangers=True)
    assert {tuple(set(kept.labels[part].tolist())) for part in (slice(40), slice(40, 70))} == {(0,), (1,)}
    assert kept.labels.min() >= 0
    assert np.allclose(kept.similarity, np.einsum("ij,ij->i", vectors, kept.centers[kept.labels]), atol=1e-5)


def test_few_photos_of_one_among_many_of_another_are_found() -> None:
    vectors = faces([495, 5], near=0.75)
    assert largest(vectors, 2).labels.tolist() == [0] * 495 + [1] * 5


@pytest.mark.parametrize(("people", "asked", "suggested"), [(3, 2, 3), (1, 2, 1), (2, 2, 2), (4, 2, 4)])
def test_a_wrong_number_is_said_with_a_better_one(people: int, asked: int, suggested: int) -> None:
    advice = largest_people(faces([20] * people), asked)[2]
    assert advice.suggested == suggested
    assert advice.sizes[:people] == (20,) * people


def test_more_people_than_are_found_are_still_given() -> None:
    assert len(largest(faces([20, 20]), 5).centers) == 5


# What pictures know.


def table_with(
    vectors: Vectors, files: list[int], frames: list[str] | None = None, index: int = 0
) -> FaceTable:
    """A table of these faces, `files[i]` of them on picture i; with `frames`, FaceSwap crops of them."""
    table = table_of({f"/p/{i:04}.png": n for i, n in enumerate(files)}, dim=vectors.shape[1])
    count = len(vectors)
    faces_ = dataclasses.replace(
        table.faces,
        source_filename=frames or [""] * count,
        source_face=np.full(count, index, np.int32),
        time=np.full(count, np.nan, np.float32),
        track=np.full(count, -1, np.int32),
    )
    return FaceTable(vectors, faces_, table.files, table.stamp)


def test_faces_of_one_photo_are_rather_not_one_person() -> None:
    vectors = faces([6, 6, 1])
    vectors[12] = (vectors[0] + 0.9 * vectors[12]) / np.linalg.norm(vectors[0] + 0.9 * vectors[12])
    table = table_with(vectors, [1] * 11 + [2])
    apart, together = (hints_of(table, photos=photos) for photos in (True, False))
    assert apart.conflicts.tolist() == [[11, 12]]
    assert together.conflicts.tolist() == []


def test_a_conflict_keeps_alike_faces_apart_but_not_mirror_images() -> None:
    vectors = faces([5, 5], near=0.75, seed=3)
    conflict = Hints(conflicts=np.array([[0, 1]]))
    free, held = (auto(vectors, hints, min_cluster_size=1) for hints in (Hints(), conflict))
    assert free.labels.tolist() == [0] * 5 + [1] * 5
    assert held.labels[0] != held.labels[1]
    vectors[1] = vectors[0]
    assert len(set(auto(vectors, conflict, min_cluster_size=1).labels[:5].tolist())) == 1


def test_of_two_faces_on_one_photo_the_less_alike_leaves_a_person() -> None:
    vectors = faces([10, 10], near=0.75, seed=1)
    labels = largest(vectors, 2, Hints(conflicts=np.array([[0, 1]]))).labels
    assert (labels[:2] < 0).sum() == 1
    assert (labels[2:] >= 0).all()


def test_frames_that_follow_one_another_are_one_person_unless_the_faces_speak_against_it() -> None:
    vectors = faces([3, 3], near=0.9)
    frames = [f"clip_{number:06}.png" for number in (1, 2, 3, 4, 5, 90)]
    same = hints_of(table_with(vectors, [1] * 6, frames)).same
    assert same.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    labels = auto(vectors, Hints(same=same), min_cluster_size=1).labels
    assert labels.tolist() == [0] * 3 + [1] * 3
    assert hints_of(table_with(vectors, [1] * 6, frames), frames=False).same.tolist() == []


def test_copies_count_once() -> None:
    vectors = np.concatenate([faces([4, 4], near=0.8), np.repeat(faces([1]), 40, axis=0)])
    copies = strangers.estimate(vectors)
    pairs, cosines = neighbours.edges(vectors, 0.2, 16)
    groups = Hints().first_groups(vectors, pairs, cosines, copies)
    assert np.allclose(groups.weight, 1)
    assert len(set(groups.label[8:].tolist())) < 40


# What was before.


def former(table: FaceTable, labels: list[int], names: list[str]) -> Former:
    return Former(
        table.face_paths(),
        table.faces.face_index.astype(np.int64),
        np.array(labels, np.int64),
        names,
        np.eye(len(names), 4, dtype=np.float32),
        table.faces.landmarks,
        table.faces.time,
        np.full(len(labels), -1),
    )


def test_letters_and_names_are_kept_by_overlap() -> None:
    table = table_with(unit(9), [1] * 9)
    before = former(table, [0, 0, 0, 1, 1, 2, 2, -1, -1], ["person_A", "Alice", "person_C"])
    said = stability.said(before, table)
    assert said.known.tolist() == [-1, -1, -1, 1, 1, -1, -1, -1, -1]
    labels = np.array([1, 1, 2, 0, 0, 0, 1, 3, -1], np.int64)
    kept = stability.keep_names(labels, 4, said)
    assert kept.names == ["Alice", "person_A", "person_B", "person_D"]
    assert kept.persons == [1, 0, -1, -1]
    assert (kept.shared, kept.moved) == (9, 4)
    assert kept.gone == ["person_C"]


def test_faces_that_are_new_are_no_part_of_what_moved() -> None:
    table = table_with(unit(5), [1] * 5)
    before = former(table_with(unit(3), [1] * 3), [0, 0, 1], ["person_A", "person_B"])
    said = stability.said(before, table)
    assert said.before.tolist() == [0, 0, 1, -2, -2]
    kept = stability.keep_names(np.array([0, 0, 1, 1, 1], np.int64), 2, said)
    assert (list(kept.names), kept.shared, kept.moved) == (["person_A", "person_B"], 3, 0)


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 3)), min_size=1, max_size=30))
def test_named_people_keep_their_faces_and_stay_apart(rows: list[tuple[int, int]]) -> None:
    labels, person = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    held = pinned(labels, person)
    places = {}
    for one in set(person[person >= 0].tolist()):
        found = set(held[person == one].tolist())
        assert len(found) == 1
        places[one] = found.pop()
    assert len(set(places.values())) == len(places)
    assert -1 not in places.values()
    assert np.array_equal(held[person < 0], labels[person < 0])


def test_a_named_person_is_never_parted_by_auto() -> None:
    vectors = faces([6, 6])
    named = np.array([7] * 3 + [-1] * 3 + [7] * 2 + [-1] * 4)
    labels = auto(vectors, Hints(known=named)).labels
    assert len(set(labels[named == 7].tolist())) == 1
    assert labels[0] >= 0


# All of it.


def test_from_a_table_to_folders_and_judged(tmp_path: Path) -> None:
    people = ["anna"] * 9 + ["bert"] * 6 + ["stranger"]
    paths = [tmp_path / "in" / person / f"{i:02}.jpg" for i, person in enumerate(people)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    drawn = table_of({str(path): 1 for path in paths}, dim=128)
    track = np.full(16, -1, np.int32)
    faces_ = dataclasses.replace(drawn.faces, source_filename=[""] * 16, track=track)
    table = FaceTable(faces([9, 6, 1]), faces_, drawn.files, drawn.stamp)
    found = fo.cluster(table)
    assert found.labels.tolist() == [0] * 9 + [1] * 6 + [-1]
    assert (found.advice, found.kept, found.device) == (None, None, "cpu")
    assert found.strangers is not None
    assert found.threshold == found.strangers.threshold()
    assert [row["person"] for row in found.rows()] == ["person_A"] * 9 + ["person_B"] * 6 + ["unassigned"]
    applied = fo.plan(found, tmp_path / "people", sheets=1).apply()
    assert applied.folders == {"person_A": 9, "person_B": 6, "unassigned": 1}
    assert (tmp_path / "people" / "person_A.jpg").is_file()
    assert not (tmp_path / "people" / "person_B.jpg").exists()
    for result in (found, tmp_path / "people"):
        judged = fo.evaluate(result, tmp_path / "in")
        assert (judged.judged, judged.clusters, judged.scores.bcubed_f) == (16, 2, 1.0)
    os.rename(tmp_path / "people" / "person_B", tmp_path / "people" / "Bert")
    again = fo.cluster(table, 1, previous=tmp_path / "people")
    assert list(again.names) == ["person_A", "Bert"]
    assert again.advice is not None
    assert (again.advice.asked, again.advice.suggested) == (1, 2)
    more = fo.cluster(table, "auto", min_cluster_size=1, previous=again)
    assert list(more.names) == ["person_A", "Bert", "person_B"]
    with pytest.raises(ClusterError, match="no faces among 1 picture: nothing to sort"):
        fo.cluster(table_of({"/faceless": 0}))


# Devices.


def test_a_gpu_that_was_asked_for_is_there_or_the_run_stops() -> None:
    assert choose("cpu", lambda: 4)[0] == CPU
    assert choose("auto", lambda: 2)[0] == 0
    assert choose("auto", lambda: 0) == (CPU, "FAISS has no GPU here")
    assert choose("1", lambda: 2)[0] == 1
    with pytest.raises(DeviceError, match="GPU 2 was asked for, and FAISS has 2 here"):
        choose("2", lambda: 2)
    with pytest.raises(UsageError, match="no device"):
        choose("gpu", lambda: 1)


@pytest.mark.parametrize("embedder", ["sface128", "mobilefacenet512"])
def test_half_of_lfw_reaches_its_bar(shared: Path, embedder: str) -> None:
    with np.load(shared / "data" / f"lfw_half_{embedder}.npz", allow_pickle=False) as file:
        vectors, people = file["embeddings"].astype(np.float32), file["identity"].tolist()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = metrics.score(auto(vectors, min_cluster_size=1).labels, people)
    assert scores.bcubed_f >= {"sface128": 0.990, "mobilefacenet512": 0.980}[embedder]
    assert scores.pairwise_f >= {"sface128": 0.995, "mobilefacenet512": 0.99}[embedder]

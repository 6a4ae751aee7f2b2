"""Faces followed over frames: each in one track, the best rows kept, times right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from face_organizer.embed import tracks
from face_organizer.embed.tracks import Tracker
from face_organizer.geometry.boxes import overlap
from face_organizer.types import Faces, Float32

DIM = 32
LEFT, MIDDLE, RIGHT = (10.0, 10, 110, 110), (200.0, 10, 300, 110), (400.0, 10, 500, 110)


def vector(seed: int) -> Float32:
    made = np.random.default_rng(seed).normal(size=DIM)
    return (made / np.linalg.norm(made)).astype(np.float32)


def like(one: Float32, cosine: float, seed: int = 99) -> Float32:
    """A unit vector at just that cosine to `one`."""
    other = vector(seed) - (vector(seed) @ one) * one
    other /= np.linalg.norm(other)
    return (cosine * one + np.sqrt(1 - cosine**2) * other).astype(np.float32)


def faces(boxes: Sequence[Sequence[float]], **columns: Sequence[float]) -> Faces:
    count = len(boxes)
    good = {"sharpness": 300.0, "yaw": 0.0, "pitch": 0.0, "outside": 0.0, "score": 0.9, "size": 100.0}
    values = {name: np.array(columns.get(name, [value] * count), np.float32) for name, value in good.items()}
    return Faces.empty(count, box=np.array(boxes, np.float32).reshape(count, 4), **values)


def test_one_person_becomes_a_few_rows() -> None:
    tracker, person = Tracker(), vector(0)
    for second in range(600):
        x = (second * 37) % 500
        tracker.add(second + 0.5, faces([(x, 0, x + 90, 90)]), like(person, 0.9, 50 + second)[None])
    rows, embeddings = tracker.rows(DIM)
    assert 1 <= len(rows) <= tracks.ROWS
    assert embeddings.shape == (len(rows), DIM)
    assert rows.track.tolist() == [0] * len(rows)
    assert set(rows.seen_from.tolist()) == {0.5}
    assert set(rows.seen_to.tolist()) == {599.5}
    assert rows.face_index.tolist() == list(range(len(rows)))


def test_people_who_swap_places_are_told_apart() -> None:
    tracker, anna, ben = Tracker(), vector(1), vector(2)
    for second in range(6):
        boxes = [LEFT, RIGHT] if second % 2 else [RIGHT, LEFT]
        tracker.add(second, faces(boxes), np.stack([anna, ben]))
    rows, embeddings = tracker.rows(DIM)
    assert rows.track.tolist() == [0, 1]
    assert np.allclose(embeddings @ np.stack([anna, ben]).T, np.eye(2), atol=0.5)
    assert rows.seen_to.tolist() == [5, 5]


def test_a_cut_to_another_face_in_the_same_place() -> None:
    tracker = Tracker()
    for second in range(8):
        tracker.add(second, faces([MIDDLE]), vector(second // 4)[None])
    rows, _ = tracker.rows(DIM)
    assert rows.seen_from.tolist() == [0, 4]
    assert rows.seen_to.tolist() == [3, 7]


def test_a_head_that_turns_is_followed_by_its_place() -> None:
    person = vector(3)
    turned = like(person, 0.3)
    for box, expected in ((MIDDLE, 1), (RIGHT, 2)):
        tracker = Tracker()
        tracker.add(0, faces([MIDDLE]), person[None])
        tracker.add(1, faces([box]), turned[None])
        assert tracker.rows(DIM)[0].track.max() + 1 == expected


def test_place_counts_only_from_frame_to_frame() -> None:
    tracker, person = Tracker(), vector(3)
    tracker.add(0, faces([MIDDLE]), person[None])
    tracker.add(1, faces([]), np.empty((0, DIM), np.float32))
    tracker.add(2, faces([MIDDLE]), like(person, 0.3)[None])
    assert tracker.rows(DIM)[0].track.tolist() == [0, 1]


def test_out_of_sight_for_a_while_and_for_long() -> None:
    for gap, expected in ((tracks.GAP, [(0, tracks.GAP)]), (tracks.GAP + 1, [(0, 0), (11, 11)])):
        tracker, person = Tracker(), vector(4)
        tracker.add(0, faces([LEFT]), person[None])
        tracker.add(gap, faces([RIGHT]), person[None])
        rows, _ = tracker.rows(DIM)
        assert list(zip(rows.seen_from.tolist(), rows.seen_to.tolist(), strict=True)) == expected


def test_appearances_rejoin_by_all_that_was_seen_of_them() -> None:
    """Two shots whose faces are no more alike one by one than 0.4, and their means 0.6."""
    person, noise = vector(20), [vector(n) for n in range(21, 33)]
    spread = [0.632 * person + 0.775 * (n - (n @ person) * person) for n in noise]
    shots = [(v / np.linalg.norm(v)).astype(np.float32) for v in spread]
    for gap, expected in ((4, [(0, 14)]), (20, [(0, 5), (25, 30)])):
        first = tracks.Track(0, 5, np.array(LEFT, np.float32), shots[5], np.zeros(DIM))
        second = tracks.Track(5 + gap, 10 + gap, np.array(LEFT, np.float32), shots[11], np.zeros(DIM))
        for number, shot in enumerate(shots):
            late = number >= 6
            track, time = (second, gap + number - 1.0) if late else (first, float(number))
            track.add(time, faces([LEFT]), shot, 0.5)
        assert first.cosine(second) > tracks.SAME
        seen = [(t.first, t.last) for t in tracks._rejoined([second, first])]
        assert seen == expected


def test_the_best_face_stands_for_its_track() -> None:
    cases = {
        "sharpness": [20, 400, 100],
        "size": [40, 110, 60],
        "yaw": [60, 3, -40],
        "outside": [0.5, 0, 0.2],
        "score": [0.5, 0.9, 0.7],
    }
    for name, values in cases.items():
        tracker = Tracker()
        for second, value in enumerate(values):
            tracker.add(second, faces([LEFT], **{name: [value]}), vector(5)[None])
        rows, _ = tracker.rows(DIM)
        assert rows.time.tolist() == [1], name


def test_looks_that_differ_get_a_row_each_while_they_are_good() -> None:
    person = vector(6)
    looks = [person, like(person, 0.6, 7), like(person, 0.6, 8), like(person, 0.6, 9), like(person, 0.95)]
    tracker = Tracker()
    for second, look in enumerate(looks):
        tracker.add(second, faces([LEFT], sharpness=[300 - second]), look[None])
    assert tracker.rows(DIM)[0].time.tolist() == [0, 1, 2]
    tracker = Tracker()
    for second, look in enumerate(looks):
        tracker.add(second, faces([LEFT], sharpness=[300 if second == 0 else 30]), look[None])
    assert tracker.rows(DIM)[0].time.tolist() == [0]


def test_blurs_are_left_out_and_counted() -> None:
    tracker = Tracker()
    tracker.add(0, faces([LEFT, RIGHT], sharpness=[0.5, 300]), np.stack([vector(7), vector(8)]))
    rows, embeddings = tracker.rows(DIM)
    assert tracker.blurred == 1
    np.testing.assert_array_equal(embeddings, vector(8)[None])
    assert rows.box.tolist() == [list(RIGHT)]


def test_memory_does_not_grow_with_the_video() -> None:
    tracker, person = Tracker(), vector(9)
    for second in range(3000):
        tracker.add(second, faces([LEFT]), like(person, 0.8, 50 + second)[None])
    assert [len(t.candidates) for t in tracker._open] == [tracks._CANDIDATES]
    for n in range(200):
        tracker.add(4000 + 20 * n, faces([LEFT]), vector(n)[None])
    assert len(tracker._open) == 1


def test_no_faces() -> None:
    rows, embeddings = Tracker().rows(DIM)
    assert (len(rows), embeddings.shape) == (0, (0, DIM))


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), max_size=4), max_size=12))
def test_every_face_is_in_one_track_and_no_frame_twice(frames: list[list[tuple[int, int]]]) -> None:
    tracker = Tracker()
    for second, seen in enumerate(frames):
        boxes = [(x, 0, x + 50, 50) for _, x in seen]
        vectors = np.array([vector(who) for who, _ in seen], np.float32).reshape(-1, DIM)
        before = {id(t): t.seen for t in tracker._open + tracker._closed}
        tracker.add(second, faces(boxes), vectors)
        after = {id(t): t.seen for t in tracker._open + tracker._closed}
        assert all(after[t] - before.get(t, 0) in (0, 1) for t in after)
        assert sum(after.values()) - sum(before.values()) == len(seen)
    rows, embeddings = tracker.rows(DIM)
    assert rows.face_index.tolist() == list(range(len(rows)))
    assert np.all((rows.seen_from <= rows.time) & (rows.time <= rows.seen_to))
    assert np.all(np.diff(rows.track) >= 0)
    for number in range(int(rows.track.max(initial=-1)) + 1):
        mine = embeddings[rows.track == number]
        assert 1 <= len(mine) <= tracks.ROWS


@given(hnp.arrays(np.int64, (5, 4), elements=st.integers(0, 12)))
def test_overlap_is_that_of_pixels_counted(corners: np.ndarray) -> None:
    boxes = np.concatenate([np.sort(corners[:, ::2]), np.sort(corners[:, 1::2])], axis=1)[:, [0, 2, 1, 3]]
    grids = np.zeros((5, 12, 12), bool)
    for grid, (x1, y1, x2, y2) in zip(grids, boxes, strict=True):
        grid[y1:y2, x1:x2] = True
    union = (grids[0] | grids).sum(axis=(1, 2))
    expected = np.where(union > 0, (grids[0] & grids).sum(axis=(1, 2)) / np.maximum(union, 1), 0)
    found = overlap(boxes[:1].astype(np.float32), boxes.astype(np.float32))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)

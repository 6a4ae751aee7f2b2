"""Training sets: figures of pixels, limits, spread, pairs, what is kept; each on its own."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import cv2
import making_tables
import numpy as np
import pytest
from conftest import read_rgb
from hypothesis import given
from hypothesis import strategies as st

import face_organizer as fo
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.faceset import faceset, fitting, spread, worth
from face_organizer.faceset.choosing import Copies, Grid, choose
from face_organizer.faceset.figures import TINY, WHOLE, Figures, matrices, measure
from face_organizer.faceset.measuring import measured
from face_organizer.faceswap import Header
from face_organizer.faceswap.landmarks import MEAN_FACE, MEAN_HEAD, POSE_POINTS, pose
from face_organizer.media import images
from face_organizer.types import Faces, FaceTable, Files, Float32, Image, Outcome

SQUARE = np.array([[90, 110], [160, 110], [125, 150], [97, 190], [153, 190]], np.float32)


@pytest.fixture(scope="module")
def portrait(dev_faces: Path) -> Image:
    """A sharp photo, (250, 250, 3), of LFW: the face in the middle."""
    return read_rgb(sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[0])


def figures_of(picture: Image, points: Float32 = SQUARE, header: Header | None = None) -> Figures:
    return measure(images.Decoded(picture), matrices(points[None])[0], points, header)


# --- what pixels tell ---


def test_what_is_done_to_a_picture_shows_in_its_figure_and_in_no_other(portrait: Image) -> None:
    plain = figures_of(portrait)
    blurred = [figures_of(cv2.GaussianBlur(portrait, (0, 0), s)).sharpness[0] for s in (1, 2, 4)]
    assert plain.sharpness[0] > blurred[0] > blurred[1] > blurred[2]
    assert blurred[2] < 0.28 < plain.sharpness[0]
    small = cv2.resize(cv2.resize(portrait, (36, 36), interpolation=cv2.INTER_AREA), (250, 250))
    assert figures_of(small).sharpness[0] < 0.28  # a sharp small face, enlarged, is not sharp
    random = np.random.default_rng(0).normal(size=portrait.shape) * 25
    noisy = figures_of(np.clip(portrait + random, 0, 255).astype(np.uint8))
    assert noisy.noise[0] > 4 > plain.noise[0] + 2
    coarse = cv2.imdecode(cv2.imencode(".jpg", portrait, [cv2.IMWRITE_JPEG_QUALITY, 4])[1], 1)
    assert figures_of(np.asarray(coarse, np.uint8)).blocks[0] > 1 > plain.blocks[0]
    dark = figures_of((portrait * 0.1).astype(np.uint8))
    assert dark.brightness[0] < 30
    assert dark.clipped[0] > 0.5
    assert dark.contrast[0] < 25


def test_light_has_a_side_and_a_colour(portrait: Image) -> None:
    ramp = np.linspace(0.5, 1.2, portrait.shape[1])[None, :, None]
    lit = np.clip(portrait * ramp, 0, 255).astype(np.uint8)
    assert figures_of(lit).side[0] > figures_of(portrait).side[0] + 0.05
    from_above = np.clip(portrait * ramp[:, ::-1].transpose(1, 0, 2), 0, 255).astype(np.uint8)
    assert figures_of(from_above).above[0] > figures_of(portrait).above[0] + 0.05
    warm = np.clip(portrait * [1.2, 1, 0.6], 0, 255).astype(np.uint8)
    assert figures_of(warm).warmth[0] > figures_of(portrait).warmth[0] + 0.5


def test_a_mirrored_face_has_the_other_side_and_the_same_rest(portrait: Image) -> None:
    points = SQUARE[[1, 0, 2, 4, 3]] * [-1, 1] + [portrait.shape[1] - 1, 0]
    one = figures_of(portrait)
    two = figures_of(np.ascontiguousarray(portrait[:, ::-1]), points.astype(np.float32))
    assert two.side[0] == pytest.approx(-one.side[0], abs=0.03)
    for name in ("sharpness", "brightness", "contrast", "above", "warmth", "smile"):
        assert getattr(two, name)[0] == pytest.approx(getattr(one, name)[0], rel=0.1, abs=0.03), name


def test_a_face_at_the_border_is_cut_off_there(portrait: Image) -> None:
    assert figures_of(portrait).outside[0] == 0
    cut = figures_of(np.ascontiguousarray(portrait[:, 125:]), SQUARE - np.float32([125, 0]))
    assert 0.3 < cut.outside[0] < 0.6


def head_points(yaw: float, pitch: float) -> Float32:
    """(68, 2) of FaceSwap's mean head, turned; what its pose is not read from lies in the middle."""
    points = np.full((68, 3), 300.0)
    x, y, z = (MEAN_HEAD * [-1, -1, 1]).T
    a, b = np.radians([yaw, pitch])
    x, z = x * np.cos(a) + z * np.sin(a), z * np.cos(a) - x * np.sin(a)
    y = y * np.cos(b) + z * np.sin(b)
    points[POSE_POINTS, :2] = np.stack([x, y], axis=1) * 20 + 300
    for first, last, middle in ((36, 39, (37, 38, 40, 41)), (42, 45, (43, 44, 46, 47))):
        points[list(middle), :2] = (points[first, :2] + points[last, :2]) / 2
    return points[:, :2].astype(np.float32)


@pytest.mark.parametrize(
    ("yaw", "pitch"), [(0, 0), (20, 0), (-45, 0), (0, 20), (0, -20), (30, 15), (-60, -10)]
)
def test_the_pose_of_a_header_is_that_of_the_head(yaw: float, pitch: float) -> None:
    assert pose(head_points(yaw, pitch)) == pytest.approx((yaw, pitch), abs=4)


def test_a_header_tells_mouth_eyes_and_where_the_frame_ended(portrait: Image) -> None:
    points = np.concatenate([np.full((17, 2), 0.5), MEAN_FACE]).astype(np.float32) * 200 + 100
    shut, open_ = points.copy(), points.copy()
    open_[[65, 66, 67]] += [0, 40]
    shut[[60 + i for i in range(1, 8)], 1] = shut[60, 1]
    made = [
        figures_of(portrait, header=Header(p, "a_000001.png", 0, (1000, 1000), 2.4)) for p in (shut, open_)
    ]
    assert made[0].mouth[0] < 0.05 < 0.3 < made[1].mouth[0]
    assert np.isfinite([made[0].brow[0], made[0].yaw[0], made[0].pitch[0]]).all()
    assert made[0].outside[0] == 0
    cut = figures_of(portrait, header=Header(points, "a_000001.png", 0, (1000, 200), 2.4))
    assert cut.outside[0] > 0.3
    assert np.isnan(figures_of(portrait).brow[0])


# --- what is kept beside the table ---


@pytest.fixture
def photos(portrait: Image, tmp_path: Path) -> FaceTable:
    """Five photos of one face each, the last one no picture any more."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), np.roll(portrait, i, axis=1))
    paths[4].write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    files = Files.empty(
        5,
        path=[str(p) for p in paths],
        outcome=np.full(5, Outcome.FACES, np.uint8),
        content=np.arange(1, 6, dtype=np.uint64),
    )
    faces = Faces.empty(
        5,
        file_index=np.arange(5),
        landmarks=np.repeat(SQUARE[None], 5, axis=0),
        size=np.full(5, 80, np.float32),
        box=np.repeat(np.float32([[70, 80, 180, 210]]), 5, axis=0),
    )
    return FaceTable(making_tables.unit(5), faces, files, making_tables.stamp())


def test_no_picture_is_decoded_twice(
    photos: FaceTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, opened = tmp_path / "t.figures", list[str]()
    real = images.open_source
    monkeypatch.setattr(images, "open_source", lambda path: (opened.append(path), real(path))[1])
    problems: list[tuple[str, str]] = []
    rows = np.arange(5)
    first = measured(photos, rows, kept, on_problem=lambda *p: problems.append(p))
    assert len(opened) == 5
    assert [Path(path).name for path, _ in problems] == ["4.png"]
    assert np.isnan(first.sharpness).tolist() == [False] * 4 + [True]
    opened.clear()
    again = measured(photos, rows[::-1], kept)
    assert [Path(p).name for p in opened] == ["4.png"]  # which may be there again
    for spec in Figures.specs():
        assert np.array_equal(getattr(first, spec.name), getattr(again, spec.name)[::-1], equal_nan=True) or (
            spec.metadata["dtype"].kind != "f"
        )
    # another face, or another content of the file, is another key
    opened.clear()
    changed = photos.files.content.copy()
    changed[0] = 99
    other = FaceTable(
        photos.embeddings, photos.faces, Files.empty(5, **{**columns(photos.files), "content": changed}), None
    )
    measured(other, rows, kept)
    assert [Path(p).name for p in opened] == ["0.png", "4.png"]


def columns(group: Any) -> dict[str, Any]:
    return {spec.name: getattr(group, spec.name) for spec in type(group).specs()}


def test_what_a_kill_left_is_kept_and_gone_on_from(photos: FaceTable, tmp_path: Path) -> None:
    kept = tmp_path / "t.figures"
    whole = measured(photos, np.arange(4), kept)
    data = kept.read_bytes()
    for size in (len(data) - 1, len(data) - 700, len(data) // 2, 10, 0):
        kept.write_bytes(data[:size])
        made = measured(photos, np.arange(4), kept)
        assert np.array_equal(made.sharpness, whole.sharpness)
        assert sorted(kept.read_bytes()) == sorted(data) or len(kept.read_bytes()) == len(data)
    kept.write_bytes(b'{"face_organizer_figures": 0}\n' + data)
    assert np.array_equal(measured(photos, np.arange(4), kept).tiny, whole.tiny)


def test_a_place_that_cannot_be_written_is_named(photos: FaceTable, tmp_path: Path) -> None:
    with pytest.raises(FaceOrganizerError, match=r"t\.figures: cannot be written"):
        measured(photos, np.arange(4), tmp_path / "nowhere" / "t.figures")


# --- choosing ---


def never(_face: int, _taken: Any) -> bool:
    return False


def worth_of(some: Any, quality: Float32, grids: list[Grid]) -> float:
    total = 0.0
    for grid in grids:
        for cell in set(grid.cells.tolist()):
            total += grid.weight * math.sqrt(sum(quality[i] for i in some if grid.cells[i] == cell))
    return total


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(0.015625, 1, width=32), min_size=n, max_size=n),
            st.lists(st.integers(0, 3), min_size=n, max_size=n),
            st.lists(st.integers(0, 2), min_size=n, max_size=n),
            st.integers(1, n),
        )
    )
)
def test_a_choice_is_near_the_best_one(drawn: tuple[list[float], list[int], list[int], int]) -> None:
    quality = np.array(drawn[0], np.float32)
    grids = [Grid(np.array(drawn[1]), 1.0), Grid(np.array(drawn[2]), 0.3)]
    made = choose(quality, grids, drawn[3], never)
    assert len(set(made.rows)) == len(made.rows) == drawn[3]
    assert made == choose(quality, grids, drawn[3], never)
    best = max(
        worth_of(some, quality, grids) for some in itertools.combinations(range(len(quality)), drawn[3])
    )
    assert worth_of(made.rows, quality, grids) >= (1 - 1 / math.e) * best - 1e-6
    assert sum(made.gains) == pytest.approx(worth_of(made.rows, quality, grids), rel=1e-4)
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(made.gains))


def test_every_cell_gets_one_before_any_gets_two() -> None:
    cells = np.repeat(np.arange(10), 7)
    made = choose(np.full(70, 0.5, np.float32), [Grid(cells, 1.0)], 10, never)
    assert sorted(cells[made.rows].tolist()) == list(range(10))


def copies_of(count: int, **given: Any) -> Copies:
    random = np.random.default_rng(3)
    whole = random.integers(0, 255, (count, WHOLE, WHOLE)).astype(np.uint8)
    values = {
        "sequence": np.arange(count),
        "moment": np.full(count, np.nan),
        "near": np.full(count, np.nan),
        "tiny": random.integers(0, 255, (count, TINY, TINY)).astype(np.uint8),
        "whole": whole,
        "embeddings": making_tables.unit(count, 64, seed=2),
        "rows": np.arange(count),
    }
    return Copies(**{**values, **given})


def test_neighbouring_frames_and_equal_pictures_are_copies() -> None:
    by_time = copies_of(
        4, sequence=np.array([0, 0, 0, 1]), moment=np.array([10.0, 12, 13, 12]), near=np.full(4, 2.0)
    )
    assert by_time.among(1, [0])
    assert not by_time.among(2, [0])
    assert not by_time.among(3, [0, 1, 2])  # of another film
    plain = copies_of(3)
    assert not plain.among(1, [0, 2])
    twin = copies_of(
        2, whole=plain.whole[[0, 0]], tiny=plain.tiny[[0, 0]], embeddings=plain.embeddings[[0, 0]]
    )
    assert twin.among(1, [0])
    # a head that stands still, and its mouth moves
    talking = plain.whole[[0, 0]].copy()
    talking[1, 15:17, 10:13] -= np.minimum(talking[1, 15:17, 10:13], 20)
    still = copies_of(2, whole=talking, tiny=plain.tiny[[0, 0]], embeddings=plain.embeddings[[0, 0]])
    assert not still.among(1, [0])
    # the same photo, and another face on it
    assert not copies_of(2, whole=plain.whole[[0, 0]]).among(1, [0])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("film_000123", ("film_", 123)),
        ("film_000123_0", ("film_", 123)),
        ("00001234", ("", 1234)),
        ("IMG_1234", None),
        ("DSC01234", None),
        ("holiday", None),
    ],
)
def test_frames_are_known_by_their_names(name: str, found: tuple[str, int] | None) -> None:
    table = making_tables.table_of({f"/x/{name}.png": 1})
    faces = Faces.empty(
        1, **{**columns(table.faces), "time": np.full(1, np.nan, np.float32), "source_filename": [""]}
    )
    made = spread.moments(FaceTable(table.embeddings, faces, table.files, table.stamp), np.arange(1))
    assert (None if np.isnan(made.moment[0]) else int(made.moment[0])) == (found and found[1])


# --- what is fit ---


def tiny_faces(count: int, seed: int = 0) -> Any:
    """Pictures in which two patterns come and go, and a little noise."""
    random = np.random.default_rng(seed)
    y, x = (np.indices((TINY, TINY)) / TINY) * 2 - 1
    parts = random.normal(size=(count, 2, 1, 1)) * np.stack([x, y * y])[None]
    return np.clip(128 + 40 * parts.sum(axis=1) + random.normal(size=(count, TINY, TINY)) * 4, 0, 255).astype(
        np.uint8
    )


def test_what_hides_a_part_stands_out_and_what_varies_does_not() -> None:
    tiny = tiny_faces(400)
    hidden = np.arange(0, 400, 40)
    tiny[hidden, 18:26, 10:20] = 10
    found = worth.occlusion(tiny, np.ones(400, bool))
    usual = np.delete(found, hidden)
    assert found[hidden].min() > 4 > np.quantile(usual, 0.99)


def test_of_few_faces_the_one_that_networks_doubt_stands_out() -> None:
    table, figures_ = person(20)
    score = np.linspace(0.9, 0.95, 20).astype(np.float32)
    score[7] = 0.6
    faces = Faces(**{**columns(table.faces), "score": score})
    doubted = FaceTable(table.embeddings, faces, table.files, table.stamp)
    left = worth.judge(doubted, np.arange(20), figures_, {}).left_out
    assert [i for i, why in enumerate(left) if why] == [7]
    assert not any(worth.judge(table, np.arange(20), figures_, {}).left_out)


def person(count: int, strangers: int = 0, seed: int = 0, **given: Any) -> tuple[FaceTable, Figures]:
    """A table of faces of one person, then some of others, all fit as far as pixels tell."""
    random = np.random.default_rng(seed)
    middle = making_tables.unit(1, 64, seed=seed + 90)[0]
    own = middle + 0.6 * making_tables.unit(count, 64, seed=seed)
    vectors = np.concatenate([own, making_tables.unit(strangers, 64, seed=seed + 7)]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    n = count + strangers
    files = Files.empty(n, path=[f"/{seed}/{i:05d}.png" for i in range(n)], outcome=np.zeros(n, np.uint8))
    yaw, pitch = (random.normal(size=n).astype(np.float32) * s for s in (25, 10))
    faces = Faces.empty(n, file_index=np.arange(n), size=np.full(n, 120, np.float32), yaw=yaw, pitch=pitch)
    plain = {
        "sharpness": random.uniform(0.35, 0.55, n),
        "noise": np.full(n, 0.5),
        "blocks": np.zeros(n),
        "brightness": random.uniform(60, 180, n),
        "contrast": np.full(n, 120),
        "clipped": np.zeros(n),
        "outside": np.zeros(n),
        "side": random.normal(size=n) * 0.1,
        "mouth": np.abs(random.normal(size=n)),
        **given,
    }
    whole = random.integers(0, 255, (n, WHOLE, WHOLE)).astype(np.uint8)
    made = Figures.empty(
        n, tiny=tiny_faces(n, seed), whole=whole, **{k: np.asarray(v, np.float32) for k, v in plain.items()}
    )
    return FaceTable(vectors, faces, files, making_tables.stamp(dim=64)), made


def test_strangers_among_a_persons_faces_are_left_out() -> None:
    table, figures_ = person(400, strangers=20)
    left = worth.judge(table, np.arange(420), figures_, {}).left_out
    assert set(left[400:]) == {"maybe somebody else"}
    assert left[:400].count("maybe somebody else") == 0


@pytest.mark.parametrize("limit", worth.LIMITS, ids=lambda limit: str(limit.figure))
def test_every_limit_can_be_moved_both_ways(limit: worth.Limit) -> None:
    table, figures_ = person(100)
    rows = np.arange(100)
    values = worth.judge(table, rows, figures_, {}).columns[limit.figure]
    middle = float(np.nanmedian(values))
    left = worth.judge(table, rows, figures_, {limit.figure: middle}).left_out
    beyond = values > middle if limit.least is None else values < middle
    if limit.figure not in ("size", "noise", "contrast", "blocks", "clipped", "outside"):
        assert 0 < beyond.sum() < 100
    assert [why == limit.words for why in left] == beyond.tolist()
    loose = -1e9 if limit.least is not None else 1e9
    assert limit.words not in worth.judge(table, rows, figures_, {limit.figure: loose}).left_out


def test_where_all_is_soft_the_best_of_it_stays() -> None:
    table, figures_ = person(100, sharpness=np.linspace(0.1, 0.2, 100))
    assert worth.judge(table, np.arange(100), figures_, {}).left_out.count("blurred") <= 10
    with pytest.raises(UsageError, match="no limit is called beauty"):
        worth.judge(table, np.arange(100), figures_, {"beauty": 1})


# --- two persons ---


def places_of(count: int, middle: float, seed: int) -> Float32:
    random = np.random.default_rng(seed)
    return (random.normal(size=(count, 5)) * 1.2 + middle).astype(np.float32)


def test_two_sets_in_pairs_show_the_same() -> None:
    """Half the distance of separate choices is the bar."""
    sides = [
        fitting.Side(
            places_of(2000, middle, seed),
            np.full(2000, 0.5, np.float32),
            copies_of(2000),
            np.zeros(2000, int),
        )
        for middle, seed in ((0.0, 1), (0.7, 2))
    ]

    def histogram(places: Float32) -> Any:
        keys = np.clip(np.floor(places[:, :3]), -2, 3).astype(int) + 2
        return np.bincount(keys @ [36, 6, 1], minlength=216) / len(places)

    separate = [
        side.places[choose(side.quality, spread.crossed(side.places), 400, never).rows] for side in sides
    ]
    made = fitting.pairs(sides[0], sides[1], 400)
    assert [len(set(faces)) for faces in made.faces] == [400, 400]
    paired = [side.places[faces] for side, faces in zip(sides, made.faces, strict=True)]
    apart = [float(np.abs(histogram(a) - histogram(b)).sum()) for a, b in (separate, paired)]
    assert apart[1] <= 0.5 * apart[0]
    assert fitting.pairs(sides[0], sides[1], 400) == made


# --- the door ---


def test_a_set_of_rows_and_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    table, figures_ = person(300, strangers=15)
    monkeypatch.setattr(
        sys.modules[faceset.__module__], "measured", lambda table, rows, *_: figures_.take(rows)
    )
    made = fo.faceset(table, np.arange(315), size=50)
    rows = list(made.rows())
    assert [row["chosen"] for row in rows[:51]] == [*range(1, 51), ""]
    assert len(rows) == 315
    assert all(row["why"] for row in rows)
    assert {row["source"] for row in rows[:50]} <= set(table.files.path[:300])
    told = made.summary()
    assert told["members"][0]["chosen"] == 50
    assert told["members"][0]["left_out"]["maybe somebody else"] == 15
    assert (
        fo.faceset(table, np.arange(315), size=50).members[0].chosen.tolist()
        == made.members[0].chosen.tolist()
    )
    with pytest.raises(UsageError, match="share faces"):
        fo.faceset(table, np.arange(10), against=np.arange(5, 20))
    with pytest.raises(UsageError, match="at least one face"):
        fo.faceset(table, np.arange(10), size=0)
    with pytest.raises(UsageError, match="--people, or --library"):
        fo.faceset(table, "Anna")
    with pytest.raises(FaceOrganizerError, match="none of 10 faces of A is fit"):
        fo.faceset(table, np.arange(10), limits={"sharpness": 2})


def test_what_one_has_and_the_other_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one, f1 = person(200, seed=1, side=np.zeros(200))
    two, f2 = person(200, seed=2, side=np.zeros(200))
    turned = one.faces.yaw.copy()
    turned[:30] = 55
    faces = np.concatenate([turned, np.clip(two.faces.yaw, -15, 15)]).astype(np.float32)
    both = fo.merge([one, two])
    both = FaceTable(both.embeddings, Faces(**{**columns(both.faces), "yaw": faces}), both.files, both.stamp)
    all_figures = Figures.concatenate([f1, f2])
    monkeypatch.setattr(
        sys.modules[faceset.__module__], "measured", lambda table, rows, *_: all_figures.take(rows)
    )
    told = fo.faceset(both, np.arange(200), against=np.arange(200, 400), size=40).summary()["missing"]
    line = next(line for line in told if "of B looks to the right beyond" in line)
    assert line.startswith("no face of B looks to the right beyond 20°; nowhere in your material; A has")
    assert "no face of A or B is lit from the left; nowhere in your material" in told

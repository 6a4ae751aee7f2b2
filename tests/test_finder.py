"""Finding faces: of tight crops, turned pictures, any size; and the way from canvas to picture and back."""

from __future__ import annotations

import csv
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import read_rgb
from hypothesis import given
from hypothesis import strategies as st

from face_organizer.detect import Found, Look, canvases, finder
from face_organizer.embed.setup import Models, open_models
from face_organizer.geometry import align, canvas
from face_organizer.geometry.boxes import main_face, overlap
from face_organizer.media.images import Decoded, Source
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.types import Detections, Image

PHOTOS = 24


class Whole:
    """Pixels that are at hand already."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]

    def pixels(self, longer_side: float) -> tuple[Image, float]:
        """The whole picture."""
        return self.image, 1.0


@pytest.fixture(scope="module", params=["opencv", "small"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    if request.param == "opencv":
        return open_models(packs.find("opencv"), CPU)
    shared = request.getfixturevalue("shared")
    folder = tmp_path_factory.mktemp("packs") / "small"
    folder.mkdir()
    for name in ("scrfd_2.5g_bnkps_dynamic.onnx", "mobilefacenet_512.onnx"):
        shutil.copyfile(shared / "models" / name, folder / name)
    return open_models(packs.find(str(folder)), CPU)


@pytest.fixture(scope="module")
def photos(dev_faces: Path) -> list[Image]:
    paths = sorted((dev_faces / "identities").glob("*/*_000[12].jpg"))
    return [read_rgb(path) for path in paths[:: len(paths) // PHOTOS][:PHOTOS]]


def look(models: Models, pictures: Sequence[Any], **options: Any) -> list[Found]:
    return finder.find(pictures, models.detector, Look(**options))


def turn_of(picture: Any, found: Found) -> int:
    """By how much the picture is turned for its main face."""
    return int(found.turns[main_face(found.faces.boxes, picture.width, picture.height)])


def turns_of(pictures: Sequence[Image], found: Sequence[Found]) -> list[int]:
    return [turn_of(Whole(p), f) for p, f in zip(pictures, found, strict=True)]


def embedded(models: Models, pictures: Sequence[Image], found: Sequence[Found]) -> np.ndarray:
    """(n, d) unit embeddings of the main faces."""
    aligned = []
    for picture, one in zip(pictures, found, strict=True):
        row = main_face(one.faces.boxes, picture.shape[1], picture.shape[0])
        aligned.append(align.warp(picture, align.estimate(one.faces.landmarks[row : row + 1])[0]))
    raw = models.embedder.embed(np.stack(aligned))
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True))


def turned(picture: Image, degrees: int) -> Image:
    """The picture turned clockwise, to be turned back by `degrees`; nothing is cut off."""
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(picture, -degrees // 90))
    height, width = picture.shape[:2]
    side = int(np.hypot(height, width)) + 1
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    matrix[:, 2] += (side - width) / 2, (side - height) / 2
    return np.asarray(cv2.warpAffine(picture, matrix, (side, side)), np.uint8)


# --- real pictures ---


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [90, 180, 270, 45])
def test_faces_of_turned_photos(models: Models, photos: list[Image], degrees: int) -> None:
    upright = look(models, [Whole(p) for p in photos])
    assert all(len(f.faces) for f in upright)
    pictures = [turned(p, degrees) for p in photos]
    found = look(models, [Whole(p) for p in pictures])
    missing = [i for i, f in enumerate(found) if not len(f.faces)]
    assert missing == []
    both = zip(turns_of(pictures, found), turns_of(photos, upright), strict=True)
    off = [abs((turn - before - degrees + 180) % 360 - 180) for turn, before in both]
    assert np.median(off) <= 25, off  # tilts are straightened to the degree
    assert sum(o > 60 for o in off) <= 1, off
    cosines = (embedded(models, photos, upright) * embedded(models, pictures, found)).sum(axis=1)
    assert np.median(cosines) >= 0.9, sorted(cosines)


@pytest.mark.slow
def test_without_turns(models: Models, photos: list[Image]) -> None:
    pictures = [Whole(turned(p, 180)) for p in photos[:8]]
    found = look(models, pictures, turns=False)
    assert not any(f.turns.any() for f in found)
    assert all(f.looks <= 3 for f in found)
    assert all(135 < turn_of(p, f) < 225 for p, f in zip(pictures, look(models, pictures), strict=True))


@pytest.mark.slow
def test_upright_photos_stay_upright_and_are_looked_at_once(models: Models, photos: list[Image]) -> None:
    found = look(models, [Whole(p) for p in photos])
    assert not any(45 <= turn <= 315 for turn in turns_of(photos, found))
    assert np.median([f.looks for f in found]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [0, 90])
def test_every_face_large_and_small(models: Models, photos: list[Image], degrees: int) -> None:
    """On a canvas that shows the bystander, a portrait's own face is too large for SCRFD."""
    scene = np.full((1200, 1600, 3), 90, np.uint8)
    portrait = cv2.resize(photos[0], (1900, 1900), interpolation=cv2.INTER_CUBIC)
    scene[:, :1300] = portrait[350:1550, 300:1600]
    scene[900:1020, 1400:1520] = cv2.resize(photos[1], (120, 120), interpolation=cv2.INTER_AREA)
    (every,) = look(models, [Whole(turned(scene, degrees))], every_face=True)
    size = np.sqrt(np.prod(every.faces.boxes[:, 2:] - every.faces.boxes[:, :2], axis=1))
    assert [int((size > 500).sum()), int((size < 120).sum())] == [1, 1]
    assert len(every.faces) == 2, "each once, although seen on two canvases"
    assert (np.abs((every.turns - degrees + 180) % 360 - 180) <= 25).all()


def listed(folder: Path, step: int = 1) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".jpeg", ".png"))[::step]


@pytest.mark.slow
@pytest.mark.parametrize("every_face", [False, True])
def test_no_upright_photo_is_turned_over(models: Models, dev_faces: Path, every_face: bool) -> None:
    """Neither a portrait nor one of a group with hands, clocks and backs of heads on it."""
    names = {"celeb5": 2, "group_photos": 1, "detection_gt_dlib": 1, "utkface": 8, "opencv_series": 1}
    for name, step in names.items():
        paths = listed(dev_faces / name, step)
        pictures = [Whole(read_rgb(p)) for p in paths]
        for path, found in zip(paths, look(models, pictures, every_face=every_face), strict=True):
            assert not ((found.turns >= 45) & (found.turns <= 315)).any(), path


@pytest.mark.slow
def test_masked_faces_are_not_turned_over(models: Models, shared: Path) -> None:
    paths = listed(shared / "data" / "hard" / "masks", 9)
    pictures = [read_rgb(path) for path in paths]
    found = look(models, [Whole(p) for p in pictures])
    kept = [(p, f) for p, f in zip(pictures, found, strict=True) if len(f.faces)]
    over = sum(90 < turn_of(Whole(p), f) < 270 for p, f in kept)
    assert over <= len(kept) / 50, (over, len(kept))


@pytest.mark.slow
def test_faces_of_one_picture_have_turns_of_their_own(models: Models, photos: list[Image]) -> None:
    """Two who stand, and a child that lies across."""
    scene = np.full((700, 1100, 3), 120, np.uint8)
    places = {(80, 60): 0, (80, 600): 0, (420, 320): 90}
    for (y, x), turn in places.items():
        scene[y : y + 250, x : x + 250] = np.rot90(photos[2 + turn // 90], -turn // 90)
    (found,) = look(models, [Whole(scene)], every_face=True)
    for (y, x), turn in places.items():
        middles = (found.faces.boxes[:, :2] + found.faces.boxes[:, 2:]) / 2
        there = np.abs(middles - [x + 125, y + 125]).max(axis=1) < 60
        assert there.sum() == 1
        assert abs((found.turns[there][0] - turn + 180) % 360 - 180) <= 25


@pytest.mark.slow
def test_what_is_no_face_is_left_out(shared: Path) -> None:
    """Hands, a clock, gaps between two faces: found by YuNet at the default score, seen by eye. What SCRFD
    sees too are faces."""
    detector = open_models(packs.find("opencv"), CPU).detector
    rows = list(csv.DictReader((Path(__file__).parent / "not_faces.csv").read_text().splitlines()))
    gone, there = 0, 0
    for name in sorted({row["path"] for row in rows}):
        picture = Whole(read_rgb(shared / "data" / name))
        (found,) = finder.find([picture], detector, Look(every_face=True))
        own = [[float(row[side]) for side in ("x1", "y1", "x2", "y2")] for row in rows if row["path"] == name]
        seen = overlap(np.array(own, np.float32), found.faces.boxes).max(axis=1, initial=0) >= 0.3
        gone, there = gone + int((~seen).sum()), there + len(own)
        assert found.none >= (~seen).sum() - 1
    assert there >= 40
    assert gone / there >= 0.8, (gone, there)


def paste(scene: Image, photos: Sequence[Image], places: Sequence[tuple[int, int]], side: int) -> np.ndarray:
    """Put 250 px portraits, shrunk to `side`, onto the scene; the boxes (n, 4) of their faces, about."""
    for n, (y, x) in enumerate(places):
        small = cv2.resize(photos[n % len(photos)], (side, side), interpolation=cv2.INTER_AREA)
        scene[y : y + side, x : x + side] = small
    half = side * 0.22
    middles = np.array([(x + side / 2, y + side / 2) for y, x in places])
    return np.concatenate([middles - half, middles + half], axis=1).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "side", "count"),
    [(6000, 8000, 132, 30), (2000, 24000, 260, 20), (14000, 1080, 230, 20), (600, 40000, 200, 12)],
    ids=["48 megapixels", "panorama", "tall screenshot", "wider than OpenCV draws"],
)
def test_small_faces_on_large_pictures(
    models: Models, photos: list[Image], height: int, width: int, side: int, count: int
) -> None:
    scene = np.full((height, width, 3), 140, np.uint8)
    rng = np.random.default_rng(5)
    cells = [(y, x) for y in range(0, height - side, side + 20) for x in range(0, width - side, side + 20)]
    boxes = paste(scene, photos, [cells[i] for i in rng.permutation(len(cells))[:count]], side)
    (found,) = look(models, [Decoded(scene)], every_face=True)
    assert (overlap(boxes, found.faces.boxes).max(axis=1) >= 0.3).mean() >= 0.95
    each = overlap(found.faces.boxes, found.faces.boxes) >= 0.3
    assert each.sum() == len(found.faces), "each face once, although parts overlap"
    assert found.looks <= canvases.MOST_TILES + 2 + 20 * count


@pytest.mark.slow
def test_small_faces_on_an_ordinary_photo(models: Models, photos: list[Image]) -> None:
    """Alone, a small face is looked for in parts; beside large ones where that is asked for, and the finder
    says that there may be some."""
    scene = np.full((3000, 4000, 3), 140, np.uint8)
    small = paste(scene, photos, [(1400, 2900)], 90)
    (alone,) = look(models, [Decoded(scene)])
    assert overlap(small, alone.faces.boxes).max() >= 0.3
    large = paste(scene, photos[3:], [(300, 300), (1200, 1500)], 180)
    (without,) = look(models, [Decoded(scene)], every_face=True)
    (with_parts,) = look(models, [Decoded(scene)], every_face=True, tiles="all")
    assert (without.smaller, with_parts.smaller) == (True, False)
    assert (overlap(np.concatenate([small, large]), with_parts.faces.boxes).max(axis=1) >= 0.3).all()


@given(
    width=st.integers(1, 40_000),
    height=st.integers(1, 40_000),
    least=st.floats(1, 400),
    every=st.booleans(),
    none=st.booleans(),
    mode=st.sampled_from(["off", "auto", "all"]),
)
def test_parts_cover_the_picture(
    width: int, height: int, least: float, every: bool, none: bool, mode: str
) -> None:
    class Sized:
        def __init__(self) -> None:
            self.width, self.height = width, height

    options = Look(min_face_size=least, every_face=every, tiles=mode)
    parts = canvases.tiles(Sized(), Recorder(), options, none=none)  # type: ignore[arg-type]
    assert len(parts) <= canvases.MOST_TILES
    if mode == "off" or not parts:
        assert mode == "off" or not parts
        return
    scale = parts[0].scale
    assert {part.scale for part in parts} == {scale}
    assert max(max(part.width, part.height) for part in parts) <= canvases.LARGEST_LOOK
    for length, middles, side in (
        (width, sorted({p.x for p in parts}), parts[0].width),
        (height, sorted({p.y for p in parts}), parts[0].height),
    ):
        ends = [(middle + 0.5 - side / scale / 2, middle + 0.5 + side / scale / 2) for middle in middles]
        assert ends[0][0] <= 1 / scale
        assert ends[-1][1] >= length - 1 / scale
        assert all(b[0] <= a[1] for a, b in itertools.pairwise(ends)), "no gap between two"


@pytest.mark.slow
def test_tight_crops(models: Models, dev_faces: Path) -> None:
    crops = [Whole(read_rgb(p)) for p in sorted((dev_faces / "utkface").glob("*.jpg"))[::5][:60]]
    assert len(crops) == 60
    found = look(models, crops)
    assert sum(bool(len(f.faces)) for f in found) == 60
    # … and it is the face that fills the crop, not something small in it
    for crop, one in zip(crops, found, strict=True):
        row = main_face(one.faces.boxes, crop.width, crop.height)
        box = one.faces.boxes[row]
        assert np.sqrt((box[2] - box[0]) * (box[3] - box[1])) > 0.3 * crop.width


def test_an_answer_does_not_depend_on_the_companions(
    models: Models, photos: list[Image], dev_faces: Path
) -> None:
    pictures: list[Any] = [Whole(p) for p in photos[:4]]
    pictures += [Whole(turned(photos[4], 90)), Whole(np.zeros((200, 300, 3), np.uint8))]
    pictures += [Whole(read_rgb(dev_faces / "picasa" / "modern_family_pic_1.jpg"))]
    for every_face in (False, True):
        together = look(models, pictures, every_face=every_face)
        backwards = look(models, pictures[::-1], every_face=every_face)[::-1]
        for i, picture in enumerate(pictures):
            alone = look(models, [picture], every_face=every_face)[0]
            for other in (together[i], backwards[i]):
                assert (other.looks, other.none, other.smaller) == (alone.looks, alone.none, alone.smaller)
                np.testing.assert_array_equal(other.turns, alone.turns)
                np.testing.assert_allclose(other.faces.landmarks, alone.faces.landmarks, atol=1e-2)
    assert len(together[5].faces) == 0


def test_nothing_to_look_at(models: Models) -> None:
    assert look(models, []) == []


def test_all_faces_of_a_group(models: Models, dev_faces: Path) -> None:
    photo = Whole(read_rgb(dev_faces / "picasa" / "modern_family_pic_1.jpg"))
    found = look(models, [photo], every_face=True)[0]
    assert len(found.faces) >= 5
    assert (np.diff(found.faces.scores) <= 0).all()


def test_a_wanted_size_is_the_size_of_the_first_canvas(models: Models, photos: list[Image]) -> None:
    place = canvases.first(Whole(photos[0]), models.detector, Look(canvas=640))
    assert max(place.width, place.height) == 640
    assert place.scale == pytest.approx(640 / max(photos[0].shape))
    found = look(models, [Whole(photos[0])], canvas=640)
    assert len(found[0].faces) == 1


class Recorder:
    """A detector that finds nothing and remembers the canvases."""

    portrait, sure, straight = 192, 0.8, 8.0

    def __init__(self, fixed_size: int | None = None) -> None:
        self.fixed_size = fixed_size
        self.sizes: list[tuple[int, ...]] = []

    def detect(self, canvases: Image, min_score: float) -> list[Detections]:
        """Nothing."""
        self.sizes += [canvases.shape[1:3]] * len(canvases)
        return [Detections.empty()] * len(canvases)


def test_a_detector_of_one_size_is_shown_that_size_alone() -> None:
    detector = Recorder(640)
    sizes = [(100, 100), (50, 900), (2000, 1500), (1, 1)]
    found = finder.find([Whole(np.zeros((*s, 3), np.uint8)) for s in sizes], detector, Look())
    assert set(detector.sizes) == {(640, 640)}
    assert [f.looks for f in found] == [5, 5, 5 + canvases.MOST_TILES_ORDINARY, 5]
    assert len(detector.sizes) == sum(f.looks for f in found)


@given(width=st.integers(1, 9000), height=st.integers(1, 9000), least=st.floats(1, 400), every=st.booleans())
def test_canvases_have_sane_sizes(width: int, height: int, least: float, every: bool) -> None:
    class Sized:
        def __init__(self) -> None:
            self.width, self.height = width, height

    options = Look(min_face_size=least, every_face=every)
    for turn in (0, 90, 180, 270):
        first = canvases.first(Sized(), Recorder(), options, turn)  # type: ignore[arg-type]
        second = canvases.second(Sized(), Recorder(), options)  # type: ignore[arg-type]
        for place in (first, second):
            assert place.width % 32 == place.height % 32 == 0
            assert min(place.width, place.height) >= 32
            assert max(place.width, place.height) <= canvases.LARGEST_LOOK * 1.5
            corners = np.array([[0, 0], [width - 1, height - 1]], float)
            seen = corners @ place.matrix()[:, :2].T + place.matrix()[:, 2]
            assert (seen > -1.5).all(), "the whole picture is on the canvas"
            assert (seen < [place.width + 0.5, place.height + 0.5]).all()
    looks = (canvases.first(Sized(), Recorder(), options), second)  # type: ignore[arg-type]
    largest = max(looks, key=lambda place: place.scale)
    assert (
        least * largest.scale >= canvases.SMALLEST_FOUND * canvases.NEARLY * 0.99
        or max(largest.width, largest.height) >= canvases.LARGEST_LOOK
    )


# --- canvases ---

PLACEMENTS = st.builds(
    canvas.Placement,
    height=st.integers(1, 40).map(lambda n: 32 * n),
    width=st.integers(1, 40).map(lambda n: 32 * n),
    scale=st.floats(0.05, 8),
    x=st.floats(0, 4000),
    y=st.floats(0, 4000),
    turn=st.sampled_from(range(0, 360, 45)),
)


def at(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


@given(
    place=PLACEMENTS,
    points=st.lists(st.tuples(st.floats(0, 4000), st.floats(0, 4000)), min_size=5, max_size=5),
)
def test_points_come_back(place: canvas.Placement, points: list[tuple[float, float]]) -> None:
    there = at(place.matrix(), np.array(points))
    seen = Detections(np.zeros((1, 4), np.float32), np.ones(1, np.float32), there[None].astype(np.float32))
    back = canvas.to_picture(seen, place).landmarks[0]
    float32 = np.abs(there).max() / place.scale * 2.0**-23 + 4000 * 2.0**-23  # of the landmarks themselves
    np.testing.assert_allclose(back, points, atol=1e-3 + 2 * float32)


@given(place=PLACEMENTS, x=st.floats(0, 3000), y=st.floats(0, 3000), w=st.floats(5, 900), h=st.floats(5, 900))
def test_boxes_come_back(place: canvas.Placement, x: float, y: float, w: float, h: float) -> None:
    corners = np.array([[x, y], [x + w, y], [x, y + h], [x + w, y + h]])
    middle = at(place.matrix(), corners.mean(axis=0, keepdims=True))[0]
    half = np.array([w, h] if place.turn % 180 != 90 else [h, w]) * place.scale / 2
    box = np.concatenate([middle - half, middle + half])[None].astype(np.float32)
    back = canvas.to_picture(
        Detections(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32)), place
    ).boxes[0]
    if place.turn % 90:
        assert np.allclose(
            [(back[0] + back[2]) / 2, (back[1] + back[3]) / 2], [x + w / 2, y + h / 2], atol=0.1
        )
        assert (back[2] - back[0]) * (back[3] - back[1]) == pytest.approx(w * h, rel=0.01)
    else:
        np.testing.assert_allclose(back, [x, y, x + w, y + h], atol=0.05)


@given(
    place=PLACEMENTS, reduction=st.sampled_from([1, 2, 4, 8]), x=st.integers(0, 400), y=st.integers(0, 400)
)
def test_a_shrunk_pictures_pixel_lies_amid_those_it_was_made_of(
    place: canvas.Placement, reduction: int, x: int, y: int
) -> None:
    block = np.array(
        [[x * reduction + i, y * reduction + j] for i in range(reduction) for j in range(reduction)]
    )
    expected = at(place.matrix(), block).mean(axis=0)
    np.testing.assert_allclose(
        at(place.matrix(reduction), np.array([[x, y]]))[0],
        expected,
        atol=1e-6 * np.abs(expected).max() + 1e-6,
    )


@pytest.mark.parametrize("turn", range(0, 360, 45))
@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_what_is_drawn_is_where_the_matrix_says(turn: int, reduction: int) -> None:
    """A white dot at a known place of the picture is found on the canvas, and brought back."""
    picture = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(picture, (203, 71), 9, (255, 255, 255), -1)
    small = cv2.resize(picture, (320 // reduction, 240 // reduction), interpolation=cv2.INTER_AREA)
    place = canvas.whole(320, 240, 256, 0.125, turn)
    drawn = canvas.draw(small, reduction, place)
    assert drawn.shape == (place.height, place.width, 3)
    rows, columns = np.nonzero(drawn[..., 0] > 100)
    dot = np.array([columns.mean(), rows.mean()], np.float32)
    seen = Detections(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.tile(dot, (1, 5, 1)))
    np.testing.assert_allclose(canvas.to_picture(seen, place).landmarks[0, 0], [203, 71], atol=1)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_quarter_turns_are_counter_clockwise(turn: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    drawn = canvas.draw(picture, 1, canvas.whole(96, 64, 96, 0.0, turn))
    np.testing.assert_array_equal(drawn, np.rot90(picture, turn // 90))


def test_around_a_box() -> None:
    place = canvas.around(np.array([100, 50, 140, 90], np.float32), 160, 60)
    np.testing.assert_allclose(
        at(place.matrix(), np.array([[100.0, 50], [140, 90], [120, 70]])),
        [[49.5, 49.5], [109.5, 109.5], [79.5, 79.5]],
    )
    assert np.isfinite(canvas.around(np.array([5, 5, 5, 5], np.float32), 160, 60).matrix()).all()


# --- the main face ---


def test_the_main_face_is_large_and_central() -> None:
    boxes = np.array([[0, 0, 60, 60], [90, 90, 130, 130], [100, 100, 110, 110]], np.float32)
    assert main_face(boxes, 220, 220) == 1
    assert main_face(np.array([[-500, 0, 40, 400], [180, 180, 230, 230]], np.float32), 400, 400) == 1


def test_a_source_is_read_no_larger_than_needed(
    models: Models, dev_faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = read_rgb(sorted((dev_faces / "identities").glob("*/*.jpg"))[0])
    large = cv2.resize(photo, (3000, 3000), interpolation=cv2.INTER_CUBIC)
    source = Source(cv2.imencode(".jpg", large[..., ::-1])[1].tobytes())
    found = look(models, [source])[0]
    assert len(found.faces) == 1
    assert source.pixels(100)[1] >= 4
    expected = look(models, [Whole(photo)])[0]
    np.testing.assert_allclose(found.faces.landmarks * 250 / 3000, expected.faces.landmarks, atol=8)

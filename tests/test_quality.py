"""What is told of a face's picture: angles, sharpness, light, size, share outside."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_rgb
from hypothesis import given
from hypothesis import strategies as st

from face_organizer.detect import Detector, open_detector
from face_organizer.geometry import align, quality
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU

SOLID = quality._SOLID


def seen(yaw: float, pitch: float, roll: float, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """(1, 5, 2) the template's solid face, turned and seen from afar.

    Written apart from the module: x right, y down, z towards the viewer. Looking to the viewer's right moves
    what stands out to the right; looking down moves it down; rolling clockwise takes the right to the bottom.
    """
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    in_plane = np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]])
    turned = SOLID @ (about_x @ about_y).T
    return ((scale * turned[:, :2] @ in_plane.T + shift)[None]).astype(np.float32)


def off(one: float, other: float) -> float:
    """Degrees between two directions."""
    return abs((one - other + 180) % 360 - 180)


@given(yaw=st.floats(-60, 60), scale=st.floats(0.2, 20), shift=st.floats(-100, 3000))
def test_yaw_alone_is_recovered(yaw: float, scale: float, shift: float) -> None:
    found_yaw, found_pitch, found_roll = quality.angles(seen(yaw, 0, 0, scale=scale, shift=shift))
    assert off(found_yaw[0], yaw) < 1
    assert abs(found_pitch[0]) < 6
    assert abs(found_roll[0]) < 6


@given(pitch=st.floats(-45, 45))
def test_pitch_alone_is_recovered(pitch: float) -> None:
    found_yaw, found_pitch, _ = quality.angles(seen(0, pitch, 0))
    assert off(found_pitch[0], pitch) < 1
    assert abs(found_yaw[0]) < 2


@given(roll=st.floats(-179, 179))
def test_roll_alone_is_recovered(roll: float) -> None:
    found_yaw, found_pitch, found_roll = quality.angles(seen(0, 0, roll))
    assert off(found_roll[0], roll) < 0.1
    assert abs(found_yaw[0]) < 0.5
    assert abs(found_pitch[0]) < 0.5


@given(yaw=st.floats(-40, 40), pitch=st.floats(-30, 30), roll=st.floats(-179, 179))
def test_all_three_to_some_ten_degrees(yaw: float, pitch: float, roll: float) -> None:
    found_yaw, found_pitch, found_roll = quality.angles(seen(yaw, pitch, roll))
    assert off(found_yaw[0], yaw) < 15
    assert off(found_pitch[0], pitch) < 15
    assert off(found_roll[0], roll) < 15


def test_many_at_once_equal_one_by_one() -> None:
    faces = np.concatenate([seen(y, p, r) for y, p, r in [(10, 0, 0), (-30, 20, 90), (0, -20, 180)]])
    together = quality.angles(faces)
    for i in range(3):
        for column, alone in zip(together, quality.angles(faces[i : i + 1]), strict=True):
            np.testing.assert_allclose(column[i], alone[0], atol=1e-4)
    assert [len(column) for column in quality.angles(np.empty((0, 5, 2), np.float32))] == [0, 0, 0]


# --- light ---


def chips(dev_faces: Path, count: int = 12) -> list[np.ndarray]:
    """Middles of photos, 112 x 112."""
    photos = sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[:count]
    return [np.ascontiguousarray(read_rgb(p)[60:172, 60:172]) for p in photos]


def test_sharpness_falls_with_every_blur(dev_faces: Path) -> None:
    sharp = chips(dev_faces)
    levels = [
        quality.light([cv2.GaussianBlur(c, (0, 0), s) if s else c for c in sharp])[0]
        for s in (0, 0.7, 1.5, 4)
    ]
    for before, after in pairwise(levels):
        assert (after < before).all()
    assert (levels[-1] < 50).all()


def test_brightness_is_the_mean_luma(dev_faces: Path) -> None:
    pictures = chips(dev_faces)
    bright, half = quality.light(pictures)[1], quality.light([c // 2 for c in pictures])[1]
    np.testing.assert_allclose(half, bright / 2, atol=1)
    np.testing.assert_allclose(bright, [(c @ [0.299, 0.587, 0.114]).mean() for c in pictures], atol=1)


@pytest.mark.parametrize("value", [0, 93, 255])
def test_a_flat_chip(value: int) -> None:
    sharpness, brightness = quality.light([np.full((112, 112, 3), value, np.uint8)])
    assert (sharpness[0], brightness[0]) == (0, value)


def test_no_chips() -> None:
    assert [len(column) for column in quality.light([])] == [0, 0]


def test_sharpness_has_no_ceiling_below_the_hardest_edges() -> None:
    board = np.kron((np.indices((112, 112)).sum(axis=0) % 2 * 255)[..., None], np.ones(3)).astype(np.uint8)
    assert quality.light([board])[0][0] == (4 * 255) ** 2


# --- boxes ---


@given(
    box=st.tuples(st.integers(-50, 150), st.integers(-50, 150), st.integers(0, 90), st.integers(0, 90)),
    width=st.integers(1, 120),
    height=st.integers(1, 120),
)
def test_the_share_outside_is_counted_pixel_by_pixel(
    box: tuple[int, int, int, int], width: int, height: int
) -> None:
    x, y, w, h = box
    boxes = np.array([[x, y, x + w, y + h]], np.float32)
    inside = sum(0 <= a < width for a in range(x, x + w)) * sum(0 <= b < height for b in range(y, y + h))
    expected = 1 - inside / (w * h) if w * h else 1.0
    share = quality.outside(boxes, np.array([width]), np.array([height]))
    np.testing.assert_allclose(share, [expected], atol=1e-6)
    np.testing.assert_allclose(quality.size(boxes), [np.sqrt(w * h)], rtol=1e-6)


@given(corner=st.tuples(st.floats(0, 50), st.floats(0, 50)), w=st.floats(1, 49), h=st.floats(1, 49))
def test_a_box_inside_is_not_outside_at_all(corner: tuple[float, float], w: float, h: float) -> None:
    boxes = np.array([[*corner, corner[0] + w, corner[1] + h]], np.float32)
    assert quality.outside(boxes, np.array([100], np.int32), np.array([100], np.int32))[0] == 0


def test_boxes_the_wrong_way_round() -> None:
    boxes = np.array([[10, 10, 5, 20]], np.float32)
    assert quality.size(boxes)[0] == 0
    assert quality.outside(boxes, np.array([100]), np.array([100]))[0] == 1


# --- on photos ---


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector(packs.find("opencv"), CPU)


def angles_of(picture: np.ndarray, detector: Detector) -> tuple[float, float, float] | None:
    canvas = np.zeros((256, 256, 3), np.uint8)
    canvas[:250, :250] = picture[:250, :250]
    found = detector.detect(canvas[None], 0.8)[0]
    if len(found) != 1:
        return None
    yaw, pitch, roll = quality.angles(found.landmarks)
    return float(yaw[0]), float(pitch[0]), float(roll[0])


@pytest.mark.slow
def test_a_mirrored_photo_looks_the_other_way(dev_faces: Path, detector: Detector) -> None:
    pairs = []
    for path in sorted((dev_faces / "identities").glob("*/*_000[1-3].jpg"))[:40]:
        photo = read_rgb(path)
        both = angles_of(photo, detector), angles_of(np.ascontiguousarray(photo[:, ::-1]), detector)
        if both[0] and both[1]:
            pairs.append(both)
    one, other = np.array(pairs, float).transpose(1, 2, 0)
    assert len(pairs) > 25
    sure = np.abs(one[0]) > 12
    assert sure.sum() >= 5
    assert (np.sign(one[0][sure]) == -np.sign(other[0][sure])).all()
    np.testing.assert_allclose(np.median(np.abs(one[0] + other[0])), 0, atol=8)
    np.testing.assert_allclose(np.median(np.abs(one[2] + other[2])), 0, atol=3)
    np.testing.assert_allclose(np.median(np.abs(one[1] - other[1])), 0, atol=8)


@pytest.mark.slow
def test_a_photo_turned_clockwise_has_that_roll(dev_faces: Path, detector: Detector) -> None:
    photo = read_rgb(sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[0])
    upright = angles_of(photo, detector)
    matrix = cv2.getRotationMatrix2D((125, 125), -20, 1)  # OpenCV's angles run counter-clockwise
    turned = angles_of(cv2.warpAffine(photo, matrix, (250, 250)), detector)
    assert upright is not None
    assert turned is not None
    np.testing.assert_allclose(turned[2] - upright[2], 20, atol=5)


def test_the_template_looks_straight_ahead() -> None:
    yaw, pitch, roll = quality.angles(align.TEMPLATE[None])
    np.testing.assert_allclose([yaw[0], pitch[0], roll[0]], 0, atol=1)

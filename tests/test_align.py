"""Alignment against scikit-image's and insightface's, and against properties that must hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from face_organizer.geometry.align import TEMPLATE, estimate, usable, warp


def faces(count: int, seed: int = 0, noise: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-np.pi, np.pi, count), rng.uniform(0.2, 12, count)
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], axis=1).reshape(-1, 2, 2)
    points = TEMPLATE + rng.normal(0, noise, (count, 5, 2))
    moved = np.einsum("nij,nkj->nki", turn * scale[:, None, None], points) + rng.uniform(
        -500, 4000, (count, 1, 2)
    )
    return moved.astype(np.float32)


def test_equals_skimage() -> None:
    transform = pytest.importorskip("skimage.transform")
    points = faces(200)
    for landmarks, matrix in zip(points, estimate(points), strict=True):
        expected = transform.SimilarityTransform.from_estimate(landmarks, TEMPLATE).params[:2]
        np.testing.assert_allclose(matrix[:, :2], expected[:, :2], atol=1e-5)
        np.testing.assert_allclose(matrix[:, 2], expected[:, 2], rtol=1e-5, atol=2e-3)


def test_template_is_insightfaces() -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    assert np.array_equal(TEMPLATE, face_align.arcface_dst)


@settings(max_examples=60)
@given(
    st.floats(-3.1, 3.1),
    st.floats(0.05, 50),
    st.floats(-5000, 5000),
    st.floats(-5000, 5000),
    st.sampled_from([112, 224]),
)
def test_an_exact_similarity_is_found(angle: float, scale: float, x: float, y: float, size: int) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = TEMPLATE.astype(np.float64) @ turn.T + [x, y]
    matrix = estimate(landmarks[None], template=TEMPLATE * np.float32(size / 112))[0].astype(np.float64)
    reached = landmarks @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(
        reached, TEMPLATE * (size / 112), atol=0.02 + 1e-4 / scale * (abs(x) + abs(y)) / 10
    )


def test_no_similarity_near_it_fits_better() -> None:
    points = faces(20, seed=5, noise=8)
    rng = np.random.default_rng(0)
    for landmarks, matrix in zip(points.astype(np.float64), estimate(points).astype(np.float64), strict=True):

        def error(a: float, b: float, x: float, y: float, landmarks: np.ndarray = landmarks) -> float:
            reached = landmarks @ np.array([[a, -b], [b, a]]).T + [x, y]
            return float(((reached - TEMPLATE) ** 2).sum())

        best = np.array([matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2]])
        assert np.allclose([matrix[1, 1], -matrix[0, 1]], best[:2])
        for _ in range(50):
            assert error(*(best + rng.normal(0, [1e-3, 1e-3, 0.5, 0.5]))) > error(*best) - 1e-3


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    mirrored = TEMPLATE.copy()
    mirrored[:, 0] = 112 - mirrored[:, 0]
    matrix = estimate(mirrored[None])[0]
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
def test_landmarks_that_cannot_be_aligned_are_refused(value: float) -> None:
    points = faces(4)
    points[1, 3, 0] = value
    points[2] = points[2, 0]
    assert usable(points).tolist() == [True, False, False, True]
    with pytest.raises(ValueError, match=r"\[1, 2\]"):
        estimate(points)
    assert len(estimate(points[usable(points)])) == 2


def test_none_and_wrong_shapes() -> None:
    assert estimate(np.empty((0, 5, 2), np.float32)).shape == (0, 2, 3)
    with pytest.raises(ValueError, match=r"\(n, 5, 2\)"):
        estimate(TEMPLATE)


@pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")  # insightface calls it
def test_warp_equals_insightfaces() -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for landmarks in (TEMPLATE * 1.7 + [60, 20], TEMPLATE * 0.8 - 20, TEMPLATE[:, ::-1] + 100):
        face = warp(image, estimate(landmarks[None])[0])
        expected = face_align.norm_crop(image, landmarks.astype(np.float32))
        # The matrix is float32 here, float64 there: one step of the interpolation's fixed point at most.
        assert np.abs(face.astype(int) - expected).max() <= 9
        assert (face != expected).mean() < 0.01


def test_warp_moves_a_known_point_and_blackens_the_outside() -> None:
    image = np.full((50, 50, 3), 200, np.uint8)
    image[20, 30] = [255, 0, 0]
    face = warp(image, np.array([[1, 0, 10], [0, 1, 5]], np.float32))
    assert face.shape == (112, 112, 3)
    assert face[25, 40].tolist() == [255, 0, 0]
    assert not face[:5].any()
    assert not face[56:].any()


def test_warp_of_a_picture_wider_than_opencv_takes() -> None:
    image = np.zeros((200, 40_000, 3), np.uint8)
    face = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    image[40:160, 39_000:39_120] = face
    shift = np.array([[1, 0, -39_004.0], [0, 1, -44.0]], np.float32)
    assert np.array_equal(warp(image, shift), face[4:116, 4:116])
    assert not warp(image, np.array([[1, 0, 90_000], [0, 1, 0]], np.float32)).any()

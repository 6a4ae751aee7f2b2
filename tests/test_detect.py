"""The contract of every detector, on real photos; and non-maximum suppression against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import letterbox, read_rgb
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from face_organizer.detect import Detector, open_detector
from face_organizer.detect import network as network_module
from face_organizer.detect.scrfd import Scrfd
from face_organizer.errors import PackError
from face_organizer.geometry.boxes import nms
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.networks.packs import Role
from face_organizer.types import Detections

NAMES = ["yunet", "scrfd_2.5g_bnkps_dynamic.onnx", "scrfd_500m_bnkps.onnx"]
PHOTOS = [
    "group_photos/bbt/bbt1.jpg",
    "identities/Al_Gore/Al_Gore_0001.jpg",
    "picasa/modern_family_pic_1.jpg",
    "detection_gt_dlib/2008_002079.jpg",
    "detection_gt_dlib/dogs.jpg",
]


def open_by_name(name: str, shared: Path) -> Detector:
    if name == "yunet":
        return open_detector(packs.find("opencv"), CPU)
    return Scrfd(Role(shared / "models" / name, "scrfd"), CPU)


@pytest.fixture(scope="module")
def photos(dev_faces: Path) -> list[np.ndarray]:
    return [read_rgb(dev_faces / name) for name in PHOTOS]


@pytest.fixture(params=NAMES)
def detector(request: pytest.FixtureRequest, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Detector:
    # On a CPU canvases run one by one because that is faster; here they shall share a run, as on a GPU.
    monkeypatch.setattr(network_module, "CPU_BATCH", 64)
    return open_by_name(request.param, shared)


def same(one: Detections, other: Detections) -> None:
    assert len(one) == len(other)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_every_kind_is_tested_here(shared: Path) -> None:
    opened = {type(open_by_name(name, shared)) for name in NAMES}
    assert opened == set(Detector.__subclasses__())


@pytest.mark.parametrize("size", [320, 640])
def test_a_batch_equals_single_runs(detector: Detector, photos: list[np.ndarray], size: int) -> None:
    assert detector.batched
    canvases = np.stack([letterbox(photo, size)[0] for photo in photos])
    together = detector.detect(canvases, 0.5)
    assert sum(map(len, together)) >= 10
    assert len({len(found) for found in together}) > 1
    for canvas, found in zip(canvases, together, strict=True):
        same(found, detector.detect(canvas[None], 0.5)[0])


def test_canvases_of_any_multiple_of_the_stride(detector: Detector, photos: list[np.ndarray]) -> None:
    whole, _ = letterbox(photos[0], 640)
    reference = detector.detect(whole[None], 0.5)[0]
    for height, width in [(384, 640), (448, 736), (640, 672)]:
        canvas = np.zeros((2, height, width, 3), np.uint8)
        canvas[1, : min(height, 640), :640] = whole[:height]
        nothing, found = detector.detect(canvas, 0.5)
        assert len(nothing) == 0
        assert len(found) == len(reference)
        # More black at the edge reaches into the features a little: 0.025 px seen.
        np.testing.assert_allclose(found.boxes, reference.boxes, atol=0.1)
        np.testing.assert_allclose(found.landmarks, reference.landmarks, atol=0.1)


def test_faces_are_where_and_what_they_should_be(detector: Detector, photos: list[np.ndarray]) -> None:
    for photo in photos[:2]:
        canvas, _ = letterbox(photo, 320)
        found = detector.detect(canvas[None], 0.6)[0]
        assert len(found) >= 1
        assert np.all(np.diff(found.scores) <= 0)
        assert np.all((found.scores >= 0.6) & (found.scores <= 1))
        left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks.transpose(1, 0, 2)
        assert np.all(left_eye[:, 0] < right_eye[:, 0]), "the viewer's left eye comes first"
        assert np.all(left_mouth[:, 0] < right_mouth[:, 0])
        assert np.all((left_eye[:, 1] < nose[:, 1]) & (nose[:, 1] < left_mouth[:, 1]))
        x1, y1, x2, y2 = found.boxes.T
        assert np.all((x1 < nose[:, 0]) & (nose[:, 0] < x2) & (y1 < nose[:, 1]) & (nose[:, 1] < y2))
    # The label of an LFW photo is the face in the middle.
    centre = found.boxes[0].reshape(2, 2).mean(axis=0)
    np.testing.assert_allclose(centre, [160, 160], atol=25)


def test_a_lower_threshold_only_adds(detector: Detector, photos: list[np.ndarray]) -> None:
    canvas, _ = letterbox(photos[0], 640)
    strict, loose = (detector.detect(canvas[None], score)[0] for score in (0.7, 0.3))
    assert len(loose) >= len(strict) >= 1
    same(
        Detections(loose.boxes[: len(strict)], loose.scores[: len(strict)], loose.landmarks[: len(strict)]),
        strict,
    )


def test_nothing_and_wrong_shapes(detector: Detector) -> None:
    assert detector.detect(np.empty((0, 320, 320, 3), np.uint8), 0.5) == []
    assert len(detector.detect(np.zeros((1, 320, 320, 3), np.uint8), 0.5)[0]) == 0
    for shape in [(320, 320, 3), (1, 320, 330, 3), (1, 320, 320, 4), (1, 0, 320, 3)]:
        with pytest.raises(ValueError, match="canvas"):
            detector.detect(np.zeros(shape, np.uint8), 0.5)
    with pytest.raises(ValueError, match="uint8"):
        detector.detect(np.zeros((1, 320, 320, 3), np.float32), 0.5)  # type: ignore[arg-type]


def test_a_graph_that_cannot_be_freed_runs_singly_at_its_size(
    shared: Path, tmp_path: Path, photos: list[np.ndarray]
) -> None:
    original = shared / "models" / "scrfd_500m_bnkps.onnx"
    model = onnx.load(str(original))
    last = model.graph.output[0].name
    for node in model.graph.node:
        if last in node.output:
            node.output[0] = "before_the_end"
    model.graph.node.append(helper.make_node("Identity", ["before_the_end"], [last]))
    odd = tmp_path / "odd.onnx"
    onnx.save(model, str(odd))
    detector, free = Scrfd(Role(odd, "scrfd"), CPU), Scrfd(Role(original, "scrfd"), CPU)
    assert (detector.batched, detector.fixed_size) == (False, 640)
    assert (free.batched, free.fixed_size) == (True, None)
    assert [note.endswith("pictures run one by one") for note in detector.notes] == [True]
    assert free.notes == []
    canvases = np.stack([letterbox(photo, 640)[0] for photo in photos[:3]])
    for a, b in zip(detector.detect(canvases, 0.5), free.detect(canvases, 0.5), strict=True):
        same(a, b)
    with pytest.raises(ValueError, match="640"):
        detector.detect(canvases[:, :320, :320], 0.5)


def test_a_file_of_another_kind_is_refused(shared: Path) -> None:
    yunet = packs.find("opencv").detector.path
    with pytest.raises(PackError, match="no SCRFD"):
        Scrfd(Role(yunet, "scrfd"), CPU).detect(np.zeros((1, 320, 320, 3), np.uint8), 0.5)
    pack = packs.find("opencv")
    other = packs.Pack("x", pack.folder, "", Role(yunet, "retinaface"), pack.embedder)
    with pytest.raises(PackError, match="retinaface"):
        open_detector(other, CPU)
    wrong = packs.Pack("x", pack.folder, "", Role(shared / "models" / NAMES[1], "yunet"), pack.embedder)
    with pytest.raises(PackError, match="no YuNet"):
        open_detector(wrong, CPU)


def brute_force(boxes: np.ndarray, scores: np.ndarray, iou: float, extra: float) -> list[int]:
    """The definition, pair by pair, in Python's floats."""

    def area(b: np.ndarray) -> float:
        return max(float(b[2]) - float(b[0]) + extra, 0) * max(float(b[3]) - float(b[1]) + extra, 0)

    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-float(scores[i]), i)):
        for j in kept:
            wide = (
                min(float(boxes[i][2]), float(boxes[j][2]))
                - max(float(boxes[i][0]), float(boxes[j][0]))
                + extra
            )
            high = (
                min(float(boxes[i][3]), float(boxes[j][3]))
                - max(float(boxes[i][1]), float(boxes[j][1]))
                + extra
            )
            shared_area = max(wide, 0) * max(high, 0)
            if shared_area > iou * (area(boxes[i]) + area(boxes[j]) - shared_area):
                break
        else:
            kept.append(i)
    return kept


box = st.tuples(
    st.integers(0, 40), st.integers(0, 40), st.integers(0, 30), st.integers(0, 30), st.integers(0, 5)
)


@settings(max_examples=300)
@given(st.lists(box, max_size=25), st.sampled_from([0.0, 0.3, 0.4, 0.5, 1.0]), st.sampled_from([0.0, 1.0]))
def test_nms_equals_brute_force(rows: list[tuple[int, ...]], iou: float, extra: float) -> None:
    table = np.array(rows, np.float32).reshape(-1, 5)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)
    scores = table[:, 4] / 5  # many ties
    kept = nms(boxes, scores, iou, extra)
    assert kept.tolist() == brute_force(boxes, scores, iou, extra)


def test_nms_equals_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for _ in range(20):
        corner, size = rng.integers(0, 200, (80, 2)), rng.integers(1, 90, (80, 2))
        scores = rng.permutation(80).astype(np.float32) / 100 + 0.1
        expected = cv2.dnn.NMSBoxes(np.concatenate([corner, size], 1).tolist(), scores.tolist(), 0.05, 0.3)
        boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
        assert nms(boxes, scores, 0.3).tolist() == np.ravel(expected).tolist()

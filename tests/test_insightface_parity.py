"""A pack in InsightFace's layout gives what insightface gives: same faces, landmarks and embeddings.

Seen with insightface 2.1: boxes and landmarks within 1.3e-4 px, scores within 2e-7, cosines from 0.99997 (the
matrix of a face is float32 here, which moves a few pixels of a chip by one step of the interpolation).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import letterbox, read_rgb

from face_organizer.detect import open_detector
from face_organizer.geometry.align import estimate, warp
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.recognize import open_embedder

SIZE = 640
COSINE = 0.9995


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packs") / "small"
    target.mkdir()
    for name in ("scrfd_2.5g_bnkps_dynamic.onnx", "mobilefacenet_512.onnx"):
        shutil.copyfile(shared / "models" / name, target / name)
    return target


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")  # insightface calls it
def test_every_face_equals_insightfaces(folder: Path, dev_faces: Path) -> None:
    insightface_app = pytest.importorskip("insightface.app", reason="needs insightface")
    theirs = insightface_app.FaceAnalysis(name=str(folder), providers=["CPUExecutionProvider"])
    theirs.prepare(ctx_id=-1, det_size=(SIZE, SIZE), det_thresh=0.5)
    pack = packs.find(str(folder))
    detector, embedder = open_detector(pack, CPU), open_embedder(pack, CPU)

    paths = [
        *sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[:20],
        *sorted((dev_faces / "group_photos").rglob("*.jpg"))[::8],
        dev_faces / "picasa" / "modern_family_pic_1.jpg",
    ]
    total = 0
    for path in paths:
        photo = read_rgb(path)
        expected = theirs.get(np.ascontiguousarray(photo[..., ::-1]))
        canvas, scale = letterbox(photo, SIZE)
        found = detector.detect(canvas[None], 0.5)[0]
        assert len(found) == len(expected), path
        if not expected:
            continue
        landmarks = found.landmarks / np.float32(scale)
        np.testing.assert_allclose(found.boxes / scale, [face.bbox for face in expected], atol=1e-3)
        np.testing.assert_allclose(landmarks, [face.kps for face in expected], atol=1e-3)
        np.testing.assert_allclose(found.scores, [face.det_score for face in expected], atol=1e-5)
        vectors = embedder.embed(np.stack([warp(photo, matrix) for matrix in estimate(landmarks)]))
        reference = np.stack([face.normed_embedding for face in expected])
        cosines = (vectors * reference).sum(axis=1) / np.linalg.norm(vectors, axis=1)
        assert cosines.min() >= COSINE, (path, cosines)
        total += len(found)
    assert total >= 30


def test_many_overlapping_boxes_are_thinned_as_insightface_does(folder: Path, dev_faces: Path) -> None:
    """At a very low threshold hundreds of small boxes overlap: the +1 on widths decides."""
    insightface_scrfd = pytest.importorskip("insightface.model_zoo.scrfd", reason="needs insightface")
    pack = packs.find(str(folder))
    theirs = insightface_scrfd.SCRFD(str(pack.detector.path))
    theirs.prepare(-1)
    ours = open_detector(pack, CPU)
    total = 0
    for path in sorted((dev_faces / "group_photos").rglob("*.jpg"))[::6]:
        canvas, _ = letterbox(read_rgb(path), 320)
        expected, _ = theirs.detect(
            np.ascontiguousarray(canvas[..., ::-1]), input_size=(320, 320), det_thresh=0.01
        )
        found = ours.detect(canvas[None], 0.01)[0]
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-5)
        total += len(found)
    assert total >= 30

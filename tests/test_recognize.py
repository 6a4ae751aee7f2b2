"""The contract of every embedder, on real faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import read_rgb

from face_organizer.detect import open_detector
from face_organizer.errors import PackError
from face_organizer.geometry.align import estimate, warp
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.networks.packs import Role
from face_organizer.recognize import Embedder, open_embedder
from face_organizer.recognize import embedder as embedder_module

NAMES = ["sface", "arcface"]
PEOPLE = ["Al_Gore", "Ana_Palacio"]


@pytest.fixture(scope="module")
def faces(dev_faces: Path) -> np.ndarray:
    """Four faces each of two people, (8, 112, 112, 3)."""
    detector = open_detector(packs.find("opencv"), CPU)
    rows = []
    for person in PEOPLE:
        for path in sorted((dev_faces / "identities" / person).glob("*.jpg"))[:4]:
            canvas = np.zeros((256, 256, 3), np.uint8)
            canvas[:250, :250] = read_rgb(path)
            found = detector.detect(canvas[None], 0.5)[0]
            rows.append(warp(canvas, estimate(found.landmarks[:1])[0]))
    return np.stack(rows)


def role_of(name: str, shared: Path) -> Role:
    if name == "sface":
        return packs.find("opencv").embedder
    return Role(shared / "models" / "mobilefacenet_512.onnx", "arcface", 512, 127.5, 127.5)


def open_by_name(name: str, shared: Path) -> Embedder:
    pack = packs.find("opencv")
    return open_embedder(packs.Pack("x", pack.folder, "", pack.detector, role_of(name, shared)), CPU)


@pytest.fixture(params=NAMES)
def embedder(request: pytest.FixtureRequest, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Embedder:
    # On a CPU small runs are faster; here all faces shall share a run, as on a GPU.
    monkeypatch.setattr(embedder_module, "CPU_BATCH", 64)
    return open_by_name(request.param, shared)


def test_every_kind_is_tested_here() -> None:
    assert set(NAMES) == set(embedder_module.KINDS)


def test_a_batch_equals_single_runs(embedder: Embedder, faces: np.ndarray) -> None:
    together = embedder.embed(faces)
    assert together.shape == (len(faces), embedder.dim)
    assert together.dtype == np.float32
    alone = np.concatenate([embedder.embed(face[None]) for face in faces])
    np.testing.assert_allclose(together, alone, atol=1e-4, rtol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 0.1


def test_small_runs_equal_one(
    embedder: Embedder,
    faces: np.ndarray,
    shared: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedder_module, "CPU_BATCH", 3)
    small = open_by_name(request.node.callspec.params["embedder"], shared)
    np.testing.assert_allclose(small.embed(faces), embedder.embed(faces), atol=1e-4, rtol=1e-5)


def test_the_same_person_is_nearer(embedder: Embedder, faces: np.ndarray) -> None:
    vectors = embedder.embed(faces)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    person = np.arange(len(faces)) // 4
    same = (person[:, None] == person) & ~np.eye(len(faces), dtype=bool)
    assert cosine[same].min() > cosine[person[:, None] != person].max()


def test_the_words_of_the_stamp_do_not_change(shared: Path) -> None:
    words = {name: role_of(name, shared).preprocessing for name in NAMES}
    assert words == {
        "sface": "arcface-112 bilinear rgb (x-0)/1",
        "arcface": "arcface-112 bilinear rgb (x-127.5)/127.5",
    }


def test_nothing_and_wrong_shapes(embedder: Embedder) -> None:
    assert embedder.embed(np.empty((0, 112, 112, 3), np.uint8)).shape == (0, embedder.dim)
    for shape in [(112, 112, 3), (1, 112, 96, 3), (1, 112, 112, 1)]:
        with pytest.raises(ValueError, match="faces must be"):
            embedder.embed(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        embedder.embed(np.zeros((1, 112, 112, 3), np.float32))  # type: ignore[arg-type]


def test_a_dimension_that_the_file_does_not_have_is_refused(shared: Path) -> None:
    role = Role(shared / "models" / "mobilefacenet_512.onnx", "arcface", 256, 127.5, 127.5)
    with pytest.raises(PackError, match="256"):
        Embedder(role, CPU).embed(np.zeros((2, 112, 112, 3), np.uint8))


def test_an_unknown_kind_is_refused() -> None:
    pack = packs.find("opencv")
    other = packs.Pack("x", pack.folder, "", pack.detector, Role(pack.embedder.path, "facenet", 128))
    with pytest.raises(PackError, match="facenet"):
        open_embedder(other, CPU)

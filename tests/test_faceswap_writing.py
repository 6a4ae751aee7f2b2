"""FaceSwap's header as we write it: what its own reader wants, and what ours reads back."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from conftest import read_rgb
from onnx import TensorProto, helper
from PIL import Image as Pillow
from shell import here

import face_organizer as fo
from face_organizer.errors import PackError
from face_organizer.faceswap import Header, read_header
from face_organizer.faceswap.header import with_header
from face_organizer.faceswap.landmarks import MEAN_FACE, Centering, crop_matrix, crop_points, five_points
from face_organizer.faceswap.points import FILE, open_points
from face_organizer.files import png
from face_organizer.media import images
from face_organizer.types import Float32

FACE = np.concatenate(
    [
        # the jaw, from ear to ear below the inner landmarks
        np.stack([np.linspace(0.02, 0.98, 17), 0.25 + 0.9 * np.sin(np.linspace(0, np.pi, 17))], axis=1),
        MEAN_FACE,
    ]
).astype(np.float32)
"""(68, 2) of a mean face in the unit square."""


def test_the_header_is_what_faceswap_reads() -> None:
    points = FACE * 300 + 100
    made = with_header(
        png(np.zeros((64, 64, 3), np.uint8)), Header(points, "fílm_'1'.png", 2, (700, 900), 2.4), "a_2.png"
    )
    with Pillow.open(io.BytesIO(made)) as picture:
        picture.load()
        tree = ast.literal_eval(picture.text["faceswap"])
    assert tree["alignments"].keys() == {"x", "y", "w", "h", "landmarks_xy", "mask", "identity"}
    assert tree["source"].keys() == {
        "alignments_version", "original_filename", "face_index", "source_filename", "source_is_video",
        "source_frame_dims",
    }  # fmt: skip
    assert all(type(tree["alignments"][key]) is int for key in "xywh")
    assert (tree["source"]["original_filename"], tree["source"]["source_is_video"]) == ("a_2.png", False)
    header = read_header(made)
    assert header
    assert np.array_equal(header.landmarks, points)
    assert (header.source_filename, header.face_index, header.frame_dims) == ("fílm_'1'.png", 2, (700, 900))
    assert header.alignments_version == 2.4


def test_the_crop_is_cut_where_the_header_says() -> None:
    turn = 300 * np.exp(1j * np.radians(20))
    at = (FACE[:, 0] + 1j * FACE[:, 1]) * turn + (200 + 120j)
    points = np.stack([at.real, at.imag], axis=1).astype(np.float32)
    matrix = crop_matrix(points, 256, Centering.HEAD)
    assert matrix is not None
    placed = points @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(placed - crop_points(points[None], 256, Centering.HEAD)[0]).max() < 0.05
    assert crop_matrix(np.zeros((68, 2), np.float32), 256, Centering.HEAD) is None


def network(path: Path, points: Float32, count: int = 1103) -> None:
    """A network in the layout of InsightFace's that finds the same `points` (68, 2), of -1 to 1, on every
    crop."""
    values = np.zeros((count, 3), np.float32)
    values[-len(points) :, :2] = points
    constant = helper.make_tensor("all", TensorProto.FLOAT, [1, 3 * count], values.ravel())
    nothing = helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0])
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1]),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["zero", "all"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes, "points",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["None", 3, 192, 192])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["None", 3 * count])],
        [constant, nothing],
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def test_landmarks_come_back_from_the_turned_crop(packs: Path) -> None:
    assert open_points() is None
    network(packs / "buffalo_l" / FILE, (FACE - 0.5) * 0.8)
    found = open_points()
    assert found
    picture = images.Decoded(np.zeros((400, 500, 3), np.uint8))
    plain = found.find(picture, np.array([100, 100, 200, 200], np.float32), 0)
    assert np.abs(plain - ((FACE - 0.5) * 0.8 * 75 + 150)).max() < 0.01
    turned = found.find(picture, np.array([100, 100, 200, 200], np.float32), 90)
    assert np.abs((turned - 150) - (plain - 150)[:, ::-1] * [-1, 1]).max() < 0.01
    network(packs / "buffalo_l" / FILE, FACE[:10], 20)
    with pytest.raises(PackError, match="no network of 68 landmarks"):
        open_points()


@pytest.mark.slow
def test_crops_out_of_photos_are_faceswaps_where_there_is_a_network(
    packs: Path, dev_faces: Path, tmp_path: Path
) -> None:
    """The mean face laid where faces usually are in their boxes: near enough for the detector to confirm."""
    copies = tmp_path / "photos"
    copies.mkdir()
    for path in sorted((dev_faces / "identities").glob("*/*_0001.jpg")):
        cv2.imwrite(str(copies / f"{path.stem}.png"), cv2.resize(read_rgb(path)[..., ::-1], (500, 500)))
    table = fo.embed(copies, tmp_path / "faces.pkl", device="cpu")
    # where the landmarks of these very faces lie in their boxes, so that the mean face meets them
    box, five = table.faces.box, table.faces.landmarks
    side = (box[:, 2:] - box[:, :2]).max(axis=1)
    middle = (box[:, :2] + box[:, 2:]) / 2
    spots = ((five - middle[:, None]) / (side[:, None, None] * 0.75)).mean(axis=0)
    ours, theirs = five_points(FACE[None])[0], spots
    fit = np.polyfit(
        np.concatenate([ours[:, 0] - ours[:, 0].mean(), ours[:, 1] - ours[:, 1].mean()]),
        np.concatenate([theirs[:, 0] - theirs[:, 0].mean(), theirs[:, 1] - theirs[:, 1].mean()]),
        1,
    )
    network(packs / "own" / FILE, (FACE - ours.mean(axis=0)) * fit[0] + theirs.mean(axis=0))
    away = np.abs(five - (theirs * side[:, None, None] * 0.75 + middle[:, None])).max(axis=(1, 2)) / side
    rows = np.sort(np.argsort(away)[:10])  # those of whom the mean is true
    made = fo.faceset(table, rows, limits={"sharpness": 0, "closeness": -1})
    fo.plan(made, tmp_path / "set", extract=256).apply()
    crops = sorted(p for p in (tmp_path / "set").glob("*.png") if p.name != "faceset.png")
    assert len(crops) >= 5
    assert "FaceSwap&#39;s header, with 68 landmarks" in (tmp_path / "set" / "faceset.html").read_text()
    again = fo.embed(crops, tmp_path / "again.pkl", device="cpu")
    assert set(again.files.reason) == {"aligned by its FaceSwap header"}
    assert {Path(name).suffix for name in again.faces.source_filename} == {".png"}
    own = {Path(p).name: v for p, v in zip(table.face_paths(), table.embeddings, strict=True)}
    alike = [float(v @ own[n]) for v, n in zip(again.embeddings, again.faces.source_filename, strict=True)]
    assert np.median(alike) > 0.7  # the same face, in the same place
    assert here("undo", tmp_path / "set").code == 0
    assert not (tmp_path / "set").exists()

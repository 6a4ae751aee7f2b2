"""Half precision keeps what full precision finds: on real photos, for the packaged pack and other networks.

No CPU computes in float16: ONNX Runtime runs the halved graphs there in float32, with rounded weights. So the
same photos also go through `rounded`: the full graph in which every weight and the result of every node is
rounded to float16, which is what a card does that adds up in float32, as cuDNN does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import letterbox, read_rgb
from faked_cards import FakedCards, overflow
from onnx import TensorProto, helper, numpy_helper, shape_inference

from face_organizer.detect import open_detector
from face_organizer.detect.scrfd import Scrfd
from face_organizer.errors import PackError
from face_organizer.geometry.align import estimate, warp
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU, CudaOptions, Device
from face_organizer.networks.graph_cache import prepared, runnable
from face_organizer.networks.graphs import RECIPES
from face_organizer.networks.half import halve
from face_organizer.networks.roles import Role
from face_organizer.networks.sessions import Session, open_session
from face_organizer.recognize.arcface import HALF_COSINE, ArcFace
from face_organizer.types import Detections

CARD = Device("cuda", 0)
HALF = CudaOptions(half=True)
SCRFDS = ["scrfd_2.5g_bnkps_dynamic.onnx", "scrfd_500m_bnkps.onnx"]
PIXELS = 0.5
"""Most that a box or landmark may move, on canvases of 256 and 640 px. Seen: 0.18 and 0.33."""
SCORE = 0.01
"""Most that a score may change. Seen: 0.007."""


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> FakedCards:
    return FakedCards(monkeypatch)


@pytest.fixture(scope="module")
def canvases(dev_faces: Path) -> list[np.ndarray]:
    """Two batches: portraits at 256 px, photos of groups at 640 px."""
    portraits = sorted((dev_faces / "identities").glob("*/*.jpg"))[::16]
    groups = [*sorted((dev_faces / "group_photos" / "bbt").glob("*.jpg"))[:2]]
    groups += sorted((dev_faces / "picasa").glob("modern_family*.jpg"))[:2]
    assert len(portraits) > 30
    assert len(groups) == 4
    return [
        np.stack([letterbox(read_rgb(path), size)[0] for path in paths])
        for paths, size in ((portraits, 256), (groups, 640))
    ]


@pytest.fixture(scope="module")
def chips(canvases: list[np.ndarray]) -> np.ndarray:
    detector = open_detector(packs.find("opencv"), CPU)
    found = zip(canvases[0], detector.detect(canvases[0], 0.5), strict=True)
    return np.stack([warp(canvas, estimate(f.landmarks[:1])[0]) for canvas, f in found if len(f)])


def role_of(name: str, shared: Path) -> Role:
    if name == "sface":
        return packs.find("opencv").embedder
    if name == "arcface":
        return Role(shared / "models" / "mobilefacenet_512.onnx", "arcface", 512, 127.5, 127.5)
    return Role(shared / "models" / name, "scrfd")


def rounded(path: Path) -> Session:
    """The float32 graph of a file, each weight and each result rounded to float16."""
    model = shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    floats = {
        v.name
        for v in (*graph.value_info, *graph.output)
        if v.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Constant" and node.output[0] in floats:
            name, node.output[0] = node.output[0], f"{node.output[0]}_exact"
            nodes.append(
                helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], to=TensorProto.FLOAT16)
            )
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    kept = list(nodes)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    assert len(kept) > 200
    return open_session(model.SerializeToString(), CPU)


def pairs(full: list[Detections], other: list[Detections]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences, face by face, in boxes, landmarks and scores; the best face first, the others by place."""
    assert [len(found) for found in full] == [len(found) for found in other]
    rows = []
    for a, b in zip(full, other, strict=True):
        for i in range(len(a)):
            j = int(np.abs(b.boxes - a.boxes[i]).max(1).argmin())
            rows.append(
                (
                    np.abs(a.boxes[i] - b.boxes[j]).max(),
                    np.abs(a.landmarks[i] - b.landmarks[j]).max(),
                    abs(a.scores[i] - b.scores[j]),
                )
            )
    box, points, score = np.array(rows).T
    return box, points, score


@pytest.mark.parametrize("way", ["halved graph", "each node rounded"])
@pytest.mark.parametrize("name", SCRFDS)
def test_detectors_find_the_same(
    name: str, way: str, shared: Path, canvases: list[np.ndarray], cards: FakedCards
) -> None:
    role = role_of(name, shared)
    full, half = Scrfd(role, CPU), Scrfd(role, CARD, 1, HALF)
    assert half.batched
    assert [Path(model).stem.split("-", 1)[1] for model in cards.models] == ["detect-half-v1"]
    if way != "halved graph":
        half._network.session = rounded(prepared(role.path, "detect"))
    for batch in canvases:
        expected = full.detect(batch, 0.5)
        assert sum(map(len, expected)) >= 10
        box, points, score = pairs(expected, half.detect(batch, 0.5))
        assert 0 < max(box.max(), points.max()) <= PIXELS
        assert score.max() <= SCORE


@pytest.mark.parametrize("way", ["halved graph", "each node rounded"])
@pytest.mark.parametrize("name", ["sface", "arcface"])
def test_embeddings_stay_where_they_are(
    name: str, way: str, shared: Path, chips: np.ndarray, cards: FakedCards
) -> None:
    role, kind = role_of(name, shared), ArcFace
    full, half = kind(role, CPU), kind(role, CARD, 1, HALF)
    assert [Path(model).stem.split("-", 1)[1] for model in cards.models] == ["embed-half-v1"]
    if way != "halved graph":
        half._session = rounded(prepared(role.path, "embed"))
    a, b = full.embed(chips), half.embed(chips)
    assert b.dtype == np.float32
    assert len(a) > 30
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert np.abs(a - b).max() > 0, "it really is another graph"
    assert cosine.min() >= 0.9999 > HALF_COSINE
    np.testing.assert_allclose(np.linalg.norm(b, axis=1), np.linalg.norm(a, axis=1), rtol=0.002)


def test_yunet_stays_in_full_precision(cards: FakedCards) -> None:
    open_detector(packs.find("opencv"), CARD, cuda=HALF)
    assert [Path(model).stem.split("-", 1)[1] for model in cards.models] == ["detect-v1"]


def test_tensorrt_gets_the_full_graph(cards: FakedCards, shared: Path) -> None:
    both = CudaOptions(half=True, tensorrt=True)
    ArcFace(role_of("sface", shared), CARD, 1, both)
    open_detector(packs.find("opencv"), CARD, cuda=both)
    assert [Path(model).stem.split("-", 1)[1] for model in cards.models] == ["embed-v1", "detect-v1"]
    assert [asked[0][1]["trt_fp16_enable"] for asked in cards.asked] == ["True", "False"]


def test_an_embedder_that_does_not_bear_it_is_refused(cards: FakedCards, shared: Path) -> None:
    cards.spoil = overflow
    with pytest.raises(PackError, match=r"cosine nan.*leave out --half"):
        ArcFace(role_of("sface", shared), CARD, 1, HALF)
    ArcFace(role_of("sface", shared), CARD)


def test_the_halved_files_are_half_as_large_and_cached(shared: Path, tmp_path: Path) -> None:
    role = role_of("arcface", shared)
    path = prepared(role.path, "embed-half", tmp_path)
    assert path.stat().st_size < 0.52 * role.path.stat().st_size
    written = path.stat().st_mtime_ns
    assert prepared(role.path, "embed-half", tmp_path) == path
    assert path.stat().st_mtime_ns == written
    assert set(RECIPES) == {"fold", "embed", "detect", "fold-half", "embed-half", "detect-half", "judge"}


def small(nodes: list[Any], tensors: list[Any], opset: int = 17) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1, "h", "w"])
    graph = helper.make_graph(nodes, "small", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = open_session(model.SerializeToString(), CPU)
    return session.run({"x": x})[0]


def test_scales_shared_or_worked_out_and_constants() -> None:
    """Two Resize nodes with one region and one scale; a third whose scale is worked out; a Constant."""
    scale = numpy_helper.from_array(np.array([1, 1, 1.5, 1.5], np.float32), "scale")
    none = numpy_helper.from_array(np.empty(0, np.float32), "none")
    one = numpy_helper.from_array(np.ones(4, np.float32), "one")
    half = helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.float32(0.5), "c"))
    nodes = [
        half,
        helper.make_node("Mul", ["x", "half"], ["m"]),
        helper.make_node("Resize", ["m", "none", "scale"], ["a"]),
        helper.make_node("Resize", ["m", "none", "scale"], ["b"]),
        helper.make_node("Mul", ["one", "one"], ["worked_out"]),
        helper.make_node("Add", ["a", "b"], ["s"]),
        helper.make_node("Resize", ["s", "none", "worked_out"], ["y"]),
    ]
    model = small(nodes, [scale, none, one])
    x = np.random.default_rng(0).random((2, 1, 4, 4)).astype(np.float32)
    expected = run(model, x)
    assert expected.shape == (2, 1, 6, 6)
    assert halve(model)
    result = run(model, x)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=2e-3)


def test_a_number_beyond_float16_is_refused() -> None:
    big = numpy_helper.from_array(np.array([1e5], np.float32), "big")
    with pytest.raises(PackError, match=r"big holds numbers beyond 65,504; leave out --half"):
        halve(small([helper.make_node("Add", ["x", "big"], ["y"])], [big]))


def test_a_graph_inside_a_node_is_refused() -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "inner",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    with pytest.raises(PackError, match="holds a graph of its own"):
        halve(small([node], [yes]))


def test_an_operator_without_float16_is_refused_in_words(tmp_path: Path) -> None:
    """Quantised weights that are left in the graph have float32 scales before opset 19."""
    quantised = [
        numpy_helper.from_array(np.ones((1, 1, 4, 4), np.int8), "w"),
        numpy_helper.from_array(np.float32(0.1), "s"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
    ]
    path = tmp_path / "quantised.onnx"
    onnx.save(small(nodes, quantised), str(path))
    with pytest.raises(PackError, match="no form in half precision") as caught:
        runnable(path, "embed", half=True)
    assert "\n" not in str(caught.value)

"""Graph surgery changes no value: against the operators' own definition, and batch against single runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from face_organizer.errors import PackError
from face_organizer.files import cache_dir, sha256_file
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.networks.graphs import (
    GraphError,
    fold_constants,
    free_batch_axis,
    keep_batch_axis,
    prepared,
)
from face_organizer.networks.sessions import open_session

DETECTORS = ["yunet", "scrfd_2.5g_bnkps_dynamic.onnx", "scrfd_500m_bnkps.onnx"]


def detector_file(name: str, request: pytest.FixtureRequest) -> Path:
    if name == "yunet":
        return packs.find("opencv").detector.path
    shared: Path = request.getfixturevalue("shared")
    return shared / "models" / name


def quantised(block: int, axis: int, dtype: type, zero_point: bool) -> onnx.ModelProto:
    """x + reshape(dequantize(w)), as the block quantiser of OpenCV's zoo writes it; ragged blocks too."""
    rng = np.random.default_rng(block * 7 + axis + 1)
    low = np.iinfo(dtype).min
    w = rng.integers(low, low + 256, (6, 10), dtype=np.int64).astype(dtype)
    shape = [6, 10]
    if block:
        shape[axis] = -(-shape[axis] // block)
        scale_shape = tuple(shape)
    else:
        scale_shape = (shape[axis],) if axis >= 0 else ()
    scale = np.asarray(rng.random(scale_shape), np.float32)
    tensors = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(scale, "s")]
    names = ["w", "s"]
    if zero_point:
        tensors.append(
            numpy_helper.from_array(np.asarray(rng.integers(low, low + 200, scale_shape), dtype), "z")
        )
        names.append("z")
    tensors.append(numpy_helper.from_array(np.array([0, 2, -1], np.int64), "shape"))
    attributes = {"axis": max(axis, 0)} | ({"block_size": block} if block else {})
    nodes = [
        helper.make_node("DequantizeLinear", names, ["d"], **attributes),
        helper.make_node("Reshape", ["d", "shape"], ["r"]),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [6, 2, 5]) for n in "xy")
    stale = helper.make_tensor_value_info("d", TensorProto.FLOAT, [6, 10])
    unread = helper.make_tensor_value_info("left_over", TensorProto.FLOAT, [3])
    weight = helper.make_tensor_value_info("w", tensors[0].data_type, [6, 10])
    graph = helper.make_graph(nodes, "q", [x, unread, weight], [y], tensors, value_info=[stale])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("zero_point", [True, False])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(("block", "axis"), [(2, 0), (4, 1), (5, 1), (0, 0), (0, 1), (0, -1)])
def test_folding_equals_the_operators_definition(
    block: int, axis: int, dtype: type, zero_point: bool
) -> None:
    model = quantised(block, axis, dtype, zero_point)
    x = np.random.default_rng(1).random((6, 2, 5)).astype(np.float32)
    before = ReferenceEvaluator(model).run(None, {"x": x, "left_over": np.zeros(3, np.float32)})[0]
    assert fold_constants(model)
    onnx.checker.check_model(model)
    assert [n.op_type for n in model.graph.node] == ["Add"]
    assert [i.name for i in model.graph.input] == ["x"]
    assert [i.name for i in model.graph.initializer] == ["r"]
    assert not model.graph.value_info
    after = open_session(model.SerializeToString(), CPU).run({"x": x})[0]
    np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)
    assert not fold_constants(model)


def test_the_packaged_weights_equal_the_reference_evaluator() -> None:
    original = onnx.load(str(packs.find("opencv").detector.path))
    folded = onnx.load(str(packs.find("opencv").detector.path))
    fold_constants(folded)
    kept = [n for n in original.graph.node if n.op_type in ("DequantizeLinear", "Reshape")]
    graph = onnx.GraphProto(name="weights", initializer=original.graph.initializer)
    constant = {i.name for i in graph.initializer}
    for node in kept:
        if set(node.input) <= constant:
            graph.node.append(node)
            constant |= set(node.output)
    mine = {i.name: numpy_helper.to_array(i) for i in folded.graph.initializer}
    wanted = [name for node in graph.node for name in node.output if name in mine]
    graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in wanted)
    model = helper.make_model(graph, opset_imports=original.opset_import, ir_version=10)
    assert len(wanted) >= 50
    for name, value in zip(wanted, ReferenceEvaluator(model).run(None, {}), strict=True):
        np.testing.assert_allclose(mine[name], value, rtol=1e-6, atol=0, err_msg=name)


@pytest.mark.parametrize("name", DETECTORS)
def test_pictures_of_a_batch_do_not_mix(name: str, request: pytest.FixtureRequest) -> None:
    path = detector_file(name, request)
    session = open_session(prepared(path, "detect"), CPU)
    original = onnx.load(str(path))
    rng = np.random.default_rng(3)
    for height, width in [(64, 96), (320, 320)]:
        batch = rng.standard_normal((5, 3, height, width)).astype(np.float32)
        if name == "yunet":
            batch = (batch + 3) * 40
        together = session.run({session.inputs[0]: batch})
        assert len(together) == len(original.graph.output)
        for i in range(5):
            alone = session.run({session.inputs[0]: batch[i : i + 1]})
            for a, b in zip(together, alone, strict=True):
                np.testing.assert_allclose(a[i], b[0], atol=1e-4, rtol=1e-4)
        # Different pictures give different rows: the comparison above could not hold by chance.
        assert sum(np.abs(o[0] - o[1]).max() > 1e-3 for o in together) > len(together) // 2


@pytest.mark.parametrize("name", DETECTORS[1:])
def test_the_rewritten_graph_gives_what_the_file_gave(name: str, request: pytest.FixtureRequest) -> None:
    path = detector_file(name, request)
    x = np.random.default_rng(4).standard_normal((1, 3, 640, 640)).astype(np.float32)
    before, after = open_session(path, CPU), open_session(prepared(path, "detect"), CPU)
    assert before.outputs == after.outputs
    for a, b in zip(before.run({before.inputs[0]: x}), after.run({after.inputs[0]: x}), strict=True):
        np.testing.assert_allclose(a.reshape(b.shape[1:]), b[0], atol=1e-5, rtol=1e-5)


def test_a_tail_of_another_shape_is_refused(shared: Path) -> None:
    model = onnx.load(str(shared / "models" / "scrfd_500m_bnkps.onnx"))
    with_another_tail(model)
    with pytest.raises(GraphError, match="one by one"):
        keep_batch_axis(model)


def with_another_tail(model: onnx.ModelProto) -> None:
    """Put an Identity after the first output."""
    name = model.graph.output[0].name
    for node in model.graph.node:
        for i, output in enumerate(node.output):
            if output == name:
                node.output[i] = "before_the_end"
    model.graph.node.append(helper.make_node("Identity", ["before_the_end"], [name]))


def test_a_fixed_embedder_takes_any_batch() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    w = np.random.default_rng(0).random((12, 4)).astype(np.float32)
    tensors = [numpy_helper.from_array(np.array([1, 12]), "flat"), numpy_helper.from_array(w, "w")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "e", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert free_batch_axis(model)
    assert not free_batch_axis(model)
    batch = np.random.default_rng(1).random((5, 3, 2, 2)).astype(np.float32)
    result = open_session(model.SerializeToString(), CPU).run({"x": batch})[0]
    np.testing.assert_allclose(result, batch.reshape(5, 12) @ w, rtol=1e-5)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of rewritten graphs, not made yet."""
    monkeypatch.setenv("FACE_ORGANIZER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


def test_the_cache_is_written_once(cache: Path) -> None:
    path = packs.find("opencv").detector.path
    first = prepared(path, "detect")
    assert first.parent == cache
    assert first.name.startswith(sha256_file(path))
    written = first.stat().st_mtime_ns
    assert prepared(path, "detect") == first
    assert first.stat().st_mtime_ns == written
    assert list(cache.iterdir()) == [first]


def test_a_damaged_file_of_the_cache_is_named(cache: Path) -> None:
    damaged = prepared(packs.find("opencv").detector.path, "detect")
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(PackError, match=f"delete {damaged.name} in the cache"):
        open_session(damaged, CPU)


def test_a_file_that_needs_no_change_is_not_copied(shared: Path, cache: Path) -> None:
    path = shared / "models" / "mobilefacenet_512.onnx"
    assert prepared(path, "embed") == path
    assert prepared(path, "embed") == path
    assert [file.stat().st_size for file in cache.iterdir()] == [0]


def test_many_at_once(cache: Path) -> None:
    path = packs.find("opencv").detector.path
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: prepared(path, "detect"), range(8)))
    assert len(set(paths)) == 1
    open_session(paths[0], CPU)
    assert list(cache.iterdir()) == paths[:1]


def test_errors_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(PackError, match=r"broken\.onnx"):
        prepared(broken, "embed")
    with pytest.raises(PackError, match=r"absent\.onnx"):
        prepared(tmp_path / "absent.onnx", "embed")
    monkeypatch.setenv("FACE_ORGANIZER_CACHE", str(broken))
    with pytest.raises(PackError, match="FACE_ORGANIZER_CACHE"):
        prepared(packs.find("opencv").detector.path, "detect")


def test_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACE_ORGANIZER_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("FACE_ORGANIZER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "face-organizer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "face-organizer"

"""Stand-ins for gender networks whose weights cannot be had here: files in their formats that a test makes.
They tell nothing of accuracy; their answers depend on the crop, so that a mix-up of faces shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def genderage(path: Path, seed: int = 0) -> Path:
    """An ONNX file in the layout of InsightFace's `genderage.onnx`: N×3×96×96 in, N×3 out."""
    random = np.random.default_rng(seed)
    weights = random.normal(0, 1, (3, 3)).astype(np.float32)
    return _pooled(path, ("N", 3, 96, 96), [2, 3], weights, softmax=False)


def deepface_gender(path: Path, seed: int = 0) -> Path:
    """An ONNX file in the layout of DeepFace's `gender_model_weights.onnx`: N×224×224×3 in, N×2 out."""
    random = np.random.default_rng(seed)
    weights = random.normal(0, 20, (3, 2)).astype(np.float32)
    return _pooled(path, ("N", 224, 224, 3), [1, 2], weights, softmax=True)


def _pooled(
    path: Path, shape: tuple[str | int, ...], axes: list[int], weights: NDArray[np.float32], softmax: bool
) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["data", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weights"], ["fc1" if not softmax else "logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["fc1"], axis=1))
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ("N", weights.shape[1]))],
        [
            numpy_helper.from_array(np.array(axes, np.int64), "axes"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path

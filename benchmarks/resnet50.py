"""A network of the size of `w600k_r50`, the embedder of InsightFace's packs, with random weights.

Its embeddings mean nothing, its time does: the real weights are not needed for a ratio of times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

BLOCKS = ((64, 3), (128, 4), (256, 14), (512, 3))
"""Channels and blocks of each stage: IResNet-50, `arcface_torch/backbones/iresnet.py` of insightface."""


class _Graph:
    """Nodes and weights, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(0)

    def weight(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x: str, channels: int, out: int, size: int = 3, stride: int = 1) -> str:
        scale = np.sqrt(1 / (channels * size * size))
        weights = self._random.normal(0, scale, (out, channels, size, size))
        pads = [size // 2] * 4
        inputs = [x, self.weight(weights), self.weight(np.zeros(out))]
        return self.node("Conv", inputs, kernel_shape=[size, size], strides=[stride, stride], pads=pads)

    def norm(self, x: str, channels: int) -> str:
        ones, zeros = np.ones(channels), np.zeros(channels)
        return self.node("BatchNormalization", [x, *map(self.weight, (ones, zeros, zeros, ones))])

    def prelu(self, x: str, channels: int) -> str:
        return self.node("PRelu", [x, self.weight(np.full((channels, 1, 1), 0.25))])


def write(path: Path) -> None:
    """Write the network: (N, 3, 112, 112) in, (N, 512) out."""
    graph = _Graph()
    x, channels = graph.prelu(graph.conv("x", 3, 64), 64), 64
    for out, count in BLOCKS:
        for block in range(count):
            stride = 1 if block else 2
            inner = graph.prelu(graph.conv(graph.norm(x, channels), channels, out), out)
            inner = graph.conv(inner, out, out, stride=stride)
            beside = x if block else graph.conv(x, channels, out, size=1, stride=2)
            x, channels = graph.node("Add", [inner, beside]), out
    flat = graph.node("Flatten", [graph.norm(x, channels)])
    weights = np.random.default_rng(1).normal(0, 0.006, (512 * 49, 512))
    graph.nodes.append(helper.make_node("Gemm", [flat, graph.weight(weights)], ["y"]))
    sides = ["N", 3, 112, 112], ["N", 512]
    x_info, y_info = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xy", sides, strict=True)
    )
    made = helper.make_graph(graph.nodes, "iresnet50", [x_info], [y_info], graph.weights)
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

"""The part that one ONNX file plays in a model pack, told by what it declares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from face_organizer.errors import PackError
from face_organizer.files import sha256_file
from face_organizer.networks.graphs import load_model

SMALLEST_DIM = 64
"""An output of fewer numbers is no face embedding: gender and age have 3."""


@dataclass(frozen=True, slots=True)
class Role:
    """One network of a pack. `mean` and `std` are those of an embedder's input, `dim` its output's length."""

    path: Path
    kind: str
    """Of `detect.open_detector` or `recognize.open_embedder`."""
    dim: int = 0
    mean: float = 0.0
    std: float = 1.0

    @property
    def preprocessing(self) -> str:
        """How a face becomes an embedder's input, as it is stamped: it never changes for the same input."""
        return f"arcface-112 bilinear rgb (x-{self.mean:g})/{self.std:g}"

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the file. PackError where it cannot be read."""
        try:
            return sha256_file(self.path)
        except OSError as error:
            why = f"{self.path} cannot be read: {error.strerror}"
            raise PackError(why, "fetch the pack again") from error


def inspect(path: Path) -> tuple[Role | None, str]:
    """The role that a file's declared inputs and outputs fit, and `detector` or `embedder`."""
    graph = load_model(path, external_data=False).graph
    # Old exporters list weights as inputs; quantised, those are initializers no more, and nothing reads them.
    read = {name for node in graph.node for name in node.input} - {i.name for i in graph.initializer}
    inputs = [_dims(i) for i in graph.input if i.name in read]
    outputs = [_dims(o) for o in graph.output]
    if len(inputs) != 1 or len(inputs[0]) != 4 or inputs[0][1] != 3:
        return None, ""
    if len(outputs) == 12 and {"cls_8", "obj_8", "bbox_8", "kps_8"} <= {o.name for o in graph.output}:
        return Role(path, "yunet"), "detector"
    widths = [dims[-1] for dims in outputs if dims and dims[-1] > 0]
    if len(outputs) == 9 and set(widths) <= {1, 4, 10} and all(widths.count(k) <= 3 for k in (1, 4, 10)):
        return Role(path, "scrfd"), "detector"
    if inputs[0][2:] == [112, 112] and len(outputs) == 1 and len(outputs[0]) == 2:
        dim, (mean, std) = outputs[0][1], (0.0, 1.0) if normalises_itself(graph) else (127.5, 127.5)
        return (Role(path, "arcface", dim, mean, std), "embedder") if dim >= SMALLEST_DIM else (None, "")
    return None, ""


def _dims(value: Any) -> list[int]:
    """Declared dimensions; 0 for a free one."""
    return [int(d.dim_value) for d in value.type.tensor_type.shape.dim]


def normalises_itself(graph: Any) -> bool:
    """insightface's rule: Sub and Mul among the first eight nodes, not counting those that unpack weights."""
    first = [n for n in graph.node if n.op_type not in ("DequantizeLinear", "Reshape", "Constant")][:8]
    marks = (("Sub", "_minus"), ("Mul", "_mul"))
    return all(any(n.op_type == kind or n.name.startswith(mark) for n in first) for kind, mark in marks)

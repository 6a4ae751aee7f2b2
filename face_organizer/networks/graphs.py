"""Surgery on ONNX graphs: what a file must become before ONNX Runtime can run it on batches of any size.

Three changes, none of which alters an answer: constants folded, the batch axis of embedders freed, and that
of anchor detectors kept through their last Reshape. `graph_cache` writes the result once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import PackError

Array = np.ndarray[Any, Any]
FREE_AXIS = "N"


class GraphError(PackError):
    """A graph does not have the shape that a change needs; it may still run as it is."""


def load_model(path: Path, external_data: bool = True) -> Any:
    """The onnx.ModelProto of a file, with or without the weights that it keeps in other files. PackError."""
    import onnx

    try:
        return onnx.load(str(path), load_external_data=external_data)
    except Exception as error:  # protobuf's own class among others
        raise PackError(f"{path} is no ONNX model ({error})", "fetch the pack again") from error


# --- the three changes: each takes an onnx.ModelProto, changes it in place, says whether it did ---


def fold_constants(model: Any) -> bool:
    """Work out every DequantizeLinear and Reshape of initializers; drop what is unused then.

    Quantised weights become float32 initializers, by the operators' reference implementation: ONNX Runtime
    does not run all block-quantised files. Graph inputs that are initializers (a habit of old exporters that
    stops ONNX Runtime from optimising) or that nothing reads are dropped as well.
    """
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    graph = model.graph
    known: list[Any] = []
    left: list[Any] = []
    values = {i.name: i for i in graph.initializer}
    constant = set(values)
    for node in graph.node:
        fits = node.op_type in ("DequantizeLinear", "Reshape") and constant.issuperset(node.input)
        (known if fits else left).append(node)
        constant.update(node.output if fits else ())
    used = {name for node in left for name in node.input} | {o.name for o in graph.output}
    free_inputs = [i for i in graph.input if i.name not in values and i.name in used]
    if not known and len(free_inputs) == len(graph.input):
        return False
    made = [name for node in known for name in node.output if name in used]
    if made:
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made]
        part = helper.make_graph(known, "constants", [], outputs, graph.initializer)
        alone = helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
        for name, value in zip(made, ReferenceEvaluator(alone).run(None, {}), strict=True):
            values[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
    _replace(graph.node, left)
    _replace(graph.input, free_inputs)
    _replace(graph.initializer, [v for name, v in values.items() if name in used])
    _replace(graph.value_info, [])
    return True


def free_batch_axis(model: Any) -> bool:
    """Let the first axis of an embedder's input and output be any N; the rest of the graph must not fix it.

    A constant Reshape to (1, …) is turned to (N, …). GraphError where another operator holds a fixed batch.
    """
    graph = model.graph
    first_axes = [v.type.tensor_type.shape.dim[0] for v in (*_real_inputs(graph), *graph.output)]
    if all(axis.dim_value == 0 for axis in first_axes):
        return False
    for node in graph.node:
        if node.op_type != "Reshape":
            continue
        shape = _constant(graph, node.input[1])
        if shape is None:
            raise GraphError(
                f"Reshape {node.name or node.output[0]} works out its shape: the batch axis stays fixed"
            )
        if len(shape) and shape[0] == 1:
            # 0 copies the first axis; -1 works it out, which only one axis may.
            freed = [0 if -1 in shape[1:] else -1, *(int(n) for n in shape[1:])]
            node.input[1] = _add_constant(graph, f"{node.output[0]}__shape", np.array(freed, np.int64))
    for axis in first_axes:
        axis.dim_param = FREE_AXIS
    _replace(graph.value_info, [])
    return True


def keep_batch_axis(model: Any) -> bool:
    """Let N, H and W of an anchor detector be free and keep the rows of different pictures apart.

    Exports of SCRFD end in Transpose(2, 3, 0, 1) → Reshape(-1, k), which mixes the rows of a batch; YuNet
    ends in Transpose(0, 2, 3, 1) → Reshape(1, rows, k), which fixes it; either may be followed by Sigmoid.
    Each tail becomes Transpose(0, 2, 3, 1) → Reshape(0, -1, k), so an output is (N, rows, k). Resize nodes
    to fixed whole multiples become Resize by that factor.

    GraphError, the model half changed, where an output ends otherwise.
    """
    from onnx import helper

    graph = model.graph
    _free_resizes(model)
    tails = [(output, *_tail(graph, output.name)) for output in graph.output]
    for output, reshape, transpose, width in tails:
        _replace(transpose.attribute, [helper.make_attribute("perm", [0, 2, 3, 1])])
        _replace(reshape.attribute, [])
        reshape.input[1] = _add_constant(graph, f"{output.name}__shape", np.array([0, -1, width], np.int64))
        kind = output.type.tensor_type.elem_type
        output.CopyFrom(
            helper.make_tensor_value_info(output.name, kind, [FREE_AXIS, f"{output.name}_rows", width])
        )
    for axis, name in zip(
        _real_inputs(graph)[0].type.tensor_type.shape.dim, (FREE_AXIS, "", "H", "W"), strict=True
    ):
        if name:
            axis.dim_param = name
    _replace(graph.value_info, [])
    return True


def _tail(graph: Any, output: str) -> tuple[Any, Any, int]:
    """The Reshape and Transpose that an output ends in, and the width of its rows, else GraphError."""
    maker = {name: node for node in graph.node for name in node.output}
    node = maker.get(output)
    if node is not None and node.op_type == "Sigmoid":
        node = maker.get(node.input[0])
    if node is not None and node.op_type == "Reshape":
        before, shape = maker.get(node.input[0]), _constant(graph, node.input[1])
        perms = [list(a.ints) for a in before.attribute if a.name == "perm"] if before is not None else []
        known = (
            before is not None
            and before.op_type == "Transpose"
            and perms[:1] in ([[2, 3, 0, 1]], [[0, 2, 3, 1]])
        )
        if known and shape is not None and int(shape[-1]) > 0:
            return node, before, int(shape[-1])
    raise GraphError(f"output {output} does not end in Transpose → Reshape: pictures run one by one")


def _free_resizes(model: Any) -> None:
    """Turn Resize to fixed sizes into Resize by a whole factor, which is the same for nearest neighbours."""
    from onnx import shape_inference

    graph = model.graph
    fixed = []
    for node in graph.node:
        value = _constant(graph, node.input[3]) if node.op_type == "Resize" and len(node.input) > 3 else None
        if value is not None:
            fixed.append((node, [int(n) for n in value]))
    if not fixed:
        return
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in shape_inference.infer_shapes(model).graph.value_info
    }
    for node, sizes in fixed:
        source = shapes.get(node.input[0], [])
        if len(source) != len(sizes) or 0 in source or any(t % s for t, s in zip(sizes, source, strict=True)):
            raise GraphError(
                f"Resize {node.name or node.output[0]} has a size of its own: the input stays as it is"
            )
        scales = np.array([t // s for t, s in zip(sizes, source, strict=True)], np.float32)
        _replace(node.input, [*node.input[:2], _add_constant(graph, f"{node.output[0]}__scales", scales)])


def _real_inputs(graph: Any) -> list[Any]:
    constants = {i.name for i in graph.initializer}
    return [i for i in graph.input if i.name not in constants]


def _constant(graph: Any, name: str) -> Array | None:
    from onnx import numpy_helper

    for tensor in graph.initializer:
        if tensor.name == name:
            return numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            return next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), None)
    return None


def _add_constant(graph: Any, name: str, value: Array) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _replace(field: Any, items: list[Any]) -> None:
    """Put `items` in place of all that a repeated field of a protobuf message holds."""
    copies = list(items)
    del field[:]
    field.extend(copies)


RECIPES: dict[str, tuple[Callable[[Any], bool], ...]] = {
    "fold": (fold_constants,),
    "embed": (fold_constants, free_batch_axis),
    "detect": (fold_constants, keep_batch_axis),
}
"""What a network needs by its place: `embed` and `detect` for batches, `fold` where those do not fit."""

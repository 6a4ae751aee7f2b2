"""Surgery on ONNX graphs: what a file must become before ONNX Runtime can run it on batches of any size.

Three changes, none of which alters an answer: constants folded, the batch axis of embedders freed, and that
of anchor detectors kept through their last Reshape. The result is written once, to the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import PackError
from face_organizer.files import atomic_write, cache_dir, os_errors, sha256_file

WRITABLE = "set FACE_ORGANIZER_CACHE to a folder that can be written"
VERSION = "v1"
"""Part of every cached name: raise it when a recipe changes what it writes."""


class GraphError(PackError):
    """A graph does not have the shape that a change needs; it may still run as it is."""


def runnable(path: Path, place: str) -> tuple[Path, str]:
    """The file to open for a network at its `place` (embed or detect), and why it takes no batches, if so.
    PackError as `prepared`."""
    try:
        return prepared(path, place), ""
    except GraphError as error:
        return prepared(path, "fold"), f"{path}: {error}"


def prepared(path: Path, recipe: str) -> Path:
    """The file to open for `path` after `recipe` (a key of RECIPES): rewritten once, then found in the cache
    as `graphs/<sha256 of path>-<recipe>-<version>.onnx`. Where the recipe has nothing to change, an empty
    file `….unchanged` says so, and `path` itself comes back.

    Errors: GraphError where the recipe does not fit; PackError where the model cannot be read or the cache
    not be written.
    """
    folder = cache_dir() / "graphs"
    with os_errors(path, kind=PackError, mend="fetch the pack again"):
        rewritten = folder / f"{sha256_file(path)}-{recipe}-{VERSION}.onnx"
    unchanged = rewritten.with_suffix(".unchanged")
    if unchanged.exists() or rewritten.exists():
        return path if unchanged.exists() else rewritten
    model = load_model(path)
    changed = [change for change in RECIPES[recipe] if change(model)]
    with (
        os_errors(folder, "cannot be written", PackError, WRITABLE),
        atomic_write(rewritten if changed else unchanged) as file,
    ):
        file.write(model.SerializeToString(deterministic=True) if changed else b"")
    return rewritten if changed else path


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
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    graph = model.graph
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    tensors = {i.name: i for i in graph.initializer}
    given, left = set(tensors), []
    for node in graph.node:
        if node.op_type not in ("DequantizeLinear", "Reshape") or not tensors.keys() >= set(node.input):
            left.append(node)
            continue
        values = {name: numpy_helper.to_array(tensors[name]) for name in node.input}
        (value,) = ReferenceEvaluator(node, opsets=opsets).run(None, values)
        tensors[node.output[0]] = numpy_helper.from_array(np.ascontiguousarray(value), node.output[0])
    used = {name for node in left for name in node.input} | {o.name for o in graph.output}
    inputs = [i for i in graph.input if i.name in used - given]
    if len(left) == len(graph.node) and len(inputs) == len(graph.input):
        return False
    _replace(graph.node, left)
    _replace(graph.input, inputs)
    _replace(graph.initializer, [tensor for name, tensor in tensors.items() if name in used])
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
            raise GraphError(f"Reshape {node.output[0]} works out its shape: the batch axis stays fixed")
        if len(shape) and shape[0] == 1:
            # 0 copies the first axis; -1 works it out, which only one axis may.
            freed = np.array([0 if -1 in shape[1:] else -1, *shape[1:]], np.int64)
            node.input[1] = _add_constant(graph, f"{node.output[0]}__shape", freed)
    for axis in first_axes:
        axis.dim_param = "N"
    _replace(graph.value_info, [])
    return True


def keep_batch_axis(model: Any) -> bool:
    """Let N, H and W of an anchor detector be free and keep the rows of different pictures apart.

    Exports of SCRFD end in Transpose(2, 3, 0, 1) → Reshape(-1, k), which mixes the rows of a batch; YuNet
    ends in Transpose(0, 2, 3, 1) → Reshape(1, rows, k), which fixes it; either may be followed by Sigmoid.
    Each tail becomes Transpose(0, 2, 3, 1) → Reshape(0, -1, k), so an output is (N, rows, k). GraphError,
    the model half changed, where an output ends otherwise.
    """
    from onnx import helper

    graph = model.graph
    _free_resizes(model)
    for output, (reshape, transpose, width) in [(o, _tail(graph, o.name)) for o in graph.output]:
        _replace(transpose.attribute, [helper.make_attribute("perm", [0, 2, 3, 1])])
        _replace(reshape.attribute, [])
        reshape.input[1] = _add_constant(graph, f"{output.name}__shape", np.array([0, -1, width], np.int64))
        kind = output.type.tensor_type.elem_type
        shape: list[int | str | None] = ["N", f"{output.name}_rows", width]
        output.CopyFrom(helper.make_tensor_value_info(output.name, kind, shape))
    batch, _, height, wide = _real_inputs(graph)[0].type.tensor_type.shape.dim
    batch.dim_param, height.dim_param, wide.dim_param = "N", "H", "W"
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
        if before is not None and before.op_type == "Transpose" and shape is not None and shape[-1] > 0:
            perms = [list(a.ints) for a in before.attribute if a.name == "perm"]
            if perms in ([[2, 3, 0, 1]], [[0, 2, 3, 1]]):
                return node, before, int(shape[-1])
    raise GraphError(f"output {output} does not end in Transpose → Reshape: pictures run one by one")


def _free_resizes(model: Any) -> None:
    """Turn Resize to fixed sizes into Resize by a whole factor, which is the same for nearest neighbours."""
    from onnx import shape_inference

    graph = model.graph
    inferred = shape_inference.infer_shapes(model).graph.value_info
    shapes = {v.name: np.array([d.dim_value for d in v.type.tensor_type.shape.dim]) for v in inferred}
    for node in [node for node in graph.node if node.op_type == "Resize" and len(node.input) > 3]:
        sizes, source = _constant(graph, node.input[3]), shapes.get(node.input[0], np.zeros(1))
        if sizes is None:
            continue
        if source.shape != sizes.shape or not source.all() or (sizes % source).any():
            raise GraphError(f"Resize {node.output[0]} has a size of its own: the input stays as it is")
        scales = (sizes // source).astype(np.float32)
        _replace(node.input, [*node.input[:2], _add_constant(graph, f"{node.output[0]}__scales", scales)])


def _real_inputs(graph: Any) -> list[Any]:
    constants = {i.name for i in graph.initializer}
    return [i for i in graph.input if i.name not in constants]


def _constant(graph: Any, name: str) -> Any:
    """The value of a constant as an array, None for what is worked out."""
    from onnx import numpy_helper

    found = [tensor for tensor in graph.initializer if tensor.name == name]
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            found += [a.t for a in node.attribute if a.name == "value"]
    return numpy_helper.to_array(found[0]) if found else None


def _add_constant(graph: Any, name: str, value: np.ndarray[Any, Any]) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _replace(field: Any, items: list[Any]) -> None:
    del field[:]
    field.extend(items)


RECIPES: dict[str, tuple[Callable[[Any], bool], ...]] = {
    "fold": (fold_constants,),
    "embed": (fold_constants, free_batch_axis),
    "detect": (fold_constants, keep_batch_axis),
}
"""What a network needs by its place: `embed` and `detect` for batches, `fold` where those do not fit."""


def normalises_itself(path: Path) -> bool:
    """insightface's rule: the graph subtracts and multiplies in its first nodes, or begins with bn_data."""
    names = [node.name for node in load_model(path).graph.node[:8]]
    does = [any(n.startswith(words) for n in names) for words in (("Sub", "_minus"), ("Mul", "_mul"))]
    return "bn_data" in names[:3] or all(does)

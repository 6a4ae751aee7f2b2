"""A network in half precision: float16 inside, float32 for whoever feeds and reads it.

ONNX Runtime's own converter (`onnxruntime.transformers.float16`) gives two nodes one name where two Resize
nodes share an input, as they do in SCRFD's files, and leaves the nodes in no order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from face_organizer.errors import PackError

_STAY_FLOAT32 = {"Resize": (1, 2), "Upsample": (1,)}
"""Operator → inputs that ONNX defines as float32 whatever the type of the picture: regions and scales."""


def halve(model: Any) -> bool:
    """Make every float32 inside an onnx.ModelProto a float16, with casts behind inputs and before outputs.

    Numbers keep 11 bits. PackError, the model half changed, where the graph has no form in float16.
    """
    from onnx import TensorProto

    graph = model.graph
    _constants_to_initializers(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sources = {i.name: f"{i.name}__half" for i in graph.input if i.name not in weights and _is_float(i)}
    results = {o.name: f"{o.name}__half" for o in graph.output if _is_float(o)}
    nodes = [_cast(name, half, TensorProto.FLOAT16) for name, half in sources.items()]
    wide: dict[str, Any] = {}
    for node in graph.node:
        _halve_attributes(node)
        for names in (node.input, node.output):
            names[:] = [(sources | results).get(name, name) for name in names]
        for i in _STAY_FLOAT32.get(node.op_type, ()):
            if i < len(node.input) and node.input[i]:
                name, node.input[i] = node.input[i], f"{node.input[i]}__{node.output[0]}"
                if name in weights:
                    wide[node.input[i]] = weights[name]
                else:
                    nodes.append(_cast(name, node.input[i], TensorProto.FLOAT))
        nodes.append(node)
    nodes += [_cast(half, name, TensorProto.FLOAT) for name, half in results.items()]
    tensors = [*map(_half, graph.initializer), *(_named(tensor, name) for name, tensor in wide.items())]
    for field, items in ((graph.node, nodes), (graph.initializer, tensors), (graph.value_info, [])):
        del field[:]
        field.extend(items)
    _check(model)
    return True


def _check(model: Any) -> None:
    """PackError where ONNX Runtime, the only judge, does not take it. A CPU does: it puts casts around."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    # What the first session of a process says here holds for all: see `runtime`.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a class of its own for each of its status codes
        raise _refusal((str(error).strip().splitlines() or [type(error).__name__])[0]) from error


def _refusal(why: str) -> PackError:
    return PackError(f"the network has no form in half precision: {why}; leave out --half")


def _is_float(value: Any) -> bool:
    from onnx import TensorProto

    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT)


def _constants_to_initializers(graph: Any) -> None:
    """One kind of constant is enough for all that follows."""
    left = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            graph.initializer.append(_named(node.attribute[0].t, node.output[0]))
        else:
            left.append(node)
    del graph.node[:]
    graph.node.extend(left)


def _halve_attributes(node: Any) -> None:
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
            raise _refusal(f"{node.op_type} {node.name or node.output[0]} holds a graph of its own")
        if attribute.type == attribute.TENSOR:
            attribute.t.CopyFrom(_half(attribute.t))
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _half(tensor: Any) -> Any:
    """The tensor with float16 in place of float32. PackError where a number is beyond the range."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_type != TensorProto.FLOAT:
        return tensor
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if np.any(np.isinf(halves) & np.isfinite(values)):
        raise _refusal(f"{tensor.name} holds numbers beyond {np.finfo(np.float16).max:,.0f}")
    return numpy_helper.from_array(halves, tensor.name)


def _named(tensor: Any, name: str) -> Any:
    copy = type(tensor)()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _cast(source: str, target: str, kind: int) -> Any:
    from onnx import helper

    return helper.make_node("Cast", [source], [target], f"{target}__cast", to=kind)

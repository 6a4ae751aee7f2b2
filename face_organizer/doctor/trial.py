"""A trial: one framework computes something on one device, in a process of its own, so that a crash or a hang
of a library is a line in the report."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from face_organizer.errors import FaceOrganizerError
from face_organizer.networks import child
from face_organizer.networks.devices import CUDA_PROVIDER, Device
from face_organizer.networks.sessions import open_session
from face_organizer.types import Float32

TOLERANCE = 1e-3  # from numpy's result; values are near 4, and a CPU's differ by 6e-6 or less


def run(framework: str, device: Device, limit: float) -> tuple[str, str]:
    """One trial in a process of at most `limit` seconds: what was done, or else why it failed."""
    try:
        return child.call(TRIALS[framework], device, limit=limit), ""
    except FaceOrganizerError as error:
        # Doctor knows more of the machine, so the general mend of our errors gives way to its own.
        return "", error.why


# --- what runs in the process: each says what was done, where, and the framework's version ---


def sample() -> tuple[Float32, Float32, Float32]:
    """Pictures (2, 3, 32, 32), kernels (8, 3, 3, 3) and their convolution without padding (2, 8, 30, 30)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    w = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    windows = sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    return x, w, np.einsum("nchwij,ocij->nohw", windows, w.astype(np.float64)).astype(np.float32)


def check(result: Any, expected: Float32) -> None:
    """ArithmeticError where the numbers differ."""
    deviation = float(np.abs(np.asarray(result, np.float64) - expected).max())
    if not deviation <= TOLERANCE:  # a NaN is wrong too
        raise ArithmeticError(f"wrong numbers: off by {deviation:.3g} from numpy's result")


def onnxruntime_trial(device: Device) -> str:
    """A convolution through the same sessions as `embed`. DeviceError where it runs elsewhere."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    x, w, expected = sample()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "trial", ends[:1], ends[1:], [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_session(model.SerializeToString(), device, label="a convolution")
    check(session.run({"x": x})[0], expected)
    where = f"{CUDA_PROVIDER}, card {device.index}" if device.kind == "cuda" else "the CPU"
    return f"convolution right on {where}, version {onnxruntime.__version__}"


def tensorflow_trial(device: Device) -> str:
    """A convolution, placed by name, with no other place allowed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A second process on the card must not find its memory taken.
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    import tensorflow as tf

    tf.config.set_soft_device_placement(False)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    x, w, expected = sample()
    with tf.device("/CPU:0" if device.kind == "cpu" else f"/GPU:{device.index}"):
        y = tf.nn.conv2d(x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), strides=1, padding="VALID")
    check(y.numpy().transpose(0, 3, 1, 2), expected)
    return f"convolution right on {y.device.rpartition('device:')[2]}, version {tf.__version__}"


def faiss_trial(device: Device) -> str:
    """A search: the inner products of the best match of each of 16 queries among 512 vectors."""
    import faiss

    rng = np.random.default_rng(0)
    base, queries = (rng.standard_normal((n, 64)).astype(np.float32) for n in (512, 16))
    index: Any = faiss.IndexFlatIP(64)
    if device.kind == "cuda":
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index, index)
    index.add(base)
    found, _ = index.search(queries, 1)
    check(found[:, 0], (queries @ base.T).max(axis=1))
    where = "the CPU" if device.kind == "cpu" else f"GPU {device.index}"
    return f"search right on {where}, version {faiss.__version__}"


TRIALS = {"onnxruntime": onnxruntime_trial, "tensorflow": tensorflow_trial, "faiss": faiss_trial}

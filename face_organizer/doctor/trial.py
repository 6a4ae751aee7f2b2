"""The program of one trial: a real convolution (or search) by one framework on one device, in a process of
its own, so that a crash or a hang of a library is a line in the report. Prints one JSON object.

    python -m face_organizer.doctor.trial onnxruntime|tensorflow|faiss cpu|0|1…
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from face_organizer.errors import FaceOrganizerError
from face_organizer.networks.devices import CUDA_PROVIDER, Device
from face_organizer.networks.sessions import SessionFactory, open_session
from face_organizer.types import Float32

TOLERANCE = 1e-3
"""Largest difference to numpy's result; values are near 4; on the CPU it is 6e-6 or less."""

Result = dict[str, Any]
"""`ran_on` (words), `version` of the framework, `deviation`: the largest difference to numpy's result."""


def sample() -> tuple[Float32, Float32, Float32]:
    """Pictures (2, 3, 32, 32), kernels (8, 3, 3, 3) and their convolution without padding (2, 8, 30, 30)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    w = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    windows = sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, w.astype(np.float64))
    return x, w, y.astype(np.float32)


def onnxruntime_trial(device: Device, session_factory: SessionFactory | None = None) -> Result:
    """Through the same sessions as `embed`. DeviceError where another provider than the asked one runs."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    x, w, expected = sample()
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "trial",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(expected.shape))],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_session(
        model.SerializeToString(), device, label="a convolution", session_factory=session_factory
    )
    result = session.run({"x": x})[0]
    where = f"{CUDA_PROVIDER}, card {device.index}" if device.kind == "cuda" else "the CPU"
    return _result(where, onnxruntime.__version__, result, expected)


def tensorflow_trial(device: Device) -> Result:
    """Placed by name, with no other place allowed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A second process on the card must not find its memory taken.
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    import tensorflow as tf

    cards = len(tf.config.list_physical_devices("GPU"))
    if device.kind == "cuda" and device.index >= cards:
        raise RuntimeError(f"TensorFlow sees {cards} GPUs")
    tf.config.set_soft_device_placement(False)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    x, w, expected = sample()
    with tf.device("/CPU:0" if device.kind == "cpu" else f"/GPU:{device.index}"):
        y = tf.nn.conv2d(x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), strides=1, padding="VALID")
    where = str(y.device).rpartition("device:")[2] or str(y.device)
    return _result(where, tf.__version__, y.numpy().transpose(0, 3, 1, 2), expected)


def faiss_trial(device: Device) -> Result:
    """A search: the inner products of the best match of each of 16 queries among 512 vectors."""
    import faiss

    rng = np.random.default_rng(0)
    base, queries = (rng.standard_normal((n, 64)).astype(np.float32) for n in (512, 16))
    index: Any = faiss.IndexFlatIP(64)
    where = "the CPU"
    if device.kind == "cuda":
        cards = faiss.get_num_gpus()
        if device.index >= cards:
            raise RuntimeError(f"faiss sees {cards} GPUs")
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index, index)
        where = f"GPU {device.index}"
    index.add(base)
    found, _ = index.search(queries, 1)
    return _result(where, faiss.__version__, found[:, 0], (queries @ base.T).max(axis=1))


TRIALS = {"onnxruntime": onnxruntime_trial, "tensorflow": tensorflow_trial, "faiss": faiss_trial}


def _result(where: str, version: str, result: Any, expected: Float32) -> Result:
    deviation = float(np.abs(np.asarray(result, np.float64) - expected).max())
    if not deviation <= TOLERANCE:  # a NaN is wrong too
        raise ArithmeticError(f"wrong numbers: off by {deviation:.3g} from numpy's result")
    return {"ran_on": where, "version": version, "deviation": deviation}


def main(args: list[str]) -> int:
    """Run the trial `args` = [framework, device]; 0 when it ran and its numbers are right."""
    framework, device = args
    try:
        result = TRIALS[framework](Device.parse(device))
    except Exception as error:
        # Doctor knows more of the machine, so the general mend of our errors gives way to its own.
        words = error.why if isinstance(error, FaceOrganizerError) else str(error)
        result = {"why": (words.strip().splitlines() or [type(error).__name__])[0]}
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    return 1 if "why" in result else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

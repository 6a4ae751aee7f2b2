"""A trial: one framework computes something on one device, in a process of its own, so that a crash or a hang
of a library is a line in the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from face_organizer.errors import FaceOrganizerError
from face_organizer.networks.devices import CUDA_PROVIDER, Device
from face_organizer.networks.sessions import open_session
from face_organizer.types import Float32

TOLERANCE = 1e-3
"""Largest difference to numpy's result; values are near 4; on the CPU it is 6e-6 or less."""
_ROOT = str(Path(__file__).resolve().parent.parent.parent)
_CODE = (
    f"import sys; sys.path.append({_ROOT!r}); from face_organizer.doctor.trial import main; "
    "main(*sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Trial:
    """How a trial went; `why` is empty where it ran and its numbers are right."""

    framework: str
    device: Device
    why: str = ""
    ran_on: str = ""
    version: str = ""
    seconds: float = 0.0
    """The process's whole life, imports included."""


def run(framework: str, device: Device, limit: float, command: Sequence[str] = ()) -> Trial:
    """One trial in a process of at most `limit` seconds. Never raises. `command` stands in for the program in
    tests."""
    # -P: a numpy.py in the user's folder is not taken for the library.
    child = [*(command or (sys.executable, "-P", "-c", _CODE)), framework, str(device)]
    start = time.perf_counter()
    try:
        done = subprocess.run(child, capture_output=True, timeout=limit, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Trial(framework, device, f"no answer within {limit:g} s", seconds=limit)
    except OSError as error:
        return Trial(framework, device, f"the trial could not be started: {error.strerror}")
    seconds = time.perf_counter() - start
    if done.returncode < 0:
        return Trial(framework, device, f"killed by {signal.Signals(-done.returncode).name}", seconds=seconds)
    try:  # the last line is the answer; before it, libraries print what they like
        why, ran_on, version = json.loads(_last_line(done.stdout))
    except (ValueError, TypeError):
        why, ran_on, version = _last_line(done.stderr) or f"ended with code {done.returncode}", "", ""
    return Trial(framework, device, why, ran_on, version, seconds)


def _last_line(output: bytes) -> str:
    return (output.decode("utf-8", "replace").strip().splitlines() or [""])[-1].strip()


# --- what runs in the process ---


def main(framework: str, device: str) -> None:
    """Run one trial and print the answer, a JSON list of `why`, `ran_on` and `version`."""
    try:
        answer = ["", *TRIALS[framework](Device.parse(device))]
    except Exception as error:
        # Doctor knows more of the machine, so the general mend of our errors gives way to its own.
        words = error.why if isinstance(error, FaceOrganizerError) else str(error)
        answer = [(words.strip().splitlines() or [type(error).__name__])[0], "", ""]
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def sample() -> tuple[Float32, Float32, Float32]:
    """Pictures (2, 3, 32, 32), kernels (8, 3, 3, 3) and their convolution without padding (2, 8, 30, 30)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    w = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    windows = sliding_window_view(x.astype(np.float64), (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, w.astype(np.float64))
    return x, w, y.astype(np.float32)


def check(result: Any, expected: Float32) -> None:
    """ArithmeticError where the numbers differ."""
    deviation = float(np.abs(np.asarray(result, np.float64) - expected).max())
    if not deviation <= TOLERANCE:  # a NaN is wrong too
        raise ArithmeticError(f"wrong numbers: off by {deviation:.3g} from numpy's result")


def onnxruntime_trial(device: Device) -> tuple[str, str]:
    """A convolution through the same sessions as `embed`: where it ran, and the version. DeviceError where
    another provider than the asked one runs."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    x, w, expected = sample()
    sides = [("x", x), ("y", expected)]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(v.shape)) for name, v in sides]
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "trial", tensors[:1], tensors[1:], [numpy_helper.from_array(w, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content = model.SerializeToString()
    session = open_session(content, device, label="a convolution")
    check(session.run({"x": x})[0], expected)
    where = f"{CUDA_PROVIDER}, card {device.index}" if device.kind == "cuda" else "the CPU"
    return where, onnxruntime.__version__


def tensorflow_trial(device: Device) -> tuple[str, str]:
    """A convolution, placed by name, with no other place allowed."""
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
    check(y.numpy().transpose(0, 3, 1, 2), expected)
    return str(y.device).rpartition("device:")[2] or str(y.device), tf.__version__


def faiss_trial(device: Device) -> tuple[str, str]:
    """A search: the inner products of the best match of each of 16 queries among 512 vectors."""
    import faiss

    rng = np.random.default_rng(0)
    base, queries = (rng.standard_normal((n, 64)).astype(np.float32) for n in (512, 16))
    index: Any = faiss.IndexFlatIP(64)
    if device.kind == "cuda":
        cards = faiss.get_num_gpus()
        if device.index >= cards:
            raise RuntimeError(f"FAISS sees {cards} GPUs")
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index, index)
    index.add(base)
    found, _ = index.search(queries, 1)
    check(found[:, 0], (queries @ base.T).max(axis=1))
    return "the CPU" if device.kind == "cpu" else f"GPU {device.index}", faiss.__version__


TRIALS = {"onnxruntime": onnxruntime_trial, "tensorflow": tensorflow_trial, "faiss": faiss_trial}

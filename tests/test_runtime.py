"""Sessions: the device asked for is the device used. Needs no GPU: a factory stands in for ONNX Runtime."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from face_organizer.errors import DeviceError, FaceOrganizerError, OutOfMemoryError, PackError, UsageError
from face_organizer.networks import sessions
from face_organizer.networks.devices import CPU, CudaOptions, Device, auto_devices, cuda_devices
from face_organizer.networks.sessions import Session, open_session, planes


def open_with(stand_in: Callable[..., Any], model: Path | bytes, device: Device, **options: Any) -> Session:
    """A session that `stand_in` makes in place of ONNX Runtime."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sessions, "_onnxruntime_session", stand_in)
        return open_session(model, device, **options)


def doubling_model() -> bytes:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class Factory:
    """Makes sessions that say they run on `provider`, and keeps what it was asked for."""

    def __init__(self, provider: str | None, error: Exception | None = None) -> None:
        self.provider, self.error = provider, error

    def __call__(self, model: Any, threads: int, providers: list[Any]) -> Any:
        self.model, self.threads, self.asked = model, threads, providers
        if self.error:
            raise self.error
        io = [SimpleNamespace(name="x", shape=["N", 2])]
        running = [self.provider] if self.provider else []
        return SimpleNamespace(get_providers=lambda: running, get_inputs=lambda: io, get_outputs=lambda: io)


@pytest.mark.parametrize(
    ("text", "device"), [("cpu", CPU), ("CPU", CPU), ("0", Device("cuda", 0)), (" 3 ", Device("cuda", 3))]
)
def test_parse(text: str, device: Device) -> None:
    assert Device.parse(text) == device
    assert Device.parse(str(device)) == device


@pytest.mark.parametrize("text", ["", "gpu", "-1", "0,1", "cuda:0", "1.0", "²"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UsageError):
        Device.parse(text)


def test_runs_on_cpu() -> None:
    session = open_session(doubling_model(), CPU)
    assert (session.inputs, session.outputs, session.input_shape) == (["x"], ["y"], ("N", 2))
    assert np.array_equal(session.run({"x": np.ones((3, 2), np.float32)})[0], np.full((3, 2), 2.0))


def test_denormal_numbers_are_taken_for_zero_in_threads_too() -> None:
    """They cost Intel processors a hundred cycles each. The first session decides: hence a new process."""
    code = """
import sys, threading
import numpy as np
from face_organizer.networks.devices import CPU
from face_organizer.networks.sessions import open_session

session = open_session(sys.stdin.buffer.read(), CPU)
tiny = np.full((1, 2), 1e-40, np.float32)
thread = threading.Thread(target=lambda: print(session.run({"x": tiny})[0].tolist()))
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=doubling_model(), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "[[0.0, 0.0]]"


def test_one_session_many_threads() -> None:
    session = open_session(doubling_model(), CPU)
    feeds = [np.full((5, 2), i, np.float32) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda x: session.run({"x": x})[0], feeds))
    assert all(np.array_equal(r, 2 * x) for r, x in zip(results, feeds, strict=True))


def test_cuda_is_asked_for_by_number() -> None:
    factory = Factory("CUDAExecutionProvider")
    options = CudaOptions(memory_limit=1)
    session = open_with(factory, b"", Device("cuda", 1), cuda=options)
    name, options = factory.asked[0]
    assert name == "CUDAExecutionProvider"
    assert options["device_id"] == "1"
    assert options["gpu_mem_limit"] == "1"
    assert options["use_tf32"] == "0"
    assert factory.threads == 1
    assert str(session.device) == "1"


@pytest.mark.parametrize("running", ["CPUExecutionProvider", "TensorrtExecutionProvider", None])
def test_a_fall_back_is_an_error(running: str | None) -> None:
    with pytest.raises(DeviceError, match="asked for") as caught:
        open_with(Factory(running), Path("w600k.onnx"), Device("cuda", 0))
    assert caught.value.exit_code == 4
    assert "w600k.onnx" in str(caught.value)
    assert "--device cpu" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cpu_session_that_runs_elsewhere_is_an_error() -> None:
    with pytest.raises(DeviceError):
        open_with(Factory("CUDAExecutionProvider"), b"", CPU)


def test_a_card_that_fails_is_a_device_error_in_one_line() -> None:
    factory = Factory(None, RuntimeError("CUDA failure 101: invalid device ordinal\nmore\nand more"))
    with pytest.raises(DeviceError, match="invalid device ordinal") as caught:
        open_with(factory, b"", Device("cuda", 9))
    assert "\n" not in str(caught.value)


def test_this_machine_without_cuda_refuses_it() -> None:
    if cuda_devices():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(DeviceError):
        open_session(doubling_model(), Device("cuda", 0))


def test_a_broken_model_is_a_pack_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(doubling_model()[:20])
    with pytest.raises(PackError, match=r"broken\.onnx"):
        open_session(broken, CPU)
    with pytest.raises(PackError, match="absent"):
        open_session(tmp_path / "absent.onnx", CPU)


def test_a_card_that_fails_when_it_runs_is_a_device_error() -> None:
    """As a Pascal does with a cuDNN that holds no code for it: sessions open, and fail."""

    class NoKernel(_Card):
        def run(self, names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED; no kernel image is available\nand more")

    session = open_with(lambda *_: NoKernel(most=9), b"", Device("cuda", 0))
    with pytest.raises(DeviceError, match="no kernel image is available; check that nvidia-smi") as caught:
        session.run({"x": np.ones((1, 3), np.float32)})
    assert caught.value.exit_code == 4


def test_a_failing_run_is_one_line() -> None:
    session = open_session(doubling_model(), CPU, label="double.onnx")
    with pytest.raises(FaceOrganizerError, match=r"double\.onnx failed on device cpu"):
        session.run({"x": np.ones((1, 3), np.float32)})


@pytest.mark.parametrize(
    ("providers", "cards", "devices", "word"),
    [
        (
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
            2,
            [Device("cuda", 0), Device("cuda", 1)],
            "2 CUDA",
        ),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], 0, [CPU], "no CUDA device"),
        (["CPUExecutionProvider"], 1, [CPU], "no CUDA in it"),
        (["CPUExecutionProvider"], 0, [CPU], "no CUDA device"),
    ],
)
def test_auto(
    providers: list[str], cards: int, devices: list[Device], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("face_organizer.networks.devices.cuda_devices", lambda: cards)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: providers)
    chosen, why = auto_devices()
    assert chosen == devices
    assert word in why


@pytest.mark.parametrize(
    ("mean", "std", "bgr"), [(0.0, 1.0, True), (127.5, 128.0, False), (127.5, 127.5, False)]
)
def test_planes(mean: float, std: float, bgr: bool) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 64, 3), dtype=np.uint8)
    expected = (pictures[..., ::-1] if bgr else pictures).transpose(0, 3, 1, 2).astype(np.float64)
    blob = planes(pictures, mean=mean, std=std, bgr=bgr)
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous
    np.testing.assert_allclose(blob, (expected - mean) / std, rtol=3e-7, atol=1e-9)


class _Card:
    """Stands in for ONNX Runtime on a card whose memory does for `most` rows: it doubles what it is given."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.batches: list[int] = []

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="x", shape=["N", 3])]

    get_outputs = get_inputs

    def run(self, names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        rows = feeds["x"]
        if len(rows) > self.most:
            raise RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer")
        self.batches.append(len(rows))
        return [rows * 2]


def test_out_of_memory_halves_the_batch_and_says_so_once() -> None:
    card = _Card(most=3)
    session = open_with(lambda *_: card, b"", Device("cuda", 0))
    blob = np.arange(60, dtype=np.uint8).reshape(20, 3)
    for _ in range(2):
        outputs = np.concatenate([run[0] for run in session.run_batches(blob, 0, np.float32)])
        assert np.array_equal(outputs, blob * np.float32(2))
    assert max(card.batches) == 2
    assert session.notes == [
        "device 0: out of memory with 20 at once, going on with 10",
        "device 0: out of memory with 10 at once, going on with 5",
        "device 0: out of memory with 5 at once, going on with 2",
    ]


def test_out_of_memory_with_one_row_is_a_device_error() -> None:
    session = open_with(lambda *_: _Card(most=0), b"", Device("cuda", 0))
    with pytest.raises(OutOfMemoryError, match=r"device 0.*free its memory") as caught:
        session.run_batches(np.ones((4, 3), np.uint8), 0, np.float32)
    assert caught.value.exit_code == 4


def test_cuda_options_travel_to_processes() -> None:
    assert pickle.loads(pickle.dumps(CudaOptions(1))) == CudaOptions(1)


@pytest.mark.parametrize("memory", [2_000_000_000, None])
def test_what_cuda_is_asked_for(memory: int | None) -> None:
    cuda, card = CudaOptions(memory_limit=memory), Device("cuda", 1)
    factory = Factory("CUDAExecutionProvider")
    open_with(factory, b"", card, cuda=cuda)
    (name, options), last = factory.asked
    assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {
        "device_id": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
        **({} if memory is None else {"gpu_mem_limit": str(memory)}),
    }
    assert cuda.providers(CPU) == ["CPUExecutionProvider"]


MEMORY = [
    "BFCArena::AllocateRawInternal Available memory of 16 is smaller than requested bytes of 32",
    "Failed to allocate memory for requested buffer of size 100",
    "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
    "CUDA failure 2: out of memory ; GPU=0",
]


@pytest.mark.parametrize("words", MEMORY)
def test_words_for_want_of_memory(words: str) -> None:
    with pytest.raises(OutOfMemoryError, match="--gpu-memory") as caught:
        open_with(Factory(None, RuntimeError(words)), b"", Device("cuda", 0))
    assert caught.value.exit_code == 4
    card = _Card(most=0)
    session = open_with(lambda *_: card, b"", Device("cuda", 0))

    def fail(*_: Any) -> None:
        raise RuntimeError(words)

    card.run = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(OutOfMemoryError, match="--gpu-memory"):
        session.run({"x": np.ones((1, 3), np.float32)})

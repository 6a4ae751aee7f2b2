"""ONNX Runtime sessions: the device that was asked for is the device that runs, or `DeviceError`.

ONNX Runtime lists CUDA on machines that have no driver and then falls back to the CPU with no more than a
warning, so what counts is what a session says *after* it was made.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import DeviceError, FaceOrganizerError, OutOfMemoryError, PackError
from face_organizer.networks.child import first_line
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.types import Float32, Image

_MODEL_FAULTS = "Invalid(Protobuf|Graph|Argument)|NoSuchFile|NoModel|NotImplemented"
"""Exceptions of ONNX Runtime that are the file's fault, not the card's."""
_MEND = (
    "check that nvidia-smi lists the card, that onnxruntime-gpu with its CUDA and cuDNN wheels is installed "
    "(plain onnxruntime beside it hides CUDA), or use --device cpu"
)
_MEMORY_MEND = {
    "cpu": "free its memory or use fewer --workers",
    "cuda": "free its memory, raise --gpu-memory where that is set, or use fewer --workers",
}


class Session:
    """One network on one device. `run` may be called from several threads at once."""

    def __init__(self, raw: Any, device: Device, label: str) -> None:
        self._raw, self._label, self.device = raw, label, device
        self.inputs: list[str] = [i.name for i in raw.get_inputs()]
        self.outputs: list[str] = [o.name for o in raw.get_outputs()]
        self.input_shape: tuple[int | str | None, ...] = tuple(raw.get_inputs()[0].shape)
        """Of the first input, `output_shape` of the first output; a word or None: a free axis."""
        self.output_shape: tuple[int | str | None, ...] = tuple(raw.get_outputs()[0].shape)
        self.notes: list[str] = []
        """What a user should know of how it ran."""
        self._most = 1 << 30

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """All outputs, in the order of `outputs`. OutOfMemoryError; where the runtime fails, DeviceError on a
        card, FaceOrganizerError on the CPU."""
        try:
            return list(self._raw.run(None, dict(feeds)))
        except Exception as error:
            raise _failure(f"{self._label} failed on device {self.device}", self.device, error) from error

    def run_batches(
        self, pictures: Image, at_once: int, prepare: Callable[[Image], Float32]
    ) -> list[list[np.ndarray[Any, Any]]]:
        """The outputs for each batch of `pictures` (N, …), at most `at_once` in a batch (0: all). `prepare`
        makes of a batch what the network reads, just before it runs: it is still in the cache.

        Where the device has too little memory for a batch, they are half as large from then on, and `notes`
        says so. OutOfMemoryError where there is too little for one row.
        """
        results: list[list[np.ndarray[Any, Any]]] = []
        start = 0
        while start < len(pictures):
            step = min(at_once or len(pictures), self._most, len(pictures) - start)
            try:
                results.append(self.run({self.inputs[0]: prepare(pictures[start : start + step])}))
                start += step
            except OutOfMemoryError:
                if step == 1:
                    raise
                self._most = step // 2
                note = f"device {self.device}: out of memory with {step} at once, going on with {self._most}"
                self.notes.append(note)
        return results


def open_session(
    model: Path | bytes,
    device: Device,
    *,
    threads: int = 1,
    label: str = "",
    cuda: CudaOptions = CUDA_DEFAULTS,
) -> Session:
    """A session for `model` (a file, or its bytes) that runs on `device`. `threads` is the number of CPU
    threads inside one operator; `label` names the model in errors.

    Errors: DeviceError where another provider than the one asked for would run; PackError where the
    model itself cannot be loaded.
    """
    name = model.name if isinstance(model, Path) else "the model"
    source, label = str(model) if isinstance(model, Path) else model, label or name
    providers = cuda.providers(device)
    wanted = providers[0] if device.kind == "cpu" else providers[0][0]
    try:
        raw = _onnxruntime_session(source, threads, providers)
    except Exception as error:
        if device.kind == "cpu" or re.fullmatch(_MODEL_FAULTS, type(error).__name__):
            mend = f"fetch the pack again; if it is whole, delete {name} in the cache's folder graphs"
            raise PackError(f"{label} cannot be loaded: {first_line(error)}", mend) from error
        raise _failure(f"{label} cannot run on CUDA device {device}", device, error) from error
    running = [*raw.get_providers(), "nothing"][0]
    if running != wanted:
        raise DeviceError(
            f"device {device} was asked for, but ONNX Runtime runs {label} on {running}",
            "reinstall onnxruntime" if device.kind == "cpu" else _MEND,
        )
    return Session(raw, device, label)


def _failure(what: str, device: Device, error: Exception) -> FaceOrganizerError:
    """What an exception of ONNX Runtime means."""
    why = f"{what}: {first_line(error)}"
    if is_memory(str(error)):
        return OutOfMemoryError(why, _MEMORY_MEND[device.kind])
    return DeviceError(why, _MEND) if device.kind == "cuda" else FaceOrganizerError(why)


def is_memory(why: str) -> bool:
    """Whether these are words of a framework for want of a device's memory."""
    # The second is the arena's, at its limit; the third cuDNN's and cuBLAS's.
    words = "failed to allocate|available memory of|alloc_failed|out.of.memory|memory allocation|bad.alloc"
    return re.search(words, why, re.IGNORECASE) is not None


def _onnxruntime_session(model: str | bytes, threads: int, providers: list[Any]) -> Any:
    import onnxruntime as ort

    if len(providers) > 1 and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN, from pip's wheels, where the system's loader does not look
    options = ort.SessionOptions()
    # Each thread of `embed` runs its own batch, so that no core waits at the end of an operator;
    # an idle one sleeps instead of spinning on a core that another needs.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Numbers below 1e-38 cost Intel processors a hundred cycles each, and trained weights make thousands of
    # them: MobileFaceNet takes 5 ms a face with them taken for 0, 56 without, and gives the same bits.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.log_severity_level = 3  # errors only
    with warnings.catch_warnings():
        # It warns of a provider that it has not: `open_session` makes that an error, in one line.
        warnings.simplefilter("ignore")
        # Without the Python wrapper's own fall-back, so that the reason of a failure reaches the user.
        return ort.InferenceSession(model, options, providers=providers, enable_fallback=0)


def planes(pictures: Image, *, mean: float = 0.0, std: float = 1.0, bgr: bool = False) -> Float32:
    """What a network reads: (N, H, W, 3) uint8 RGB → (N, 3, H, W) float32 of (value − mean) / std.

    `bgr` turns the order of the channels. Written straight into one array, picture by picture (so that a
    picture stays in the cache between the two passes): 0.1 ms at 320×320, a ninth of cv2.dnn.blobFromImages.
    """
    count, height, width, _ = pictures.shape
    blob = np.empty((count, 3, height, width), np.float32)
    for target, picture in zip(blob, pictures, strict=True):
        source = picture[..., :: -1 if bgr else 1].transpose(2, 0, 1)
        if mean:
            np.subtract(source, np.float32(mean), out=target, dtype=np.float32)
        else:
            np.copyto(target, source)
        if std != 1.0:
            target *= np.float32(1.0 / std)
    return blob

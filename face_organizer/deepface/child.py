"""The process that DeepFace lives in: crops or pictures come in by a pipe, what it says of them goes out.

Nothing else of this program imports DeepFace or TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from face_organizer.networks.nvidia import visible_name
from face_organizer.types import Float32, Image

BATCH = 16
"""Faces that a network gets at once. On a CPU more win little and cost memory: 13 MB a face in the first
layer alone."""


@dataclass(frozen=True, slots=True)
class Setup:
    """`engine` is `tensorflow` or `onnx`, `device` is `cpu` or the number of a CUDA card; `networks` are to
    be loaded, or else the one `detector`."""

    engine: str
    device: str
    networks: tuple[str, ...] = ()
    detector: str = ""

    @property
    def compiles(self) -> bool:
        """Whether networks are compiled as a whole, for one size of batch: half as fast again on a CPU."""
        return self.engine == "tensorflow" and self.device == "cpu"


@dataclass(frozen=True, slots=True)
class Failed:
    """Why it cannot go on; `kind` is `device`, `files` or `fault`."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Area:
    """A face by a detector of DeepFace: box and eyes (the viewer's left one first) in pixels; eyes None where
    it finds none."""

    box: tuple[float, float, float, float]
    eyes: tuple[tuple[float, float], tuple[float, float]] | None
    score: float


class _DeviceMissingError(Exception):
    pass


def serve(pipe: Connection, setup: Setup) -> None:
    """Body of the process: load, say so with True, then answer until the pipe closes.

    With networks, {network: outputs} to each (n, 224, 224, 3) uint8 RGB batch of crops; with a detector, a
    list of `Area` to each (h, w, 3) uint8 RGB picture.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # TensorFlow writes past sys.stderr
        os.dup2(silence, stream)
    os.environ.update(environment(setup))
    try:
        answer = _open(setup)
        _check_device(setup)
    except _DeviceMissingError as error:
        _tell(pipe, Failed(str(error), "device"))
        return
    except Exception as error:  # DeepFace raises ValueError for everything, Keras what it likes
        what = f"detector {setup.detector}" if setup.detector else "networks"
        _tell(pipe, Failed(f"DeepFace cannot load its {what}: {_line(error)}", "files"))
        return
    with contextlib.suppress(EOFError, OSError):
        pipe.send(True)
        while True:
            message = pipe.recv()
            try:
                said: Any = answer(message)
            except Exception:
                said = Failed(f"DeepFace failed; please report this:\n{traceback.format_exc()}", "fault")
            pipe.send(said)


def _line(error: BaseException) -> str:
    while error.__cause__ is not None and isinstance(error.__cause__, FileNotFoundError):
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def environment(setup: Setup) -> dict[str, str]:
    """Variables that TensorFlow, ONNX Runtime and DeepFace read when they are loaded."""
    variables = {
        "DEEPFACE_BACKEND_ENGINE": setup.engine,
        "TF_USE_LEGACY_KERAS": "1",  # as importing DeepFace as a whole sets it
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # The embedder's ONNX Runtime may be on the same card: take what is needed, not all there is.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "CUDA_VISIBLE_DEVICES": "-1",
        "DEEPFACE_ONNX_PROVIDERS": "cpu",
    }
    if setup.device != "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = visible_name(int(setup.device))
        variables["DEEPFACE_ONNX_PROVIDERS"] = "cuda,cpu"
    return variables


def _open(setup: Setup) -> Callable[[Any], Any]:
    _stay_offline()
    if setup.detector:
        return _detector(setup.detector)
    predict = {name: _network(name, setup) for name in setup.networks}
    fixed = BATCH if setup.compiles else 0
    return lambda crops: answers(predict, crops, fixed)


def _stay_offline() -> None:
    """Make DeepFace say which weights are missing instead of downloading them unasked."""
    import gdown
    from deepface.commons import folder_utils, weight_utils

    def there(file_name: str, *_: Any, **__: Any) -> str:
        folder = os.path.join(folder_utils.get_deepface_home(), ".deepface", "weights")
        path = os.path.join(folder, file_name)
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{file_name} is not in {folder}; put it there, or set DEEPFACE_HOME to where it is"
            )
        return path

    def refused(*arguments: Any, **named: Any) -> None:
        wanted = named.get("output") or (arguments[1] if len(arguments) > 1 else "its weights")
        raise FileNotFoundError(f"{wanted} is not there; nothing is downloaded unasked")

    weight_utils.download_weights_if_necessary = there
    gdown.download = refused


def _network(name: str, setup: Setup) -> Callable[[list[Float32]], Any]:
    """`predict` of DeepFace's network of that name, its weights loaded; (n, classes), or (n,) ages."""
    from deepface.modules import modeling

    client = modeling.build_model("facial_attribute", name)
    if setup.compiles:
        client.model.compile(jit_compile=True)
    return client.predict  # type: ignore[no-any-return]


def _detector(name: str) -> Callable[[Image], list[Area]]:
    from deepface.modules import detection, modeling

    known = modeling.AVAILABLE_MODELS["face_detector"]
    if name not in known:
        raise ValueError(f"there is none of that name; there are {', '.join(known)}")
    modeling.build_model("face_detector", name)

    def detect(picture: Image) -> list[Area]:
        found = detection.detect_faces(name, np.ascontiguousarray(picture[..., ::-1]))
        return [_area(face.facial_area) for face in found]

    return detect


def _area(area: Any) -> Area:
    box = (float(area.x), float(area.y), float(area.x + area.w), float(area.y + area.h))
    eyes = None
    if area.left_eye is not None and area.right_eye is not None:  # the person's own left and right
        (x1, y1), (x2, y2) = area.right_eye[:2], area.left_eye[:2]
        eyes = ((float(x1), float(y1)), (float(x2), float(y2)))
    return Area(box, eyes, float(area.confidence or 0))


def _check_device(setup: Setup) -> None:
    """Raise unless the card that was asked for is the one that runs."""
    if setup.device == "cpu" or not setup.networks:
        return
    if setup.engine == "tensorflow":
        import tensorflow as tf

        there = bool(tf.config.list_physical_devices("GPU"))
    else:
        from deepface.modules import modeling

        session = modeling.build_model("facial_attribute", setup.networks[0]).model
        there = session.get_providers()[0] == "CUDAExecutionProvider"
    if not there:
        raise _DeviceMissingError(
            f"device {setup.device} was asked for, but DeepFace ({setup.engine}) sees no CUDA card; run "
            "`face-organizer doctor`, or use --device cpu"
        )


def answers(
    predict: dict[str, Callable[[list[Float32]], Any]], crops: Image, fixed: int = 0
) -> dict[str, Any]:
    """Each network's outputs for (n, 224, 224, 3) RGB `crops`: (n, classes), of Age (n, 1).

    DeepFace's networks read BGR in [0, 1] (`modules/demography.py`). Batches are filled up to `fixed` faces
    with black ones, whose answers are dropped: a network is compiled anew for every size that it meets.
    """
    count = len(crops)
    batch = np.zeros((max(count, fixed), *crops.shape[1:]), np.float32)
    np.divide(crops[..., ::-1], 255, out=batch[:count], dtype=np.float32)
    # Of a single face, `predict` drops the first axis.
    return {name: np.reshape(run(list(batch)), (len(batch), -1))[:count] for name, run in predict.items()}


def _tell(pipe: Connection, failed: Failed) -> None:
    with contextlib.suppress(OSError):
        pipe.send(failed)

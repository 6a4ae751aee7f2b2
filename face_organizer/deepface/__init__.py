"""DeepFace, with TensorFlow, which nothing else of this program imports: `networks.child.Child` runs
`open_networks` or `open_detector` in a process of its own. Both raise `ModelMissingError` for packages,
`PackError` for weights, `DeviceError`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from face_organizer.errors import DeviceError, ModelMissingError, PackError
from face_organizer.geometry import align
from face_organizer.networks.child import first_line
from face_organizer.networks.devices import Device
from face_organizer.networks.nvidia import visible_name
from face_organizer.types import Float32, Image

__all__ = ["BATCH", "Area", "engine", "open_detector", "open_networks", "ran_on", "weights_folder"]

BATCH = 16
"""Faces that a network gets at once. On a CPU more win little and cost memory, 13 MB per face."""
ENGINES = ("tensorflow", "onnx")
_OFFLINE = "nothing is downloaded unasked"


class Area(NamedTuple):
    """A face: x1, y1, x2, y2 in pixels; (5, 2) landmarks as in `types.Faces`, nose and mouth placed by the
    eyes where a detector finds these alone, None where it finds none; score, 0 to 1, or None."""

    box: tuple[float, float, float, float]
    landmarks: Float32 | None
    score: float | None


def weights_folder() -> Path:
    """Where DeepFace keeps its weights: `.deepface/weights` in $DEEPFACE_HOME, else in the home folder."""
    return Path(os.environ.get("DEEPFACE_HOME") or Path.home()) / ".deepface" / "weights"


def engine() -> str:
    """The engine that DeepFace runs on: $DEEPFACE_BACKEND_ENGINE, else TensorFlow where it is, else ONNX.
    Raises `ModelMissingError` where it, or DeepFace, is not installed."""
    if importlib.util.find_spec("deepface") is None:
        mend = "make setup PROFILE=cpu-tf (or gpu, gpu-pascal) installs it"
        raise ModelMissingError("DeepFace is not installed", mend)
    tensorflow = importlib.util.find_spec("tensorflow") is not None
    chosen = os.environ.get("DEEPFACE_BACKEND_ENGINE", "").strip().lower() or ENGINES[not tensorflow]
    if chosen not in ENGINES[not tensorflow :]:
        why = f"DEEPFACE_BACKEND_ENGINE={chosen}: DeepFace runs here on {' or '.join(ENGINES)} only"
        raise ModelMissingError(why, "" if tensorflow else "TensorFlow is not installed (PROFILE=cpu-tf)")
    return chosen


# --- in the process: importing DeepFace makes folders, silences warnings, and takes a card for TensorFlow ---


def environment(device: Device, chosen: str) -> dict[str, str]:
    """Variables that TensorFlow, ONNX Runtime and DeepFace read when they load; `chosen` is the engine."""
    card = device.kind == "cuda"
    return {
        "DEEPFACE_BACKEND_ENGINE": chosen,
        "DEEPFACE_ONNX_PROVIDERS": "cuda,cpu" if card else "cpu",
        "TF_USE_LEGACY_KERAS": "1",  # as importing DeepFace as a whole sets it
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the embedder may be on the same card
        "CUDA_VISIBLE_DEVICES": visible_name(device.index) if card else "-1",
    }


def open_networks(device: Device, names: Sequence[str]) -> Callable[[Image], dict[str, Any]]:
    """A function from (n, 224, 224, 3) uint8 RGB crops to the outputs of the attribute networks `names`
    (`Gender`, `Age`, `Emotion`, `Race`); see `answers`."""
    chosen = engine()
    os.environ.update(environment(device, chosen))
    _stay_offline()
    # Networks are compiled as a whole, for one size of batch: half as fast again on a CPU.
    compiles = chosen == "tensorflow" and device.kind == "cpu"

    def load() -> Any:
        from deepface.modules import modeling

        clients = {name: modeling.build_model("facial_attribute", name) for name in names}
        for client in clients.values() if compiles else ():
            client.model.compile(jit_compile=True)
        return clients

    clients = _loaded("networks", load)
    if device.kind == "cuda":
        if chosen == "onnx":
            there = clients[names[0]].model.get_providers()[0] == "CUDAExecutionProvider"
        else:
            there = bool(sys.modules["tensorflow"].config.list_physical_devices("GPU"))
        if not there:
            why = f"device {device} was asked for, but DeepFace ({chosen}) sees no CUDA card"
            raise DeviceError(why, "run `face-organizer doctor`, or use --device cpu")
    predict = {name: client.predict for name, client in clients.items()}
    return lambda crops: answers(predict, crops, BATCH if compiles else 0)


def answers(
    predict: dict[str, Callable[[list[Float32]], Any]], crops: Image, fixed: int = 0
) -> dict[str, Any]:
    """Each network's outputs for (n, 224, 224, 3) RGB `crops`: (n, classes), of Age (n, 1). They read BGR in
    [0, 1] (`modules/demography.py`). Batches are filled up to `fixed` faces with black ones, whose answers
    are dropped: a network is compiled anew for every size that it meets."""
    count = len(crops)
    batch = np.zeros((max(count, fixed), *crops.shape[1:]), np.float32)
    np.divide(crops[..., ::-1], 255, out=batch[:count], dtype=np.float32)
    # Of a single face, `predict` drops the first axis.
    return {name: np.reshape(run(list(batch)), (len(batch), -1))[:count] for name, run in predict.items()}


def open_detector(name: str, device: Device, downloads: bool = False) -> Callable[[Image], list[Area]]:
    """A function from an (h, w, 3) uint8 RGB picture to its faces by DeepFace's detector `name` (`opencv`,
    `ssd`, `mtcnn`, `retinaface` …), as DeepFace calls it, with half a picture of border. `downloads` lets
    DeepFace fetch its weights."""
    os.environ.update(environment(device, engine()))
    if not downloads:
        _stay_offline()

    def load() -> Any:
        from deepface.modules import detection, modeling

        known = modeling.AVAILABLE_MODELS["face_detector"]
        if name not in known:
            raise ValueError(f"there is none of that name; there are {', '.join(known)}")
        modeling.build_model("face_detector", name)
        return detection.detect_faces

    detect = _loaded(f"detector {name}", load)

    def find(picture: Image) -> list[Area]:
        found = [face.facial_area for face in detect(name, np.ascontiguousarray(picture[..., ::-1]))]
        return [area_of(area) for area in found if area.w > 0 and area.h > 0]

    return find


def area_of(area: Any) -> Area:
    """DeepFace's `FacialAreaRegion` as an `Area`. DeepFace's left is the person's; ours the viewer's."""
    points = [area.right_eye, area.left_eye, area.nose, area.mouth_right, area.mouth_left]
    points = [point and point[:2] for point in points]
    landmarks = None
    if points[0] and points[1] and np.hypot(*np.subtract(points[0], points[1])) >= 1:
        five = np.array(points, np.float64) if all(points) else align.about_eyes(np.array(points[:2]))
        landmarks = five.astype(np.float32)
    score = None if area.confidence is None else float(np.clip(area.confidence, 0, 1))
    box = (float(area.x), float(area.y), float(area.x + area.w), float(area.y + area.h))
    return Area(box, landmarks, score)


def ran_on() -> str:
    """What ran in this process, after it ran: `cuda:0` only where a framework has taken memory of a card."""
    tensorflow, torch, taken = sys.modules.get("tensorflow"), sys.modules.get("torch"), 0
    if tensorflow is not None and tensorflow.config.list_logical_devices("GPU"):
        taken = tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]
    elif torch is not None and torch.cuda.is_available():
        taken = torch.cuda.max_memory_allocated()
    return "cuda:0" if taken else "cpu"


def _loaded(what: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # DeepFace raises ValueError for everything, Keras what it likes
        cause: BaseException | None = error
        while cause and str(cause) != _OFFLINE:
            cause = cause.__cause__ or cause.__context__
        mend = f"{_OFFLINE}: put it into {weights_folder()}, or set DEEPFACE_HOME to where it is"
        why = f"DeepFace cannot load its {what}: {first_line(error)}"
        raise PackError(why, mend if cause else "") from error


def _stay_offline() -> None:
    """Refuse, for the rest of this process, every connection to elsewhere, whichever library asks for it."""

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo"):
            raise PackError(_OFFLINE)

    sys.addaudithook(refuse)

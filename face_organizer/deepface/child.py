"""What runs in DeepFace's process. Importing DeepFace makes folders, silences warnings and loads TensorFlow,
which would share a card with ONNX Runtime."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from face_organizer.deepface import BATCH, Area, engine, weights_folder
from face_organizer.errors import DeviceError, PackError
from face_organizer.geometry import align
from face_organizer.networks.child import first_line
from face_organizer.networks.devices import Device
from face_organizer.networks.nvidia import visible_name
from face_organizer.types import Float32, Image

_OFFLINE = "nothing is downloaded unasked"


def environment(device: Device, chosen: str) -> dict[str, str]:
    """Variables that TensorFlow, ONNX Runtime and DeepFace read when they load; `chosen` is the engine."""
    card = device.kind == "cuda"
    return {
        "DEEPFACE_BACKEND_ENGINE": chosen,
        "DEEPFACE_ONNX_PROVIDERS": "cuda,cpu" if card else "cpu",
        "TF_USE_LEGACY_KERAS": "1",  # as importing DeepFace as a whole sets it
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # The embedder's ONNX Runtime may be on the same card: take what is needed, not all there is.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "CUDA_VISIBLE_DEVICES": visible_name(device.index) if card else "-1",
    }


def open_networks(device: Device, chosen: str, names: Sequence[str]) -> Callable[[Image], dict[str, Any]]:
    """A function from (n, 224, 224, 3) uint8 RGB crops to the outputs of each network; see `answers`."""
    os.environ.update(environment(device, chosen))
    _stay_offline()
    # Networks are compiled as a whole, for one size of batch: half as fast again on a CPU.
    compiles = chosen == "tensorflow" and device.kind == "cpu"

    def network(name: str) -> Any:
        from deepface.modules import modeling

        client = modeling.build_model("facial_attribute", name)
        if compiles:
            client.model.compile(jit_compile=True)
        return client

    clients = {name: _loaded("networks", partial(network, name)) for name in names}
    if device.kind == "cuda":
        _check_card(device, chosen, next(iter(clients.values())))
    predict = {name: client.predict for name, client in clients.items()}
    return lambda crops: answers(predict, crops, BATCH if compiles else 0)


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


def _check_card(device: Device, chosen: str, client: Any) -> None:
    if chosen == "tensorflow":
        import tensorflow as tf

        there = bool(tf.config.list_physical_devices("GPU"))
    else:
        there = client.model.get_providers()[0] == "CUDAExecutionProvider"
    if not there:
        raise DeviceError(
            f"device {device} was asked for, but DeepFace ({chosen}) sees no CUDA card; run "
            "`face-organizer doctor`, or use --device cpu"
        )


def open_detector(name: str, device: Device, downloads: bool = False) -> Callable[[Image], list[Area]]:
    """A function from an (h, w, 3) uint8 RGB picture to its faces, as DeepFace's own functions call the
    detector `name`: with half a picture of border. Its `enforce_detection=False`, which makes a whole picture
    a face, is not asked."""
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
    tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")
    if tensorflow is not None and tensorflow.config.list_logical_devices("GPU"):
        if tensorflow.config.experimental.get_memory_info("GPU:0")["peak"] > 0:
            return "cuda:0"
    elif torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return "cuda:0"
    return "cpu"


def _loaded(what: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # DeepFace raises ValueError for everything, Keras what it likes
        mend = f": put it into {weights_folder()}, or set DEEPFACE_HOME to where it is"
        refused = f"; {_OFFLINE}{mend}" if _is_refusal(error) else ""
        raise PackError(f"DeepFace cannot load its {what}: {first_line(error)}{refused}") from error


def _is_refusal(error: BaseException | None) -> bool:
    return error is not None and (str(error) == _OFFLINE or _is_refusal(error.__cause__ or error.__context__))


def _stay_offline() -> None:
    """Refuse, for the rest of this process, every connection to elsewhere, whichever library asks for it."""

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo"):
            raise PackError(_OFFLINE)

    sys.addaudithook(refuse)

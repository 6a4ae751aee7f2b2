"""DeepFace, with TensorFlow, in a process of its own; nothing else of this program imports either.

    with networks(CPU, ["Gender", "Age"]) as deepface:  # its attribute networks, in batches
        deepface.ask(crops)["Gender"]  # (n, 224, 224, 3) RGB uint8 → (n, classes) of each network
    with detector("mtcnn", CPU) as deepface:  # any of its detectors, picture by picture
        deepface.ask(picture)  # (h, w, 3) RGB uint8 → a list of `Area`

Both are a `networks.child.Child`: it tells what it took (`seconds`, `peak_memory()`), a `limit` in seconds
stops it, and it raises `ChildError` where it dies. Besides: `ModelMissingError` for packages, `PackError` for
weights, `DeviceError`. Nothing is downloaded unless `downloads` is set. Who runs a child of their own opens
the detector in it with `child.open_detector`, and asks `child.ran_on()` which device it used.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from face_organizer.errors import ModelMissingError
from face_organizer.networks.devices import Device
from face_organizer.types import Float32

if TYPE_CHECKING:
    from face_organizer.networks.child import Child

__all__ = ["BATCH", "Area", "child", "detector", "engine", "networks", "weights_folder"]

BATCH = 16
"""Faces that a network gets at once. On a CPU more win little and cost memory: 13 MB per face in the first
layer alone."""
ENGINES = ("tensorflow", "onnx")


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """A face that a detector of DeepFace found. `box` is x1, y1, x2, y2 in pixels; `landmarks` are (5, 2) as
    in `types.Faces`, nose and mouth placed by the eyes where it finds these alone, None where it finds none;
    `score` is 0 to 1, None where it tells none."""

    box: tuple[float, float, float, float]
    landmarks: Float32 | None
    score: float | None


def networks(device: Device, names: Sequence[str]) -> Child:
    """DeepFace's attribute networks (`Gender`, `Age`, `Emotion`, `Race`) on `device`."""
    from face_organizer.deepface.child import open_networks
    from face_organizer.networks.child import Child

    return Child(open_networks, device, engine(), tuple(names), name="DeepFace")


def detector(name: str, device: Device, *, downloads: bool = False) -> Child:
    """DeepFace's detector `name` (`opencv`, `ssd`, `mtcnn`, `retinaface` …) on `device`; `downloads` lets
    DeepFace fetch its weights."""
    from face_organizer.deepface.child import open_detector
    from face_organizer.networks.child import Child

    engine()  # says at once what is not installed
    return Child(open_detector, name, device, downloads, name="DeepFace")


def weights_folder() -> Path:
    """Where DeepFace keeps its weights: `.deepface/weights` in $DEEPFACE_HOME, else in the home folder."""
    return Path(os.environ.get("DEEPFACE_HOME") or Path.home()) / ".deepface" / "weights"


def engine() -> str:
    """The engine that DeepFace runs on: $DEEPFACE_BACKEND_ENGINE, else TensorFlow where it is, else ONNX.

    Raises `ModelMissingError` where it, or DeepFace, is not installed.
    """
    if importlib.util.find_spec("deepface") is None:
        raise ModelMissingError(
            "DeepFace is not installed: make setup PROFILE=cpu-tf (or gpu, gpu-pascal) installs it"
        )
    tensorflow = importlib.util.find_spec("tensorflow") is not None
    chosen = os.environ.get("DEEPFACE_BACKEND_ENGINE", "").strip().lower()
    chosen = chosen or ("tensorflow" if tensorflow else "onnx")
    if chosen not in ENGINES:
        raise ModelMissingError(
            f"DEEPFACE_BACKEND_ENGINE={chosen}: DeepFace runs here on {' or '.join(ENGINES)} only"
        )
    if chosen == "tensorflow" and not tensorflow:
        raise ModelMissingError(
            "DEEPFACE_BACKEND_ENGINE=tensorflow, but TensorFlow is not installed: make setup PROFILE=cpu-tf"
        )
    return chosen

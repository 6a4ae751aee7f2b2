"""DeepFace's detectors as back ends. Imported in a trial's process alone: it drags in TensorFlow, makes
folders and silences warnings."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from face_organizer.compare import Face, Shot, weights_folder
from face_organizer.detect import Look
from face_organizer.errors import PackError
from face_organizer.geometry import align
from face_organizer.geometry.boxes import prominence
from face_organizer.networks.devices import Device
from face_organizer.networks.nvidia import visible_name

DOWNLOADS = "FACE_ORGANIZER_DEEPFACE_DOWNLOADS"
"""Environment variable of the trial's process: `1` where DeepFace may fetch weights (`--allow-downloads`)."""


def open_backend(name: str, device: Device) -> DeepFaceBackend:
    """DeepFace's detector `name`. Raises what it raises; `PackError` for weights that are not there."""
    os.environ.update(
        {
            "DEEPFACE_BACKEND_ENGINE": "tensorflow" if importlib.util.find_spec("tensorflow") else "onnx",
            "TF_USE_LEGACY_KERAS": "1",  # as importing DeepFace as a whole sets it
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            "CUDA_VISIBLE_DEVICES": "-1" if device.kind == "cpu" else visible_name(device.index),
        }
    )
    if os.environ.get(DOWNLOADS) != "1":
        _stay_offline()
    return DeepFaceBackend(name)


def _stay_offline() -> None:
    """Both libraries ask the network by these two; they would wait for a network that is not there."""
    import gdown
    import requests

    def refuse(*asked: Any, **_: Any) -> NoReturn:
        raise PackError(f"weights missing in {weights_folder()}: {asked[0] if asked else 'a file'}")

    gdown.download = refuse
    requests.head = refuse


class DeepFaceBackend:
    """A `Backend`: `detect_faces` as DeepFace's own functions call it, with half a picture of border. Its
    `enforce_detection=False`, which makes a whole picture a face, is not asked."""

    at_once = 1
    tunable = False

    def __init__(self, name: str) -> None:
        from deepface.modules import detection, modeling

        modeling.build_model("face_detector", name)
        self._name = name
        self._detect = detection.detect_faces

    def find(self, shots: Sequence[Shot], look: Look) -> list[list[Face]]:
        """See `Backend.find`."""
        return [self._one(shot) for shot in shots]

    def _one(self, shot: Shot) -> list[Face]:
        pixels, reduction = shot.picture.pixels(float("inf"))
        found = self._detect(self._name, np.ascontiguousarray(pixels[..., ::-1]))
        areas = [face_of(one.facial_area, reduction) for one in found]
        faces = [face for face in areas if face is not None]
        boxes = np.array([face["box"] for face in faces], np.float32).reshape(-1, 4)
        order = np.argsort(-prominence(boxes, shot.picture.width, shot.picture.height))
        return [faces[i] for i in order]

    def device(self) -> str:
        """See `Backend.device`: a card only where a framework has taken memory of it."""
        tensorflow, torch = sys.modules.get("tensorflow"), sys.modules.get("torch")
        if tensorflow is not None and tensorflow.config.list_logical_devices("GPU"):
            if tensorflow.config.experimental.get_memory_info("GPU:0")["peak"] > 0:
                return "cuda:0"
        elif torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
            return "cuda:0"
        return "cpu"


def face_of(area: Any, scale: float = 1.0) -> Face | None:
    """DeepFace's `FacialAreaRegion` as a `Face`, its pixels times `scale`; None for a box without area.

    DeepFace's left is the person's; ours the viewer's.
    """
    if area.w <= 0 or area.h <= 0:
        return None
    box = np.array([area.x, area.y, area.x + area.w, area.y + area.h], np.float64) * scale
    points = [area.right_eye, area.left_eye, area.nose, area.mouth_right, area.mouth_left]
    landmarks = None
    if all(point is not None for point in points):
        landmarks = np.array([point[:2] for point in points], np.float64) * scale
    elif points[0] is not None and points[1] is not None:
        landmarks = align.about_eyes(np.array([points[0][:2], points[1][:2]], np.float64) * scale)
    score = None if area.confidence is None else float(np.clip(area.confidence, 0, 1))
    return {
        "box": np.round(box, 2).tolist(),
        "landmarks": None if landmarks is None else np.round(landmarks, 2).tolist(),
        "score": None if score is None else round(score, 4),
        "turn": 0,
    }

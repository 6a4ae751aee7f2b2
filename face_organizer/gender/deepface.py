"""DeepFace's Gender network, and its Age, Emotion and Race where asked for, on batches of crops."""

from __future__ import annotations

import numpy as np

from face_organizer.deepface import BATCH, engine, open_networks, weights_folder
from face_organizer.errors import ModelMissingError
from face_organizer.files import sha256_file
from face_organizer.gender.models import GenderModel, Judged, around, judged
from face_organizer.networks.child import Child
from face_organizer.networks.devices import Device
from face_organizer.types import Faces, Float32, Image

SIZE = 224
FILES = {
    "Gender": "gender_model_weights",
    "Age": "age_model_weights",
    "Emotion": "facial_expression_model_weights",
    "Race": "race_model_single_batch",
}
"""Names of the weights of deepface 0.0.103, before the engine's ending."""
ENDINGS = {"tensorflow": ".h5", "onnx": ".onnx"}
WORDS = {
    "Emotion": np.array(["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]),
    "Race": np.array(["asian", "indian", "black", "white", "middle eastern", "latino hispanic"]),
}
"""The order of the outputs, that of Gender being Woman, Man. Source: deepface, `DemographyUtils.py`."""


def deepface(device: Device, attributes: bool = False) -> GenderModel:
    """DeepFace's networks in a process of their own, which gets one batch at a time."""
    chosen, folder = engine(), weights_folder()
    files = {name: folder / (stem + ENDINGS[chosen]) for name, stem in FILES.items()}
    if not files["Gender"].is_file():
        raise ModelMissingError(
            f"DeepFace's gender weights are not in {folder}",
            f"put {files['Gender'].name} (537 MB, release v1.0 of serengil/deepface_models) there, or set "
            "DEEPFACE_HOME to the folder that holds .deepface/weights",
        )
    names = [n for n, file in files.items() if n == "Gender" or (attributes and file.is_file())]
    hashes = " ".join(f"{name} {sha256_file(files[name])}" for name in names)
    process = Child(open_networks, device, names, name="DeepFace")

    def ask(crops: Image) -> Judged:
        batches = [process.ask(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
        outputs = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
        words = {n.lower(): WORDS[n][outputs[n].argmax(axis=1)] for n in WORDS if n in names}
        age = outputs["Age"][:, 0] if "Age" in names else np.nan
        return judged(outputs["Gender"][:, 0], age=age, **words)

    return GenderModel(
        "deepface",
        f"DeepFace's networks {', '.join(names)} on {chosen} in {folder}",
        "DeepFace: MIT; its weights descend from VGG-Face's, whose terms apply",
        f"{hashes} box, eyes level, {SIZE}",
        SIZE,
        level,
        ask,
        at_once=BATCH,
        finish=_blacken,
        close=process.close,
    )


def level(faces: Faces) -> Float32:
    """(n, 2, 3) matrices to crops that hold the whole box, with its eyes level.

    Source: deepface, `modules/detection.py` `extract_face` (the box, after the picture is turned around its
    middle until the eyes are level) and `modules/preprocessing.py` `resize_image`.
    """
    eyes = faces.landmarks[:, 1] - faces.landmarks[:, 0]
    return around(faces.box, 1, np.nan_to_num(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))), SIZE)


def _blacken(crops: Image, faces: Faces) -> None:
    """What lies outside the box is black, as DeepFace's letterbox has it."""
    sides = faces.box[:, 2:] - faces.box[:, :2]
    kept = (sides / sides.max(axis=1, keepdims=True) * SIZE).astype(int)
    for crop, (width, height) in zip(crops, kept, strict=True):
        left, top = (SIZE - width) // 2, (SIZE - height) // 2
        crop[:top], crop[top + height :], crop[:, :left], crop[:, left + width :] = 0, 0, 0, 0

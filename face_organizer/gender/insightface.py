"""The network `genderage.onnx` of InsightFace's packs: 96×96, cut around the box, three numbers out."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from face_organizer.errors import ModelMissingError, PackError
from face_organizer.files import sha256_file
from face_organizer.gender.models import GenderModel, Judged, around, judged
from face_organizer.networks import packs
from face_organizer.networks.devices import Device
from face_organizer.networks.graphs import load_model
from face_organizer.networks.sessions import open_session, planes
from face_organizer.types import Image

FILE = "genderage.onnx"
SIZE = 96
MARGIN = 1.5
"""Side of the crop over the longer side of the box. Source: insightface, `model_zoo/attribute.py`."""


def insightface(device: Device, attributes: bool = False) -> GenderModel:
    """The network of the first installed pack that holds one, buffalo_l before others.

    Preprocessing and output by insightface 2.1, `model_zoo/attribute.py`: two numbers for woman and man, of
    which the larger wins (the confidence is their softmax), and the age in centuries. Crops are turned only
    as their picture has to be.
    """
    path = _find()
    mean, std = (0.0, 1.0) if _normalises_itself(path) else (127.5, 128.0)
    prepare = partial(planes, mean=mean, std=std)
    session = open_session(path, device, label=str(path))
    shape, output = session.input_shape, session.output_shape
    if len(session.inputs) != 1 or tuple(shape[1:]) != (3, SIZE, SIZE) or output[-1] != 3:
        why = f"{path} reads {shape} and gives {output}, not N×3×{SIZE}×{SIZE} and N×3"
        raise PackError(f"{why}: no gender network of InsightFace", "fetch the pack again")
    batch = shape[0] if isinstance(shape[0], int) else 32

    def ask(crops: Image) -> Judged:
        outputs = np.concatenate([run[0] for run in session.run_batches(crops, batch, prepare)])
        woman = 1 / (1 + np.exp(outputs[:, 1] - outputs[:, 0]))
        return judged(woman, age=outputs[:, 2] * 100 if attributes else np.nan)

    return GenderModel(
        "insightface",
        f"InsightFace's gender network {path}",
        packs.INSIGHTFACE_LICENCE,
        f"{sha256_file(path)} box {MARGIN}",
        SIZE,
        lambda faces: around(faces.box, MARGIN, faces.turn, SIZE),
        ask,
    )


def _find() -> Path:
    folders = [f"{name}/{inner}" for name in [*packs.KNOWN, "*"] for inner in ("", "*/")]
    for place in packs.search_folders():
        for folder in folders:
            for path in sorted(place.glob(folder + FILE)):
                return path
    why = f"no installed pack holds {FILE} (weights: non-commercial research only)"
    raise ModelMissingError(why, "`face-organizer packs pull buffalo_l` fetches one")


def _normalises_itself(path: Path) -> bool:
    """insightface's rule: the graph subtracts and multiplies in its first nodes, or begins with bn_data."""
    names = [node.name for node in load_model(path).graph.node[:8]]
    does = [any(n.startswith(words) for n in names) for words in (("Sub", "_minus"), ("Mul", "_mul"))]
    return "bn_data" in names[:3] or all(does)

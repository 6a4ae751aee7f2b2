"""The network `genderage.onnx` of InsightFace's packs: 96×96, cut around the box, three numbers out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import ModelMissingError, PackError
from face_organizer.files import sha256_file
from face_organizer.gender import crops
from face_organizer.gender.models import GenderModel, Judged
from face_organizer.networks import packs
from face_organizer.networks.devices import Device
from face_organizer.networks.graphs import load_model
from face_organizer.networks.sessions import open_session, planes
from face_organizer.types import Faces, Float32, Image

FILE = "genderage.onnx"
SIZE = 96
MARGIN = 1.5
"""Side of the crop over the longer side of the box. Source: insightface, `model_zoo/attribute.py`."""


class InsightFace(GenderModel):
    """The network of the first installed pack that holds one, buffalo_l before others.

    Preprocessing and output by insightface 2.1, `model_zoo/attribute.py`: two numbers for woman and man, of
    which the larger wins (the confidence is their softmax), and the age in centuries.
    """

    name = "insightface"
    licence = packs.INSIGHTFACE_LICENCE
    size = SIZE

    def __init__(self, device: Device, attributes: bool = False) -> None:
        path = _find()
        self.description = f"InsightFace's gender network {path}"
        self.identity = f"{sha256_file(path)} box {MARGIN}"
        self._path, self._attributes = path, attributes
        self._mean, self._std = (0.0, 1.0) if _normalises_itself(path) else (127.5, 128.0)
        self._session = open_session(path, device, label=str(path))
        shape, output = self._session.input_shape, self._session.output_shape
        if len(self._session.inputs) != 1 or tuple(shape[1:]) != (3, SIZE, SIZE) or output[-1] != 3:
            raise PackError(
                f"{path} reads {shape} and gives {output}, not N×3×{SIZE}×{SIZE} and N×3: no gender network "
                "of InsightFace; fetch the pack again"
            )
        self._batch = shape[0] if isinstance(shape[0], int) else self.at_once

    def matrices(self, faces: Faces) -> Float32:
        """See `GenderModel.matrices`. Crops are turned only as their picture has to be."""
        return crops.around(faces.box, MARGIN, faces.turn.astype(np.float64), SIZE)

    def judge(self, crops: Image) -> Judged:
        """See `GenderModel.judge`."""
        if not len(crops):
            return Judged.empty()
        prepare = partial(planes, mean=self._mean, std=self._std)
        outputs = np.concatenate([run[0] for run in self._session.run_batches(crops, self._batch, prepare)])
        if outputs.shape != (len(crops), 3):
            raise PackError(f"{self._path} gave {outputs.shape} for {len(crops)} faces, not 3 numbers each")
        woman = 1 / (1 + np.exp(outputs[:, 1] - outputs[:, 0]))
        known: dict[str, Any] = {"woman": woman.astype(np.float32)}
        if self._attributes:
            known["age"] = (outputs[:, 2] * 100).astype(np.float32)
        return Judged.empty(len(crops), **known)


def _find() -> Path:
    for place in packs.search_folders():
        for name in [*packs.KNOWN, *sorted(entry.name for entry in place.iterdir() if entry.is_dir())]:
            for path in (place / name / FILE, place / name / name / FILE):
                if path.is_file():
                    return path
    raise ModelMissingError(
        f"no installed pack holds {FILE}: `face-organizer packs pull buffalo_l` fetches one "
        "(weights: non-commercial research only)"
    )


def _normalises_itself(path: Path) -> bool:
    """insightface's rule: the graph subtracts and multiplies in its first nodes, or begins with bn_data."""
    names = [node.name for node in load_model(path).graph.node[:8]]
    subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
    return "bn_data" in names[:3] or (subtracts and multiplies)

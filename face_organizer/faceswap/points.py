"""The 68 landmarks that FaceSwap's header holds, by InsightFace's network where a pack holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_organizer.errors import PackError
from face_organizer.geometry import align
from face_organizer.media.images import Shrinkable
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.networks.graphs import normalises_itself
from face_organizer.networks.sessions import Session, open_session, planes
from face_organizer.types import Float32

FILE = "1k3d68.onnx"
"""In buffalo_l, buffalo_m and antelopev2: in space, in the order of iBUG 300-W; the weights are for
non-commercial research only. Preprocessing and output by insightface 2.1, `model_zoo/landmark.py`."""
_SIZE, _MARGIN = 192, 1.5
_POINTS = 68


@dataclass(frozen=True, slots=True)
class Points:
    """The network; may be called from several threads."""

    path: Path
    session: Session
    mean: float
    std: float

    def find(self, source: Shrinkable, box: Float32, roll: float) -> Float32:
        """(68, 2) in pixels of the picture, of the face in `box` (4,) that is turned `roll` degrees
        clockwise. Raises `ImageError`."""
        turn = _SIZE / (float((box[2:] - box[:2]).max()) * _MARGIN) * np.exp(-1j * np.radians(roll))
        middle = complex(*((box[:2] + box[2:]) / 2).tolist())
        shift = (1 + 1j) * _SIZE / 2 - turn * middle
        rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
        crop = align.cut(source, np.array(rows, np.float32), _SIZE)
        blob = planes(crop[None], mean=self.mean, std=self.std)
        found = self.session.run({self.session.inputs[0]: blob})[0].reshape(-1, 3)[-_POINTS:, :2]
        back = (align.in_plane((found + 1) * (_SIZE / 2)) - shift) / turn
        return np.stack([back.real, back.imag], axis=1).astype(np.float32)


def open_points() -> Points | None:
    """The network of the first installed pack that holds it, on the CPU; None where none does. Raises
    `PackError` for a file of that name that is something else."""
    path = packs.holding(FILE)
    if path is None:
        return None
    session = open_session(path, CPU, label=str(path))
    shape, output = tuple(session.input_shape), session.output_shape
    count = output[-1] if isinstance(output[-1], int) else 0
    if len(session.inputs) != 1 or shape[1:] != (3, _SIZE, _SIZE) or count % 3 or count < 3 * _POINTS:
        why = f"{path} reads {shape} and gives {output}: no network of 68 landmarks"
        raise PackError(why, "fetch the pack again")
    mean, std = (0.0, 1.0) if normalises_itself(path) else (127.5, 128.0)
    return Points(path, session, mean, std)

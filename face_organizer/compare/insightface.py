"""The loop of the original scripts as a back end: InsightFace's `FaceAnalysis.get`, one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from face_organizer.compare.backends import main_first
from face_organizer.compare.variants import CHANGES
from face_organizer.detect.looks import Found, Look, Pixels
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU_PROVIDER, CUDA_PROVIDER, Device
from face_organizer.types import NO_FACES, Detections

DET_SIZE = (640, 640)
"""As the original has it."""


class InsightFace:
    """A `Backend`: every network of the pack on every face, as the original runs them."""

    at_once = 1
    tries = CHANGES

    def __init__(self, location: str, device: Device) -> None:
        from insightface.app import FaceAnalysis

        card = [(CUDA_PROVIDER, {"device_id": str(device.index)})] if device.kind == "cuda" else []
        # An absolute path stands for the name of a pack in every version, and nothing is downloaded then.
        self._app = FaceAnalysis(str(packs.find(location).folder), providers=[*card, CPU_PROVIDER])
        self._app.prepare(ctx_id=device.index if card else -1, det_size=DET_SIZE)

    def find(self, paths: Sequence[str], pictures: Sequence[Pixels], look: Look) -> list[Found]:
        """See `Backend.find`."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Pixels) -> Found:
        pixels, _ = picture.pixels(float("inf"))
        faces = self._app.get(np.ascontiguousarray(pixels[..., ::-1]))
        if not faces:
            return Found(NO_FACES)
        columns = ([getattr(face, key) for face in faces] for key in ("bbox", "det_score", "kps"))
        return Found(main_first(Detections(*(np.array(c, np.float32) for c in columns)), picture))

    def device(self) -> str:
        """See `Backend.device`."""
        first = self._app.det_model.session.get_providers()[0]
        return "cuda" if first == CUDA_PROVIDER else "cpu"

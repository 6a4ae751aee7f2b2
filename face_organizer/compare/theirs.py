"""Other people's detectors as back ends: the loop of the original scripts, and DeepFace's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from face_organizer.compare.backends import main_first
from face_organizer.compare.variants import CHANGES
from face_organizer.deepface.child import open_detector, ran_on
from face_organizer.detect.looks import Found, Look, Pixels
from face_organizer.errors import PackError
from face_organizer.networks import packs
from face_organizer.networks.child import first_line
from face_organizer.networks.devices import CPU_PROVIDER, CUDA_PROVIDER, Device
from face_organizer.types import Detections, Image

_NOWHERE = np.full((5, 2), np.nan)


class OneByOne:
    """What they share: they take whole pictures, one at a time, and know no settings."""

    at_once = 1
    tries = CHANGES

    def find(self, paths: Sequence[str], pictures: Sequence[Pixels], look: Look) -> list[Found]:
        """See `Backend.find`."""
        found = []
        for picture in pictures:
            faces = self.faces(picture.pixels(float("inf"))[0])
            columns = zip(*faces, strict=True) if faces else ([], [], [])
            boxes, scores, landmarks = (np.array(column, np.float32) for column in columns)
            row = Detections(boxes.reshape(-1, 4), scores, landmarks.reshape(-1, 5, 2))
            found.append(Found(main_first(row, picture)))
        return found

    def faces(self, picture: Image) -> list[tuple[Any, Any, Any]]:
        """Box, score and landmarks of each face on an (h, w, 3) RGB uint8 picture."""
        raise NotImplementedError


class InsightFace(OneByOne):
    """A `Backend`: `FaceAnalysis.get` at 640 pixels, every network of the pack on every face, as the original
    runs it."""

    def __init__(self, location: str, device: Device) -> None:
        from insightface.app import FaceAnalysis

        card = [(CUDA_PROVIDER, {"device_id": str(device.index)})] if device.kind == "cuda" else []
        # An absolute path stands for the name of a pack in every version, and nothing is downloaded then.
        self._app = FaceAnalysis(str(packs.find(location).folder), providers=[*card, CPU_PROVIDER])
        self._app.prepare(ctx_id=device.index if card else -1, det_size=(640, 640))

    def faces(self, picture: Image) -> list[tuple[Any, Any, Any]]:
        """See `OneByOne.faces`."""
        found = self._app.get(np.ascontiguousarray(picture[..., ::-1]))
        return [(face.bbox, face.det_score, face.kps) for face in found]

    def device(self) -> str:
        """See `Backend.device`."""
        return "cuda" if CUDA_PROVIDER in self._app.det_model.session.get_providers() else "cpu"


class DeepFace(OneByOne):
    """A `Backend`: DeepFace's detector of that name; `downloads` lets it fetch its weights."""

    def __init__(self, name: str, downloads: bool, device: Device) -> None:
        self._find = open_detector(name, device, downloads)
        try:
            self._find(np.zeros((64, 64, 3), np.uint8))  # some load their weights only now
        except Exception as error:  # a ValueError where there are none
            raise PackError(first_line(error)) from error

    def faces(self, picture: Image) -> list[tuple[Any, Any, Any]]:
        """See `OneByOne.faces`."""
        return [
            (
                area.box,
                np.nan if area.score is None else area.score,
                _NOWHERE if area.landmarks is None else area.landmarks,
            )
            for area in self._find(picture)
        ]

    def device(self) -> str:
        """See `Backend.device`."""
        return ran_on()

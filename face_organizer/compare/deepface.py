"""DeepFace's detectors as back ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from face_organizer.compare.backends import main_first
from face_organizer.compare.variants import CHANGES
from face_organizer.deepface.child import open_detector, ran_on
from face_organizer.detect.looks import Found, Look, Pixels
from face_organizer.networks.devices import Device
from face_organizer.types import NO_FACES, Detections


class DeepFace:
    """A `Backend`: DeepFace's detector of that name; `downloads` lets it fetch its weights."""

    at_once = 1
    tries = CHANGES

    def __init__(self, name: str, downloads: bool, device: Device) -> None:
        self._find = open_detector(name, device, downloads)

    def find(self, paths: Sequence[str], pictures: Sequence[Pixels], look: Look) -> list[Found]:
        """See `Backend.find`."""
        return [self._one(picture) for picture in pictures]

    def _one(self, picture: Pixels) -> Found:
        areas = self._find(picture.pixels(float("inf"))[0])
        if not areas:
            return Found(NO_FACES)
        nowhere = np.full((5, 2), np.nan, np.float32)
        faces = Detections(
            np.array([area.box for area in areas], np.float32),
            np.array([np.nan if area.score is None else area.score for area in areas], np.float32),
            np.stack([nowhere if area.landmarks is None else area.landmarks for area in areas]),
        )
        return Found(main_first(faces, picture))

    def device(self) -> str:
        """See `Backend.device`."""
        return ran_on()

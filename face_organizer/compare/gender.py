"""The gender of the faces that back ends found, by the gender networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from face_organizer.compare import Face
from face_organizer.errors import ImageError, PackError
from face_organizer.gender import open_model
from face_organizer.geometry import align
from face_organizer.media.images import open_source
from face_organizer.networks.devices import Device
from face_organizer.types import Faces

UNSURE = "unsure"


class Judge:
    """The gender model that `face-organizer gender --model auto` takes; `why_not` where there is none."""

    def __init__(self, device: Device) -> None:
        self._model: Any = None
        self.name = self.why_not = ""
        try:
            self._model, _ = open_model("auto", device)
        except PackError as error:
            self.why_not = str(error)
        else:
            self.name = self._model.name

    def __bool__(self) -> bool:
        return self._model is not None

    def close(self) -> None:
        """Let go of the model."""
        if self._model is not None:
            self._model.close()

    def of(self, path: str, face: Face) -> tuple[str, float]:
        """Woman, Man or unsure (below the model's own least confidence), and the confidence, 0.5 to 1."""
        landmarks = face["landmarks"] or eyes_to_landmarks(face["box"])
        row = Faces.empty(
            1,
            box=np.array([face["box"]], np.float32),
            landmarks=np.array([landmarks], np.float32),
            turn=np.array([face["turn"]], np.int16),
        )
        try:
            crops = self._model.crop(open_source(path), row)
        except ImageError:
            return UNSURE, 0.5
        woman = float(self._model.judge(crops).woman[0])
        confidence = max(woman, 1 - woman)
        if not confidence >= self._model.min_confidence:
            return UNSURE, confidence if np.isfinite(confidence) else 0.5
        return ("Woman" if woman > 0.5 else "Man"), confidence

    def of_pictures(self, pictures: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """What it says of each picture's main face."""
        return {p["path"]: self.of(p["path"], p["faces"][0])[0] for p in pictures if p.get("faces")}


def eyes_to_landmarks(box: Sequence[float]) -> Any:
    """(5, 2) where a face's points are likely to be in its box."""
    return align.about_eyes(align.eyes_in(box))

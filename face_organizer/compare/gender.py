"""The gender of faces that back ends found, by the gender networks."""

from __future__ import annotations

import numpy as np

from face_organizer.detect.looks import Found
from face_organizer.errors import ImageError, ModelMissingError
from face_organizer.gender import GenderModel, open_model
from face_organizer.geometry import align
from face_organizer.media.images import open_source
from face_organizer.networks.devices import Device
from face_organizer.types import Faces


class Judge:
    """The gender model that `gender --model auto` takes: its `name`, or, where none is installed, `why_not`.
    Closed at the end of a `with` block."""

    def __init__(self, device: Device) -> None:
        self._model: GenderModel | None = None
        self.name = self.why_not = ""
        try:
            self._model = open_model("auto", device)[0]
            self.name = self._model.name
        except ModelMissingError as error:
            self.why_not = str(error)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        if self._model:
            self._model.close()

    def of(self, path: str, found: Found) -> tuple[str, float]:
        """Woman or Man, or empty where the model is not sure, of the main face; and the confidence, 0.5 to
        1."""
        assert self._model
        box, landmarks = found.faces.boxes[:1], found.faces.landmarks[:1]
        if not align.usable(landmarks)[0]:
            landmarks = align.about_eyes(align.eyes_in(box[0].tolist()))[None].astype(np.float32)
        row = Faces.empty(1, box=box, landmarks=landmarks, turn=np.array([found.turn], np.int16))
        try:
            woman = float(self._model.judge(self._model.crop(open_source(path), row)).woman[0])
        except ImageError:
            return "", 0.5
        confidence = max(woman, 1 - woman)
        sure = confidence >= self._model.min_confidence
        return ("Woman" if woman > 0.5 else "Man") if sure else "", confidence

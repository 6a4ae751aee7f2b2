"""Ways to change a picture, or the look at it, for a back end that has found nothing on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from face_organizer.compare import Face
from face_organizer.detect import Look, Pixels
from face_organizer.types import Image

LARGEST = 2400
"""Longer side, in pixels, beyond which a picture is not enlarged."""
LOW_SCORE = 0.3


class Drawn:
    """A changed picture, whole: it is small enough to be held so. A `detect.Pixels`."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.height, self.width = image.shape[:2]

    def pixels(self, longer_side: float) -> tuple[Image, float]:
        """See `detect.Pixels.pixels`."""
        return self._image, 1.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One change. `setting` is what a user of `embed` says for it, empty where there is no such option;
    `tunable` that it is a change of the look, for back ends that heed one; `turn` is in degrees
    counter-clockwise."""

    name: str
    setting: str = ""
    tunable: bool = False
    scale: float = 1.0
    border: float = 0.0
    turn: int = 0
    enhance: bool = False
    looking: dict[str, Any] = field(default_factory=dict)

    def look(self, look: Look) -> Look:
        """How to look."""
        return replace(look, **self.looking)

    def change(self, picture: Pixels) -> Pixels:
        """The changed picture."""
        if self.scale == 1 and not self.border and not self.turn:
            return picture
        import cv2

        image = picture.pixels(float("inf"))[0]
        scale = min(self.scale, max(1.0, LARGEST / max(image.shape[:2])))
        if scale != 1:
            image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))
        if self.border:
            x, y = self._border(image.shape[1], image.shape[0])
            image = np.pad(image, ((y, y), (x, x), (0, 0)))
        return Drawn(np.ascontiguousarray(np.rot90(image, self.turn // 90)))

    def _border(self, width: int, height: int) -> tuple[int, int]:
        return round(width * self.border), round(height * self.border)

    def back(self, faces: Sequence[Face], picture: Pixels) -> list[Face]:
        """Faces of the changed picture, in pixels of the picture as it was."""
        scale = min(self.scale, max(1.0, LARGEST / max(picture.width, picture.height)))
        x, y = self._border(picture.width, picture.height)
        point = _unturned(self.turn, picture.width, picture.height)
        moved = []
        for face in faces:
            corners = np.array(face["box"], np.float64).reshape(2, 2) / scale - (x, y)
            corners = point(corners)
            marks = face["landmarks"]
            if marks is not None:
                marks = np.round(point(np.array(marks, np.float64) / scale - (x, y)), 2).tolist()
            box = np.round(np.concatenate([corners.min(axis=0), corners.max(axis=0)]), 2).tolist()
            turn = (face["turn"] + self.turn) % 360
            moved.append({**face, "box": box, "landmarks": marks, "turn": turn})
        return moved


def _unturned(turn: int, width: int, height: int) -> Callable[[Any], Any]:
    """From a picture of `width` x `height` turned counter-clockwise by `turn` back to it."""
    if turn == 90:
        return lambda p: np.stack([width - p[:, 1], p[:, 0]], axis=1)
    if turn == 180:
        return lambda p: np.stack([width - p[:, 0], height - p[:, 1]], axis=1)
    if turn == 270:
        return lambda p: np.stack([p[:, 1], height - p[:, 0]], axis=1)
    return lambda p: p


VARIANTS = (
    Variant(
        "larger canvas", "--det-size 1280", tunable=True, looking={"canvas": 1280, "min_face_size": 10.0}
    ),
    Variant(
        "lower least score",
        f"--min-confidence {LOW_SCORE}",
        tunable=True,
        looking={"min_score": LOW_SCORE},
    ),
    Variant("evenly lit", "--enhance clahe", enhance=True),
    Variant("enlarged twice", scale=2.0),
    Variant("half a picture of border", border=0.5),
    Variant("turned by 90°", "--turns auto", turn=90),
    Variant("turned by 180°", "--turns auto", turn=180),
    Variant("turned by 270°", "--turns auto", turn=270),
)
"""In the order in which they are tried; each alone, so that what helps is known."""

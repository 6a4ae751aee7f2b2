"""What a gender network is: faces in, how likely each is a woman's out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from face_organizer.geometry import align
from face_organizer.types import Faces, Float32, Image

if TYPE_CHECKING:
    from face_organizer.media.images import Shrinkable

Judged = np.recarray[Any, Any]
"""What a network says of faces, one row per face: `woman`, the probability that it is a woman's, 0 to 1 (NaN:
not looked at); `age` in years (NaN: unknown); `emotion` and `race`, DeepFace's words (empty: unknown)."""
_COLUMNS = [("woman", "f4"), ("age", "f4"), ("emotion", "U16"), ("race", "U16")]


def judged(woman: Any, **more: Any) -> Judged:
    """Rows of these columns; those that are not given are unknown."""
    rows = np.zeros(len(woman), _COLUMNS).view(np.recarray)
    for name, values in {"woman": woman, "age": np.nan, **more}.items():
        rows[name] = values
    return rows


def to_json(rows: Judged) -> list[list[Any]]:
    """One list per face, exact: float32 survives as a double. An unknown age is None."""
    return [[woman, age if age == age else None, *words] for woman, age, *words in rows.tolist()]


def from_json(value: Any, count: int) -> Judged | None:
    """What `to_json` got, of `count` faces; None where `value` is something else."""
    try:
        rows = np.array([tuple(row) for row in value], _COLUMNS).view(np.recarray)
    except (TypeError, ValueError, OverflowError):
        return None
    return rows if len(rows) == count and bool(((rows.woman >= 0) & (rows.woman <= 1)).all()) else None


@dataclass(frozen=True, slots=True, eq=False)
class GenderModel:
    """A gender network on a device. Its functions may be called from several threads at once.

    `name` is what `--model` calls it; `description` says what it is and where it lies; `identity`, stamped on
    results, what makes answers comparable: hash of the weights, preprocessing. `matrices` are (n, 2, 3) from
    pixels of the picture to those of the `size`-pixel crop of each face; `ask` gives what the network says of
    n ≥ 1 crops. `at_once` faces are best judged together; an answer below `min_confidence`, 0.5 to 1, is
    better not believed. `finish` is done to the crops of the faces.
    """

    name: str
    description: str
    licence: str
    identity: str
    size: int
    matrices: Callable[[Faces], Float32]
    ask: Callable[[Image], Judged]
    at_once: int = 32
    min_confidence: float = 0.9
    finish: Callable[[Image, Faces], object] = lambda crops, faces: None
    close: Callable[[], object] = lambda: None

    def crop(self, source: Shrinkable, faces: Faces) -> Image:
        """(n, size, size, 3) RGB uint8, the n `faces` of one picture cut as the network wants them; it is
        decoded once, as large as the smallest face needs it. Raises `ImageError`."""
        matrices = self.matrices(faces)
        crops = np.empty((len(matrices), self.size, self.size, 3), np.uint8)
        for i in np.argsort(-np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])):  # the finest first
            crops[i] = align.cut(source, matrices[i], self.size)
        self.finish(crops, faces)
        return crops

    def judge(self, crops: Image) -> Judged:
        """What the network says of n ≥ 0 crops. A face's answer does not depend on the others."""
        return self.ask(crops) if len(crops) else judged([])


def around(boxes: Float32, margin: float, clockwise: Any, size: int) -> Float32:
    """(n, 2, 3) matrices that bring the middle of each of (n, 4) `boxes` to that of a `size`-pixel crop, its
    longer side to `size` / `margin` pixels, and turn back `clockwise` degrees."""
    scale = size / ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * margin)
    middle = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) @ np.array([0.5, 0.5j])
    turn = scale * np.exp(-1j * np.radians(clockwise.astype(np.float64)))
    shift = (1 + 1j) * size / 2 - turn * middle
    rows = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float32)
    return np.ascontiguousarray(rows.transpose(2, 0, 1))

"""Gender networks: faces in, how likely each is a woman's out. A new one is a file and a line in `MODELS`.

What a network says is an estimate of how a face looks to it, never of who someone is; each has its own errors
(docs/gender.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from face_organizer.errors import ModelMissingError, UsageError
from face_organizer.networks.devices import Device
from face_organizer.types import Columns, Faces, Float32, Image, column, text

if TYPE_CHECKING:
    from face_organizer.media.images import Shrinkable

__all__ = ["GenderModel", "journal", "judging", "open_model", "people", "verdicts"]

GENDERS = ("Woman", "Man")
"""DeepFace's words, which the original's `--gender` takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged(Columns):
    """What a network says of faces, one row a face."""

    woman: Float32 = column((), "float32", np.nan)
    """Probability of a woman's face, 0 to 1; NaN where it was not looked at."""
    age: Float32 = column((), "float32", np.nan)
    """Years; NaN where the model does not tell."""
    emotion: Sequence[str] = text()
    """DeepFace's word, such as `happy`; empty where not known."""
    race: Sequence[str] = text()
    """DeepFace's word for what it takes for the face's ethnicity; empty where not known."""


class GenderModel(Protocol):
    """What every gender network offers. Both methods may be called from several threads at once."""

    name: str
    """A key of `MODELS`."""
    description: str
    """What it is and where it lies, for messages."""
    licence: str
    identity: str
    """What makes two answers comparable: hash of the weights, preprocessing. Stamped on results."""
    at_once: int
    """Faces that are worth judging together; callers may give more or fewer."""
    min_confidence: float
    """Confidence below which its answer is better not believed."""

    def crop(self, source: Shrinkable, faces: Faces) -> Image:
        """(n, s, s, 3) RGB uint8, the n `faces` of one picture cut as the network wants them.

        Raises `ImageError` for a picture that cannot be decoded.
        """
        ...

    def judge(self, crops: Image) -> Judged:
        """What the network says of (n, s, s, 3) `crops`. A face's answer does not depend on the others."""
        ...

    def close(self) -> None:
        """Let go of processes and memory."""
        ...


MODELS: dict[str, str] = {
    "embedded": "face_organizer.gender.embedded:Embedded",
    "insightface": "face_organizer.gender.insightface:InsightFace",
    "deepface": "face_organizer.gender.deepface:DeepFace",
}
"""`--model` → where its class is, in the order in which `auto` takes them: the first is the one whose
accuracy was measured (docs/gender.md), is free for any use and always comes along."""


def open_model(choice: str, device: Device, *, attributes: bool = False) -> tuple[GenderModel, str]:
    """The model of that name on `device`, and why it: `auto` is the first of `MODELS` that is installed.

    `attributes` asks for ages, and for what else the model can tell. Errors: UsageError for an unknown name,
    ModelMissingError, PackError (a file that cannot be used), DeviceError.
    """
    if choice != "auto":
        if choice not in MODELS:
            raise UsageError(f"no gender model is called {choice!r}; say auto, {', '.join(MODELS)}")
        return _open(choice, device, attributes), "as asked"
    missing = []
    for name in MODELS:
        try:
            model = _open(name, device, attributes)
        except ModelMissingError as error:
            missing.append(str(error))
            continue
        return model, "the first of " + ", ".join(MODELS) + " that is installed"
    raise ModelMissingError("no gender model is installed: " + "; ".join(missing))


def _open(name: str, device: Device, attributes: bool) -> GenderModel:
    module, _, attribute = MODELS[name].partition(":")
    return cast(GenderModel, getattr(importlib.import_module(module), attribute)(device, attributes))

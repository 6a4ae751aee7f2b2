"""Gender networks: faces in, how likely each is a woman's out. A new one is a file and a line in `MODELS`."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from face_organizer.errors import ModelMissingError, UsageError
from face_organizer.gender import crops
from face_organizer.networks.devices import Device
from face_organizer.types import Columns, Faces, Float32, Image, column, text

if TYPE_CHECKING:
    from face_organizer.media.images import Shrinkable


@dataclass(frozen=True, slots=True, eq=False)
class Judged(Columns):
    """What a network says of faces, one row per face."""

    woman: Float32 = column((), "float32", np.nan)
    """Probability that it is a woman's face, 0 to 1; NaN where it was not looked at."""
    age: Float32 = column((), "float32", np.nan)
    """Years; NaN where the model does not say."""
    emotion: Sequence[str] = text()
    """DeepFace's word, such as `happy`; empty where unknown."""
    race: Sequence[str] = text()
    """DeepFace's word for what it takes for the face's ethnicity; empty where unknown."""


class GenderModel(ABC):
    """A gender network on a device. Its methods may be called from several threads at once."""

    name: str
    """A key of `MODELS`."""
    description: str
    """What it is and where it lies, for messages."""
    licence: str
    identity: str
    """What makes two answers comparable: hash of the weights, preprocessing. Stamped on results."""
    size: int
    """Side of a crop in pixels."""
    at_once = 32
    """Faces that are best judged together; callers may give more or fewer."""
    min_confidence = 0.9
    """Confidence below which its answer is better not believed, 0.5 to 1."""

    @abstractmethod
    def matrices(self, faces: Faces) -> Float32:
        """(n, 2, 3) from pixels of the picture to those of the crop of each of its `faces`."""

    def crop(self, source: Shrinkable, faces: Faces) -> Image:
        """(n, size, size, 3) RGB uint8, the n `faces` of one picture cut as the network wants them. Raises
        `ImageError` for a picture that cannot be decoded."""
        return crops.cut(source, self.matrices(faces), self.size)

    @abstractmethod
    def judge(self, crops: Image) -> Judged:
        """What the network says of n ≥ 0 crops. A face's answer does not depend on the others."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of processes."""


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
    if choice not in ("auto", *MODELS):
        raise UsageError(f"no gender model is called {choice!r}", f"say auto, {', '.join(MODELS)}")
    missing = []
    for name in MODELS if choice == "auto" else [choice]:
        module, _, attribute = MODELS[name].partition(":")
        try:
            model = getattr(importlib.import_module(module), attribute)(device, attributes)
        except ModelMissingError as error:
            if name == choice:
                raise
            missing.append(str(error))
            continue
        why = "as asked" if name == choice else f"the first of {', '.join(MODELS)} that is installed"
        return cast(GenderModel, model), why
    raise ModelMissingError("no gender model is installed: " + "; ".join(missing))

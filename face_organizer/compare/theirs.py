"""Other people's detectors as back ends: the loop of the original scripts, and DeepFace's detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from face_organizer.compare.backends import main_first
from face_organizer.compare.variants import CHANGES, Variant
from face_organizer.deepface.child import open_detector, ran_on
from face_organizer.detect import Found, Look
from face_organizer.errors import PackError
from face_organizer.media.images import Shrinkable
from face_organizer.networks import packs
from face_organizer.networks.child import first_line
from face_organizer.networks.devices import CPU_PROVIDER, CUDA_PROVIDER, Device
from face_organizer.types import Detections, Image


@dataclass(frozen=True, slots=True)
class OneByOne:
    """A `Backend` that takes whole pictures, one at a time, and knows no settings. `faces` gives box, score
    and landmarks of each face on an (h, w, 3) RGB uint8 picture; `device` is that of `Backend`."""

    faces: Callable[[Image], Iterable[tuple[Any, Any, Any]]]
    device: Callable[[], str]
    at_once: ClassVar[int] = 1
    tries: ClassVar[Sequence[Variant]] = CHANGES

    def find(self, paths: Sequence[str], pictures: Sequence[Shrinkable], look: Look) -> list[Found]:
        """See `Backend.find`."""
        found = []
        for picture in pictures:
            rows = list(self.faces(picture.pixels(float("inf"))[0]))
            columns = zip(*rows, strict=True) if rows else ((), (), ())
            boxes, scores, landmarks = (np.array(column, np.float32) for column in columns)
            faces = Detections(boxes.reshape(-1, 4), scores, landmarks.reshape(-1, 5, 2))
            found.append(Found(main_first(faces, picture)))
        return found


def insightface(location: str, device: Device) -> OneByOne:
    """`FaceAnalysis.get` at 640 pixels, every network of the pack on every face, as the original runs it."""
    from insightface.app import FaceAnalysis

    card = [(CUDA_PROVIDER, {"device_id": str(device.index)})] if device.kind == "cuda" else []
    # An absolute path stands for the name of a pack in every version, and nothing is downloaded then.
    app = FaceAnalysis(str(packs.find(location).folder), providers=[*card, CPU_PROVIDER])
    app.prepare(ctx_id=device.index if card else -1, det_size=(640, 640))

    def faces(picture: Image) -> Iterable[tuple[Any, Any, Any]]:
        found = app.get(np.ascontiguousarray(picture[..., ::-1]))
        return [(face.bbox, face.det_score, face.kps) for face in found]

    on_card = CUDA_PROVIDER in app.det_model.session.get_providers()
    return OneByOne(faces, lambda: f"cuda:{device.index}" if on_card else "cpu")


def deepface(name: str, downloads: bool, device: Device) -> OneByOne:
    """DeepFace's detector of that name; `downloads` lets it fetch its weights."""
    find = open_detector(name, device, downloads)
    try:
        find(np.zeros((64, 64, 3), np.uint8))  # some load their weights only now
    except Exception as error:  # a ValueError where there are none
        raise PackError(first_line(error)) from error
    unknown = np.full((5, 2), np.nan)

    def faces(picture: Image) -> Iterable[tuple[Any, Any, Any]]:
        for area in find(picture):
            score = np.nan if area.score is None else area.score
            yield area.box, score, unknown if area.landmarks is None else area.landmarks

    return OneByOne(faces, ran_on)

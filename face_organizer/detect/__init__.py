"""Detectors: canvases in, faces with landmarks out; and `finder`, which finds the faces of whole pictures.

A new detector is one file and one line in `DETECTORS`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from face_organizer.errors import PackError
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.types import NO_FACES, Detections, Image

if TYPE_CHECKING:
    from face_organizer.networks.packs import Pack

__all__ = ["Detector", "Found", "Look", "Pixels", "canvases", "finder", "open_detector"]


class Detector(Protocol):
    """What every detector offers. `detect` may be called from several threads at once."""

    fixed_size: int | None
    """Where not None, the only height and width that the network takes; else multiples of 32."""
    portrait: int
    """Longer side, in pixels, of the canvas on which it finds the face of a portrait or a crop best for its
    cost."""
    sure: float
    """Score that upright faces rarely stay below and turned ones rarely reach; measured, see
    benchmarks/README.md."""
    straight: float
    """Degrees of tilt up to which its landmarks are as good as on an upright face."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it ran, such as smaller batches for want of memory."""
        ...

    def detect(self, canvases: Image, min_score: float) -> list[Detections]:
        """The faces on each of (N, H, W, 3) uint8 RGB `canvases`, in canvas pixels, best score first.

        Faces below `min_score` (0 to 1) and doubles (non-maximum suppression) are left out. The answer for
        a canvas does not depend on the others. ValueError for a canvas of a wrong shape or dtype.
        """
        ...


DETECTORS: dict[str, str] = {
    "yunet": "face_organizer.detect.yunet:YuNet",
    "scrfd": "face_organizer.detect.scrfd:Scrfd",
}
"""Kind of a pack's detector → where its class is; imported when opened."""


def open_detector(
    pack: Pack, device: Device, threads: int = 1, cuda: CudaOptions = CUDA_DEFAULTS
) -> Detector:
    """The detector of `pack` on `device`. Errors: PackError (files), DeviceError (device)."""
    if pack.detector.kind not in DETECTORS:
        raise PackError(
            f"pack {pack.name}: unknown detector {pack.detector.kind!r}; known: {', '.join(DETECTORS)}"
        )
    module, _, name = DETECTORS[pack.detector.kind].partition(":")
    opened = getattr(importlib.import_module(module), name)(pack.detector, device, threads, cuda)
    return cast(Detector, opened)


class Pixels(Protocol):
    """A picture whose pixels are decoded as large as someone needs them."""

    width: int
    height: int

    def pixels(self, longer_side: float) -> tuple[Image, float]:
        """The picture with a longer side of at least that (or the whole), and how much it is shrunk (1: not
        at all)."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """How to look for faces: those of at least `min_score` (0 to 1), small enough canvases for faces of
    `min_face_size` pixels, every face or the main one. `canvas` overrides the size of the first canvas, in
    pixels; `turns` allows looks at turned pictures."""

    min_score: float = 0.5
    min_face_size: float = 20.0
    every_face: bool = False
    canvas: int | None = None
    turns: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """The faces of one picture in its own pixels, how far it was turned for them to be upright (degrees,
    counter-clockwise), and on how many canvases the detector saw it."""

    faces: Detections = NO_FACES
    turn: int = 0
    looks: int = 0
    again: bool = False
    """Whether the first look found nothing."""

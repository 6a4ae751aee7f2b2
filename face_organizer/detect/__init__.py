"""Detectors: canvases in, faces with landmarks out. A new one is one file and one line in `DETECTORS`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from face_organizer.errors import PackError
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.types import Detections, Image

if TYPE_CHECKING:
    from face_organizer.networks.packs import Pack

__all__ = ["Detector", "finder", "looks", "open_detector"]


class Detector(Protocol):
    """What every detector offers. `detect` may be called from several threads at once."""

    name: str
    """For stamps and messages, such as `scrfd`."""
    stride: int
    """Height and width of a canvas must be multiples of this."""
    fixed_size: int | None
    """Where not None, the only height and width that the network takes."""
    portrait: int
    """Longer side, in pixels, of the canvas on which it finds the face of a portrait or a crop best for its
    cost."""
    sure: float
    """Score that upright faces rarely stay below and turned ones rarely reach; measured, see
    benchmarks/README.md."""
    straight: float
    """Degrees of tilt up to which its landmarks are as good as on an upright face."""
    batched: bool
    """Whether several canvases really run at once; where False, `detect` runs them one by one."""

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
    place = DETECTORS.get(pack.detector.kind)
    if place is None:
        raise PackError(
            f"pack {pack.name}: unknown detector {pack.detector.kind!r}; known: {', '.join(DETECTORS)}"
        )
    module, _, name = place.partition(":")
    opened = getattr(importlib.import_module(module), name)(pack.detector, device, threads, cuda)
    return cast(Detector, opened)

"""Detectors: canvases in, faces with landmarks out; and `finder`, which finds the faces of whole pictures."""

from __future__ import annotations

from dataclasses import dataclass

from face_organizer.detect.network import Detector
from face_organizer.errors import PackError
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.packs import Pack
from face_organizer.types import NO_FACES, Detections

__all__ = ["Detector", "Found", "Look", "canvases", "finder", "open_detector"]


def open_detector(
    pack: Pack, device: Device, threads: int = 1, cuda: CudaOptions = CUDA_DEFAULTS
) -> Detector:
    """The detector of `pack` on `device`. Errors: PackError (files), DeviceError (device)."""
    from face_organizer.detect.scrfd import Scrfd
    from face_organizer.detect.yunet import YuNet

    kinds: dict[str, type[Detector]] = {"yunet": YuNet, "scrfd": Scrfd}
    kind = pack.detector.kind
    if kind not in kinds:
        raise PackError(f"pack {pack.name}: unknown detector {kind!r}; known: {', '.join(kinds)}")
    return kinds[kind](pack.detector, device, threads, cuda)


@dataclass(frozen=True, slots=True)
class Look:
    """How to look for faces: of at least `min_score` (0 to 1) and `min_face_size` pixels, every one or the
    main one; `canvas`, in pixels, overrides the size of the first canvas; `turns` allows turned pictures."""

    min_score: float = 0.5
    min_face_size: float = 20.0
    every_face: bool = False
    canvas: int | None = None
    turns: bool = True


@dataclass(slots=True)
class Found:
    """The faces of one picture in its own pixels, how far it was turned for them to be upright (degrees,
    counter-clockwise), on how many canvases the detector saw it, and whether the first look found nothing."""

    faces: Detections = NO_FACES
    turn: int = 0
    looks: int = 0
    again: bool = False

"""Detectors: canvases in, faces with landmarks out; and `finder`, which finds the faces of whole pictures."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from face_organizer.detect.network import Detector
from face_organizer.errors import PackError
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.packs import Pack
from face_organizer.types import NO_FACES, Detections, Int64

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
    main one; `canvas`, in pixels, overrides the size of the first canvas; `turns` allows turned faces;
    `tiles` is `off`, `all`, or `auto`: how large pictures are looked at (see `canvases.tiles`)."""

    min_score: float = 0.5
    min_face_size: float = 20.0
    every_face: bool = False
    canvas: int | None = None
    turns: bool = True
    tiles: str = "auto"


@dataclass(slots=True)
class Found:
    """The faces of one picture in its own pixels, best score first; `turns`, (n,), is how far the picture had
    to be turned for each to be upright (degrees, counter-clockwise). On how many canvases the detector saw
    it, and whether the first look found nothing. `none` counts what looked like a face at first and was left
    out, `smaller` says that there may be faces too small for the looks that were had."""

    faces: Detections = NO_FACES
    turns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    looks: int = 0
    again: bool = False
    none: int = 0
    smaller: bool = False

    def __post_init__(self) -> None:
        if len(self.turns) != len(self.faces):  # as they lie
            self.turns = np.zeros(len(self.faces), np.int64)

    def take(self, rows: Int64) -> Found:
        """The same with some of its faces, in that order."""
        return replace(self, faces=self.faces.take(rows), turns=self.turns[rows])

"""The networks of a pack on a device, and the stamp of what they make."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from face_organizer import __version__
from face_organizer.detect import Detector, open_detector
from face_organizer.embed.options import EmbedOptions
from face_organizer.geometry import align
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.packs import Pack
from face_organizer.recognize import Embedder, open_embedder
from face_organizer.types import Stamp


@dataclass(frozen=True, slots=True)
class Models:
    """The networks of one pack on one device."""

    detector: Detector
    embedder: Embedder

    @property
    def notes(self) -> list[str]:
        """What the user should know of how they run."""
        return [*self.detector.notes, *self.embedder.notes]


def open_models(pack: Pack, device: Device, cuda: CudaOptions = CUDA_DEFAULTS) -> Models:
    """The detector and the embedder of `pack` on `device`. Raises `PackError`, `DeviceError`."""
    models = Models(open_detector(pack, device, cuda=cuda), open_embedder(pack, device, cuda=cuda))
    if device.kind == "cuda":
        # A session opens on a card for which cuDNN holds no code, and fails when it runs: better now.
        side = models.detector.fixed_size or models.detector.portrait
        models.detector.detect(np.zeros((1, side, side, 3), np.uint8), 0.5)
        models.embedder.embed(np.zeros((1, align.SIZE, align.SIZE, 3), np.uint8))
    return models


def stamp_of(pack: Pack, options: EmbedOptions, shard: str = "") -> Stamp:
    """The stamp of every table that the networks of `pack` make under `options`; `shard` as `embed` has
    it."""
    return Stamp(
        pack=pack.name,
        detector=pack.detector.kind,
        detector_sha256=pack.detector.sha256,
        embedder=pack.embedder.kind,
        embedder_sha256=pack.embedder.sha256,
        dim=pack.embedder.dim,
        preprocessing=f"{pack.embedder.preprocessing}; arcface template {align.SIZE}",
        licence=pack.licence,
        # `half` was an option once: tables made without it go on.
        options={**asdict(options), "shard": shard, "half": False},
        version=__version__,
    )

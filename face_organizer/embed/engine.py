"""Opening the networks of a pack on a device, and the stamp of what they make."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from face_organizer import __version__
from face_organizer.detect import open_detector
from face_organizer.embed.picture import ExtractOptions
from face_organizer.embed.pictures import Engine
from face_organizer.geometry import align
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.packs import Pack
from face_organizer.recognize import open_embedder
from face_organizer.types import Stamp


def open_engine(pack: Pack, device: Device, cuda: CudaOptions = CUDA_DEFAULTS) -> Engine:
    """The detector and the embedder of `pack` on `device`. Raises `PackError`, `DeviceError`."""
    engine = Engine(open_detector(pack, device, cuda=cuda), open_embedder(pack, device, cuda=cuda))
    if device.kind == "cuda":
        # A session opens on a card for which cuDNN holds no code, and fails when it runs: better now.
        side = engine.detector.fixed_size or engine.detector.portrait
        engine.detector.detect(np.zeros((1, side, side, 3), np.uint8), 0.5)
        engine.embedder.embed(np.zeros((1, align.SIZE, align.SIZE, 3), np.uint8))
    return engine


def stamp_of(pack: Pack, options: ExtractOptions, shard: str = "") -> Stamp:
    """The stamp of every table that the networks of `pack` make under `options`; `shard` is that of
    `--shard`."""
    return Stamp(
        pack=pack.name,
        detector=pack.detector.kind,
        detector_sha256=pack.detector.sha256,
        embedder=pack.embedder.kind,
        embedder_sha256=pack.embedder.sha256,
        dim=pack.embedder.dim,
        preprocessing=f"{pack.embedder.preprocessing}; arcface template {align.SIZE}",
        licence=pack.licence,
        # `half`: an option of earlier versions, so that tables which they made are gone on with.
        options={**asdict(options), "shard": shard, "half": False},
        version=__version__,
    )

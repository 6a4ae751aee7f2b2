"""Opening the networks of a pack on a device, and the stamp of what they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from face_organizer import __version__
from face_organizer.detect import open_detector
from face_organizer.embed.picture import ExtractOptions
from face_organizer.embed.pictures import Engine
from face_organizer.errors import UsageError
from face_organizer.geometry import align
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.packs import Pack
from face_organizer.recognize import open_embedder
from face_organizer.types import Stamp


def check_cuda(cuda: CudaOptions, devices: Sequence[Device]) -> None:
    """`UsageError` where what only a CUDA card can do is asked for and every device is the CPU."""
    asked = [word for word, on in (("--half", cuda.half), ("--tensorrt", cuda.tensorrt)) if on]
    if asked and not _any_card(devices):
        raise UsageError(f"{' and '.join(asked)}: for CUDA devices only, and this run is on the CPU")


def open_engine(pack: Pack, device: Device, cuda: CudaOptions = CUDA_DEFAULTS) -> Engine:
    """The detector and the embedder of `pack` on `device`. Raises `PackError`, `DeviceError`."""
    engine = Engine(open_detector(pack, device, cuda=cuda), open_embedder(pack, device, cuda=cuda))
    if device.kind == "cuda":
        # A session opens on a card for which cuDNN holds no code, and fails when it runs: better now.
        side = engine.detector.fixed_size or engine.detector.portrait
        engine.detector.detect(np.zeros((1, side, side, 3), np.uint8), 0.5)
        engine.embedder.embed(np.zeros((1, align.SIZE, align.SIZE, 3), np.uint8))
    return engine


def stamp_of(pack: Pack, options: ExtractOptions, shard: str = "", *, half: bool = False) -> Stamp:
    """The stamp of every table that the networks of `pack` make under `options`; `shard` is that of
    `--shard`, `half` whether a GPU computes in half precision (see `is_half`)."""
    return Stamp(
        pack=pack.name,
        detector=pack.detector.kind,
        detector_sha256=pack.detector.sha256,
        embedder=pack.embedder.kind,
        embedder_sha256=pack.embedder.sha256,
        dim=pack.embedder.dim,
        preprocessing=f"{pack.embedder.preprocessing}; arcface template {align.SIZE}",
        licence=pack.licence,
        # `half` is an option, so that a run never goes on with the other precision: byte for byte, tables are
        # equal within one setting only. It is not part of the space: an aligned face gets the same embedding
        # to a cosine of 0.999 (`ArcFace` checks it when it opens), far nearer than two photos of one face
        # come. SCRFD's landmarks move by a third of a pixel, but for one face in a thousand, where another
        # anchor wins.
        options={**asdict(options), "shard": shard, "half": half},
        version=__version__,
    )


def is_half(cuda: CudaOptions, devices: Sequence[Device]) -> bool:
    """Whether any of `devices` computes in half precision under `cuda`."""
    return cuda.half and _any_card(devices)


def _any_card(devices: Sequence[Device]) -> bool:
    return any(device.kind == "cuda" for device in devices)

"""Opening the networks of a pack on a device, and the stamp of what they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from face_organizer import __version__
from face_organizer.detect import open_detector
from face_organizer.embed.picture import ExtractOptions
from face_organizer.embed.pictures import Engine
from face_organizer.errors import UsageError
from face_organizer.geometry import align
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device, auto_devices
from face_organizer.networks.packs import Pack
from face_organizer.recognize import open_embedder
from face_organizer.types import Stamp

DEVICES_VARIABLE = "FACE_ORGANIZER_DEVICES"
"""Environment variable: what device numbers stand for, such as `cpu,cpu` to try a two-GPU flow without
GPUs."""


def choose_devices(option: str | None, environ: Mapping[str, str]) -> tuple[list[Device], str]:
    """The devices of `--device` (`auto`, `cpu`, `0`, `0,1`, `cpu,cpu`), else of the variable GPU_ID; and why,
    in words.

    `auto` is every CUDA card there is, else the CPU. A number picks that entry of FACE_ORGANIZER_DEVICES
    where that is set, else that card. Raises `UsageError` for a word that names no device.
    """
    words, why = option or "auto", "as asked"
    if option is None and environ.get("GPU_ID"):
        words, why = environ["GPU_ID"], f"GPU_ID={environ['GPU_ID']}"
    if words.strip().lower() == "auto":
        return auto_devices()
    devices = []
    for word in words.split(","):
        device, mapped = _device(word.strip(), environ)
        devices.append(device)
        if mapped:
            why += f", {word.strip()} being {device} by {DEVICES_VARIABLE}"
    return devices, why


def _device(word: str, environ: Mapping[str, str]) -> tuple[Device, bool]:
    names = [name.strip() for name in environ.get(DEVICES_VARIABLE, "").split(",") if name.strip()]
    if not names or not word.isdigit():
        return Device.parse(word), False
    if int(word) >= len(names):
        raise UsageError(
            f"device {word}: {DEVICES_VARIABLE} names only {len(names)} devices, numbered from 0"
        )
    return Device.parse(names[int(word)]), True


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

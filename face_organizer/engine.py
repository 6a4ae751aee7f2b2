"""Opening the networks of a pack on a device, and the stamp of what they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from face_organizer import __version__, align
from face_organizer.detect import open_detector
from face_organizer.embed import open_embedder
from face_organizer.extract import Engine, ExtractOptions
from face_organizer.packs import Pack
from face_organizer.runtime import Device, auto_device
from face_organizer.types import Stamp


DEVICES_VARIABLE = "FACE_ORGANIZER_DEVICES"
"""Environment variable: what device numbers stand for, such as `cpu,cpu` to try a two-GPU flow without GPUs."""


def choose_device(option: str | None, environ: Mapping[str, str]) -> tuple[Device, str]:
    """The device for `--device` and, where that was not given, for the variable GPU_ID; and why, in words.

    A number picks that entry of FACE_ORGANIZER_DEVICES where that is set, else that CUDA card.
    Raises `UsageError` for a word that names no device.
    """
    word, why = option or "auto", "as asked"
    if option is None and environ.get("GPU_ID"):
        word, why = environ["GPU_ID"], f"GPU_ID={environ['GPU_ID']}"
    if word == "auto":
        return auto_device()
    mapped = [name.strip() for name in environ.get(DEVICES_VARIABLE, "").split(",") if name.strip()]
    if mapped and word.isdigit():
        if int(word) >= len(mapped):
            raise UsageError(f"{why}: {DEVICES_VARIABLE} names only {len(mapped)} devices, numbered from 0")
        return Device.parse(mapped[int(word)]), f"{why}, which {DEVICES_VARIABLE} maps to it"
    return Device.parse(word), why


def open_engine(pack: Pack, device: Device) -> Engine:
    """The detector and the embedder of `pack` on `device`. Raises `PackError`, `DeviceError`."""
    return Engine(open_detector(pack, device), open_embedder(pack, device))


def stamp_of(pack: Pack, engine: Engine, options: ExtractOptions) -> Stamp:
    """The stamp of every table that `engine`, opened from `pack`, makes under `options`."""
    return Stamp(
        pack=pack.name,
        detector=engine.detector.name,
        detector_sha256=pack.detector.sha256,
        embedder=engine.embedder.name,
        embedder_sha256=pack.embedder.sha256,
        dim=engine.embedder.dim,
        preprocessing=f"{engine.embedder.preprocessing}; arcface template {align.SIZE}",
        licence=pack.licence,
        options=asdict(options),
        version=__version__,
    )

"""The NVIDIA driver and its cards, by NVIDIA's own `nvidia-ml-py`: no CUDA context is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_DEVICES = Path("/dev")


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU: its name, CUDA compute capability such as (6, 1), memory in bytes, NVIDIA's identifier."""

    name: str
    capability: tuple[int, int]
    memory: int
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class Driver:
    """What the driver says: its version, the newest CUDA that it serves, its cards as CUDA numbers them.

    `problem` says why there are no cards (empty where there are).
    """

    version: str = ""
    cuda: tuple[int, int] = (0, 0)
    cards: tuple[Card, ...] = ()
    problem: str = ""
    device_files: int = 0
    """Of `/dev/nvidia0`, `/dev/nvidia1` …: with them CUDA may run even where a container lacks NVML."""

    @property
    def count(self) -> int:
        """Cards that may run: those of the driver; where it cannot be asked, those with a device file."""
        return len(self.cards) or self.device_files


def look(environ: Mapping[str, str] | None = None) -> Driver:
    """Ask the driver, and leave out the cards that `CUDA_VISIBLE_DEVICES` hides. Never raises.

    Cards of different kinds CUDA numbers by speed, unless CUDA_DEVICE_ORDER is PCI_BUS_ID: these here are in
    the order of their PCI bus.
    """
    return _visible(_ask(), _names(environ))


def visible_name(index: int) -> str:
    """What `CUDA_VISIBLE_DEVICES` must say for a process to see card `index` of this one's alone."""
    names = _names(None) or []
    return names[index] if index < len(names) else str(index)


def _names(environ: Mapping[str, str] | None) -> list[str] | None:
    """The words of `CUDA_VISIBLE_DEVICES` up to the first that names no device, as CUDA reads it; None where
    it is not set."""
    words = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    if words is None:
        return None
    names = [word.strip() for word in words.split(",")]
    return names[: next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))]


def _ask() -> Driver:
    import pynvml

    files = len(list(_DEVICES.glob("nvidia[0-9]*")))
    try:
        pynvml.nvmlInit()
        try:
            version, cuda = pynvml.nvmlSystemGetDriverVersion(), pynvml.nvmlSystemGetCudaDriverVersion_v2()
            count = pynvml.nvmlDeviceGetCount()
            cards = tuple(_card(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count))
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        missing = isinstance(error, pynvml.NVMLError_LibraryNotFound)
        why = "no NVIDIA driver (libnvidia-ml.so.1 is not there)" if missing else f"NVIDIA driver: {error}"
        return Driver(problem=why, device_files=files)
    problem = "" if cards else "the NVIDIA driver shows no GPU"
    return Driver(version, (cuda // 1000, cuda % 1000 // 10), cards, problem, files)


def _card(handle: Any) -> Card:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    return Card(pynvml.nvmlDeviceGetName(handle), (major, minor), memory, pynvml.nvmlDeviceGetUUID(handle))


def _visible(driver: Driver, names: list[str] | None) -> Driver:
    if names is None:
        return driver
    files = min(driver.device_files, len(names))
    if any(name.startswith("MIG-") for name in names):  # a slice of a card: which one, NVML alone knows
        return replace(driver, cards=driver.cards[: len(names)], device_files=files)
    cards: list[Card] = []
    for name in names:
        fits = [c for i, c in enumerate(driver.cards) if name == str(i) or c.uuid.startswith(name)]
        if len(fits) != 1:
            break
        cards += fits
    if driver.cards and not cards:
        return replace(driver, cards=(), problem="CUDA_VISIBLE_DEVICES hides every GPU", device_files=0)
    return replace(driver, cards=tuple(cards), device_files=files)

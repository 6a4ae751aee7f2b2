"""The NVIDIA driver and its cards, by NVIDIA's own `nvidia-ml-py`: no CUDA context is made."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any


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
    `problem` says why there are none (empty where there are)."""

    version: str = ""
    cuda: tuple[int, int] = (0, 0)
    cards: tuple[Card, ...] = ()
    problem: str = ""


def look() -> Driver:
    """Ask the driver, and leave out the cards that `CUDA_VISIBLE_DEVICES` hides. Never raises. Cards are in
    the order of their PCI bus; CUDA numbers different ones by speed, unless CUDA_DEVICE_ORDER says so too."""
    driver, names, cards = _ask(), _visible_names(), []
    if names is None or not driver.cards:
        return driver
    for number, name in enumerate(names):
        if name.startswith("MIG-"):  # a slice of a card: which one, NVML alone knows
            fits = list(driver.cards[number : number + 1])
        else:
            fits = [c for i, c in enumerate(driver.cards) if name == str(i) or c.uuid.startswith(name)]
        if len(fits) != 1:
            break
        cards += fits
    problem = "" if cards else "CUDA_VISIBLE_DEVICES hides every GPU"
    return replace(driver, cards=tuple(cards), problem=problem)


def visible_name(index: int) -> str:
    """What `CUDA_VISIBLE_DEVICES` must say for a process to see card `index` of this one's alone."""
    names = _visible_names() or []
    return names[index] if index < len(names) else str(index)


def _visible_names() -> list[str] | None:
    """The words of `CUDA_VISIBLE_DEVICES` up to the first that names no device, as CUDA reads it; None where
    it is not set."""
    words = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [] if words is None else [word.strip() for word in words.split(",")]
    return None if words is None else list(takewhile(lambda name: name not in ("", "-1"), names))


def _ask() -> Driver:
    import pynvml

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
        return Driver(problem=why)
    problem = "" if cards else "the NVIDIA driver shows no GPU"
    return Driver(version, (cuda // 1000, cuda % 1000 // 10), cards, problem)


def _card(handle: Any) -> Card:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    return Card(pynvml.nvmlDeviceGetName(handle), (major, minor), memory, pynvml.nvmlDeviceGetUUID(handle))

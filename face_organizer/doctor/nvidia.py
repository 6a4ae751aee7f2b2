"""The NVIDIA driver and its cards, by NVML: no CUDA context is made, nothing is imported."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from face_organizer.doctor.builds import Capability

LIBRARY = "libnvidia-ml.so.1"
_TEXT = 96
"""Bytes for a name; NVML's own longest is NVML_DEVICE_NAME_V2_BUFFER_SIZE, 96."""
_ERRORS = {
    4: "no permission to ask the driver",
    9: "the NVIDIA driver is not loaded",
    12: "a library of the NVIDIA driver is missing",
    15: "a GPU has fallen off the bus",
    17: "the operating system blocks the GPU",
    18: "the driver was updated and its old kernel module still runs: restart the machine",
}
"""Results of NVML (`nvmlReturn_t` in nvml.h) that a user can do something about."""


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU; `memory` in bytes."""

    name: str
    capability: Capability
    memory: int
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class Nvidia:
    """What the driver says. `problem` says why there are no cards (empty: all is well)."""

    driver: str = ""
    cards: tuple[Card, ...] = ()
    problem: str = ""
    device_files: int = 0
    """Of `/dev/nvidia0`, `/dev/nvidia1` …: there, CUDA may run even where NVML is left out of a container."""


class _MemoryInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


def look(load: Callable[[str], Any] = ctypes.CDLL, devices: Path = Path("/dev")) -> Nvidia:
    """Ask NVML, loaded by `load`, for driver and cards, in the order of their PCI bus. Never raises."""
    files = len(list(devices.glob("nvidia[0-9]*")))
    try:
        nvml = load(LIBRARY)
    except OSError:
        return Nvidia(problem=f"no NVIDIA driver ({LIBRARY} is not there)", device_files=files)
    try:
        _call(nvml.nvmlInit_v2())
        try:
            driver, cards = _text(nvml.nvmlSystemGetDriverVersion), _cards(nvml)
        finally:
            nvml.nvmlShutdown()
    except (_NvmlError, AttributeError, OSError) as error:
        return Nvidia(problem=str(error), device_files=files)
    return Nvidia(driver, cards, "" if cards else "the NVIDIA driver shows no GPU", files)


def visible(found: Nvidia, environ: Mapping[str, str]) -> Nvidia:
    """The cards that `CUDA_VISIBLE_DEVICES` leaves, in the order in which CUDA numbers them.

    Cards of different kinds CUDA numbers by speed, unless CUDA_DEVICE_ORDER is PCI_BUS_ID.
    """
    names = environ.get("CUDA_VISIBLE_DEVICES")
    if names is None or not found.cards or "MIG-" in names:
        return found
    cards: list[Card] = []
    for name in (word.strip() for word in names.split(",")):
        card = _named(found.cards, name)
        if card is None:
            break  # CUDA reads the list up to the first entry that is no device
        cards.append(card)
    problem = "" if cards else f"CUDA_VISIBLE_DEVICES={names} hides every GPU"
    return replace(found, cards=tuple(cards), problem=problem, device_files=len(cards))


def _named(cards: tuple[Card, ...], name: str) -> Card | None:
    if name.isascii() and name.isdigit():
        return cards[int(name)] if int(name) < len(cards) else None
    fits = [card for card in cards if name and card.uuid.startswith(name)]
    return fits[0] if len(fits) == 1 else None


class _NvmlError(Exception):
    pass


def _call(result: int) -> None:
    if result != 0:
        raise _NvmlError(_ERRORS.get(result, f"the NVIDIA driver answers with error {result}"))


def _text(function: Any, *args: Any) -> str:
    buffer = ctypes.create_string_buffer(_TEXT)
    _call(function(*args, buffer, ctypes.c_uint(_TEXT)))
    return buffer.value.decode("utf-8", "replace")


def _cards(nvml: Any) -> tuple[Card, ...]:
    count = ctypes.c_uint(0)
    _call(nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)))
    return tuple(_card(nvml, index) for index in range(count.value))


def _card(nvml: Any, index: int) -> Card:
    handle, major, minor, memory = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int(), _MemoryInfo()
    _call(nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)))
    _call(nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor)))
    _call(nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)))
    name, uuid = _text(nvml.nvmlDeviceGetName, handle), _text(nvml.nvmlDeviceGetUUID, handle)
    return Card(name, (major.value, minor.value), int(memory.total), uuid)

"""Which devices there are, and how a network is asked to run on one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from face_organizer.errors import DeviceError, UsageError
from face_organizer.files import count
from face_organizer.networks import nvidia

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
DEVICES_VARIABLE = "FACE_ORGANIZER_DEVICES"  # what device numbers stand for; `cpu,cpu` plays two GPUs


@dataclass(frozen=True, slots=True)
class Device:
    """Where a network runs: the CPU, or the CUDA card `index` counted from 0."""

    kind: Literal["cpu", "cuda"]
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Device:
        """`cpu`, or the number of a CUDA card such as `0`. UsageError for anything else."""
        word = text.strip().lower()
        if word == "cpu":
            return cls("cpu")
        if word.isascii() and word.isdigit():
            return cls("cuda", int(word))
        raise UsageError(f"{text!r} is no device: say auto, cpu, or the number of a CUDA card (0, 1, …)")

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else str(self.index)


CPU = Device("cpu")


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """`memory_limit`: the most that one network may take of a card, in bytes (None: what it needs)."""

    memory_limit: int | None = None

    def providers(self, device: Device) -> list[Any]:
        """What ONNX Runtime is asked for on `device`, first choice first."""
        if device.kind == "cpu":
            return [CPU_PROVIDER]
        cuda = {
            "device_id": str(device.index),
            # Batches differ in size: an exhaustive search times every algorithm anew for each shape.
            "cudnn_conv_algo_search": "HEURISTIC",
            # Grow by what is needed: two processes may share a card.
            "arena_extend_strategy": "kSameAsRequested",
            # TF32 rounds to 10 bits: an Ampere would give a face another embedding than a Pascal or a CPU.
            "use_tf32": "0",
        }
        if self.memory_limit is not None:
            cuda["gpu_mem_limit"] = str(self.memory_limit)
        return [(CUDA_PROVIDER, cuda), CPU_PROVIDER]


CUDA_DEFAULTS = CudaOptions()


def cuda_devices() -> int:
    """CUDA cards that may run, 0 without a driver. Makes no CUDA context, so it is safe before a fork."""
    return len(nvidia.look().cards)


def auto_devices() -> tuple[list[Device], str]:
    """The devices of `auto` and why: every CUDA card where this ONNX Runtime can use them, else the CPU."""
    cards = cuda_devices()
    if not cards:
        return [CPU], "no CUDA device found"
    import onnxruntime as ort

    found = f"{count(cards, 'CUDA device')} found"
    if CUDA_PROVIDER in ort.get_available_providers():
        return [Device("cuda", index) for index in range(cards)], found
    return [CPU], f"{found}, but this onnxruntime has no CUDA in it"


def asked(option: str | None) -> tuple[list[Device] | None, str]:
    """The devices that `--device` asks for (`cpu`, `0`, `0,1`, `cpu,cpu`), else the variable GPU_ID, and who
    asked; None for `auto` or where neither says anything.

    A number picks that entry of FACE_ORGANIZER_DEVICES where that is set, else that CUDA card, which need not
    exist. `UsageError` for a word that names no device.
    """
    variable = os.environ.get("GPU_ID") if option is None else None
    words, why = variable or option or "auto", f"GPU_ID={variable}" if variable else "as asked"
    if words.strip().lower() == "auto":
        return None, why
    names = [name.strip() for name in os.environ.get(DEVICES_VARIABLE, "").split(",") if name.strip()]
    found = []
    for word in (word.strip() for word in words.split(",")):
        if not names or not word.isdecimal():
            found.append(Device.parse(word))
        elif int(word) < len(names):
            found.append(Device.parse(names[int(word)]))
            why += f", {word} being {found[-1]} by {DEVICES_VARIABLE}"
        else:
            why = f"device {word}: {DEVICES_VARIABLE}={','.join(names)} has no entry {word}"
            raise UsageError(why, "its entries count from 0")
    return found, why


def choose(option: str | None = None) -> tuple[list[Device], str]:
    """The devices of a run and why: those that were `asked` for, else `auto_devices`."""
    found, why = asked(option)
    return auto_devices() if found is None else (found, why)


def choose_one(
    option: str | None = None, auto: Callable[[], tuple[list[Device], str]] = auto_devices
) -> tuple[Device, str]:
    """The device of a command that uses one, and why: the first of those `asked` for, else of `auto()`.
    `UsageError` where the option itself names several."""
    found, why = asked(option)
    if found is None:
        found, why = auto()
    elif len(found) > 1 and option is not None:
        raise UsageError("--device: this command runs on one device at a time", "name one")
    return found[0], why


def require(device: Device) -> Device:
    """`device` itself. Raises `DeviceError` for a card that the driver does not show."""
    if device.kind == "cuda" and device.index >= cuda_devices():
        raise DeviceError(
            f"device {device} was asked for; CUDA cards here: {cuda_devices()}",
            "see `face-organizer doctor`, or say --device cpu",
        )
    return device

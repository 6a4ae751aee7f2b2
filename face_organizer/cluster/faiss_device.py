"""Where FAISS computes: a GPU that was asked for is used, or the run stops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from face_organizer.errors import DeviceError
from face_organizer.machine import available_cores
from face_organizer.networks.devices import CPU as THE_CPU
from face_organizer.networks.devices import Device, choose_one

CPU = -1
Result = TypeVar("Result")


def choose(option: str | None = None, count: Callable[[], int] | None = None) -> tuple[int, str]:
    """The number of the GPU (`CPU`: none) for `--device`, else GPU_ID, and why (empty: it was asked for).

    `auto` is the first GPU that FAISS has, else the CPU; `count` tells how many it has. Raises `DeviceError`
    for one that FAISS does not have.
    """
    there = count or _faiss_gpus

    def auto() -> tuple[list[Device], str]:
        return ([Device("cuda", 0)], "") if there() else ([THE_CPU], "FAISS has no GPU here")

    device, why = choose_one(option, auto=auto)
    why = "" if why == "as asked" else why
    if device.kind == "cpu":
        return CPU, why
    if device.index >= there():
        because = f" ({why})" if why else ""
        raise DeviceError(
            f"GPU {device} was asked for{because}, and FAISS has {there() or 'none'} here: it needs "
            "faiss-gpu (PROFILE=gpu) and compute capability 7.0",
            "--device cpu clusters without one",
        )
    return device.index, why


@cache
def faiss() -> Any:
    """The module `faiss`, with a thread for each core that this process may really use: its own choice is all
    that the machine has, whatever a container's quota."""
    import faiss as module

    module.omp_set_num_threads(available_cores().count)
    return module


def _faiss_gpus() -> int:
    return int(faiss().get_num_gpus()) if hasattr(faiss(), "StandardGpuResources") else 0


def on_gpu(gpu: int, dim: int, what: Callable[[Any], Result]) -> Result:
    """`what(index)` with a flat inner-product index of `dim` dimensions on one GPU; its failures are
    `DeviceError`."""
    module = faiss()
    try:
        config = module.GpuIndexFlatConfig()
        config.device = gpu
        resources = module.StandardGpuResources()
        return what(module.GpuIndexFlatIP(resources, dim, config))
    except (RuntimeError, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise DeviceError(f"GPU {gpu}: FAISS failed ({first})", "try --device cpu") from error

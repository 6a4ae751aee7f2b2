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
    """The number of the GPU (`CPU`: none) for `--device`, else GPU_ID, and a sentence that says why.

    `auto` is the first GPU that FAISS has, else the CPU; `count` tells how many it has. Raises `DeviceError`
    for one that FAISS does not have.
    """
    there = count or _faiss_gpus

    def auto() -> tuple[list[Device], str]:
        return ([Device("cuda", 0)], "") if there() else ([THE_CPU], "FAISS has no GPU here")

    device, why = choose_one(option, auto=auto)
    because = f" ({why})" if why not in ("", "as asked") else ""
    if device.kind == "cpu":
        return CPU, f"clustering runs on the CPU{because}"
    if device.index >= there():
        raise DeviceError(
            f"GPU {device} was asked for{because}, and FAISS has {there() or 'none'} here: it needs "
            "faiss-gpu (PROFILE=gpu) and compute capability 7.0",
            "--device cpu clusters without one",
        )
    return device.index, f"clustering runs on GPU {device}{because}"


@cache
def faiss() -> Any:
    """The module `faiss`, with a thread for each core that this process may really use: its own choice is all
    that the machine has, whatever a container's quota."""
    import faiss as module

    module.omp_set_num_threads(available_cores().count)
    return module


def _faiss_gpus() -> int:
    return int(faiss().get_num_gpus()) if hasattr(faiss(), "StandardGpuResources") else 0


def on_gpu(gpu: int, what: Callable[[Any, Any], Result]) -> Result:
    """`what(faiss, flat inner-product index maker)` on one GPU; its failures are `DeviceError`."""
    module = faiss()

    def index(dim: int) -> Any:
        config = module.GpuIndexFlatConfig()
        config.device = gpu
        return module.GpuIndexFlatIP(resources, dim, config)

    try:
        resources = module.StandardGpuResources()
        return what(module, index)
    except (RuntimeError, AttributeError) as error:
        raise DeviceError(
            f"GPU {gpu}: FAISS failed ({str(error).splitlines()[0]}); try --device cpu"
        ) from error

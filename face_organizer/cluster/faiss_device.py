"""Where FAISS computes: a GPU that was asked for is used, or the run stops."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from face_organizer.errors import DeviceError
from face_organizer.machine import available_cores
from face_organizer.networks.devices import CPU as NO_GPU
from face_organizer.networks.devices import Device, choose_one

CPU = -1


def choose(option: str | None = None, count: Callable[[], int] | None = None) -> tuple[int, str]:
    """The number of the GPU (`CPU`: none) for `--device`, else GPU_ID, and why (empty: it was asked for).

    `auto` is the first GPU of FAISS, which has `count()`, else the CPU. Raises `DeviceError` for others.
    """
    there = count or _faiss_gpus
    first = [Device("cuda", 0)], ""
    device, why = choose_one(option, auto=lambda: first if there() else ([NO_GPU], "FAISS has no GPU here"))
    why = "" if why == "as asked" else why
    if device.kind == "cpu":
        return CPU, why
    if device.index >= there():
        asked = f"GPU {device} was asked for" + (f" ({why})" if why else "")
        needs = "it needs faiss-gpu (PROFILE=gpu) and compute capability 7.0"
        mend = "--device cpu clusters without one"
        raise DeviceError(f"{asked}, and FAISS has {there() or 'none'} here: {needs}", mend)
    return device.index, why


@cache
def faiss() -> Any:
    """The module `faiss`, with a thread for each core of this process's quota, not of the whole machine."""
    import faiss as module

    module.omp_set_num_threads(available_cores().count)
    return module


def _faiss_gpus() -> int:
    return int(faiss().get_num_gpus()) if hasattr(faiss(), "StandardGpuResources") else 0


@contextlib.contextmanager
def on_gpu(gpu: int, dim: int) -> Iterator[Any]:
    """A flat inner-product index of `dim` dimensions on one GPU; its failures are `DeviceError`."""
    try:
        config = faiss().GpuIndexFlatConfig()
        config.device = gpu
        resources = faiss().StandardGpuResources()
        yield faiss().GpuIndexFlatIP(resources, dim, config)
    except (RuntimeError, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise DeviceError(f"GPU {gpu}: FAISS failed ({first})", "try --device cpu") from error

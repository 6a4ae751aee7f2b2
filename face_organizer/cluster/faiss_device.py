"""Where FAISS computes: a GPU that was asked for is used, or the run stops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from face_organizer.errors import DeviceError, UsageError
from face_organizer.machine import available_cores

CPU = -1
Result = TypeVar("Result")


def choose(asked: str, count: Callable[[], int] | None = None) -> tuple[int, str]:
    """The number of the GPU (`CPU`: none) for `auto`, `cpu` or a number, and a sentence that says which and
    why.

    `count` tells how many GPUs FAISS has. Raises `DeviceError` for one that FAISS does not have.
    """
    if asked == "cpu":
        return CPU, "clustering runs on the CPU"
    if asked != "auto" and not asked.isdecimal():
        raise UsageError(f"{asked!r} is no device: auto, cpu or the number of a GPU")
    there = (count or _faiss_gpus)()
    if asked == "auto":
        if there:
            return 0, "clustering runs on GPU 0"
        return CPU, "clustering runs on the CPU (FAISS has no GPU here)"
    if int(asked) >= there:
        raise DeviceError(
            f"GPU {asked} was asked for, and FAISS has {there or 'none'} here: it needs faiss-gpu "
            f"(PROFILE=gpu) and "
            "compute capability 7.0; --device cpu clusters without one"
        )
    return int(asked), f"clustering runs on GPU {asked}"


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

"""Embedders: aligned faces in, vectors out. A new one is one file and one line in `EMBEDDERS`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from face_organizer.errors import PackError
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.types import Float32, Image

if TYPE_CHECKING:
    from face_organizer.networks.packs import Pack

__all__ = ["Embedder", "open_embedder"]


class Embedder(Protocol):
    """What every embedder offers. `embed` may be called from several threads at once."""

    dim: int
    """Length of a vector."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it ran, such as smaller batches for want of memory."""
        ...

    def embed(self, faces: Image) -> Float32:
        """(N, dim) float32, not of unit length, for (N, 112, 112, 3) uint8 RGB faces, aligned by
        `geometry.align`.

        The vector of a face does not depend on the others. ValueError for faces of a wrong shape or dtype.
        """
        ...


EMBEDDERS: dict[str, str] = {
    "arcface": "face_organizer.recognize.arcface:ArcFace",
    "sface": "face_organizer.recognize.arcface:ArcFace",
}
"""Kind of a pack's embedder → where its class is; imported when opened."""


def open_embedder(
    pack: Pack, device: Device, threads: int = 1, cuda: CudaOptions = CUDA_DEFAULTS
) -> Embedder:
    """The embedder of `pack` on `device`. Errors: PackError (files), DeviceError (device)."""
    if pack.embedder.kind not in EMBEDDERS:
        raise PackError(
            f"pack {pack.name}: unknown embedder {pack.embedder.kind!r}; known: {', '.join(EMBEDDERS)}"
        )
    module, _, name = EMBEDDERS[pack.embedder.kind].partition(":")
    opened = getattr(importlib.import_module(module), name)(pack.embedder, device, threads, cuda)
    return cast(Embedder, opened)

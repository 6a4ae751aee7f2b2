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

    name: str
    """For stamps and messages, such as `arcface`."""
    dim: int
    """Length of a vector."""
    preprocessing: str
    """How a face becomes the network's input, in fixed words: part of a table's stamp."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of how it ran, such as smaller batches for want of memory."""
        ...

    def embed(self, chips: Image) -> Float32:
        """(N, dim) float32, not of unit length, for (N, 112, 112, 3) uint8 RGB `chips`.

        The vector of a chip does not depend on the others. ValueError for chips of a wrong shape or dtype.
        """
        ...


EMBEDDERS: dict[str, str] = {
    "arcface": "face_organizer.recognize.arcface:ArcFace",
    "sface": "face_organizer.recognize.sface:SFace",
}
"""Kind of a pack's embedder → where its class is; imported when opened."""


def open_embedder(
    pack: Pack, device: Device, threads: int = 1, cuda: CudaOptions = CUDA_DEFAULTS
) -> Embedder:
    """The embedder of `pack` on `device`. Errors: PackError (files), DeviceError (device)."""
    place = EMBEDDERS.get(pack.embedder.kind)
    if place is None:
        raise PackError(
            f"pack {pack.name}: unknown embedder {pack.embedder.kind!r}; known: {', '.join(EMBEDDERS)}"
        )
    module, _, name = place.partition(":")
    opened = getattr(importlib.import_module(module), name)(pack.embedder, device, threads, cuda)
    return cast(Embedder, opened)

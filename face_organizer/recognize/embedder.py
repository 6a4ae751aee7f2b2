"""Networks that take an aligned face of 112×112 RGB as (x − mean) / std and give one vector.

ArcFace, as InsightFace's packs hold it (J. Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face
Recognition", 2019), and SFace of OpenCV's model zoo (Y. Zhong et al., "SFace: Sigmoid-Constrained Hypersphere
Loss for Robust Face Recognition", 2021), whose graph itself subtracts 127.5 and divides by 128: its role has
mean 0 and std 1.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from face_organizer.errors import PackError
from face_organizer.geometry.align import SIZE
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.graphs import runnable
from face_organizer.networks.packs import Pack, Role
from face_organizer.networks.sessions import open_session, planes
from face_organizer.types import Float32, Image

KINDS = ("arcface", "sface")
CPU_BATCH = 4
"""Faces in one run on a CPU. Measured: SFace takes 9 ms per face in batches of 1 to 4, 13 ms in batches of
32, which leave the cache; MobileFaceNet 4.4 and 8 ms. A GPU gets the whole batch."""


def open_embedder(
    pack: Pack, device: Device, threads: int = 1, cuda: CudaOptions = CUDA_DEFAULTS
) -> Embedder:
    """The embedder of `pack` on `device`. Errors: PackError (files), DeviceError (device)."""
    kind = pack.embedder.kind
    if kind not in KINDS:
        raise PackError(f"pack {pack.name}: unknown embedder {kind!r}; known: {', '.join(KINDS)}")
    return Embedder(pack.embedder, device, threads, cuda)


class Embedder:
    """A network with the mean and std of its role. `dim` is the length of a vector; `notes` say what a user
    should know of how it ran, such as smaller batches for want of memory."""

    def __init__(
        self, role: Role, device: Device, threads: int = 1, cuda: CudaOptions = CUDA_DEFAULTS
    ) -> None:
        graph, single = runnable(role.path, "embed")
        self._role = role
        self._at_once = 1 if single else 0 if device.kind == "cuda" else CPU_BATCH
        self._session = open_session(graph, device, threads=threads, label=str(role.path), cuda=cuda)
        self.notes = self._session.notes
        self.notes += [single] if single else []
        self.dim = role.dim

    def embed(self, faces: Image) -> Float32:
        """(N, dim) float32, not of unit length, for (N, 112, 112, 3) uint8 RGB faces, aligned by
        `geometry.align`.

        The vector of a face does not depend on the others. ValueError for faces of a wrong shape or dtype.
        May be called from several threads at once.
        """
        if faces.ndim != 4 or faces.shape[1:] != (SIZE, SIZE, 3) or faces.dtype != np.uint8:
            raise ValueError(f"faces must be (N, {SIZE}, {SIZE}, 3) uint8, not {faces.shape} {faces.dtype}")
        if not len(faces):
            return np.empty((0, self.dim), np.float32)
        prepare = partial(planes, mean=self._role.mean, std=self._role.std)
        vectors = np.concatenate([run[0] for run in self._session.run_batches(faces, self._at_once, prepare)])
        if vectors.shape != (len(faces), self.dim):
            raise PackError(
                f"{self._role.path} gave {vectors.shape} for {len(faces)} faces of {self.dim} dimensions"
            )
        return vectors.astype(np.float32, copy=False)

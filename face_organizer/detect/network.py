"""What detectors share: the graph, run on a batch or canvas by canvas, and the grid of anchors."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from face_organizer.errors import PackError
from face_organizer.geometry.boxes import Candidates, best_of_each
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.graphs import runnable
from face_organizer.networks.packs import Role
from face_organizer.networks.sessions import open_session
from face_organizer.types import Detections, Float32, Image

STRIDES = (8, 16, 32)
"""Pixels between neighbouring anchors on the three levels of both networks."""
CPU_BATCH = 1
"""Canvases in one run on a CPU. Measured: YuNet at 640 px takes 7 ms alone, 11 ms in a batch of 8 that leaves
the cache; SCRFD gains nothing either. A GPU gets the whole batch."""


class Detector(ABC):
    """A network that says, for anchors on three levels, whether and where there is a face. `detect` may be
    called from several threads at once.

    `fixed_size` is the only height and width that the network takes, in pixels; None: any multiples of 32.
    `batched` says whether several canvases run at once, not one by one; `notes` what a user should know of
    how it ran, such as smaller batches for want of memory.

    Of each kind: `portrait` is the longer side of the canvas on which it finds the face of a portrait or a
    crop best for its cost; `sure` a score that upright faces rarely stay below and turned ones rarely reach
    (measured, see benchmarks/README.md); `real` a mean score at two sizes that faces rarely stay below and
    other things rarely reach; `straight` the tilt, in degrees, up to which its landmarks are as good as on an
    upright face; `iou` the overlap from which two boxes are one face's; `extra` as in `boxes.nms`; `required`
    the outputs it must have; `prepare` makes its input of canvases."""

    portrait: ClassVar[int]
    sure: ClassVar[float]
    real: ClassVar[float]
    straight: ClassVar[float]
    iou: ClassVar[float]
    extra: ClassVar[float] = 0.0
    required: ClassVar[frozenset[str]] = frozenset()
    prepare: ClassVar[Callable[[Image], Float32]]

    def __init__(
        self, role: Role, device: Device, threads: int = 1, cuda: CudaOptions = CUDA_DEFAULTS
    ) -> None:
        graph, single = runnable(role.path, "detect")
        self._path = role.path
        self.batched = not single
        self._at_once = 1 if single else 0 if device.kind == "cuda" else CPU_BATCH
        self._session = open_session(graph, device, threads=threads, label=str(role.path), cuda=cuda)
        self.notes = self._session.notes
        self.notes += [single] if single else []
        height, width = self._session.input_shape[2:]
        self.fixed_size = height if isinstance(height, int) and height > 0 else None
        if self.fixed_size is not None and height != width:
            raise PackError(
                f"{role.path} takes pictures of {width}×{height} only; a square or a free size is needed"
            )
        missing = self.required - set(self._session.outputs)
        if missing:
            raise PackError(f"{role.path} is no {type(self).__name__}: it has no output {min(missing)}")

    def detect(self, canvases: Image, min_score: float) -> list[Detections]:
        """The faces on each of (N, H, W, 3) uint8 RGB `canvases`, in canvas pixels, best score first.

        Faces below `min_score` (0 to 1) and doubles (non-maximum suppression) are left out. The answer for
        a canvas does not depend on the others. ValueError for a canvas of a wrong shape or dtype.
        """
        if canvases.ndim != 4 or canvases.shape[3] != 3 or canvases.dtype != np.uint8:
            raise ValueError(f"canvases must be (N, H, W, 3) uint8, not {canvases.shape} {canvases.dtype}")
        height, width = canvases.shape[1:3]
        side, coarsest = self.fixed_size, STRIDES[-1]
        off = not height or not width or height % coarsest or width % coarsest
        if off or (side and (height, width) != (side, side)):
            wanted = f"{side}×{side}" if side else f"a multiple of {coarsest} pixels each way"
            raise ValueError(f"a canvas must be {wanted}, not {width}×{height}")
        if not len(canvases):
            return []
        found = self._candidates(self._run(canvases), height, width, min_score)
        return best_of_each(len(canvases), found, self.iou, self.extra)

    @abstractmethod
    def _candidates(
        self, outputs: dict[str, Float32], height: int, width: int, min_score: float
    ) -> list[Candidates]:
        """What the `outputs`, each (N, rows, k), say of faces on N canvases of that size, level by level."""

    def _run(self, canvases: Image) -> dict[str, Float32]:
        """Outputs by name, each (N, rows, k), whatever the file's own shape."""
        runs = self._session.run_batches(canvases, self._at_once, type(self).prepare)
        outputs = {}
        for name, parts in zip(self._session.outputs, zip(*runs, strict=True), strict=True):
            rows = [p.reshape(len(p) if self.batched else 1, -1, p.shape[-1]) for p in parts]
            outputs[name] = rows[0] if len(rows) == 1 else np.concatenate(rows)
        return outputs


@functools.lru_cache(maxsize=64)
def grid(height: int, width: int, stride: int, anchors: int) -> Float32:
    """(rows, 2) x, y in pixels of the anchors of one level, line by line, each place `anchors` times."""
    rows, columns = np.divmod(np.arange((height // stride) * (width // stride)), width // stride)
    places = np.stack([columns, rows], axis=1) * stride
    centres = np.repeat(places, anchors, axis=0).astype(np.float32)
    centres.setflags(write=False)
    return centres

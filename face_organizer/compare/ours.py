"""Our detectors as back ends: the finder with the detector of a pack, and the headers of FaceSwap crops."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from face_organizer.compare import Face, Shot
from face_organizer.detect import Detector, Look, finder, open_detector
from face_organizer.faceswap.trust import Crops, samples
from face_organizer.geometry.boxes import prominence
from face_organizer.machine import available_cores
from face_organizer.media.images import Source
from face_organizer.networks import packs
from face_organizer.networks.devices import Device
from face_organizer.types import Detections

CHUNK = 16
"""Pictures that a lane looks at together, as in `embed`."""


def open_pack(location: str, device: Device) -> PackBackend:
    """The detector of the pack at `location`. Raises `PackError`, `DeviceError`."""
    return PackBackend(packs.find(location), device)


def open_headers(_: str, device: Device) -> HeaderBackend:
    """The headers of FaceSwap crops, judged by the detector of the pack `auto`."""
    return HeaderBackend(open_detector(packs.resolve("auto"), device))


class PackBackend:
    """A `Backend`. One picture gets all cores; of many, each lane runs its own on one core, as in `embed`."""

    tunable = True

    def __init__(self, pack: packs.Pack, device: Device) -> None:
        self._lanes = available_cores().count
        self._alone: Detector = open_detector(pack, device, threads=self._lanes)
        self._laned: Detector = open_detector(pack, device, threads=1)
        self._device = device
        self.at_once = CHUNK * self._lanes

    def find(self, shots: Sequence[Shot], look: Look) -> list[list[Face]]:
        """See `Backend.find`."""
        if len(shots) == 1:
            return _found(shots, self._alone, look)
        size = max(1, min(CHUNK, -(-len(shots) // self._lanes)))
        chunks = [shots[i : i + size] for i in range(0, len(shots), size)]
        with ThreadPoolExecutor(self._lanes) as pool:
            parts = pool.map(lambda chunk: _found(chunk, self._laned, look), chunks)
            return [faces for part in parts for faces in part]

    def device(self) -> str:
        """See `Backend.device`; a session on another device than the one asked for does not open."""
        return _named(self._device)


class HeaderBackend:
    """A `Backend`: the face that a crop's header gives, where the detector confirms its folder's headers."""

    at_once = 1
    tunable = False

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._crops: dict[str, Crops] = {}

    def find(self, shots: Sequence[Shot], look: Look) -> list[list[Face]]:
        """See `Backend.find`."""
        return [self._one(shot, look) for shot in shots]

    def _one(self, shot: Shot, look: Look) -> list[Face]:
        if not isinstance(shot.picture, Source):
            return []  # a picture that was changed is no longer the one that its header tells of
        folder = os.path.dirname(shot.path)
        if folder not in self._crops:
            beside = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
            self._crops[folder] = Crops(self._detector, look, samples(beside))
        found = self._crops[folder].read(shot.path, shot.picture).found
        return faces_of(found, 0, shot) if found else []

    def device(self) -> str:
        """See `Backend.device`."""
        return "cpu"


def _named(device: Device) -> str:
    return "cpu" if device.kind == "cpu" else f"cuda:{device.index}"


def _found(shots: Sequence[Shot], detector: Detector, look: Look) -> list[list[Face]]:
    found = finder.find([shot.picture for shot in shots], detector, look)
    return [faces_of(one.faces, one.turn, shot) for one, shot in zip(found, shots, strict=True)]


def faces_of(found: Detections, turn: int, shot: Shot) -> list[Face]:
    """`found` as they cross processes, the main face first."""
    order = np.argsort(-prominence(found.boxes, shot.picture.width, shot.picture.height))
    return [
        {
            "box": _rounded(found.boxes[i]),
            "landmarks": _rounded(found.landmarks[i]),
            "score": None if np.isnan(found.scores[i]) else round(float(found.scores[i]), 4),
            "turn": turn,
        }
        for i in order
    ]


def _rounded(values: Any) -> Any:
    return np.round(values.astype(np.float64), 2).tolist()

"""Ours as back ends: the finder with a pack's detector, alone and with embeddings; FaceSwap's headers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from face_organizer.compare.backends import main_first
from face_organizer.compare.variants import SETTINGS
from face_organizer.detect import Found, Look, finder, open_detector
from face_organizer.faceswap.trust import Crops, samples
from face_organizer.geometry import align, quality
from face_organizer.machine import available_cores, in_order
from face_organizer.media.images import Shrinkable, Source
from face_organizer.networks import packs
from face_organizer.networks.devices import Device
from face_organizer.recognize import open_embedder

CHUNK = 16
"""Pictures that a thread looks at together, as in `embed`."""


class Finder:
    """A `Backend`: the faces that `embed` takes. One picture gets all cores; of many, each thread looks at
    some on one core, as `embed` does."""

    tries = SETTINGS

    def __init__(self, location: str, device: Device) -> None:
        self._threads = available_cores().count
        self._pack, self._device = packs.find(location), device
        self._detectors = {n: open_detector(self._pack, device, threads=n) for n in {1, self._threads}}
        self.at_once = CHUNK * self._threads

    def find(self, paths: Sequence[str], pictures: Sequence[Shrinkable], look: Look) -> list[Found]:
        """See `Backend.find`."""
        if len(pictures) == 1:
            return self._found(pictures, self._threads, look)
        size = max(1, min(CHUNK, -(-len(pictures) // self._threads)))
        chunks = [pictures[i : i + size] for i in range(0, len(pictures), size)]
        each = in_order(chunks, lambda chunk: self._found(chunk, 1, look), self._threads)
        return [found for chunk in each for found in chunk]

    def _found(self, pictures: Sequence[Shrinkable], threads: int, look: Look) -> list[Found]:
        found = []
        for picture, one in zip(pictures, finder.find(pictures, self._detectors[threads], look), strict=True):
            large = quality.size(one.faces.boxes) >= look.min_face_size
            faces = one.faces.take(large & align.usable(one.faces.landmarks))
            found.append(replace(one, faces=main_first(faces, picture)))
        return found

    def device(self) -> str:
        """See `Backend.device`; a session on another device than the one asked for does not open."""
        return "cpu" if self._device.kind == "cpu" else f"cuda:{self._device.index}"


class Embed(Finder):
    """A `Backend` that embeds what it finds, as InsightFace's loop does: the main face, or every one."""

    def __init__(self, location: str, device: Device) -> None:
        super().__init__(location, device)
        self._embedders = {n: open_embedder(self._pack, device, threads=n) for n in self._detectors}

    def _found(self, pictures: Sequence[Shrinkable], threads: int, look: Look) -> list[Found]:
        found = super()._found(pictures, threads, look)
        chips = []
        for one, picture in zip(found, pictures, strict=True):
            assert isinstance(picture, Shrinkable)
            taken = one.faces.landmarks[: None if look.every_face else 1]
            chips += [align.cut(picture, matrix) for matrix in align.estimate(taken)]
        if chips:
            self._embedders[threads].embed(np.stack(chips))
        return found


class Headers:
    """A `Backend`: the face that a FaceSwap crop's header gives, where the detector of the pack `auto`
    confirms its folder's headers."""

    at_once = 1
    tries = ()

    def __init__(self, device: Device) -> None:
        self._detector = open_detector(packs.resolve("auto"), device)
        self._crops: dict[str, Crops] = {}

    def find(self, paths: Sequence[str], pictures: Sequence[Shrinkable], look: Look) -> list[Found]:
        """See `Backend.find`."""
        found = []
        for path, picture in zip(paths, pictures, strict=True):
            assert isinstance(picture, Source)
            folder = os.path.dirname(path)
            if folder not in self._crops:
                beside = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
                self._crops[folder] = Crops(self._detector, look, samples(beside))
            face = self._crops[folder].read(path, picture).found
            found.append(Found(face) if face else Found())
        return found

    def device(self) -> str:
        """See `Backend.device`."""
        return "cpu"

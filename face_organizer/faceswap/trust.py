"""FaceSwap crops on their way through extraction: whose header is believed, and what face it gives.

A folder's headers are believed when the detector confirms them on a sample of its crops; a folder that fails
is detected like any other, and a note says so.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from face_organizer.detect import Detector, finder, looks
from face_organizer.errors import ImageError
from face_organizer.faceswap import (
    SAMPLE,
    Header,
    HeaderError,
    Verdict,
    crop_points,
    five_points,
    read_header,
    settle,
)
from face_organizer.files import printable
from face_organizer.geometry import align
from face_organizer.media import images
from face_organizer.types import Detections

_OLD = (
    2.0  # alignments up to this version go with 'legacy' crops, later ones with 'head': they are judged apart
)


def samples(paths: Sequence[str]) -> dict[str, list[str]]:
    """For each folder of `paths`, up to eight of its PNGs, spread over it, by which its headers are
    judged."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if images.ending(path) == ".png":
            by_folder[os.path.dirname(path)].append(path)
    return {
        folder: [pngs[round(i * (len(pngs) - 1) / max(SAMPLE - 1, 1))] for i in range(SAMPLE)]
        if len(pngs) > SAMPLE
        else pngs
        for folder, pngs in by_folder.items()
    }


@dataclass(frozen=True, slots=True)
class Crop:
    """What a picture's header says: None where it has none; `found` its one face, in the picture's pixels,
    where it is believed; `reason` why not, where it has one that is not."""

    header: Header | None = None
    found: Detections | None = None
    reason: str = ""


class Crops:
    """Reads headers and judges folders, each once; may be called from several threads at once."""

    def __init__(self, detector: Detector, look: looks.Look, samples: Mapping[str, Sequence[str]]) -> None:
        self._detector = detector
        self._look = look
        self._samples = samples
        self._verdicts: dict[tuple[str, bool], Verdict] = {}
        self._locks: dict[tuple[str, bool], threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()

    def read(self, path: str, source: images.Source) -> Crop:
        """The header of the picture at `path` and the face that it gives."""
        try:
            header = read_header(source.data)
        except HeaderError as error:
            return Crop(reason=f"FaceSwap header not used: {error.reason}")
        if header is None:
            return Crop()
        if source.width != source.height:
            return Crop(header, reason="FaceSwap header not used: the picture is no square crop")
        verdict = self._verdict(os.path.dirname(path), header)
        if verdict.centering is None:
            return Crop(
                header, reason="FaceSwap header not used: the detector does not confirm this folder's"
            )
        points = crop_points(header.landmarks[None], source.width, verdict.centering)
        landmarks = five_points(points).astype(np.float32)
        if not align.usable(landmarks)[0]:
            return Crop(header, reason="FaceSwap header not used: its landmarks are no face's")
        box = np.concatenate([points[0].min(axis=0), points[0].max(axis=0)])[None].astype(np.float32)
        return Crop(header, Detections(box, np.full(1, np.nan, np.float32), landmarks))

    def notes(self) -> list[str]:
        """A line for each folder whose headers were not believed."""
        return [
            f"{printable(folder)}: FaceSwap headers not used, faces are detected instead: {verdict.reason}"
            for (folder, _), verdict in sorted(self._verdicts.items())
            if verdict.centering is None
        ]

    def _verdict(self, folder: str, header: Header) -> Verdict:
        key = (folder, header.alignments_version <= _OLD)
        with self._guard:
            lock = self._locks[key]
        with lock:
            if key not in self._verdicts:
                self._verdicts[key] = self._judge(*key)
            return self._verdicts[key]

    def _judge(self, folder: str, old: bool) -> Verdict:
        sample: list[tuple[Header, images.Source]] = []
        for path in self._samples.get(folder, ()):
            try:
                source = images.open_source(path)
                header = read_header(source.data)
            except (ImageError, HeaderError):
                continue  # it cannot bear witness; its own outcome says why
            if header and (header.alignments_version <= _OLD) == old and source.width == source.height:
                sample.append((header, source))
        try:
            found = finder.find([source for _, source in sample], self._detector, self._look)
        except ImageError as error:
            return Verdict(None, {}, 0, f"a sampled crop is damaged ({error.reason})")
        return settle([(h, s.width, f.faces) for (h, s), f in zip(sample, found, strict=True)])

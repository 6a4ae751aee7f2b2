"""A folder's FaceSwap headers are believed when the detector confirms them on a sample of its crops; a folder
that fails is detected like any other, and a note says so."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from face_organizer.detect import Detector, Look, finder
from face_organizer.errors import ImageError
from face_organizer.faceswap.header import Header, HeaderError, read_header
from face_organizer.faceswap.landmarks import Centering, crop_points, five_points
from face_organizer.files import printable
from face_organizer.geometry import align
from face_organizer.media import images
from face_organizer.types import Detections, Float32

SAMPLE = 8
"""Crops of a folder, spread over it, that are enough for `settle`."""

TOLERANCE = 0.25
"""Largest error (see `settle`) of a crop whose header is believed. Seen with YuNet on 334 crops: medians of
0.09 to 0.18 under the right centering, from 0.27 under the next best; none of 400 samples settled wrongly."""

_AGREEING = 0.75  # share of the crops with a detected face that must be within the tolerance
_OLD = 2.0  # alignments up to this version go with 'legacy' crops, later ones with 'head': judged apart


def samples(paths: Sequence[str]) -> dict[str, list[str]]:
    """Of each folder of `paths`, up to eight PNGs, spread over it, by which its headers are judged."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if images.ending(path) == ".png":
            by_folder[os.path.dirname(path)].append(path)
    return {
        folder: [pngs[i] for i in sorted({round(n * (len(pngs) - 1) / (SAMPLE - 1)) for n in range(SAMPLE)})]
        for folder, pngs in by_folder.items()
    }


@dataclass(frozen=True, slots=True)
class Crop:
    """What a picture's header says, if it has one: `found` is its one face, in the picture's pixels, where it
    is believed, else `reason` says why not."""

    header: Header | None = None
    found: Detections | None = None
    reason: str = ""


class Crops:
    """Reads headers and judges folders, each once; may be called from several threads at once."""

    def __init__(self, detector: Detector, look: Look, samples: Mapping[str, Sequence[str]]) -> None:
        self._detector, self._look, self._samples = detector, look, samples
        self._verdicts: dict[tuple[str, bool], Verdict] = {}
        self._locks: dict[tuple[str, bool], threading.Lock] = {}

    def read(self, path: str, source: images.Source) -> Crop:
        """The header of the picture at `path` and the face that it gives."""
        header = None
        try:
            header = read_header(source.data)
            return Crop(header, self._face(os.path.dirname(path), source, header) if header else None)
        except HeaderError as error:
            return Crop(header, reason=f"FaceSwap header not used: {error}")

    def _face(self, folder: str, source: images.Source, header: Header) -> Detections:
        """The face of `header`. Raises `HeaderError` where it is not believed."""
        if source.width != source.height:
            raise HeaderError("the picture is no square crop")
        key = (folder, header.alignments_version <= _OLD)
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._verdicts:
                self._verdicts[key] = self._judge(*key)
        if (centering := self._verdicts[key].centering) is None:
            raise HeaderError("the detector does not confirm this folder's")
        points = crop_points(header.landmarks[None], source.width, centering)
        landmarks = five_points(points)
        if not align.usable(landmarks)[0]:
            raise HeaderError("its landmarks are no face's")
        box = np.concatenate([points[0].min(axis=0), points[0].max(axis=0)])[None].astype(np.float32)
        return Detections(box, np.full(1, np.nan, np.float32), landmarks)

    def notes(self) -> list[str]:
        """A line for each folder whose headers were not believed."""
        return [
            f"{printable(folder)}: FaceSwap headers not used, faces are detected instead: {verdict.reason}"
            for (folder, _), verdict in sorted(self._verdicts.items())
            if verdict.centering is None
        ]

    def _judge(self, folder: str, old: bool) -> Verdict:
        sample = []
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
            return Verdict(None, f"a sampled crop is damaged ({error.reason})")
        return settle([(h, s.width, f.faces) for (h, s), f in zip(sample, found, strict=True)])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `settle` found: `centering` is None where the headers must not be used, and `reason` says why."""

    centering: Centering | None
    reason: str = ""


def settle(sample: Sequence[tuple[Header, int, Detections]]) -> Verdict:
    """The centering of a folder's crops, by a sample of them: header, side in pixels, detected faces of each.

    The error of a crop is the mean distance of the five points that its header predicts from those of the
    nearest detected face, divided by that face's spread (the root mean square distance of its five points
    from their middle). The centering with the smallest median is taken if three of four crops are within
    `TOLERANCE` under it; crops without a detected face are left out, but must not be more than half.
    """
    pairs = [one for one in sample if len(one[2])]
    if not pairs or 2 * len(pairs) < len(sample):
        return Verdict(None, f"the detector found a face on only {len(pairs)} of {len(sample)} crops")
    landmarks = np.stack([header.landmarks for header, _, _ in pairs])
    sizes = np.array([size for _, size, _ in pairs])
    errors = {}
    for centering in Centering:
        points = five_points(crop_points(landmarks, sizes, centering))
        errors[centering] = [_error(p, found) for p, (_, _, found) in zip(points, pairs, strict=True)]
    best = min(Centering, key=lambda centering: np.median(errors[centering]))
    fitting = sum(error <= TOLERANCE for error in errors[best])
    if fitting >= _AGREEING * len(pairs):
        return Verdict(best)
    median = np.median(errors[best])
    size = f"median error {median:.2f} of the face's size, {TOLERANCE:g} is allowed"
    why = size if np.isfinite(median) else "they are no face's"
    meeting = f"header landmarks meet the detected face on only {fitting} of {len(pairs)} crops"
    return Verdict(None, f"{meeting} ({why})")


def _error(points: Float32, found: Detections) -> float:
    """Of a crop; infinite where the header's landmarks are no face's."""
    centred = found.landmarks - found.landmarks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=2).mean(axis=1))
    distance = np.linalg.norm(found.landmarks - points, axis=2).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nan_to_num(distance / spread, nan=np.inf, posinf=np.inf).min())

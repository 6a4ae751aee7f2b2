"""A folder's FaceSwap or DeepFaceLab headers are believed when the detector confirms them on a sample of its
crops; a folder that fails is detected like any other, and a note says so."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from face_organizer.detect import Detector, Look, finder
from face_organizer.errors import ImageError
from face_organizer.faceswap import dfl
from face_organizer.faceswap.header import DEEPFACELAB, FACESWAP, Header, HeaderError, read_header
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

TOLERANCE_IN_CROP = 0.4
"""The same where the header's landmarks are pixels of the crop: no centering has to be told from the next.
Seen with YuNet: 0.07 to 0.19 on 40 faces written for tests, 0.28 on a genuine one, where it is YuNet that
misses; from 0.7 on pictures moved by an eighth, 4.5 on halved ones, 9 where DeepFaceLab took a shoe for a
face."""

_AGREEING = 0.75  # share of the crops with a detected face that must be within the tolerance
_PROGRAMS = {".png": FACESWAP, ".jpg": DEEPFACELAB, ".jpeg": DEEPFACELAB}  # whose crops such files may be
_OLD = 2.0  # alignments up to this version go with 'legacy' crops, later ones with 'head': judged apart


def samples(paths: Sequence[str]) -> dict[str, list[str]]:
    """Of each folder of `paths`, up to eight PNGs and eight JPEGs, spread over it, by which its headers are
    judged."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        if program := _PROGRAMS.get(images.ending(path)):
            alike[os.path.dirname(path), program].append(path)
    chosen: dict[str, list[str]] = defaultdict(list)
    for (folder, _), some in alike.items():
        spread = sorted({round(n * (len(some) - 1) / (SAMPLE - 1)) for n in range(SAMPLE)})
        chosen[folder] += [some[i] for i in spread]
    return dict(chosen)


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
        self._verdicts: dict[tuple[str, Kind], Verdict] = {}
        self._locks: dict[tuple[str, Kind], threading.Lock] = {}
        self._unmet: set[str] = set()

    def read(self, path: str, source: images.Source) -> Crop:
        """The header of the picture at `path` and the face that it gives."""
        header = None
        try:
            header = header_of(path, source)
            return Crop(header, self._face(path, source, header) if header else None)
        except HeaderError as error:
            program = DEEPFACELAB if source.data.startswith(dfl.START) else FACESWAP
            return Crop(header, reason=f"{program} header not used: {error}")

    def _face(self, path: str, source: images.Source, header: Header) -> Detections:
        """The face of `header`. Raises `HeaderError` where it is not believed."""
        if source.width != source.height:
            raise HeaderError("the picture is no square crop")
        key = (os.path.dirname(path), kind(header))
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._verdicts:
                self._verdicts[key] = self._judge(*key)
        if self._verdicts[key].reason:
            raise HeaderError("the detector does not confirm this folder's")
        if path in self._unmet:
            raise HeaderError("the detector sees no such face on it")
        points = _placed(header.landmarks[None], source.width, self._verdicts[key].centering)
        landmarks = five_points(points)
        if not align.usable(landmarks)[0]:
            raise HeaderError("its landmarks are no face's")
        if not ((landmarks >= 0) & (landmarks < source.width)).all():
            raise HeaderError("its landmarks lie outside the picture")
        box = np.concatenate([points[0].min(axis=0), points[0].max(axis=0)])[None].astype(np.float32)
        return Detections(box, np.full(1, np.nan, np.float32), landmarks)

    def notes(self) -> list[str]:
        """A line for each folder whose headers were not believed."""
        return [
            f"{printable(folder)}: {program} headers not used, faces are detected instead: {verdict.reason}"
            for (folder, (program, _)), verdict in sorted(self._verdicts.items(), key=lambda item: item[0])
            if verdict.reason
        ]

    def _judge(self, folder: str, alike: Kind) -> Verdict:
        sample, paths = [], []
        for path in self._samples.get(folder, ()):
            try:
                source = images.open_source(path)
                header = header_of(path, source)
            except (ImageError, HeaderError):
                continue  # it cannot bear witness; its own outcome says why
            if header and kind(header) == alike and source.width == source.height:
                sample.append((header, source))
                paths.append(path)
        try:
            found = finder.find([source for _, source in sample], self._detector, self._look)
        except ImageError as error:
            return Verdict(None, f"a sampled crop is damaged ({error.reason})")
        if alike[0] == DEEPFACELAB:  # of what it took for faces, some are none
            errors = [
                _error(five_points(h.landmarks[None])[0], f.faces)
                for (h, _), f in zip(sample, found, strict=True)
            ]
            self._unmet.update(p for p, e in zip(paths, errors, strict=True) if e > TOLERANCE_IN_CROP)
        return settle([(h, s.width, f.faces) for (h, s), f in zip(sample, found, strict=True)])


Kind = tuple[str, bool]


def kind(header: Header) -> Kind:
    """What crops that are judged together have in common: the program, and whether it centred as of old."""
    return header.program, header.alignments_version <= _OLD


def header_of(path: str, source: images.Source) -> Header | None:
    """What the file says of its face, whichever of the two programs wrote it. Raises `HeaderError`."""
    if source.data.startswith(dfl.START):
        return dfl.read_header(source.data, os.path.basename(path))
    return read_header(source.data)


def _placed(landmarks: Float32, sizes: int | NDArray[np.integer], centering: Centering | None) -> Float32:
    """(n, 68, 2) in pixels of the crops: as they are, or where `centering` puts them."""
    return landmarks if centering is None else crop_points(landmarks, sizes, centering)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `settle` found: `reason` says why headers must not be used; where it is empty, `centering` says
    where the landmarks lie, None for those that are pixels of the crop."""

    centering: Centering | None
    reason: str = ""


def settle(sample: Sequence[tuple[Header, int, Detections]]) -> Verdict:
    """The centering of a folder's crops, by a sample of one kind: header, side in pixels, detected faces.

    The error of a crop is the mean distance of the five points that its header predicts from those of the
    nearest detected face, divided by that face's spread (the root mean square distance of its five points
    from their middle). The centering with the smallest median is taken if three of four crops are within
    `TOLERANCE` under it (`TOLERANCE_IN_CROP` for DeepFaceLab's, whose landmarks need none); crops without a
    detected face are left out, but must not be more than half.
    """
    if not sample:
        return Verdict(None, "of the pictures looked at, none has one that can be used")
    pairs = [one for one in sample if len(one[2])]
    if not pairs or 2 * len(pairs) < len(sample):
        return Verdict(None, f"the detector found a face on only {len(pairs)} of {len(sample)} crops")
    landmarks = np.stack([header.landmarks for header, _, _ in pairs])
    sizes = np.array([size for _, size, _ in pairs])
    in_crop = pairs[0][0].program == DEEPFACELAB
    errors: dict[Centering | None, list[float]] = {}
    for centering in (None,) if in_crop else Centering:
        points = five_points(_placed(landmarks, sizes, centering))
        errors[centering] = [_error(p, found) for p, (_, _, found) in zip(points, pairs, strict=True)]
    best = min(errors, key=lambda centering: np.median(errors[centering]))
    tolerance = TOLERANCE_IN_CROP if in_crop else TOLERANCE
    fitting = sum(error <= tolerance for error in errors[best])
    if fitting >= _AGREEING * len(pairs):
        return Verdict(best)
    median = np.median(errors[best])
    size = f"median error {median:.2f} of the face's size, {tolerance:g} is allowed"
    why = size if np.isfinite(median) else "they are no face's"
    meeting = f"header landmarks meet the detected face on only {fitting} of {len(pairs)} crops"
    return Verdict(None, f"{meeting} ({why})")


def _error(points: Float32, found: Detections) -> float:
    """Of a crop; infinite where the header's landmarks are no face's, or none was found."""
    centred = found.landmarks - found.landmarks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=2).mean(axis=1))
    distance = np.linalg.norm(found.landmarks - points, axis=2).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nan_to_num(distance / spread, nan=np.inf, posinf=np.inf).min(initial=np.inf))

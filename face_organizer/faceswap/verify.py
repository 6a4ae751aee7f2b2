"""Whether the headers of a folder tell the truth, and how its crops are centred, by a detector's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from face_organizer.faceswap.header import Header
from face_organizer.faceswap.landmarks import Centering, crop_landmarks
from face_organizer.types import Detections

SAMPLE = 8
"""Crops of a folder, spread over it, that are enough for `settle`."""

TOLERANCE = 0.25
"""Largest error (see `settle`) of a crop whose header is believed. Seen with YuNet on 512 px crops of 43
faces that dlib marked and of 291 photos of LFW: medians of 0.09 to 0.18 under the right centering, 0.27 to
0.48 under the next best. Of 400 random samples of 8 crops, 95 to 100 % were settled, none wrongly."""

_AGREEING = 0.75  # share of the crops with a detected face that must be within the tolerance


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `settle` found: `centering` is None where the headers must not be used, and `reason` says why."""

    centering: Centering | None
    errors: Mapping[Centering, float]
    """Median error under each centering; NaN where nothing was compared, inf where headers give no points."""
    compared: int
    """Crops on which the detector found a face."""
    reason: str = ""


def settle(sample: Sequence[tuple[Header, int, Detections]]) -> Verdict:
    """The centering of a folder's crops, by a sample of them: header, side in pixels, detected faces of each.

    The error of a crop is the mean distance of the five points that its header predicts from those of the
    nearest detected face, divided by that face's spread (the root mean square distance of its five points
    from their middle). The centering with the smallest median is taken if three of four crops are within
    `TOLERANCE` under it; crops without a detected face are left out, but must not be more than half. Crops of
    one folder that differ in `alignments_version` are best settled apart.
    """
    pairs = [(head, size, found) for head, size, found in sample if len(found)]
    if not pairs or 2 * len(pairs) < len(sample):
        reason = f"the detector found a face on {len(pairs)} of {len(sample)} crops only"
        return Verdict(None, dict.fromkeys(Centering, float("nan")), len(pairs), reason)
    landmarks = np.stack([head.landmarks for head, _, _ in pairs])
    sizes = np.array([size for _, size, _ in pairs])
    errors = {
        centering: [
            _error(points, found)
            for points, (_, _, found) in zip(crop_landmarks(landmarks, sizes, centering), pairs, strict=True)
        ]
        for centering in Centering
    }
    medians = {centering: float(np.median(values)) for centering, values in errors.items()}
    best = min(medians, key=medians.__getitem__)
    fitting = sum(error <= TOLERANCE for error in errors[best])
    if fitting >= _AGREEING * len(pairs):
        return Verdict(best, medians, len(pairs))
    reason = (
        f"header landmarks meet the detected face on {fitting} of {len(pairs)} crops only"
        f" ({_told(medians[best])})"
    )
    return Verdict(None, medians, len(pairs), reason)


def _told(error: float) -> str:
    if not np.isfinite(error):
        return "they are no face's"
    return f"median error {error:.2f} of the face's size, {TOLERANCE:g} is allowed"


def _error(points: np.ndarray, found: Detections) -> float:
    centred = found.landmarks - found.landmarks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=2).mean(axis=1))
    distance = np.linalg.norm(found.landmarks - points, axis=2).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = distance / spread
    return float(np.min(np.where(np.isnan(errors), np.inf, errors)))

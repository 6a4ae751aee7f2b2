"""Whether the headers of a folder tell the truth, and how its crops are centred: asked of a detector, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from face_organizer.faceswap.geometry import Centering, crop_landmarks
from face_organizer.faceswap.header import Header
from face_organizer.types import Detections

SAMPLE = 8
"""Crops of a folder, spread over it, that are enough for `settle`."""

TOLERANCE = 0.25
"""Largest error (see `settle`) of a crop whose header is believed."""

_AGREEING = 0.75  # share of the crops with a detected face that must be within the tolerance


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `settle` found: `centering` is None where the headers must not be used, and `reason` says why."""

    centering: Centering | None
    errors: Mapping[Centering, float]
    """Median error under each centering; NaN where no crop could be compared, inf where no header gives points."""
    compared: int
    """Crops on which the detector found a face."""
    reason: str = ""


def settle(sample: Sequence[tuple[Header, int, Detections]]) -> Verdict:
    """The centering of a folder's crops, judged by a sample: each crop's header, side in pixels, detected faces.

    The error of a crop is the mean distance of the five points that its header predicts from those of the
    nearest detected face, divided by that face's spread (the root mean square distance of its five points
    from their middle; about 0.7 eye distances). The centering with the smallest median is taken if three of
    four crops are within `TOLERANCE` under it; crops without a detected face are left out, but must not be more
    than half. Crops of one folder that differ in `alignments_version` are best settled apart.
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
    if np.mean(np.array(errors[best]) <= TOLERANCE) >= _AGREEING:
        return Verdict(best, medians, len(pairs))
    reason = f"header landmarks miss the detected ones by {medians[best]:.2f} of the face, {TOLERANCE:g} is allowed"
    return Verdict(None, medians, len(pairs), reason)


def _error(points: np.ndarray, found: Detections) -> float:
    centred = found.landmarks - found.landmarks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=2).mean(axis=1))
    distance = np.linalg.norm(found.landmarks - points, axis=2).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = distance / spread
    return float(np.min(np.where(np.isnan(errors), np.inf, errors)))

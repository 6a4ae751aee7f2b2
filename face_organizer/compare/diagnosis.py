"""Why a face is not found, and in what setting it is: every back end on single pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare import backends as table
from face_organizer.compare.benchmark import pictures_of, sample, try_all
from face_organizer.compare.child import Seen
from face_organizer.compare.gender import Judge
from face_organizer.compare.trial import Trial
from face_organizer.detect.looks import Found, Look
from face_organizer.errors import FaceOrganizerError, ImageError, UsageError
from face_organizer.geometry import align, quality
from face_organizer.media import images
from face_organizer.media.listing import listing
from face_organizer.networks import devices

SMALL, TIGHT, DARK, BLURRED, TURNED, PROFILE = 30.0, 0.72, 50.0, 15.0, 30.0, 45.0
"""Pixels; share of the picture's shorter side; mean luma; variance of the Laplacian; degrees; degrees: beyond
these a detector is likely to miss a face. Rules of thumb, which the other settings confirm or not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one back end made of a picture: the faces `found` with the settings that `embed` has by default,
    the main one first; `tried`, by setting or change, what it finds otherwise, where that is more. `gender`
    of the main face is Woman, Man or empty. `error` says why it made nothing of the picture."""

    found: Found
    tried: Mapping[str, Found]
    gender: str = ""
    gender_confidence: float | None = None
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        if self.error:
            return {"error": self.error}
        values: dict[str, Any] = {"faces": _values(self.found)}
        values["tried"] = {name: _values(found) for name, found in self.tried.items()}
        return values | {"gender": self.gender, "gender_confidence": self.gender_confidence}


def _values(found: Found) -> list[dict[str, Any]]:
    def known(array: Any) -> Any:
        return np.round(array.astype(np.float64), 2).tolist() if np.isfinite(array).all() else None

    rows = zip(found.faces.boxes, found.faces.landmarks, found.faces.scores, strict=True)
    return [
        {"box": known(box), "landmarks": known(marks), "score": known(score), "turn": found.turn}
        for box, marks, score in rows
    ]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of one picture. `findings` is by back end; `facts` are those of the main face as it is
    known best (pixels, shares, degrees), or of the picture; `causes`, of what `causes_of` says, may have
    hidden it. `unreadable` says why the picture cannot be read."""

    path: str
    width: int
    height: int
    unreadable: str
    facts: Mapping[str, float]
    causes: Sequence[str]
    findings: Mapping[str, Finding]

    @property
    def looked(self) -> list[str]:
        """Back ends that looked at it."""
        return [name for name, finding in self.findings.items() if not finding.error]

    @property
    def missed_by(self) -> list[str]:
        """Back ends that looked and found nothing."""
        return [name for name in self.looked if not len(self.findings[name].found.faces)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "unreadable": self.unreadable,
            "missed_by": self.missed_by,
            "causes": list(self.causes),
            "facts": dict(self.facts),
            "backends": {name: finding.as_dict() for name, finding in self.findings.items()},
        }


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What `diagnose` found: a diagnosis per picture, sorted by path, and what became of each back end."""

    pictures: Sequence[Diagnosis]
    trials: Sequence[Trial]

    def draw(self, folder: str | Path, captions: Sequence[Sequence[str]]) -> None:
        """Write into `folder` an annotated JPEG per picture, below it its lines of `captions` (the last ones,
        one per back end, in its colour), and `summary.jpg`, a sheet of them all."""
        from face_organizer.compare.drawing import annotate, summary

        for number, (one, lines) in enumerate(zip(self.pictures, captions, strict=True), 1):
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(one.path).stem)[:60]
            annotate(one, lines, Path(folder) / f"{number:03d}_{stem}.jpg")
        summary(self.pictures, Path(folder) / "summary.jpg")


def diagnose(
    files: Sequence[str | Path] = (),
    *,
    inputs: Sequence[str | Path] = (),
    samples: int = 10,
    seed: int = 0,
    backends: Sequence[str] = (),
    time_limit: float = 120.0,
    device: str | None = None,
    allow_downloads: bool = False,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    on_progress: Callable[[str, int, int], object] = lambda name, done, total: None,
) -> Diagnosed:
    """Find out why a face is not found, and in what setting it is.

    Looks at each of `files` and at `samples` pictures out of `inputs` as `embed` does by default; where that
    finds nothing, in other settings of `embed`, or, with detectors that have none, at the picture enlarged,
    turned, with a border. The other options are those of `benchmark`. Pictures are opened read-only.

    A picture that cannot be read, or that a back end cannot take, is a result that says so. Raises
    `UsageError`, `DeviceError`, and `FaceOrganizerError` where there are no pictures.
    """
    if not files and not inputs:
        raise UsageError("no pictures are named", "name some, or a folder by --input")
    specs = table.choose(backends, downloads=allow_downloads)
    chosen = devices.require(devices.choose_one(device)[0])
    named = listing(files, recursive=recursive, exclude=exclude).paths
    taken = sample(pictures_of(inputs, recursive=recursive, exclude=exclude), samples, seed)
    paths = sorted({*named, *taken}, key=os.fsencode)
    if not paths:
        raise FaceOrganizerError("no pictures there")
    trials = try_all(
        specs, paths, on_progress, device=chosen, look=Look(), limit=time_limit, tries=True
    )
    seen = {trial.name: {one.path: one for one in trial.pictures} for trial in trials}
    with Judge(chosen) as judge:
        pictures = [
            _one(path, {t.name: _finding(seen[t.name].get(path), t, judge) for t in trials if t.pictures})
            for path in paths
        ]
    return Diagnosed(pictures, trials)


def _finding(seen: Seen | None, trial: Trial, judge: Judge) -> Finding:
    if seen is None or seen.error:
        return Finding(Found(), {}, error=seen.error if seen else trial.why)
    more = {n: f for n, f in seen.tried.items() if len(f.faces) > len(seen.found.faces)}
    if judge.name and len(seen.found.faces):
        return Finding(seen.found, more, *judge.of(seen.path, seen.found))
    return Finding(seen.found, more)


def _one(path: str, findings: Mapping[str, Finding]) -> Diagnosis:
    try:
        source = images.open_source(path)
        main = _surest(findings.values())
        if main is not None:
            facts = facts_of(main, source)
        else:
            facts = {"picture_brightness": round(float(source.pixels(512)[0].mean()), 1)}
        return Diagnosis(path, source.width, source.height, "", facts, causes_of(facts), findings)
    except ImageError as error:
        return Diagnosis(path, 0, 0, error.reason, {}, [], findings)


def _surest(findings: Any) -> Found | None:
    """The main face as it is known best: as it is rather than otherwise, with landmarks, by its score."""
    known = [(True, f.found) for f in findings if len(f.found.faces)]
    known = known or [(False, found) for f in findings for found in list(f.tried.values())[:1]]

    def rank(found: Found) -> tuple[bool, float]:
        return bool(align.usable(found.faces.landmarks[:1])[0]), float(np.nan_to_num(found.faces.scores[0]))

    return max((found for _, found in known), key=rank, default=None)


def facts_of(found: Found, source: images.Source) -> dict[str, float]:
    """Size, place, sharpness, brightness and pose of the main face; what landmarks tell only where it has
    them."""
    box, landmarks = found.faces.boxes[:1], found.faces.landmarks[:1]
    size = float(quality.size(box)[0])
    outside = quality.outside(box, np.array([source.width]), np.array([source.height]))
    facts = {
        "size": round(size, 1),
        "share": round(size / min(source.width, source.height), 3),
        "outside": round(float(outside[0]), 3),
    }
    if align.usable(landmarks)[0]:
        sharpness, brightness = quality.light([align.cut(source, align.estimate(landmarks)[0])])
        facts |= {"sharpness": round(float(sharpness[0]), 1), "brightness": round(float(brightness[0]), 1)}
        angles = zip(("yaw", "pitch", "roll"), quality.angles(landmarks), strict=True)
        facts |= {name: round(float(angle[0])) for name, angle in angles}
    return facts


def causes_of(facts: Mapping[str, float]) -> list[str]:
    """What makes a face of such facts hard to find: of `small`, `tight`, `dark`, `turned`, `profile`,
    `blurred`, or `dark picture` where no face is known."""
    causes = {
        "small": facts.get("size", SMALL) < SMALL,
        "tight": facts.get("share", 0.0) > TIGHT or facts.get("outside", 0.0) > 0.1,
        "dark": facts.get("brightness", DARK) < DARK,
        "turned": abs(facts.get("roll", 0.0)) > TURNED,
        "profile": abs(facts.get("yaw", 0.0)) > PROFILE,
        "blurred": facts.get("sharpness", BLURRED) < BLURRED,
        "dark picture": facts.get("picture_brightness", DARK) < DARK,
    }
    return [name for name, is_so in causes.items() if is_so]

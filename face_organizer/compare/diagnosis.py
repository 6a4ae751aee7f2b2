"""Why a face is not found, and in what setting it is: every back end on single pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare.backends import choose
from face_organizer.compare.benchmark import judge_gender, pictures_of, sample
from face_organizer.compare.trial import Progress, Seen, Trial, try_out
from face_organizer.detect import Found, Look
from face_organizer.errors import FaceOrganizerError, ImageError, UsageError
from face_organizer.geometry import align, quality
from face_organizer.media import images
from face_organizer.media.listing import listing
from face_organizer.networks import devices

SMALL, TIGHT, DARK, BLURRED, TURNED, PROFILE = 30.0, 0.72, 50.0, 15.0, 30.0, 45.0
"""Pixels; share of the picture's shorter side; mean luma; variance of the Laplacian; degrees; degrees: beyond
these a detector is likely to miss a face. Rules of thumb, which the other settings confirm or not."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of one picture. `findings` is what each back end made of it; `facts` are of the main face
    as it is known best (see `facts_of`); `causes` (see `causes_of`) may have hidden it; `unreadable` says why
    the picture cannot be read."""

    path: str
    unreadable: str
    facts: Mapping[str, float]
    causes: Sequence[str]
    findings: Mapping[str, Seen]

    @property
    def looked(self) -> list[str]:
        """Back ends that could look at it."""
        return [name for name, seen in self.findings.items() if not seen.error]

    @property
    def missed_by(self) -> list[str]:
        """Back ends that looked and found nothing with the default settings."""
        return [name for name in self.looked if not len(self.findings[name].found.faces)]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        findings = {
            name: {
                "faces": _values(seen.found),
                "tried": {setting: _values(found) for setting, found in seen.tried.items()},
                "error": seen.error,
                "gender": seen.gender,
                "gender_confidence": seen.gender_confidence,
            }
            for name, seen in self.findings.items()
        }
        kept = {key: getattr(self, key) for key in ("path", "unreadable", "facts", "causes", "missed_by")}
        return kept | {"backends": findings}


def _values(found: Found) -> list[dict[str, Any]]:
    def known(value: Any) -> Any:
        return value.round(4).tolist() if np.isfinite(value).all() else None

    faces = found.faces
    return [
        {"box": known(box), "score": known(score), "landmarks": known(landmarks), "turn": found.turn}
        for box, score, landmarks in zip(faces.boxes, faces.scores, faces.landmarks, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What `diagnose` found: a diagnosis per picture, sorted by path, and what became of each back end."""

    pictures: Sequence[Diagnosis]
    trials: Sequence[Trial]

    def draw(self, folder: str | Path, captions: Sequence[Sequence[str]]) -> None:
        """Write into `folder` an annotated JPEG per picture, under it its `captions` (lines, the last of them
        one per back end, in its colour), and `summary.jpg`, a sheet of them all."""
        from face_organizer.compare.drawing import annotate, summary

        groups: dict[str, list[str]] = {"Found by all": [], "Missed by some or all": [], "Cannot be read": []}
        for number, (one, lines) in enumerate(zip(self.pictures, captions, strict=True), 1):
            stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(one.path).stem)[:60]
            target = Path(folder) / f"{number:03d}_{stem}.jpg"
            annotate(one.path, list(one.findings.values()), lines, target)
            title = "Missed by some or all" if one.missed_by or not one.looked else "Found by all"
            groups["Cannot be read" if one.unreadable else title].append(one.path)
        summary(groups, Path(folder) / "summary.jpg")


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
    on_progress: Progress = lambda name, done, total: None,
) -> Diagnosed:
    """Find out why a face is not found, and in what setting it is.

    Looks at each of `files` and at `samples` pictures out of `inputs` as `embed` does by default; where that
    finds nothing, in other settings of `embed` or, by detectors that have none, at the picture enlarged,
    turned, with a border. The other options are those of `benchmark`. Pictures are opened read-only.

    What cannot be read, or is too much for a back end, is a result that says so. Raises `UsageError`,
    `DeviceError`, and `FaceOrganizerError` where there are no pictures.
    """
    if not files and not inputs:
        raise UsageError("no pictures are named", "name some, or a folder by --input")
    specs = choose(backends, downloads=allow_downloads)
    chosen = devices.require(devices.choose_one(device)[0])
    named = listing(files, recursive=recursive, exclude=exclude).paths
    taken = sample(pictures_of(inputs, recursive, exclude), samples, seed)
    paths = sorted({*named, *taken}, key=os.fsencode)
    if not paths:
        raise FaceOrganizerError("no pictures there")
    words: dict[str, Any] = {"device": chosen, "limit": time_limit, "on_progress": on_progress}
    trials = [try_out(spec, paths, look=Look(), tries=True, **words) for spec in specs]
    judge_gender([one for trial in trials for one in trial.looked], chosen)
    seen = {path: {t.name: one for t in trials for one in t.seen if one.path == path} for path in paths}
    return Diagnosed([_one(path, seen[path]) for path in paths], trials)


def _one(path: str, findings: Mapping[str, Seen]) -> Diagnosis:
    try:
        source = images.open_source(path)
        facts = facts_of(_surest(findings.values()), source)
    except ImageError as error:
        return Diagnosis(path, error.reason, {}, [], findings)
    return Diagnosis(path, "", facts, causes_of(facts), findings)


def _surest(seen: Iterable[Seen]) -> Found:
    """The main face as it is known best: in the default setting rather than another, with landmarks, by its
    score. Empty where nobody found one."""

    def rank(found: Found) -> tuple[bool, float]:
        return bool(align.usable(found.faces.landmarks[:1])[0]), float(np.nan_to_num(found.faces.scores[0]))

    found = [one.found for one in seen if len(one.found.faces)]
    found = found or [other for one in seen for other in one.tried.values()]
    return max(found, key=rank, default=Found())


def facts_of(found: Found, source: images.Source) -> dict[str, float]:
    """Size (pixels), place (shares), sharpness, brightness and pose (degrees) of the main face, as far as
    they are known; without a face, the brightness of the picture."""
    box, landmarks = found.faces.boxes[:1], found.faces.landmarks[:1]
    if not len(box):
        return {"picture_brightness": round(float(source.pixels(512)[0].mean()), 1)}
    size = float(quality.size(box)[0])
    outside = quality.outside(box, np.array([source.width]), np.array([source.height]))
    facts = {"size": size, "share": size / min(source.width, source.height), "outside": float(outside[0])}
    if align.usable(landmarks)[0]:
        measured = quality.light([align.cut(source, align.estimate(landmarks)[0])])
        names = ("sharpness", "brightness", "yaw", "pitch", "roll")
        values = (*measured, *quality.angles(landmarks))
        facts |= {name: float(value[0]) for name, value in zip(names, values, strict=True)}
    return {name: round(value, 2) for name, value in facts.items()}


def causes_of(facts: Mapping[str, float]) -> list[str]:
    """What makes a face of such facts hard to find: of `small`, `tight`, `dark`, `turned`, `profile`,
    `blurred`; `dark picture` where no face is known."""
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

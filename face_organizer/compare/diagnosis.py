"""Why a face is not found, and in what setting it is: every back end on single pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare.backends import choose
from face_organizer.compare.benchmark import judge_gender, pictures_of, sample
from face_organizer.compare.trial import Seen, Trial, try_out
from face_organizer.embed.setup import EmbedOptions
from face_organizer.errors import FaceOrganizerError, ImageError, UsageError
from face_organizer.geometry import align, quality
from face_organizer.media import images
from face_organizer.media.listing import listing
from face_organizer.networks import devices
from face_organizer.table import read
from face_organizer.types import NO_FACES, Detections

CAUSES = {
    "small": ("size", 30, math.inf),  # pixels
    "tight": ("share", 0, 0.72),  # of the picture's shorter side
    "cut off": ("outside", 0, 0.1),  # share of the face
    "dark": ("brightness", 50, 255),  # mean luma
    "turned": ("roll", -30, 30),  # degrees
    "in profile": ("yaw", -45, 45),  # degrees
    "blurred": ("sharpness", 15, math.inf),  # variance of the Laplacian
    "dark all over": ("picture_brightness", 50, 255),  # mean luma
}
"""What makes a face hard to find: a fact, and between which values it does no harm. Rules of thumb, which the
other settings confirm or not."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of one picture. `findings` is what each back end made of it; `facts` are of the main face
    as it is known best (see `facts_of`); `unreadable` says why the picture cannot be read."""

    path: str
    unreadable: str
    facts: Mapping[str, float]
    findings: Mapping[str, Seen]

    @property
    def causes(self) -> dict[str, str]:
        """Which of `CAUSES` there are, each with its fact."""
        return {c: f for c, (f, low, high) in CAUSES.items() if not low <= self.facts.get(f, low) <= high}

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
        names = "path unreadable facts causes missed_by"
        return {name: getattr(self, name) for name in names.split()} | {
            "backends": {name: _values(seen) for name, seen in self.findings.items()}
        }


def _values(seen: Seen) -> dict[str, Any]:
    scores = [None if math.isnan(score) else score for score in seen.found.faces.scores.round(4).tolist()]
    tried = {setting: len(found.faces) for setting, found in seen.tried.items()}
    kept = {name: getattr(seen, name) for name in ("error", "gender", "gender_confidence")}
    return {"boxes": seen.found.faces.boxes.round(1).tolist(), "scores": scores, "tried": tried} | kept


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """What `diagnose` found: a diagnosis per picture, sorted by path, and what became of each back end."""

    pictures: Sequence[Diagnosis]
    trials: Sequence[Trial]

    def draw(self, folder: str | Path) -> None:
        """Write into `folder` an annotated JPEG per picture, and `summary.jpg`, a sheet of them all."""
        from face_organizer.compare.drawing import draw

        draw({one.path: one.findings for one in self.pictures}, Path(folder))


def diagnose(
    files: Sequence[str | Path] = (),
    *,
    inputs: Sequence[str | Path] = (),
    samples: int = 10,
    backends: Sequence[str] = (),
    time_limit: float = 120.0,
    device: str | None = None,
    allow_downloads: bool = False,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    table: str | Path | None = None,
    on_progress: Callable[[str], object] = lambda name: None,
) -> Diagnosed:
    """Find out why a face is not found, and in what setting it is.

    Looks at each of `files` and at `samples` pictures out of `inputs` as `embed` did for `table`, or does by
    default, and, where ours find nothing, in other settings of `embed`; of a video at the frame at second 1.
    The other options are those of `benchmark`. Pictures are opened read-only.

    What cannot be read, or is too much for a back end, is a result that says so. Raises `UsageError`,
    `DeviceError`, and `FaceOrganizerError` where there are no pictures.
    """
    if not files and not inputs:
        raise UsageError("no pictures are named", "name some, or a folder by --input")
    options = EmbedOptions.of(read(table).stamp if table else None)
    wanted = choose(backends, downloads=allow_downloads)
    chosen = devices.require(devices.choose_one(device)[0])
    named = listing(files, recursive=recursive, exclude=exclude).paths
    taken = sample(pictures_of(inputs, recursive, exclude), samples)
    paths = sorted({*named, *taken}, key=os.fsencode)
    if not paths:
        raise FaceOrganizerError("no pictures there")
    trials = []
    for name, opener in wanted.items():
        on_progress(name)
        trials.append(try_out(name, opener, paths, chosen, time_limit, settings=True, options=options))
    judge_gender(trials, chosen)
    pictures = []
    for path in paths:
        findings = {trial.name: one for trial in trials for one in trial.seen if one.path == path}
        facts, unreadable = dict[str, float](), ""
        try:
            facts = facts_of(_surest(findings.values()), options.open(path))
        except ImageError as error:
            unreadable = error.reason
        pictures.append(Diagnosis(path, unreadable, facts, findings))
    return Diagnosed(pictures, trials)


def _surest(seen: Iterable[Seen]) -> Detections:
    """The faces that show the main one best: in the default setting, with landmarks, by score."""

    def rank(faces: Detections) -> tuple[bool, float]:
        return bool(align.usable(faces.landmarks[:1])[0]), float(np.nan_to_num(faces.scores[0]))

    found = [one.found.faces for one in seen if len(one.found.faces)]
    found = found or [other.faces for one in seen for other in one.tried.values()]
    return max(found, key=rank, default=NO_FACES)


def facts_of(faces: Detections, source: images.Shrinkable) -> dict[str, float]:
    """Size (pixels), place (shares), sharpness, brightness and pose (degrees) of the main face, as far as
    they are known; without a face, the brightness of the picture."""
    box, landmarks = faces.boxes[:1], faces.landmarks[:1]
    if not len(box):
        return {"picture_brightness": round(float(source.pixels(512)[0].mean()), 1)}
    size = float(quality.size(box)[0])
    outside = quality.outside(box, np.array([source.width]), np.array([source.height]))
    facts = {"size": size, "share": size / min(source.width, source.height), "outside": float(outside[0])}
    if align.usable(landmarks)[0]:
        light = quality.light([align.cut(source, align.estimate(landmarks)[0])])
        names, values = ("sharpness", "brightness", "yaw", "pitch", "roll"), quality.angles(landmarks)
        facts |= {name: float(value[0]) for name, value in zip(names, (*light, *values), strict=True)}
    return {name: round(value, 2) for name, value in facts.items()}

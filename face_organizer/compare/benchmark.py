"""Detectors side by side on a sample of pictures: how fast, how many faces, which one to use."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare.backends import choose
from face_organizer.compare.trial import Progress, Seen, Trial, try_out
from face_organizer.compare.truth import against, read_boxes
from face_organizer.detect import Look
from face_organizer.errors import FaceOrganizerError, ImageError, ModelMissingError, UsageError
from face_organizer.files import count, printable
from face_organizer.gender import GenderModel, open_model
from face_organizer.geometry import align
from face_organizer.media.images import open_source
from face_organizer.media.listing import listing
from face_organizer.media.video import is_video
from face_organizer.networks import devices
from face_organizer.types import Faces

NEAR = 0.05
"""How much lower the score of a back end may be than the best and it still be recommended for its speed."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What `benchmark` measured, the fastest back end first; `pictures` were looked at of the `available`.
    `recommended` is the fastest of those whose score comes within `NEAR` of the best, None where none found a
    face. `judge` is the gender model by which `Trial.matched` counts, empty where `no_judge` says why."""

    trials: Sequence[Trial]
    recommended: Trial | None
    pictures: int
    available: int
    judge: str
    no_judge: str

    def plot(self, path: str | Path) -> None:
        """Draw speed and detection of each back end as PNG."""
        from face_organizer.compare.drawing import plot

        plot(self.trials, self.recommended, self.pictures, Path(path))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        best = self.recommended
        return {
            "pictures": self.pictures,
            "folder": self.available,
            "backends": [trial.as_dict() for trial in self.trials],
            "recommended": best and best.name,
            "hours": best and self.available / best.best_speed / 3600,
        }


def benchmark(
    inputs: Sequence[str | Path],
    *,
    samples: int = 50,
    seed: int = 0,
    backends: Sequence[str] = (),
    faces: str | None = None,
    gender: str = "Woman",
    boxes: str | Path | None = None,
    time_limit: float = 120.0,
    device: str | None = None,
    allow_downloads: bool = False,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    on_progress: Progress = lambda name, done, total: None,
) -> Benchmark:
    """Compare face detectors on a sample of the pictures in `inputs` (folders or files).

    `samples` pictures are taken, of each folder its share; another `seed` takes others. `backends` are names
    or groups (docs/detectors.md), by default those usual. `faces` is what ours look for, `largest` or `all`
    (by default `all` with `boxes`, else `largest`); the others always look for all. `gender` is the one that
    `Trial.matched` counts, Woman or Man. `boxes` is XML with true boxes, as dlib's imglab writes it, for
    precision and recall; only its pictures are taken then. Each back end has `time_limit` seconds. `device`
    is `auto`, `cpu` or a card's number; None is $GPU_ID, else auto. `allow_downloads` lets DeepFace fetch
    weights. `on_progress` gets the name of a back end, the pictures that it has done, and their total.

    A back end that crashes, hangs or is not installed is a trial that says so. Raises `UsageError`,
    `DeviceError`, and `FaceOrganizerError` where there are no pictures.
    """
    truth = read_boxes(Path(boxes)) if boxes else {}
    specs = choose(backends, downloads=allow_downloads)
    chosen = devices.require(devices.choose_one(device)[0])
    paths = pictures_of(inputs, recursive, exclude)
    if not paths:
        raise FaceOrganizerError(f"no pictures in {', '.join(printable(i) for i in inputs)}")
    taken = sample([p for p in paths if not boxes or p in truth], samples, seed)
    if not taken:
        raise UsageError(f"{printable(str(boxes))} names none of the {count(len(paths), 'picture')}")
    look = Look(every_face=(faces or ("all" if boxes else "largest")) == "all")
    words: dict[str, Any] = {"device": chosen, "look": look, "limit": time_limit, "on_progress": on_progress}
    trials = [try_out(spec, taken, **words) for spec in specs]
    judge, no_judge = judge_gender([one for trial in trials for one in trial.looked], chosen)
    for trial in trials:
        if judge and trial.looked:
            trial.matched = sum(one.gender == gender for one in trial.looked)
        if boxes:
            found = ((one.path, one.found.faces) for one in trial.looked)
            trial.precision, trial.recall = against(truth, found)
    trials.sort(key=lambda trial: -trial.best_speed)
    return Benchmark(trials, recommend(trials), len(taken), len(paths), judge, no_judge)


def pictures_of(inputs: Sequence[str | Path], recursive: bool, exclude: Sequence[str]) -> list[str]:
    """The pictures in `inputs`, sorted; videos are left out. Raises `UsageError`."""
    found = listing(inputs, recursive=recursive, exclude=exclude)
    return [path for path in found.paths if not is_video(path)]


def sample(paths: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of `paths`, which are sorted: one out of each of so many equal stretches, so that each folder
    gives its share; the same ones for a `seed`."""
    if count >= len(paths):
        return list(paths)
    rng, ends = random.Random(seed), [i * len(paths) // count for i in range(count + 1)]
    return [paths[rng.randrange(start, end)] for start, end in pairwise(ends)]


def judge_gender(pictures: Sequence[Seen], device: devices.Device) -> tuple[str, str]:
    """Set the gender of the main faces, by the model that `gender --model auto` takes; its name, or an empty
    one and why there is none."""
    try:
        model = open_model("auto", device)
    except ModelMissingError as error:
        return "", str(error)
    try:
        for one in pictures:
            if len(one.found.faces):
                one.gender, one.gender_confidence = _judged(one, model)
    finally:
        model.close()
    return model.name, ""


def _judged(one: Seen, model: GenderModel) -> tuple[str, float | None]:
    box, landmarks = one.found.faces.boxes[:1], one.found.faces.landmarks[:1]
    if not align.usable(landmarks)[0]:
        landmarks = align.about_eyes(align.eyes_in(box[0].tolist()))[None].astype(np.float32)
    row = Faces.empty(1, box=box, landmarks=landmarks, turn=np.array([one.found.turn], np.int16))
    try:
        woman = float(model.judge(model.crop(open_source(one.path), row)).woman[0])
    except ImageError:
        return "", None
    confidence = max(woman, 1 - woman)
    return ("Woman" if woman > 0.5 else "Man") * (confidence >= model.min_confidence), confidence


def recommend(trials: Sequence[Trial]) -> Trial | None:
    """The fastest of those that ran to their end and find nearly as much as the best."""
    full = [trial for trial in trials if trial.state == "ran" and trial.found]
    best = max((trial.score for trial in full), default=0.0)
    near = [trial for trial in full if trial.score >= best - NEAR]
    return max(near, key=lambda trial: trial.best_speed, default=None)

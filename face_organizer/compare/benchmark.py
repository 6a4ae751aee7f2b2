"""Detectors side by side on a sample of pictures: how fast, how many faces, which one to use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare.backends import choose
from face_organizer.compare.trial import Trial, try_out
from face_organizer.compare.truth import against, read_boxes
from face_organizer.embed.setup import EmbedOptions
from face_organizer.errors import FaceOrganizerError, ImageError, ModelMissingError, UsageError
from face_organizer.files import printable
from face_organizer.gender import open_model
from face_organizer.geometry import align
from face_organizer.media.listing import listing
from face_organizer.media.video import is_video
from face_organizer.networks import devices
from face_organizer.types import Faces

NEAR = 0.05
"""How much lower the share of a back end may be than the best and it still be recommended for its speed."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What `benchmark` measured, the fastest back end first; `pictures` were looked at of the `available`.
    `recommended` is the fastest of those whose share of pictures with a face comes within `NEAR` of the best,
    None where none found a face."""

    trials: Sequence[Trial]
    recommended: Trial | None
    pictures: int
    available: int

    def plot(self, path: str | Path) -> None:
        """Draw speed and detection of each back end as PNG."""
        from face_organizer.compare.drawing import plot

        plot(self.trials, self.recommended, self.pictures, Path(path))

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `hours` are what the recommended back end would take for all `available` pictures."""
        best = self.recommended
        return {
            "pictures": self.pictures,
            "folder": self.available,
            "backends": [trial.as_dict() for trial in self.trials],
            "recommended": best and best.name,
            "hours": self.available / best.speed / 3600 if best and best.speed else None,
        }


def benchmark(
    inputs: Sequence[str | Path],
    *,
    samples: int = 50,
    backends: Sequence[str] = (),
    gender: str = "Woman",
    boxes: str | Path | None = None,
    time_limit: float = 120.0,
    device: str | None = None,
    allow_downloads: bool = False,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    on_progress: Callable[[str], object] = lambda name: None,
) -> Benchmark:
    """Compare face detectors on a sample of the pictures in `inputs` (folders or files).

    `samples` pictures are taken, of each folder its share. `backends` are names or groups
    (docs/detectors.md), by default all; ours look for the main face, the others for all. `gender` is the one
    that `Trial.matched` counts, Woman or Man. `boxes` is XML with the true faces, as dlib's imglab writes it,
    for precision and recall; only its pictures are taken then, and ours look for all faces too. Each back end
    has `time_limit` seconds. `device` is `auto`, `cpu` or a card's number; None is $GPU_ID, else auto.
    `allow_downloads` lets DeepFace fetch weights. `on_progress` gets the name of each back end before it is
    tried.

    A back end that crashes, hangs or is not installed is a trial that says so. Raises `UsageError`,
    `DeviceError`, and `FaceOrganizerError` where there are no pictures.
    """
    wanted = choose(backends, downloads=allow_downloads)
    chosen = devices.require(devices.choose_one(device)[0])
    paths = pictures_of(inputs, recursive, exclude)
    if not paths:
        raise FaceOrganizerError(f"no pictures in {', '.join(printable(i) for i in inputs)}")
    truth = read_boxes(Path(boxes)) if boxes else {}
    taken = sample([path for path in paths if not boxes or path in truth], samples)
    if not taken:
        raise UsageError(f"{printable(str(boxes))} names none of the pictures")
    trials = []
    for name, opener in wanted.items():
        on_progress(name)
        trial = try_out(
            name, opener, taken, chosen, time_limit, options=EmbedOptions("all" if boxes else "largest")
        )
        if boxes and trial.looked:
            found = [(one.path, one.found.faces) for one in trial.looked]
            trial.precision, trial.recall = against(truth, found)
        trials.append(trial)
    if judge_gender(trials, chosen):
        for trial in filter(lambda trial: trial.looked, trials):
            trial.matched = sum(one.gender == gender for one in trial.looked)
    trials.sort(key=lambda trial: -(trial.speed or 0))
    return Benchmark(trials, recommend(trials), len(taken), len(paths))


def pictures_of(inputs: Sequence[str | Path], recursive: bool, exclude: Sequence[str]) -> list[str]:
    """The pictures in `inputs`, sorted; videos are left out. Raises `UsageError`."""
    return [p for p in listing(inputs, recursive=recursive, exclude=exclude).paths if not is_video(p)]


def sample(paths: Sequence[str], count: int) -> Sequence[str]:
    """`count` of `paths`, evenly spread: each folder gives its share."""
    count = min(count, len(paths))
    return [paths[(2 * i + 1) * len(paths) // (2 * count)] for i in range(count)]


def judge_gender(trials: Sequence[Trial], device: devices.Device) -> bool:
    """Set the gender of the main faces, by the model that `gender --model auto` takes, where one is
    installed."""
    try:
        model = open_model("auto", device)
    except ModelMissingError:
        return False
    with closing(model):
        for one in (one for trial in trials for one in trial.looked if len(one.found.faces)):
            box, landmarks = one.found.faces.boxes[:1], one.found.faces.landmarks[:1]
            if not align.usable(landmarks)[0]:
                landmarks = align.about_eyes(align.eyes_in(box[0].tolist()))[None].astype(np.float32)
            row = Faces.empty(1, box=box, landmarks=landmarks, turn=one.found.turns[:1].astype(np.int16))
            with suppress(ImageError):
                picture = EmbedOptions().open(one.path)
                woman = float(model.judge(model.crop(picture, row)).woman[0])
                one.gender_confidence = max(woman, 1 - woman)
                if one.gender_confidence >= model.min_confidence:
                    one.gender = "Woman" if woman > 0.5 else "Man"
    return True


def recommend(trials: Sequence[Trial]) -> Trial | None:
    """The fastest of those that ran to their end and find a face nearly as often as the best."""
    full = [trial for trial in trials if trial.state == "ran" and trial.share]
    best = max((trial.share for trial in full), default=0.0)
    near = [trial for trial in full if trial.share >= best - NEAR]
    return max(near, key=lambda trial: trial.speed or 0, default=None)

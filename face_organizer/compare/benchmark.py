"""Detectors side by side on a sample of pictures: how fast, how many faces, which one to use."""

from __future__ import annotations

import os
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare import backends
from face_organizer.compare.gender import Judge
from face_organizer.compare.trial import Trial, try_out
from face_organizer.compare.truth import Truth, matches
from face_organizer.detect.looks import Look
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import printable
from face_organizer.media.listing import listing
from face_organizer.media.video import is_video
from face_organizer.networks import devices

NEAR = 0.05
"""How much less a back end may find than the best one and still be recommended for being faster: a share of
the pictures, or of F1 where true boxes are given."""


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one back end. Times in seconds; speeds in pictures per second, reading included;
    `batched` is None where it takes pictures one by one. `found` of `pictures` have a face, of them `matched`
    the wanted gender; `unusable` more could not be looked at. None stands for what is not known. `state` and
    `why` as in `trial.Trial`."""

    name: str
    state: str = "ran"
    why: str = ""
    device: str = ""
    load: float | None = None
    warm_up: float | None = None
    median: float | None = None
    p95: float | None = None
    speed: float | None = None
    batched: float | None = None
    peak_mb: float | None = None
    pictures: int = 0
    found: int = 0
    faces: int = 0
    unusable: int = 0
    matched: int | None = None
    unsure: int | None = None
    precision: float | None = None
    recall: float | None = None

    @property
    def failed(self) -> int:
        """Pictures in which it found no face, or that could not be looked at."""
        return self.pictures - self.found + self.unusable

    @property
    def best_speed(self) -> float:
        """Pictures per second the way in which it is faster; 0 where it looked at none."""
        return max(self.speed or 0.0, self.batched or 0.0)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        if self.precision is None or self.recall is None:
            return None
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON and CSV."""
        return {**asdict(self), "failed": self.failed, "f1": self.f1}


@dataclass(frozen=True, slots=True)
class Advice:
    """The back end to use: the fastest of the `near` whose `value` comes within `NEAR` of the `best`.
    `value` is a share of pictures with a face or, `by_boxes`, F1 against true boxes."""

    row: Row
    value: float
    best: float
    near: int
    by_boxes: bool


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What `benchmark` measured, fastest first; those that did not run come last. `pictures` were looked at
    of the `available`; `judge` is the gender model by which `Row.matched` counts, or empty: `no_judge` then
    says why."""

    rows: Sequence[Row]
    advice: Advice | None
    pictures: int
    available: int
    seed: int
    gender: str
    judge: str
    no_judge: str

    def plot(self, path: str | Path) -> None:
        """Draw speed against detection as PNG."""
        from face_organizer.compare.drawing import plot

        plot(self, Path(path))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        advice = self.advice
        return {
            "pictures": self.pictures,
            "folder": self.available,
            "seed": self.seed,
            "gender": self.gender,
            "backends": [row.as_dict() for row in self.rows],
            "recommended": advice and advice.row.name,
            "hours": advice and self.available / advice.row.best_speed / 3600,
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
    on_progress: Callable[[str, int, int], object] = lambda name, done, total: None,
) -> Benchmark:
    """Compare face detectors on a sample of the pictures in `inputs` (folders or files).

    `samples` pictures are taken, each folder's share of them; another `seed` takes others. `backends` are
    names or groups (`ours`, `insightface`, `deepface`, `all`; docs/detectors.md), by default all that are
    usual. `faces` is what ours look for, `largest` or `all`, by default all with `boxes` and else the
    largest; the others always look for all. `boxes` is a file of true boxes, XML as dlib's imglab writes it:
    it adds precision and recall, and only its pictures are taken. Each back end has `time_limit` seconds.
    `device` is `auto`, `cpu` or a card's number, None for $GPU_ID, else auto. `allow_downloads` lets DeepFace
    fetch its weights. `on_progress` gets a back end's name, pictures done over all back ends, and their
    total.

    A back end that crashes, hangs or is not installed is a row that says so. Raises `UsageError`,
    `DeviceError`, and `FaceOrganizerError` where there are no pictures.
    """
    truth = Truth(Path(boxes)) if boxes else None
    specs = _choose(backends, allow_downloads)
    chosen = devices.require(devices.choose_one(device)[0])
    paths = pictures_of(inputs, recursive=recursive, exclude=exclude)
    if not paths:
        raise FaceOrganizerError(f"no pictures in {', '.join(printable(i) for i in inputs)}")
    taken = sample([p for p in paths if not truth or truth.of(p)], samples, seed)
    if not taken:
        raise UsageError(f"{printable(str(boxes))} knows none of the {len(paths):,} pictures")
    look = Look(every_face=(faces or ("all" if truth else "largest")) == "all")
    trials = try_all(specs, taken, on_progress, device=chosen, look=look, limit=time_limit)
    with Judge(chosen) as judge:
        rows = [row_of(trial, truth, judge, gender) for trial in trials]
        rows.sort(key=lambda row: -row.best_speed)
        why_not = judge.why_not
        return Benchmark(rows, recommend(rows), len(taken), len(paths), seed, gender, judge.name, why_not)


_choose = backends.choose  # `benchmark` has an option of the module's name


def pictures_of(inputs: Sequence[str | Path], *, recursive: bool, exclude: Sequence[str]) -> list[str]:
    """The pictures in `inputs`, sorted; videos are left out. Raises `UsageError`."""
    found = listing(inputs, recursive=recursive, exclude=exclude)
    return [path for path in found.paths if not is_video(path)]


def sample(paths: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of `paths` (sorted), each folder by its share of them; the same ones for a seed, sorted."""
    if count >= len(paths):
        return list(paths)
    rng = random.Random(seed)
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(os.path.dirname(path), []).append(path)
    # Folder after folder, shuffled within, then every n-th: no folder gets more than its share and one.
    order = list(folders.values())
    rng.shuffle(order)
    line = [path for folder in order for path in rng.sample(folder, len(folder))]
    start, step = rng.random(), len(line) / count
    return sorted({line[int((start + i) * step)] for i in range(count)}, key=os.fsencode)


def try_all(
    specs: Sequence[backends.Spec],
    paths: Sequence[str],
    on_progress: Callable[[str, int, int], object],
    **options: Any,
) -> list[Trial]:
    """Each back end in turn, one alone at a time; `options` as `try_out` has them."""
    trials = []
    for i, spec in enumerate(specs):
        done = iter(range(i * len(paths) + 1, (i + 1) * len(paths) + 1))

        def on_picture(name: str = spec.name, done: Any = done) -> None:
            on_progress(name, next(done), len(specs) * len(paths))

        trials.append(try_out(spec, paths, on_picture=on_picture, **options))
    on_progress("", len(specs) * len(paths), len(specs) * len(paths))
    return trials


def row_of(trial: Trial, truth: Truth | None, judge: Judge, gender: str) -> Row:
    """The figures of a trial."""
    seen = [picture for picture in trial.pictures if not picture.error]
    seconds = [picture.seconds for picture in seen]
    with_face = [picture for picture in seen if len(picture.found.faces)]
    said = [judge.of(p.path, p.found)[0] for p in with_face] if judge.name else None
    precision, recall = _against(truth, seen) if truth else (None, None)
    return Row(
        trial.name,
        trial.state,
        trial.why,
        trial.device,
        trial.load,
        trial.warm_up,
        statistics.median(seconds) if seen else None,
        float(np.percentile(seconds, 95)) if seen else None,
        len(seconds) / sum(seconds) if seen else None,
        trial.batched,
        trial.peak_mb,
        len(seen),
        len(with_face),
        sum(len(picture.found.faces) for picture in seen),
        len(trial.pictures) - len(seen),
        None if said is None else said.count(gender),
        None if said is None else said.count(""),
        precision,
        recall,
    )


def _against(truth: Truth, seen: Sequence[Any]) -> tuple[float | None, float | None]:
    totals = np.zeros(3, np.int64)
    for picture in seen:
        true, faces = truth.of(picture.path), picture.found.faces
        if true is not None:
            totals += matches(faces.boxes[np.argsort(-np.nan_to_num(faces.scores), kind="stable")], true)
    right, wrong, missed = (int(n) for n in totals)
    return (
        right / (right + wrong) if right + wrong else None,
        right / (right + missed) if right + missed else None,
    )


def recommend(rows: Sequence[Row]) -> Advice | None:
    """The back end to use; None where none ran to its end and found a face."""
    full = [row for row in rows if row.state == "ran" and row.found]
    if not full:
        return None
    by_boxes = all(row.f1 is not None for row in full)
    value = {row.name: (row.f1 or 0.0) if by_boxes else row.found / row.pictures for row in full}
    best = max(value.values())
    near = [row for row in full if value[row.name] >= best - NEAR]
    chosen = max(near, key=lambda row: row.best_speed)
    return Advice(chosen, value[chosen.name], best, len(near), by_boxes)

"""Figures of trials: the rows of the benchmark's table, what is recommended and why, two runs compared."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare.run import Trial
from face_organizer.compare.truth import Truth, matches
from face_organizer.errors import UsageError
from face_organizer.files import printable

FORMAT = "face-organizer benchmark 1"
NEAR = 0.05
"""How much less a back end may find than the best one and still be recommended for being faster: a share of
the pictures, or of F1 where true boxes are given."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Times in seconds; speeds in pictures a second, reading included, `batched` None
    where a back end takes pictures one by one. `found` pictures with a face of `pictures` that could be
    read; `matched` of them with the wanted gender, None where no model judged. None is: not known."""

    name: str
    state: str
    why: str
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
    unreadable: int = 0
    matched: int | None = None
    unsure: int | None = None
    precision: float | None = None
    recall: float | None = None
    gender_accuracy: float | None = None

    @property
    def ran(self) -> bool:
        """Whether it has figures."""
        return self.state in ("ran", "partial") and self.pictures > 0

    @property
    def failed(self) -> int:
        """Pictures in which it found no face, or that could not be read."""
        return self.pictures - self.found + self.unreadable

    @property
    def best_speed(self) -> float:
        """Pictures a second the way in which it is faster."""
        return max(self.speed or 0.0, self.batched or 0.0)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        if self.precision is None or self.recall is None:
            return None
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


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
    start = rng.random()
    step = len(line) / count
    return sorted({line[int((start + i) * step)] for i in range(count)}, key=os.fsencode)


def row_of(
    trial: Trial,
    *,
    boxes: Truth | None = None,
    genders: Mapping[str, str] | None = None,
    wanted: str = "Woman",
    labels: Truth | None = None,
) -> Row:
    """The figures of a trial. `genders` is what a model says of each picture's main face: Woman, Man or
    unsure; None where no model is there."""
    seen = [p for p in trial.pictures if "faces" in p]
    seconds = [p["seconds"] for p in seen]
    with_face = [p for p in seen if p["faces"]]
    batched = trial.batched
    row: dict[str, Any] = {
        "load": trial.load,
        "warm_up": trial.warm_up,
        "median": statistics.median(seconds) if seconds else None,
        "p95": float(np.percentile(seconds, 95)) if seconds else None,
        "speed": len(seconds) / sum(seconds) if seconds else None,
        "batched": batched["pictures"] / batched["seconds"] if batched and batched["pictures"] else None,
        "peak_mb": trial.peak_mb,
        "pictures": len(seen),
        "found": len(with_face),
        "faces": sum(len(p["faces"]) for p in seen),
        "unreadable": len(trial.pictures) - len(seen),
    }
    if boxes:
        row |= _against_boxes(seen, boxes)
    if genders is not None:
        said = {p["path"]: genders.get(p["path"], "unsure") for p in with_face}
        row |= {
            "matched": sum(word == wanted for word in said.values()),
            "unsure": sum(word == "unsure" for word in said.values()),
        }
        if labels:
            right = [word == labels.of(p) for p, word in said.items() if labels.of(p) and word != "unsure"]
            row["gender_accuracy"] = sum(right) / len(right) if right else None
    return Row(trial.name, trial.state, trial.why, trial.device, **row)


def _against_boxes(seen: Sequence[Mapping[str, Any]], boxes: Truth) -> dict[str, float | None]:
    totals = np.zeros(3, np.int64)
    for picture in seen:
        true = boxes.of(picture["path"])
        if true is None:
            continue
        faces = sorted(picture["faces"], key=lambda face: -(face["score"] or 0.0))
        found = np.array([face["box"] for face in faces], np.float32).reshape(-1, 4)
        totals += matches(found, true)
    right, wrong, missed = (int(n) for n in totals)
    return {
        "precision": right / (right + wrong) if right + wrong else None,
        "recall": right / (right + missed) if right + missed else None,
    }


def recommend(rows: Sequence[Row], *, every_face: bool = False) -> tuple[Row, str] | None:
    """The back end to use, and why: the fastest of those that find nearly as much as the best. None where
    none ran to its end."""
    full = [row for row in rows if row.state == "ran" and row.found]
    if not full:
        return None
    by_boxes = all(row.f1 is not None for row in full)
    value = {row.name: (row.f1 or 0.0) if by_boxes else row.found / row.pictures for row in full}
    best = max(value.values())
    near = [row for row in full if value[row.name] >= best - NEAR]
    chosen = max(near, key=lambda row: row.best_speed)
    measure = "F1 against the true boxes" if by_boxes else "pictures with a face"
    why = f"{_percent(value[chosen.name])} {measure} (best: {_percent(best)})"
    if len(near) > 1:
        why += f", and the fastest of the {len(near)} that come within {NEAR:.0%} of the best"
    elif len(full) > 1:
        why += ", and no other comes near"
    if not by_boxes:
        why += "; what it takes for faces was not checked: --boxes does"
    return chosen, why


def hours(count: int, row: Row) -> float:
    """How long `count` pictures take with a back end."""
    return count / row.best_speed / 3600


def _percent(share: float) -> str:
    return f"{share:.0%}"


HEADINGS = ("Backend", "Speed", "Detection", "Matched", "Failed")
MORE = ("Median", "p95", "Batched", "Load", "Warm-up", "Memory", "Faces", "Device")


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """The original's table, fastest first, with more columns beside it; those that did not run last."""
    order = sorted(rows, key=lambda row: (not row.ran, -row.best_speed))
    truths = [word for word, key in _TRUTHS.items() if any(getattr(r, key) is not None for r in rows)]
    table = [[*HEADINGS, *truths, *MORE]]
    for row in order:
        if not row.ran:
            table.append([row.name, row.state, *["-"] * (len(table[0]) - 2)])
            continue
        table.append(
            [
                row.name,
                f"{row.speed:.2f} img/sec",
                f"{row.found}/{row.pictures} ({_percent(row.found / row.pictures)})",
                "-" if row.matched is None else str(row.matched),
                str(row.failed),
                *[_or_dash(getattr(row, _TRUTHS[word]), "{:.3f}") for word in truths],
                _or_dash(row.median and row.median * 1000, "{:.0f} ms"),
                _or_dash(row.p95 and row.p95 * 1000, "{:.0f} ms"),
                _or_dash(row.batched, "{:.2f} img/sec"),
                _or_dash(row.load, "{:.1f} s"),
                _or_dash(row.warm_up, "{:.1f} s"),
                _or_dash(row.peak_mb, "{:.0f} MB"),
                str(row.faces),
                row.device or "-",
            ]
        )
    return table


_TRUTHS = {"Precision": "precision", "Recall": "recall", "Gender": "gender_accuracy"}


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def machine() -> dict[str, Any]:
    """What this machine is called and made of, for runs that are compared."""
    from face_organizer import __version__
    from face_organizer.machine import available_cores

    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "host": platform.node(),
        "cpu": names[0] if names else platform.processor(),
        "cores": available_cores().count,
        "python": platform.python_version(),
        "face_organizer": __version__,
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8", "replace").splitlines() if path.is_file() else []


def as_dict(row: Row) -> dict[str, Any]:
    """A row for JSON and CSV."""
    return {**asdict(row), "failed": row.failed, "f1": row.f1}


def read_run(path: Path) -> dict[str, Any]:
    """A run that `--json` printed or `--raw` kept. UsageError."""
    try:
        run = json.loads(path.read_bytes())
        rows = run["backends"]
        fit = run["format"] == FORMAT and all(isinstance(r["name"], str) and "speed" in r for r in rows)
    except OSError as error:
        raise UsageError(f"{printable(path)}: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        fit = False
    if not fit:
        raise UsageError(f"{printable(path)} is no run of benchmark: `benchmark --raw FILE` writes one")
    return run  # type: ignore[no-any-return]


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Back end by back end: speeds of two runs, their ratio, and on how many of the same pictures (by name
    of folder and file) both found equally many faces."""
    rows = []
    second = {row["name"]: row for row in other["backends"]}
    for row in one["backends"]:
        match = second.get(row["name"])
        if match is None:
            continue
        both = bool(row["speed"] and match["speed"])
        counts = [_counts(run, row["name"]) for run in (one, other)]
        shared = counts[0].keys() & counts[1].keys()
        rows.append(
            {
                "name": row["name"],
                "speeds": [row["speed"], match["speed"]],
                "ratio": match["speed"] / row["speed"] if both else None,
                "states": [row["state"], match["state"]],
                "shared": len(shared),
                "agreeing": sum(counts[0][key] == counts[1][key] for key in shared),
            }
        )
    return rows


def _counts(run: Mapping[str, Any], name: str) -> dict[tuple[str, ...], int]:
    return {
        tuple(picture["path"].split(os.sep)[-2:]): len(picture["faces"])
        for picture in run["raw"].get(name, [])
        if "faces" in picture
    }

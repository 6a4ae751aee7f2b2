"""What a set is spread over: pose, expression, light and source as axes, and cells of several of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.faceset.choosing import Copies, Grid
from face_organizer.faceset.figures import Figures
from face_organizer.types import FaceTable, Float32, Int64


class Axis(NamedTuple):
    """A property that a set should show in full: bins between its ends, and whether its scale is each
    person's own, so that two persons are compared from their own least to their own most."""

    name: str
    bins: int
    own: bool
    words: str


AXES = {
    axis.name: axis
    for axis in (
        Axis("yaw", 8, False, "looks to the left … to the right"),
        Axis("pitch", 6, False, "looks up … down"),
        Axis("mouth", 3, True, "mouth closed … open"),
        Axis("eyes", 3, True, "eyes closed … open"),
        Axis("smile", 3, True, "mouth narrow … wide"),
        Axis("brow", 3, True, "brows low … high"),
        Axis("level", 4, False, "dark … bright"),
        Axis("side", 3, False, "lit from the left … from the right"),
        Axis("above", 3, False, "lit from below … from above"),
        Axis("warmth", 3, False, "cold … warm light"),
    )
}
CROSSED = ("yaw", "pitch", "mouth", "level", "side")
"""What a swap needs at once, in every combination: the axes of the grids that count most."""
_CROSSINGS = ((1.0, 0.0), (1.0, 0.5), (0.7, 0.0))
"""How fine each of these is and how far shifted, in bins: no border counts in all of them."""
_ADDED = (("yaw", "eyes", "smile", "brow"), ("level", "above", "warmth"))
ADDED_WEIGHT = 0.2
"""Grids of what it needs somehow, and of the source, weigh less."""
Ends = Mapping[str, tuple[float, float]]
_ENDS = (0.005, 0.995)
"""Quantiles between which an axis is divided; what is beyond counts as its own cell."""
_SCENE = 500  # frames
_NEAR_FRAMES, _NEAR_SECONDS = 2, 0.1
_NUMBERED = re.compile(r"^(?P<video>.*?)(?P<frame>\d{6,})(?:_\d+)?$")
"""How frames of videos are called, with the number of the face behind it; photos count with fewer digits."""


def axes_of(columns: Mapping[str, Float32]) -> dict[str, Float32]:
    """The values (n,) of each axis from the columns of a person's faces; 0 where one is not known."""
    level = np.log2(np.maximum(np.nan_to_num(columns["brightness"], nan=128), 1))
    values = {**columns, "level": level}
    return {name: np.nan_to_num(values[name]).astype(np.float32) for name in AXES}


def ends(values: Mapping[str, Float32]) -> dict[str, tuple[float, float]]:
    """Where each axis begins and ends, from the faces of one person, or of both."""
    found = {}
    for name, value in values.items():
        low, high = np.quantile(value, _ENDS).tolist() if len(value) else (0.0, 0.0)
        found[name] = (low, max(high, low + 1e-6))
    return found


def places(values: Mapping[str, Float32], scale: Ends, names: Sequence[str] = CROSSED) -> Float32:
    """(n, a) where each face lies on the axes `names`, in bins: 0 where an axis begins."""
    columns = [
        (values[name] - scale[name][0]) / (scale[name][1] - scale[name][0]) * AXES[name].bins
        for name in names
    ]
    # One bin at each end for all that is beyond it.
    return np.stack(
        [np.clip(c, -0.5, AXES[n].bins + 0.49) for c, n in zip(columns, names, strict=True)], axis=1
    )


def cells(keys: NDArray[Any]) -> Int64:
    """(n,) a number for each row of `keys` (n, a), whole numbers from -2 to 61: equal ones alike."""
    return np.asarray((keys.astype(np.int64) + 2) @ (64 ** np.arange(keys.shape[1])), np.int64)


def crossed(at: Float32) -> list[Grid]:
    """The grids that count most, from where n faces lie on the axes `CROSSED`, (n, 5) in bins."""
    return [Grid(cells(np.floor(at * finer + shift)), 1.0) for finer, shift in _CROSSINGS]


def grids(values: Mapping[str, Float32], scale: Ends, source: Int64) -> list[Grid]:
    """How the faces (n,) of a person are divided, from the values of their axes and the numbers of their
    sources."""
    added = [Grid(cells(np.floor(places(values, scale, names))), ADDED_WEIGHT) for names in _ADDED]
    return [*crossed(places(values, scale)), *added, Grid(source, ADDED_WEIGHT)]


@dataclass(frozen=True, slots=True)
class Moments:
    """When n faces were seen: number of the video, photo folder or file (n,), and frame or second there (n,),
    NaN where it has none; `near` (n,) is how far two moments are one; `scene` (n,) numbers the parts of each
    video."""

    sequence: Int64
    moment: NDArray[np.float64]
    near: NDArray[np.float64]
    scene: Int64


def moments(table: FaceTable, rows: Int64) -> Moments:
    """From the frame that a header names, the second of a video, or a file name that ends in a number of six
    digits or more."""
    faces = table.faces
    names, moment, near, scenes = (
        list[str](),
        np.full(len(rows), np.nan),
        np.full(len(rows), np.nan),
        list[str](),
    )
    for i, row in enumerate(rows.tolist()):
        path, time = table.files.path[faces.file_index[row]], float(faces.time[row])
        folder, name = os.path.split(path)
        name = os.path.splitext(faces.source_filename[row] or name)[0]
        if np.isfinite(time):
            names.append(path)
            moment[i], near[i], scene = time, _NEAR_SECONDS, int(time // (_SCENE / 25))
        elif found := _NUMBERED.match(name):
            names.append(os.path.join(folder, found["video"]))
            moment[i], near[i], scene = int(found["frame"]), _NEAR_FRAMES, int(found["frame"]) // _SCENE
        else:
            names.append(folder)
            scene = 0
        scenes.append(f"{names[-1]}\0{scene}")
    sequence, scene_numbers = (np.unique(x, return_inverse=True)[1].astype(np.int64) for x in (names, scenes))
    return Moments(sequence, moment, near, scene_numbers)


def copies(table: FaceTable, rows: Int64, figures: Figures, when: Moments) -> Copies:
    """What tells copies among `rows` (n,) with these figures (n,)."""
    return Copies(when.sequence, when.moment, when.near, figures.tiny, figures.whole, table.embeddings, rows)

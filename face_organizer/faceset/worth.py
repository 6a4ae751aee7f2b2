"""Which faces are fit to train on: what stands out of a person's own, limits, and one number of quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from face_organizer.cluster.strangers import crowds_of
from face_organizer.errors import UsageError
from face_organizer.faceset.figures import TINY, Figures
from face_organizer.types import FaceTable, Float32, Int64

_COMPONENTS = 16  # in which the faces of one person differ by pose, light and expression
_FEW_SHARE = 12.0  # kurtosis from which a component is of few faces: of what hides them (3 is normal)
_LEARNT = 3000  # faces that these are learnt from
_WORST = 20  # cells of a tiny picture, of 1,024, whose mean deviation is taken
_FEWEST = 60  # faces: of fewer no components are learnt
_STRANGERS = 1e-4  # share of other people's faces that may come as near to the person
_TAIL = 5.0  # robust deviations below a person's usual closeness
_BLOCK = 4096
_AVERAGED, _CROWD = 10_000, 40_000  # faces that the person's mean and the crowd of others are read off


class Limit(NamedTuple):
    """A figure and where it ends to be fit: `least` or `most`; `unit` and `meaning` for people, `words` for
    what is beyond it."""

    figure: str
    least: float | None
    most: float | None
    meaning: str
    words: str


LIMITS = (
    Limit(
        "closeness", -1, None, "cosine to the person's mean face; read from the table", "maybe somebody else"
    ),
    Limit("size", 48, None, "pixels of the face in its picture: square root of its box's area", "too small"),
    Limit("sharpness", 0.28, None, "0 to 1, as training sees the face; lower where all are soft", "blurred"),
    Limit("brightness", 30, None, "median luma, 0 to 255", "too dark"),
    Limit("contrast", 25, None, "luma between its 5th and 95th percentile", "too flat"),
    Limit("clipped", None, 0.6, "share of the face that is black or white", "under- or overexposed"),
    Limit("noise", None, 5.0, "standard deviation in luma", "noisy"),
    Limit(
        "blocks", None, 1.2, "steps at the borders of JPEG's blocks, 0 for none", "broken up by compression"
    ),
    Limit(
        "outside", None, 0.1, "share of the face outside the picture; more where all are cut tight", "cut off"
    ),
    Limit(
        "occlusion", None, 3.0, "deviations from the person's other faces", "hidden in part, or no usual face"
    ),
)
"""In the order in which a face is held against them."""
UNREADABLE = "its picture cannot be read"
_GIVING = ("sharpness", "outside")
"""Limits that give way to what is usual for the person: where all is soft, or cut tight, some must do."""


def occlusion(tiny: NDArray[np.uint8], sound: NDArray[np.bool_]) -> Float32:
    """(n,) how far the worst part of each face is from all that the person's other faces show, in robust
    deviations: a hand, a microphone, dark glasses, a border. There must be some sixty faces.

    `tiny` (n, p, p) are tiny pictures of one person. Principal components, learnt from the nine tenths of
    the `sound` ones (n,) that they explain best, explain pose, light and expression ("eigenfaces", Turk &
    Pentland 1991); those that only a few faces share, such as dark glasses, are not among them. What the
    others leave of a face is held against what they leave of the person's other faces in the same place.
    """
    n, some = len(tiny), np.flatnonzero(sound)
    learnt = _flat(tiny[some[np.unique(np.linspace(0, len(some) - 1, _LEARNT).astype(np.int64))]])
    usual = np.ones(len(learnt), np.bool_)
    for _ in range(4):
        mean = learnt[usual].mean(axis=0)
        centred = learnt[usual] - mean
        _, axes = np.linalg.eigh(centred.T @ centred)
        axes = axes[:, : -_COMPONENTS - 1 : -1]
        scores = centred @ axes
        many = (scores**4).mean(axis=0) < _FEW_SHARE * (scores**2).mean(axis=0) ** 2
        axes = np.ascontiguousarray(axes[:, many])
        left = _left(learnt - mean, axes)
        spread = np.median(left, axis=0) * 1.4826 + 4
        worst = _worst(left / spread)
        usual = worst <= np.quantile(worst, 0.9)
    parts = (_flat(tiny[at : at + _BLOCK]) for at in range(0, n, _BLOCK))
    return np.concatenate([_worst(_left(part - mean, axes) / spread) for part in parts])


def _flat(tiny: NDArray[np.uint8]) -> Float32:
    """(m, cells of the face) from tiny pictures."""
    return np.asarray(tiny[:, _FACE], np.float32)


def _left(centred: Float32, axes: Float32) -> Float32:
    """By how much the 25 cells about each cell differ together from what the components explain."""
    import cv2

    left = np.zeros((len(centred), TINY, TINY), np.float32)
    left[:, _FACE] = centred - (centred @ axes) @ axes.T
    for picture in left:
        cv2.blur(picture, (5, 5), picture)
    return np.asarray(np.abs(left[:, _FACE]), np.float32)


def _worst(deviations: Float32) -> Float32:
    """(m,) the mean of the largest ones of each face."""
    return np.asarray(np.partition(deviations, -_WORST, axis=1)[:, -_WORST:].mean(axis=1), np.float32)


def _face() -> NDArray[np.bool_]:
    y, x = (np.indices((TINY, TINY)) + 0.5) / TINY - 0.5
    return np.asarray((x / 0.31) ** 2 + ((y - 0.05) / 0.4) ** 2 < 1)


_FACE = _face()


def closeness(table: FaceTable, rows: Int64) -> tuple[Float32, float]:
    """The cosine (r,) of each of `rows` to the person's mean face, and the least that is surely theirs.

    The mean is of the nine tenths that lie closest, so that some strangers among them do not shift it. The
    least is what 1 in 10,000 of the other faces of the table would reach by chance, and not far below what is
    usual for the person.
    """
    some = rows[np.unique(np.linspace(0, len(rows) - 1, _AVERAGED).astype(np.int64))]
    vectors = np.asarray(table.embeddings[some], np.float32)
    near = np.ones(len(some), np.bool_)
    for _ in range(4):
        mean = vectors[near].mean(axis=0)
        mean /= max(float(np.linalg.norm(mean)), 1e-12)
        near = vectors @ mean >= np.quantile(vectors @ mean, 0.1)
    parts = (rows[at : at + _BLOCK] for at in range(0, len(rows), _BLOCK))
    cosines = np.concatenate([table.embeddings[part] @ mean for part in parts])
    others = np.setdiff1d(np.linspace(0, len(table) - 1, _CROWD).astype(np.int64), rows)
    (crowd,) = crowds_of(np.asarray(table.embeddings[others]) @ mean[:, None])
    low, middle = np.quantile(cosines, [0.25, 0.5])
    usual = float(middle - _TAIL * (middle - low) / 0.6745)
    return np.asarray(cosines, np.float32), max(crowd.threshold(_STRANGERS), usual)


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """Of n faces of one person: `columns` (n,) each by name, the `quality` (n,) in (0, 1], and why each one
    is `left_out` (n), empty where it is not."""

    columns: Mapping[str, Float32]
    quality: Float32
    left_out: Sequence[str]


def judge(table: FaceTable, rows: Int64, figures: Figures, limits: Mapping[str, float]) -> Worth:
    """Hold `rows` (n,) of `table`, faces of one person with these `figures` (n,), against the limits.
    `limits` are other ones than the usual, by figure. Raises `UsageError` for a figure that has none."""
    if strange := set(limits) - {limit.figure for limit in LIMITS}:
        raise UsageError(f"no limit is called {sorted(strange)[0]}")
    near, least_near = closeness(table, rows)
    columns: dict[str, Float32] = {
        s.name: getattr(figures, s.name) for s in Figures.specs() if not s.metadata["shape"]
    }
    for name in ("yaw", "pitch"):
        columns[name] = np.where(np.isnan(columns[name]), getattr(table.faces, name)[rows], columns[name])
    columns |= {"size": table.faces.size[rows], "closeness": near}
    out = np.full(len(rows), "", object)
    out[np.isnan(figures.sharpness)] = UNREADABLE
    for figure, least, most, _, words in LIMITS:
        if figure == "occlusion":  # the last: what is out already must not tell what is usual
            sound = out == ""
            if sound.sum() >= _FEWEST:
                columns[figure] = _relative(occlusion(figures.tiny, sound), columns, sound)
            else:
                columns[figure] = _unsure(table.faces.norm[rows], table.faces.score[rows])
        values = columns[figure]
        if figure == "closeness":
            least = least_near
        if figure in _GIVING and np.isfinite(values).any():
            usual = float(np.nanmedian(values))
            least, most = (min(least, 0.7 * usual), None) if least else (None, max(most or 0, usual + 0.1))
        if figure in limits:
            least, most = (limits[figure], None) if most is None else (None, limits[figure])
        with np.errstate(invalid="ignore"):
            beyond = values < least if least is not None else values > (most or 0)
        out[(out == "") & beyond] = words
    return Worth(columns, _quality(columns), out.tolist())


def _relative(deviations: Float32, columns: Mapping[str, Float32], sound: NDArray[np.bool_]) -> Float32:
    """By how many robust deviations, in logarithms, each of `deviations` (n,) is more than is usual; for a
    pose and a light that are unusual alone, more is: usual is the median of those of the `sound` faces that
    are as far from the middle of these, a tenth of all."""
    away = np.zeros(len(deviations))
    for name in ("yaw", "pitch", "brightness", "side"):
        values = np.nan_to_num(columns[name])
        low, middle, high = np.quantile(values[sound], [0.25, 0.5, 0.75])
        away += ((values - middle) / max(high - low, 1e-3)) ** 2
    more = np.log(np.maximum(deviations, 1e-3)).astype(np.float32)
    for part in np.array_split(np.argsort(away, kind="stable"), 10):
        more[part] -= np.median(more[part][sound[part]] if sound[part].any() else more[sound])
    return np.asarray(more / max(1.4826 * float(np.median(np.abs(more[sound]))), 0.1), np.float32)


def _unsure(*certainties: Float32) -> Float32:
    """Of few faces: by how many robust deviations a network was less sure of each than is usual, (n,), by the
    one of `certainties` (n,) that says most; 0 where none is known."""
    found = [np.zeros(len(certainties[0]), np.float32)]
    for values in certainties:
        if len(values) >= 3 and np.isfinite(values).all():
            less = np.median(values) - values
            found.append(less / max(1.4826 * float(np.median(np.abs(less))), 1e-6))
    return np.asarray(np.maximum.reduce(found), np.float32)


def _quality(columns: Mapping[str, Float32]) -> Float32:
    """What a face counts in its cell: the root of its sharpness, so that a soft one that is alone of its kind
    still counts; less for what may be hidden, and a little less for dark and flat light, noise, blocks and
    clipped parts that are within the limits."""
    sharp = np.clip((np.nan_to_num(columns["sharpness"]) - 0.1) / 0.4, 0, 1) ** 0.5
    seen = (1 + (np.clip(np.nan_to_num(columns["occlusion"]), 0, None) / 2.0) ** 4) ** -0.25
    rest = np.clip(np.nan_to_num(columns["brightness"]) / 80, 0.5, 1)
    rest = rest * np.clip(np.nan_to_num(columns["contrast"]) / 80, 0.5, 1)
    for figure, _, most, *_ in LIMITS:
        if most and figure not in ("occlusion", "outside"):
            rest = rest * (1 - 0.5 * np.clip(np.nan_to_num(columns[figure]) / most, 0, 1))
    return np.asarray(np.clip(sharp * seen * rest**0.25, 0.01, 1), np.float32)

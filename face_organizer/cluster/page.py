"""The page of all people, `index.html`: needs no server and no network."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.cluster.labels import UNASSIGNED, Clustering
from face_organizer.files import count
from face_organizer.previews import pages
from face_organizer.types import FaceTable, Float32, Image, Int64, Outcome

_POINTS = 4000  # of the map: more make the page heavy and the map no clearer
_BINS = 40
_NAMED = 20  # persons in the legend of the map
_GOLDEN = 137.508  # degrees from one number's colour to the next one's: neighbours are never alike
_SEED = 1234


@dataclass(frozen=True, slots=True)
class Face:
    """A face on the page: its (n, n, 3) RGB picture; the photo, below the page or absolute, the second of a
    video (else NaN), and there the `box` as left, top, width and height in percent, empty where that is not
    known; a line for whoever points at it; how many `copies` it stands for; a word upon it."""

    picture: Image
    path: str
    time: float
    caption: str
    box: Sequence[float] = ()
    copies: int = 1
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that may be wrong, in `words` for one line, and the faces that it is about."""

    words: str
    faces: Sequence[Face]


@dataclass(frozen=True, slots=True)
class Card:
    """A folder of the output: its rows of the table, and faces to show."""

    name: str
    rows: Int64
    faces: Sequence[Face] = ()


def write(
    path: Path,
    table: FaceTable,
    clustering: Clustering,
    cards: Sequence[Card],
    questions: Sequence[Question] = (),
    threshold: float = math.nan,
) -> None:
    """Write the page, replacing what is there; `threshold` is drawn as a line."""
    outcomes = table.outcome_counts().items()
    pages.write(
        path,
        "face_organizer.cluster",
        "page.html.j2",
        totals=_totals(table, clustering),
        outcomes=[(k.replace("_", " "), f"{n:,}") for k, n in outcomes if n and k != Outcome.FACES.label],
        questions=questions,
        cards=cards,
        facts=partial(facts, table, clustering),
        hue=hue,
        histogram=_histogram(clustering, threshold),
        points=_points(table, cards),
        point_count=count(min(len(table), _POINTS), "face"),
        named=_NAMED,
    )


def facts(table: FaceTable, clustering: Clustering, rows: Int64) -> str:
    """A person in one line: faces, pictures, and how alike they are to the center."""
    pictures = len(np.unique(table.faces.file_index[rows]))
    words = f"{count(len(rows), 'face')} on {count(pictures, 'picture')}"
    if not np.any(clustering.labels[rows] >= 0):
        return words
    low, middle = np.quantile(clustering.similarity[rows], [0.05, 0.5])
    return f"{words} · similarity to the center {middle:.2f}, 19 of 20 above {low:.2f}"


def _totals(table: FaceTable, clustering: Clustering) -> list[list[str]]:
    """Number and word of each."""
    known = clustering.labels >= 0
    pictures = len(np.unique(table.faces.file_index[known]))
    counts = [
        count(len(clustering.centers), "person", "persons"),
        count(table.total_files, "picture"),
        count(pictures, "picture of a person", "pictures of a person"),
        count(len(table), "face"),
        count(int((~known).sum()), "unassigned face"),
    ]
    return [words.split(" ", 1) for words in counts]


def hue(name: str) -> int | None:
    """The colour of a person, 0 to 359 degrees, by the name alone, so that it stays from run to run; None for
    nobody."""
    return None if name == UNASSIGNED else int(int.from_bytes(os.fsencode(name)) % 360_000 * _GOLDEN) % 360


def _histogram(clustering: Clustering, threshold: float) -> dict[str, Any]:
    """Bars of faces by similarity to their center, those of persons below, the unassigned on top."""
    similarity, labels = clustering.similarity, clustering.labels
    low = max(-1.0, np.floor(float(similarity.min(initial=0.0)) * 10) / 10)
    edges = np.linspace(low, 1.0, _BINS + 1)
    clipped = np.clip(similarity, low, 1.0)
    known, nobody = (np.histogram(clipped[mask], edges)[0] for mask in (labels >= 0, labels < 0))
    top = max(int((known + nobody).max(initial=0)), 1)
    bars = [
        {
            "x": round(100 * i / _BINS, 3),
            "width": round(100 / _BINS - 0.25, 3),
            "known": round(100 * float(k) / top, 2),
            "nobody": round(100 * float(n) / top, 2),
            "title": f"{edges[i]:.2f} to {edges[i + 1]:.2f}: {k:,} of persons, {n:,} unassigned",
        }
        for i, (k, n) in enumerate(zip(known, nobody, strict=True))
    ]
    ticks = np.arange(low, 1.01, 0.2)
    marks = [{"x": round(100 * (t - low) / (1 - low), 2), "text": f"{t:.1f}"} for t in ticks]
    line = {"x": round(100 * (threshold - low) / (1 - low), 2), "text": f"{threshold:.2f}"}
    is_seen = low <= threshold <= 1
    return {"bars": bars, "ticks": marks, "top": f"{top:,}", "line": line if is_seen else None}


def _points(table: FaceTable, cards: Sequence[Card]) -> list[list[list[float]]]:
    """The map: a sample of the faces along their two principal axes, 0 to 100 each, for each card."""
    rows = np.arange(len(table))
    if len(rows) > _POINTS:
        rows = np.sort(np.random.default_rng(_SEED).choice(len(rows), _POINTS, replace=False))
    flat = _principal(np.asarray(table.embeddings[rows], np.float32)).astype(np.float64).round(2)
    of_row = np.full(len(table), -1, np.int64)
    for i, card in enumerate(cards):
        of_row[card.rows] = i
    order = np.argsort(of_row[rows], kind="stable")
    ends = np.searchsorted(of_row[rows], np.arange(len(cards) + 1), sorter=order)
    return [flat[order[start:end]].tolist() for start, end in pairwise(ends.tolist())]


def _principal(vectors: Float32) -> Float32:
    """(n, 2) in 0 to 100: (n, d) `vectors` along the two axes of their largest variance."""
    if not len(vectors):
        return np.zeros((0, 2), np.float32)
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    flat = centred @ axes[:, :-3:-1]
    # Eigenvectors have no sign of their own: the larger tail points up and right, on every machine.
    flat *= np.where(np.abs(flat.max(axis=0)) >= np.abs(flat.min(axis=0)), 1, -1)
    low, span = flat.min(axis=0), np.maximum(np.ptp(flat, axis=0), 1e-6)
    return np.asarray(100 * (flat - low) / span, np.float32)

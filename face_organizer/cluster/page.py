"""The page of all people, `index.html`: needs no server and no network."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from face_organizer.cluster.labels import UNASSIGNED, Clustering
from face_organizer.files import atomic_write, count, jpeg, printable
from face_organizer.types import FaceTable, Float32, Image, Int64, Outcome

_SIDE = 96  # pixels of a face on the page
_QUALITY = 80
_POINTS = 4000  # of the map: more make the page heavy and the map no clearer
_BINS = 40
_COLOURS = 10  # persons with a colour of their own, `--c0` to `--c9` of the page; the rest is grey
_SEED = 1234


@dataclass(frozen=True, slots=True)
class Card:
    """A folder of the output: its rows of the table, and faces to show."""

    name: str
    rows: Int64
    typical: Sequence[Image] = ()
    unsure: Sequence[Image] = ()


def write(path: Path, table: FaceTable, clustering: Clustering, cards: Sequence[Card]) -> None:
    """Write the page, replacing what is there."""
    import jinja2

    loader = jinja2.PackageLoader("face_organizer.cluster", "")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    points = _points(table, cards)
    all_cards = [_card(table, clustering, i, card) for i, card in enumerate(cards)]
    outcomes = table.outcome_counts().items()
    page = pages.get_template("page.html.j2").render(
        totals=_totals(table, clustering),
        outcomes=[(k.replace("_", " "), f"{n:,}") for k, n in outcomes if n and k != Outcome.FACES.label],
        shown=[card for card in all_cards if card["typical"]],
        rest=[card for card in all_cards if not card["typical"]],
        histogram=_histogram(clustering),
        points=points,
        point_count=count(len(points), "face"),
        legend=all_cards[:_COLOURS],
    )
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))


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


def _card(table: FaceTable, clustering: Clustering, index: int, card: Card) -> dict[str, Any]:
    link = quote(os.fsencode(card.name))
    return {
        "id": f"p{index}",
        "name": printable(card.name),
        "folder": f"{link}/",
        "sheet": f"{link}.jpg",
        "faces": f"{len(card.rows):,}",
        "facts": facts(table, clustering, card.rows),
        "colour": _colour(index, card.name),
        "typical": [_data(picture) for picture in card.typical],
        "unsure": [_data(picture) for picture in card.unsure],
    }


def _colour(index: int, name: str) -> str:
    return f"var(--c{index})" if index < _COLOURS and name != UNASSIGNED else "var(--nobody)"


def _data(picture: Image) -> str:
    from PIL import Image as Pillow

    small = Pillow.fromarray(picture).resize((_SIDE, _SIDE), Pillow.Resampling.LANCZOS)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(small, _QUALITY)).decode('ascii')}"


def _histogram(clustering: Clustering) -> dict[str, Any]:
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
            "title": f"{edges[i]:.2f} to {edges[i + 1]:.2f}: {k:,} faces of persons, {n:,} unassigned",
        }
        for i, (k, n) in enumerate(zip(known, nobody, strict=True))
    ]
    ticks = np.arange(low, 1.01, 0.2)
    marks = [{"x": round(100 * (t - low) / (1 - low), 2), "text": f"{t:.1f}"} for t in ticks]
    return {"bars": bars, "ticks": marks, "top": f"{top:,}"}


def _points(table: FaceTable, cards: Sequence[Card]) -> list[dict[str, Any]]:
    """The map: a sample of the faces along their two principal axes, 0 to 100 each."""
    rows = np.arange(len(table))
    if len(rows) > _POINTS:
        rows = np.sort(np.random.default_rng(_SEED).choice(len(rows), _POINTS, replace=False))
    flat = _principal(np.asarray(table.embeddings[rows], np.float32))
    of_row = np.full(len(table), -1, np.int64)
    for i, card in enumerate(cards):
        of_row[card.rows] = i
    return [
        {
            "x": round(float(x), 2),
            "y": round(float(y), 2),
            "person": f"p{card}",
            "colour": _colour(card, cards[card].name),
            "name": printable(cards[card].name),
        }
        for (x, y), card in zip(flat.tolist(), of_row[rows].tolist(), strict=True)
    ]


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

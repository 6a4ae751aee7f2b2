"""Finding persons: precision and recall of matches, naming wrong references, speed. JSON lines.

    python benchmarks/search.py [accuracy|scale|command]…   all of them without a word
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, embed, pictures, row, say, temporary

from face_organizer import table
from face_organizer.search import finding, profiles
from face_organizer.search.crowd import sample
from face_organizer.types import Faces, FaceTable, Files, Float32, Outcome, Stamp

DRAWS, REFERENCES, SEED = 10, 3, 7
LARGE = 60  # people drawn of a large collection


def half(name: str) -> tuple[Float32, Any]:
    """Embeddings and identities of `lfw_half_NAME`."""
    with np.load(DATA / f"lfw_half_{name}.npz") as file:
        vectors = file["embeddings"].astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), file["identity"]


def dev_faces() -> tuple[Float32, Any]:
    """Every face of dev-faces by the embedded pack; the identity of the main ones in identities/."""
    made, _ = embed(pictures(DATA / "dev-faces"), faces="all")
    names = [
        Path(path).parent.name if "/identities/" in path and face == 0 else ""
        for path, face in zip(made.face_paths(), made.faces.face_index, strict=True)
    ]
    return made.embeddings, np.array(names)


def split(vectors: Float32, names: Any, seed: int) -> Iterator[tuple[str, Float32, Any]]:
    """Both halves of the people, and a small collection of 150 of them."""
    people = np.random.default_rng(seed).permutation(np.unique(names))
    for word, some in (
        ("half A", people[::2]),
        ("half B", people[1::2]),
        ("150 people", people[:150]),
    ):
        rows = np.isin(names, some)
        yield word, vectors[rows], names[rows]


def accuracy(crowd: str, vectors: Float32, names: Any, least: int, **rules: Any) -> None:
    """Each person of `least` photos and more, with references drawn at random; the rest is the collection."""
    random = np.random.default_rng(SEED)
    people, counts = np.unique(names[names != ""], return_counts=True)
    people = people[counts >= least]
    if len(people) > LARGE:
        people = random.choice(people, LARGE, replace=False)
    figures, named, falsely = [], [], []
    for person in people:
        own, others = np.flatnonzero(names == person), np.flatnonzero(names != person)
        for _ in range(DRAWS):
            references = random.choice(own, REFERENCES, replace=False)
            rest = np.setdiff1d(np.arange(len(vectors)), references)
            truth, some = names[rest] == person, sample(vectors[rest])
            words = [str(r) for r in references]
            made = profiles.make(person, vectors[references], words, None, sample=some)
            falsely.append(any(r.reason for r in made.references))
            found = finding.search(vectors[rest], [made], finding.Rules(**rules))[0]
            matches, all_found = truth[found.rows[found.is_match]], truth[found.rows]
            figures.append(
                (
                    matches.mean() if len(matches) else 1.0,
                    matches.sum() / truth.sum(),
                    all_found.sum() / truth.sum(),
                    (~all_found).sum(),
                    (~matches).sum(),
                )
            )
            mixed = np.append(references, random.choice(others))
            made = profiles.make(person, vectors[mixed], [*words, "wrong"], None, sample=some)
            named.append([r.source for r in made.references if r.reason] == ["wrong"])
    mean = np.mean(figures, axis=0)
    row(
        "search accuracy",
        crowd=crowd,
        faces=len(vectors),
        people=len(people),
        draws=DRAWS,
        rules=rules,
        precision=round(float(mean[0]), 4),
        recall=round(float(mean[1]), 4),
        worst_precision=round(float(np.min(figures, axis=0)[0]), 3),
        worst_recall=round(float(np.min(figures, axis=0)[1]), 3),
        recall_with_review=round(float(mean[2]), 4),
        strangers_for_review=round(float(mean[3] - mean[4]), 2),
        false_match_rate=float(f"{mean[4] / len(vectors):.1e}"),
        wrong_reference_named=round(float(np.mean(named)), 4),
        right_reference_named_wrongly=round(float(np.mean(falsely)), 4),
    )


def all_accuracy() -> None:
    """Every collection, and halves of the large ones."""
    dev = dev_faces()
    accuracy("dev-faces", *dev, 5)
    for name in ("sface128", "mobilefacenet512"):
        vectors, names = half(name)
        accuracy(f"lfw half {name}", vectors, names, 8)
        for word, some, their in split(vectors, names, SEED):
            accuracy(f"lfw half {name}, {word}", some, their, 8)
    vectors, names = half("sface128")
    for rules in ({"strict": True}, {"second_opinion": True}, {"false_matches": 1e-4}):
        accuracy("dev-faces", *dev, 5, **rules)
        accuracy("lfw half sface128", vectors, names, 8, **rules)


if __name__ == "__main__":
    all_accuracy()

"""Two people on hard pictures among strangers: found, and at what precision. `python benchmarks/hard.py`

The people of `hard/sports_caps` in caps, helmets and profile, as they are and shrunk to two fifths (`small
caps`), those with most photos of `hard/masks`, and of `dev-faces/identities` as ordinary pictures; all pairs,
or neighbours in size where people are many. Strangers: three photos each of the others of the set and of
`dev-faces/identities`. Photos on which the labelled person was not found (`audit.csv`) are left out. Each set
by the packs `opencv` and *small*; a face for review counts apart. And BCubed F of each whole set, unassigned
faces as clusters of their own.
"""

from __future__ import annotations

import csv
import itertools
import os
import tempfile
from pathlib import Path

import numpy as np
from answers import table_of
from common import DATA, packs, row
from numpy.typing import NDArray

import face_organizer as fo
from face_organizer.evaluate import scores as metrics
from face_organizer.types import FaceTable

STRANGERS, SHRUNK = 3, 0.4
Sets = dict[str, tuple[FaceTable, NDArray[np.str_]]]


def shrunk(folder: Path, into: Path) -> Path:
    """The pictures below `folder`, smaller, in `into`."""
    from PIL import Image

    for path in folder.rglob("*.jpg"):
        with Image.open(path) as picture:
            small = picture.convert("RGB")
        small.thumbnail([int(SHRUNK * side) for side in small.size])
        to = into / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        small.save(to, quality=60)
    return into


def labels(folder: Path) -> dict[str, str]:
    """Person by path below `folder`, without photos on which they were not found."""
    lost = set[str]()
    if (folder / "audit.csv").is_file():
        with open(folder / "audit.csv", newline="", encoding="utf-8") as file:
            lost = {line["path"] for line in csv.DictReader(file) if line["verdict"] != "ok"}
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        return {line["path"]: line["person"] for line in csv.DictReader(file) if line["path"] not in lost}


def looked_at(pack: str, work: Path) -> Sets:
    """Each set with its people, as `pack` sees it."""
    hard, sets = DATA / "hard", dict[str, tuple[FaceTable, NDArray[np.str_]]]()
    caps = labels(hard / "sports_caps")
    faces = DATA / "dev-faces" / "identities"
    own = {os.path.relpath(path, faces): path.parent.name for path in faces.rglob("*.jpg")}
    for name, folder, who in (
        ("caps", hard / "sports_caps", caps),
        ("small caps", shrunk(hard / "sports_caps", work / "small"), caps),
        ("masks", hard / "masks", labels(hard / "masks")),
        ("ordinary", faces, own),
    ):
        table = fo.embed([folder], work / f"{name}.{os.path.basename(pack)}.pkl", pack=pack, min_face_size=10)
        people = [who.get(os.path.relpath(path, folder), "") for path in table.face_paths()]
        sets[name] = table, np.array(people)
    return sets


def pairs(people: NDArray[np.str_]) -> list[tuple[str, str]]:
    """All pairs of few people; of many, the first twelve in size two by two."""
    who, sizes = np.unique(people[people != ""], return_counts=True)
    if len(who) <= 6:
        return list(itertools.combinations(who.tolist(), 2))
    large = who[np.argsort(-sizes, kind="stable")][:12].tolist()
    return list(zip(large[::2], large[1::2], strict=True))


def rows_of(people: NDArray[np.str_], pair: tuple[str, ...]) -> NDArray[np.int64]:
    """All faces of the pair, some of each other person."""
    random, rows = np.random.default_rng(0), []
    for one in np.unique(people[people != ""]):
        own = np.flatnonzero(people == one)
        rows.append(own if one in pair else random.permutation(own)[:STRANGERS])
    return np.sort(np.concatenate(rows))


def found(sets: Sets, name: str, pair: tuple[str, str]) -> list[float]:
    """Precision and recall by the threshold alone, as it was; and with crowds; recall with review, faces for
    review, right ones among them."""
    table, people = sets[name]
    rows = rows_of(people, pair)
    vectors, names = table.embeddings[rows], people[rows]
    if name != "ordinary":
        more, others = sets["ordinary"]
        extra = rows_of(others, ())
        vectors, names = np.concatenate([vectors, more.embeddings[extra]]), np.append(names, others[extra])
    table, own = alone(vectors), int(np.isin(names, pair).sum())
    result = fo.cluster(table, 2)
    before = fo.cluster(table, 2, threshold=result.threshold)
    values = []
    for labels in (before.labels, result.labels):
        right, order = best(labels, names, pair)
        values += [right / max(int((labels >= 0).sum()), 1), right / own]
    review = np.array(result.review)
    also = int((names == order[review])[review >= 0].sum())
    return [*values, (right + also) / own, int((review >= 0).sum()), also]


def best(
    labels: NDArray[np.int64], names: NDArray[np.str_], pair: tuple[str, str]
) -> tuple[int, NDArray[np.str_]]:
    """Faces in the right one of two folders, and whose these are, the better way round."""
    orders = [np.array(pair), np.array(pair[::-1])]
    right = [int((names == order[labels])[labels >= 0].sum()) for order in orders]
    return max(right), orders[int(np.argmax(right))]


def alone(vectors: NDArray[np.float32]) -> FaceTable:
    """A table of these faces, each on a picture of its own."""
    return table_of(np.asarray(vectors, np.float32))


def judge(pack: str, sets: Sets) -> None:
    """A row for each set."""
    for name, (table, people) in sets.items():
        values = np.array([found(sets, name, pair) for pair in pairs(people)])
        keys = (
            "precision_before",
            "recall_before",
            "precision",
            "recall",
            "with_review",
            "for_review",
            "right_in_review",
        )
        mean = dict(zip(keys, np.round(values.mean(axis=0), 4).tolist(), strict=True))
        known = np.flatnonzero(people != "")
        whole = fo.cluster(alone(table.embeddings[known]))
        score = metrics.score(whole.labels, people[known].tolist())
        row(
            "two people, hard pictures",
            pack=pack,
            set=name,
            pairs=len(values),
            worst_precision=round(float(values[:, 2].min()), 4),
            bcubed_f=round(score.bcubed_f, 4),
            **mean,
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name, chosen in packs(Path(folder)).items():
            judge(name, looked_at(chosen, Path(folder)))

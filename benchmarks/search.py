"""Finding persons: precision and recall of matches, naming wrong references, speed. JSON lines.

python benchmarks/search.py [accuracy|scale|command]…   all of them without a word
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, embed, pictures, row, say, temporary

from face_organizer import table
from face_organizer.cluster.strangers import crowds_of, sample
from face_organizer.search import match, profiles
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


def collection(vectors: Float32) -> FaceTable:
    """A table of these faces, one per photo."""
    count = len(vectors)
    paths, outcomes = [f"/{i:07}.jpg" for i in range(count)], np.full(count, Outcome.FACES, np.uint8)
    faces = Faces.empty(count, file_index=np.arange(count))
    return FaceTable(vectors, faces, Files.empty(count, path=paths, outcome=outcomes), None)


def second_opinion(one: match.Candidates, rules: match.Rules) -> Any:
    """(k,) which matches remain when embeddings are asked too whose elements are divided by their spread over
    the collection (so that those that vary most do not weigh most), against a threshold from their crowd."""
    some = sample(one.table.embeddings)
    weights = np.asarray(1 / np.sqrt(some.var(axis=0) + 1e-6), np.float32)

    def unit(vectors: Float32) -> Float32:
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-6), np.float32)

    center = unit(unit(one.profile.vectors * weights).mean(axis=0))
    limit, _ = rules.thresholds(crowds_of(unit(some * weights) @ center[:, None])[0])
    return one.is_match & (unit(one.table.embeddings[one.rows] * weights) @ center >= limit)


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


def accuracy(
    crowd: str, vectors: Float32, names: Any, least: int, *, second: bool = False, **rules: Any
) -> None:
    """Each person of `least` photos and more, with references drawn at random; the rest is the collection.

    `second`: what the `second_opinion` denies is for review.
    """
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
            made = profiles.make(person, profiles.Given(vectors[references], words), None, some)
            falsely.append(any(r.reason for r in made.references))
            wanted = match.Rules(**rules)
            (found,) = match.compare(collection(vectors[rest]), [made], wanted)
            is_match = second_opinion(found, wanted) if second else found.is_match
            matches, all_found = truth[found.rows[is_match]], truth[found.rows]
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
            made = profiles.make(person, profiles.Given(vectors[mixed], [*words, "wrong"]), None, some)
            named.append([r.source for r in made.references if r.reason] == ["wrong"])
    mean = np.mean(figures, axis=0)
    row(
        "search accuracy",
        crowd=crowd,
        faces=len(vectors),
        people=len(people),
        draws=DRAWS,
        rules=rules | ({"second_opinion": True} if second else {}),
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


def groups(crowd: str, vectors: Float32, names: Any, *, people: int = 6, photos: int = 20) -> None:
    """Collections as small as an album: faces of six people and of 15 others, three references each."""
    right = wrong = wanted = shown = 0
    for seed in range(25):
        random = np.random.default_rng(seed)
        all_people, counts = np.unique(names[names != ""], return_counts=True)
        chosen = random.choice(all_people[counts >= REFERENCES + 8], people, replace=False)
        own = [random.permutation(np.flatnonzero(names == person)) for person in chosen]
        others = random.choice(np.flatnonzero(~np.isin(names, chosen)), 15, replace=False)
        rows = np.concatenate([*(one[REFERENCES : REFERENCES + photos] for one in own), others])
        truth, some = names[rows], sample(vectors[rows])
        given = (profiles.Given(vectors[one[:REFERENCES]], ["", "", ""]) for one in own)
        made = [profiles.make(p, one, None, some) for p, one in zip(chosen, given, strict=True)]
        for one in match.compare(collection(vectors[rows]), made, match.Rules()):
            right, wrong = (
                right + (truth[one.matches] == one.name).sum(),
                wrong + (truth[one.matches] != one.name).sum(),
            )
            wanted, shown = wanted + (truth == one.name).sum(), shown + (truth[one.rows] == one.name).sum()
    row(
        "search in small collections",
        crowd=crowd,
        precision=round(float(right / (right + wrong)), 4),
        recall=round(float(right / wanted), 4),
        recall_with_review=round(float(shown / wanted), 4),
    )


def all_accuracy() -> None:
    """Every collection, and halves of the large ones."""
    dev = dev_faces()
    groups("dev-faces", *dev)
    accuracy("dev-faces", *dev, 5)
    for name in ("sface128", "mobilefacenet512"):
        vectors, names = half(name)
        groups(f"lfw half {name}", vectors, names)
        accuracy(f"lfw half {name}", vectors, names, 8)
        for word, some, their in split(vectors, names, SEED):
            accuracy(f"lfw half {name}, {word}", some, their, 8)
    vectors, names = half("sface128")
    more: list[dict[str, Any]] = [{"strict": True}, {"second": True}, {"false_matches": 1e-4}]
    for rules in more:
        accuracy("dev-faces", *dev, 5, **rules)
        accuracy("lfw half sface128", vectors, names, 8, **rules)


def large_table(folder: Path, faces: int, dim: int, people: int) -> list[profiles.Profile]:
    """Write a table of random faces, two a photo, 50 of each of `people` among them; give their profiles."""
    random = np.random.default_rng(SEED)
    vectors = np.empty((faces, dim), np.float32)
    for start in range(0, faces, 100_000):
        vectors[start : start + 100_000] = random.standard_normal((min(100_000, faces - start), dim))
    centers = random.standard_normal((people, dim)).astype(np.float32)
    own = random.choice(faces, (people, 50), replace=False)
    for center, rows in zip(centers, own, strict=True):
        vectors[rows] = center + 0.6 * vectors[rows]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    photos = (faces + 1) // 2
    stamp = Stamp("toy", "d", "a" * 64, "e", "b" * 64, dim, "none")
    index = np.arange(faces) // 2
    table.write(
        FaceTable(
            vectors,
            Faces.empty(faces, file_index=index, face_index=(np.arange(faces) % 2).astype(np.int32)),
            Files.empty(
                photos,
                path=[f"/photos/2019/wedding {i // 1000:04}/IMG_{i:07}.jpg" for i in range(photos)],
                outcome=np.full(photos, Outcome.FACES, np.uint8),
            ),
            stamp,
        ),
        folder,
    )
    return [
        profiles.Profile(f"person {i}", vectors[rows[:REFERENCES]], [], stamp) for i, rows in enumerate(own)
    ]


def private() -> int:
    """Bytes of memory of this process that are no mapped file."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def scale_once(folder: Path) -> None:
    """In a process of its own: open the table, search it; print seconds and memory."""
    people = [profiles.read(path) for path in sorted(folder.glob("*.profile"))]
    warm = np.ones((256, 256), np.float32)
    warm @ warm  # BLAS makes its threads now
    at_start = private()
    peak, done = [at_start], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak.append(private())

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    opened = table.read(folder / "large.faces")
    seconds = [time.perf_counter() - start]
    for _ in range(3):
        start = time.perf_counter()
        found = match.compare(opened, people, match.Rules())
        seconds.append(time.perf_counter() - start)
    done.set()
    thread.join()
    right = all(
        50 <= int(one.is_match.sum()) < 70 for one in found
    )  # 2 strangers in a million are let through
    print(json.dumps([seconds[0], seconds[1:], (max(peak) - at_start) / 1e6, right]))


def scale(faces: int = 1_000_000, dim: int = 512, people: int = 10) -> None:
    """Opening a large table and searching it, on two cores."""
    with temporary() as folder:
        for profile in large_table(folder / "large.faces", faces, dim, people):
            profiles.write(profile, folder / f"{profile.name}.profile")
        say("  table written")
        out = subprocess.run(
            [sys.executable, __file__, "scale_once", str(folder)], check=True, capture_output=True, text=True
        )
        opening, queries, memory, right = json.loads(out.stdout)
        row(
            "search scale",
            faces=faces,
            dim=dim,
            persons=people,
            opening_s=round(opening, 3),
            query_s=[round(q, 3) for q in queries],
            peak_mb_beside_mapped=round(memory, 1),
            all_found=right,
        )


def command(faces: int = 500_000, dim: int = 512, people: int = 10) -> None:
    """The whole command with its report; the pictures are not there, so that none is copied."""
    with temporary() as folder:
        for profile in large_table(folder / "large.faces", faces, dim, people):
            profiles.write(profile, folder / f"{profile.name}.profile")
        words = ["search", "-q", "--embeddings", folder / "large.faces", "--output", folder / "found"]
        words += ["--profile", *sorted(folder.glob("*.profile"))]
        say("  table written")
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "face_organizer", *map(str, words)], check=False, capture_output=True
        )
        seconds = time.perf_counter() - start
        assert done.returncode == 3, done.stderr.decode()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        row(
            "search command",
            faces=faces,
            dim=dim,
            persons=people,
            seconds=round(seconds, 2),
            peak_rss_mb=round(children.ru_maxrss / 1e3),
            workbook_mb=round((folder / "found" / "report.xlsx").stat().st_size / 1e6, 1),
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["scale_once"]:
        scale_once(Path(sys.argv[2]))
    else:
        for word in sys.argv[1:] or ["accuracy", "scale", "command"]:
            {"accuracy": all_accuracy, "scale": scale, "command": command}[word]()

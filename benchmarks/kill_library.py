"""SIGKILL at random moments of learning, clustering, saying, undoing and forgetting: is the library whole,
and does every decision hold that was made before? `python benchmarks/kill_library.py [--kills 100]`
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import row, temporary

import face_organizer as fo
from face_organizer.files import MARKER
from face_organizer.library import store
from face_organizer.types import Faces, FaceTable, Files, Outcome

_PEOPLE, _PHOTOS, _DIM = 12, 30, 128


def collection(root: Path, luck: np.random.Generator) -> Path:
    """Files of a dozen people and their table."""
    (root / "in").mkdir()
    count = _PEOPLE * _PHOTOS
    paths = [root / "in" / f"{i:05d}.jpg" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(b"%d" % i * 40)
    people = luck.standard_normal((_PEOPLE, _DIM))
    vectors = people[np.arange(count) % _PEOPLE] + 0.4 * luck.standard_normal((count, _DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    files = Files.empty(
        count,
        path=[str(path) for path in paths],
        outcome=np.full(count, Outcome.FACES, np.uint8),
        bytes=np.array([path.stat().st_size for path in paths], np.int64),
        content=np.arange(1, count + 1).astype(np.uint64),
    )
    box = np.tile(np.array([[10, 10, 90, 90]], np.float32), (count, 1))
    faces = Faces.empty(count, file_index=np.arange(count), face_index=np.zeros(count, np.int32), box=box)
    fo.write(FaceTable(vectors, faces, files, None), root / "faces.pkl")
    return root / "faces.pkl"


def command(root: Path, *words: str) -> list[str]:
    """A command line in a process of its own."""
    return [sys.executable, "-m", "face_organizer", *words]


def clustering(root: Path) -> list[str]:
    """Sort, as every day."""
    table, people = str(root / "faces.pkl"), str(root / "people")
    return command(root, "cluster", "-e", table, "-o", people, "-k", "auto", "--sheets", "0", "-q")


def changed_by_hand(root: Path, luck: random.Random, number: int) -> str:
    """Rename one folder, drag a picture and delete one; the new name."""
    folders = sorted(
        p for p in (root / "people").iterdir() if p.is_dir() and p.name not in (MARKER, "unassigned")
    )
    one, other = luck.sample(folders, 2)
    for picture, target in zip(sorted(one.glob("*.jpg"))[:2], (other, None), strict=False):
        if target is None:
            picture.unlink()
        elif not (target / picture.name).exists():
            picture.rename(target / picture.name)
    name = f"Person {number}"
    one.rename(one.with_name(name))
    return name


def said(root: Path) -> list[tuple[Any, ...]]:
    """The journal as it stands."""
    with fo.Library(root / "people") as library:
        return [tuple(line) for line in library.history()]


def killed(words: list[str], seconds: float) -> bool:
    """Run and kill after so many seconds; whether it was still running."""
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    running = child.poll() is None
    child.kill()
    child.wait()
    return running


def whole(root: Path, before: list[tuple[Any, ...]]) -> bool:
    """Whether the library is whole and its journal begins with what it held before."""
    path = store.place_of(root / "people")
    return store.problems(path) == [] and said(root)[: len(before)] == before


def main() -> None:
    """Kill, look, go on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    wanted, luck = parser.parse_args(), random.Random(7)
    fine = hit = 0
    with temporary() as folder:
        root = Path(folder)
        collection(root, np.random.default_rng(7))
        subprocess.run(clustering(root), check=True)
        start = time.perf_counter()
        subprocess.run(clustering(root), check=True)
        longest = time.perf_counter() - start
        for number in range(wanted.kills):
            kind = ("cluster", "name", "undo", "forget")[number % 4]
            name = ""
            if kind == "cluster":
                name = changed_by_hand(root, luck, number)
            before = said(root)
            everybody = [line.name for line in fo.Library(root / "people").people()]
            words = {
                "cluster": clustering(root),
                "name": command(root, "people", "name", str(root / "people"), everybody[0], f"Name {number}"),
                "undo": command(root, "undo", str(root / "people")),
                "forget": command(root, "people", "forget", str(root / "people"), everybody[-1], "--yes"),
            }[kind]
            running = killed(words, luck.uniform(0.2, 0.9 if kind == "cluster" else 0.6) * longest)
            good = whole(root, [line for line in before if kind != "forget"])
            subprocess.run(clustering(root), check=True)
            names = [line.name for line in fo.Library(root / "people").people()]
            good = good and whole(root, [] if kind == "forget" else before) and (not name or name in names)
            fine, hit = fine + good, hit + running
            if not good:
                print(f"kill {number} ({kind}): not as it should be", file=sys.stderr)
    row("kill_library", kills=wanted.kills, while_running=hit, fine=fine)


if __name__ == "__main__":
    main()

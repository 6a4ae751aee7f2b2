"""A household for tests: files whose bytes say who is on them, tables of these, and what lies in folders."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from making_tables import stamp
from shell import Done, here

from face_organizer import table
from face_organizer.embed.processes import Processes
from face_organizer.embed.resume import Workplace
from face_organizer.media import images
from face_organizer.media.listing import listing
from face_organizer.types import Faces, FaceTable, Files, Outcome

DIM = 256


def face_of(who: str, number: int = 0) -> np.ndarray:
    """The embedding of a person on a photo, (DIM,), unit length; cosines of one person are near 0.8."""
    bases = np.random.default_rng(list(who.encode()))
    base = bases.standard_normal(DIM) / np.sqrt(DIM)
    noise = np.random.default_rng([*who.encode(), 999, number]).standard_normal(DIM) / np.sqrt(DIM)
    vector = (base + 0.5 * noise).astype(np.float32)
    return vector / np.linalg.norm(vector)


def photo(path: Path, *who: str, number: int = 0) -> Path:
    """A file that shows these people; `number` makes it another photo of the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{'+'.join(who)}#{number}#".encode() + b"." * (100 + sum(map(len, who))))
    return path


def shown(data: bytes) -> list[str]:
    """Who is on a photo of those bytes."""
    return data.split(b"#")[0].decode().split("+")


def embedded(folder: Path, *, detector: int = 0, seed: int | None = None) -> FaceTable:
    """The table of all photos below `folder`. Another `detector` draws other boxes around the same faces,
    another `seed` is another embedder."""
    return embedded_files([p for p in folder.rglob("*.jpg") if p.is_file()], detector=detector, seed=seed)


def embedded_files(paths: Iterable[Path], *, detector: int = 0, seed: int | None = None) -> FaceTable:
    """The same for these photos."""
    paths = sorted(paths, key=os.fsencode)
    turn = np.eye(DIM)
    if seed is not None:
        turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((DIM, DIM)))[0]
    rows: list[tuple[int, int, np.ndarray]] = []
    for i, path in enumerate(paths):
        if path.suffix != ".jpg":
            continue
        data = path.read_bytes()
        number = int(data.split(b"#")[1])
        rows += [(i, k, face_of(who, number) @ turn) for k, who in enumerate(shown(data))]
    boxes = [[100 * k + 3 * detector, 10 + 2 * detector, 100 * k + 80, 90] for _, k, _ in rows]
    faces = Faces.empty(
        len(rows),
        file_index=np.array([i for i, _, _ in rows], np.int64),
        face_index=np.array([k for _, k, _ in rows], np.int32),
        box=np.array(boxes, np.float32).reshape(-1, 4),
    )
    stats = [path.stat() for path in paths]
    files = Files.empty(
        len(paths),
        path=[str(path) for path in paths],
        outcome=np.array([Outcome.FACES if p.suffix == ".jpg" else Outcome.NO_FACE for p in paths], np.uint8),
        bytes=np.array([s.st_size for s in stats], np.int64),
        mtime_ns=np.array([s.st_mtime_ns for s in stats], np.int64),
        content=np.array([images.content_of(path.read_bytes()) for path in paths], np.uint64),
    )
    vectors = np.array([v for *_, v in rows], np.float32).reshape(-1, DIM)
    changes: dict[str, Any] = {"dim": DIM}
    if seed is not None:
        changes["embedder_sha256"] = f"{seed:064d}"
    return FaceTable(vectors, faces, files, stamp(**changes))


class Household:
    """Photos in `inbox`, a table of them, and their folders in `people`, under one folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.inbox, self.table, self.people = (
            root,
            root / "inbox",
            root / "faces.pkl",
            root / "people",
        )

    def photos(self, who: str, count: int, first: int = 0) -> list[Path]:
        """So many photos of one person."""
        made = range(first, first + count)
        return [photo(self.inbox / f"{who}-{i}.jpg", *who.split("+"), number=i) for i in made]

    def embed(self) -> list[str]:
        """Embed the inbox as the program does it, with what it remembers; the files that it looked at."""
        place = Workplace(self.table, Processes([], 1).lock)
        found = listing([self.inbox])
        with place.locked():
            todo = place.plan(found.paths, stamp(dim=DIM), unlisted=found.unlisted)
            for shard in todo.shards:
                table.write(embedded_files(map(Path, shard.paths)), shard.target)
            place.finish(todo, found.paths, stamp(dim=DIM))
        return [path for shard in todo.shards for path in shard.paths]

    def cluster(self, *words: str, code: int | None = 0, **embedder: Any) -> Done:
        """Embed and cluster, as somebody would who comes back."""
        if embedder:
            table.write(embedded(self.inbox, **embedder), self.table)
        else:
            self.embed()
        where = () if "-k" in words else ("-k", "auto")
        options = ["-e", self.table, "-o", self.people, "--sheets", "0", *where, *words]
        done = here("cluster", *options)
        assert code in (None, done.code), done.err
        return done

    def say(self, command: str, *words: object, code: int = 0) -> Done:
        """`people COMMAND` on the output."""
        done = here("people", command, self.people, *words)
        assert done.code == code, done.err + done.out
        return done

    def folders(self) -> dict[str, list[str]]:
        """Names of the pictures in each folder of the output."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.people.rglob("*.jpg")):
            found[str(path.parent.relative_to(self.people))].append(path.name)
        return dict(found)

    def of(self, who: str) -> str:
        """The folder that holds photos of that person alone."""
        (folder,) = {f for f, names in self.folders().items() for name in names if name.startswith(f"{who}-")}
        return folder

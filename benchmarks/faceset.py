"""Training sets: what 1,000 of 20,000 faces cover, what is kept out, how well two sets fit. JSON lines.

python benchmarks/faceset.py [--frames N]     renders two persons of data/hard/talking_heads, about 8 minutes
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trajectories
from common import DATA, embed, pictures, row, temporary
from trajectories import OCCLUDED, SPOILT, Frame

import face_organizer as fo
from face_organizer.types import FaceTable, Int64

FRAMES, FILM, SIZE, SEED = 20_000, 500, 1000, 5
PERSONS = ("aoc", "vr4_woman_blue")
EACH = 40  # pictures spoilt in each way
STRANGERS = 0.05
GRIDS = ((15.0, 15.0, 4, 0.5), (20.0, 20.0, 3, 1.0), (10.0, 10.0, 4, 0.5))
"""Degrees of yaw and pitch, parts of the mouth's way, and stops of light of a cell."""


def rendered(person: str, folder: Path, frames: int, random: np.random.Generator) -> dict[str, Frame]:
    """The frames of a person's films in `folder`, and what is true of each."""
    table, _ = embed(pictures(DATA / "hard" / "talking_heads" / person))
    rows = np.flatnonzero(np.abs(table.faces.yaw) < 25)
    photos, truth, work = trajectories.bases(table, rows), dict[str, Frame](), []
    folder.mkdir(parents=True)
    for number in range(frames // FILM):
        at = int(random.integers(len(photos)))
        start = table.faces.yaw[rows[at]], table.faces.pitch[rows[at]]
        for i, one in enumerate(trajectories.film(random, FILM)):
            path = folder / f"film{number:02d}_{i:06d}.jpg"
            work.append((photos[at], one, path, int(random.integers(2**31))))
            truth[str(path)] = one._replace(yaw=one.yaw + float(start[0]), pitch=one.pitch + float(start[1]))

    def draw(job: tuple[Any, Frame, Path, int]) -> None:
        face = trajectories.render(job[0], job[1])
        grain = np.random.default_rng(job[3]).normal(size=face.shape) * 2
        cv2.imwrite(
            str(job[2]),
            np.clip(face + grain, 0, 255).astype(np.uint8)[..., ::-1],
            [cv2.IMWRITE_JPEG_QUALITY, 92],
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(draw, work))
    return truth


def spoilt(truth: dict[str, Frame], folder: Path, random: np.random.Generator) -> None:
    """Good frames of a person, each spoilt in one way."""
    good = [path for path, one in truth.items() if one.blur < 0.5 and -0.8 < one.gain < 0.5]
    folder.mkdir()
    for how in SPOILT:
        for i in range(EACH):
            face = cv2.imread(good[random.integers(len(good))])
            cv2.imwrite(
                str(folder / f"{how}_{i:02d}.jpg"),
                trajectories.spoil(face[..., ::-1], how, random)[..., ::-1],
            )


def cells(truth: list[Frame], grid: tuple[float, float, int, float]) -> Int64:
    """The number of each face's cell of yaw, pitch, mouth and light."""
    yaw, pitch, parts, stops = grid
    keys = [
        (
            round(f.yaw / yaw),
            round(f.pitch / pitch),
            min(int(f.mouth * parts), parts - 1),
            round(f.gain / stops),
        )
        for f in truth
    ]
    return np.unique(np.array(keys), axis=0, return_inverse=True)[1].ravel()


def deepfacelab(table: FaceTable, rows: Int64, tiny: Any, size: int) -> Int64:
    """Its "best faces", from the description: the sharpest ten times as many as are wanted in each of 128
    bins of yaw, of them by turns from bins of pitch those whose histograms are most unlike the others'."""
    faces, bins = table.faces, 128
    yaw = np.clip(np.digitize(np.radians(faces.yaw[rows]), np.linspace(-1.2, 1.2, bins + 1)) - 1, 0, bins - 1)
    per = size // bins
    per += int(np.maximum(per - np.bincount(yaw, minlength=bins), 0).sum()) // bins
    chosen: list[int] = []
    while len(chosen) < size and per < len(rows):  # as many as asked for, as ours
        chosen = []
        for b in range(bins):
            some = np.flatnonzero(yaw == b)
            some = some[np.argsort(-faces.sharpness[rows[some]], kind="stable")][: 10 * per]
            pitch = np.digitize(
                np.radians(faces.pitch[rows[some]]), np.linspace(-np.pi / 2, np.pi / 2, per + 1)
            )
            groups = []
            for p in np.unique(pitch):
                own = some[pitch == p]
                shades = np.sqrt(
                    np.stack([np.bincount(t.ravel() >> 3, minlength=32) for t in tiny[own]]) / tiny[0].size
                )
                unlike = np.sqrt(np.clip(1 - shades @ shades.T, 0, 1)).sum(axis=1)
                groups.append(own[np.argsort(-unlike, kind="stable")].tolist())
            left = per
            while left and any(groups):
                for group in groups:
                    if left and group:
                        chosen.append(group.pop(0))
                        left -= 1
        per += 1
    return np.array(chosen[:size], np.int64)


def main() -> None:
    """Render, embed, choose, and compare."""
    frames = int(sys.argv[sys.argv.index("--frames") + 1]) if "--frames" in sys.argv else FRAMES
    random = np.random.default_rng(SEED)
    with temporary() as place:
        truth: dict[str, Frame] = {}
        for i, person in enumerate(PERSONS):
            truth |= rendered(person, place / person, frames // (1 if i == 0 else 2), random)
            spoilt({p: f for p, f in truth.items() if f"/{person}/" in p}, place / f"{person} spoilt", random)
        table, _ = embed([*pictures(place), *pictures(DATA / "dev-faces" / "identities")])
        report(table, truth, place, random)


def report(table: FaceTable, truth: dict[str, Frame], place: Path, random: np.random.Generator) -> None:
    """All figures."""
    paths, kept = table.face_paths(), place / "faces.figures"
    of = [np.flatnonzero([path.startswith(f"{place / person}/") for path in paths]) for person in PERSONS]
    begun = time.perf_counter()
    both = fo.faceset(table, of[0], against=of[1], size=SIZE, kept=kept)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    sets = [fo.faceset(table, rows, size=SIZE, kept=kept).members[0] for rows in of]
    row(
        "faceset",
        measure="time",
        faces=len(of[0]),
        first=round(first, 1),
        again=round((time.perf_counter() - begun) / 2, 1),
    )
    for person, rows, member in zip(PERSONS, of, sets, strict=True):
        known = [truth[paths[r]] for r in rows]
        ours = np.searchsorted(rows, member.chosen)
        rival = deepfacelab(table, rows, member.figures.tiny, SIZE)
        draws = [random.choice(len(rows), SIZE, replace=False) for _ in range(5)]
        for grid in GRIDS:
            numbers = cells(known, grid)

            def filled(some: Int64, numbers: Int64 = numbers) -> int:
                return len(np.unique(numbers[some]))

            chance = float(np.mean([filled(some) for some in draws]))
            row(
                "faceset",
                measure="coverage",
                person=person,
                grid=grid,
                there=filled(np.arange(len(rows))),
                ours=filled(ours),
                random=chance,
                deepfacelab=filled(rival),
                to_random=round(filled(ours) / chance, 2),
                to_deepfacelab=round(filled(ours) / filled(rival), 2),
            )
        sharp = member.worth.columns["sharpness"]
        blur = np.array([one.blur for one in known])
        when = [
            np.sort([int(Path(paths[r]).stem[4:6]) * 10**6 + int(paths[r][-10:-4]) for r in rows[some]])
            for some in (ours, rival)
        ]
        row(
            "faceset",
            measure="quality",
            person=person,
            sharpness=[round(float(np.median(sharp[some])), 3) for some in (ours, rival, draws[0])],
            blur=[round(float(np.median(blur[some])), 2) for some in (ours, rival, draws[0])],
            near_copies=[round(float((np.diff(times) <= 2).mean()), 3) for times in when],
        )
        bad = np.flatnonzero([path.startswith(f"{place / person} spoilt/") for path in paths])
        others = np.flatnonzero([f"{os.sep}identities{os.sep}" in path for path in paths])
        others = random.choice(others, min(len(others), int(STRANGERS * len(rows))), replace=False)
        mixed = fo.faceset(table, np.concatenate([rows, bad, others]), size=SIZE, kept=kept).members[0].chosen
        ways = Counter(Path(paths[r]).name.split("_")[0] for r in np.intersect1d(mixed, bad))
        hidden = sum(ways[how] for how in OCCLUDED)
        row(
            "faceset",
            measure="kept out",
            person=person,
            spoilt=round(1 - sum(ways.values()) / len(bad), 4),
            came_in=dict(ways),
            occluded=round(1 - hidden / (EACH * len(OCCLUDED)), 4),
            strangers=len(np.intersect1d(mixed, others)),
            of_strangers=len(others),
        )
    for grid in GRIDS:
        numbers = cells([truth[paths[r]] for r in np.concatenate(of)], grid)
        parts = np.split(numbers, [len(of[0])])

        def apart(members: Any, parts: Any = parts) -> float:
            """Half the sum of differences of the shares of all cells: 0 alike, 1 with nothing in common."""
            shares = [
                np.bincount(part[np.searchsorted(rows, m.chosen)], minlength=max(map(max, parts)) + 1)
                / len(m.chosen)
                for m, part, rows in zip(members, parts, of, strict=True)
            ]
            return float(np.abs(shares[0] - shares[1]).sum() / 2)

        row(
            "faceset",
            measure="two persons",
            grid=grid,
            separate=round(apart(sets), 3),
            fitted=round(apart(both.members), 3),
            ratio=round(apart(both.members) / apart(sets), 2),
        )


if __name__ == "__main__":
    main()

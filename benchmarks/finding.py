"""What is found: faces that fill their picture, faces in pictures that were turned without a tag, small faces
on large pictures; and what should not be: upright photos turned over, hands and clocks taken for faces.

`python benchmarks/finding.py [--rounds 5]`
"""

from __future__ import annotations

import argparse
import contextlib
import csv
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from common import CORES, DATA, embed, interleaved, main_rows, packs, pictures, ratio, row, temporary
from rivals import Ours

from face_organizer.detect import Detector, Look, finder
from face_organizer.embed.setup import open_models
from face_organizer.errors import ImageError
from face_organizer.geometry import quality
from face_organizer.geometry.boxes import overlap
from face_organizer.media import images
from face_organizer.networks.devices import CPU
from face_organizer.networks.packs import resolve
from face_organizer.types import Image

QUARTERS = {90: 1, 180: 2, 270: 3}


def turned(paths: list[str], quarters: int, folder: Path) -> dict[str, str]:
    """Copies of photos turned counter-clockwise, as PNG so that no pixel changes: copy → original."""
    from PIL import Image

    folder.mkdir()
    copies = {}
    for number, path in enumerate(paths):
        copy = folder / f"{number:04d}.png"
        Image.fromarray(np.rot90(images.read(path), quarters)).save(copy, compress_level=1)
        copies[str(copy)] = path
    return copies


UPRIGHT = (
    "dev-faces/celeb5",
    "dev-faces/dlib_johns",
    "dev-faces/group_photos",
    "dev-faces/detection_gt_dlib",
)
HARD = ("hard/sports_caps", "hard/masks", "hard/talking_heads")
CROWDED = ("dev-faces/group_photos", "dev-faces/detection_gt_dlib", "dev-faces/celeb5", "hard/sports_caps")


def sources(paths: list[str]) -> list[images.Source]:
    """The pictures that can be read."""
    found = []
    for path in paths:
        with contextlib.suppress(ImageError):
            found.append(images.open_source(path))
    return found


def upright(detector: Detector) -> dict[str, str]:
    """Of upright photos: how many have a face that is turned by more than 60°, of all."""
    made = {}
    for word, folders in (("dev_faces", (*UPRIGHT, "dev-faces/identities")), ("hard", HARD)):
        photos = sources([path for name in folders for path in pictures(DATA / name)])
        for every in (False, True):
            found = finder.find(photos, detector, Look(every_face=every))
            turned = sum(bool(((one.turns > 60) & (one.turns < 300)).any()) for one in found)
            made[f"{word}_{'all' if every else 'largest'}"] = f"{turned} of {len(photos)}"
    return made


def false_faces(detector: Detector, other: Detector) -> dict[str, str]:
    """How many go of the things that YuNet takes for faces (seen by eye, tests/not_faces.csv), and of the
    faces of 20 pixels and more that both detectors see."""
    look, real = Look(every_face=True), detector.real
    gone = there = lost = true = 0
    listed = Path(__file__).parent.parent / "tests" / "not_faces.csv"
    wrong = defaultdict[str, list[list[float]]](list)
    for line in csv.DictReader(listed.read_text().splitlines()):
        wrong[str(DATA / line["path"])].append([float(line[side]) for side in ("x1", "y1", "x2", "y2")])
    for path in [path for name in CROWDED for path in pictures(DATA / name)]:
        for source in sources([path]):
            type(detector).real = 0.0
            before = finder.find([source], detector, look)[0].faces
            type(detector).real = real
            after = finder.find([source], detector, look)[0].faces
            rival = finder.find([source], other, look)[0].faces
            both = overlap(before.boxes, rival.boxes).max(axis=1, initial=0) >= 0.3
            both &= quality.size(before.boxes) >= 20
            kept = overlap(before.boxes, after.boxes).max(axis=1, initial=0) >= 0.3
            lost, true = lost + int((both & ~kept).sum()), true + int(both.sum())
            if path in wrong:
                boxes = np.array(wrong[path], np.float32)
                seen = overlap(boxes, before.boxes).max(axis=1, initial=0) >= 0.3
                left = overlap(boxes, after.boxes).max(axis=1, initial=0) >= 0.3
                there, gone = there + int(seen.sum()), gone + int((seen & ~left).sum())
    return {"false_gone": f"{gone} of {there}", "true_lost": f"{lost} of {true}"}


def small_faces(detector: Detector, photos: list[Image]) -> dict[str, str]:
    """Faces of some pixels on large, wide and tall pictures, found of all."""
    made = {}
    for height, width, side, count in LARGE:
        random, scene = np.random.default_rng(5), np.full((height, width, 3), 140, np.uint8)
        cells = [
            (y, x) for y in range(0, height - side, side + 20) for x in range(0, width - side, side + 20)
        ]
        boxes = []
        for n, i in enumerate(random.permutation(len(cells))[:count]):
            y, x = cells[i]
            small = cv2.resize(photos[n % len(photos)], (side, side), interpolation=cv2.INTER_AREA)
            scene[y : y + side, x : x + side] = small
            middle, half = np.array([x, y]) + side / 2, side * 0.22
            boxes.append([*(middle - half), *(middle + half)])
        (found,) = finder.find([images.Decoded(scene)], detector, Look(every_face=True))
        seen = overlap(np.array(boxes, np.float32), found.faces.boxes).max(axis=1, initial=0) >= 0.3
        made[f"{width}x{height}, {side * 0.44:.0f} px"] = f"{int(seen.sum())} of {count}"
    return made


LARGE = ((6000, 8000, 132, 60), (2000, 24000, 260, 20), (14000, 1080, 230, 20))


def main() -> None:
    """Both packs: tight crops, three turns, the price of looking for turns and for every face."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    crops = pictures(DATA / "dev-faces" / "utkface")
    portraits = pictures(DATA / "dev-faces" / "identities")
    with temporary() as folder:
        places = packs(folder)
        copies = {d: turned(portraits, q, folder / str(d)) for d, q in QUARTERS.items()}
        detectors = {pack: open_models(resolve(where), CPU).detector for pack, where in places.items()}
        for pack, detector in detectors.items():
            other = next(one for name, one in detectors.items() if name != pack)
            row("upright photos turned over", pack=pack, **upright(detector))
            row("what is no face", pack=pack, **false_faces(detector, other))
            some = [images.read(path) for path in portraits[::9]]
            row("small faces on large pictures", pack=pack, **small_faces(detector, some))
        for pack, where in places.items():
            found = len(main_rows(embed(crops, where)[0]))
            row("tight crops", pack=pack, pictures=len(crops), found=round(found / len(crops), 5))
            straight, _ = embed(portraits, where)
            rows = main_rows(straight)
            for degrees, originals in copies.items():
                table, _ = embed(sorted(originals), where)
                mine = main_rows(table)
                cosines = [
                    float(table.embeddings[i] @ straight.embeddings[rows[originals[copy]]])
                    for copy, i in mine.items()
                    if originals[copy] in rows
                ]
                row(
                    "turned",
                    pack=pack,
                    degrees=degrees,
                    pictures=len(originals),
                    found=round(len(mine) / len(originals), 5),
                    cosine=round(float(np.median(cosines)), 4),
                    cosine_p5=round(float(np.percentile(cosines, 5)), 4),
                )
            rivals = {}
            settings = {"auto": {}, "off": {"turns": False}, "every": {"faces": "all"}}
            for name, options in settings.items():
                (folder / f"{pack}-{name}").mkdir()
                rivals[name] = Ours(where, portraits, folder / f"{pack}-{name}", **options)
                rivals[name]()
            seconds = interleaved(dict(rivals), wanted.rounds)
            row(
                "price of turns",
                pack=pack,
                pictures=len(portraits),
                lanes=CORES,
                wall=round(ratio(seconds["auto"], seconds["off"]) - 1, 4),
                cpu=round(ratio(rivals["auto"].cpu[1:], rivals["off"].cpu[1:]) - 1, 4),
                every_face=round(ratio(seconds["every"], seconds["auto"]), 4),
            )
            for rival in rivals.values():
                rival.close()


if __name__ == "__main__":
    main()

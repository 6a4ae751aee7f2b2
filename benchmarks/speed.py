"""Pictures a second ÷ the original loop, and ÷ what the networks alone reach; photos of 250 px and of 1,600.

All in one run, interleaved, each in a process that stays up with its networks loaded (see rivals.py):
starting is not counted for any of them. `python benchmarks/speed.py [--rounds 5] [--sizes small,large]`
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import CORES, DATA, interleaved, large_pack, packs, pictures, ratio, row, save, say, temporary
from rivals import Networks, Original, Ours, megabytes

LARGE = 1600
GRAIN = 3.0
"""Standard deviation of the noise on enlarged photos: without a sensor's grain their files are too small."""


def large_photos(folder: Path) -> list[str]:
    """Photos of 1,600 px and more: real ones enlarged, and portraits laid into scenes of 1600 x 1200."""
    faces = DATA / "dev-faces"
    real = pictures(
        faces / "picasa", faces / "opencv_series", faces / "detection_gt_dlib", faces / "group_photos"
    )
    random = np.random.default_rng(0)
    number = 0
    for path in real:
        picture = cv2.imread(path)
        if picture is None or max(picture.shape) < 300:
            continue
        scale = max(1.0, LARGE / max(picture.shape[:2]))
        _with_grain(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC),
            random,
            folder / f"real-{number:03d}.jpg",
        )
        number += 1
    scenes = [cv2.imread(p) for p in pictures(faces / "detection_gt_dlib") if "dogs" in p or "2008_00" in p]
    portraits = pictures(faces / "identities")[:: 581 // 120]
    for number, path in enumerate(portraits):
        scene = cv2.GaussianBlur(cv2.resize(scenes[number % len(scenes)], (LARGE, 1200)), None, 12)
        side = int(random.integers(400, 1100))
        x, y = int(random.integers(0, LARGE - side)), int(random.integers(0, 1200 - side))
        scene[y : y + side, x : x + side] = cv2.resize(
            cv2.imread(path), (side, side), interpolation=cv2.INTER_CUBIC
        )
        _with_grain(scene, random, folder / f"scene-{number:03d}.jpg")
    return pictures(folder)


def _with_grain(picture: Any, random: np.random.Generator, path: Path) -> None:
    grain = random.normal(0, GRAIN, picture.shape[:2]).astype(np.float32)
    noisy = np.clip(picture.astype(np.float32) + grain[..., None], 0, 255).astype(np.uint8)
    save(np.ascontiguousarray(noisy[..., ::-1]), path)


def race(
    name: str,
    pack: str,
    where: str,
    paths: list[str],
    wanted: argparse.Namespace,
    folder: Path,
    **options: Any,
) -> None:
    """Ours, the networks alone and, for a pack that InsightFace runs, the original loop."""
    say(f"{name}, {pack}, {options}: {len(paths)} pictures")
    tables = folder / f"{name}-{pack}-{len(options)}"
    tables.mkdir()
    ours = Ours(where, paths, tables, **options)
    networks = Networks(where, paths, **options)
    rivals: dict[str, Any] = {"ours": ours, "networks": networks}
    every = options.get("faces") == "all"
    if pack == "scrfd-mobilefacenet" and name != "250 px, long" and not wanted.no_original:
        rivals["original"] = Original(where, paths, every_face=every)
        rivals["original, no denormals"] = Original(where, paths, every_face=every, denormals=False)
    for rival in rivals.values():
        rival()  # a round to warm up
    seconds = interleaved(rivals, wanted.rounds)
    faces = {"ours": ours.faces}
    if "original" in rivals:
        faces["original"] = rivals["original"].answer[0]
    total = sum(ours.stages.values())
    row(
        "speed",
        photos=name,
        pack=pack,
        options=options,
        pictures=len(paths),
        megabytes_each=round(megabytes(paths), 3),
        lanes=CORES,
        rate={n: round(len(paths) / float(np.median(s)), 1) for n, s in seconds.items()},
        times_original={
            n: round(ratio(s, seconds["ours"]), 3) for n, s in seconds.items() if n.startswith("original")
        },
        to_networks=round(ratio(seconds["networks"], seconds["ours"]), 4),
        cpu_to_networks=round(ratio(networks.cpu[1:], ours.cpu[1:]), 4),
        faces=faces,
        stages={stage: round(s / total, 4) for stage, s in ours.stages.items()},
        runs=networks.runs,
        rounds={n: [round(x, 3) for x in s] for n, s in seconds.items()},
    )
    for rival in rivals.values():
        rival.close()


def main() -> None:
    """Race both packs over both sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-original", action="store_true")
    parser.add_argument(
        "--pictures", type=int, default=576, help="of 250 px; `long` takes four times as many"
    )
    parser.add_argument("--sizes", default="small,long,large,large-all")
    parser.add_argument("--packs", default="scrfd-mobilefacenet,opencv")
    wanted = parser.parse_args()
    with temporary() as folder:
        places = packs(folder)
        small = pictures(DATA / "dev-faces" / "identities")
        long = (small * math.ceil(4 * wanted.pictures / len(small)))[: 4 * wanted.pictures]
        (folder / "large").mkdir()
        large = large_photos(folder / "large") if "large" in wanted.sizes else []
        if "scrfd-resnet50" in wanted.packs:
            places["scrfd-resnet50"] = large_pack(folder)
        for pack in wanted.packs.split(","):
            if "small" in wanted.sizes:
                race("250 px", pack, places[pack], long[: wanted.pictures], wanted, folder)
            if "long" in wanted.sizes:  # the end of a short run, when lanes run out of work, weighs less
                race("250 px, long", pack, places[pack], long, wanted, folder)
            if "large" in wanted.sizes.split(","):
                race("1600 px", pack, places[pack], large, wanted, folder)
            if "large-all" in wanted.sizes:
                race(
                    "1600 px", pack, places[pack], large[::4], wanted, folder, faces="all", min_face_size=0.0
                )


if __name__ == "__main__":
    main()

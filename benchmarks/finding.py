"""What is found: faces that fill their picture, and faces in pictures that were turned without a tag.

`python benchmarks/finding.py [--rounds 5]`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import CORES, DATA, embed, interleaved, main_rows, packs, pictures, ratio, row, temporary
from rivals import Ours

from face_organizer.media import images

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


def main() -> None:
    """Both packs: tight crops, three turns, the price of looking for turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    crops = pictures(DATA / "dev-faces" / "utkface")
    upright = pictures(DATA / "dev-faces" / "identities")
    with temporary() as folder:
        places = packs(folder)
        copies = {d: turned(upright, q, folder / str(d)) for d, q in QUARTERS.items()}
        for pack, where in places.items():
            found = len(main_rows(embed(crops, where)[0]))
            row("tight crops", pack=pack, pictures=len(crops), found=round(found / len(crops), 5))
            straight, _ = embed(upright, where)
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
            for name, turns in (("auto", True), ("off", False)):
                (folder / f"{pack}-{name}").mkdir()
                rivals[name] = Ours(where, upright, folder / f"{pack}-{name}", turns=turns)
                rivals[name]()
            seconds = interleaved(dict(rivals), wanted.rounds)
            row(
                "price of turns",
                pack=pack,
                pictures=len(upright),
                lanes=CORES,
                wall=round(ratio(seconds["auto"], seconds["off"]) - 1, 4),
                cpu=round(ratio(rivals["auto"].cpu[1:], rivals["off"].cpu[1:]) - 1, 4),
            )
            for rival in rivals.values():
                rival.close()


if __name__ == "__main__":
    main()

"""FaceSwap crops: pictures a second ÷ the original loop, and cosines to the embeddings by detection.

The crops are made here, as FaceSwap makes them (tests/faceswap_writer.py), 512 px, head centering, from
photos of dev-faces/identities with 68 landmarks laid through the five that were found.
`python benchmarks/faceswap.py [--rounds 5]`
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from common import CORES, DATA, embed, interleaved, main_rows, packs, pictures, ratio, row, temporary
from rivals import Networks, Original, Ours, megabytes

from face_organizer.faceswap import read_header
from face_organizer.faceswap.landmarks import Centering
from face_organizer.media import images

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import faceswap_writer as writer

SIZE = 512


def make_crops(folder: Path) -> list[str]:
    """A crop with its header for each photo with a face."""
    folder.mkdir()
    table, _ = embed(pictures(DATA / "dev-faces" / "identities"))
    for path, i in main_rows(table).items():
        landmarks = writer.landmarks_from_five(table.faces.landmarks[i])
        photo = images.read(path)
        crop = writer.crop(photo, landmarks, SIZE, Centering.HEAD)
        meta = writer.header(landmarks, masks=1, identities=1, source_frame_dims=photo.shape[:2])
        (folder / f"{Path(path).stem}_0.png").write_bytes(writer.png(crop, meta))
    return pictures(folder)


def milliseconds(paths: list[str]) -> dict[str, float]:
    """What reading one crop takes, part by part, on one core."""
    data = [Path(p).read_bytes() for p in paths[:100]]
    parts = {
        "decode": lambda d: images.Source(d).pixels(),
        "hash": images.content_of,
        "header": read_header,
    }
    taken = {}
    for name, part in parts.items():
        goes = []
        for _ in range(5):
            start = time.thread_time()
            for one in data:
                part(one)
            goes.append((time.thread_time() - start) / len(data) * 1e3)
        taken[name] = round(statistics.median(goes), 3)
    return taken


def main() -> None:
    """Race the pack that InsightFace runs; compare embeddings for both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with temporary() as folder:
        crops = make_crops(folder / "crops")
        for pack, where in packs(folder).items():
            by_header, run = embed(crops, where)
            detected, _ = embed(crops, where, headers=False)
            one, other = main_rows(by_header), main_rows(detected)
            cosines = [
                float(by_header.embeddings[one[p]] @ detected.embeddings[other[p]]) for p in one if p in other
            ]
            row(
                "FaceSwap cosine",
                pack=pack,
                crops=len(crops),
                by_header=run.counts["by FaceSwap header"],
                detected=len(other),
                cosine=round(float(np.median(cosines)), 4),
                cosine_p5=round(float(np.percentile(cosines, 5)), 4),
            )
            (folder / f"t-{pack}").mkdir()
            rivals: dict[str, Ours | Networks | Original] = {
                "ours": Ours(where, crops, folder / f"t-{pack}"),
                "networks": Networks(where, crops),
            }
            if pack != "opencv":
                rivals["original"] = Original(where, crops)
                rivals["original, no denormals"] = Original(where, crops, denormals=False)
            for rival in rivals.values():
                rival()
            seconds = interleaved(dict(rivals), wanted.rounds)
            row(
                "FaceSwap speed",
                pack=pack,
                crops=len(crops),
                megabytes_each=round(megabytes(crops), 3),
                lanes=CORES,
                rate={n: round(len(crops) / float(np.median(s)), 1) for n, s in seconds.items()},
                times_original={
                    n: round(ratio(s, seconds["ours"]), 3)
                    for n, s in seconds.items()
                    if n.startswith("original")
                },
                to_networks=round(ratio(seconds["networks"], seconds["ours"]), 4),
                cpu_to_networks=round(ratio(rivals["networks"].cpu[1:], rivals["ours"].cpu[1:]), 4),
                milliseconds=milliseconds(crops),
                rounds={n: [round(x, 3) for x in s] for n, s in seconds.items()},
            )
            for rival in rivals.values():
                rival.close()


if __name__ == "__main__":
    main()

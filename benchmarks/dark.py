"""Does `--enhance clahe` help dark photos? Every third photo of dev-faces/identities, darkened and with
noise.

Found, and the cosine to the same photo's embedding as it was, with and without. `python benchmarks/dark.py`
"""

from __future__ import annotations

import os

import numpy as np
from common import DATA, embed, main_rows, packs, pictures, row, save, temporary

from face_organizer.media import images

LIGHT = (0.25, 0.1, 0.05)
"""Share of the light that is left."""
NOISE = 4.0
"""Standard deviation of the noise that a dark photo has, in steps of 256."""


def main() -> None:
    """Both packs, three darknesses, with and without."""
    photos = pictures(DATA / "dev-faces" / "identities")[::3]
    random = np.random.default_rng(0)
    with temporary() as folder:
        places = packs(folder)
        for light in LIGHT:
            for path in photos:
                dark = images.read(path) * light
                noisy = np.clip(dark + random.normal(0, NOISE, dark.shape), 0, 255).astype(np.uint8)
                save(noisy, folder / str(light) / os.path.basename(path))
        for pack, where in places.items():
            normal, _ = embed(photos, where)
            known = {os.path.basename(p): i for p, i in main_rows(normal).items()}
            for light in LIGHT:
                for enhance in ("none", "clahe"):
                    table, _ = embed(pictures(folder / str(light)), where, enhance=enhance)
                    found = main_rows(table)
                    cosines = [
                        float(table.embeddings[i] @ normal.embeddings[known[os.path.basename(p)]])
                        for p, i in found.items()
                    ]
                    row(
                        "dark photos",
                        pack=pack,
                        light=light,
                        enhance=enhance,
                        pictures=len(photos),
                        found=round(len(found) / len(photos), 4),
                        cosine=round(float(np.median(cosines)), 4),
                    )


if __name__ == "__main__":
    main()

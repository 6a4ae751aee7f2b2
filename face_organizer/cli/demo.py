"""`make demo`: the main job on real faces that installed packages carry, varied as a camera would vary them.

The faces are those of insightface's and scikit-image's sample pictures; they are read where the packages lie
and written nowhere but into the demo's own folder.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from face_organizer.cli import load, run
from face_organizer.detect import finder, looks, open_detector
from face_organizer.errors import FaceOrganizerError
from face_organizer.geometry import quality
from face_organizer.media import images
from face_organizer.networks.devices import CPU
from face_organizer.networks.packs import EMBEDDED, find
from face_organizer.types import Image

PEOPLE = (
    "insightface/data/images/t1.jpg",
    "insightface/data/images/Tom_Hanks_54745.png",
    "skimage/data/astronaut.png",
)
NOBODY = ("skimage/data/coffee.png", "skimage/data/rocket.jpg")
PHOTOS_EACH = 12
SMALLEST = 60  # pixels: smaller faces of the samples make no portrait


def main(folder: Path) -> int:
    """Make photos in `folder`/photos, sort them into `folder`/people, say where to look; the exit code."""
    photos, table, people = folder / "photos", folder / "faces.pkl", folder / "people"
    shutil.rmtree(folder, ignore_errors=True)
    count = make_photos(photos)
    for command in (
        ["embed", "--input", str(photos), "--output", str(table)],
        ["cluster", "--embeddings", str(table), "--output", str(people), "--clusters", str(count)],
    ):
        click.secho(f"\n$ face-organizer {' '.join(command)}", bold=True)
        code = run(
            load(f"face_organizer.cli.{command[0]}:{command[0]}"),
            command[1:],
            name=f"face-organizer {command[0]}",
        )
        if code:
            return code
    click.echo(f"\nLook at them: {people}/person_A, person_B …  ({count} people; made from {photos})")
    return 0


def make_photos(folder: Path) -> int:
    """Write the demo's photos into three 'cameras', whose file names collide on purpose; the number of
    people."""
    import cv2

    rng = np.random.default_rng(7)
    portraits = list(_portraits())
    varied = [_varied(face, rng) for face in portraits for _ in range(PHOTOS_EACH)]
    varied += [images.read(str(_sample(name))) for name in NOBODY]
    for number, which in enumerate(rng.permutation(len(varied))):
        path = folder / f"camera_{number % 3 + 1}" / f"IMG_{number // 3:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))]
        path.write_bytes(cv2.imencode(".jpg", varied[which][..., ::-1], quality)[1].tobytes())
    return len(portraits)


def _sample(name: str) -> Path:
    package, _, rest = name.partition("/")
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / rest if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FaceOrganizerError(f"{name} is not installed; run `make demo`, which installs what it needs")
    return path


def _portraits() -> Iterator[Image]:
    """One picture a person: each face of the samples with as much around it as the face is large."""
    detector = open_detector(find(EMBEDDED), CPU)
    for name in PEOPLE:
        picture = images.read(str(_sample(name)))
        source = images.open_source(str(_sample(name)))
        found = finder.find([source], detector, looks.Look(0.8, SMALLEST, every_face=True))[0].faces
        for x1, y1, x2, y2 in found.boxes[quality.size(found.boxes) >= SMALLEST].tolist():
            margin = max(x2 - x1, y2 - y1) * 0.6
            left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
            yield picture[top : int(y2 + margin), left : int(x2 + margin)]


def _varied(face: Image, rng: np.random.Generator) -> Image:
    """The face turned by up to 20°, 120 to 400 pixels wide, darker or brighter, with some noise."""
    import cv2

    side = int(rng.integers(120, 400))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-20, 20)), 1.0)
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    picture = cv2.warpAffine(small, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
    lit = 255 * (picture / 255) ** rng.uniform(0.6, 1.6) * rng.uniform(0.7, 1.2)
    return np.clip(lit + rng.normal(0, rng.uniform(0, 8), lit.shape), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))

"""`face-organizer demo`: the main job on real faces that installed packages carry, varied as a camera would
vary them.

The faces are those of insightface's and scikit-image's sample pictures; they are read where the packages lie
and written nowhere but into the demo's own folder.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli import load, run
from face_organizer.cli.options import HELP
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import printable

PEOPLE = (
    "insightface/data/images/t1.jpg",
    "insightface/data/images/Tom_Hanks_54745.png",
    "skimage/data/astronaut.png",
)
NOBODY = ("skimage/data/coffee.png", "skimage/data/rocket.jpg")
PHOTOS_EACH = 12
SMALLEST = 60  # pixels: smaller faces of the samples make no portrait
MARKER = ".face-organizer-demo"


@click.command(context_settings=HELP)
@click.argument("folder", type=click.Path(path_type=Path), default="demo")
def demo(folder: Path) -> int:
    """Sort a few faces that come with the installed packages: no pictures, models or network needed.

    Makes photos in FOLDER/photos (FOLDER is `demo` if not given) and sorts them into FOLDER/people. What an
    earlier demo left in FOLDER is replaced; any other folder that is not empty is refused.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise UsageError(f"{printable(folder)} is not empty, and not from an earlier demo; name another")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    photos, table, people = folder / "photos", folder / "faces.pkl", folder / "people"
    count = make_photos(photos, folder / "samples.pkl")
    code = _run("embed", "--input", photos, "--output", table)
    code = code or _run("cluster", "--embeddings", table, "--output", people, "--clusters", count)
    if not code:
        click.echo(f"\nLook at them: {people}/person_A, person_B …  ({count} people; made from {photos})")
    return code


def _run(command: str, *args: Any) -> int:
    words = [command, *map(str, args)]
    click.secho(f"\n$ face-organizer {' '.join(words)}", bold=True)
    return run(load(command), words[1:], name=f"face-organizer {command}")


def make_photos(folder: Path, table: Path) -> int:
    """Write the demo's photos into three 'cameras', whose file names collide on purpose; the number of
    people. `table` becomes that of the sample pictures' faces."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(7)
    portraits = list(_portraits(table))
    varied = [_varied(face, rng) for face in portraits for _ in range(PHOTOS_EACH)]
    varied += [cv2.imread(path) for path in _installed(NOBODY)]
    for number, which in enumerate(rng.permutation(len(varied))):
        path = folder / f"camera_{number % 3 + 1}" / f"IMG_{number // 3:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 96))]
        path.write_bytes(cv2.imencode(".jpg", varied[which], quality)[1].tobytes())
    return len(portraits)


def _installed(names: tuple[str, ...]) -> list[str]:
    """The paths of those sample pictures whose packages are installed."""
    specs = [(name.partition("/"), importlib.util.find_spec(name.partition("/")[0])) for name in names]
    paths = [Path(spec.origin).parent / rest for (_, _, rest), spec in specs if spec and spec.origin]
    return [str(path) for path in paths if path.is_file()]


def _portraits(table: Path) -> Iterator[Any]:
    """One picture (h, w, 3) per person: each face of the samples with as much around it as the face is
    large."""
    import cv2

    samples = _installed(PEOPLE)
    if not samples:
        raise FaceOrganizerError("neither insightface nor scikit-image is installed: no faces to show")
    if _run("embed", "--input", *samples, "--output", table, "--pack", "opencv", "--device", "cpu",
            "--faces", "all", "--min-face-size", SMALLEST, "--min-confidence", 0.8, "--quiet"):  # fmt: skip
        raise FaceOrganizerError("the sample pictures cannot be used")
    faces = fo.read(table)
    for path, (x1, y1, x2, y2) in zip(faces.face_paths(), faces.faces.box.tolist(), strict=True):
        margin = max(x2 - x1, y2 - y1) * 0.6
        left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
        picture: Any = cv2.imread(path)
        yield picture[top : int(y2 + margin), left : int(x2 + margin)]


def _varied(face: Any, rng: Any) -> Any:
    """The face turned by up to 20°, 120 to 400 pixels wide, darker or brighter, with some noise."""
    import cv2
    import numpy as np

    side = int(rng.integers(120, 400))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-20, 20)), 1.0)
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    picture = cv2.warpAffine(small, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
    lit = 255 * (picture / 255) ** rng.uniform(0.6, 1.6) * rng.uniform(0.7, 1.2)
    return np.clip(lit + rng.normal(0, rng.uniform(0, 8), lit.shape), 0, 255).astype(np.uint8)

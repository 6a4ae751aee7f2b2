"""`face-organizer demo`: the main job on faces from sample pictures of installed packages, varied as a camera
would vary them. The samples are read where they lie; all that is written is in the demo's own folder."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.options import HELP
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import printable, write_jpeg

PEOPLE = tuple(f"insightface/data/images/{name}" for name in ("t1.jpg", "Tom_Hanks_54745.png"))
PEOPLE += ("skimage/data/astronaut.png",)
NOBODY = ("skimage/data/coffee.png", "skimage/data/rocket.jpg")
PHOTOS_EACH = 12
MARKER = ".face-organizer-demo"


@click.command(context_settings=HELP)
@click.argument("folder", type=click.Path(path_type=Path), default="demo")
def demo(folder: Path) -> None:
    """Sort a few faces that come with the installed packages: no pictures, models or network needed.

    Makes photos in FOLDER/photos (FOLDER is `demo` if not given) and sorts them into FOLDER/people. What an
    earlier demo left in FOLDER is replaced; any other folder that is not empty is refused.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise UsageError(f"{printable(folder)} is not empty, and not from an earlier demo; name another")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / MARKER).mkdir(parents=True)
    photos, faces, people = (folder / name for name in ("photos", "faces.pkl", "people"))
    persons = _make_photos(photos)
    click.echo(f"$ face-organizer embed --input {photos} --output {faces}")
    table = fo.embed(photos, faces)
    click.echo(f"$ face-organizer cluster --embeddings {faces} --output {people} --clusters {persons}")
    placed = fo.plan(fo.cluster(table, persons), people).apply()
    total, nobody = table.total_files, table.outcome_counts()["no_face"]
    click.echo(f"{total} pictures = {sum(placed.folders.values())} sorted + {nobody} no face")
    click.echo(f"Look at them: {people}/person_A, person_B …  ({persons} people; made from {photos})")


def _make_photos(folder: Path) -> int:
    """Write photos of the samples' faces, turned, 120 to 400 pixels wide, dark or bright, noisy, into three
    'cameras' whose file names collide on purpose; the number of people."""
    import cv2
    import numpy as np

    def varied(face: Any) -> Any:
        side = int(rng.integers(120, 400))
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-20, 20)), 1.0)
        small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        picture = cv2.warpAffine(small, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
        lit = 255 * (picture / 255) ** rng.uniform(0.6, 1.6) * rng.uniform(0.7, 1.2)
        return np.clip(lit + rng.normal(0, rng.uniform(0, 8), lit.shape), 0, 255).astype(np.uint8)

    if not (samples := _installed(PEOPLE)):
        raise FaceOrganizerError("neither insightface nor scikit-image is installed: no faces to show")
    table = fo.embed(samples, pack="opencv", device="cpu", faces="all", min_face_size=60, min_confidence=0.8)
    rng, pictures = np.random.default_rng(7), [cv2.imread(path) for path in _installed(NOBODY)]
    for path, (x1, y1, x2, y2) in zip(table.face_paths(), table.faces.box.astype(int), strict=True):
        margin = int(max(x2 - x1, y2 - y1) * 0.6)
        sample: Any = cv2.imread(path)
        face = sample[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin]
        pictures += [varied(face) for _ in range(PHOTOS_EACH)]
    for number, which in enumerate(rng.permutation(len(pictures))):
        photo = folder / f"camera_{number % 3 + 1}" / f"IMG_{number // 3:04d}.jpg"
        write_jpeg(photo, pictures[which][..., ::-1], int(rng.integers(45, 96)))
    return len(table)


def _installed(names: tuple[str, ...]) -> list[str]:
    """The paths of those sample pictures whose packages are installed."""
    specs = [(name, importlib.util.find_spec(name.partition("/")[0])) for name in names]
    return [str(Path(spec.origin).parents[1] / name) for name, spec in specs if spec and spec.origin]

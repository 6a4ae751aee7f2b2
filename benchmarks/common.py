"""What the benchmarks share: where the data lies, what machine this is, packs, rounds, rows."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import resnet50
from PIL import Image as Pillow

from face_organizer.embed.events import Report
from face_organizer.embed.maker import look_at
from face_organizer.embed.setup import EmbedOptions, Setup, open_models, stamp_of
from face_organizer.faceswap import trust
from face_organizer.machine import available_cores
from face_organizer.media.listing import listing
from face_organizer.networks.devices import CPU
from face_organizer.networks.packs import resolve
from face_organizer.types import FaceTable, Image

SHARED = Path(os.environ.get("FACE_ORGANIZER_SHARED", Path(__file__).resolve().parents[2] / "shared"))
DATA = Path(os.environ.get("FACE_ORGANIZER_DATA", SHARED / "data"))
"""Real, labelled photos; see README.md."""
MODELS = SHARED / "models"
SMALL_PACK = ("scrfd_2.5g_bnkps_dynamic.onnx", "mobilefacenet_512.onnx")
CORES = available_cores().count
"""Threads of every run here: one per core."""


def machine() -> dict[str, Any]:
    """Processor, cores and the versions that matter, for every row."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    packages = ("numpy", "opencv-contrib-python-headless", "onnxruntime", "faiss-cpu", "pillow")
    return {
        "cpu": model,
        "cores": CORES,
        "python": platform.python_version(),
        **{p: version(p) for p in packages},
    }


def row(name: str, **values: Any) -> None:
    """Print one measurement as a JSON line."""
    print(json.dumps({"benchmark": name, **values, "machine": machine()}), flush=True)


def say(line: str) -> None:
    """A line for who watches, not part of the results."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def temporary() -> Iterator[Path]:
    """A folder that goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="face-organizer-bench-") as name:
        yield Path(name)


def small_pack(folder: Path) -> str:
    """The path of a pack in InsightFace's layout, SCRFD-2.5G and mobilefacenet_512, made in `folder`."""
    pack = folder / "scrfd-mobilefacenet"
    pack.mkdir()
    for name in SMALL_PACK:
        shutil.copyfile(MODELS / name, pack / name)
    return str(pack)


def packs(folder: Path) -> dict[str, str]:
    """Name for the rows → what `resolve` takes, of both packs that are measured."""
    return {"opencv": "opencv", "scrfd-mobilefacenet": small_pack(folder)}


def large_pack(folder: Path) -> str:
    """The path of a pack with an embedder of the size of InsightFace's, made in `folder`."""
    pack = folder / "scrfd-resnet50"
    pack.mkdir()
    shutil.copyfile(MODELS / SMALL_PACK[0], pack / SMALL_PACK[0])
    resnet50.write(pack / "resnet50_random.onnx")
    return str(pack)


def pictures(*folders: Path) -> list[str]:
    """All pictures below `folders`, sorted as `face-organizer embed` sorts them."""
    return list(listing(list(folders)).paths)


def embed(paths: Sequence[str], pack_name: str = "opencv", **options: Any) -> tuple[FaceTable, Report]:
    """The face table of some pictures, on the CPU with a thread per core, and what it took."""
    pack = resolve(pack_name)
    models = open_models(pack, CPU)
    settings = EmbedOptions(**options)
    stamp = stamp_of(pack, settings)
    return look_at(paths, models, Setup("", settings, stamp, trust.samples(paths)), CORES)


def main_rows(table: FaceTable) -> dict[str, int]:
    """Path → row of its main face, of the pictures with a face."""
    first = np.flatnonzero(table.faces.face_index == 0)
    return {table.files.path[table.faces.file_index[i]]: int(i) for i in first}


def interleaved(rivals: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each rival in turn, A B C A B C …: what slows the machine for a while slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for number in range(rounds):
        for name, run in rivals.items():
            seconds[name].append(run())
            say(f"  round {number + 1}: {name} {seconds[name][-1]:.2f} s")
    return seconds


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """The median over the rounds of one / other, each of the same round."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def genders() -> dict[str, str]:
    """Person → `male` or `female`, of the people in dev-faces/identities."""
    with open(DATA / "dev-faces" / "identities.csv", newline="", encoding="utf-8") as file:
        return {line["person"]: line["gender"] for line in csv.DictReader(file)}


def save(picture: Image, path: Path, quality: int = 90) -> None:
    """Write RGB pixels as a JPEG or, by the name, a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(picture).save(path, quality=quality)

"""What the benchmarks share: where the data lies, what machine this is, a row as one JSON line."""

from __future__ import annotations

import csv
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from face_organizer import extract
from face_organizer.engine import open_engine, stamp_of
from face_organizer.listing import listing
from face_organizer.packs import resolve
from face_organizer.runtime import CPU
from face_organizer.types import FaceTable

DATA = Path(os.environ.get("FACE_ORGANIZER_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""Real, labelled photos; see README.md."""


def machine() -> dict[str, Any]:
    """Processor, cores and the versions that matter, for every row."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    packages = ("numpy", "opencv-contrib-python-headless", "onnxruntime", "faiss-cpu")
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), **{p: version(p) for p in packages}}


def row(name: str, **values: Any) -> None:
    """Print one measurement as a JSON line."""
    print(json.dumps({"benchmark": name, **values, "machine": machine()}), flush=True)


def embed(folder: Path, pack_name: str = "opencv", **options: Any) -> tuple[FaceTable, dict[str, float]]:
    """The face table of a folder, on the CPU with a lane a core, and the seconds by stage."""
    pack = resolve(pack_name)
    engine = open_engine(pack, CPU)
    settings = extract.ExtractOptions(**options)
    stamp = stamp_of(pack, engine, settings)
    lanes = os.cpu_count() or 1
    table, seconds = extract.extract(listing([folder]).paths, engine, settings, stamp=stamp, lanes=lanes)
    return table, dict(seconds)


def genders() -> dict[str, str]:
    """Person → `male` or `female`, of the people in dev-faces/identities."""
    with open(DATA / "dev-faces" / "identities.csv", newline="", encoding="utf-8") as file:
        return {line["person"]: line["gender"] for line in csv.DictReader(file)}

"""Runs after the first: nothing to do, 500,000 known files, memory over ten times as many pictures.

`python benchmarks/resume.py [--pictures 50000] [--known 500000] [--again 3000]`
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import CORES, DATA, pictures, row, small_pack, temporary

import face_organizer as fo
from face_organizer import table
from face_organizer.embed.setup import EmbedOptions, stamp_of
from face_organizer.networks.packs import resolve
from face_organizer.types import Faces, FaceTable, Files, Outcome

PACK = "opencv"
FILES_A_FOLDER = 5000


def many(sources: list[str], count: int, folder: Path) -> Path:
    """`count` files out of `sources`, no two of the same bytes: after the end of a JPEG nothing is read."""
    folder.mkdir(parents=True)
    data = [Path(source).read_bytes() for source in sources]
    for number in range(count):
        place = folder / str(number // FILES_A_FOLDER)
        place.mkdir(exist_ok=True)
        (place / f"{number:06d}.jpg").write_bytes(data[number % len(data)] + b"%d" % number)
    return folder


def command(folder: Path, output: Path, pack: str = PACK) -> tuple[float, int]:
    """`face-organizer embed` as a whole process: seconds, and peak bytes of it and its worker together."""
    call = [sys.executable, "-m", "face_organizer", "embed", "-q", "--pack", pack, "--device", "cpu"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*call, "--workers", str(CORES), "--input", str(folder), "--output", str(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    watch = _Peak(process.pid)
    _, errors = process.communicate()
    seconds = time.perf_counter() - start
    watch.stop()
    if process.returncode not in (0, 3):
        raise RuntimeError(errors.decode())
    return seconds, watch.bytes


class _Peak:
    """The most that a process and its children hold (PSS: shared pages once), seen ten times a second."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, sum(_pss(pid) for pid in _family(self._pid)))

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def _family(pid: int) -> list[int]:
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(p for word in words for p in _family(int(word)))]


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


def nothing_to_do(folder: Path, count: int) -> None:
    """The same call twice, and once more when the collection was moved, renamed and touched."""
    photos = many(pictures(DATA / "dev-faces" / "identities"), count, folder / "again")
    first, _ = command(photos, folder / "again.faces")
    goes = [command(photos, folder / "again.faces")[0] for _ in range(3)]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "face_organizer", "--help"], stdout=subprocess.DEVNULL, check=True)
    bare = time.perf_counter() - start
    again = sorted(goes)[1]
    for path in sorted(photos.rename(folder / "elsewhere").rglob("*.jpg")):
        os.utime(path, (1e9, 1e9))
        path.rename(path.with_name(f"x{path.name}"))
    moved, _ = command(folder / "elsewhere", folder / "again.faces")
    row(
        "nothing to do",
        pack=PACK,
        pictures=count,
        first_seconds=round(first, 2),
        again_seconds=round(again, 2),
        share=round(again / first, 4),
        moved_seconds=round(moved, 2),
        moved_share=round(moved / first, 4),
        help_seconds=round(bare, 2),
    )


def known_table(count: int, folder: Path) -> tuple[list[str], FaceTable]:
    """`count` empty files and the table that would have been made of them, a face each."""
    paths = []
    for number in range(count):
        place = folder / f"{number // FILES_A_FOLDER:04d}"
        if not number % FILES_A_FOLDER:
            place.mkdir(parents=True)
        path = str(place / f"photo-{number:06d}.jpg")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        paths.append(path)
    stamp = stamp_of(resolve(PACK), EmbedOptions())
    files = Files.empty(
        count,
        path=paths,
        outcome=np.full(count, Outcome.FACES, np.uint8),
        reason=[""] * count,
        bytes=np.zeros(count, np.int64),
        mtime_ns=np.array([os.stat(p).st_mtime_ns for p in paths], np.int64),
    )
    vectors = np.random.default_rng(0).standard_normal((count, stamp.dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    faces = Faces.empty(count, file_index=np.arange(count, dtype=np.int64))
    return paths, FaceTable(vectors, faces, files, replace(stamp))


def plan_known(folder: Path, count: int) -> None:
    """Planning alone, and the whole command, where all is known."""
    paths, made = known_table(count, folder / "known")
    for ending in ("faces", "pkl"):
        output = folder / f"known.{ending}"
        table.write(made, output)
        seconds, peak = get_context("spawn").Pool(1).apply(_plan, (str(folder / "known"), str(output)))
        whole, whole_peak = command(folder / "known", output)
        row(
            "planning known files",
            files=count,
            table=f".{ending}",
            dim=made.embeddings.shape[1],
            plan_seconds=round(sum(seconds.values()), 2),
            seconds={name: round(s, 2) for name, s in seconds.items()},
            peak_mb=round(peak / 1e6),
            command_seconds=round(whole, 2),
            command_peak_mb=round(whole_peak / 1e6),
        )
    del paths


def _plan(folder: str, output: str) -> tuple[dict[str, float], int]:
    """`fo.embed` with nothing to do, in a fresh process."""
    listed, planned = [0.0], [0.0]

    def on_event(event: fo.Event) -> None:
        match event:
            case fo.Listed():
                listed[0] = time.perf_counter()
            case fo.Planned(_, left):
                planned[0] = time.perf_counter()
                if left:
                    raise RuntimeError(f"{left} pictures to look at, none expected")

    start = time.perf_counter()
    fo.embed(folder, output, pack=PACK, device="cpu", workers=1, on_event=on_event)
    done = time.perf_counter()
    seconds = {"list": listed[0] - start, "plan": planned[0] - listed[0], "finish": done - planned[0]}
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def memory(folder: Path, pack: str, many: int) -> None:
    """Peak memory over `many` pictures against a tenth of them."""
    sources = pictures(DATA / "dev-faces" / "dlib_johns")[:24]
    peaks, sizes, taken = {}, {}, {}
    for count in (many // 10, many):
        photos = many(sources, count, folder / f"many-{count}")
        output = folder / f"many-{count}.faces"
        taken[count], peaks[count] = command(photos, output, pack)
        sizes[count] = sum(f.stat().st_size for f in output.rglob("*") if f.is_file())
    few = many // 10
    row(
        "memory",
        pack=Path(pack).name,
        pictures=[few, many],
        seconds=[round(taken[few], 1), round(taken[many], 1)],
        peak_mb=[round(peaks[n] / 1e6, 1) for n in (few, many)],
        table_mb=[round(sizes[n] / 1e6, 1) for n in (few, many)],
        growth=round(peaks[many] / peaks[few] - 1, 4),
        growth_beside_table=round((peaks[many] - sizes[many]) / (peaks[few] - sizes[few]) - 1, 4),
    )


def main() -> None:
    """All three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=50_000, help="for memory, against a tenth of them")
    parser.add_argument("--known", type=int, default=500_000)
    parser.add_argument("--again", type=int, default=3000)
    wanted = parser.parse_args()
    with temporary() as folder:
        plan_known(folder, wanted.known)
        nothing_to_do(folder, wanted.again)
        memory(folder, small_pack(folder), wanted.pictures)


if __name__ == "__main__":
    main()

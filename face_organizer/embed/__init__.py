"""The slow step, done once: pictures and videos in, a face table out, on any number of devices.

Others import `embed` itself, what it tells (`events`), and what looks at pictures without an engine: `setup`,
`maker.look_at`, `videos.look`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from face_organizer.embed.events import Chosen, Event, Listed, Made, Planned, Report, Warned
from face_organizer.embed.processes import Processes
from face_organizer.embed.resume import Workplace
from face_organizer.embed.setup import EmbedOptions, Setup, stamp_of
from face_organizer.embed.shards import Engine, split
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.faceswap import trust
from face_organizer.files import count, printable
from face_organizer.machine import Threads, available_cores, available_memory, choose_threads
from face_organizer.media.listing import Listing, listing
from face_organizer.media.video import is_video
from face_organizer.networks import packs
from face_organizer.networks.devices import CudaOptions, Device, choose
from face_organizer.types import FaceTable

__all__ = ["Engine", "embed", "events", "maker", "pictures", "plan_threads", "setup", "videos"]


def embed(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    pack: str = "auto",
    device: str | None = None,
    workers: int | None = None,
    gpu_memory: int | None = None,
    faces: Literal["largest", "all"] = "largest",
    min_confidence: float = 0.5,
    min_face_size: float = 20,
    det_size: int | None = None,
    tiles: str = "auto",
    turns: bool = True,
    max_side: int | None = None,
    enhance: Literal["none", "clahe"] = "none",
    headers: bool = True,
    max_megapixels: float = 256,
    fps: float = 1,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    skip_system: bool = True,
    pairs: bool = False,
    shard: str | None = None,
    offset: int = 0,
    limit: int | None = None,
    again: Literal["changed", "failed", "all"] | None = None,
    replace: bool = False,
    engine: Engine | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> FaceTable:
    """Find the faces in pictures and videos and compute their embeddings.

    The table goes to `output`, a file such as `faces.pkl` or a folder `NAME.faces`; without one it is made in
    memory. What is finished is saved beside `output` as it goes: after Ctrl-C or a crash the same call goes
    on from there, and later calls look only at pictures that are new or changed. A script must make its calls
    under `if __name__ == "__main__":`, since devices run in processes of their own.

    `inputs`: folders (`recursive`: and those in them), pictures, videos, less what matches `exclude`, shell
    patterns of names or of paths below an input (`name/`: of folders); `skip_system` leaves out what NAS and
    systems keep beside photos; the films of Live Photos only come with `pairs`. Of the sorted files,
    `shard` ("0/2", "1/2") takes the same ones on every machine that shares the work; then `offset` are left
    out and at most `limit` taken.

    `pack`: the networks, by name, by folder, or "auto". `device`: "auto", "cpu", "0", "0,1" (default: the
    variable GPU_ID, else auto), a process for each; `workers`: threads on each (default: by cores and free
    memory); `gpu_memory`: the most, in MB, that each of the two networks may take of a GPU's.

    `faces`: the "largest" of each picture or "all"; `min_confidence`: a detection score, 0 to 1;
    `min_face_size`: in pixels of the picture, at least 1; `det_size`: the longer side of the first look, 64
    to 4096 pixels, rounded up to 32 (default: by the picture); `tiles`: look at pictures tile by tile for
    small faces, at very large, wide or tall ones and those without a face ("auto"), at "all" or none ("off");
    `turns`: look for turned faces where none is surely upright; `max_side`: shrink pictures to less than
    twice that, in pixels; `enhance`: "clahe" lights dark pictures evenly; `headers`: align crops of
    FaceSwap and DeepFaceLab by their headers where the detector confirms them; `max_megapixels`: larger
    pictures are not decoded; `fps`: frames per second of a video, 0.01 to 240.

    `again`: look also at known files that "failed", whose bytes "changed" under the same size and time, or at
    "all". `replace`: let go of what a table at `output` holds of other pictures (it is kept as NAME.bak).
    `engine` runs the shards instead of processes of this machine; `device`, `workers` and `gpu_memory` are
    its own then. `on_event` is called with each of `face_organizer.embed.events`.

    Raises `UsageError` for arguments that make no sense and for a table that holds other pictures,
    `DeviceError` for a device that does not run, `PackError`, `TableError`; `KeyboardInterrupt` after Ctrl-C
    or SIGTERM, with all that was finished saved for the next call.
    """
    tell = on_event or (lambda event: None)
    if again not in (None, "changed", "failed", "all"):
        raise UsageError(f"again must be changed, failed or all, not {again!r}")
    for name, number, least in (("workers", workers, 1), ("limit", limit, 1), ("offset", offset, 0)):
        if number is not None and number < least:
            raise UsageError(f"{name} must be at least {least}, not {number}")
    options = EmbedOptions(
        faces=faces,
        min_confidence=float(min_confidence),
        min_face_size=float(min_face_size),
        max_pixels=int(max_megapixels * 1e6),
        det_size=det_size and -(-det_size // 32) * 32,
        tiles=tiles,
        turns=turns,
        max_side=max_side,
        enhance=enhance,
        headers=headers,
        fps=float(fps),
    )
    roots = [inputs] if isinstance(inputs, str | Path) else inputs
    found = listing(roots, recursive=recursive, exclude=exclude, skip_system=skip_system, pairs=pairs)
    listed = _listed(found, roots, shard, offset, limit, known=output is not None and os.path.exists(output))
    tell(listed)
    started = time.perf_counter()
    networks = packs.resolve(pack)
    if engine is not None:
        tell(Chosen(networks))
    else:
        devices, why = choose(device)
        threads = plan_threads(workers, devices)
        tell(Chosen(networks, devices, why, threads))
        if threads.warning:
            tell(Warned(threads.warning))
        cuda = CudaOptions(memory_limit=gpu_memory and gpu_memory * 1_000_000)
        engine = Processes(devices, threads.count, cuda)
    stamp = stamp_of(networks, options, shard or "")
    place = tempfile.TemporaryDirectory(prefix="face-organizer-") if output is None else nullcontext("")
    with place as folder:
        workplace = Workplace(Path(output or f"{folder}/faces.pkl"), engine.lock)
        with workplace.locked():
            todo = workplace.plan(
                listed.paths, stamp, again, replace=replace, unlisted=_away(listed.found, roots)
            )
            if not (listed.paths or todo.known.stay):
                raise _nothing_in(found, roots)
            tell(Planned(len(listed.paths), todo.pictures))
            report = Report()
            if todo.shards:
                setup = Setup(networks.location, options, stamp, trust.samples(listed.paths))
                report = engine.run(setup, todo.shards, tell)
            made = workplace.finish(todo, listed.paths, stamp)
    known = todo.known
    figures = (
        len(known.moved) + len(known.back),
        len(known.twins),
        sorted(set(known.stay) - set(known.moved), key=os.fsencode),
    )
    tell(Made(report, todo.pictures, todo.backup, time.perf_counter() - started, *figures))
    return made


def _away(found: Listing, roots: Sequence[str | Path]) -> list[str]:
    """Folders that could not be looked into, and inputs in which nothing is: a share that is not mounted
    leaves an empty folder, and tells nothing of the pictures on it."""
    folders = [root for root in map(os.path.abspath, roots) if os.path.isdir(root)]
    paths = [os.path.join(folder, "") for folder in folders]
    empty = [
        f for f, path in zip(folders, paths, strict=True) if not any(p.startswith(path) for p in found.paths)
    ]
    return [*found.unlisted, *empty]


def _nothing_in(found: Listing, roots: Sequence[str | Path]) -> FaceOrganizerError:
    where = ", ".join(map(printable, roots))
    other = f" ({count(found.other.total(), 'other file')})" if found.other else ""
    return FaceOrganizerError(f"no pictures or videos in {where}{other}")


def _listed(
    found: Listing,
    roots: Sequence[str | Path],
    shard: str | None,
    offset: int,
    limit: int | None,
    *,
    known: bool,
) -> Listed:
    if not found.paths and known:  # all was moved away into folders of persons, or a disk is away
        return Listed(found, [], 0)
    if not found.paths:
        raise _nothing_in(found, roots)
    paths = list(split(found.paths, shard, roots) if shard else found.paths)[offset:][:limit]
    if not paths:
        raise UsageError(
            f"{'--offset' if offset else '--shard'} leaves nothing of {count(len(found.paths), 'picture')}"
        )
    return Listed(found, paths, sum(map(is_video, paths)))


def plan_threads(requested: int | None, devices: Sequence[Device]) -> Threads:
    """Threads of each device: `requested`, else as cores and memory allow, shared among the devices."""
    return choose_threads(requested, available_cores().count, available_memory().count, len(devices))

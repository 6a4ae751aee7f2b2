"""The machine beside its GPUs: model packs, memory and threads, folders that must be writable."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from face_organizer.doctor.report import Check, State
from face_organizer.errors import PackError
from face_organizer.files import cache_dir
from face_organizer.machine import available_cores, available_memory, choose_threads, megabytes
from face_organizer.networks import inventory, packs

LARGE_PACK = 64_000_000
"""Bytes of a pack from which on `quick` does not hash it (measured: 0.15 s for each 100 MB)."""
_LITTLE_DISK = 1_000_000_000


def machine(devices: int = 1) -> Iterator[Check]:
    """Memory, cores, the threads that a run on so many devices would choose for each; whether a file can
    really be written to the cache and to the workspace."""
    memory, cores = available_memory(), available_cores()
    yield Check("machine", "memory", f"{megabytes(memory.count)} available ({memory.source})")
    yield Check("machine", "cores", f"{cores.count} ({cores.source})")
    threads = choose_threads(None, cores.count, memory.count, devices)
    short = threads.count * devices < cores.count or threads.warning
    each = f" for each of {devices} devices" if devices > 1 else ""
    words = f"{threads.count}{each}, {threads.reason}" + (f"; {threads.warning}" if threads.warning else "")
    state, mend = (State.WARN, "give the run more memory to use all cores") if short else (State.OK, "")
    yield Check("machine", "threads", words, state, mend)
    yield _folder("cache", cache_dir(), "set FACE_ORGANIZER_CACHE to a folder that can be written")
    yield _folder("workspace", Path.cwd(), "work in a folder of yours; in a container, run it as its owner")


def _folder(name: str, folder: Path, mend: str) -> Check:
    """Nothing stays behind."""
    place = folder.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("machine", name, f"{folder} cannot be written: {error.strerror}", State.FAIL, mend)
    state, mend = (State.WARN, "make room") if free < _LITTLE_DISK else (State.OK, "")
    return Check("machine", name, f"{folder} is writable, {megabytes(free)} free", state, mend)


def model_packs(quick: bool) -> Iterator[Check]:
    """Every pack that is installed, its files against their hashes; every pack that is there but broken."""
    usable = 0
    try:
        names = [row.name for row in inventory.list_packs()]
    except (PackError, OSError) as error:
        yield Check("packs", "packs", str(error), State.FAIL, "make the folders of the packs readable")
        return
    for name in names:
        try:
            pack = packs.find(name)
            usable += 1
            yield _pack(pack, quick)
        except packs.PackMissingError:
            continue
        except PackError as error:
            yield Check("packs", name, error.why, State.FAIL, error.mend)
    if not usable:
        yield Check("packs", "packs", "none installed", State.FAIL, "face-organizer packs pull buffalo_l")


def _pack(pack: packs.Pack, quick: bool) -> Check:
    files = [pack.detector.path, pack.embedder.path]
    if quick and sum(file.stat().st_size for file in files) > LARGE_PACK:
        return Check("packs", pack.name, f"in {pack.folder}, not hashed (--quick)")
    rows = inventory.verify(pack)
    wrong = [f"{row.file} has SHA-256 {row.sha256}, not {row.expected}" for row in rows if not row.ok]
    if wrong:
        mend = f"delete {pack.folder} and fetch the pack again"
        return Check("packs", pack.name, ", ".join(wrong), State.FAIL, mend)
    sources = ", ".join(sorted({row.source for row in rows}))
    return Check("packs", pack.name, f"{len(rows)} files as they should be ({sources})")

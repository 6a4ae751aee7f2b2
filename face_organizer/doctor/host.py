"""The machine beside its GPUs: memory, cores and workers, folders that must be writable, model packs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from face_organizer.doctor.report import Check, State
from face_organizer.errors import PackError
from face_organizer.machine import Cores, Memory, choose_workers, megabytes
from face_organizer.networks import packs

LARGE_PACK = 64_000_000
"""Bytes of a pack from which on `--quick` does not hash it (measured: 0.15 s for each 100 MB)."""
_LITTLE_DISK = 1_000_000_000


def resource_checks(memory: Memory, cores: Cores, devices: int = 1) -> Iterator[Check]:
    """Memory, cores, and the workers that a run on so many devices would choose for each."""
    data = {"bytes": memory.bytes, "source": memory.source}
    words = f"{megabytes(memory.bytes)} available ({memory.source})"
    yield Check("machine", "memory", State.OK, words, data=data)
    data = {"count": cores.count, "source": cores.source}
    yield Check("machine", "cores", State.OK, f"{cores.count} ({cores.source})", data=data)
    workers = choose_workers(None, cores.count, memory.bytes, devices=devices)
    short = workers.count * devices < cores.count or workers.warning
    each = f" for each of {devices} devices" if devices > 1 else ""
    words = f"{workers.count}{each}, {workers.reason}" + (f"; {workers.warning}" if workers.warning else "")
    state, mend = (State.WARN, "give the run more memory to use all cores") if short else (State.OK, "")
    yield Check("machine", "workers", state, words, mend, data={"count": workers.count})


def folder_checks(cache: Path, workspace: Path) -> Iterator[Check]:
    """Whether a file can really be written to the cache and to the workspace; nothing stays behind."""
    yield _folder("cache", cache, "set FACE_ORGANIZER_CACHE to a folder that can be written")
    yield _folder("workspace", workspace, "work in a folder of yours; in a container, run it as its owner")


def _folder(name: str, folder: Path, mend: str) -> Check:
    data = {"path": str(folder)}
    place = folder.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
        free = shutil.disk_usage(place).free
    except OSError as error:
        words = f"{folder} cannot be written: {error.strerror}"
        return Check("machine", name, State.FAIL, words, mend, data=data)
    words = f"{folder} is writable, {megabytes(free)} free"
    if free < _LITTLE_DISK:
        return Check("machine", name, State.WARN, words, "make room", data={**data, "free": free})
    return Check("machine", name, State.OK, words, data={**data, "free": free})


def pack_checks(quick: bool) -> Iterator[Check]:
    """Every pack that is installed, its files against their hashes; every pack that is there but broken."""
    usable = 0
    try:
        names = [row.name for row in packs.listing()]
    except (PackError, OSError) as error:
        yield Check("packs", "packs", State.FAIL, str(error), "make the folders of the packs readable")
        return
    for name in names:
        try:
            pack = packs.find(name)
        except packs.PackMissingError:
            continue
        except PackError as error:
            yield Check("packs", name, State.FAIL, str(error))
            continue
        usable += 1
        yield _pack(pack, quick)
    if not usable:
        yield Check("packs", "packs", State.FAIL, "none installed", "face-organizer packs pull buffalo_l")


def _pack(pack: packs.Pack, quick: bool) -> Check:
    files = [pack.detector.path, pack.embedder.path]
    if quick and sum(file.stat().st_size for file in files) > LARGE_PACK:
        return Check("packs", pack.name, State.OK, f"in {pack.folder}, not hashed (--quick)")
    try:
        rows = packs.verify(pack)
    except PackError as error:
        return Check("packs", pack.name, State.FAIL, str(error))
    data = {"files": {row.file.name: row.sha256 for row in rows}}
    wrong = [row for row in rows if not row.ok]
    if wrong:
        words = ", ".join(f"{row.file} has SHA-256 {row.sha256}, not {row.expected}" for row in wrong)
        mend = f"delete {pack.folder} and fetch the pack again"
        return Check("packs", pack.name, State.FAIL, words, mend, data=data)
    sources = ", ".join(sorted({row.source for row in rows}))
    return Check("packs", pack.name, State.OK, f"{len(rows)} files as they should be ({sources})", data=data)

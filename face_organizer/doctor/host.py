"""The machine beside its GPUs: model packs, memory and threads, folders that must be writable."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from face_organizer.doctor.report import Check
from face_organizer.errors import LibraryError, PackError
from face_organizer.files import cache_dir, reason, size
from face_organizer.library import store
from face_organizer.machine import available_cores, available_memory, choose_threads
from face_organizer.networks import inventory, packs
from face_organizer.networks.graphs import WRITABLE

_LITTLE_DISK = 1_000_000_000


def machine(devices: int = 1) -> Iterator[Check]:
    """Memory, cores, the threads that a run on so many devices would choose for each; whether a file can
    really be written to the cache and to the workspace."""
    memory, cores = available_memory(), available_cores()
    yield Check("machine", "memory", f"{size(memory.count)} available ({memory.source})")
    yield Check("machine", "cores", f"{cores.count} ({cores.source})")
    threads = choose_threads(None, cores.count, memory.count, devices)
    words = f"{threads.count} for each device, {threads.reason}"
    short = threads.count * devices < cores.count or threads.warning
    state, mend = ("warn", "give the run more memory to use all cores") if short else ("ok", "")
    yield Check("machine", "threads", words, state, mend)
    yield _folder("cache", cache_dir(), WRITABLE)
    yield _folder("workspace", Path.cwd(), "work in a folder of yours; in a container, run it as its owner")


def _folder(name: str, folder: Path, mend: str) -> Check:
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"\0" * 4096)
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check("machine", name, f"{folder} cannot be written: {reason(error)}", "FAIL", mend)
    state, mend = ("warn", "make room") if free < _LITTLE_DISK else ("ok", "")
    return Check("machine", name, f"{folder} is writable, {size(free)} free", state, mend)


def library(place: Path) -> Iterator[Check]:
    """Whether the library at `place`, a file or an output folder, is whole."""
    path = store.place_of(place)
    try:
        wrong = store.problems(path)
    except LibraryError as error:
        yield Check("library", path.name, error.why, "FAIL", error.mend)
        return
    state, mend = ("FAIL", "restore it from a backup") if wrong else ("ok", "")
    yield Check("library", path.name, "; ".join(wrong[:3]) or f"{path} is whole", state, mend)


def model_packs() -> Iterator[Check]:
    """Every pack that is installed, its files against their hashes; every pack that is there but broken."""
    for name in [row.name for row in inventory.list_packs()]:
        try:
            rows = inventory.verify_packs([name])
        except PackError as error:
            if name == packs.EMBEDDED or not isinstance(error, packs.PackMissingError):
                yield Check("packs", name, error.why, "FAIL", error.mend)
            continue
        wrong = [f"{row.file} has SHA-256 {row.sha256}, not {row.expected}" for row in rows if not row.ok]
        if wrong:
            mend = f"delete {rows[0].file.parent} and fetch the pack again"
            yield Check("packs", name, ", ".join(wrong), "FAIL", mend)
        else:
            yield Check("packs", name, f"{len(rows)} files as they should be ({rows[0].source})")

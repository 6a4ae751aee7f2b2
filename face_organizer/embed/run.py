"""The one slow step, whole: pictures in, a face table out, over any number of devices and through any
kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.embed import known
from face_organizer.embed.engine import stamp_of
from face_organizer.embed.picture import ExtractOptions
from face_organizer.embed.processes import Jobs, Report
from face_organizer.embed.resume import Todo, Workplace
from face_organizer.embed.worker import Progress, Setup
from face_organizer.faceswap import trust
from face_organizer.machine import Threads, available_cores, available_memory, choose_threads
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.packs import Pack
from face_organizer.types import FaceTable


@dataclass(frozen=True, slots=True)
class Again:
    """What to look at again although it is known: `force` everything, `failed` what could not be used for
    whatever reason, `contents` what holds other bytes than before under the same size and time."""

    force: bool = False
    failed: bool = False
    contents: bool = False
    replace: bool = False
    """Let go of what the table that is there holds of other pictures (it is kept as `NAME.bak`)."""

    def mask(self, made: FaceTable) -> Any:
        """(n,) files of `made` to look at again."""
        mask = known.passing(made)
        if self.failed:
            mask = mask | known.failed(made)
        if self.contents:
            mask = mask | known.other_content(made)
        return np.asarray(mask, bool)


@dataclass(frozen=True, slots=True)
class Embedded:
    """The table, what making it took, how many of its pictures were looked at, and why the table before is
    kept as `NAME.bak` (empty where it is not)."""

    table: FaceTable
    report: Report
    looked_at: int
    backup: str


def plan_workers(requested: int | None, devices: Sequence[Device]) -> Threads:
    """How many lanes each device gets: `requested`, else as cores and memory allow, shared among the
    devices."""
    return choose_threads(requested, available_cores().count, available_memory().count, len(devices))


def embed(
    paths: Sequence[str],
    output: Path,
    *,
    pack: Pack,
    devices: Sequence[Device],
    lanes: int,
    options: ExtractOptions,
    again: Again,
    shard: str = "",
    cuda: CudaOptions = CUDA_DEFAULTS,
    on_plan: Callable[[Todo], None],
    on_progress: Callable[[Progress], None],
    warn: Callable[[str], None],
) -> Embedded:
    """Make the table of `paths` (sorted) at `output`, looking only at what is new, changed or failed for a
    passing reason. Raises `Interrupted` after Ctrl-C, with all that was finished saved for the next call."""
    stamp = stamp_of(pack, options, shard)
    workplace = Workplace(output)
    with workplace.locked():
        todo = workplace.plan(paths, stamp, again.mask, force=again.force, replace_table=again.replace)
        on_plan(todo)
        report = Report()
        if todo.shards:
            samples = trust.samples(paths)
            setups = [
                Setup(pack.location, options, stamp, device, lanes, cuda, samples) for device in devices
            ]
            report = Jobs(setups, on_progress, warn).run(todo.shards)
        table = workplace.finish(todo, paths, stamp)
    return Embedded(table, report, todo.pictures, todo.backup)

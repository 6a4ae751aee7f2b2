"""Looking over an installation: profile, versions, devices that really compute, packs, memory, folders.

`examine` asks `Sources`, which a test replaces by another machine; nothing here raises for what it finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from face_organizer.doctor import devices, environment, host, nvidia, probes
from face_organizer.doctor.report import Check, Report, State
from face_organizer.errors import DeviceError, FaceOrganizerError
from face_organizer.files import cache_dir
from face_organizer.machine import Cores, Memory, available_cores, available_memory
from face_organizer.networks.devices import Device

__all__ = ["Check", "Report", "Sources", "State", "error_of", "examine", "this_machine"]

QUICK_LIMIT = 20.0
FULL_LIMIT = 180.0
"""Seconds for one trial; TensorFlow alone takes ten to start, and more on a busy machine."""
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Sources:
    """Where doctor gets what it knows; each is asked once."""

    installed: Callable[[], Mapping[str, str]]
    locks: Callable[[], environment.Locks]
    nvidia: Callable[[], nvidia.Nvidia]
    trial: Callable[[str, Device, float], probes.Trial]
    memory: Callable[[], Memory]
    cores: Callable[[], Cores]
    packs: Callable[[bool], Iterable[Check]]
    folders: Callable[[], Iterable[Check]]


def this_machine(environ: Mapping[str, str] | None = None) -> Sources:
    """The sources of the machine that this runs on."""
    env = os.environ if environ is None else environ
    return Sources(
        installed=environment.installed_packages,
        locks=lambda: environment.find_locks(env),
        nvidia=lambda: nvidia.visible(nvidia.look(), env),
        trial=probes.run_trial,
        memory=available_memory,
        cores=available_cores,
        packs=host.pack_checks,
        folders=lambda: host.folder_checks(cache_dir(), Path.cwd()),
    )


def examine(sources: Sources, asked: Sequence[Device] | None = None, *, quick: bool = False) -> Report:
    """Look everything over; `quick` leaves out TensorFlow's trial and the hashes of large packs."""
    installed, locks = sources.installed(), sources.locks()
    profile, _ = environment.profile_of(installed, locks)
    situation = devices.Situation(installed, profile, sources.nvidia(), asked)
    planned = devices.plan(situation, quick=quick)
    limit = QUICK_LIMIT if quick else FULL_LIMIT
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="trial") as pool:
        running = [pool.submit(sources.trial, framework, device, limit) for framework, device in planned]
        others = [
            *sources.packs(quick),
            *host.resource_checks(sources.memory(), sources.cores(), situation.devices_of_a_run),
            *sources.folders(),
        ]
        trials = [future.result() for future in running]
    skipped = [name for name, _ in set(devices.plan(situation, quick=False)) - set(planned)]
    return Report(
        profile,
        [
            *environment.checks(installed, locks),
            *devices.checks(situation, trials, sorted(set(skipped))),
            *others,
        ],
    )


def error_of(report: Report) -> FaceOrganizerError | None:
    """The error that a command ends with, None for an installation that is well."""
    check = report.decisive
    if check is None:
        return None
    kind = DeviceError if check.device else FaceOrganizerError
    return kind(f"{check.name}: {check.line}")

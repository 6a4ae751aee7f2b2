"""Looking over an installation: packages, devices that really compute, packs, memory, folders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from face_organizer.doctor import devices, host, trial
from face_organizer.doctor.report import Check, Report
from face_organizer.networks import nvidia
from face_organizer.networks.devices import asked

__all__ = ["Check", "Report", "doctor"]

_AT_ONCE = 4


def doctor(device: str | None = None, *, quick: bool = False, library: str | Path | None = None) -> Report:
    """Look this installation over: does everything that a run needs really compute?

    Every framework computes something on every device, each in a process of its own, and the result is
    compared with numpy's. `device` names the devices that must run (`auto`, `cpu`, `0`, `0,1`; None: the
    variable GPU_ID, else auto, which is the CPU and every GPU of an installation made for GPUs). `quick`
    leaves out TensorFlow, and takes a few seconds instead of 20 or so. `library`, a file or an output folder
    that holds one, is read and checked too.

    Nothing is raised for what is found: `Report.checks` holds it, `Report.error` is what a command ends with.
    Raises `UsageError` for words that name no device.
    """
    situation = devices.Situation(*devices.packages(), nvidia.look(), asked(device)[0])
    planned, limit = situation.plan(quick=quick), 20.0 if quick else 180.0
    cards = sum(device.kind == "cuda" for device in situation.devices)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="trial") as pool:
        running = {plan: pool.submit(trial.run, *plan, limit) for plan in planned}
        others = [*host.model_packs(), *host.machine(cards or len(situation.devices))]
        trials = {plan: future.result() for plan, future in running.items()}
    found = [*situation.checks(trials), *others, *(() if library is None else host.library(Path(library)))]
    if quick and situation.plan(quick=False) != planned:
        found.append(Check("devices", "tensorflow", "not tried (--quick)"))
    return Report(situation.profile, found)

"""Doctor on other machines: a Tesla P4, no driver, two good GPUs, mixed packages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from shell import ROOT

from face_organizer.doctor import Report, Sources, State, error_of, examine, this_machine
from face_organizer.doctor.environment import Lock, Locks, parse_lock
from face_organizer.doctor.nvidia import Card, Nvidia, look
from face_organizer.doctor.probes import Trial
from face_organizer.doctor.report import Check
from face_organizer.doctor.trial import onnxruntime_trial
from face_organizer.errors import DeviceError, FaceOrganizerError
from face_organizer.networks.devices import CPU, Device

NAMES = ("cpu", "cpu-tf", "gpu", "gpu-pascal")
LOCKS = Locks("locks", tuple(parse_lock(n, (ROOT / "locks" / f"{n}.txt").read_text()) for n in NAMES))
P4 = Card("Tesla P4", (6, 1), 7_981_694_976, "GPU-1")
L4 = Card("NVIDIA L4", (8, 9), 23_580_639_232, "GPU-2")
GPU0, GPU1 = Device("cuda", 0), Device("cuda", 1)


def lock(name: str) -> Lock:
    return next(lock for lock in LOCKS.locks if lock.name == name)


def packages(name: str, **changes: str) -> dict[str, str]:
    """What the lock `name` installs, with `changes`."""
    kept = {p: v for p, v in lock(name).pins.items() if p not in lock(name).optional}
    return {**kept, **{p.replace("_", "-"): v for p, v in changes.items()}}


class Trials:
    """Answers trials: all well, but those in `failing`; keeps what was asked."""

    def __init__(self, failing: Mapping[tuple[str, Device], str] | None = None) -> None:
        self.failing, self.asked = dict(failing or {}), set[tuple[str, Device]]()

    def __call__(self, framework: str, device: Device, limit: float) -> Trial:
        self.asked.add((framework, device))
        return Trial(framework, device, self.failing.get((framework, device), ""), "there", "1", 0.1)


def machine(
    installed: Mapping[str, str], nvidia: Nvidia, trial: Callable[[str, Device, float], Trial]
) -> Sources:
    """This machine with other packages, another driver and other trials."""
    return dataclasses.replace(
        this_machine(), installed=lambda: installed, locks=lambda: LOCKS, nvidia=lambda: nvidia, trial=trial
    )


def row(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def test_a_good_pair_of_gpus() -> None:
    trials = Trials()
    report = examine(machine(packages("gpu"), Nvidia("580.95.05", (L4, L4), "", 2), trials))
    assert (report.exit_code, report.profile, report.decisive) == (0, "gpu", None)
    assert {check.state for check in report.checks} == {State.OK}
    on_cards = {(f, d) for f in ("onnxruntime", "tensorflow", "faiss") for d in (GPU0, GPU1)}
    assert trials.asked == on_cards | {("onnxruntime", CPU), ("faiss", CPU)}
    assert "NVIDIA L4, compute 8.9, 23.6 GB" in row(report, "card 1").line
    assert "580.95.05, 2 cards" in row(report, "driver").line
    assert "nvidia-cudnn-cu12 9.28" in row(report, "builds 0").line


def test_quick_leaves_out_tensorflow() -> None:
    trials = Trials()
    report = examine(machine(packages("gpu"), Nvidia("580.95.05", (L4,), "", 1), trials), quick=True)
    assert report.exit_code == 0
    assert "tensorflow" not in {framework for framework, _ in trials.asked}
    assert "--quick" in row(report, "tensorflow").line


def test_a_tesla_p4_with_the_cudnn_that_dropped_it() -> None:
    why = "CUDNN failure 4004: CUDNN_STATUS_ARCH_MISMATCH"
    trials = Trials({("onnxruntime", GPU0): why, ("tensorflow", GPU0): "DNN library is not found"})
    report = examine(machine(packages("gpu"), Nvidia("580.95.05", (P4,), "", 1), trials))
    assert report.exit_code == 4
    builds = row(report, "builds 0")
    assert builds.data["lacks"] == ["nvidia-cudnn-cu12", "faiss-gpu"]
    assert "no code for compute 6.1: nvidia-cudnn-cu12 9.28.0.42" in builds.line
    error = error_of(report)
    assert isinstance(error, DeviceError)
    assert why in str(error)
    assert "PROFILE=gpu-pascal" in str(error)


def test_a_tesla_p4_with_its_own_profile() -> None:
    report = examine(machine(packages("gpu-pascal"), Nvidia("580.95.05", (P4, P4), "", 2), Trials()))
    assert (report.exit_code, report.profile) == (0, "gpu-pascal")
    assert row(report, "builds 1").data["lacks"] == []
    assert row(report, "versions").state is State.OK


def test_what_runs_is_believed_before_what_is_known() -> None:
    report = examine(machine(packages("gpu"), Nvidia("580.95.05", (P4,), "", 1), Trials()))
    assert report.exit_code == 0
    assert row(report, "builds 0").state is State.WARN


def test_a_gpu_image_without_a_driver() -> None:
    def no_library(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    trials = Trials()
    nvidia = look(no_library, Path("/nowhere"))
    report = examine(machine(packages("gpu"), nvidia, trials), quick=True)
    assert report.exit_code == 4
    assert "no NVIDIA driver (libnvidia-ml.so.1" in str(error_of(report))
    assert "NVIDIA Container Toolkit" in str(error_of(report))
    assert all(device == CPU for _, device in trials.asked)


def test_a_gpu_image_that_is_told_to_use_the_cpu() -> None:
    sources = machine(packages("gpu"), Nvidia(problem="no NVIDIA driver"), Trials())
    assert examine(sources, [CPU]).exit_code == 0


def test_onnxruntime_falls_back_in_silence() -> None:
    def on_cpu_after_all(model: Any, options: Any, providers: list[Any]) -> Any:
        import onnxruntime

        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def trial(framework: str, device: Device, limit: float) -> Trial:
        if (framework, device) != ("onnxruntime", GPU0):
            return Trial(framework, device)
        with pytest.raises(DeviceError) as caught:
            onnxruntime_trial(device, on_cpu_after_all)
        return Trial(framework, device, str(caught.value))

    report = examine(machine(packages("gpu"), Nvidia("580.95.05", (L4,), "", 1), trial))
    assert report.exit_code == 4
    assert "CPUExecutionProvider" in row(report, "onnxruntime on card 0").finding
    assert "nvidia-smi" in row(report, "onnxruntime on card 0").mend


def test_plain_onnxruntime_beside_the_one_for_gpus() -> None:
    installed = packages("gpu", onnxruntime="1.26.0")
    trials = Trials({("onnxruntime", GPU0): "it runs on CPUExecutionProvider"})
    report = examine(machine(installed, Nvidia("580.95.05", (L4,), "", 1), trials))
    assert report.exit_code == 4
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in str(error_of(report))
    assert "CUDA may be gone" in row(report, "ONNX Runtime").line


@pytest.mark.parametrize(("second", "state"), [("4.14.0.94", State.WARN), ("5.0.0.93", State.FAIL)])
def test_two_opencvs(second: str, state: State) -> None:
    sources = machine(packages("cpu", opencv_python=second), Nvidia(problem="none"), Trials())
    report = examine(sources)
    assert row(report, "OpenCV").state is state
    assert "pip uninstall -y opencv-contrib-python-headless opencv-python" in row(report, "OpenCV").mend
    assert report.exit_code == (1 if state is State.FAIL else 0)


def test_versions_that_drifted_from_the_lock() -> None:
    installed = packages("cpu", numpy="2.4.5", something_else="1")
    del installed["tqdm"]
    report = examine(machine(installed, Nvidia(problem="none"), Trials()))
    assert (report.exit_code, report.profile) == (0, "cpu")
    versions = row(report, "versions")
    assert versions.state is State.WARN
    pinned = lock("cpu").pins
    assert versions.data["strays"] == [
        f"numpy is 2.4.5 (lock: {pinned['numpy']})",
        f"tqdm is missing (lock: {pinned['tqdm']})",
    ]
    assert "make setup PROFILE=cpu" in versions.mend


@pytest.mark.parametrize("name", NAMES)
def test_every_lock_is_recognised(name: str) -> None:
    report = examine(machine(packages(name), Nvidia("580.95.05", (P4,), "", 1), Trials()), [CPU])
    assert report.profile == name


def test_a_card_in_a_cpu_profile_is_mentioned() -> None:
    report = examine(machine(packages("cpu"), Nvidia("580.95.05", (L4,), "", 1), Trials()))
    assert report.exit_code == 0
    assert row(report, "driver").state is State.WARN
    assert "PROFILE=gpu" in row(report, "driver").mend


def test_a_card_that_is_asked_for_in_a_cpu_profile() -> None:
    trials = Trials({("onnxruntime", GPU0): "it runs on CPUExecutionProvider"})
    report = examine(machine(packages("cpu"), Nvidia("580.95.05", (L4,), "", 1), trials), [GPU0])
    assert report.exit_code == 4
    assert "PROFILE=gpu" in str(error_of(report))


def test_a_card_that_is_not_there() -> None:
    trials = Trials()
    report = examine(machine(packages("gpu"), Nvidia("580.95.05", (L4,), "", 1), trials), [GPU0, GPU1])
    assert report.exit_code == 4
    assert "device 1 was asked for, there is 1 card" in str(error_of(report))
    assert ("onnxruntime", GPU1) not in trials.asked


def test_a_driver_too_old_for_cuda_12() -> None:
    report = examine(machine(packages("gpu"), Nvidia("470.256.02", (L4,), "", 1), Trials()))
    assert report.exit_code == 4
    assert "CUDA 12 needs 525.60.13 or newer; mend: update the driver" in str(error_of(report))


def test_a_card_filled_by_a_run_is_no_fault() -> None:
    trials = Trials({("onnxruntime", GPU0): "CUDA failure 2: out of memory"})
    report = examine(machine(packages("gpu"), Nvidia("580.95.05", (L4,), "", 1), trials))
    assert report.exit_code == 0
    assert row(report, "onnxruntime on card 0").state is State.WARN


def test_cuda_where_nvml_was_left_out_of_the_container() -> None:
    nvidia = Nvidia(problem="no NVIDIA driver", device_files=2)
    trials = Trials()
    report = examine(machine(packages("gpu"), nvidia, trials))
    assert report.exit_code == 0
    assert ("onnxruntime", GPU1) in trials.asked
    assert "compute,utility" in row(report, "driver").mend


def test_other_failures_end_with_1() -> None:
    sources = dataclasses.replace(
        machine(packages("cpu"), Nvidia(problem="none"), Trials()),
        packs=lambda quick: [Check("packs", "p", State.FAIL, "wrong", "fetch it")],
    )
    error = error_of(examine(sources))
    assert type(error) is FaceOrganizerError
    assert str(error) == "p: wrong; mend: fetch it"

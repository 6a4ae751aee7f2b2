"""Doctor on other machines: a Tesla P4, no driver, two good GPUs, mixed packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from shell import ROOT

import face_organizer as fo
from face_organizer.doctor import Check, Report, devices, host, trial
from face_organizer.doctor.trial import onnxruntime_trial
from face_organizer.errors import DeviceError, FaceOrganizerError, UsageError
from face_organizer.networks import nvidia, sessions
from face_organizer.networks.devices import CPU, Device
from face_organizer.networks.nvidia import Card, Driver

NAMES = ("cpu", "cpu-tf", "gpu", "gpu-pascal")
P4 = Card("Tesla P4", (6, 1), 7_981_694_976, "GPU-1")
L4 = Card("NVIDIA L4", (8, 9), 23_580_639_232, "GPU-2")
GPU0, GPU1 = Device("cuda", 0), Device("cuda", 1)
NO_DRIVER = Driver(problem="no NVIDIA driver (libnvidia-ml.so.1 is not there)")


def locked(name: str, **changes: str) -> dict[str, str]:
    """What the lock `name` installs, with `changes`."""
    lines = (ROOT / "locks" / f"{name}.txt").read_text().splitlines()
    pins = dict(line.split(" ")[0].split("==") for line in lines if "==" in line and " ; " not in line)
    return {**pins, **{p.replace("_", "-"): v for p, v in changes.items()}}


def with_cards(*cards: Card, version: str = "580.95.05", cuda: tuple[int, int] = (13, 0)) -> Driver:
    return Driver(version, cuda, cards)


class Machine:
    """Doctor on another machine: other packages, another driver, and trials that are all well but those in
    `failing`; keeps which were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: set[tuple[str, Device]] = set()
        self._patch = monkeypatch
        for name in ("GPU_ID", "FACE_ORGANIZER_DEVICES"):
            monkeypatch.delenv(name, raising=False)

    def doctor(
        self,
        installed: Mapping[str, str],
        driver: Driver,
        device: str | None = None,
        *,
        failing: Mapping[tuple[str, Device], str] | None = None,
        twins: Mapping[str, list[str]] | None = None,
        quick: bool = False,
    ) -> Report:
        def run(framework: str, device: Device, limit: float) -> tuple[str, str]:
            self.asked.add((framework, device))
            return "", (failing or {}).get((framework, device), "")

        self._patch.setattr(devices, "packages", lambda: (installed, twins or {}))
        self._patch.setattr(nvidia, "look", lambda: driver)
        self._patch.setattr(trial, "run", run)
        return fo.doctor(device, quick=quick)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def row(report: Report, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


def code(report: Report) -> int:
    return report.error.exit_code if report.error else 0


def test_a_good_pair_of_gpus(machine: Machine) -> None:
    report = machine.doctor(locked("gpu"), with_cards(L4, L4))
    assert (report.error, report.profile) == (None, "gpu")
    assert {check.state for check in report.checks} == {"ok"}
    on_cards = {(f, d) for f in ("onnxruntime", "tensorflow", "faiss") for d in (GPU0, GPU1)}
    assert machine.asked == on_cards | {("onnxruntime", CPU), ("faiss", CPU)}
    assert "NVIDIA L4, compute 8.9, 23.6 GB" in row(report, "card 1").line
    assert "580.95.05 for CUDA 13.0, 2 cards" in row(report, "driver").line


def test_quick_leaves_out_tensorflow(machine: Machine) -> None:
    report = machine.doctor(locked("gpu"), with_cards(L4), quick=True)
    assert report.error is None
    assert "tensorflow" not in {framework for framework, _ in machine.asked}
    assert "--quick" in row(report, "tensorflow").line


def test_a_tesla_p4_with_the_cudnn_that_dropped_it(machine: Machine) -> None:
    why = "CUDNN failure 4004: CUDNN_STATUS_ARCH_MISMATCH"
    failing = {("onnxruntime", GPU0): why, ("tensorflow", GPU0): "DNN library is not found"}
    report = machine.doctor(locked("gpu"), with_cards(P4), failing=failing)
    assert isinstance(report.error, DeviceError)
    assert why in str(report.error)
    assert "PROFILE=gpu-pascal" in report.error.mend


def test_a_tesla_p4_with_its_own_profile(machine: Machine) -> None:
    report = machine.doctor(locked("gpu-pascal"), with_cards(P4, P4))
    assert (report.error, report.profile) == (None, "gpu-pascal")
    assert ("faiss", GPU0) not in machine.asked, "its FAISS computes on the CPU"
    assert row(report, "profile").state == "ok"


def test_a_gpu_image_without_a_driver(machine: Machine) -> None:
    report = machine.doctor(locked("gpu"), NO_DRIVER, quick=True)
    assert code(report) == 4
    assert "no NVIDIA driver (libnvidia-ml.so.1" in str(report.error)
    assert "NVIDIA Container Toolkit" in str(report.error)
    assert all(device == CPU for _, device in machine.asked)


def test_a_gpu_image_that_is_told_to_use_the_cpu(machine: Machine) -> None:
    assert machine.doctor(locked("gpu"), NO_DRIVER, "cpu").error is None


def test_hidden_cards_are_named(machine: Machine) -> None:
    report = machine.doctor(locked("gpu"), Driver("1", problem="CUDA_VISIBLE_DEVICES hides every GPU"))
    assert "set it to the cards that may be used" in str(report.error)


def test_onnxruntime_falls_back_in_silence(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_cpu_after_all(model: Any, threads: int, providers: list[Any]) -> Any:
        import onnxruntime

        return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(sessions, "_onnxruntime_session", on_cpu_after_all)
    with pytest.raises(DeviceError) as caught:
        onnxruntime_trial(GPU0)
    failing = {("onnxruntime", GPU0): caught.value.why}
    report = machine.doctor(locked("gpu"), with_cards(L4), failing=failing)
    assert code(report) == 4
    assert "CPUExecutionProvider" in row(report, "onnxruntime on card 0").finding
    assert "nvidia-smi" in row(report, "onnxruntime on card 0").mend


def test_plain_onnxruntime_beside_the_one_for_gpus(machine: Machine) -> None:
    report = machine.doctor(
        locked("gpu", onnxruntime="1.26.0"),
        with_cards(L4),
        failing={("onnxruntime", GPU0): "it runs on CPUExecutionProvider"},
        twins={"onnxruntime": ["onnxruntime", "onnxruntime-gpu"]},
    )
    assert code(report) == 4
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in str(report.error)
    assert "CUDA may be gone" in row(report, "onnxruntime").line


def test_two_opencvs(machine: Machine) -> None:
    names = ["opencv-contrib-python-headless", "opencv-python"]
    report = machine.doctor(locked("cpu", opencv_python="5.0.0.93"), NO_DRIVER, twins={"cv2": names})
    assert row(report, "cv2").state == "warn"
    assert "pip uninstall -y opencv-contrib-python-headless opencv-python" in row(report, "cv2").mend
    assert code(report) == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_lock_is_its_profile(machine: Machine, name: str) -> None:
    report = machine.doctor(locked(name), with_cards(P4), "cpu")
    assert report.profile == name
    assert row(report, "profile").line == name


def test_a_card_in_a_cpu_profile_is_mentioned(machine: Machine) -> None:
    report = machine.doctor(locked("cpu"), with_cards(L4))
    assert report.error is None
    assert row(report, "driver").state == "warn"
    assert "PROFILE=gpu" in row(report, "driver").mend


def test_a_card_that_is_asked_for_in_a_cpu_profile(machine: Machine) -> None:
    failing = {("onnxruntime", GPU0): "it runs on CPUExecutionProvider"}
    report = machine.doctor(locked("cpu"), with_cards(L4), "0", failing=failing)
    assert code(report) == 4
    assert "PROFILE=gpu" in str(report.error)


def test_a_card_that_is_not_there(machine: Machine) -> None:
    report = machine.doctor(locked("gpu"), with_cards(L4), "0,1")
    assert code(report) == 4
    assert "device 1 was asked for, of 1 card" in str(report.error)
    assert ("onnxruntime", GPU1) not in machine.asked


def test_the_variable_asks_for_devices(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_ID", "1")
    report = machine.doctor(locked("gpu"), with_cards(L4), None)
    assert "device 1 was asked for" in str(report.error)
    with pytest.raises(UsageError):
        machine.doctor(locked("gpu"), with_cards(L4), "gpu")


def test_a_driver_too_old_for_cuda_12(machine: Machine) -> None:
    report = machine.doctor(locked("gpu"), with_cards(L4, version="470.256.02", cuda=(11, 4)))
    assert code(report) == 4
    assert "470.256.02 for CUDA 11.4, 1 card, and CUDA 12 is installed; update" in str(report.error)


def test_a_card_filled_by_a_run_is_no_fault(machine: Machine) -> None:
    failing = {("onnxruntime", GPU0): "CUDA failure 2: out of memory"}
    report = machine.doctor(locked("gpu"), with_cards(L4), failing=failing)
    assert report.error is None
    assert row(report, "onnxruntime on card 0").state == "warn"


def test_other_failures_end_with_1(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Check("packs", "p", "wrong", "FAIL", "fetch it")
    monkeypatch.setattr(host, "model_packs", lambda: [wrong])
    error = machine.doctor(locked("cpu"), NO_DRIVER).error
    assert type(error) is FaceOrganizerError
    assert str(error) == "p: wrong; fetch it"


def test_what_the_profile_lacks_is_said(machine: Machine) -> None:
    installed = locked("cpu", numpy="2.4.5")
    del installed["tqdm"]
    found = row(machine.doctor(installed, NO_DRIVER), "profile")
    assert found.state == "warn"
    assert "numpy is 2.4.5 (<3,>=2.4.6 is needed)" in found.finding
    assert "tqdm is missing" in found.finding
    assert "make setup PROFILE=cpu" in found.mend

"""Doctor's parts: NVML, trials that crash or hang, locks and where they are found, code for GPUs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from shell import ROOT

from face_organizer.doctor import builds, host, trial
from face_organizer.doctor.environment import Locks, find_locks, installed_packages, parse_lock, profile_of
from face_organizer.doctor.nvidia import Card, Nvidia, look, visible
from face_organizer.doctor.probes import run_trial
from face_organizer.doctor.report import State
from face_organizer.machine import Cores, Memory
from face_organizer.networks.devices import CPU, Device

A, B = Card("A", (8, 9), 24, "GPU-aa11"), Card("B", (6, 1), 8, "GPU-bb22")


def fake_nvml(cards: list[Card], init: int = 0) -> Callable[[str], Any]:
    """A library that answers as NVML does: results through pointers, 0 for success."""

    def text(value: str) -> Callable[..., int]:
        def answer(*args: Any) -> int:
            args[-2].value = value.encode()
            return 0

        return answer

    def at(handle: Any) -> Card:
        return cards[handle.value - 1]

    def put(pointer: Any, value: Any) -> int:
        pointer._obj.value = value
        return 0

    def capability(handle: Any, major: Any, minor: Any) -> int:
        return put(major, at(handle).capability[0]) + put(minor, at(handle).capability[1])

    def memory(handle: Any, info: Any) -> int:
        info._obj.total = at(handle).memory
        return 0

    library = SimpleNamespace(
        nvmlInit_v2=lambda: init,
        nvmlShutdown=lambda: 0,
        nvmlSystemGetDriverVersion=text("580.95.05"),
        nvmlDeviceGetCount_v2=lambda count: put(count, len(cards)),
        nvmlDeviceGetHandleByIndex_v2=lambda index, handle: put(handle, index.value + 1),
        nvmlDeviceGetCudaComputeCapability=capability,
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetName=lambda handle, *rest: text(at(handle).name)(*rest),
        nvmlDeviceGetUUID=lambda handle, *rest: text(at(handle).uuid)(*rest),
    )
    return lambda name: library


def test_nvml_tells_driver_and_cards(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    (tmp_path / "nvidiactl").touch()
    assert look(fake_nvml([A, B]), tmp_path) == Nvidia("580.95.05", (A, B), "", 1)


@pytest.mark.parametrize(
    ("code", "words"), [(9, "not loaded"), (18, "restart the machine"), (999, "error 999")]
)
def test_nvml_says_no(tmp_path: Path, code: int, words: str) -> None:
    found = look(fake_nvml([A], init=code), tmp_path)
    assert found.cards == ()
    assert words in found.problem


def test_nvml_of_another_age(tmp_path: Path) -> None:
    assert look(lambda name: SimpleNamespace(nvmlInit_v2=lambda: 0, nvmlShutdown=lambda: 0), tmp_path).problem


@pytest.mark.parametrize(
    ("names", "cards"),
    [
        ("0,1", (A, B)),
        ("1,0", (B, A)),
        ("1", (B,)),
        ("", ()),
        ("-1", ()),
        ("0,7,1", (A,)),
        ("GPU-bb", (B,)),
        ("GPU-", ()),
        ("MIG-x", (A, B)),
    ],
)
def test_cuda_visible_devices(names: str, cards: tuple[Card, ...]) -> None:
    found = visible(Nvidia("1", (A, B), "", 2), {"CUDA_VISIBLE_DEVICES": names})
    assert found.cards == cards
    assert bool(found.problem) == (not cards)


# --- trials ---


def child(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_a_trial_that_crashes() -> None:
    found = run_trial("faiss", CPU, 60, child("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    assert found.why == "killed by SIGSEGV"


def test_a_trial_that_hangs() -> None:
    assert run_trial("faiss", CPU, 0.5, child("import time; time.sleep(60)")).why == "no answer within 0.5 s"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('libcudnn.so.9: cannot open')", "libcudnn.so.9: cannot open"),
        ("raise SystemExit(7)", "ended with code 7"),
        ("print('[1]')", "ended with code 0"),
        ("print('noise'); print('{\"why\": \"broken\"}'); raise SystemExit(1)", "broken"),
    ],
)
def test_a_trial_that_fails(code: str, why: str) -> None:
    assert run_trial("faiss", CPU, 60, child(code)).why == why


def test_a_trial_that_cannot_start() -> None:
    assert "could not be started" in run_trial("faiss", CPU, 60, ("/nowhere/python",)).why


@pytest.mark.parametrize("framework", ["onnxruntime", "faiss"])
def test_a_trial_here(framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('not the real one')")
    monkeypatch.chdir(tmp_path)
    found = run_trial(framework, CPU, 120)
    assert (found.why, found.ran_on) == ("", "the CPU")


def test_a_trial_of_tensorflow_here() -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not in this profile")
    assert run_trial("tensorflow", CPU, 180).why == ""


def test_a_framework_that_is_not_there_and_a_device_that_is_not() -> None:
    assert "device" in run_trial("onnxruntime", Device("cuda", 99), 120).why
    assert run_trial("caffe", CPU, 120).why


def test_wrong_numbers_are_not_taken_for_well() -> None:
    _, _, expected = trial.sample()
    for wrong in (expected + 0.01, expected * np.nan):
        with pytest.raises(ArithmeticError, match="wrong numbers"):
            trial._result("there", "1", wrong, expected)


# --- locks ---


def test_pins_are_read_with_their_markers() -> None:
    lock = parse_lock(
        "cpu", "# x\nA_b==1.0 \\\n    --hash=sha256:0\ncolorama==0.4 ; sys_platform == 'win32' \\\n"
    )
    assert lock.pins == {"a-b": "1.0", "colorama": "0.4"}
    assert lock.optional == {"colorama"}
    assert lock.strays({"a-b": "1.0"}) == []
    assert parse_lock("constraints", "a==1\n").strays({}) == []


def test_where_locks_are_found(tmp_path: Path) -> None:
    prefix, root = tmp_path / "venv", tmp_path / "source"
    assert find_locks({}, prefix, root) == Locks()
    root.mkdir()
    (root / "constraints.txt").write_text("a==1\n")
    assert find_locks({}, prefix, root) == Locks()  # a folder that happens to lie above the package
    (root / "pyproject.toml").touch()
    assert find_locks({}, prefix, root).where == str(root / "constraints.txt")
    (root / "locks").mkdir()
    for name in ("cpu", "gpu", "dev", "tools"):
        (root / "locks" / f"{name}.txt").write_text("a==1\n")
    assert [lock.name for lock in find_locks({}, prefix, root).locks] == ["cpu", "gpu"]
    (prefix / "locks").mkdir(parents=True)
    (prefix / "locks" / "gpu.txt").write_text("a==1\n")
    assert [lock.name for lock in find_locks({}, prefix, root).locks] == ["gpu"]
    named = {"FACE_ORGANIZER_LOCK": str(root / "locks" / "cpu.txt")}
    assert [lock.name for lock in find_locks(named, prefix, root).locks] == ["cpu"]
    assert find_locks({"FACE_ORGANIZER_LOCK": str(tmp_path / "no")}, prefix, root).problem


@pytest.mark.parametrize(
    ("installed", "profile"),
    [
        ({}, ""),
        ({"onnxruntime": "1.26.0"}, "cpu"),
        ({"onnxruntime": "1.26.0", "tensorflow-cpu": "2.21.0"}, "cpu-tf"),
        ({"onnxruntime-gpu": "1.26.0", "nvidia-cudnn-cu12": "9.28.0.42"}, "gpu"),
        ({"onnxruntime-gpu": "1.26.0", "nvidia-cudnn-cu12": "9.10.2.21"}, "gpu-pascal"),
    ],
)
def test_the_profile_without_a_lock(installed: dict[str, str], profile: str) -> None:
    assert profile_of(installed, Locks())[0] == profile


def test_packages_here() -> None:
    assert installed_packages()["numpy"] == np.__version__


# --- code for GPUs ---


def test_what_the_locks_hold_code_for() -> None:
    def lacking(name: str, capability: tuple[int, int]) -> set[str]:
        pins = parse_lock(name, (ROOT / "locks" / f"{name}.txt").read_text()).pins
        return {lack.package for lack in builds.lacks(pins, capability)}

    assert lacking("gpu", (7, 5)) == set()
    assert lacking("gpu", (6, 1)) == {"nvidia-cudnn-cu12", "faiss-gpu"}
    assert lacking("gpu-pascal", (6, 1)) == set()
    assert lacking("gpu-pascal", (5, 2)) == {"onnxruntime-gpu", "tensorflow"}


def test_onnxruntime_for_cuda_13_has_no_pascal() -> None:
    newer = {"onnxruntime-gpu": "1.27.0"}
    assert str(builds.lacks(newer, (6, 1))[0]) == "onnxruntime-gpu 1.27.0 holds code from compute 7.5 on"
    assert builds.oldest_driver(newer)[0] == 13


# --- the machine ---


def test_little_memory_lowers_the_workers() -> None:
    checks = list(host.resource_checks(Memory(1_000_000_000, "cgroup v2 memory.max"), Cores(8, "affinity")))
    assert [check.state for check in checks] == [State.OK, State.OK, State.WARN]
    assert "lowered from 8" in checks[2].line


def test_folders_are_tried_and_left_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache, workspace = tmp_path / "not" / "yet", tmp_path / "file" / "x"
    states = [check.state for check in host.folder_checks(cache, workspace)]
    assert states == [State.OK, State.FAIL]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]

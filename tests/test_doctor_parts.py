"""Doctor's parts: trials that crash or hang, packages that overwrite each other, memory and folders."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from face_organizer.doctor import devices, host, trial
from face_organizer.doctor.trial import run
from face_organizer.errors import DeviceError
from face_organizer.machine import Available
from face_organizer.networks.devices import CPU, Device
from face_organizer.networks.nvidia import Driver


def die(device: Device) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(device: Device) -> None:
    threading.Event().wait()


def fail(device: Device) -> None:
    raise ImportError("libcudnn.so.9: cannot open")


def refuse(device: Device) -> None:
    raise DeviceError("runs elsewhere", "a general mend")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (die, "its process ended (killed by SIGSEGV)"),
        (hang, "no answer within 3 s"),
        (fail, "ImportError: libcudnn.so.9: cannot open"),
        (refuse, "runs elsewhere"),
    ],
)
def test_a_trial_that_fails(function: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setitem(trial.TRIALS, "faiss", function)
    assert run("faiss", CPU, 3 if function is hang else 60) == ("", why)


@pytest.mark.parametrize("framework", ["onnxruntime", "faiss"])
def test_a_trial_here(framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('not the real one')")
    monkeypatch.chdir(tmp_path)
    done, _ = run(framework, CPU, 120)
    assert " right on the CPU, version " in done


def test_a_trial_of_tensorflow_here() -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow is not in this profile")
    assert run("tensorflow", CPU, 180)[1] == ""


def test_a_device_that_is_not_there() -> None:
    assert "device" in run("onnxruntime", Device("cuda", 99), 120)[1]


def test_wrong_numbers_are_not_taken_for_well() -> None:
    _, _, expected = trial.sample()
    for wrong in (expected + 0.01, expected * np.nan):
        with pytest.raises(ArithmeticError, match="wrong numbers"):
            trial.check(wrong, expected)


# --- packages ---


def test_packages_here() -> None:
    installed, twins = devices.packages()
    assert installed["numpy"] == np.__version__
    assert twins == {}


@pytest.mark.parametrize(
    ("installed", "profile"),
    [
        ({}, ""),
        ({"onnxruntime": "1.26.0"}, "cpu"),
        ({"onnxruntime": "1.26.0", "tensorflow-cpu": "2.21.0"}, "cpu-tf"),
        ({"onnxruntime-gpu": "1.26.0", "faiss-gpu": "1.15.1"}, "gpu"),
        ({"onnxruntime-gpu": "1.26.0", "faiss-cpu": "1.15.1"}, "gpu-pascal"),
    ],
)
def test_profiles(installed: dict[str, str], profile: str) -> None:
    assert devices.Situation(installed, {}, Driver()).profile == profile


def test_packages_that_bring_the_same_module_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("opencv-python", "onnxruntime"):
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "top_level.txt").write_text("cv2\n" if "cv" in name else "onnxruntime\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = devices.packages()[1]["cv2"]
    assert found == ["opencv-contrib-python-headless", "opencv-python"]


# --- the machine ---


def test_little_memory_lowers_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "available_memory", lambda: Available(1_000_000_000, "cgroup v2 memory.max"))
    monkeypatch.setattr(host, "available_cores", lambda: Available(8, "affinity"))
    found = {check.name: check for check in host.machine()}
    assert [found[name].state for name in ("memory", "cores", "threads")] == ["ok", "ok", "warn"]
    assert "lowered from 8" in found["threads"].line


def test_folders_are_tried_and_left_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    for cache, state in (("not/yet", "ok"), ("file/x", "FAIL")):
        monkeypatch.setenv("FACE_ORGANIZER_CACHE", str(tmp_path / cache))
        found = {check.name: check.state for check in host.machine()}
        assert (found["cache"], found["workspace"]) == (state, "ok")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]

"""Doctor on this machine, for real: as a user calls it, with packs and folders in every state."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from shell import Done, python
from test_packs import save_known, save_model

from face_organizer.doctor.host import model_packs
from face_organizer.networks import inventory, packs
from face_organizer.networks.devices import cuda_devices

COMMAND = "import sys; from face_organizer.cli import load, run; "
COMMAND += "sys.exit(run(load('doctor')))"

without_gpu = pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a GPU: see tests/gpu")


def doctor(*words: str, cwd: Path, **env: str) -> Done:
    return python("-c", COMMAND, *words, cwd=cwd, **env)


@without_gpu
def test_here_all_is_well(tmp_path: Path) -> None:
    done = doctor("--quick", cwd=tmp_path)
    assert done.code == 0, done.out
    assert "convolution right on the CPU" in done.out
    assert "search right on the CPU" in done.out
    assert re.search(r"^ok +packs +opencv ", done.out, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


@without_gpu
def test_here_as_json(tmp_path: Path) -> None:
    done = doctor("--json", cwd=tmp_path)
    report = json.loads(done.out)
    assert (done.code, report["exit_code"]) == (0, 0)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["onnxruntime on cpu"]["state"] == "ok"
    assert {"memory", "threads", "opencv"} <= checks.keys()
    assert set(checks["memory"]) == {"section", "name", "state", "finding", "mend", "device"}


@without_gpu
@pytest.mark.parametrize("by", ["option", "variable"])
def test_here_a_gpu_is_asked_for(tmp_path: Path, by: str) -> None:
    words, env = (["--device", "0"], {}) if by == "option" else ([], {"GPU_ID": "0"})
    done = doctor("--quick", "-q", *words, cwd=tmp_path, **env)
    assert (done.code, done.out) == (4, "")
    assert len(done.err.splitlines()) == 1
    assert "no NVIDIA driver" in done.err
    assert "; install the NVIDIA driver" in done.err


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed buffalo_s in a cache of its own, its hashes on record."""
    monkeypatch.setenv("FACE_ORGANIZER_CACHE", str(tmp_path / "cache"))
    folder = save_known(packs.pack_folder() / "buffalo_s", "buffalo_s")
    inventory.verify_packs(["buffalo_s"])
    return folder


def test_a_pack_as_it_was(pack: Path) -> None:
    assert [(c.name, c.state) for c in model_packs()] == [("opencv", "ok"), ("buffalo_s", "ok")]


def test_a_changed_pack_is_named(pack: Path, tmp_path: Path) -> None:
    save_model(pack / packs.KNOWN["buffalo_s"].embedder.path, [["N", 3, 112, 112]], [["N", 512]], "Relu Abs")
    done = doctor("--quick", "--device", "cpu", cwd=tmp_path)
    assert done.code == 1
    assert done.err.startswith(f"Error: buffalo_s: {pack / 'w600k_mbf.onnx'} has SHA-256 ")
    assert "fetch the pack again" in done.err


def test_an_incomplete_pack_is_named(pack: Path) -> None:
    (pack / "w600k_mbf.onnx").unlink()
    broken = [check for check in model_packs() if check.state == "FAIL"]
    assert [check.name for check in broken] == ["buffalo_s"]
    assert "lacks w600k_mbf.onnx" in broken[0].line


def test_a_broken_record_of_hashes_is_named(pack: Path) -> None:
    (packs.pack_folder() / "hashes.json").write_text("{")
    broken = [check for check in model_packs() if check.state == "FAIL"]
    assert "hashes.json" in broken[0].line


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = doctor(
        "--quick", "--device", "cpu", cwd=tmp_path, FACE_ORGANIZER_CACHE=str(tmp_path / "file" / "x")
    )
    assert done.code == 1
    assert "Error: cache:" in done.err
    assert "set FACE_ORGANIZER_CACHE" in done.err

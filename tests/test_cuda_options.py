"""--gpu-memory, from the command line to the sessions. Needs no GPU: cards are faked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faked_cards import FakedCards
from running import some_photos
from shell import here

from face_organizer import table
from face_organizer.embed.processes import Processes
from face_organizer.embed.setup import open_models
from face_organizer.networks import packs
from face_organizer.networks.devices import CudaOptions, Device


@pytest.mark.parametrize(
    ("words", "cuda"),
    [([], CudaOptions()), (["--gpu-memory", "2000"], CudaOptions(memory_limit=2_000_000_000))],
)
def test_from_the_command_line_to_the_processes(
    words: list[str], cuda: CudaOptions, dev_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[Processes] = []

    def run(self: Processes, *rest: Any) -> Any:
        engines.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Processes, "run", run)
    photos = some_photos(dev_faces, tmp_path / "photos", 2)
    call = ["embed", "-i", photos, "-o", tmp_path / "f.pkl", "--pack", "opencv", "--device", "0,1,cpu"]
    assert here(*call, *words).code == 130
    (engine,) = engines
    assert [str(device) for device in engine.devices] == ["0", "1", "cpu"]
    assert engine.cuda == cuda


def test_from_a_setup_to_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = FakedCards(monkeypatch)
    open_models(packs.find("opencv"), Device("cuda", 1), CudaOptions(memory_limit=3))
    assert len(cards.asked) == 2
    for (name, options), _ in cards.asked:
        assert name == "CUDAExecutionProvider"
        assert (options["device_id"], options["gpu_mem_limit"]) == ("1", "3")


def test_a_cpu_has_no_use_for_it(dev_faces: Path, tmp_path: Path) -> None:
    photos = some_photos(dev_faces, tmp_path / "photos", 1)
    call = ["embed", "-i", photos, "-o", tmp_path / "f.pkl", "--pack", "opencv", "--device", "cpu"]
    assert here(*call, "--gpu-memory", "500").code == 0
    assert len(table.read(tmp_path / "f.pkl")) == 1


def test_a_table_of_a_version_that_knew_half_precision_is_gone_on_with(
    dev_faces: Path, tmp_path: Path
) -> None:
    photos = some_photos(dev_faces, tmp_path / "photos", 1)
    call = ["embed", "-i", photos, "-o", tmp_path / "f.pkl", "--pack", "opencv", "--device", "cpu"]
    assert here(*call).code == 0
    stamp = table.read(tmp_path / "f.pkl").stamp
    assert stamp is not None
    assert stamp.options["half"] is False, "the option of an earlier version"
    done = here(*call)
    assert done.code == 0
    assert "1 known already" in done.out

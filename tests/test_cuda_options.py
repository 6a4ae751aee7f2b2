"""The CUDA options on their way from the command line to the sessions. Needs no GPU: cards are faked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faked_cards import FakedCards
from running import some_photos
from shell import here

from face_organizer import table
from face_organizer.embed import run as embedding
from face_organizer.embed import shards
from face_organizer.embed.engine import check_cuda, is_half, open_engine, stamp_of
from face_organizer.embed.pictures import ExtractOptions
from face_organizer.embed.processes import Report
from face_organizer.embed.resume import Workplace
from face_organizer.embed.worker import Setup
from face_organizer.errors import UsageError
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU, CudaOptions, Device
from face_organizer.types import Faces, FaceTable, Files

CARD = Device("cuda", 0)


class NoJobs:
    """In place of `Jobs`: keeps what workers would be set up with, and looks at nothing."""

    setups: Sequence[Setup] = ()

    def __init__(self, setups: Sequence[Setup], *rest: Any) -> None:
        NoJobs.setups = setups

    def run(self, todo: Sequence[shards.Shard]) -> Report:
        raise KeyboardInterrupt


def setups_of(photos: Path, output: Path, *words: str) -> Sequence[Setup]:
    assert here("embed", "-i", photos, "-o", output, "--pack", "opencv", *words).code == 130
    return NoJobs.setups


@pytest.mark.parametrize(
    ("words", "cuda"),
    [
        ([], CudaOptions()),
        (["--half", "--gpu-memory", "2000"], CudaOptions(memory_limit=2_000_000_000, half=True)),
        (["--conv-search", "exhaustive", "--tensorrt"], CudaOptions(None, "exhaustive", False, True)),
        (["--no-half", "--no-tensorrt", "--conv-search", "default"], CudaOptions(None, "default")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_from_the_command_line_to_the_workers(
    words: list[str], cuda: CudaOptions, dev_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "Jobs", NoJobs)
    photos = some_photos(dev_faces, tmp_path / "photos", 2)
    setups = setups_of(photos, tmp_path / "f.pkl", "--device", "0,1,cpu", *words)
    assert [str(setup.device) for setup in setups] == ["0", "1", "cpu"]
    assert {setup.cuda for setup in setups} == {cuda}
    assert {setup.stamp.options["half"] for setup in setups} == {cuda.half}


def test_from_a_setup_to_the_sessions(cards: FakedCards) -> None:
    cuda = CudaOptions(memory_limit=3, conv_search="default", half=True)
    open_engine(packs.find("opencv"), Device("cuda", 1), cuda)
    assert len(cards.asked) == 2
    for (name, options), _ in cards.asked:
        assert name == "CUDAExecutionProvider"
        assert (options["device_id"], options["gpu_mem_limit"]) == ("1", "3")
        assert options["cudnn_conv_algo_search"] == "DEFAULT"


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> FakedCards:
    return FakedCards(monkeypatch)


@pytest.mark.parametrize("word", ["--half", "--tensorrt"])
def test_only_the_cpu(word: str, dev_faces: Path, tmp_path: Path) -> None:
    photos = some_photos(dev_faces, tmp_path / "photos", 1)
    call = ["embed", "-i", photos, "-o", tmp_path / "f.pkl", "--pack", "opencv"]
    done = here(*call, "--device", "cpu,cpu", word)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert word in done.err
    assert not (tmp_path / "f.pkl").exists()
    # What a CPU can do without is ignored there.
    assert here(*call, "--device", "cpu", "--gpu-memory", "500", "--conv-search", "exhaustive").code == 0
    stamp = table.read(tmp_path / "f.pkl").stamp
    assert stamp is not None
    assert stamp.options["half"] is False


def test_one_card_among_the_devices_is_enough() -> None:
    both = CudaOptions(half=True, tensorrt=True)
    check_cuda(both, [CPU, CARD])
    check_cuda(CudaOptions(1, "default"), [CPU])
    with pytest.raises(UsageError, match="--half and --tensorrt: for CUDA devices only"):
        check_cuda(both, [CPU, CPU])


def test_precision_is_stamped_and_not_a_space_of_its_own() -> None:
    cuda = CudaOptions(half=True)
    assert is_half(cuda, [CPU, CARD])
    assert not is_half(cuda, [CPU])
    assert not is_half(CudaOptions(), [CARD])
    pack, options = packs.find("opencv"), ExtractOptions()
    full, half = (stamp_of(pack, options, half=on) for on in (False, True))
    assert full != half
    assert full.space == half.space


def test_a_run_does_not_go_on_with_the_other_precision(dev_faces: Path, tmp_path: Path) -> None:
    paths = [str(p) for p in sorted(some_photos(dev_faces, tmp_path / "photos", 3).iterdir())]
    pack, options = packs.find("opencv"), ExtractOptions()
    full, half = (stamp_of(pack, options, half=on) for on in (False, True))
    workplace, again = Workplace(tmp_path / "f.pkl"), embedding.Again().mask
    with workplace.locked():
        (shard,) = workplace.plan(paths, full, again).shards
        status = [os.stat(path) for path in paths]
        files = Files.empty(
            3,
            path=paths,
            bytes=np.array([s.st_size for s in status]),
            mtime_ns=np.array([s.st_mtime_ns for s in status]),
        )
        made = FaceTable(np.empty((0, full.dim), np.float32), Faces.empty(), files, full)
        table.write(made, shard.target)
        assert workplace.plan(paths, full, again).pictures == 0
        assert workplace.plan(paths, half, again).pictures == 3, "all is still to be done in half precision"

"""Extraction on GPUs: faces and embeddings of the CPU, and with little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from face_organizer.embed.events import Report
from face_organizer.embed.maker import look_at
from face_organizer.embed.setup import EmbedOptions, Setup, open_models, stamp_of
from face_organizer.errors import OutOfMemoryError
from face_organizer.networks import packs
from face_organizer.networks.devices import (
    CPU,
    CUDA_PROVIDER,
    CudaOptions,
    Device,
    cuda_devices,
)
from face_organizer.types import FaceTable

pytestmark = pytest.mark.gpu
SAME = 0.999


@pytest.fixture(autouse=True)
def _needs_a_gpu() -> None:
    if cuda_devices() == 0:
        pytest.skip("needs a CUDA device, and there is none here")
    onnxruntime = pytest.importorskip("onnxruntime")
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("needs a GPU profile: this onnxruntime has no CUDA in it")


@pytest.fixture
def photos(dev_faces: Path) -> list[str]:
    return [str(path) for path in sorted((dev_faces / "identities").glob("*/*.jpg"))[::6]]


def made(photos: list[str], device: Device) -> tuple[FaceTable, Report]:
    pack, options = packs.find("opencv"), EmbedOptions(faces="all")
    return look_at(photos, open_models(pack, device), Setup("", options, stamp_of(pack, options)), 2)


def assert_agree(one: FaceTable, other: FaceTable) -> None:
    assert list(one.files.path) == list(other.files.path)
    assert np.array_equal(one.files.outcome, other.files.outcome)
    assert np.array_equal(one.faces.file_index, other.faces.file_index)
    assert len(one) > 50
    cosine = (one.embeddings * other.embeddings).sum(1)
    assert cosine.min() >= SAME, f"{(cosine < SAME).sum()} of {len(cosine)} faces: {np.sort(cosine)[:5]}"


def test_every_card_finds_what_the_cpu_finds(photos: list[str]) -> None:
    expected, _ = made(photos, CPU)
    for index in range(cuda_devices()):
        assert_agree(expected, made(photos, Device("cuda", index))[0])


def test_little_memory_makes_small_batches_or_a_device_error() -> None:
    """From too little for the weights to enough for all: right numbers, or exit code 4 and what to do."""
    pack, card = packs.find("opencv"), Device("cuda", 0)
    chips = np.random.default_rng(0).integers(0, 256, (512, 112, 112, 3), dtype=np.uint8)
    expected = open_models(pack, card).embedder.embed(chips)
    ends = []
    for megabytes in (16, 64, 128, 256, 512, 4096):
        try:
            embedder = open_models(pack, card, CudaOptions(memory_limit=megabytes * 1_000_000)).embedder
            result = embedder.embed(chips)
        except OutOfMemoryError as error:
            ends.append("too little" if "--gpu-memory" in str(error) else str(error))
        else:
            np.testing.assert_allclose(result, expected, atol=1e-3)
            ends.append("halved" if embedder.notes else "at once")
    assert set(ends) <= {"too little", "halved", "at once"}, ends
    assert ends[0] != "at once", ends
    assert ends[-1] == "at once", ends

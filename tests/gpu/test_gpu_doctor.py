"""Doctor on a machine with GPUs: every card really computes, and its numbers are numpy's."""

from __future__ import annotations

import pytest

import face_organizer as fo
from face_organizer.doctor.trial import onnxruntime_trial, run
from face_organizer.networks import nvidia
from face_organizer.networks.devices import CUDA_PROVIDER, Device, cuda_devices

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _needs_a_gpu() -> None:
    if cuda_devices() == 0:
        pytest.skip("needs a CUDA device, and there is none here")
    onnxruntime = pytest.importorskip("onnxruntime")
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("needs a GPU profile: this onnxruntime has no CUDA in it")


def cards() -> list[Device]:
    return [Device("cuda", index) for index in range(cuda_devices())]


def test_the_driver_names_every_card() -> None:
    found = nvidia.look()
    assert found.problem == ""
    assert found.cuda >= (12, 0)
    assert len(found.cards) == len(cards())
    assert all(card.name and card.capability >= (3, 0) and card.memory > 1e8 for card in found.cards)


def test_onnxruntime_convolves_on_every_card() -> None:
    for card in cards():
        assert CUDA_PROVIDER in onnxruntime_trial(card)


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tensorflow", "faiss"])
def test_the_others_compute_on_every_card(framework: str) -> None:
    module = pytest.importorskip(framework)
    if framework == "faiss" and not hasattr(module, "StandardGpuResources"):
        pytest.skip("this profile's faiss computes on the CPU")
    assert [run(framework, card, 180)[1] for card in cards()] == [""] * len(cards())


@pytest.mark.slow
def test_all_is_well() -> None:
    report = fo.doctor()
    assert report.error is None, report.checks


def test_a_card_too_many_is_an_error() -> None:
    error = fo.doctor(str(cuda_devices()), quick=True).error
    assert error is not None
    assert error.exit_code == 4

"""The driver and its cards, by a stand-in for NVIDIA's library; and which of them a process sees."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from face_organizer.networks.devices import cuda_devices
from face_organizer.networks.nvidia import Card, Driver, look

A, B = Card("A", (8, 9), 24, "GPU-aa11"), Card("B", (6, 1), 8, "GPU-bb22")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[Card]:
    """The cards of this machine: A and B, until a test changes them."""
    there = [A, B]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "580.95.05",
        "nvmlSystemGetCudaDriverVersion_v2": lambda: 13000,
        "nvmlDeviceGetCount": lambda: len(there),
        "nvmlDeviceGetHandleByIndex": lambda index: there[index],
        "nvmlDeviceGetCudaComputeCapability": lambda card: list(card.capability),
        "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(total=card.memory),
        "nvmlDeviceGetName": lambda card: card.name,
        "nvmlDeviceGetUUID": lambda card: card.uuid,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    return there


def test_driver_and_cards(cards: list[Card]) -> None:
    assert look() == Driver("580.95.05", (13, 0), (A, B))
    cards.clear()
    assert look().problem == "the NVIDIA driver shows no GPU"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "NVIDIA driver: Driver Not Loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "version mismatch"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no NVIDIA driver (libnvidia-ml.so.1"),
    ],
)
def test_the_driver_does_not_answer(
    cards: list[Card], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(code)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert look().cards == ()
    assert words in look().problem


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("0,1", (A, B)),
        ("1,0", (B, A)),
        ("1", (B,)),
        ("", ()),
        ("-1", ()),
        ("0,-1,1", (A,)),
        ("0,7,1", (A,)),
        ("GPU-bb", (B,)),
        ("GPU-", ()),
        ("MIG-x", (A,)),
    ],
)
def test_cuda_visible_devices(
    cards: list[Card], names: str, expected: tuple[Card, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
    found = look()
    assert found.cards == expected
    assert bool(found.problem) == (not expected)
    assert cuda_devices() == len(expected)


def test_a_machine_without_a_driver() -> None:
    if cuda_devices():
        pytest.skip("there is a CUDA device here")
    assert look().problem

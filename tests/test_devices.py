"""What `--device`, GPU_ID and FACE_ORGANIZER_DEVICES mean, for every command the same."""

from __future__ import annotations

import pickle

import pytest

from face_organizer.cluster import faiss_device
from face_organizer.errors import DeviceError, UsageError
from face_organizer.networks import devices
from face_organizer.networks.devices import Device, asked, choose, choose_one, require

CPU, CARD = Device("cpu"), Device("cuda", 3)


@pytest.fixture
def environ(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The two variables as a test has them."""
    variables: dict[str, str] = getattr(request, "param", {})
    for name in ("GPU_ID", "FACE_ORGANIZER_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.mark.parametrize(
    ("option", "environ", "devices"),
    [
        ("cpu", {}, [CPU]),
        ("cpu,cpu", {}, [CPU, CPU]),
        (" CPU , 3", {}, [CPU, CARD]),
        (None, {"GPU_ID": "3"}, [CARD]),
        ("cpu", {"GPU_ID": "3"}, [CPU]),
        (None, {"GPU_ID": "1", "FACE_ORGANIZER_DEVICES": "3,cpu"}, [CPU]),
        ("0,1", {"FACE_ORGANIZER_DEVICES": "cpu, 3"}, [CPU, CARD]),
        ("cpu", {"FACE_ORGANIZER_DEVICES": "3"}, [CPU]),
        ("3", {"FACE_ORGANIZER_DEVICES": ""}, [CARD]),
    ],
    indirect=["environ"],
)
def test_choice_of_devices(option: str | None, environ: dict[str, str], devices: list[Device]) -> None:
    assert choose(option)[0] == devices


@pytest.mark.parametrize(
    ("option", "environ", "why"),
    [
        ("cpu", {}, "as asked"),
        (None, {"GPU_ID": "3"}, "GPU_ID=3"),
        ("1", {"FACE_ORGANIZER_DEVICES": "3,cpu"}, "as asked, 1 being cpu by FACE_ORGANIZER_DEVICES"),
    ],
    indirect=["environ"],
)
def test_why_a_device(option: str | None, environ: dict[str, str], why: str) -> None:
    assert choose(option)[1] == why


@pytest.mark.parametrize(
    ("option", "environ"),
    [
        ("toaster", {}),
        ("cpu,", {}),
        ("-1", {}),
        (None, {"GPU_ID": "first"}),
        ("2", {"FACE_ORGANIZER_DEVICES": "cpu,cpu"}),
        ("0", {"FACE_ORGANIZER_DEVICES": "toaster"}),
    ],
    indirect=["environ"],
)
def test_words_that_are_no_device(option: str | None, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="device"):
        choose(option)


@pytest.mark.parametrize("environ", [{"GPU_ID": "3,cpu"}], indirect=True)
def test_auto_beats_the_variable_and_asks_for_nothing(environ: dict[str, str]) -> None:
    assert asked("auto")[0] is None


def test_nothing_is_asked_for(environ: dict[str, str]) -> None:
    assert asked(None)[0] is None


@pytest.mark.parametrize("environ", [{"GPU_ID": "3,cpu"}], indirect=True)
def test_a_command_for_one_device_takes_the_first_of_the_variable_and_no_list(
    environ: dict[str, str],
) -> None:
    assert choose_one(None) == (CARD, "GPU_ID=3,cpu")
    assert choose_one("cpu") == (CPU, "as asked")
    with pytest.raises(UsageError, match="one device"):
        choose_one("0,1")


def test_a_card_that_is_not_there_is_an_error_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_devices", lambda: 1)
    assert require(Device("cuda", 0)) == Device("cuda", 0)
    with pytest.raises(DeviceError, match="device 3 was asked for; CUDA cards here: 1") as caught:
        require(CARD)
    assert "--device cpu" in caught.value.mend
    assert str(caught.value).endswith(f"; {caught.value.mend}")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("option", "environ", "gpu"),
    [
        (None, {}, 0),
        ("auto", {"GPU_ID": "1"}, 0),
        (None, {"GPU_ID": "1"}, 1),
        ("0", {"GPU_ID": "1"}, 0),
        (None, {"GPU_ID": "1", "FACE_ORGANIZER_DEVICES": "cpu,cpu"}, faiss_device.CPU),
        ("0", {"FACE_ORGANIZER_DEVICES": "1,0"}, 1),
        ("cpu", {"GPU_ID": "1"}, faiss_device.CPU),
    ],
    indirect=["environ"],
)
def test_clustering_heeds_the_variables(option: str | None, environ: dict[str, str], gpu: int) -> None:
    assert faiss_device.choose(option, lambda: 2)[0] == gpu


def test_a_gpu_that_faiss_does_not_have_stops_clustering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_ID", "2")
    with pytest.raises(DeviceError, match=r"GPU 2 was asked for \(GPU_ID=2\), and FAISS has 2 here"):
        faiss_device.choose(None, lambda: 2)

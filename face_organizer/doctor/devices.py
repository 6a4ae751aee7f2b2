"""The devices: driver, cards, and what ran on them for real."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from face_organizer.doctor.packages import Packages
from face_organizer.doctor.report import Check, State
from face_organizer.doctor.trial import Trial
from face_organizer.files import count
from face_organizer.machine import megabytes
from face_organizer.networks.devices import CPU, Device
from face_organizer.networks.nvidia import Driver
from face_organizer.networks.sessions import is_memory

_GPU_MEND = "make setup PROFILE={0}, or build the image with PROFILE={0}"
_DRIVER_MEND = (
    "install the NVIDIA driver on the host; in a container give it the GPUs too (NVIDIA Container Toolkit, "
    "`gpus: all`); or use --device cpu"
)
_CUDA = 12
"""The CUDA that the packages of the GPU profiles are built for."""
_TURING = (7, 5)
"""The oldest compute capability for which cuDNN 9.11 and newer hold code."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is installed, what the driver shows and which devices the user `asked` for (None: whatever is)."""

    packages: Packages
    driver: Driver
    asked: Sequence[Device] | None = None

    @property
    def for_gpus(self) -> bool:
        """Whether the packages are those for GPUs."""
        return "onnxruntime-gpu" in self.packages.installed

    @property
    def devices(self) -> list[Device]:
        """Those to try: as asked, else the CPU and, where the packages are made for them, all cards."""
        if self.asked is not None:
            return list(dict.fromkeys(self.asked))
        cards = range(len(self.driver.cards)) if self.for_gpus else ()
        return [CPU, *(Device("cuda", index) for index in cards)]

    def plan(self, *, quick: bool) -> list[tuple[str, Device]]:
        """The trials to run: every framework on every device that is here; `quick` leaves out TensorFlow."""
        names, shown = self.packages.installed, len(self.driver.cards)
        cards = [device for device in self.devices if device.kind == "cuda" and device.index < shown]
        trials = [("onnxruntime", device) for device in ([CPU] if CPU in self.devices else []) + cards]
        on_gpu = any(name.startswith("faiss-gpu") for name in names)
        trials += [("faiss", device) for device in [CPU, *(cards if on_gpu else [])]]
        if not quick and "tensorflow" in names:
            # It takes ten seconds to start: where it is tried on a card, the CPU can go without.
            trials += [("tensorflow", device) for device in cards or [CPU]]
        elif not quick and "tensorflow-cpu" in names:
            trials.append(("tensorflow", CPU))
        return trials


def checks(situation: Situation, trials: Sequence[Trial]) -> Iterator[Check]:
    """A line for the driver, for each card and for each trial."""
    yield _driver(situation)
    cards = situation.driver.cards
    for index, card in enumerate(cards):
        words = "{}, compute {}.{}, ".format(card.name, *card.capability) + megabytes(card.memory)
        yield Check("devices", f"card {index}", words)
    for device in situation.devices if cards else ():
        if device.kind == "cuda" and device.index >= len(cards):
            words = f"device {device} was asked for, of {count(len(cards), 'card')}, counted from 0"
            yield Check("devices", f"device {device}", words, State.FAIL, "ask for another", device=True)
    for trial in trials:
        yield _trial(situation, trial)


def _driver(situation: Situation) -> Check:
    driver, asked = situation.driver, situation.asked
    wanted = situation.for_gpus if asked is None else any(device.kind == "cuda" for device in asked)
    bad = State.FAIL if wanted else State.WARN
    words, state, mend = f"cpu; {driver.problem}", State.OK, ""
    if driver.cards:
        cards = count(len(driver.cards), "card")
        words = f"NVIDIA {driver.version} for CUDA {{}}.{{}}, {cards}".format(*driver.cuda)
        if not situation.for_gpus:
            words += ", not used: no package for CUDA is installed"
            state, mend = bad, _GPU_MEND.format("gpu")
        elif driver.cuda[0] < _CUDA:
            words += f", and CUDA {_CUDA} is installed"
            state, mend = bad, "update the driver"
    elif wanted:
        hidden = "CUDA_VISIBLE_DEVICES" in driver.problem
        words, state = driver.problem, bad
        mend = "set it to the cards that may be used" if hidden else _DRIVER_MEND
    return Check("devices", "driver", words, state, mend, device=state is State.FAIL)


def _trial(situation: Situation, trial: Trial) -> Check:
    gpu = trial.device.kind == "cuda"
    name = f"{trial.framework} on {'card ' if gpu else ''}{trial.device}"
    if not trial.why:
        return Check("devices", name, trial.done)
    if gpu and is_memory(trial.why):
        words = f"the card is full: {trial.why}"
        return Check("devices", name, words, State.WARN, "no harm if a run is using it")
    # Clustering runs on the CPU in every profile: FAISS failing on a card stops nothing.
    state = State.WARN if gpu and trial.framework == "faiss" else State.FAIL
    return Check("devices", name, trial.why, state, _mend(situation, trial), device=gpu)


def _mend(situation: Situation, trial: Trial) -> str:
    """The likeliest cause first: two packages mixed, no package for GPUs, no code for the card, the rest."""
    packages = situation.packages
    if trial.framework in packages.twins:
        return packages.mend_twins(trial.framework)
    if trial.device.kind == "cpu":
        return packages.reinstall
    if not situation.for_gpus:
        return _GPU_MEND.format("gpu")
    old = situation.driver.cards[trial.device.index].capability < _TURING
    if old and packages.profile != "gpu-pascal":
        return f"install the profile for older GPUs: {_GPU_MEND.format('gpu-pascal')}"
    return f"check that nvidia-smi runs without an error, then {packages.reinstall}"

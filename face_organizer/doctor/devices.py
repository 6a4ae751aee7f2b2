"""The devices: driver, cards, and what ran on them for real."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from face_organizer.doctor.packages import Packages
from face_organizer.doctor.report import Check, State
from face_organizer.doctor.trial import Trial
from face_organizer.machine import megabytes
from face_organizer.networks.devices import CPU, Device
from face_organizer.networks.nvidia import Driver
from face_organizer.networks.sessions import is_memory

_GPU_MEND = "make setup PROFILE={0}, or build the image with PROFILE={0}"
_DRIVER_MEND = (
    "install the NVIDIA driver on the host; in a container give it the GPUs too (NVIDIA Container Toolkit, "
    "`gpus: all`); or use --device cpu"
)
_TURING = (7, 5)
"""The oldest compute capability for which cuDNN 9.11 and newer hold code."""
_CUDA_OF = re.compile(r"nvidia-.*-cu(\d+)$").match


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
        cards = range(self.driver.count) if self.for_gpus else ()
        return [CPU, *(Device("cuda", index) for index in cards)]

    def plan(self, *, quick: bool) -> list[tuple[str, Device]]:
        """The trials to run: every framework on every device that is here; `quick` leaves out TensorFlow."""
        frameworks = ("onnxruntime", "faiss") if quick else ("onnxruntime", "tensorflow", "faiss")
        trials = [(f, device) for device in self.devices for f in frameworks if self._has(f, device)]
        if not any(framework == "faiss" for framework, _ in trials):
            trials.append(("faiss", CPU))  # a card was asked for, and this FAISS computes beside it
        # TensorFlow takes ten seconds to start: where it is tried on a card, the CPU can go without.
        if any(framework == "tensorflow" and device != CPU for framework, device in trials):
            trials = [trial for trial in trials if trial != ("tensorflow", CPU)]
        return trials

    def _has(self, framework: str, device: Device) -> bool:
        """Whether there is anything to try: the device, and the framework in a build that is meant for it."""
        gpu, names = device.kind == "cuda", self.packages.installed
        if gpu and device.index >= self.driver.count:
            return False
        if framework == "tensorflow":
            return "tensorflow" in names or ("tensorflow-cpu" in names and not gpu)
        # On a CPU, ONNX Runtime and FAISS run in every profile: not being there is a failure.
        return framework != "faiss" or not gpu or any(name.startswith("faiss-gpu") for name in names)


def checks(situation: Situation, trials: Sequence[Trial]) -> Iterator[Check]:
    """A line for the driver, for each card and for each trial."""
    yield _driver(situation)
    for index, card in enumerate(situation.driver.cards):
        words = "{}, compute {}.{}, ".format(card.name, *card.capability) + megabytes(card.memory)
        yield Check("devices", f"card {index}", words)
    count = situation.driver.count
    for device in situation.devices:
        if device.kind == "cuda" and 0 < count <= device.index:
            many = "is 1 card" if count == 1 else f"are {count} cards"
            words = f"device {device} was asked for, there {many}, counted from 0"
            yield Check("devices", f"device {device}", words, State.FAIL, "ask for another", device=True)
    for trial in trials:
        yield _trial(situation, trial)


def _driver(situation: Situation) -> Check:
    driver, packages, mend = situation.driver, situation.packages, ""
    asked = situation.asked
    wanted = situation.for_gpus if asked is None else any(device.kind == "cuda" for device in asked)
    bad = State.FAIL if wanted else State.WARN
    if driver.cards:
        cards = f"{len(driver.cards)} card{'s' if len(driver.cards) > 1 else ''}"
        words = f"NVIDIA {driver.version} for CUDA {{}}.{{}}, {cards}".format(*driver.cuda)
        made_for = max((int(m[1]) for m in map(_CUDA_OF, packages.installed) if m), default=0)
        if not situation.for_gpus:
            words += ", not used: no package for CUDA is installed"
            mend = _GPU_MEND.format("gpu")
        elif driver.cuda[0] < made_for:
            words += f", and CUDA {made_for} is installed"
            mend = "update the driver"
    elif driver.device_files and wanted:
        words, bad = f"{driver.problem}, though {driver.device_files} device files are there", State.WARN
        mend = "give the container NVIDIA_DRIVER_CAPABILITIES=compute,utility"
    else:
        hidden = "CUDA_VISIBLE_DEVICES" in driver.problem
        mend = "" if not wanted else "set it to the cards that may be used" if hidden else _DRIVER_MEND
        words = driver.problem if wanted else f"cpu; {driver.problem}"
    state = bad if mend else State.OK
    return Check("devices", "driver", words, state, mend, device=state is State.FAIL)


def _trial(situation: Situation, trial: Trial) -> Check:
    gpu = trial.device.kind == "cuda"
    name = f"{trial.framework} on {'card ' if gpu else ''}{trial.device}"
    if not trial.why:
        done = "search" if trial.framework == "faiss" else "convolution"
        words = f"{done} right on {trial.ran_on}, version {trial.version} ({trial.seconds:.1f} s)"
        return Check("devices", name, words)
    if gpu and is_memory(trial.why):
        words = f"the card is full: {trial.why}"
        return Check("devices", name, words, State.WARN, "no harm if a run is using it")
    # Clustering runs on the CPU in every profile: FAISS failing on a card stops nothing.
    state = State.WARN if gpu and trial.framework == "faiss" else State.FAIL
    return Check("devices", name, trial.why, state, _mend(situation, trial), device=gpu)


def _mend(situation: Situation, trial: Trial) -> str:
    """The likeliest cause first: two packages mixed, no driver, no code for the card, the rest."""
    packages, cards = situation.packages, situation.driver.cards
    if trial.framework in packages.twins:
        return packages.mend_twins(trial.framework)
    if trial.device.kind == "cpu":
        return packages.reinstall
    if not situation.for_gpus:
        return _GPU_MEND.format("gpu")
    if not cards:
        return _DRIVER_MEND
    if cards[trial.device.index].capability < _TURING and packages.profile != "gpu-pascal":
        return f"install the profile for older GPUs: {_GPU_MEND.format('gpu-pascal')}"
    return f"check that nvidia-smi runs without an error, then {packages.reinstall}"

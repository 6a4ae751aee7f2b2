"""The devices: driver, cards, builds that hold code for them, and what ran on them for real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from face_organizer.doctor import builds
from face_organizer.doctor.environment import GPU_PROFILES, TWINS, reinstall
from face_organizer.doctor.nvidia import Nvidia
from face_organizer.doctor.probes import Trial
from face_organizer.doctor.report import Check, State
from face_organizer.machine import megabytes
from face_organizer.networks.devices import CPU, Device

DRIVER_MEND = (
    "install the NVIDIA driver on the host; in a container give it the GPUs too (NVIDIA Container Toolkit, "
    "`gpus: all`); or use --device cpu"
)
_FULL = ("out of memory", "failed to allocate", "memory allocation", "alloc_failed")


@dataclass(frozen=True, slots=True)
class Situation:
    """What is installed, what the driver shows and which devices the user `asked` for (None: whatever is)."""

    installed: Mapping[str, str]
    profile: str
    nvidia: Nvidia
    asked: Sequence[Device] | None = None

    @property
    def gpu_wanted(self) -> bool:
        """A GPU was asked for, or the profile is one for GPUs and nothing else was asked for."""
        if self.asked is not None:
            return any(device.kind == "cuda" for device in self.asked)
        return self.profile in GPU_PROFILES or "onnxruntime-gpu" in self.installed

    @property
    def devices_of_a_run(self) -> int:
        """How many `embed` would share the cores and the memory among."""
        return len(self.asked) if self.asked else max(1, self.cards if self.gpu_wanted else 1)

    @property
    def cards(self) -> int:
        """Cards that may run: those of the driver; where it cannot be asked, those with a device file."""
        return len(self.nvidia.cards) or self.nvidia.device_files

    def here(self, device: Device) -> bool:
        """Whether there is anything to try."""
        return device.kind == "cpu" or device.index < self.cards

    @property
    def devices(self) -> list[Device]:
        """Those to try: as asked, else the CPU and, where they are wanted, all cards."""
        if self.asked is not None:
            return list(dict.fromkeys(self.asked))
        cards = [Device("cuda", index) for index in range(self.cards)] if self.gpu_wanted else []
        return [CPU, *cards]

    def has(self, framework: str, device: Device) -> bool:
        """Whether `framework` is installed in a build that is meant for `device`."""
        if device.kind == "cuda" and framework == "faiss":
            return any(name.startswith("faiss-gpu") for name in self.installed)
        if device.kind == "cuda" and framework == "tensorflow":
            return "tensorflow" in self.installed
        if framework == "tensorflow":
            return bool(self.installed.keys() & {"tensorflow", "tensorflow-cpu"})
        return True  # ONNX Runtime and faiss run in every profile: not being there is a failure


def plan(situation: Situation, *, quick: bool) -> list[tuple[str, Device]]:
    """The trials to run: every framework on every device that is here; `quick` leaves out TensorFlow."""
    frameworks = ["onnxruntime", "faiss"] if quick else ["onnxruntime", "tensorflow", "faiss"]
    trials = [
        (framework, device)
        for device in situation.devices
        if situation.here(device)
        for framework in frameworks
        if situation.has(framework, device)
    ]
    if not any(framework == "faiss" for framework, _ in trials):
        trials.append(("faiss", CPU))  # a card was asked for, and this faiss computes beside it
    # TensorFlow takes ten seconds to start: where it is tried on a card, the CPU can go without.
    if any(framework == "tensorflow" and device != CPU for framework, device in trials):
        trials = [trial for trial in trials if trial != ("tensorflow", CPU)]
    return trials


def checks(situation: Situation, trials: Sequence[Trial], skipped: Sequence[str] = ()) -> Iterator[Check]:
    """A line for the driver, for each card, for each card's builds and for each trial."""
    yield from _driver(situation)
    yield from _cards(situation)
    for device in situation.devices:
        if not situation.here(device) and situation.cards:
            many = "is 1 card" if situation.cards == 1 else f"are {situation.cards} cards"
            words = f"device {device} was asked for, there {many}, counted from 0"
            yield Check("devices", f"device {device}", State.FAIL, words, "ask for another", device=True)
    for trial in trials:
        yield _trial(situation, trial)
    for framework in skipped:
        yield Check("devices", framework, State.OK, "not tried (--quick)")


def _driver(situation: Situation) -> Iterator[Check]:
    nvidia, wanted = situation.nvidia, situation.gpu_wanted
    data = {"driver": nvidia.driver, "cards": len(nvidia.cards)}
    if not nvidia.cards:
        if not wanted:
            words = f"cpu; {nvidia.problem}"
            yield Check("devices", "driver", State.OK, words, data=data)
            return
        why = nvidia.problem or "no GPU"
        if nvidia.device_files:
            mend = "give the container NVIDIA_DRIVER_CAPABILITIES=compute,utility"
            words = f"{why}, though {nvidia.device_files} device files are there"
            yield Check("devices", "driver", State.WARN, words, mend, data=data)
        else:
            hidden = "CUDA_VISIBLE_DEVICES" in why
            mend = "set it to the cards that may be used" if hidden else DRIVER_MEND
            yield Check("devices", "driver", State.FAIL, why, mend, device=True, data=data)
        return
    count = len(nvidia.cards)
    words = f"NVIDIA {nvidia.driver}, {count} card{'s' if count > 1 else ''}"
    cuda, oldest = builds.oldest_driver(situation.installed)
    if "onnxruntime-gpu" not in situation.installed:
        words += f", not used: no package for CUDA is installed (profile {situation.profile or 'unknown'})"
        state = State.FAIL if wanted else State.WARN
        mend = "make setup PROFILE=gpu, or build the image with PROFILE=gpu"
        yield Check("devices", "driver", state, words, mend, device=wanted, data=data)
    elif builds.numbers(nvidia.driver) < builds.numbers(oldest):
        words += f"; CUDA {cuda} needs {oldest} or newer"
        state = State.FAIL if wanted else State.WARN
        yield Check("devices", "driver", state, words, "update the driver", device=wanted, data=data)
    else:
        yield Check("devices", "driver", State.OK, words, data=data)


def _cards(situation: Situation) -> Iterator[Check]:
    known = builds.known(situation.installed) if "onnxruntime-gpu" in situation.installed else []
    for index, card in enumerate(situation.nvidia.cards):
        compute = builds.dotted(card.capability)
        data = {"index": index, "card": card.name, "capability": compute, "memory": card.memory}
        words = f"{card.name}, compute {compute}, {megabytes(card.memory)}"
        yield Check("devices", f"card {index}", State.OK, words, data=data)
        lacks = builds.lacks(situation.installed, card.capability) if known else []
        names = ", ".join(str(lack) for lack in lacks)
        if lacks:
            words = f"no code for compute {compute}: {names}"
            data = {"index": index, "lacks": [lack.package for lack in lacks]}
            yield Check("devices", f"builds {index}", State.WARN, words, builds.PASCAL_MEND, data=data)
        elif known:
            builds_here = ", ".join(f"{name} {version}" for name, version, _ in known)
            words = f"code for compute {compute} in {builds_here}"
            data = {"index": index, "lacks": []}
            yield Check("devices", f"builds {index}", State.OK, words, data=data)
    if len({card.name for card in situation.nvidia.cards}) > 1:
        words = "cards of different kinds: CUDA numbers them by speed, nvidia-smi by slot; "
        words += "CUDA_DEVICE_ORDER=PCI_BUS_ID makes both the same"
        yield Check("devices", "order", State.OK, words)


def _trial(situation: Situation, trial: Trial) -> Check:
    gpu = trial.device.kind == "cuda"
    name = f"{trial.framework} on {'card ' if gpu else ''}{trial.device}"
    data = {"framework": trial.framework, "device": str(trial.device), "seconds": round(trial.seconds, 2)}
    if not trial.why:
        done = "search" if trial.framework == "faiss" else "convolution"
        words = f"{done} right on {trial.ran_on}, version {trial.version} ({trial.seconds:.1f} s)"
        return Check("devices", name, State.OK, words, data={**data, "ran_on": trial.ran_on})
    if gpu and any(mark in trial.why.lower() for mark in _FULL):
        mend = "none if a run is using it"
        return Check("devices", name, State.WARN, f"the card is full: {trial.why}", mend, data=data)
    # Clustering runs on the CPU in every profile: faiss failing on a card stops nothing.
    state = State.WARN if gpu and trial.framework == "faiss" else State.FAIL
    return Check("devices", name, state, trial.why, _mend(situation, trial), device=gpu, data=data)


def _mend(situation: Situation, trial: Trial) -> str:
    """The likeliest cause first: two packages mixed, no code for the card, an old driver, the rest."""
    names = next(names for title, names in TWINS if title.replace(" ", "").lower() == trial.framework)
    both = [name for name in names if name in situation.installed]
    if len(both) > 1:
        return f"pip uninstall -y {' '.join(both)}, then {reinstall(situation.profile)}"
    if trial.device.kind == "cpu":
        return reinstall(situation.profile)
    if trial.framework == "onnxruntime" and "onnxruntime-gpu" not in situation.installed:
        return "make setup PROFILE=gpu, or build the image with PROFILE=gpu"
    cards = situation.nvidia.cards
    if trial.device.index < len(cards):
        capability = cards[trial.device.index].capability
        lacking = [lack.package for lack in builds.lacks(situation.installed, capability)]
        if set(lacking) & set(builds.NEEDS[trial.framework]):
            return builds.PASCAL_MEND
    if not cards:
        return DRIVER_MEND
    return f"check that nvidia-smi runs without an error, then {reinstall(situation.profile)}"

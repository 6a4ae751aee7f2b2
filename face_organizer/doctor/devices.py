"""The installation: its packages, the driver and the cards, and what ran on them for real."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from face_organizer.doctor.report import Check
from face_organizer.files import count, size
from face_organizer.networks.devices import CPU, Device
from face_organizer.networks.nvidia import Driver
from face_organizer.networks.sessions import is_memory

_MODULES = ("onnxruntime", "tensorflow", "faiss", "cv2")  # several packages bring each
_GPU_MEND = "make setup PROFILE={0}, or build the image with PROFILE={0}"
_DRIVER_MEND = (
    "install the NVIDIA driver on the host; in a container give it the GPUs too (NVIDIA Container Toolkit, "
    "`gpus: all`); or use --device cpu"
)
_CUDA = 12  # of the packages in the profiles for GPUs
_TURING = (7, 5)  # the oldest compute capability for which cuDNN 9.11 and newer hold code

Trial = tuple[str, Device]
"""A framework and where it is to compute."""


def packages() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Version by name of what is installed, and by module the names of several packages that bring it."""
    # A dist-info folder that lost its METADATA has no name.
    found = [(d.metadata["Name"], d.version) for d in distributions()]
    owners = packages_distributions()
    both = {m: sorted({str(canonicalize_name(name)) for name in owners.get(m, ())}) for m in _MODULES}
    return (
        {str(canonicalize_name(name)): version for name, version in found if name},
        {module: names for module, names in both.items() if len(names) > 1},
    )


def required(extra: str) -> dict[str, Requirement]:
    """All that this package asks for with `extra`, other extras that it names included; nothing where its
    source is used without being installed, as in the container."""
    found: dict[str, Requirement] = {}
    with suppress(PackageNotFoundError):
        for requirement in map(Requirement, requires("face-organizer") or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                own = canonicalize_name(requirement.name) == "face-organizer"
                more = [required(other) for other in requirement.extras] if own else []
                found |= {name: r for part in more for name, r in part.items()}
                found |= {} if own else {str(requirement): requirement}
    return found


@dataclass(frozen=True, slots=True)
class Situation:
    """`packages`, what the driver shows and which devices the user `asked` for (None: whatever is there)."""

    installed: Mapping[str, str]
    twins: Mapping[str, Sequence[str]]
    driver: Driver
    asked: Sequence[Device] | None = None

    @property
    def profile(self) -> str:
        """The extra of this package that is installed: cpu, cpu-tf, gpu, gpu-pascal; empty where none."""
        if self.for_gpus:
            return "gpu" if "faiss-gpu" in self.installed else "gpu-pascal"
        if "onnxruntime" not in self.installed:
            return ""
        return "cpu-tf" if self.installed.keys() & {"tensorflow", "tensorflow-cpu"} else "cpu"

    @property
    def reinstall(self) -> str:
        """What puts the packages right."""
        return f"make setup PROFILE={self.profile or 'cpu'} in the source folder, or build the image again"

    @property
    def for_gpus(self) -> bool:
        """Whether the packages are those for GPUs."""
        return "onnxruntime-gpu" in self.installed

    @property
    def devices(self) -> list[Device]:
        """Those to try: as asked, else the CPU and, where the packages are made for them, all cards."""
        if self.asked is not None:
            return list(dict.fromkeys(self.asked))
        cards = range(len(self.driver.cards)) if self.for_gpus else ()
        return [CPU, *(Device("cuda", index) for index in cards)]

    def plan(self, *, quick: bool) -> list[Trial]:
        """The trials to run: every framework on every device that is here; `quick` leaves out TensorFlow."""
        cards = [d for d in self.devices if d.kind == "cuda" and d.index < len(self.driver.cards)]
        trials = [("onnxruntime", device) for device in ([CPU] if CPU in self.devices else []) + cards]
        on_gpu = any(name.startswith("faiss-gpu") for name in self.installed)
        trials += [("faiss", device) for device in [CPU, *(cards if on_gpu else [])]]
        if not quick and "tensorflow" in self.installed:
            # It takes ten seconds to start: where it is tried on a card, the CPU can go without.
            trials += [("tensorflow", device) for device in cards or [CPU]]
        elif not quick and "tensorflow-cpu" in self.installed:
            trials.append(("tensorflow", CPU))
        return trials

    def checks(self, trials: Mapping[Trial, tuple[str, str]]) -> Iterator[Check]:
        """The profile and packages that overwrite each other; the driver, each card and each trial, by what
        it did and why it failed."""
        wrong = [*self._unmet()]
        words = f"{self.profile or 'unknown'}{', but ' * bool(wrong)}{', '.join(wrong)}"
        yield Check("packages", "profile", words, *(("warn", self.reinstall) if wrong else ()))
        for module, names in self.twins.items():
            words = " and ".join(f"{name} {self.installed[name]}" for name in names) + " overwrite each other"
            words += ": CUDA may be gone" if "onnxruntime-gpu" in names else ""
            state = "warn" if module == "cv2" else "FAIL"
            yield Check("packages", module, words, state, self._mend(module, CPU))
        yield self._driver()
        for index, card in enumerate(self.driver.cards):
            words = "{}, compute {}.{}, ".format(card.name, *card.capability) + size(card.memory)
            yield Check("devices", f"card {index}", words)
        for device in self.devices:
            if device.kind == "cuda" and 0 < (shown := len(self.driver.cards)) <= device.index:
                words = f"device {device} was asked for, of {count(shown, 'card')}, counted from 0"
                yield Check("devices", f"device {device}", words, "FAIL", "ask for another", device=True)
        for (framework, device), (done, why) in trials.items():
            yield self._trial(framework, device, done, why)

    def _unmet(self) -> Iterator[str]:
        for requirement in required(self.profile).values():
            version = self.installed.get(canonicalize_name(requirement.name))
            if version is None:
                yield f"{requirement.name} is missing"
            elif not requirement.specifier.contains(version, prereleases=True):
                yield f"{requirement.name} is {version} ({requirement.specifier} is needed)"

    def _driver(self) -> Check:
        driver, asked = self.driver, self.asked
        wanted = self.for_gpus if asked is None else any(device.kind == "cuda" for device in asked)
        words, mend = driver.problem if wanted else f"cpu; {driver.problem}", ""
        if driver.cards:
            words = f"NVIDIA {driver.version} for CUDA {{}}.{{}}, ".format(*driver.cuda)
            words += count(len(driver.cards), "card")
            if not self.for_gpus:
                words += ", not used: no package for CUDA is installed"
                mend = _GPU_MEND.format("gpu")
            elif driver.cuda[0] < _CUDA:
                words, mend = f"{words}, and CUDA {_CUDA} is installed", "update the driver"
        elif wanted:
            hidden = "CUDA_VISIBLE_DEVICES" in driver.problem
            mend = "set it to the cards that may be used" if hidden else _DRIVER_MEND
        state = "FAIL" if mend and wanted else "warn" if mend else "ok"
        return Check("devices", "driver", words, state, mend, device=wanted)

    def _trial(self, framework: str, device: Device, done: str, why: str) -> Check:
        gpu = device.kind == "cuda"
        name = f"{framework} on {'card ' if gpu else ''}{device}"
        if not why:
            return Check("devices", name, done)
        if gpu and is_memory(why):
            words = f"the card is full: {why}"
            return Check("devices", name, words, "warn", "no harm if a run is using it")
        # Clustering runs on the CPU in every profile: FAISS failing on a card stops nothing.
        state = "warn" if gpu and framework == "faiss" else "FAIL"
        return Check("devices", name, why, state, self._mend(framework, device), device=gpu)

    def _mend(self, module: str, device: Device) -> str:
        """The likeliest cause first: two packages mixed, no package for GPUs, no code for the card."""
        if module in self.twins:
            return f"pip uninstall -y {' '.join(self.twins[module])}, then {self.reinstall}"
        if device.kind == "cpu":
            return self.reinstall
        if not self.for_gpus:
            return _GPU_MEND.format("gpu")
        if self.driver.cards[device.index].capability < _TURING and self.profile != "gpu-pascal":
            return f"install the profile for older GPUs: {_GPU_MEND.format('gpu-pascal')}"
        return f"check that nvidia-smi runs without an error, then {self.reinstall}"

"""The Python packages: which profile they are, what it lacks, and packages that overwrite each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distributions, packages_distributions, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from face_organizer.doctor.report import Check, State

_MODULES = ("onnxruntime", "tensorflow", "faiss", "cv2")
"""Modules that several packages bring: of two installed, what runs is a mix."""


@dataclass(frozen=True, slots=True)
class Packages:
    """Version by name of what is installed, and by module the names of several packages that bring it."""

    installed: Mapping[str, str]
    twins: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def profile(self) -> str:
        """The extra of this package that they are: cpu, cpu-tf, gpu, gpu-pascal; empty where none."""
        if "onnxruntime-gpu" in self.installed:
            return "gpu" if "faiss-gpu" in self.installed else "gpu-pascal"
        if "onnxruntime" not in self.installed:
            return ""
        return "cpu-tf" if self.installed.keys() & {"tensorflow", "tensorflow-cpu"} else "cpu"

    @property
    def reinstall(self) -> str:
        """What puts them right."""
        return f"make setup PROFILE={self.profile or 'cpu'} in the source folder, or build the image again"

    def mend_twins(self, module: str) -> str:
        """What to do about packages that overwrite each other."""
        return f"pip uninstall -y {' '.join(self.twins[module])}, then {self.reinstall}"


def look() -> Packages:
    """What is installed here."""
    # A dist-info folder that lost its METADATA has no name.
    found = [(d.metadata["Name"], d.version) for d in distributions()]
    installed = {str(canonicalize_name(name)): version for name, version in found if name}
    owners = packages_distributions()
    both = {m: sorted({canonicalize_name(name) for name in owners.get(m, ())}) for m in _MODULES}
    return Packages(installed, {module: names for module, names in both.items() if len(names) > 1})


def checks(packages: Packages) -> Iterator[Check]:
    """The profile, what it lacks, and a line for each module that several packages bring."""
    profile = packages.profile or "unknown"
    try:
        wrong = list(_unmet(_required(packages.profile), packages.installed))
    except PackageNotFoundError:
        yield Check("packages", "profile", f"{profile}; face-organizer itself is not installed")
    else:
        words = f"{profile}, but {', '.join(wrong)}" if wrong else profile
        mend = packages.reinstall if wrong else ""
        yield Check("packages", "profile", words, State.WARN if wrong else State.OK, mend)
    for module, names in packages.twins.items():
        # The same files twice do no harm until one of the two is removed.
        harmless = module == "cv2" and len({packages.installed[name] for name in names}) == 1
        words = " and ".join(f"{name} {packages.installed[name]}" for name in names) + " overwrite each other"
        words += ": CUDA may be gone" if "onnxruntime-gpu" in names else ""
        state = State.WARN if harmless else State.FAIL
        yield Check("packages", module, words, state, packages.mend_twins(module))


def _required(extra: str) -> list[Requirement]:
    """All that this package asks for with `extra`, other extras that it names included."""
    found: list[Requirement] = []
    for requirement in map(Requirement, requires("face-organizer") or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            own = canonicalize_name(requirement.name) == "face-organizer"
            found += [r for other in requirement.extras for r in _required(other)] if own else [requirement]
    return found


def _unmet(required: Sequence[Requirement], installed: Mapping[str, str]) -> Iterator[str]:
    for requirement in {str(r): r for r in required}.values():
        version = installed.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"{requirement.name} is missing"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version} ({requirement.specifier} is needed)"

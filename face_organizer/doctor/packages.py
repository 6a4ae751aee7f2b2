"""The Python packages: which profile they are, and those that overwrite each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions, packages_distributions

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
    """The profile, and a line for each module that several packages bring."""
    yield Check("packages", "profile", packages.profile or "unknown")
    for module, names in packages.twins.items():
        words = " and ".join(f"{name} {packages.installed[name]}" for name in names) + " overwrite each other"
        words += ": CUDA may be gone" if "onnxruntime-gpu" in names else ""
        state = State.WARN if module == "cv2" else State.FAIL
        yield Check("packages", module, words, state, packages.mend_twins(module))

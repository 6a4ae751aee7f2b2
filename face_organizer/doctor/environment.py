"""The Python environment: which profile it is, how far it strays from its lock, packages that collide."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from face_organizer.doctor.builds import numbers
from face_organizer.doctor.report import Check, State

LOCK_VARIABLE = "FACE_ORGANIZER_LOCK"
"""Environment variable: a lock file, or a folder of them, to compare this environment with."""
GPU_PROFILES = ("gpu", "gpu-pascal")
_NO_PROFILE = {"dev", "tools"}  # installed on top of a profile
_SHOWN = 4
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)[ \t]*(;)?", re.MULTILINE)

TWINS = (
    ("ONNX Runtime", ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")),
    (
        "OpenCV",
        (
            "opencv-contrib-python-headless",
            "opencv-contrib-python",
            "opencv-python-headless",
            "opencv-python",
        ),
    ),
    ("TensorFlow", ("tensorflow", "tensorflow-cpu")),
    ("FAISS", ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12")),
)
"""Packages that write into the same folder: of two installed, what runs is a mix."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Exact versions by package. Those in `optional` need not be there (other systems or profiles)."""

    name: str
    pins: Mapping[str, str]
    optional: frozenset[str] = frozenset()

    def strays(self, installed: Mapping[str, str]) -> list[str]:
        """Each package that is not as locked, in words."""
        words = []
        for package, version in self.pins.items():
            found = installed.get(package)
            if found is None and package not in self.optional:
                words.append(f"{package} is missing (lock: {version})")
            elif found is not None and found != version:
                words.append(f"{package} is {found} (lock: {version})")
        return words

    def fit(self, installed: Mapping[str, str]) -> int:
        """Packages that are as locked, less those that are not: largest for the lock that was installed."""
        kept = sum(installed.get(package) == version for package, version in self.pins.items())
        return kept - len(self.strays(installed))


@dataclass(frozen=True, slots=True)
class Locks:
    """The locks that could be found, and where; `problem` where the place that was named holds none."""

    where: str = ""
    locks: tuple[Lock, ...] = ()
    problem: str = ""


def installed_packages() -> dict[str, str]:
    """Version by normalised name of every installed distribution."""
    found: dict[str, str] = {}
    for distribution in distributions():
        # A dist-info folder that lost its METADATA has no name.
        if name := distribution.metadata["Name"]:
            found.setdefault(normalised(name), distribution.version)
    return found


def normalised(name: str) -> str:
    """A package's name as the index writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_lock(name: str, text: str) -> Lock:
    """The pins of a lock or of constraints.txt, in which each package may be missing."""
    rows = [(normalised(m[1]), m[2], bool(m[3])) for m in _PIN.finditer(text)]
    every = name == "constraints"
    optional = frozenset(package for package, _, marker in rows if marker or every)
    return Lock(name, {package: version for package, version, _ in rows}, optional)


def find_locks(
    environ: Mapping[str, str], prefix: Path = Path(sys.prefix), root: Path = Path(__file__).parents[2]
) -> Locks:
    """The locks of `$FACE_ORGANIZER_LOCK`, else the one that was installed (a copy in `prefix`/locks), else
    those beside the source in `root`, else its constraints.txt. Never raises."""
    named = environ.get(LOCK_VARIABLE)
    if named:
        found = _read(Path(named).expanduser())
        return found or Locks(named, problem=f"{LOCK_VARIABLE}={named} holds no lock that can be read")
    sources = [prefix / "locks"]
    if (root / "pyproject.toml").is_file():
        sources += [root / "locks", root / "constraints.txt"]
    return next((found for found in map(_read, sources) if found), Locks())


def _read(place: Path) -> Locks | None:
    files = sorted(place.glob("*.txt")) if place.is_dir() else [place]
    locks = []
    for file in files:
        try:
            lock = parse_lock(file.stem, file.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if lock.pins and file.stem not in _NO_PROFILE:
            locks.append(lock)
    return Locks(str(place), tuple(locks)) if locks else None


def profile_of(installed: Mapping[str, str], found: Locks) -> tuple[str, Lock | None]:
    """The profile that the environment is, and the lock that fits it best."""
    lock = max(found.locks, key=lambda lock: lock.fit(installed), default=None)
    if lock is not None and lock.name != "constraints" and lock.fit(installed) > 0:
        return lock.name, lock
    return _guess(installed), lock


def _guess(installed: Mapping[str, str]) -> str:
    if "onnxruntime-gpu" in installed:
        old = (0,) < numbers(installed.get("nvidia-cudnn-cu12", "")) < (9, 11)
        return "gpu-pascal" if old and "faiss-gpu" not in installed else "gpu"
    if installed.keys() & {"tensorflow", "tensorflow-cpu"}:
        return "cpu-tf"
    return "cpu" if "onnxruntime" in installed else ""


def reinstall(profile: str) -> str:
    """What puts an environment right."""
    return f"make setup PROFILE={profile or 'cpu'} in the source folder, or build the image again"


def checks(installed: Mapping[str, str], found: Locks) -> Iterator[Check]:
    """Profile, versions against the lock, packages that overwrite each other."""
    profile, lock = profile_of(installed, found)
    data = {"profile": profile, "lock": lock.name if lock else None, "where": found.where}
    if lock is None:
        why = found.problem or f"no lock to compare with (${LOCK_VARIABLE} names one)"
        state = State.WARN if found.problem else State.OK
        yield Check("profile", "profile", state, f"{profile or 'none known'}; {why}", data=data)
    else:
        strays = lock.strays(installed)
        by = f"the lock {lock.name} in {found.where}"
        yield Check("profile", "profile", State.OK, f"{profile or 'none known'}, by {by}", data=data)
        count = len(lock.pins)
        if strays:
            more = f" and {len(strays) - _SHOWN} more" if len(strays) > _SHOWN else ""
            words = f"{len(strays)} of {count} not as locked: {', '.join(strays[:_SHOWN])}{more}"
            mend = reinstall(profile)
            yield Check("profile", "versions", State.WARN, words, mend, data={"strays": strays})
        else:
            yield Check("profile", "versions", State.OK, f"{count} packages as locked", data={"strays": []})
    yield from twins(installed, profile)


def twins(installed: Mapping[str, str], profile: str) -> Iterator[Check]:
    """A failure for each group of TWINS with two installed; a warning for OpenCVs of one version."""
    for title, names in TWINS:
        both = [name for name in names if name in installed]
        if len(both) < 2:
            continue
        same = title == "OpenCV" and len({installed[name] for name in both}) == 1
        gpu = "onnxruntime-gpu" in both
        words = " and ".join(f"{name} {installed[name]}" for name in both)
        yield Check(
            "profile",
            title,
            State.WARN if same else State.FAIL,
            f"{words} overwrite each other" + (": CUDA may be gone" if gpu else ""),
            f"pip uninstall -y {' '.join(both)}, then {reinstall(profile)}",
            data={"packages": both},
        )

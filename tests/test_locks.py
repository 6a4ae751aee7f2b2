"""pyproject.toml, constraints.txt and locks/*.txt say the same; after a change: `make locks`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETTINGS = PROJECT["tool"]["face-organizer"]
PROFILES: dict[str, dict[str, Any]] = SETTINGS["locks"]
INSTALLED = [name for name, profile in PROFILES.items() if profile.get("extras")]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def requirements(path: Path) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock with the words that follow it (its hashes)."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    split = [line.partition(" --")[::2] for line in text.splitlines()]
    return [(Requirement(requirement), f"--{rest}".split() if rest else []) for requirement, rest in split]


def pins(path: Path) -> dict[str, str]:
    """Version of each package of a lock."""
    found = {}
    for requirement, _ in requirements(path):
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert requirement.name == canonicalize_name(requirement.name)
        assert requirement.name not in found, f"{requirement.name} twice in {path.name}"
        found[requirement.name] = specifier.version
    return found


CONSTRAINTS = pins(ROOT / "constraints.txt")
LOCKS = {name: pins(ROOT / "locks" / f"{name}.txt") for name in PROFILES}


def declared(profile: dict[str, Any]) -> list[Requirement]:
    """What pyproject.toml asks for in a profile, extras of its own followed."""
    project = PROJECT["project"]
    texts = [text for group in profile.get("groups", ()) for text in PROJECT["dependency-groups"][group]]
    extras = list(profile.get("extras", ()))
    if extras:
        texts += project["dependencies"]
    while extras:
        texts += project["optional-dependencies"][extras.pop()]
        own = [Requirement(text) for text in texts if Requirement(text).name == project["name"]]
        texts = [text for text in texts if Requirement(text).name != project["name"]]
        extras += [extra for requirement in own for extra in requirement.extras]
    return [Requirement(text) for text in texts]


def test_every_lock_is_declared() -> None:
    assert {path.stem for path in (ROOT / "locks").glob("*.txt")} == set(PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_lock_holds_only_hashed_packages(name: str) -> None:
    for requirement, words in requirements(ROOT / "locks" / f"{name}.txt"):
        assert requirement.url is None
        assert words, f"{requirement.name} has no hash"
        assert all(HASH.fullmatch(word) for word in words), f"{requirement.name}: {words}"


@pytest.mark.parametrize("path", ["constraints.txt", *(f"locks/{name}.txt" for name in PROFILES)])
def test_nothing_of_the_machine_that_made_it(path: str) -> None:
    text = (ROOT / path).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE), "an option line"


@pytest.mark.parametrize("name", PROFILES)
def test_lock_has_the_versions_of_constraints(name: str) -> None:
    own = PROFILES[name].get("own", [])
    differing = [package for package, version in LOCKS[name].items() if CONSTRAINTS[package] != version]
    assert sorted(differing) == sorted(own)
    header = (ROOT / "constraints.txt").read_text()
    for package in own:
        assert f"#   locks/{name}.txt: {package}=={LOCKS[name][package]}\n" in header


def test_constraints_hold_what_the_locks_hold() -> None:
    assert set(CONSTRAINTS) == {package for lock in LOCKS.values() for package in lock}


@pytest.mark.parametrize("name", PROFILES)
def test_lock_holds_what_pyproject_asks_for(name: str) -> None:
    beneath = LOCKS.get(PROFILES[name].get("beneath", ""), {})
    installed = beneath | LOCKS[name]
    for requirement in declared(PROFILES[name]):
        package = canonicalize_name(requirement.name)
        assert package in installed, f"{requirement} is not in locks/{name}.txt"
        assert requirement.specifier.contains(installed[package]), (
            f"{requirement} is not {installed[package]}"
        )
    for package in [*SETTINGS["without"], *PROFILES[name].get("without", [])]:
        assert package not in installed
    assert not set(beneath) & set(LOCKS[name])


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("family", ["opencv-", "onnxruntime", "faiss-"])
def test_one_package_of_each_family(name: str, family: str) -> None:
    assert len([package for package in LOCKS[name] if package.startswith(family)]) == 1


@pytest.mark.parametrize("name", INSTALLED)
def test_build_backend_is_in_the_lock(name: str) -> None:
    for text in PROJECT["build-system"]["requires"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(LOCKS[name][canonicalize_name(requirement.name)])

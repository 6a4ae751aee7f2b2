"""A Docker engine, a clone of this tree, and the cpu image built from it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = os.environ.get("DOCKER_FLAGS", "").split()
USER = (1000, 1000)
"""Of the container, whoever runs the tests."""
YEARS = (2017, 2008, 2019, 2007, 2013, 2006)
PEOPLE = ("Tiger_Woods", "Trent_Lott")
IMAGE = "face-organizer:cpu"


def run(
    *words: str | os.PathLike[str], cwd: Path = ROOT, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """A command, its output kept; a failure shows it."""
    done = subprocess.run([os.fspath(w) for w in words], cwd=cwd, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    if shutil.which("docker") is None or run("docker", "info", check=False).returncode:
        pytest.skip("needs a Docker engine, and none answers here")


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree as git would hand it on, changes included."""
    folder = tmp_path_factory.mktemp("clone") / "face-organizer"
    listed = run("git", "ls-files", "-co", "--exclude-standard").stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def image(tree: Path) -> str:
    """The cpu image."""
    run("make", "image", "PROFILE=cpu", f"DOCKER_FLAGS={' '.join(FLAGS)}", cwd=tree)
    return IMAGE


@pytest.fixture(scope="session")
def photos(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people's photos, spread over the folders of six years."""
    folder = tmp_path_factory.mktemp("photos")
    for person in PEOPLE:
        for i, photo in enumerate(sorted((dev_faces / "identities" / person).iterdir())):
            target = folder / str(YEARS[i % len(YEARS)])
            target.mkdir(exist_ok=True)
            shutil.copy2(photo, target)
    return own(folder)


def own(folder: Path) -> Path:
    """Hand a folder and all in it to the container's user, where we may."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *USER)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Path below `folder` and content of each file but our own marker's."""
    found = (p for p in folder.rglob("*") if p.is_file() and ".face-organizer" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


@dataclass(frozen=True)
class Container:
    """One that is up."""

    name: str
    workspace: Path

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker exec` of a command."""
        return run("docker", "exec", self.name, *words, check=check)


@pytest.fixture
def container(
    request: pytest.FixtureRequest, image: str, photos: Path, tmp_path: Path
) -> Iterator[Container]:
    """The image, up, with the photos as read-only /sources and an empty workspace; `param`: more options."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    own(workspace)
    name = f"face-organizer-test-{os.getpid()}"
    options = list(getattr(request, "param", ()))
    try:
        run("docker", "run", "-d", "--name", name, *FLAGS, *options, "-v", f"{workspace}:/workspace",
            "-v", f"{photos}:/sources:ro", image)  # fmt: skip
        yield Container(name, workspace)
    finally:
        run("docker", "rm", "-f", name, check=False)

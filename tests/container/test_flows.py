"""The original flows, driven through `docker exec` as documented, and against the same commands outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from container.conftest import FLAGS, ROOT, YEARS, Container, files, own, run
from face_organizer import table
from face_organizer.types import FaceTable

pytestmark = pytest.mark.container
TEXT = (ROOT / "docs" / "container.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
NVIDIA_BLOCKS = re.findall(r"^```bash nvidia\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SERVICES = "services:\n  face-organizer-cpu:\n    network_mode: host\n"


def same_faces(one: FaceTable, other: FaceTable, folders: tuple[Path, Path]) -> None:
    """Equal but for where the pictures lie and when they were written."""
    paths = [
        [p.removeprefix(str(f)) for p in t.files.path] for t, f in zip((one, other), folders, strict=True)
    ]
    assert paths[0] == paths[1]
    assert one.embeddings.tobytes() == other.embeddings.tobytes()
    for column in ("box", "landmarks", "score", "turn", "sharpness", "file_index"):
        assert getattr(one.faces, column).tobytes() == getattr(other.faces, column).tobytes()
    assert np.array_equal(one.files.content, other.files.content)


def outside(folder: Path, script: str, *words: str) -> None:
    """A script as the README runs it, in `folder`."""
    environment = {**os.environ, "FACE_ORGANIZER_DEVICES": "cpu,cpu", "GPU_ID": "0"}
    command = [sys.executable, ROOT / "scripts" / script, *words]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def test_every_block_of_the_page_runs_and_gives_what_the_same_commands_give_outside(
    tree: Path, image: str, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tree / "workspace" / "input")
    (tree / "sources").mkdir(exist_ok=True)
    own(tree / "workspace")
    if "host" in " ".join(FLAGS):  # an engine without a bridge network
        (tree / "docker-compose.override.yml").write_text(SERVICES)
    for block in BLOCKS:
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=tree, capture_output=True, text=True
        )
        assert ran.returncode == 0, f"{block}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    here = tmp_path / "outside"
    shutil.copytree(photos, here / "input")
    for i, years in enumerate((YEARS[:3], YEARS[3:])):
        folders = [str(here / "input" / str(year)) for year in years]
        outside(here, "generate_embeddings.py", "--input", *folders, "--output", f"embeddings_gpu{i}.pkl")
    tables = ("embeddings_gpu0.pkl", "embeddings_gpu1.pkl")
    outside(
        here, "cluster_faces.py", "--embeddings", *tables, "--output", "clustered_faces", "--clusters", "2"
    )
    workspace = tree / "workspace"
    for name in tables:
        same_faces(table.read(workspace / name), table.read(here / name), (Path("/workspace"), here))
    person = ("person_A/", "person_B/", "unassigned/")
    made, expected = (
        {name: data for name, data in files(f / "clustered_faces").items() if name.startswith(person)}
        for f in (workspace, here)
    )
    assert made == expected
    assert {path.name for path in (workspace / "sets" / "A").iterdir()} >= {"faceset.html", "faceset.csv"}
    assert {path.name for path in (workspace / "tables").iterdir()} == {"2006.pkl", "2007.pkl", "2008.pkl"}
    if os.geteuid() == 0:
        assert {path.stat().st_uid for path in workspace.rglob("*")} == {1000}, "files belong to the caller"


@pytest.mark.parametrize("block", NVIDIA_BLOCKS)
def test_a_block_for_cards_is_of_commands_that_there_are(block: str, tree: Path, tmp_path: Path) -> None:
    """There is no card here: make targets are planned, the compose file is read, options are known."""
    for command in re.sub(r"\\\n", " ", block).splitlines():
        words = command.split()
        if words[0] == "make":
            run("make", "-n", *words[1:], cwd=tree)
        elif words[0] == "docker-compose":
            run("docker-compose", "--env-file", ".env.example", "config", "-q", cwd=tree)
        elif words[:2] in (["docker", "exec"], ["docker", "run"]):
            known = run("docker", words[1], "--help").stdout
            assert all(word.split("=")[0] in known for word in words[2:] if word.startswith("--"))
        else:
            assert words[0] == "cp"
            assert (tree / words[1]).is_file()


@pytest.mark.parametrize("profile", ["gpu", "cpu"])
def test_the_compose_file_says_what_it_should(tree: Path, profile: str, tmp_path: Path) -> None:
    settings = tmp_path / "env"
    text = (tree / ".env.example").read_text().replace("COMPOSE_PROFILES=gpu", f"COMPOSE_PROFILES={profile}")
    settings.write_text(text.replace("GPU_COUNT=all", "GPU_COUNT=2").replace("./sources", "/mnt/pictures"))
    words = ["docker-compose", "-f", "docker-compose.yml", "--env-file", str(settings), "config"]
    said = run(*words, cwd=tree).stdout
    assert "/mnt/pictures:/sources:ro" in said
    assert re.search(r"count: '?2'?\n", said)
    assert "user: 1000:1000" in said
    assert run(*words, "--services", cwd=tree).stdout.split() is not None
    for setting in re.findall(r"\$\{(\w+)", (tree / "docker-compose.yml").read_text()):
        assert f"\n{setting}=" in text, f"{setting} is not explained in .env.example"


def test_the_gpu_service_asks_for_cards_in_the_engines_words(tree: Path, image: str, tmp_path: Path) -> None:
    """No engine here has cards to give; it must refuse for that reason and no other."""
    settings = tmp_path / "env"
    settings.write_text((tree / ".env.example").read_text().replace("PROFILE=gpu", "PROFILE=cards"))
    run("docker", "tag", image, "face-organizer:cards")
    words = ["docker-compose", "-f", "docker-compose.yml", "--env-file", str(settings), "--profile", "gpu"]
    (tree / "workspace").mkdir(exist_ok=True)
    (tree / "sources").mkdir(exist_ok=True)
    try:
        done = run(*words, "run", "--rm", "face-organizer", "true", cwd=tree, check=False)
        if done.returncode == 0:
            pytest.skip("there are cards here")
        assert 'could not select device driver "nvidia" with capabilities: [[gpu]]' in done.stderr
    finally:
        run(*words, "down", "-v", cwd=tree, check=False)
        run("docker", "rmi", "--no-prune", "face-organizer:cards", check=False)


def test_a_stop_in_the_middle_loses_nothing_and_the_sources_stay(container: Container, photos: Path) -> None:
    before = files(photos)
    embed = ["face-organizer", "embed", "--input", "/sources", "--device", "cpu"]
    container.run(*embed, "--output", "/workspace/whole.pkl")
    run("docker", "exec", "-d", container.name, *embed, "--output", "/workspace/stopped.pkl")
    work = container.workspace / "stopped.pkl.work"
    end = time.monotonic() + 60
    while not (work / "plan.json").exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.5)
    run("docker", "stop", container.name)
    assert run("docker", "inspect", "-f", "{{.State.ExitCode}}", container.name).stdout.strip() == "0"
    run("docker", "start", container.name)
    container.run(*embed, "--output", "/workspace/stopped.pkl")
    nowhere = Path("/")
    tables = [table.read(container.workspace / name) for name in ("whole.pkl", "stopped.pkl")]
    same_faces(tables[0], tables[1], (nowhere, nowhere))
    assert container.run("sh", "-c", "echo x > /sources/new", check=False).returncode != 0
    assert files(photos) == before


@pytest.mark.parametrize(
    ("container", "most"),
    [(["--memory", size, "--memory-swap", size], most) for size, most in (("1g", 2), ("700m", 1))],
    indirect=["container"],
    ids=["1g", "700m"],
)
def test_a_container_of_little_memory_finishes_with_fewer_threads(container: Container, most: int) -> None:
    words = ["--input", "/sources", "--output", "/workspace/f.pkl", "--device", "cpu"]
    done = container.run("face-organizer", "embed", *words, "--json")
    assert json.loads(done.stdout)["inputs"] > 20
    said = re.search(r"(\d+) threads? \((.*)\)", done.stderr)
    assert said, done.stderr
    assert int(said[1]) <= most
    assert "memory" in said[2] or (os.cpu_count() or 1) <= most
    assert run("docker", "inspect", "-f", "{{.State.OOMKilled}}", container.name).stdout.strip() == "false"


def test_the_gender_filter_goes_over_the_years(container: Container) -> None:
    if not (ROOT / "scripts" / "gender_filter.py").is_file():
        pytest.skip("scripts/gender_filter.py is not in this tree yet")
    for year in YEARS[:2]:
        container.run("python", "/app/scripts/gender_filter.py", "--input", f"/sources/{year}",
                      "--output", f"/workspace/faces_male/{year}", "--gender", "Man")  # fmt: skip
        assert files(container.workspace / "faces_male" / str(year))


def test_a_build_without_a_network(tree: Path, image: str) -> None:
    """`make wheels` has run with the page above; nothing is cached but the base."""
    if not (tree / "packages" / "cpu").is_dir():
        run("make", "wheels", "PROFILE=cpu", f"DOCKER_FLAGS={' '.join(FLAGS)}", cwd=tree)
    try:
        run("docker", "build", "--no-cache", "--network", "none", "--build-arg", "PROFILE=cpu",
            "-t", "face-organizer:offline", ".", cwd=tree)  # fmt: skip
        said = run(
            "docker", "run", "--rm", *FLAGS, "face-organizer:offline", "face-organizer", "--version"
        ).stdout
        assert said.startswith("face-organizer, version")
    finally:
        run("docker", "rmi", "-f", "--no-prune", "face-organizer:offline", check=False)

"""What is in the image, and what is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from container.conftest import FLAGS, ROOT, Container, run

pytestmark = pytest.mark.container
MOST_BYTES = 1_300_000_000


def inspected(image: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(run("docker", "image", "inspect", image).stdout)[0]
    return found


def test_it_is_small_labelled_and_runs_without_root(image: str) -> None:
    found = inspected(image)
    assert isinstance(found["Size"], int)
    assert found["Size"] <= MOST_BYTES
    config = found["Config"]
    assert isinstance(config, dict)
    assert (config["User"], config["WorkingDir"]) == ("organizer", "/workspace")
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert config["Healthcheck"]["Test"] == ["CMD", "face-organizer", "doctor", "--quick", "-q"]


def test_no_process_is_roots_and_the_health_check_is_content(container: Container) -> None:
    owners = container.run("sh", "-c", "stat -c %u /proc/[0-9]*").stdout.split()
    assert set(owners) == {"1000"}
    assert container.run("face-organizer", "doctor", "--quick", "-q").returncode == 0


def test_nothing_is_writable_but_where_things_belong(container: Container) -> None:
    script = r"""find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune \
        -o \( -type f -o -type d \) -writable -print"""
    found = container.run("sh", "-c", script, check=False).stdout.split()
    places = ("/tmp", "/var/tmp", "/run/lock", "/workspace", "/models")
    assert [path for path in found if not path.startswith(places)] == []


def test_no_secret_cache_history_or_compiler_is_left(container: Container) -> None:
    script = r"""
      find / -xdev \( -path /proc -o -path /sys \) -prune -o -type f \( -name 'id_rsa*' -o -name '.netrc' \
        -o -name '.npmrc' -o -name '.env' -o -name '.bash_history' -o -name '*.whl' -o -name '*.deb' \
        -o -name 'credentials*' -o -name '*.jpg' -o -path '/root/.cache/*' -o -path '/var/lib/apt/lists/*' \
        \) -print 2>/dev/null
      for tool in gcc cc make git curl wget pip3 ssh; do command -v $tool; done"""
    found = container.run("sh", "-c", script, check=False).stdout.split()
    # insightface and scikit-image carry sample pictures of their own.
    assert [path for path in found if not re.match(r"/opt/venv/lib/.*\.jpg$", path)] == []


def test_no_layer_holds_what_only_the_build_needed(image: str) -> None:
    history = run("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert "apt-get" not in history
    assert "pip" not in history
    assert "venv" in history, "the environment came by a copy"


def test_there_is_one_opencv_and_one_onnxruntime(container: Container) -> None:
    script = """
import importlib.metadata as m, onnxruntime, cv2
names = sorted(d.metadata["Name"].lower() for d in m.distributions())
print([n for n in names if n.startswith("opencv")], [n for n in names if n.startswith("onnxruntime")])
owners = [d for d in m.distributions() if any(str(f) == "cv2/__init__.py" for f in d.files or [])]
print(len(owners), onnxruntime.get_available_providers()[-1])"""
    lines = container.run("python", "-c", script).stdout.splitlines()
    assert lines == ["['opencv-contrib-python-headless'] ['onnxruntime']", "1 CPUExecutionProvider"]


def test_a_gpu_profile_cannot_hold_the_plain_onnxruntime() -> None:
    """By construction: what is not in the lock is not installed (`--no-deps`), and the lock has only one."""
    for profile in ("gpu", "gpu-pascal"):
        lock = (ROOT / "locks" / f"{profile}.txt").read_text()
        names = re.findall(r"^(onnxruntime[a-z-]*|opencv[a-z-]*)==", lock, re.MULTILINE)
        assert names == ["onnxruntime-gpu", "opencv-contrib-python-headless"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert all("--no-deps" in part for part in dockerfile.split("pip install")[1:])


def test_a_change_of_code_rebuilds_no_environment(tree: Path, image: str) -> None:
    changed = tree / "face_organizer" / "errors.py"
    before = changed.read_text()
    try:
        changed.write_text(before + "\n# changed\n")
        build = run(
            "docker",
            "build",
            *FLAGS,
            "--build-arg",
            "PROFILE=cpu",
            "-t",
            "face-organizer:changed",
            ".",
            cwd=tree,
        )
    finally:
        changed.write_text(before)
        run("docker", "rmi", "-f", "--no-prune", "face-organizer:changed", check=False)
    steps = re.split(r"^Step \d+/\d+ : ", build.stdout, flags=re.MULTILINE)
    cached = [step.splitlines()[0] for step in steps if "Using cache" in step]
    assert any("pip install" in step or "python3 -m venv" in step for step in cached)
    assert any(step.startswith("COPY --from=environment /opt/venv") for step in cached)


def test_the_build_context_holds_no_photo_and_no_table(tree: Path, tmp_path: Path) -> None:
    for name in ("workspace/a.jpg", "face_organizer/b.png", "faces.pkl", ".env", "scripts/c.pkl"):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(b"private")
    try:
        (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        run(
            "docker",
            "build",
            "-q",
            "-f",
            tmp_path / "Dockerfile",
            "-t",
            "face-organizer:context",
            ".",
            cwd=tree,
        )
        run("docker", "create", "--name", "face-organizer-context", "face-organizer:context", "none")
        listed = run("sh", "-c", "docker export face-organizer-context | tar -t").stdout.split()
    finally:
        run("docker", "rm", "-f", "face-organizer-context", check=False)
        run("docker", "rmi", "-f", "--no-prune", "face-organizer:context", check=False)
        for name in ("workspace/a.jpg", "face_organizer/b.png", "faces.pkl", ".env", "scripts/c.pkl"):
            (tree / name).unlink()
    assert "face_organizer/__init__.py" in listed
    assert [name for name in listed if name.endswith((".jpg", ".png", ".pkl", ".env"))] == []

"""The README and the page on people do what they say: their blocks are run as they stand, on real photos."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
TEXT = README + (ROOT / "docs" / "people.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
MAKE_BLOCKS = [b for b in BLOCKS if b.startswith("make ")]
PEOPLE = ("Tiger_Woods", "Trent_Lott", "Tim_Henman")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, dev_faces: Path) -> Path:
    """A user's folder: photos, an event, input by years, the scripts, and an activated environment."""
    desk = tmp_path_factory.mktemp("desk")
    for person in PEOPLE[:2]:
        shutil.copytree(dev_faces / "identities" / person, desk / "photos" / person)
    shutil.copytree(dev_faces / "group_photos" / "bbt", desk / "event")
    for year, person in zip((2017, 2008, 2019, 2007, 2013, 2006), PEOPLE * 2, strict=True):
        photos = sorted((dev_faces / "identities" / person).iterdir())
        folder = desk / "input" / str(year)
        folder.mkdir(parents=True)
        for photo in photos[: len(photos) // 2] if year > 2010 else photos[len(photos) // 2 :]:
            shutil.copy2(photo, folder)
    shutil.copytree(ROOT / "scripts", desk / "scripts")
    activate = desk / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    return desk


def test_blocks_run_in_order(desk: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("GPU_ID", "FACE_ORGANIZER_DEVICES")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    for block in BLOCKS:
        if block in MAKE_BLOCKS:
            continue
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=desk,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, f"{block}\n{ran.stdout}\n{ran.stderr}"
    people = sorted(p.name for p in (desk / "people").iterdir() if p.is_dir() and p.name.startswith("person"))
    assert people == ["person_A", "person_B"]
    sorted_files = {f.name for f in (desk / "people" / "person_A").iterdir()}
    assert len({name.rpartition("_")[0] for name in sorted_files}) == 1, "person_A holds two people"
    assert sum(1 for f in (desk / "clustered_faces").glob("[pu]*/*")) == sum(
        1 for f in (desk / "input").rglob("*.jpg")
    )
    assert [p.name for p in (desk / "event_people").iterdir()] == [".face-organizer"], "names alone stay"
    in_table = [f for year in (2017, 2008, 2019) for f in (desk / "input" / str(year)).glob("*.jpg")]
    assert len(list((desk / "men").glob("*.jpg"))) > 0.9 * len(in_table), "all three are men"
    assert (desk / "faces_female" / "2019" / "gender.csv").is_file()
    assert (desk / "faces.faces" / "meta.json").is_file()


@pytest.mark.parametrize("block", MAKE_BLOCKS)
def test_make_blocks_name_targets_that_ci_runs(block: str) -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    for command in block.strip().splitlines():
        planned = subprocess.run(
            ["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True
        )
        assert planned.returncode == 0, planned.stderr
        assert command in ci, f"{command} is in the README and CI does not run it"


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link

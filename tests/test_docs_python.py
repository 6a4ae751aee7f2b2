"""docs/python.md does what it says: its blocks are run as they stand, in order, on real photos."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "python.md").read_text("utf-8")
BLOCKS = re.findall(r"^<!-- run -->\n```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == TEXT.count("```python")


def test_from_photos_to_people_takes_less_than_fifteen_lines() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line]) < 15


def test_the_blocks_run_in_order(tmp_path: Path, dev_faces: Path) -> None:
    for person in ("Tiger_Woods", "Trent_Lott", "Laura_Bush"):
        shutil.copytree(dev_faces / "identities" / person, tmp_path / "photos" / person)
    body = "\n".join(f"    {line}".rstrip() for line in "\n".join(BLOCKS).splitlines())
    (tmp_path / "walk.py").write_text(f'if __name__ == "__main__":\n{body}\n', "utf-8")
    ran = subprocess.run(
        [sys.executable, "walk.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 people" in ran.stdout
    assert re.search(r"^1 not-there\.pkl: cannot be read", ran.stdout, re.MULTILINE)
    assert not (tmp_path / "people").exists(), "undo left its folder behind"
    assert (tmp_path / "found" / "report.xlsx").is_file()
    assert any((tmp_path / "women").glob("*.jpg"))


def test_a_name_that_is_not_offered_says_what_is() -> None:
    import face_organizer as fo

    with pytest.raises(AttributeError, match=r"it offers .*embed"):
        fo.emebd  # noqa: B018

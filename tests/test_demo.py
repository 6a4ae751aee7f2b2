"""`make demo`: real faces of installed packages, through the real networks, into the right folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from face_organizer.cli import demo


def test_demo_sorts_every_person_into_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(tmp_path / "demo") == 0
    folders = sorted((tmp_path / "demo" / "people").glob("person_*/"))
    assert [len(list(folder.iterdir())) for folder in folders] == [demo.PHOTOS_EACH] * 8
    assert "98 pictures = 96 sorted + 2 no face" in capsys.readouterr().out
    photos = {p.read_bytes() for p in (tmp_path / "demo" / "photos").rglob("*.jpg")}
    copies = [p.read_bytes() for folder in folders for p in folder.iterdir()]
    assert len(copies) == len(set(copies))
    assert set(copies) <= photos

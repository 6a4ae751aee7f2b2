"""`make demo`: real faces of installed packages, through the real networks, into the right folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from face_organizer.cli import demo, group, run


def test_demo_sorts_every_person_into_one_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(group, ["demo", str(tmp_path / "demo")]) == 0
    folders = sorted((tmp_path / "demo" / "people").glob("person_*/"))
    assert [len(list(folder.iterdir())) for folder in folders] == [demo.PHOTOS_EACH] * 8
    assert "98 pictures = 96 sorted + 2 no face" in capsys.readouterr().out
    photos = {p.read_bytes() for p in (tmp_path / "demo" / "photos").rglob("*.jpg")}
    copies = [p.read_bytes() for folder in folders for p in folder.iterdir()]
    assert len(copies) == len(set(copies))
    assert set(copies) <= photos


def test_without_insightface_the_other_faces_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """… into the folder of an earlier demo."""
    monkeypatch.setattr(demo, "PEOPLE", ("no_such_package/x.jpg", *demo.PEOPLE[2:]))
    monkeypatch.setattr(demo, "PHOTOS_EACH", 3)
    for _ in range(2):
        assert run(group, ["demo", str(tmp_path / "demo")]) == 0
    (folder,) = (tmp_path / "demo" / "people").glob("person_*/")
    assert len(list(folder.iterdir())) == 3


def test_nothing_but_an_earlier_demo_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"mine")
    assert run(group, ["demo", str(tmp_path)]) == 2
    assert "not from an earlier demo" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.jpg"]


def test_without_any_face_there_is_no_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PEOPLE", ("no_such_package/x.jpg",))
    assert run(group, ["demo", str(tmp_path / "demo")]) == 1
    assert "neither insightface nor scikit-image" in capsys.readouterr().err

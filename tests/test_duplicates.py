"""Pictures that are there twice: exact and near, and nothing that is not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from households import Household, face_of, photo
from shell import here

import face_organizer as fo
from face_organizer import table
from face_organizer.duplicates import hashed


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, dev_faces: Path) -> Path:
    """Twenty portraits, six of them again as copies, recompressed, halved and cropped, and their table."""
    root = tmp_path_factory.mktemp("album")
    photos = root / "photos"
    photos.mkdir()
    sources = sorted((dev_faces / "identities").glob("*/*.jpg"))[::7][:20]
    for i, source in enumerate(sources):
        shutil.copyfile(source, photos / f"{i:02d}.jpg")
    for i in range(6):
        picture = cv2.imread(str(photos / f"{i:02d}.jpg"))
        assert picture is not None
        height, width = picture.shape[:2]
        shutil.copyfile(photos / f"{i:02d}.jpg", photos / f"{i:02d} copy.jpg")
        cv2.imwrite(str(photos / f"{i:02d} small.jpg"), cv2.resize(picture, (width // 2, height // 2)))
        cv2.imwrite(str(photos / f"{i:02d} worse.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 50])
        cut = picture[height // 100 : -height // 100, width // 100 : -width // 100]
        cv2.imwrite(str(photos / f"{i:02d} cut.jpg"), cut)
    assert here("embed", "-i", photos, "-o", root / "faces.pkl", "--pack", "opencv").code == 0
    return root


def test_copies_and_near_ones_are_found_and_others_are_not(album: Path) -> None:
    done = here("duplicates", "-e", album / "faces.pkl", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    groups: dict[int, set[str]] = {}
    for line in told["groups"]:
        groups.setdefault(line["group"], set()).add(Path(line["picture"]).name[:2])
    assert all(len(names) == 1 for names in groups.values()), "no two pictures are taken for one"
    assert len(groups) == 6
    assert told["others"] >= 22, "of 24"
    best = [Path(line["picture"]).name for line in told["groups"] if line["best"]]
    assert not any("small" in name for name in best)
    exact = json.loads(here("duplicates", "-e", album / "faces.pkl", "--kind", "exact", "--json").out)
    assert (exact["others"], exact["near"]) == (6, 0)


def test_the_others_are_moved_away_and_brought_back(album: Path, tmp_path: Path) -> None:
    shutil.copytree(album / "photos", tmp_path / "photos")
    before = sorted(p.name for p in (tmp_path / "photos").iterdir())
    assert here("embed", "-i", tmp_path / "photos", "-o", tmp_path / "f.pkl", "--pack", "opencv").code == 0
    shown = here("duplicates", "-e", tmp_path / "f.pkl", "-o", tmp_path / "others", "--dry-run")
    assert "Dry run" in shown.out
    assert not (tmp_path / "others").exists()
    assert here("duplicates", "-e", tmp_path / "f.pkl", "-o", tmp_path / "others").code == 0
    left = sorted(p.name for p in (tmp_path / "photos").iterdir())
    assert len(left) + len(list((tmp_path / "others").glob("*.jpg"))) == len(before)
    assert (tmp_path / "others" / "duplicates.csv").is_file()
    assert table.read(tmp_path / "f.pkl").total_files == len(left)
    assert "0 groups" in here("duplicates", "-e", tmp_path / "f.pkl").out
    assert here("undo", tmp_path / "others").code == 0
    assert sorted(p.name for p in (tmp_path / "photos").iterdir()) == before


def test_names_of_one_file_are_no_copies(tmp_path: Path) -> None:
    home = Household(tmp_path)
    (first, *_) = home.photos("ann", 1)
    os.link(first, home.inbox / "link.jpg")
    os.symlink(first, home.inbox / "symlink.jpg")
    shutil.copyfile(first, home.inbox / "copy.jpg")
    home.embed()
    found = fo.duplicates(table.read(home.table), kind="exact")
    assert [len(group.others) for group in found.groups] == [1]
    (home.inbox / "copy.jpg").unlink()
    done = here("duplicates", "-e", home.table, "--kind", "exact")
    assert (done.code, "copy.jpg: No such file" in done.err) == (3, True)


def test_portraits_of_one_layout_are_not_one_picture(tmp_path: Path) -> None:
    """Two people before the same wall: the hashes agree, the faces do not."""
    home = Household(tmp_path)
    wall = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for i, who in enumerate(("ann", "bob")):
        photo(home.inbox / f"{who}.jpg", who)
        wall[0, 0] = i
        cv2.imwrite(str(home.root / f"{who}.png"), wall)
    home.embed()
    made = table.read(home.table)
    walls = [hashed(str(home.root / f"{who}.png")).tolist() for who in ("ann", "bob")]
    assert walls[0] == walls[1]
    places = {str(home.inbox / f"{who}.jpg"): str(home.root / f"{who}.png") for who in ("ann", "bob")}
    assert fo.duplicates(table.relocate(made, places)).groups == []
    assert float(face_of("ann") @ face_of("bob")) < 0.5


def test_three_copies_are_no_person_of_three_faces(tmp_path: Path) -> None:
    home = Household(tmp_path)
    home.photos("ann", 3)
    home.photos("bob", 1)
    for i in range(2):
        shutil.copyfile(home.inbox / "bob-0.jpg", home.inbox / f"bob-copy-{i}.jpg")
    home.cluster()
    assert sorted(home.folders()) == ["person_A", "unassigned"]
    assert len(home.folders()["unassigned"]) == 3

"""What a stranger meets in the first hour: every case that was a fault once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_rgb

import face_organizer as fo
from face_organizer.types import Image, Outcome


@pytest.fixture(scope="module")
def portraits(dev_faces: Path) -> list[Image]:
    return [read_rgb(path) for path in sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[:8]]


def save(path: Path, picture: Image) -> Path:
    assert cv2.imwrite(str(path), picture[..., ::-1])
    return path


# --- one way of looking for all ---


def test_diagnose_takes_the_widest_pictures_and_videos(
    portraits: list[Image], dev_faces: Path, tmp_path: Path
) -> None:
    """A picture wider than some decoders take costs the others nothing, and a video is looked at."""
    wide = np.full((400, 40_000, 3), 130, np.uint8)
    wide[80:330, 30_000:30_250] = portraits[0]
    clip = next((dev_faces / "video").glob("*.mp4"))
    files = [save(tmp_path / "wide.png", wide), save(tmp_path / "usual.png", portraits[1]), clip]
    found = fo.diagnose(files, backends=["yunet"], device="cpu")
    found.draw(tmp_path)
    assert all(len(one.findings["ours:yunet"].found.faces) for one in found.pictures)


def test_diagnose_looks_as_embed_did(portraits: list[Image], tmp_path: Path) -> None:
    """What `embed` calls too small is not said to be found."""
    photo = save(tmp_path / "a.png", portraits[0])
    table = tmp_path / "t.pkl"
    made = fo.embed([photo], table, min_face_size=200, device="cpu")
    assert made.files.outcome.tolist() == [Outcome.TOO_SMALL]
    (usual,) = fo.diagnose([photo], backends=["yunet"], device="cpu").pictures
    (as_made,) = fo.diagnose([photo], backends=["yunet"], device="cpu", table=table).pictures
    assert (usual.missed_by, as_made.missed_by) == ([], ["ours:yunet"])
    assert "--min-face-size 5" in as_made.findings["ours:yunet"].tried

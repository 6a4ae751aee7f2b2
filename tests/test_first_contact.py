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


# --- search in a small collection of groups ---


@pytest.mark.slow
def test_six_people_on_fifty_group_photos(dev_faces: Path, tmp_path: Path) -> None:
    """Three references each, of which two show somebody else too."""
    people = sorted((dev_faces / "identities").iterdir(), key=lambda p: (-len(list(p.iterdir())), p.name))
    faces = {p.name: [read_rgb(path) for path in sorted(p.iterdir())] for p in people[:20]}
    chosen, others = list(faces)[:6], [f for name in list(faces)[6:] for f in faces[name]]
    references, left = tmp_path / "refs", []
    for n, name in enumerate(chosen):
        (references / name).mkdir(parents=True)
        alone, *beside = faces[name][:3]
        save(references / name / "alone.png", alone)
        for k, face in enumerate(beside):
            pair = [face, others[7 * n + k]][:: 1 if k else -1]
            save(references / name / f"group{k}.png", np.hstack(pair))
        left += [(name, face) for face in faces[name][3:18]]
    event, truth = tmp_path / "event", {}
    event.mkdir()
    random = np.random.default_rng(3)
    order = random.permutation(len(left))
    for number, start in enumerate(range(0, len(left), 2)):
        on = [left[i] for i in order[start : start + 2]]
        path = save(event / f"{number:03}.png", np.hstack([*(f for _, f in on), others[60 + number]]))
        truth[str(path)] = {name for name, _ in on}
    assert 30 <= len(truth) <= 60
    table = fo.embed([event], faces="all", device="cpu")
    found = fo.search(table, references, device="cpu")
    said = [(one.name, path) for one in found.persons for path, match in one.photos().items() if match]
    right = [name in truth[path] for name, path in said]
    wanted = sum(len(names) for names in truth.values())
    assert sum(right) == len(right), [s for s, r in zip(said, right, strict=True) if not r]
    assert sum(right) >= 0.9 * wanted, (sum(right), wanted)
    assert not [r for one in found.persons for r in one.profile.references if r.reason]

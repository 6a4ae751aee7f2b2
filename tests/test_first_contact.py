"""What a stranger meets in the first hour: every case that was a fault once."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import making_tables
import numpy as np
import pytest
from conftest import read_rgb
from shell import here

import face_organizer as fo
from face_organizer.files import by_name
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


# --- one call, and words ---


@pytest.fixture(scope="module")
def celebrities(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five people, 40 photos, one without a face, one reference folder per two of them."""
    place = tmp_path_factory.mktemp("sort")
    for person in sorted((dev_faces / "celeb5").iterdir()):
        for path in sorted(person.iterdir())[:8]:
            (place / "photos").mkdir(exist_ok=True)
            shutil.copyfile(path, place / "photos" / f"{person.name}_{path.name}")
    for name in ("elton_john", "madonna"):
        (place / "refs" / name).mkdir(parents=True)
        for path in sorted((dev_faces / "celeb5" / name).iterdir())[8:11]:
            shutil.copyfile(path, place / "refs" / name / path.name)
    save(place / "photos" / "empty.png", np.full((300, 300, 3), 120, np.uint8))
    return place


def pictures_in(folder: Path) -> dict[str, set[str]]:
    return {
        p.name: {one.name for one in p.iterdir() if one.is_file()}
        for p in folder.iterdir()
        if p.is_dir() and not p.name.startswith(".")
    }


@pytest.mark.slow
def test_sort_in_one_call_and_again(celebrities: Path, tmp_path: Path) -> None:
    photos, people = tmp_path / "photos", tmp_path / "photos" / "people"
    shutil.copytree(celebrities / "photos", photos)
    call = ("sort", photos, people, "--names", celebrities / "refs", "--no-face", "--device", "cpu")
    first = here(*call)
    assert (first.code, first.err.count("Traceback")) == (0, 0)
    folders = pictures_in(people)
    assert folders["no_face"] == {"empty.png"}
    for name in ("elton_john", "madonna"):
        assert {p.split("_")[0] for p in folders[name]} == {name.split("_")[0]}
    # the second day: a correction by hand, new pictures, the same call
    unnamed = max((name for name in folders if name.startswith("person_")), key=lambda n: len(folders[n]))
    (people / unnamed).rename(people / "Ann")
    shutil.copyfile(next((celebrities / "refs" / "madonna").iterdir()), photos / "madonna_new.jpg")
    again = here(*call)
    assert again.code == 0
    assert "41 known already" in again.out
    assert "madonna is known already" in again.out
    after = pictures_in(people)
    assert after["Ann"] >= folders[unnamed]
    assert "madonna_new.jpg" in after["madonna"]
    assert here(*call, "--dry-run", "--json").code == 0
    assert pictures_in(people) == after


@pytest.mark.parametrize("mode", ["copy", "move", "hardlink"])
@pytest.mark.parametrize("is_named", [False, True])
def test_sort_is_taken_back_and_called_again(
    celebrities: Path, tmp_path: Path, mode: str, is_named: bool
) -> None:
    photos, people = tmp_path / "photos", tmp_path / "people"
    shutil.copytree(celebrities / "refs" / "madonna", photos)
    before = sorted(p.name for p in photos.iterdir())
    call = ["sort", photos, people, "--mode", mode, "--device", "cpu"]
    if is_named:
        call += ["--names", celebrities / "refs"]
    assert here(*call).code == 0
    first = pictures_in(people)
    assert first
    back = here("undo", people)
    assert (back.code, back.err) == (0, "")
    assert sorted(p.name for p in photos.iterdir()) == before
    left = {p.name for p in people.rglob("*") if p.is_file()} if people.exists() else set()
    assert left == ({"library.sqlite"} if is_named else set())
    assert here(*call).code == 0
    assert pictures_in(people) == first
    assert here("undo", people, "--forget-names").code == 0
    assert not people.exists()


@pytest.mark.parametrize("command", ["convert", "embed"])
@pytest.mark.parametrize("name", ["a.parquet", "o.txt", "faces", "faces.pkl.gz"])
def test_an_ending_that_is_no_tables_is_refused(tmp_path: Path, command: str, name: str) -> None:
    table = tmp_path / "t.pkl"
    fo.write(making_tables.table_of({"/a.jpg": 1}), table)
    words = (
        ("convert", table, tmp_path / name)
        if command == "convert"
        else ("embed", "-i", tmp_path, "-o", tmp_path / name)
    )
    done = here(*words)
    assert done.code == 2
    assert ".pkl, .pickle, .faces" in done.err
    assert not (tmp_path / name).exists()


def test_near_misses_and_the_wrong_kind_of_folder(tmp_path: Path) -> None:
    table = making_tables.table_of({f"/{i}.jpg": 1 for i in range(6)})
    fo.write(table, tmp_path / "t.pkl")
    people = fo.cluster(table, 2, keep_strangers=True)
    (tmp_path / "people").mkdir()
    people.write(tmp_path / "people", {})
    done = here(
        "search", "-e", tmp_path / "t.pkl", "--from-person", "persn_A", "--people", tmp_path / "people"
    )
    assert done.code == 2
    assert "person_A" in done.err
    done = here("leftovers", "-e", tmp_path / "t.pkl", "--found", tmp_path / "people")
    assert done.code == 2
    assert "the output of `cluster`" in done.err


def test_names_sort_as_people_sort_them() -> None:
    names = ["person_B", "person_AA", "person_Z", "Bob 10", "bob 2", "Ann", "Élan", "zoe"]
    assert sorted(names, key=by_name) == [
        "Ann",
        "bob 2",
        "Bob 10",
        "person_B",
        "person_Z",
        "person_AA",
        "zoe",
        "Élan",
    ]

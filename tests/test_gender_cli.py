"""`face-organizer gender` and `scripts/gender_filter.py` as a user types them, on real photos."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from shell import ROOT, Done, apart, environment, here, python
from test_cli import original_pickle, refused, tree

import face_organizer as fo
from face_organizer.errors import UsageError

WOMEN, MEN = ("Laura_Bush", "Megawati_Sukarnoputri"), ("Tiger_Woods", "Trent_Lott")
EACH = 5


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, dev_faces: Path) -> Path:
    """Two women and two men, five photos each; a file that only says it is a picture, and one of nobody."""
    folder = tmp_path_factory.mktemp("photos")
    for person in WOMEN + MEN:
        for photo in sorted((dev_faces / "identities" / person).iterdir())[:EACH]:
            shutil.copy2(photo, folder)
    (folder / "text.jpg").write_text("no picture")
    nobody = np.full((200, 200, 3), 90, np.uint8)
    save(folder / "wall.png", nobody)
    return folder


def save(path: Path, pixels: np.ndarray) -> None:
    import cv2

    assert cv2.imwrite(str(path), pixels)


@pytest.fixture(scope="module")
def faces(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "faces.pkl"
    assert here("embed", "-i", photos, "-o", path).code == 3
    return path


def rows(output: Path) -> list[dict[str, str]]:
    with open(output / "gender.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pictures(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.suffix in (".jpg", ".png")}


def people(folder: Path) -> Counter[str]:
    return Counter(name.rpartition("_")[0] for name in pictures(folder))


def test_women_and_men(photos: Path, tmp_path: Path) -> None:
    before = tree(photos)
    done = here("gender", "--input", photos, "--output", tmp_path / "women")
    assert done.code == 3, "one file could not be used"
    assert "Model embedded" in done.out
    assert "CC0" in done.out
    assert people(tmp_path / "women") == dict.fromkeys(WOMEN, EACH)
    assert "22 pictures = 10 matched + 10 other + 0 unsure + 1 no face + 1 unreadable" in done.out
    assert "text.jpg: not a picture" in done.err
    found = {Path(row["image_path"]).name: row for row in rows(tmp_path / "women")}
    assert len(found) == 22
    assert found["wall.png"]["verdict"] == "no_face"
    assert found["text.jpg"]["verdict"] == "unreadable"
    assert {row["gender"] for row in found.values()} == {"Woman", "Man", ""}
    here("gender", "--input", photos, "--output", tmp_path / "men", "--gender", "man")
    assert people(tmp_path / "men") == dict.fromkeys(MEN, EACH)
    for name in pictures(tmp_path / "men"):
        assert (tmp_path / "men" / name).read_bytes() == before[name]
    assert tree(photos) == before
    assert here("undo", tmp_path / "men").code == 0
    assert not (tmp_path / "men").exists()


def test_from_a_table_nothing_is_searched_again(photos: Path, faces: Path, tmp_path: Path) -> None:
    here("gender", "--input", photos, "--output", tmp_path / "a")
    done = here("gender", "--embeddings", faces, "--output", tmp_path / "b", "--pack", "no such pack")
    assert done.code == 3, "no pack was needed"
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert pictures(tmp_path / "a") == pictures(tmp_path / "b")
    done = here("gender", "-e", faces, "-i", photos, "-o", tmp_path / "c", "--pack", "no such pack")
    assert rows(tmp_path / "c") == rows(tmp_path / "b")


def test_input_chooses_among_a_table_and_adds_to_it(
    photos: Path, faces: Path, dev_faces: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    photo = next((dev_faces / "identities" / "Nancy_Pelosi").iterdir())
    shutil.copy2(photo, new)
    chosen = sorted(photos.glob("Laura*"))[:2]
    done = here("gender", "-e", faces, "-i", *chosen, new, "-o", tmp_path / "out")
    assert "1 of 3 pictures are in no table" in done.out
    assert pictures(tmp_path / "out") == {photo.name, *(p.name for p in chosen)}


def test_the_loop_over_years_of_the_original(photos: Path, tmp_path: Path) -> None:
    """As its README has it, with paths of this machine."""
    for year, person in ((2006, "Laura"), (2007, "Tiger"), (2008, "Megawati")):
        (tmp_path / "input" / str(year)).mkdir(parents=True)
        for photo in photos.glob(f"{person}*"):
            shutil.copy2(photo, tmp_path / "input" / str(year))
    loop = f"""
for YEAR in 2006 2007 2008; do
  echo "Processing year $YEAR..."
  {sys.executable} {ROOT}/scripts/gender_filter.py \\
    --input input/$YEAR \\
    --output faces_female/$YEAR \\
    --gender Woman
done
"""
    ran = subprocess.run(
        ["bash", "-eu", "-c", loop], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found = {year: len(pictures(tmp_path / "faces_female" / str(year))) for year in (2006, 2007, 2008)}
    assert found == {2006: EACH, 2007: 0, 2008: EACH}
    assert ran.stdout.count("Gender filter complete!") == 3


def test_the_script_says_what_the_command_says(photos: Path, tmp_path: Path) -> None:
    script = python(
        ROOT / "scripts" / "gender_filter.py", "--input", photos, "--output", tmp_path / "out", "--json"
    )
    assert script.code == 3
    result = json.loads(script.out)
    assert result["counts"] == {"matched": 10, "other": 10, "unsure": 0, "no_face": 1, "unreadable": 1}
    assert result["inputs"] == sum(result["counts"].values())
    assert result["folders"] == {"": 10}
    assert result["model"] == "embedded"
    assert [Path(one["path"]).name for one in result["unreadable"]] == ["text.jpg"]


def test_below_the_confidence_it_is_not_guessed(faces: Path, tmp_path: Path) -> None:
    done = here("gender", "-e", faces, "-o", tmp_path / "out", "--min-confidence", "1")
    sure, unsure = pictures(tmp_path / "out"), pictures(tmp_path / "out" / "unsure")
    assert len(sure) + len(unsure) <= 20
    assert len(unsure) > 5
    assert not sure & unsure
    again = here("gender", "-e", faces, "-o", tmp_path / "out", "--min-confidence", "0.5")
    assert "20 judged before" in again.out, "another threshold asks no network"
    assert people(tmp_path / "out") == dict.fromkeys(WOMEN, EACH)
    assert not (tmp_path / "out" / "unsure").exists()
    assert done.code == again.code == 3


def test_a_dry_run_writes_nothing(photos: Path, tmp_path: Path) -> None:
    done = here("gender", "-i", photos, "-o", tmp_path / "out", "--dry-run", "--json")
    assert json.loads(done.out)["folders"] == {"": 10}
    assert list(tmp_path.iterdir()) == []


def test_moved_pictures_stay_moved_on_the_next_call_and_come_back(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine"
    shutil.copytree(photos, mine)
    before = tree(mine)
    words = ["gender", "-i", "mine", "-o", "out", "--mode", "move"]
    for _ in range(3):
        done = here(*words)
        assert "22 pictures = 10 matched + 10 other + 0 unsure + 1 no face + 1 unreadable" in done.out
        assert people(tmp_path / "out") == dict.fromkeys(WOMEN, EACH)
        assert people(mine) == {**dict.fromkeys(MEN, EACH), "": 2}
    shown = json.loads(here(*words, "--dry-run", "--json").out)
    assert (shown["counts"]["matched"], shown["folders"]) == (10, {"": 10}), (
        "they are looked at where they are"
    )
    assert here("undo", tmp_path / "out").code == 0
    assert tree(mine) == before


def test_photos_of_a_person_vote_together(faces: Path, tmp_path: Path) -> None:
    here("cluster", "-e", faces, "-o", tmp_path / "sorted", "-k", "4")
    done = here("gender", "-e", faces, "-o", tmp_path / "out", "--vote-by-person", tmp_path / "sorted")
    assert done.code == 3
    by_person: dict[str, set[str]] = {}
    for row in rows(tmp_path / "out"):
        if row["person"]:
            by_person.setdefault(row["person"], set()).add(row["confidence"] + row["gender"])
    assert len(by_person) == 4
    assert all(len(votes) == 1 for votes in by_person.values())
    refused(
        here("gender", "-e", faces, "-o", tmp_path / "o2", "--vote-by-person", tmp_path), 1, "no result of"
    )


def test_ages_stand_in_the_csv(faces: Path, tmp_path: Path) -> None:
    here("gender", "-e", faces, "-o", tmp_path / "out", "--attributes")
    ages = {Path(row["image_path"]).name: row["age"] for row in rows(tmp_path / "out")}
    assert ages["wall.png"] == ""
    assert 25 < np.median([float(age) for age in ages.values() if age]) < 65
    here("gender", "-e", faces, "-o", tmp_path / "plain")
    assert "age" not in rows(tmp_path / "plain")[0]


def test_any_face_of_a_group(dev_faces: Path, tmp_path: Path) -> None:
    group = dev_faces / "group_photos" / "bbt"
    words = ["gender", "-i", group, "--json", "-o"]
    main = json.loads(here(*words, tmp_path / "main").out)["counts"]
    some = json.loads(here(*words, tmp_path / "any", "--faces", "any").out)["counts"]
    assert sum(main.values()) == sum(some.values())
    assert some["matched"] >= main["matched"]
    assert max(int(row["faces"]) for row in rows(tmp_path / "any")) > 3
    assert max(int(row["faces"]) for row in rows(tmp_path / "main")) == 1


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_links(mode: str, faces: Path, photos: Path, tmp_path: Path) -> None:
    here("gender", "-e", faces, "-o", tmp_path / "out", "--mode", mode)
    name = next(iter(pictures(tmp_path / "out")))
    assert os.path.samefile(tmp_path / "out" / name, photos / name)


# --- from Python


def test_the_front_door(photos: Path, faces: Path, tmp_path: Path) -> None:
    progress: list[tuple[str, int, int]] = []
    found = fo.gender(photos, on_progress=lambda *step: progress.append(step))
    assert found.counts() == {"matched": 10, "other": 10, "unsure": 0, "no_face": 1, "unreadable": 1}
    assert progress[0] == ("find", 0, 22)
    assert {("find", 22, 22), ("judge", 0, 20), ("judge", 20, 20)} <= set(progress)
    assert found.woman.shape == (20,)
    assert (found.used["model"], found.used["searched"], found.used["known"]) == ("embedded", 22, 0)
    same = fo.gender(fo.read(faces), gender="Man", attributes=True)
    np.testing.assert_array_equal(found.woman, same.woman)
    assert np.isfinite(same.judged.age).all()
    assert {one.verdict for one in same.pictures} == {one.verdict for one in found.pictures}
    applied = fo.plan(same, tmp_path / "men", unsure="perhaps").apply()
    assert applied.folders == {"": 10}
    assert people(tmp_path / "men") == dict.fromkeys(MEN, EACH)
    assert [row["verdict"] for row in rows(tmp_path / "men")] == [one.verdict for one in same.pictures]
    voted = fo.gender(fo.read(faces), people=fo.cluster(fo.read(faces), clusters=4))
    assert len(set(voted.persons)) == len(set(voted.woman.tolist())) == 4
    for wrong in ({"gender": "Women"}, {"faces": "all"}, {"min_confidence": 0.4}):
        with pytest.raises(UsageError):
            fo.gender(photos, **wrong)  # type: ignore[arg-type]


# --- mistakes


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-o", "out"], 2, "give --input, --embeddings, or both"),
        (["-i", "nowhere", "-o", "out"], 2, "no such folder"),
        (["-i", "empty", "-o", "out"], 1, "no pictures in"),
        (["-e", "nowhere.pkl", "-o", "out"], 1, "nowhere.pkl"),
        (["-i", "empty"], 2, "--output"),
        (["-i", "empty", "-o", "out", "--gender", "Women"], 2, "--gender"),
        (["-i", "empty", "-o", "out", "--model", "dlib"], 2, "--model"),
        (["-i", "empty", "-o", "out", "--min-confidence", "0.4"], 2, "--min-confidence"),
        (["-i", "empty", "-o", "out", "--min-confidence", "nan"], 2, "--min-confidence"),
        (["-i", "empty", "-o", "out", "--device", "7"], 4, "7"),
        (["-i", "empty", "-o", "out", "--model", "insightface"], 1, "packs pull buffalo_l"),
        (["-i", "empty", "-o", "file"], 2, "is a file"),
        (["-i", "out/in", "-o", "out"], 2, "lies in the output folder"),
        (["-i", "out", "-o", "out"], 2, "lies in the output folder"),
    ],
)
def test_mistakes(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    if words[1].startswith("out"):
        (tmp_path / "out" / "in").mkdir(parents=True)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    refused(here("gender", *words), code, said)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before, "nothing is left behind"


def test_a_table_of_the_original_script_tells_no_places(photos: Path, tmp_path: Path) -> None:
    path = original_pickle(tmp_path / "old.pkl", np.ones((1, 4)), [str(next(photos.glob("*.jpg")))])
    refused(here("gender", "-e", path, "-o", tmp_path / "out"), 1, "does not say where the faces are")


def test_pictures_of_the_table_that_lie_in_the_output(faces: Path, photos: Path) -> None:
    before = tree(photos)
    refused(here("gender", "-e", faces, "-o", photos), 2, "lies in the output folder")
    assert tree(photos) == before


def test_pictures_that_are_gone(photos: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(photos, mine)
    here("embed", "-i", mine, "-o", tmp_path / "faces.pkl")
    first = sorted(mine.glob("Laura*"))[0]
    first.unlink()
    done = here("gender", "-e", tmp_path / "faces.pkl", "-o", tmp_path / "out")
    assert done.code == 3
    assert f"{first.name}: no such file" in done.err
    assert "9 matched + 10 other + 0 unsure + 1 no face + 2 unreadable" in done.out


def test_two_pictures_of_one_name(photos: Path, tmp_path: Path) -> None:
    for year in ("2016", "2017"):
        (tmp_path / year).mkdir()
    a, b = sorted(photos.glob("Laura*"))[:2]
    shutil.copy2(a, tmp_path / "2016" / "a.jpg")
    shutil.copy2(b, tmp_path / "2017" / "a.jpg")
    here("gender", "-i", tmp_path / "2016", tmp_path / "2017", "-o", tmp_path / "out")
    assert pictures(tmp_path / "out") == {"a.jpg", "a_1.jpg"}


def test_killed_and_called_again(dev_faces: Path, tmp_path: Path) -> None:
    """SIGKILL while it judges; the same call comes to the same result and asks less."""
    table = tmp_path / "faces.pkl"
    assert here("embed", "-i", dev_faces / "utkface", "-o", table, "-q").code == 0
    words = ["gender", "-e", table, "--workers", "1", "--json", "-q", "-o"]
    whole = json.loads(here(*words, tmp_path / "whole").out)
    command = [sys.executable, "-m", "face_organizer", *map(str, words), str(tmp_path / "killed")]
    child = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = tmp_path / "killed" / ".face-organizer" / "gender.jsonl"
    while child.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 40):
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    again = json.loads(here(*words, tmp_path / "killed").out)
    assert again["known"] >= 32
    assert again["counts"] == whole["counts"]
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


def test_help_in_the_overview_and_alone() -> None:
    done: Done = apart("gender", "--help")
    assert done.code == 0
    for word in ("--vote-by-person", "--min-confidence", "unsure", "docs/gender.md"):
        assert word in done.out

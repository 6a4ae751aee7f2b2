"""`face-organizer faceset` as a user types it, on real crops, photos and a film."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from browsing import needs_browser, opened
from conftest import ROOT, read_rgb
from shell import Done, here, python

import face_organizer as fo
from face_organizer.types import FaceTable

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def crops(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FaceSwap crops of four people, sorted: faces.pkl and people/."""
    source, place = shared / "data" / "crops" / "faceswap_written", tmp_path_factory.mktemp("crops")
    for path in sorted(source.glob("*/*.png")):
        target = place / "crops" / f"{path.parent.name}_{path.name}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    assert here("embed", "-i", place / "crops", "-o", place / "faces.pkl", "--device", "cpu").code == 0
    assert here("cluster", "-e", place / "faces.pkl", "-o", place / "people", "-k", "4", "-q").code == 0
    return place


def faceset(place: Path, *words: str | Path) -> Done:
    return here("faceset", "-e", place / "faces.pkl", "--people", place / "people", *words)


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and ".face-organizer" not in p.parts
    }


def test_a_set_of_crops_byte_for_byte_again_and_back(crops: Path, tmp_path: Path) -> None:
    output, before = tmp_path / "sets" / "A", files(crops / "crops")
    done = faceset(crops, "--person", "person_A", "-o", output, "-n", "5")
    assert done.code == 0
    assert "5 of 10 faces chosen" in done.out
    made = files(output)
    pngs = {name for name in made if name.endswith(".png") and name != "faceset.png"}
    assert len(pngs) == 5
    assert all(made[name] == before[name] for name in pngs)
    with (output / "faceset.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["chosen"] for row in rows] == [*"12345", *[""] * 5]
    assert {row["placed"] for row in rows[:5]} == pngs
    assert all(row["why"] and row["sharpness"] and row["yaw"] for row in rows)
    assert read_rgb(output / "faceset.png").shape[1] > 800
    # again: the same set; another size: no leftovers; back: nothing is left
    assert faceset(crops, "--person", "person_A", "-o", output, "-n", "5").code == 0
    assert files(output) == made
    assert faceset(crops, "--person", "person_A", "-o", output, "-n", "3").code == 0
    assert len([name for name in files(output) if name.endswith(".png")]) == 4
    assert here("undo", output).code == 0
    assert not output.exists()
    assert files(crops / "crops") == before


def test_two_persons_in_pairs_and_a_page_that_opens(crops: Path, tmp_path: Path) -> None:
    done = faceset(
        crops, "--person", "person_A", "--against", "person_B", "-o", tmp_path / "sets", "-n", "6", "--json"
    )
    assert done.code == 0
    told = json.loads(done.out)
    counts = [one["chosen"] for one in told["members"]]
    assert counts[0] == counts[1] >= 4
    for name, count in zip(("person_A", "person_B"), counts, strict=True):
        assert len(list((tmp_path / "sets" / name).glob("*.png"))) == count
    page = (tmp_path / "sets" / "faceset.html").read_text()
    for line in told["missing"]:
        assert line.replace("'", "&#39;") in page
    assert not re.search(r"(src|href)=\"?https?:", page)


@needs_browser
def test_the_page_in_a_browser(crops: Path, tmp_path: Path) -> None:
    assert faceset(crops, "--person", "person_A", "--against", "person_B", "-o", tmp_path / "sets").code == 0
    page = tmp_path / "sets" / "faceset.html"
    done = opened(page, tmp_path / "profile")
    assert not re.search(r"Refused|Uncaught|ERR_", done.stderr)
    assert "person_A and person_B" in done.stdout
    links = re.findall(r'<a href="((?:person_A|person_B)/[^"]+)"', done.stdout)
    assert links
    assert all((page.parent / link).is_file() for link in links)


def test_what_cannot_be_asked_for(crops: Path, tmp_path: Path) -> None:
    words = ("--person", "person_A", "-o", tmp_path / "x")
    for more, code, told in (
        (("--person", "persn_A", "-o", tmp_path / "x"), 2, "did you mean person_A"),
        ((*words, "--against", "person_A"), 2, "two persons are needed"),
        ((*words, "--against", "person_B", "--for", "swap"), 2, "a swapper takes one"),
        ((*words, "--size", "0"), 2, "--size"),
        ((*words, "--extract", "20"), 2, "--extract"),
        ((*words, "--extract", "128", "--mode", "move"), 2, "nothing to move"),
        ((*words, "--library", tmp_path / "lib"), 2, "--people"),
        ((*words, "--min-sharpness", "nan"), 2, "not a number"),
        ((*words, "--min-sharpness", "2"), 1, "10 blurred"),
        (("--person", "person_A", "--dry-run"), 2, "--output"),
    ):
        done = faceset(crops, *more)
        assert (done.code, told in done.err) == (code, True), (more, done.err)
    assert not (tmp_path / "x").exists()
    assert here("faceset", "-e", crops / "faces.pkl", "--person", "person_A").code == 2
    other = tmp_path / "other.pkl"
    fo.write(fo.read(crops / "faces.pkl").take_files(np.arange(40) < 0), other)
    assert here("faceset", "-e", other, "--people", crops / "people", "--person", "person_A").code == 2


def test_a_dry_run_and_a_run_without_output_write_no_set(crops: Path, tmp_path: Path) -> None:
    done = faceset(crops, "--person", "person_A", "-n", "4", "-o", tmp_path / "x", "--dry-run")
    assert done.code == 0
    assert "4 images" in done.out
    assert faceset(crops, "--person", "person_A", "-n", "4").code == 0
    assert not (tmp_path / "x").exists()


def test_the_library_names_persons_too(crops: Path, tmp_path: Path) -> None:
    people = crops / "people"
    with fo.Library(people) as library:
        library.name("person_A", "Ann")
    try:
        done = here(
            "faceset", "-e", crops / "faces.pkl", "--library", people, "--person", "Ann", "-o", tmp_path / "s"
        )
        assert "Ann: 10 of 10 faces chosen" in done.out
        done = here("faceset", "-e", crops / "faces.pkl", "--library", people, "--person", "Bob")
        assert (done.code, "nobody is called Bob" in done.err) == (2, True)
    finally:
        with fo.Library(people) as library:
            library.undo()


def test_what_a_swapper_loads(crops: Path, tmp_path: Path) -> None:
    assert faceset(crops, "--person", "person_A", "--for", "swap", "-o", tmp_path / "s", "-n", "6").code == 0
    with zipfile.ZipFile(tmp_path / "s" / "person_A.fsz") as archive:
        names = archive.namelist()
        faces = [cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 1) for name in names]
    assert names == [f"{i}.png" for i in range(6)]
    assert {face.shape for face in faces if face is not None} == {(512, 512, 3)}
    # embeddings of this pack are not those that inswapper takes
    assert not (tmp_path / "s" / "person_A.json").exists()


def test_embeddings_for_inswapper_where_they_fit(crops: Path, tmp_path: Path) -> None:
    table = fo.read(crops / "faces.pkl")
    assert table.stamp
    as_if = {**vars_of(table.stamp), "embedder": "w600k_r50.onnx"}
    fo.write(
        FaceTable(table.embeddings, table.faces, table.files, type(table.stamp)(**as_if)), tmp_path / "t.pkl"
    )
    done = here(
        "faceset", "-e", tmp_path / "t.pkl", "--people", crops / "people", "--person", "person_A",
        "--for", "swap", "-o", tmp_path / "s",
    )  # fmt: skip
    assert done.code == 0
    (one,) = json.loads((tmp_path / "s" / "person_A.json").read_text())
    vector = np.array(one["embedding_store"]["Inswapper128ArcFace"])
    line = (tmp_path / "s" / "person_A.txt").read_text()
    assert line.startswith("Name: person_A, ")
    assert np.allclose(np.array(line.partition(", ")[2].split(), float), vector)
    own = table.embeddings[
        [i for i, p in enumerate(table.face_paths()) if Path(p).name in files(crops / "people" / "person_A")]
    ]
    assert (own @ (vector / np.linalg.norm(vector))).min() > 0.5


def vars_of(stamp: object) -> dict[str, object]:
    return {name: getattr(stamp, name) for name in type(stamp).__slots__}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def mixed(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of one person and a film of another."""
    place = tmp_path_factory.mktemp("mixed")
    shutil.copytree(dev_faces / "celeb5" / "madonna", place / "photos")
    shutil.copyfile(next((dev_faces / "video").glob("*.mp4")), place / "photos" / "film.mp4")
    call = ("embed", "-i", place / "photos", "-o", place / "faces.pkl", "--fps", "5", "--device", "cpu")
    assert here(*call).code == 0
    assert here("cluster", "-e", place / "faces.pkl", "-o", place / "people", "-k", "2", "-q").code == 0
    return place


def test_crops_are_cut_out_of_photos_and_films(mixed: Path, tmp_path: Path) -> None:
    people = {p.name: len(list(p.glob("*.mp4"))) for p in (mixed / "people").iterdir() if p.is_dir()}
    film = next(name for name, films in people.items() if films)
    other = next(name for name in people if name != film and name.startswith("person_"))
    done = faceset(mixed, "--person", film, "-o", tmp_path / "whole")
    assert (done.code, "--extract 512 cuts" in done.err) == (2, True)
    for name in (film, other):
        output = tmp_path / name
        done = faceset(mixed, "--person", name, "-o", output, "--extract", "256", "-n", "6")
        assert done.code == 0, done.err
        pngs = sorted(p for p in output.glob("*.png") if p.name != "faceset.png")
        assert pngs
        assert {read_rgb(p).shape for p in pngs} == {(256, 256, 3)}
        again = fo.embed(pngs, tmp_path / f"{name}.pkl", device="cpu")
        assert len(again) == len(pngs)  # each shows a face, in the middle, of a size that FaceSwap's have
        assert np.abs(again.faces.landmarks.mean(axis=(0, 1)) - 128).max() < 30
        with (output / "faceset.csv").open(newline="") as file:
            placed = {row["placed"] for row in csv.DictReader(file)} - {""}
        assert placed == {p.name for p in pngs}
        before = files(output)
        assert faceset(mixed, "--person", name, "-o", output, "--extract", "256", "-n", "6").code == 0
        assert files(output) == before
        assert here("undo", output).code == 0
        assert not output.exists()
    pair = tmp_path / "pair"
    done = faceset(mixed, "--person", film, "--against", other, "-o", pair, "--extract", "128")
    assert done.code == 0
    assert here("undo", pair).code == 0
    assert not pair.exists()


def test_adults_only_leaves_out_who_is_not_surely_one(mixed: Path) -> None:
    done = faceset(mixed, "--person", "person_A", "--adults-only", "--json", "--min-sharpness", "0")
    told = json.loads(done.out) if done.code == 0 else {}
    plain = json.loads(faceset(mixed, "--person", "person_A", "--json", "--min-sharpness", "0").out)
    if told:
        fit = told["members"][0]["fit"]
        assert (
            fit + told["members"][0]["left_out"].get("not surely an adult", 0) == plain["members"][0]["fit"]
        )
    else:
        assert "not surely an adult" in done.err


def test_children_are_left_out(dev_faces: Path, tmp_path: Path) -> None:
    """UTKFace's ages are known: hardly any face below 18 may pass as an adult's, and unknown ones never."""
    paths = sorted((dev_faces / "utkface").glob("*"))
    ages = {p: int(p.name.split("_")[0]) for p in paths}
    young = [p for p in paths if ages[p] <= 20][:30]
    old = [p for p in paths if ages[p] >= 45][:30]
    table = fo.embed([*young, *old], tmp_path / "t.pkl", device="cpu")
    from face_organizer.faceset.adults import adults
    from face_organizer.faceset.worth import Worth

    names = {str(p) for p in young}
    rows = np.flatnonzero([path in names for path in table.face_paths()])
    older = np.setdiff1d(np.arange(len(table)), rows)
    one = np.ones(1, np.float32)
    kept = {}
    for name, some in (("young", rows), ("old", older)):
        left = adults(table, some, Worth({}, np.repeat(one, len(some)), [""] * len(some)), "cpu").left_out
        kept[name] = left.count("") / len(some)
    assert kept["old"] > 0.8
    assert kept["young"] == 0  # their median is too low for any to pass


def test_the_script_and_a_kill(crops: Path, tmp_path: Path) -> None:
    """`scripts/training_set.py`, killed while it measures and places, ends as if it had not been."""
    call = [
        str(ROOT / "scripts" / "training_set.py"), "--embeddings", str(tmp_path / "faces.pkl"), "--people",
        str(crops / "people"), "--person", "person_A", "--output", str(tmp_path / "set"), "--size", "6",
    ]  # fmt: skip
    shutil.copyfile(crops / "faces.pkl", tmp_path / "faces.pkl")
    assert python(*call).code == 0
    whole = files(tmp_path / "set")
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "faces.figures").unlink()
    for seconds in (0.5, 1.0, 1.5, 2.0):
        process = subprocess.Popen(
            [sys.executable, *call], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert python(*call).code == 0
    assert files(tmp_path / "set") == whole


def test_forgetting_a_person_reaches_the_sets(crops: Path, tmp_path: Path) -> None:
    place = tmp_path / "all"
    shutil.copytree(crops, place, ignore=shutil.ignore_patterns("people", "*.figures", ".face-organizer"))
    assert here("embed", "-i", place / "crops", "-o", place / "faces.pkl", "-q").code == 0
    assert here("cluster", "-e", place / "faces.pkl", "-o", place / "people", "-k", "4", "-q").code == 0
    assert faceset(place, "--person", "person_A", "-o", place / "set", "-n", "5").code == 0
    assert (place / "faces.figures").exists()
    assert here("people", "forget", place / "people", "person_A", "--yes").code == 0
    assert not (place / "faces.figures").exists()
    assert not any(p.suffix in (".png", ".html", ".csv") for p in (place / "set").rglob("*"))


def test_columns_for_spreadsheets(crops: Path, tmp_path: Path) -> None:
    table = tmp_path / "faces.pkl"
    call = ("embed", "-i", crops / "crops", "-o", table, "--columns", "quality", "-q")
    assert here(*call).code == here(*call).code == 0
    with (tmp_path / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    made = fo.read(table)
    assert [row["source"] for row in rows] == made.face_paths()
    assert [float(row["sharpness"]) for row in rows] == pytest.approx(made.faces.sharpness.tolist(), abs=1e-3)
    assert {row["score"] for row in rows} == {""}  # not known: they are aligned by their headers
    call = ("cluster", "-e", table, "-o", tmp_path / "people", "-k", "4", "-q", "--columns", "quality")
    assert here(*call).code == 0
    with (tmp_path / "people" / "manifest.csv").open(newline="") as file:
        assert all(row["person"] and row["yaw"] and row["size"] for row in csv.DictReader(file))
    assert "sharpness" in json.loads((tmp_path / "people" / "manifest.json").read_text())["faces"][0]
    (tmp_path / "other.csv").write_text("mine\n")
    done = here("embed", "-i", crops / "crops", "-o", tmp_path / "other.pkl", "--columns", "quality", "-q")
    assert (done.code, (tmp_path / "other.csv").read_text()) == (1, "mine\n")
    assert "holds something else" in done.err
    assert not (tmp_path / "other.pkl").exists()  # it is told before the work

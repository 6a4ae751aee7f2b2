"""`evaluate` and the clustering options of `cluster`, as a user types them."""

from __future__ import annotations

import base64
import csv
import json
import os
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from browsing import needs_browser, opened
from shell import here
from test_people import faces

from face_organizer.evaluate.pairs import AUDIT_COLUMNS, interval

PEOPLE = ["anna"] * 9 + ["bert"] * 6 + ["stranger"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder per person with text files for photos, and a table of their faces."""
    paths = [tmp_path / "photos" / person / f"{i:02}.jpg" for i, person in enumerate(PEOPLE)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    document = {
        "embeddings": faces([9, 6, 1]),
        "image_paths": [str(p) for p in paths],
        "no_face_count": 0,
        "total_images": len(paths),
    }
    (tmp_path / "faces.pkl").write_bytes(pickle.dumps(document, protocol=4))
    return tmp_path


def cluster(place: Path, *options: str | Path, output: str = "people") -> dict[str, object]:
    done = here(
        "cluster", "-e", place / "faces.pkl", "-o", place / output, "--sheets", "0", "--json", *options
    )
    assert done.code == 0, done.err
    result: dict[str, object] = json.loads(done.out)
    return result


def test_auto_and_known_numbers_put_strangers_aside(photos: Path) -> None:
    for options in (["--clusters", "auto"], ["--clusters", "2"]):
        result = cluster(photos, *options)
        assert result["persons"] == {"person_A": 9, "person_B": 6, "unassigned": 1}
        assert 0 < float(str(result["threshold"])) < 0.7
    kept = cluster(photos, "-k", "2", "--keep-strangers")
    assert sum(dict(kept["persons"]).values()) == 16  # type: ignore[call-overload]
    assert "unassigned" not in kept["persons"]  # type: ignore[operator]


def test_a_wrong_number_is_advised_against(photos: Path) -> None:
    done = here("cluster", "-e", photos / "faces.pkl", "-o", photos / "out", "-k", "1", "--sheets", "0")
    said = done.out + done.err
    assert "1 cluster may be the wrong number: 1 more person has at least half as many faces" in said
    assert "try --clusters 2" in said


def test_threshold_and_smallest_size_are_followed(photos: Path) -> None:
    strict = cluster(photos, "-k", "auto", "--threshold", "0.999", "--min-cluster-size", "1")
    assert len(dict(strict["persons"])) == 16  # type: ignore[call-overload]
    large = cluster(photos, "-k", "auto", "--min-cluster-size", "7")
    assert large["persons"] == {"person_A": 9, "unassigned": 7}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-k", "some"], 2),
        (["-k", "0"], 2),
        (["--threshold", "nan"], 2),
        (["--threshold", "2"], 2),
        (["--min-cluster-size", "0"], 2),
        (["--device", "gpu"], 2),
        (["--device", "7"], 4),
        (["--previous", "nowhere"], 1),
    ],
)
def test_what_cannot_be_is_refused_in_words(photos: Path, options: list[str], code: int) -> None:
    done = here("cluster", "-e", photos / "faces.pkl", "-o", photos / "out", *options)
    assert done.code == code
    assert options[0] in done.err or options[1] in done.err
    assert not (photos / "out").exists()


def test_a_renamed_folder_names_its_person_in_the_next_result(photos: Path) -> None:
    cluster(photos, "-k", "auto")
    os.rename(photos / "people" / "person_B", photos / "people" / "Bert")
    again = cluster(photos, "-k", "auto", "--previous", photos / "people", output="more")
    assert again["persons"] == {"person_A": 9, "Bert": 6, "unassigned": 1}
    assert again["previous"] == {"shared": 16, "moved": 0, "moved_share": 0.0, "gone": []}
    # Even a call that would take Bert for a small group leaves him whole.
    small = cluster(
        photos, "-k", "auto", "--min-cluster-size", "7", "--previous", photos / "people", output="less"
    )
    assert small["persons"] == {"person_A": 9, "Bert": 6, "unassigned": 1}


def test_scores_against_folders_and_against_a_list(photos: Path) -> None:
    cluster(photos, "-k", "2")
    by_folder = json.loads(here("evaluate", "-c", photos / "people", "-l", photos / "photos", "--json").out)
    assert (by_folder["judged"], by_folder["people"], by_folder["bcubed_f"]) == (16, 3, 1.0)
    with open(photos / "who.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "person"])
        writer.writerows([f"photos/{p}/{i:02}.jpg", "anna" if i == 9 else p] for i, p in enumerate(PEOPLE))
    listed = here("evaluate", "-c", photos / "people" / "cluster_assignments.pkl", "-l", photos / "who.csv")
    assert "16 of 16 faces have a known person" in listed.out + listed.err
    assert "  anna: F " in listed.out + listed.err
    expected = (9 * 9 + 1) / 100  # recall of anna, ten faces in two places
    assert f"recall {expected:.3f}), 10 faces in 2 places" in listed.out + listed.err


def test_an_audit_is_drawn_answered_and_turned_into_an_interval(photos: Path) -> None:
    cluster(photos, "-k", "2")
    sheet = photos / "audit.csv"
    call = ["evaluate", "-c", photos / "people", "--pairs", sheet]
    assert here(*call, "--audit", "20").code == 0
    assert here(*call, "--audit", "20").code == 2  # never over somebody's answers
    assert "no pair is answered yet" in here(*call, "--answers").err
    with open(sheet, newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(r["kind"] for r in rows) == {"together": 10, "apart": 5, "alone": 5}
    assert {r["person_a"] for r in rows if r["kind"] == "alone"} == {"unassigned"}
    for r in rows:
        same = Path(r["image_a"]).parent == Path(r["image_b"]).parent
        assert same == (r["kind"] == "together")
        assert (r["person_a"] == r["person_b"]) == (r["kind"] == "together")
        r["same"] = "y" if same else "N"
    rows[0]["same"], rows[1]["same"] = "?", ""
    with open(sheet, "w", newline="") as file:
        writer = csv.DictWriter(file, AUDIT_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    found = json.loads(here(*call, "--answers", "--json").out)
    assert (found["precision"]["share"], found["split"]["share"]) == (1.0, 0.0)
    assert found["precision"]["answers"] + found["split"]["answers"] + found["missed"]["answers"] == 18
    assert sum(one["unsure"] for one in found.values()) == sum(one["blank"] for one in found.values()) == 1
    assert 0.6 < found["precision"]["low"] < 0.8
    assert found["precision"]["high"] == 1.0
    sheet.write_text("kind,same\ntogether,perhaps\n")
    assert "line 2: wants y, n or ?" in here(*call, "--answers").err


@needs_browser
def test_the_page_of_an_audit_takes_answers_by_key_and_saves_the_csv(photos: Path) -> None:
    odd = photos / "photos" / "anna" / os.fsdecode(b'"x",\xff<b>.jpg')  # a name that is no text
    os.rename(photos / "photos" / "anna" / "00.jpg", odd)
    document = pickle.loads((photos / "faces.pkl").read_bytes())
    document["image_paths"][0] = str(odd)
    (photos / "faces.pkl").write_bytes(pickle.dumps(document, protocol=4))
    cluster(photos, "-k", "2")
    sheet = photos / "audit.csv"
    call = ["evaluate", "-c", photos / "people", "--pairs", sheet]
    assert here(*call, "--audit", "40").code == 0
    script = """
      for (const key of ["y", "ArrowRight", "n", "?", "ArrowLeft", "ArrowLeft", "y"])
        document.dispatchEvent(new KeyboardEvent("keydown", { key }));
      const tell = bytes => { document.title = btoa(String.fromCharCode(...new Uint8Array(bytes))); };
      csv().arrayBuffer().then(tell);
    """
    done = opened(photos / "audit.html", photos / "profile", script=script)
    assert "CONSOLE" not in done.stderr, done.stderr
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title
    saved = base64.b64decode(title[1])
    before = sheet.read_bytes().split(b"\r\n")
    answers = [b"same", b"y", b"", b"y", b"?", *[b""] * 36]
    assert saved.split(b"\r\n") == [
        before[0],
        *(line + word for line, word in zip(before[1:-1], answers[1:], strict=True)),
        b"",
    ]
    assert "Pair 2 of 40, 3 answered" in done.stdout
    assert b"\xff" in saved
    sheet.write_bytes(saved)
    assert "not answered yet" in here(*call, "--answers").out


def test_an_audit_is_never_written_over_another_page(photos: Path) -> None:
    cluster(photos, "-k", "2")
    (photos / "people" / "index.html").write_text("somebody's")
    done = here(
        "evaluate", "-c", photos / "people", "--audit", "4", "--pairs", photos / "people" / "index.csv"
    )
    assert (done.code, "index.html is there" in done.err) == (2, True)
    assert not (photos / "people" / "index.csv").exists()
    done = here("evaluate", "-c", photos / "people", "--audit", "4", "--pairs", photos / "audit.html")
    assert (done.code, "is to be a CSV" in done.err) == (2, True)


def test_a_result_of_an_earlier_version_is_audited_without_the_unassigned(photos: Path) -> None:
    cluster(photos, "-k", "2")
    place = photos / "people" / "cluster_assignments.pkl"
    document = pickle.loads(place.read_bytes())
    for name in ("landmarks", "time", "nearest"):
        del document[name]
    place.write_bytes(pickle.dumps(document, protocol=4))
    call = ["evaluate", "-c", photos / "people", "--pairs", photos / "audit.csv"]
    assert here(*call, "--audit", "20").code == 0
    with open(photos / "audit.csv", newline="") as file:
        assert Counter(row["kind"] for row in csv.DictReader(file)) == {"together": 10, "apart": 10}


def test_the_interval_is_wilsons() -> None:
    found = interval(9, 1)  # Agresti & Coull 1998: 0.596 to 0.982
    assert np.allclose([found.low, found.high], [0.5958, 0.9821], atol=1e-4)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "one of --labels, --audit and --answers is wanted"),
        (["--labels", "nowhere"], 2, "nowhere is not there"),
        (["--audit", "1"], 2, "--audit"),
        (["--answers", "--pairs", "nowhere.csv"], 1, "nowhere.csv: cannot be read"),
    ],
)
def test_wrong_calls_of_evaluate(photos: Path, words: list[str], code: int, said: str) -> None:
    cluster(photos, "-k", "2")
    done = here("evaluate", "-c", photos / "people", *words)
    assert (done.code, said in done.err) == (code, True), done.err


def test_labels_that_fit_nothing_and_a_result_that_is_none(photos: Path) -> None:
    cluster(photos, "-k", "2")
    (photos / "who.csv").write_text("path,person\nother.jpg,anna\n")
    assert (
        "names none of the 16 faces"
        in here("evaluate", "-c", photos / "people", "-l", photos / "who.csv").err
    )
    (photos / "who.csv").write_text("a,b\n1,2\n")
    assert (
        "line 2: wants a picture" in here("evaluate", "-c", photos / "people", "-l", photos / "who.csv").err
    )
    assert here("evaluate", "-c", photos / "photos", "-l", photos / "photos").code == 1

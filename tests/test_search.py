"""Search: the scan against brute force, thresholds of a known crowd, wrong references, profiles, reports."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from making_tables import stamp, table_of, unit
from numpy.typing import NDArray
from openpyxl.utils import get_column_letter
from shell import here

import face_organizer as fo
from face_organizer import table
from face_organizer.cluster.strangers import crowds_of
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.library import answers
from face_organizer.search import find, match, profiles, workbook
from face_organizer.types import FaceTable

DIM = 64


def near(center: NDArray[np.float32], count: int, seed: int, noise: float = 0.6) -> NDArray[np.float32]:
    """`count` faces of one person."""
    made = center + noise * unit(count, DIM, seed)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)


def profile(name: str, vectors: NDArray[np.float32]) -> profiles.Profile:
    return profiles.Profile(name, vectors, [], stamp(dim=DIM))


def collection(vectors: NDArray[np.float32]) -> FaceTable:
    """A table of these faces, one per picture."""
    return replace(table_of({f"/{i:05}.jpg": 1 for i in range(len(vectors))}, dim=DIM), embeddings=vectors)


def test_the_scan_finds_what_brute_force_finds() -> None:
    crowd = unit(40_000, DIM, 1)  # more than one block
    own = np.random.default_rng(2).choice(len(crowd), 30, replace=False)
    center = unit(1, DIM, 3)
    crowd[own] = near(center, 30, 4)
    one = profile("Anna", near(center, 3, 5))
    found = match.compare(collection(crowd), [one], match.Rules())[0]
    cosines = crowd @ one.center
    expected = np.flatnonzero(cosines >= found.review_threshold)
    assert sorted(found.rows) == expected.tolist()
    assert np.allclose(found.similarity, np.sort(cosines[expected])[::-1], atol=1e-6)
    assert np.allclose(found.best, (crowd[found.rows] @ one.vectors.T).max(axis=1), atol=1e-6)
    assert set(found.matches) == set(np.flatnonzero(cosines >= found.match_threshold))
    assert set(own) <= set(found.matches)


@pytest.mark.parametrize("rate", [1e-2, 1e-3])
def test_as_many_strangers_pass_as_were_asked_for(rate: float) -> None:
    cosines = np.random.default_rng(0).normal(0.1, 0.09, 200_000).astype(np.float32)
    passed = np.mean(cosines >= crowds_of(cosines[:, None])[0].threshold(rate))
    assert rate / 1.5 < passed < rate * 1.5


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.9])
@pytest.mark.parametrize("faces", [60, 1000])
def test_the_person_is_no_part_of_the_crowd_however_often_it_is_there(share: float, faces: int) -> None:
    random = np.random.default_rng(3)
    own = int(share * faces)
    cosines = np.concatenate([random.normal(0.05, 0.09, faces - own), random.normal(0.75, 0.07, own)])
    threshold = crowds_of(cosines.astype(np.float32)[:, None])[0].threshold(2e-6)
    assert 0.38 < threshold < 0.6


def test_a_brother_on_every_sixth_picture_does_not_hide_the_person() -> None:
    random = np.random.default_rng(4)
    cosines = np.concatenate([random.normal(0.15, 0.08, 2800), random.normal(0.47, 0.04, 530)])
    assert crowds_of(cosines.astype(np.float32)[:, None])[0].threshold(2e-6) < 0.75


def test_a_wrong_reference_is_named_and_kept_only_when_asked() -> None:
    crowd, right, wrong = unit(2000, DIM, 1), near(unit(1, DIM, 2), 3, 3), unit(1, DIM, 9)
    given = profiles.Given(np.concatenate([right, wrong]), ["a", "b", "c", "wrong"])
    made = profiles.make("Anna", given, None, crowd)
    assert [r.source for r in made.references if r.reason] == ["wrong"]
    assert np.array_equal(made.vectors, right)
    assert len(profiles.make("Anna", given, None, crowd, keep_outliers=True).vectors) == 4


def test_two_references_that_disagree_are_both_used_and_doubted() -> None:
    made = profiles.make("Anna", profiles.Given(unit(2, DIM, 5), ["a", "b"]), None, unit(2000, DIM, 1))
    assert len(made.vectors) == 2
    assert made.doubts


def test_without_a_usable_reference_the_reasons_are_told() -> None:
    with pytest.raises(FaceOrganizerError, match=r"x\.jpg: no face"):
        profiles.make(
            "Anna",
            profiles.Given(unit(0, DIM), [], [profiles.Reference("x.jpg", "no face")]),
            None,
            unit(9, DIM),
        )


def test_strict_wants_references_to_agree() -> None:
    crowd = unit(5000, DIM, 1)
    crowd[:40] = near(unit(1, DIM, 2), 40, 3, noise=1.0)
    one = profile("Anna", near(unit(1, DIM, 2), 3, 7, noise=1.0))
    plain, strict = (
        match.compare(collection(crowd), [one], match.Rules(strict=strict))[0] for strict in (False, True)
    )
    assert set(strict.matches) < set(plain.matches)
    assert (strict.agree[strict.is_match] >= 2).all()


def test_a_face_is_a_match_of_one_person_only() -> None:
    center = unit(1, DIM, 2)
    brother = near(center, 1, 8, noise=0.4)
    crowd = unit(3000, DIM, 1)
    crowd[:20] = near(center, 20, 3, noise=0.3)
    people = [profile("Anna", center), profile("Ben", brother)]
    anna, ben = match.compare(collection(crowd), people, match.Rules())
    assert not set(anna.matches) & set(ben.matches)
    assert "more like Anna" in ben.reasons


def test_a_profile_comes_back_and_anything_else_is_refused(tmp_path: Path) -> None:
    one = profile("Anna", unit(3, DIM, 1))
    profiles.write(one, tmp_path / "Anna.profile")
    back = profiles.read(tmp_path / "Anna.profile")
    assert np.array_equal(back.vectors, one.vectors)
    assert (back.name, back.stamp) == (one.name, one.stamp)
    for text in (
        b"",
        b"{}",
        b"[" * 100_000,
        b"\x80\x04cos\nsystem\n",
        b'{"format": "face-organizer profile 1"}',
    ):
        (tmp_path / "bad.profile").write_bytes(text)
        with pytest.raises(FaceOrganizerError, match="not a profile"):
            profiles.read(tmp_path / "bad.profile")


NAMES = ("=1+1.jpg", "@cmd.jpg", "http:x.jpg", "1e5", "a\nb.jpg", os.fsdecode(b"\xff.jpg"))


def made_result() -> fo.Found:
    made = table_of({f"/p/{name}": 2 for name in NAMES}, dim=DIM)
    return find.search(made, profiles=[profile("=Anna", made.embeddings[:1])], threshold=0.5)


def test_the_workbook_as_a_second_library_reads_it(tmp_path: Path) -> None:
    found = made_result()
    problems: list[tuple[str, str]] = []
    fo.plan(found, tmp_path, thumbnails=1, on_problem=lambda *problem: problems.append(problem)).apply()
    assert problems == []
    book = openpyxl.load_workbook(tmp_path / "report.xlsx")
    assert book.sheetnames == ["Overview", "Matches", "Review", "Photos", "Settings"]
    assert [sheet.sheet_state for sheet in book] == ["visible"] * 4 + ["hidden"]
    assert {c.data_type for sheet in book for line in sheet.iter_rows() for c in line} <= {"s", "n"}
    assert book["Matches"].freeze_panes == "A2"
    assert book["Matches"].auto_filter.ref
    assert [len(book[name]._images) for name in ("Overview", "Matches", "Photos")] == [1, 1, 1]
    assert all(
        sheet.page_setup.orientation == "landscape" and sheet.page_setup.fitToHeight == 0 for sheet in book
    )
    photos = [row[4] for row in book["Photos"].iter_rows(min_row=2, values_only=True)]
    assert len(photos) == len(set(photos)) >= 1
    assert ("threshold", 0.5) in [row[:2] for row in book["Settings"].iter_rows(values_only=True)]
    assert "Made without a library" in book["Overview"]["A3"].value
    assert "right?" not in [cell.value for cell in book["Matches"][1]], "nobody would read it"


def columns(sheet: Any) -> dict[str, int]:
    """The number, from 1, of each column by its heading."""
    return {str(cell.value): cell.column for cell in sheet[1]}


def test_an_overview_words_in_colour_links_from_the_report_and_technical_columns_folded_away(
    event: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found"
    assert here("search", "-e", event / "event.pkl", "-r", event / "refs", "-o", out).code == 0
    book = openpyxl.load_workbook(out / "report.xlsx")
    lines = list(book["Overview"].iter_rows(values_only=True))
    assert lines[1][0] == f"{date.today()} · 12 photos of 13"
    assert [line[1:4] for line in lines[4:]] == [(name, 6, 0) for name in PEOPLE]
    sheet = book["Matches"]
    at = columns(sheet)
    widths = {name: sheet.column_dimensions[get_column_letter(number)] for name, number in at.items()}
    folded = {name for name, width in widths.items() if width.hidden}
    assert set(list(at)[:6]) == {"face", "person", "right?", "how sure", "photo", "at"}
    assert "similarity" in folded or widths["confidence"].hidden
    for row in range(2, sheet.max_row + 1):
        photo = sheet.cell(row, at["photo"])
        assert (out / photo.value).is_file()
        assert not photo.hyperlink.target.startswith(("/", "file:"))
        word = sheet.cell(row, at["how sure"])
        assert word.fill.fgColor.rgb == {"sure": "FFC6EFCE", "likely": "FFFFF2B3"}[word.value]
    assert sheet.data_validations.dataValidation[0].formula1 == '"yes,no"'


def test_yes_and_no_in_the_report_are_decisions_of_the_next_search(event: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    call = ["search", "-e", event / "event.pkl", "-r", event / "refs", "-o", out]
    assert here(*call, "--threshold", "0.99").code == 0  # all for review
    book = openpyxl.load_workbook(out / "report.xlsx")
    sheet = book["Review"]
    at = columns(sheet)
    refused, confirmed = sheet.cell(2, at["photo"]).value, sheet.cell(4, at["photo"]).value
    for row, word in ((2, "No"), (3, "?"), (4, "yes")):
        sheet.cell(row, at["right?"]).value = word
    book.save(out / "report.xlsx")
    done = here(*call, "--threshold", "0.99")
    assert "learned: 1 picture is Tiger_Woods, 1 picture is not Tiger_Woods" in done.out + done.err
    assert not (out / refused).exists()
    assert (out / "Tiger_Woods" / Path(confirmed).name).is_file()
    history = here("people", "history", out).out
    assert history.count("report") == 2
    words = [line["reason"] for line in json.loads((out / "report.json").read_text())["faces"]]
    assert words.count("said") == 1
    again = here(*call, "--threshold", "0.99")
    assert "learned" not in again.out + again.err, "the new report asks anew, and nothing is said twice"


def test_a_report_with_something_else_in_it_stops_the_run_before_it_is_written_over(
    event: Path, tmp_path: Path
) -> None:
    out = tmp_path / "found"
    call = ["search", "-e", event / "event.pkl", "-r", event / "refs", "-o", out]
    assert here(*call).code == 0
    book = openpyxl.load_workbook(out / "report.xlsx")
    book["Matches"].cell(2, columns(book["Matches"])["right?"]).value = "maybe"
    book.save(out / "report.xlsx")
    before = (out / "report.xlsx").read_bytes()
    done = here(*call)
    assert (done.code, "'maybe' in the column “right?”: yes, no or nothing is wanted" in done.err) == (
        1,
        True,
    )
    (out / "report.xlsx").write_bytes(before[:-200])
    assert "report.xlsx cannot be read" in here(*call).err
    assert here(*call, "--no-learn").code == 0


def test_answers_are_found_in_what_spreadsheets_write(tmp_path: Path) -> None:
    """Texts in a table of their own, in pieces of different looks, numbers with a point, columns moved."""
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    texts = "".join(
        f"<si>{text}</si>"
        for text in (
            "<t>right?</t>",
            "<t>face number</t>",
            "<t>person</t>",
            "<r><t>y</t></r><r><t>es</t></r>",
            "<t>Zoë</t>",
        )
    )
    cells = "".join(f'<c r="{at}1" t="s"><v>{n}</v></c>' for at, n in (("B", 0), ("C", 1), ("AA", 2)))
    line = '<c r="B2" t="s"><v>3</v></c><c r="C2"><v>17.0</v></c><c r="AA2" t="s"><v>4</v></c>'
    empty = '<c r="B3"/><c r="C3"><v>18</v></c>'
    rows = "".join(f"<row>{row}</row>" for row in (cells, line, empty))
    with zipfile.ZipFile(tmp_path / "report.xlsx", "w") as book:
        book.writestr("xl/sharedStrings.xml", f"<sst {space}>{texts}</sst>")
        book.writestr(
            "xl/worksheets/sheet2.xml", f"<worksheet {space}><sheetData>{rows}</sheetData></worksheet>"
        )
    assert answers.read(tmp_path / "report.xlsx") == [("Zoë", 17, True)]
    assert answers.read(tmp_path / "none.xlsx") == []


def test_a_sheet_that_is_full_says_where_the_rest_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = table_of({f"/p/{i}.jpg": 1 for i in range(6)}, dim=DIM)
    found = find.search(made, profiles=[profile("Anna", made.embeddings[:1])], threshold=-1)
    monkeypatch.setattr(workbook, "ROWS", 5)
    problems: list[tuple[str, str]] = []
    fo.plan(found, tmp_path, thumbnails=0, on_problem=lambda *problem: problems.append(problem)).apply()
    book = openpyxl.load_workbook(tmp_path / "report.xlsx")
    for name in ("Matches", "Photos"):
        sheet = book[name]
        assert sheet.max_row == 5
        assert sheet["A5"].value == "3 more do not fit; all of them are in report.csv"
        assert sheet.auto_filter.ref.endswith("4")
    assert {name for name, _ in problems} == {"report.xlsx"}
    assert "Matches is full" in " ".join(why for _, why in problems)


# --- as a user types it, on real photos ---

PEOPLE = ("Tiger_Woods", "Trent_Lott")


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory, dev_faces: Path) -> Path:
    """`event.pkl` of photos of two people, `refs/` with three of each and a wrong one, all real."""
    folder = tmp_path_factory.mktemp("event")
    for person, other in zip(PEOPLE, PEOPLE[::-1], strict=True):
        photos = sorted((dev_faces / "identities" / person).iterdir())
        wrong = sorted((dev_faces / "identities" / other).iterdir())[-1]
        for photo, place in [(p, folder / "refs" / person) for p in (*photos[4:7], wrong)] + [
            (p, folder / "photos") for p in photos[8:14]
        ]:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy2(photo, place)
    (folder / "photos" / "broken.jpg").write_text("no picture")
    assert here("embed", "-i", folder / "photos", "-o", folder / "event.pkl", "--faces", "all").code == 3
    return folder


def test_everybody_is_found_reported_and_taken_back(event: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    done = here("search", "-e", event / "event.pkl", "-r", event / "refs", "-o", out, "--json")
    assert done.code == 0, done.err
    for person, other in zip(PEOPLE, PEOPLE[::-1], strict=True):
        placed = {p.name for p in (out / person).iterdir() if p.is_file()}
        assert len(placed) == 6
        assert all(name.startswith(person) for name in placed)
        assert f"refs/{person}/{other}" in done.err
        assert (out / f"{person}.jpg").is_file()
    told = json.loads((out / "report.json").read_text())
    assert {face["source"] for face in told["faces"]} == {
        str(p) for p in (event / "photos").iterdir() if p.name != "broken.jpg"
    }
    assert json.loads(done.out)["persons"] == told["persons"]
    again = here("search", "-e", event / "event.pkl", "--profile", out / "Trent_Lott.profile", "--json")
    shown = json.loads(again.out)
    assert [f["source"] for f in shown["faces"]] == [
        f["source"] for f in told["faces"] if f["person"] == "Trent_Lott"
    ]
    rest = here("leftovers", "-e", event / "event.pkl", "--found", out, "--json")
    assert json.loads(rest.out)["photos"]["nobody"] == []
    rest = here(
        "leftovers", "-e", event / "event.pkl", "--found", out, "--person", PEOPLE[0], "-o", tmp_path / "rest"
    )
    assert {p.name.rpartition("_")[0] for p in (tmp_path / "rest" / "nobody").iterdir()} == {PEOPLE[1]}
    assert here("undo", out).code == 0
    assert not out.exists()


def test_the_front_door_takes_photos_vectors_and_profiles_alike(event: Path, tmp_path: Path) -> None:
    table, photos = fo.read(event / "event.pkl"), event / "refs" / "Tiger_Woods"
    found = fo.search(table, photos, name="Tiger")
    tiger = found["Tiger"]
    refused = [Path(r.source).name for r in tiger.profile.references if r.reason]
    assert [name.rpartition("_")[0] for name in refused] == ["Trent_Lott"]
    assert {Path(p).name.rpartition("_")[0] for p, match in tiger.photos().items() if match} == {
        "Tiger_Woods"
    }
    for again in (
        fo.search(table, {"Tiger": sorted(photos.iterdir())}),
        fo.search(table, {"Tiger": str(photos)}),
        fo.search(table, {"Tiger": tiger.profile.vectors * 3}),
        fo.search(table, profiles=[tiger.profile]),
    ):
        assert again["Tiger"].rows.tolist() == tiger.rows.tolist()
        assert again["Tiger"].is_match.tolist() == tiger.is_match.tolist()
    applied = fo.plan(found, tmp_path / "out", mode="symlink", thumbnails=0).apply()
    assert applied.folders["Tiger"] == 6
    rest = fo.leftovers(table, found)
    assert rest == fo.leftovers(table, tmp_path / "out")
    assert (len(rest.found), len(rest.nobody), len(rest.no_face), len(rest.unusable)) == (6, 6, 0, 1)


@pytest.mark.parametrize(
    "given", [[], [[0.0] * DIM], [[np.nan] * DIM], [1.0], 5 * ["x", 1], np.zeros((2, 2, 2))]
)
def test_references_that_are_none_are_refused_in_words(given: Any) -> None:
    with pytest.raises(UsageError, match="references of Anna"):
        fo.search(table_of({"/a.jpg": 1}, dim=DIM), {"Anna": given})


@pytest.mark.parametrize(
    "options", [{"threshold": 2}, {"false_matches": 0}, {"name": "A"}, {"persons": ["A"]}, {}]
)
def test_a_call_that_makes_no_sense_is_refused(options: Any) -> None:
    with pytest.raises(UsageError):
        fo.search(table_of({"/a.jpg": 1}, dim=DIM), **options)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ["/ab", "/b", "/r"]),
        ({"review": False}, ["/ab", "/b"]),
        ({"persons": ["A"]}, ["/ab", "/r"]),
        ({"without": "all"}, ["/ab"]),
    ],
)
def test_what_is_left_over(tmp_path: Path, options: Any, found: list[str]) -> None:
    faces = [("A", "match", "/ab"), ("B", "match", "/ab"), ("B", "match", "/b"), ("A", "review", "/r")]
    rows = [dict(zip(("person", "verdict", "source"), face, strict=True)) for face in faces]
    document = {"persons": [{"name": "A"}, {"name": "B"}], "faces": rows}
    (tmp_path / "report.json").write_text(json.dumps(document))
    table = table_of({"/ab": 2, "/b": 1, "/c": 1, "/none": 0, "/r": 1}, dim=DIM)
    rest = fo.leftovers(table, tmp_path, **options)
    assert rest.found == found
    assert sorted(rest.found + rest.nobody) == ["/ab", "/b", "/c", "/r"]
    assert (rest.no_face, rest.unusable) == (["/none"], [])
    with pytest.raises(UsageError, match="Z was not searched: A, B were"):
        fo.leftovers(table, tmp_path, persons=["Z"])


def test_a_person_of_a_clustering_is_found(event: Path, tmp_path: Path) -> None:
    assert here("cluster", "-e", event / "event.pkl", "-o", tmp_path / "people", "--sheets", "0").code == 0
    words = ("search", "-e", event / "event.pkl", "--people", tmp_path / "people", "--from-person")
    done = here(*words, "person_A", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["persons"][0]["photos"] == 6
    assert here(*words, "person_Z").code == 2


def test_a_table_of_another_embedder_is_refused_in_words(event: Path, tmp_path: Path) -> None:
    table.write(table_of({"/a.jpg": 1, "/b.jpg": 1}, dim=128), tmp_path / "other.pkl")
    done = here("search", "-e", tmp_path / "other.pkl", "-r", event / "refs", "--pack", "opencv")
    assert (done.code, "different models" in done.err) == (1, True)
    profiles.write(profile("Anna", unit(2, DIM)), tmp_path / "a.profile")
    done = here("search", "-e", event / "event.pkl", "--profile", tmp_path / "a.profile")
    assert (done.code, "different models" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("../evil", 2, "cannot be the name of a folder"),
        ("a\0b", 2, "cannot be the name of a folder"),
        ("\ud800", 1, "not a profile, or damaged"),
    ],
)
def test_a_profile_never_leads_out_of_the_folder(
    event: Path, tmp_path: Path, name: str, code: int, words: str
) -> None:
    made = table.read(event / "event.pkl")
    evil = profiles.Profile(name, np.array(made.embeddings[:1]), [], made.stamp)
    profiles.write(evil, tmp_path / "a.profile")
    done = here(
        "search", "-e", event / "event.pkl", "--profile", tmp_path / "a.profile", "-o", tmp_path / "out"
    )
    assert (done.code, words in done.err) == (code, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.profile"]


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-r", "nowhere"),
        ("--from-person", "A"),
        ("--profile", "x", "--name", "A"),
        ("-r", ".", "--threshold", "nan"),
        ("-r", ".", "--false-matches", "1"),
    ],
)
def test_wrong_calls_are_told_in_a_line(event: Path, words: tuple[str, ...]) -> None:
    assert here("search", "-e", event / "event.pkl", *words).code == 2

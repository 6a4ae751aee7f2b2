"""Searching again: what was refused stays out, what was confirmed is found and counts as a reference."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from households import Household, embedded, photo
from hypothesis import given
from hypothesis import strategies as st
from shell import Done, here

import face_organizer as fo
from face_organizer import table
from face_organizer.library import registry


@pytest.fixture
def home(tmp_path: Path) -> Household:
    """Ann on eight photos, Bob on eight, twenty strangers, in a table; profiles of both."""
    home = Household(tmp_path)
    home.photos("ann", 8)
    home.photos("bob", 8)
    for i in range(20):
        home.photos(f"s{i}", 1)
    table.write(embedded(home.inbox), home.table)
    return home


def search(home: Household, *words: object) -> Done:
    """Search for Ann, by two photos of hers as vectors in a profile made by a first search."""
    table.write(embedded(home.inbox), home.table)
    done = here("search", "-e", home.table, "--profile", home.root / "Ann.profile", "-o", home.people, *words)
    assert done.code == 0, done.err
    return done


def first(home: Household) -> None:
    """The profile of Ann."""
    made = embedded(home.inbox)
    rows = [i for i, path in enumerate(made.face_paths()) if "/ann-" in path][:3]
    found = fo.search(made, {"Ann": made.embeddings[rows]})
    fo.plan(found, home.root / "first").apply()
    os.rename(home.root / "first" / "Ann.profile", home.root / "Ann.profile")


def test_a_match_that_was_deleted_does_not_come_back(home: Household) -> None:
    first(home)
    search(home)
    assert len(home.folders()["Ann"]) == 8
    (home.people / "Ann" / "ann-5.jpg").unlink()
    assert "1 picture is not Ann" in search(home).out
    for words in ([], ["--threshold", "0.1"], ["--strict"]):
        search(home, *words)
        assert all("ann-5.jpg" not in names for names in home.folders().values())


def test_a_photo_dragged_in_is_found_and_a_reference(home: Household) -> None:
    first(home)
    search(home)
    aside = photo(home.people / "Ann" / "odd.jpg", "s3", number=0)
    assert aside.read_bytes() == (home.inbox / "s3-0.jpg").read_bytes()
    assert "1 picture is Ann" in search(home).out
    assert "s3-0.jpg" in home.folders()["Ann"] or "odd.jpg" in home.folders()["Ann"]
    report = json.loads((home.people / "report.json").read_text())
    assert [face["reason"] for face in report["faces"] if face["source"].endswith("s3-0.jpg")] == ["said"]
    (person,) = report["persons"]
    assert any(one["source"].endswith("s3-0.jpg") for one in person["references"])


def test_a_shared_library_finds_whom_it_knows(home: Household) -> None:
    library = home.root / "family.sqlite"
    home.cluster("--library", str(library))
    assert here("people", "name", library, home.of("ann"), "Ann").code == 0
    assert here("people", "not", library, "Ann", home.inbox / "ann-2.jpg").code == 0
    done = here(
        "search", "-e", home.table, "--from-person", "Ann", "--library", library, "-o", home.root / "found"
    )
    assert done.code == 0, done.err
    found = sorted(p.name for p in (home.root / "found" / "Ann").glob("*.jpg"))
    assert found == [f"ann-{i}.jpg" for i in range(8) if i != 2]
    (home.root / "found" / "Ann" / "ann-4.jpg").unlink()
    again = here(
        "search", "-e", home.table, "--from-person", "Ann", "--library", library, "-o", home.root / "found"
    )
    assert "1 picture is not Ann" in again.out
    assert "ann-4.jpg" not in [p.name for p in (home.root / "found" / "Ann").glob("*.jpg")]
    home.cluster("--library", str(library))
    assert "ann-4.jpg" in home.folders()["unassigned"]


@given(st.data())
def test_refused_faces_never_come_back_and_confirmed_ones_always_do(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("s")
    home = Household(root)
    for who in ("ann", "bob", "cid"):
        home.photos(who, 4)
    made = embedded(home.inbox)
    refused = data.draw(st.sets(st.integers(0, 11), max_size=4))
    confirmed = data.draw(st.sets(st.integers(0, 11), max_size=3)) - refused
    with fo.Library(root / "l.sqlite") as library:
        person = library.new_person("Ann")
        numbers = registry.enter(library.connection, made)
        for row in refused:
            library.add("is-not", person, faces=[int(numbers[row])])
        for row in confirmed:
            library.add("is", person, faces=[int(numbers[row])])
        found = fo.search(
            made,
            {"Ann": made.embeddings[data.draw(st.integers(0, 3))]},
            library=library,
            threshold=data.draw(st.sampled_from([None, -1.0, 0.3])),
            strict=data.draw(st.booleans()),
        )["Ann"]
    assert not refused & set(found.rows.tolist())
    assert confirmed <= set(found.matches.tolist())
    assert len(np.unique(found.rows)) == len(found.rows)


def test_photos_that_came_after_the_search_are_never_called_nobody(home: Household) -> None:
    first(home)
    search(home)
    home.photos("ann", 2, first=50)
    table.write(embedded(home.inbox), home.table)
    done = here("leftovers", "-e", home.table, "--found", home.people)
    assert (done.code, "the table has changed since: it holds 38 now" in done.err) == (2, True)
    search(home)
    assert here("leftovers", "-e", home.table, "--found", home.people).code == 0

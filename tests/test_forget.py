"""Forgetting a person: nothing of theirs is found in any file, and nothing of anybody else's is touched."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from households import Household, embedded, photo
from numpy.typing import NDArray
from shell import here

import face_organizer as fo
from face_organizer import table
from face_organizer.types import FaceTable


@pytest.fixture
def home(tmp_path: Path) -> Household:
    """Ann, Bob and Cid sorted, Ann and Bob on one photo together; a backup, a folder table and a search."""
    home = Household(tmp_path)
    for who, count in (("ann", 6), ("bob", 5), ("cid", 4)):
        home.photos(who, count)
    photo(home.inbox / "both.jpg", "ann", "bob", number=9)
    home.cluster()
    (home.people / home.of("ann")).rename(home.people / "Ann")
    home.cluster()
    made = table.read(home.table)
    table.write(made, home.root / "faces.pkl.bak")
    table.write(made, home.root / "big.faces")
    words = ("-e", home.root / "big.faces", "--from-person", "Ann", "--library", home.people)
    assert here("search", *words, "-o", home.root / "found").code == 0
    return home


def vectors_of(who: str, made: FaceTable) -> NDArray[np.float32]:
    """The embeddings of one person, whose photos are called so, alone or as the first on a photo of two."""
    names = [Path(path).name for path in made.face_paths()]
    mine = [n.startswith(f"{who}-") for n in names]
    mine[names.index("both.jpg") + (who == "bob")] = True
    return np.array(made.embeddings[mine])


def holding(root: Path, vectors: NDArray[np.float32]) -> Sequence[str]:
    """Files in which any 64 bytes of any of the vectors are found."""
    parts = [row.tobytes()[at : at + 64] for row in vectors for at in range(0, row.nbytes - 63, 64)]
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return [str(path) for path in files if any(part in path.read_bytes() for part in parts)]


def test_without_yes_all_is_shown_and_nothing_changes(home: Household) -> None:
    before = {
        p: p.read_bytes() for p in home.root.rglob("*") if p.is_file() and "library.sqlite-" not in p.name
    }
    done = home.say("forget", "Ann")
    assert (
        "Would be forgotten (say --yes to do it): 7 faces of Ann on 7 pictures, 1 of which show" in done.out
    )
    for what in (
        "faces.pkl: 7 rows",
        "faces.pkl.bak: 7 rows",
        "big.faces: 7 rows",
        "Ann/ann-0.jpg",
        "Ann.profile",
    ):
        assert what in done.out
    after = {
        p: p.read_bytes() for p in home.root.rglob("*") if p.is_file() and "library.sqlite-" not in p.name
    }
    assert after == before


def test_what_was_forgotten_is_found_in_no_file(home: Household) -> None:
    made = embedded(home.inbox)
    ann, bob = vectors_of("ann", made), vectors_of("bob", made)
    assert len(holding(home.root, ann)) >= 3
    assert home.say("forget", "Ann", "--yes").out.startswith("Forgotten: 7 faces of Ann on 7 pictures")
    assert holding(home.root, ann) == []
    assert len(holding(home.root, bob)) >= 3
    assert not list(home.root.rglob("Ann.*")), "profiles and sheets hold faces in other forms"
    assert not list(home.people.rglob("ann-*.jpg"))
    assert sorted(p.name for p in (home.people / home.of("cid")).iterdir()) == [
        f"cid-{i}.jpg" for i in range(4)
    ]
    assert (home.people / home.of("bob") / "both.jpg").is_file()
    assert len(list(home.inbox.glob("ann-*.jpg"))) == 6, "originals stay"
    assert b"Ann" not in (home.people / ".face-organizer" / "library.sqlite").read_bytes()
    assert b"Ann" not in (home.people / ".face-organizer" / "plan.jsonl").read_bytes()
    assert "was forgotten" in home.say("history").out
    left = table.read(home.table)
    assert left.outcome_counts()["no_face"] == 6
    assert set(left.files.reason) == {"", "forgotten"}
    done = here("cluster", "-e", home.table, "-o", home.people, "-k", "auto", "--sheets", "0")
    assert (done.code, "6 no face" in done.out) == (0, True)
    assert holding(home.root, ann) == []


def test_kept_out_is_who_comes_back(home: Household) -> None:
    ann = vectors_of("ann", embedded(home.inbox))
    home.say("forget", "Ann", "--yes", "--keep-out")
    assert holding(home.root, ann) == []
    home.photos("ann", 2, first=50)
    home.cluster()
    folders = home.folders()
    assert not any(
        name.startswith("ann-") for f, names in folders.items() if f != "unassigned" for name in names
    )
    home.of("bob")


def test_originals_go_only_where_that_is_said(home: Household) -> None:
    shutil.copyfile(home.inbox / "ann-0.jpg", home.inbox / "again.jpg")
    home.cluster()
    home.say("forget", "Ann", "--yes", "--originals")
    assert sorted(p.name for p in home.inbox.iterdir()) == sorted(
        [f"bob-{i}.jpg" for i in range(5)] + [f"cid-{i}.jpg" for i in range(4)]
    )


def test_what_cannot_be_reached_is_no_longer_forgotten_in_silence(home: Household) -> None:
    (home.root / "big.faces").rename(home.root / "away.faces")
    refused = home.say("forget", "Ann", "--yes", code=2)
    assert "big.faces cannot be reached, and may hold faces of Ann" in refused.err
    assert "not there" in home.say("forget", "Ann").err
    home.say("forget", "Ann", "--yes", "--skip-missing")
    assert "nobody is called Ann" in home.say("forget", "Ann", code=2).err


@pytest.mark.parametrize("at", range(6))
def test_killed_on_the_way_the_same_call_goes_on(
    home: Household, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    ann = vectors_of("ann", embedded(home.inbox))
    left, write = [at], table.write

    def mortal(*given: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(table, "write", mortal)
        here("people", "forget", home.people, "Ann", "--yes")
    with fo.Library(home.people) as library:
        known = "Ann" in [one.name for one in library.people()]
    if known:
        home.say("forget", "Ann", "--yes")
    assert holding(home.root, ann) == []

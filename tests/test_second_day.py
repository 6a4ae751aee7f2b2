"""The second day: people come back with more pictures, and with what they changed by hand or said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from households import Household, photo
from shell import here


@pytest.fixture
def home(tmp_path: Path) -> Household:
    """Ann, Bob and Cid with six, five and four photos, and a stranger; sorted once."""
    home = Household(tmp_path)
    for who, count in (("ann", 6), ("bob", 5), ("cid", 4), ("stranger", 1)):
        home.photos(who, count)
    home.cluster()
    assert {f: len(names) for f, names in home.folders().items()} == {
        "person_A": 6,
        "person_B": 5,
        "person_C": 4,
        "unassigned": 1,
    }
    return home


def test_a_renamed_folder_keeps_its_name_for_good(home: Household) -> None:
    (home.people / "person_A").rename(home.people / "Ann")
    assert "learned: person_A is called Ann" in home.cluster().out
    home.photos("ann", 2, first=6)
    for words in ([], [], ["-k", "2"], ["--threshold", "0.6"]):
        assert "learned" not in home.cluster(*words).out
        assert len(home.folders()["Ann"]) == 8
        assert home.of("ann") == "Ann"


def test_names_that_were_swapped_or_used_again_follow_the_pictures(home: Household) -> None:
    people = home.people
    (people / "person_A").rename(people / "Ann")
    (people / "person_B").rename(people / "Bob")
    home.cluster()
    before = home.folders()
    (people / "Ann").rename(people / "x")
    (people / "Bob").rename(people / "Ann")
    (people / "x").rename(people / "Bob")
    home.cluster()
    assert home.folders()["Ann"] == before["Bob"]
    assert home.folders()["Bob"] == before["Ann"]
    (people / "Bob").rename(people / "Carl")
    (people / "person_C").rename(people / "Bob")
    home.cluster()
    assert (home.of("ann"), home.of("bob"), home.of("cid")) == ("Carl", "Ann", "Bob")
    home.cluster()
    assert (home.of("ann"), home.of("bob"), home.of("cid")) == ("Carl", "Ann", "Bob")


def test_dragged_pictures_stay_where_they_were_dragged(home: Household) -> None:
    people = home.people
    os.rename(people / "person_B" / "bob-0.jpg", people / "person_A" / "bob-0.jpg")
    os.rename(people / "unassigned" / "stranger-0.jpg", people / "person_C" / "stranger-0.jpg")
    (people / "Dee").mkdir()
    os.rename(people / "person_C" / "cid-0.jpg", people / "Dee" / "cid-0.jpg")
    os.rename(people / "person_A" / "ann-0.jpg", people / "unassigned" / "ann-0.jpg")
    told = home.cluster().out
    for line in (
        "1 picture is person_A",
        "1 picture is not person_B",
        "1 picture is Dee",
        "1 picture is not person_A",
    ):
        assert line in told
    for seed in (None, 3):
        home.cluster(seed=seed, detector=1)
        folders = home.folders()
        assert "bob-0.jpg" in folders["person_A"]
        assert "stranger-0.jpg" in folders["person_C"]
        assert folders["Dee"] == ["cid-0.jpg"]
        assert folders["unassigned"] == ["ann-0.jpg"]


def test_a_deleted_picture_does_not_come_back(home: Household) -> None:
    (home.people / "person_A" / "ann-3.jpg").unlink()
    assert "1 picture is not person_A" in home.cluster().out
    assert home.folders()["unassigned"] == ["ann-3.jpg", "stranger-0.jpg"]
    shutil.rmtree(home.people / "unassigned")
    assert "learned" not in home.cluster().out
    assert home.folders()["unassigned"] == ["ann-3.jpg", "stranger-0.jpg"]
    home.say("undo")
    home.cluster()
    assert len(home.folders()["person_A"]) == 6


def test_merged_folders_are_one_person_and_removed_ones_hidden(home: Household) -> None:
    people = home.people
    for picture in (people / "person_B").iterdir():
        picture.rename(people / "person_A" / picture.name)
    (people / "person_B").rmdir()
    shutil.rmtree(people / "person_C")
    told = home.cluster().out
    assert "person_B is person_A" in told
    assert "person_C gets no folder" in told
    for _ in range(2):
        assert {f: len(names) for f, names in home.folders().items()} == {"person_A": 11, "unassigned": 1}
        assert "learned" not in home.cluster().out
    listed = home.say("list").out
    assert "hidden" in listed


def test_so_much_gone_at_once_is_no_decision(home: Household) -> None:
    before = home.folders()
    for picture in sorted((home.people / "person_A").iterdir())[:3]:
        picture.unlink()
    done = home.cluster()
    assert "3 of the 6 pictures of person_A are gone" in done.err
    assert home.folders() == before
    assert "learned" not in home.cluster().out
    for folder in before:
        shutil.rmtree(home.people / folder)
    done = home.cluster()
    assert "6 of the 6 pictures of person_A are gone" in done.err
    assert home.folders() == before


def test_what_was_doubted_can_be_confirmed(home: Household) -> None:
    for picture in sorted((home.people / "person_A").iterdir())[:3]:
        picture.unlink()
    home.cluster()
    assert "3 pictures are not person_A" in home.cluster("--learn-deletions").out
    assert len(home.folders()["person_A"]) == 3


def test_no_learn_puts_all_back(home: Household) -> None:
    before = home.folders()
    (home.people / "person_A").rename(home.people / "Ann")
    (home.people / "person_B" / "bob-1.jpg").unlink()
    home.cluster("--no-learn")
    assert home.folders() == before


def test_a_collection_that_moved_keeps_names_and_copies(home: Household) -> None:
    (home.people / "person_A").rename(home.people / "Ann")
    home.cluster()
    before = home.folders()
    home.inbox.rename(home.root / "photos 2026")
    home.inbox = home.root / "photos 2026"
    home.cluster()
    assert home.folders() == before
    for path in home.inbox.iterdir():
        os.utime(path, (1e9, 1e9))
        path.rename(path.with_name(f"{path.stem}-x.jpg"))
    home.cluster()
    assert {f: len(names) for f, names in home.folders().items()} == {f: len(n) for f, n in before.items()}


def test_what_is_said_by_command_holds(home: Household) -> None:
    people = home.people
    home.say("name", "person_A", "Ann")
    home.say("is", "Ann", home.inbox / "bob-1.jpg")
    home.say("not", "person_B", people / "person_B" / "bob-2.jpg")
    home.say("merge", "Ann", "person_C")
    home.cluster()
    assert "bob-1.jpg" in home.folders()["Ann"]
    assert home.of("cid") == "Ann"
    assert "bob-2.jpg" in home.folders()["unassigned"]
    refused = home.say("not", "Ann", home.inbox / "bob-1.jpg", code=2)
    assert "contradicts decision" in refused.err
    assert "is called Ann" in home.say("history").out
    home.say("split", "Ann", "Cid", *(home.inbox / f"cid-{i}.jpg" for i in range(4)))
    home.cluster()
    assert home.of("cid") == "Cid"
    assert "bob-1.jpg" in home.say("show", "Ann").out


def test_of_several_faces_on_a_dragged_picture_the_most_alike_is_meant(home: Household) -> None:
    photo(home.inbox / "group.jpg", "passer-by", "cid", "other", number=70)
    home.cluster("--threshold", "0.99", "-k", "auto", "--min-cluster-size", "1")
    home.cluster()
    group = home.folders()
    assert "group.jpg" in group["person_C"]
    os.rename(home.people / "person_C" / "group.jpg", home.people / "unassigned" / "group.jpg")
    home.cluster()
    os.rename(home.people / "unassigned" / "group.jpg", home.people / "person_C" / "group.jpg")
    home.cluster()
    listed = home.say("show", "person_C").out
    assert "group.jpg:1  (said)" in listed


def test_a_picture_of_two_people_lies_with_both(home: Household) -> None:
    photo(home.inbox / "both.jpg", "ann", "bob", number=50)
    home.cluster()
    assert "both.jpg" in home.folders()["person_A"]
    assert "both.jpg" in home.folders()["person_B"]
    (home.people / "person_A" / "both.jpg").unlink()
    assert "1 picture is not person_A" in home.cluster().out
    assert "both.jpg" not in home.folders()["person_A"]
    assert "both.jpg" in home.folders()["person_B"]


def test_moved_pictures_stay_sorted_and_new_ones_join(home: Household) -> None:
    home.cluster("--mode", "move")
    assert not list(home.inbox.iterdir())
    assert home.embed() == []
    home.photos("ann", 2, first=6)
    (home.people / "person_A").rename(home.people / "Ann")
    assert [Path(p).name for p in home.embed()] == ["ann-6.jpg", "ann-7.jpg"]
    home.photos("bob", 1, first=5)
    for _ in range(2):
        home.cluster("--mode", "move")
        folders = home.folders()
        assert (len(folders["Ann"]), len(folders["person_B"]), len(folders["person_C"])) == (8, 6, 4)
        assert not list(home.inbox.iterdir())
    os.rename(home.people / "Ann" / "ann-7.jpg", home.people / "person_B" / "ann-7.jpg")
    assert home.embed() == []
    home.cluster("--mode", "move")
    assert "ann-7.jpg" in home.folders()["person_B"]
    assert here("undo", home.people).code == 0
    assert len(list(home.inbox.iterdir())) == 19
    assert home.embed() == []
    home.cluster("--mode", "move")
    assert "ann-7.jpg" in home.folders()["person_B"]
    assert home.of("cid") == "person_C"


def test_sidecars_go_along(home: Household) -> None:
    for name in ("ann-0.xmp", "ann-0.jpg.xmp", "ann-1.AAE", "bob-0.CR2", "bob-1.MOV", "cid-0.txt"):
        (home.inbox / name).write_text(name)
    done = home.cluster("--mode", "move")
    assert "5 files beside pictures went along" in done.out
    assert sorted(p.name for p in home.inbox.iterdir()) == ["cid-0.txt"]
    assert (home.people / "person_A" / "ann-0.jpg.xmp").read_text() == "ann-0.jpg.xmp"
    assert "5 files beside pictures" in home.cluster("--mode", "move").out
    here("undo", home.people)
    assert (home.inbox / "bob-1.MOV").read_text() == "bob-1.MOV"
    assert len(list(home.inbox.iterdir())) == 16 + 6


def test_undo_keeps_what_people_said(home: Household) -> None:
    (home.people / "person_A").rename(home.people / "Ann")
    home.cluster()
    assert "names and corrections stay in" in here("undo", home.people).out
    home.cluster()
    assert home.of("ann") == "Ann"
    assert here("undo", home.people, "--forget-names").code == 0
    assert not home.people.exists()
    home.cluster()
    assert home.of("ann") == "person_A"


def test_a_folder_that_cannot_be_listed_changes_nothing(home: Household) -> None:
    away = home.inbox / "share"
    away.mkdir()
    for name in ("ann-4.jpg", "ann-5.jpg"):
        (home.inbox / name).rename(away / name)
    home.cluster()
    before = home.folders()
    away.rename(home.root / "unplugged")
    away.mkdir()
    away.chmod(0)
    if os.access(away, os.R_OK):  # root reads all
        away.rmdir()
        (home.root / "nothing").mkdir()
        away.symlink_to(away)
    home.cluster()
    folders = home.folders()
    away.unlink() if away.is_symlink() else away.rmdir()
    (home.root / "unplugged").rename(away)
    assert folders.get("gone", []) == [] or folders["gone"] == ["ann-4.jpg", "ann-5.jpg"]
    home.cluster()
    assert home.folders() == before


def test_originals_that_were_deleted_leave_no_strangers_behind(home: Household) -> None:
    for path in home.inbox.glob("bob-*"):
        path.unlink()
    done = home.cluster()
    assert "5 copies in gone/" in done.err
    folders = home.folders()
    assert sorted(folders) == ["gone", "person_A", "person_C", "unassigned"]
    home.photos("dee", 3)
    home.cluster()
    assert home.of("dee") != "person_A"
    assert home.folders()["gone"] == [f"bob-{i}.jpg" for i in range(5)]

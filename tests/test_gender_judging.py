"""From a table to verdicts: threads, the journal, votes and counts."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making_tables import table_of, tables
from shell import here

from face_organizer import table
from face_organizer.cluster import persons_of
from face_organizer.errors import FaceOrganizerError
from face_organizer.gender import Genders, judging, open_model, verdicts
from face_organizer.gender.journal import Journal
from face_organizer.gender.judging import GenderModel, Judged, from_json, judged, look
from face_organizer.gender.verdicts import decide
from face_organizer.networks.devices import CPU
from face_organizer.types import FaceTable, Image, Outcome


@pytest.fixture(scope="module")
def faces(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> FaceTable:
    """Photos with one face and with several, one a file that goes away."""
    folder = tmp_path_factory.mktemp("judging")
    chosen = sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[:12]
    chosen += sorted((dev_faces / "group_photos").rglob("*.jpg"))[:4]
    for i, photo in enumerate(chosen):
        shutil.copyfile(photo, folder / f"{i:02d}.jpg")
    words = ["embed", "-i", folder, "-o", folder / "faces.pkl", "--pack", "opencv", "-q", "--faces", "all"]
    assert here(*words).code == 0
    (folder / "03.jpg").unlink()
    made = table.read(folder / "faces.pkl")
    assert len(made) > 20
    return made


@pytest.fixture(scope="module")
def model() -> GenderModel:
    return open_model("embedded", CPU)


class Counting:
    """The embedded network, with the number of crops that it was asked for."""

    def __init__(self, model: GenderModel) -> None:
        self.crops = 0
        self._ask = model.ask
        self.model = dataclasses.replace(model, ask=self.ask)

    def ask(self, crops: Image) -> Judged:
        self.crops += len(crops)
        return self._ask(crops)


def same(one: Judged, other: Judged) -> bool:
    return all(
        np.allclose(getattr(one, name), getattr(other, name), atol=1e-6, equal_nan=True)
        for name in ("woman", "age")
    )


# --- judging


def test_the_answer_does_not_depend_on_threads_or_devices(faces: FaceTable, model: GenderModel) -> None:
    one = look(faces, [model], {}, threads=1)
    assert same(one.judged, look(faces, [model, open_model("embedded", CPU)], {}, threads=5).judged)
    assert list(one.failed) == [3], "the file that is gone"
    assert "no such file" in one.failed[3]
    gone = faces.faces.file_index == 3
    assert np.isnan(one.judged.woman[gone]).all()
    assert np.isfinite(one.judged.woman[~gone]).all()


def test_faces_go_to_their_own_rows(faces: FaceTable, model: GenderModel) -> None:
    """Each face judged alone gives what its row says."""
    whole = look(faces, [model], {}, threads=3).judged.woman
    for row in range(0, len(faces), 5):
        file = int(faces.faces.file_index[row])
        if file == 3:
            continue
        one = faces.faces.take(np.array([row]))
        alone = FaceTable(
            faces.embeddings[row : row + 1],
            dataclasses.replace(one, file_index=np.zeros(1, np.int64)),
            faces.files.take(np.array([file])),
            faces.stamp,
        )
        assert abs(look(alone, [model], {}, threads=1).judged.woman[0] - whole[row]) < 1e-4


def test_faces_of_which_a_table_does_not_tell_the_place(faces: FaceTable, model: GenderModel) -> None:
    landmarks = faces.faces.landmarks.copy()
    landmarks[faces.faces.file_index == 0] = np.nan
    blind = dataclasses.replace(faces, faces=dataclasses.replace(faces.faces, landmarks=landmarks))
    looked = look(blind, [model], {}, threads=2)
    assert looked.failed[0] == judging.WHY_NO_PLACE
    assert sorted(looked.failed) == [0, 3]


# --- the journal


def test_what_is_journaled_is_not_asked_again(faces: FaceTable, model: GenderModel, tmp_path: Path) -> None:
    network = Counting(model)
    told: list[int] = []
    with Journal(tmp_path / "j" / "gender.jsonl", {"model": "a"}) as journal:
        first = look(faces, [network.model], journal, 2, tell=lambda _, done, total: told.append(done))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, len(faces.files))
    asked = network.crops
    for _ in range(2):
        with Journal(tmp_path / "j" / "gender.jsonl", {"model": "a"}) as journal:
            again = look(faces, [network.model], journal, threads=2)
        assert network.crops == asked
        assert again.known == len(faces.files) - 1, "all but the one that is gone"
        assert same(first.judged, again.judged)
    with Journal(tmp_path / "j" / "gender.jsonl", {"model": "b"}) as journal:
        assert look(faces, [network.model], journal, threads=2).known == 0, "another model asks again"


@pytest.mark.parametrize("cut", [0, 1, 40, 200, 900])
def test_a_journal_that_was_cut_off_goes_on(
    cut: int, faces: FaceTable, model: GenderModel, tmp_path: Path
) -> None:
    path = tmp_path / "gender.jsonl"
    with Journal(path, {"model": "a"}) as journal:
        first = look(faces, [model], journal, threads=2)
    path.write_bytes(path.read_bytes()[:-cut] if cut else path.read_bytes())
    with Journal(path, {"model": "a"}) as journal:
        again = look(faces, [model], journal, threads=2)
    assert (again.known < len(faces.files) - 1) == (cut > 1), "one byte is the end of the last line"
    assert same(first.judged, again.judged)
    with Journal(path, {"model": "a"}) as journal:
        assert look(faces, [model], journal, threads=2).known == len(faces.files) - 1


HOSTILE = [
    b"",
    b"\x00\xff\n",
    b"[1, 2]\n",
    b"[[1], 2]\n",
    b"7\n",
    b'["%s", 5]\n',
    b'["%s", [[2.0, null, "", ""]]]\n',
    b'["%s", [[NaN, null, "", ""]]]\n',
    b'["%s", [["x", null, "", ""]]]\n',
    b'["%s", [[0.5, null, ""]]]\n',
    b'["%s", [[0.5, [1], "", ""]]]\n',
    b'["%s", [[0.5, null, "", ""], [0.5, null, "", ""]]]\n',
    b"[" * 100_000 + b"\n",
    b'["%s", ' + b"1" * 6000 + b"]\n",
    b'["%s", [[1' + b"0" * 400 + b', null, "", ""]]]\n',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_journal_is_read_as_a_file_from_outside(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "gender.jsonl"
    with Journal(path, {"model": "a"}) as journal:
        journal["other"] = [[0.5, None, "", ""]]
    with open(path, "ab") as file:
        file.write(line.replace(b"%s", b"key"))
    with Journal(path, {"model": "a"}) as journal:
        assert from_json(journal.get("key"), 1) is None
        assert from_json(journal.get("other"), 1) is not None


@pytest.mark.parametrize("name", ["bytes", "mtime_ns", "content"])
def test_a_changed_picture_is_asked_again(name: str, faces: FaceTable, model: GenderModel) -> None:
    network = Counting(model)
    answers: dict[str, object] = {}
    look(faces, [network.model], answers, threads=2)
    asked = network.crops
    column = getattr(faces.files, name).copy()
    column[0] += 1
    files = dataclasses.replace(faces.files, **{name: column})
    look(dataclasses.replace(faces, files=files), [network.model], answers, threads=2)
    assert network.crops == asked + int((faces.faces.file_index == 0).sum())


# --- verdicts


def counts_of(pictures: list[verdicts.Picture], made: FaceTable) -> dict[str, int]:
    woman = np.zeros(len(made), np.float32)
    return Genders(made, judged(woman), woman, pictures, [], "Man", 0.9, False, {}).counts()


@given(
    made=tables(), seed=st.integers(0, 99), least=st.floats(0.5, 1), gender=st.sampled_from(["Woman", "Man"])
)
def test_every_picture_has_one_verdict(made: FaceTable, seed: int, least: float, gender: str) -> None:
    random = np.random.default_rng(seed)
    woman = random.random(len(made), np.float32)
    for every in (False, True):
        filed = decide(made, {}, woman, gender, least, every=every)
        assert [one.path for one in filed] == list(made.files.path)
        counts = counts_of(filed, made)
        assert sum(counts.values()) == made.total_files
        with_faces = int((made.files.outcome == Outcome.FACES).sum())
        assert counts["matched"] + counts["other"] + counts["unsure"] == with_faces
        other = "Man" if gender == "Woman" else "Woman"
        turned = counts_of(decide(made, {}, woman, other, least, every=every), made)
        if not every and least > 0.5:
            assert (counts["matched"], counts["other"]) == (turned["other"], turned["matched"])


@pytest.mark.parametrize(
    ("woman", "faces", "expected"),
    [
        ([0.95, 0.1], "main", "matched"),
        ([0.85, 0.99], "main", "unsure"),
        ([0.85, 0.99], "any", "matched"),
        ([0.05, 0.02], "any", "other"),
        ([0.05, 0.5], "any", "unsure"),
        ([0.05, 0.99], "main", "other"),
        ([0.9, 0.0], "main", "matched"),
        ([0.1, 0.0], "main", "other"),
    ],
)
def test_which_face_decides(woman: list[float], faces: str, expected: str) -> None:
    made = table_of({"/a.jpg": 2})
    odds = np.array(woman, np.float32)
    (one,) = decide(made, {}, odds, "Woman", 0.9 - 1e-6, every=faces == "any")
    assert one.verdict == expected
    assert one.faces == 2
    if faces == "main":
        assert one.row == 0


def test_nothing_found_is_nobody_of_any_gender() -> None:
    made = table_of({"/none.jpg": 0, "/one.jpg": 1})
    woman = np.array([0.99], np.float32)
    none, one = decide(made, {1: "gone"}, woman, "Woman", 0.9, every=False)
    assert (none.verdict, none.row) == ("no_face", -1)
    assert (one.verdict, one.reason) == ("unreadable", "gone")


# --- votes


def test_photos_of_a_person_vote_together() -> None:
    woman = np.array([0.999, 0.99, 0.98, 0.3, 0.02, 0.4, np.nan, 0.6], np.float32)
    persons = ["a", "a", "a", "a", "b", "b", "a", ""]
    voted = verdicts.vote(woman, persons)
    assert len(set(voted[:4].tolist())) == 1
    assert voted[0] > 0.9, "one doubtful photo is outvoted"
    assert voted[4] == voted[5] < 0.5
    assert np.isnan(voted[6]), "what was not seen is not voted in"
    assert voted[7] == woman[7], "a face of nobody stands for itself"


def test_one_loud_photo_does_not_outvote_many() -> None:
    woman = np.array([1e-9, *[0.9] * 4], np.float32)
    assert verdicts.vote(woman, ["a"] * 5)[0] > 0.6


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.integers(1, 4))
def test_a_vote_lies_between_its_voices(woman: list[float], people_count: int) -> None:
    voices = np.array(woman, np.float32)
    persons = [f"p{i % people_count}" for i in range(len(voices))]
    voted = verdicts.vote(voices, persons)
    low, high = 1 / (1 + np.exp(4)), 1 / (1 + np.exp(-4))
    for person in set(persons):
        mine = [i for i, name in enumerate(persons) if name == person]
        clipped = np.clip(voices[mine], low, high)
        assert clipped.min() - 1e-5 <= voted[mine[0]] <= clipped.max() + 1e-5


def test_persons_come_from_a_clustering(tmp_path: Path) -> None:
    made = table_of({"/a.jpg": 2, "/b.jpg": 1, "/c.jpg": 1})
    document = {
        "labels": np.array([0, 1, 0, -1]),
        "image_paths": ["/a.jpg", "/a.jpg", "/b.jpg", "/c.jpg"],
        "face_index": np.array([0, 1, 0, 0], np.int32),
        "cluster_centers": np.zeros((2, 4), np.float32),
        "persons": ["Anna", "Bob"],
    }
    path = tmp_path / "cluster_assignments.pkl"
    path.write_bytes(pickle.dumps(document, protocol=4))
    for place in (tmp_path, path):
        assert persons_of(place, made)[0] == ["Anna", "Bob", "Anna", ""]
    del document["face_index"], document["persons"]  # as the original wrote it, one face a picture
    document["image_paths"], document["labels"] = ["/a.jpg", "/b.jpg"], np.array([1, 0])
    path.write_bytes(pickle.dumps(document, protocol=4))
    assert persons_of(path, made) == (["person_B", "", "person_A", ""], 2)


def test_a_clustering_that_is_none(tmp_path: Path) -> None:
    made = table_of({"/a.jpg": 1})
    with pytest.raises(FaceOrganizerError, match="no result of `cluster` is there"):
        persons_of(tmp_path, made)
    path = tmp_path / "cluster_assignments.pkl"
    for content in ({"labels": np.array([0])}, [1], {"labels": "x", "image_paths": []}):
        path.write_bytes(pickle.dumps(content, protocol=4))
        with pytest.raises(FaceOrganizerError, match="is no result of `cluster`"):
            persons_of(path, made)
    other = {"labels": np.array([0]), "image_paths": ["/z.jpg"], "cluster_centers": np.zeros((1, 4))}
    path.write_bytes(pickle.dumps(other, protocol=4))
    with pytest.raises(FaceOrganizerError, match="none of these faces"):
        persons_of(path, made)


def test_a_csv_holds_names_of_any_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b'/p/\xff, "x"\n.jpg')
    made = table_of({name: 1})
    woman = np.array([0.97], np.float32)
    pictures = decide(made, {}, woman, "Man", 0.9, every=False)
    found = Genders(made, judged(woman), woman, pictures, [], "Man", 0.9, True, {})
    found.view().write(tmp_path, {}, lambda: None)
    assert json.dumps(list(found.rows()))
    content = (tmp_path / "gender.csv").read_bytes()
    assert b'\xff, ""x""' in content
    assert b"other,Woman,0.97" in content

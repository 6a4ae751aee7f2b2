"""A person in videos: when they are seen, and the frames that show them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from making_tables import table_of, unit
from making_videos import write_video
from shell import here
from test_search import profile

from face_organizer.cluster.strangers import Crowd
from face_organizer.files import clock
from face_organizer.search import match
from face_organizer.search.pictures import best_frames, write_frames
from face_organizer.types import FaceTable


def found_in(table: FaceTable, rows: list[int], matches: list[bool]) -> match.Candidates:
    count = len(rows)
    return match.Candidates(
        profile=profile("Anna", unit(1, 64)),
        table=table,
        rows=np.array(rows, np.int64),
        similarity=np.linspace(1, 0.5, count, dtype=np.float32),
        best=np.ones(count, np.float32),
        agree=np.ones(count, np.int64),
        is_match=np.array(matches),
        reasons=[""] * count,
        crowd=Crowd(0.0, 0.1, 100),
        match_threshold=0.4,
        review_threshold=0.3,
    )


@pytest.fixture
def film() -> FaceTable:
    """Four appearances in one film, one in another, and a photo."""
    table = table_of({"/a/film.mp4": 4, "/b/film.mp4": 1, "/c.jpg": 1})
    nan = np.nan
    faces = replace(
        table.faces,
        time=np.array([3, 8, 61.25, 3, 3, nan], np.float32),
        seen_from=np.array([1, 4, 60, 20, 0, nan], np.float32),
        seen_to=np.array([5, 9, 62, 21, 7, nan], np.float32),
    )
    return replace(table, faces=faces)


def test_times_that_touch_are_one_and_doubtful_ones_are_left_out(film: FaceTable) -> None:
    found = found_in(film, [5, 2, 1, 0, 4, 3], [True, True, True, True, True, False])
    assert found.videos() == {"/a/film.mp4": [(1, 9), (60, 62)], "/b/film.mp4": [(0, 7)]}


def test_the_surest_frames_come_first_and_no_name_twice(film: FaceTable) -> None:
    found = found_in(film, [5, 2, 0, 4, 3, 1], [True] * 6)
    assert [(found.rows[at], name) for at, name in best_frames(found, 4)] == [
        (2, "Anna film 1.01.2.jpg"),
        (0, "Anna film 0.03.0.jpg"),
        (4, "Anna film 0.03.0 1.jpg"),
        (1, "Anna film 0.08.0.jpg"),
    ]
    assert list(best_frames(found, 0)) == []


def test_a_frame_that_cannot_be_read_is_told(film: FaceTable, tmp_path: Path) -> None:
    problems: list[tuple[str, str]] = []
    found = found_in(film, [2], [True])
    write_frames(found, tmp_path, {}, 1, lambda *problem: problems.append(problem))
    ((name, why),) = problems
    assert (name, bool(why), list(tmp_path.iterdir())) == ("Anna film 1.01.2.jpg", True, [])


@pytest.mark.parametrize(("seconds", "words"), [(0, "0:00.0"), (59.96, "1:00.0"), (3723.4, "1:02:03.4")])
def test_seconds_on_a_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_a_search_tells_when_and_writes_frames(dev_faces: Path, tmp_path: Path) -> None:
    people = [sorted((dev_faces / "identities" / name).iterdir()) for name in ("Tim_Henman", "Trent_Lott")]
    pictures = []
    for person in (0, 1, 0):
        photo = cv2.cvtColor(cv2.imread(str(people[person][0])), cv2.COLOR_BGR2RGB)
        pictures += [cv2.resize(photo, (256, 256))] * 3
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "match.mp4", pictures, [0, 1, 2, 10, 11, 12, 40, 41, 42])
    refs = tmp_path / "refs" / "Tim"
    refs.mkdir(parents=True)
    for photo in people[0][1:5]:
        (refs / photo.name).write_bytes(photo.read_bytes())
    for photo in people[1][1:12]:
        (tmp_path / "in" / photo.name).write_bytes(photo.read_bytes())
    table = tmp_path / "t.pkl"
    words = ["embed", "-i", tmp_path / "in", "-o", table, "--pack", "opencv", "--device", "cpu"]
    assert here(*words).code == 0
    search = ["search", "-e", table, "-r", tmp_path / "refs", "--threshold", "0.5"]
    said = here(*search, "-o", tmp_path / "found", "--frames", "2")
    assert said.code == 0, said.err
    assert "match.mp4: 0:00.0 to 0:02.0, 0:40.0 to 0:42.0" in said.out
    report = json.loads((tmp_path / "found" / "report.json").read_text())
    assert report["persons"][0]["videos"][0]["seconds"] == [[0, 2], [40, 42]]
    frames = sorted((tmp_path / "found").glob("Tim match *.jpg"))
    assert len(frames) == 2
    assert cv2.imread(str(frames[0])).shape == (256, 256, 3)
    assert here("undo", tmp_path / "found").code == 0
    assert not (tmp_path / "found").exists()

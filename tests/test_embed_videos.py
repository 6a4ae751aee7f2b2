"""Videos through the command line: one outcome each, people with their seconds, the same on any threads."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import read_rgb
from making_tables import content
from making_videos import greys, write_video
from running import Running, another
from shell import Done, here

from face_organizer import table
from face_organizer.cluster.constraints import hints_of
from face_organizer.embed import shards
from face_organizer.types import FaceTable, Image, Outcome


def portraits(dev_faces: Path) -> list[Image]:
    """One photo each of two people."""
    folders = sorted(p for p in (dev_faces / "identities").iterdir() if p.is_dir())
    return [read_rgb(min(folder.glob("*.jpg"))) for folder in (folders[0], folders[-1])]


def moving(photo: Image, count: int) -> list[Image]:
    """A slow pan over a photo."""
    grown = cv2.resize(photo, (300, 300))
    return [np.ascontiguousarray(grown[i % 20 : i % 20 + 256, i % 25 : i % 25 + 256]) for i in range(count)]


@pytest.fixture(scope="module")
def clip(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 seconds of one person, then 3 of another, at 10 frames a second, index first."""
    first, second = portraits(dev_faces)
    frames = moving(first, 30) + moving(second, 30)
    path = tmp_path_factory.mktemp("clip") / "two.mp4"
    return write_video(path, frames, [i / 10 for i in range(60)], index_first=True)


def embed(*words: str | Path) -> tuple[Done, dict[str, Any]]:
    done = here("embed", *words, "--pack", "opencv", "--device", "cpu", "--json")
    return done, json.loads(done.out) if done.out else {}


def reason(made: FaceTable, name: str) -> tuple[Outcome, str]:
    i = [Path(p).name for p in made.files.path].index(name)
    return Outcome(made.files.outcome[i]), made.files.reason[i]


def test_two_people_one_after_the_other(clip: Path, dev_faces: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, photo in enumerate(portraits(dev_faces)):
        cv2.imwrite(str(photos / f"{i}.png"), photo[..., ::-1])
    shutil.copyfile(clip, photos / "two.MP4")
    done, said = embed("-i", photos, "-o", tmp_path / "t.pkl")
    assert done.code == 0, done.err
    assert said["outcomes"]["faces"] == said["inputs"] == 3
    assert "3 pictures (1 video among them)" in done.err
    made = table.read(tmp_path / "t.pkl")
    faces = made.faces
    assert np.isnan(faces.time[:2]).all()
    assert faces.track[:2].tolist() == [-1, -1]
    rows = np.flatnonzero(faces.file_index == 2)
    assert 2 <= len(rows) <= 6
    assert faces.face_index[rows].tolist() == list(range(len(rows)))
    for row in rows:
        track = int(faces.track[row])
        who = int(made.embeddings[row] @ made.embeddings[1] > made.embeddings[row] @ made.embeddings[0])
        begin = 3.0 * who
        assert made.embeddings[row] @ made.embeddings[who] > 0.7
        assert begin <= faces.seen_from[row] <= faces.time[row] <= faces.seen_to[row] < begin + 3
        assert faces.seen_to[row] - faces.seen_from[row] >= 1.9, f"track {track}"
    assert (made.files.width[2], made.files.height[2]) == (256, 256)
    # A folder for each person on it, and the video once in each.
    done = here("cluster", "-e", tmp_path / "t.pkl", "-o", tmp_path / "people", "-k", "2")
    assert done.code == 0, done.err
    placed = sorted(p.relative_to(tmp_path / "people") for p in (tmp_path / "people").glob("person_*/*"))
    assert [str(p) for p in placed if p.suffix == ".MP4"] == ["person_A/two.MP4", "person_B/two.MP4"]
    assert (tmp_path / "people/person_A/two.MP4").read_bytes() == clip.read_bytes()
    sheet = read_rgb(tmp_path / "people/person_A.jpg")
    assert sheet.std() > 20
    # Two rows of one person on one video are no two people, and those of one track are one.
    known = hints_of(made)
    joined = faces.track[known.same]
    assert np.all(joined[:, 0] == joined[:, 1])
    assert len(known.same) == len(rows) - 2
    assert len(known.conflicts) == 0
    # The same from a table folder.
    assert here("convert", tmp_path / "t.pkl", tmp_path / "t.faces").code == 0
    assert content(table.read(tmp_path / "t.faces")) == content(made)


def test_threads_make_no_difference(clip: Path, tmp_path: Path) -> None:
    tables = []
    for threads in ("1", "3"):
        output = tmp_path / f"{threads}.pkl"
        assert embed("-i", clip, "-o", output, "--workers", threads, "--fps", "5")[0].code == 0
        tables.append(content(table.read(output)))
    assert tables[0] == tables[1]


def test_more_frames_tell_seconds_better(clip: Path, tmp_path: Path) -> None:
    assert embed("-i", clip, "-o", tmp_path / "t.pkl", "--fps", "10")[0].code == 0
    faces = table.read(tmp_path / "t.pkl").faces
    assert len(faces) <= 6
    assert sorted(set(faces.seen_from.round(1).tolist())) == [0, 3]
    assert sorted(set(faces.seen_to.round(1).tolist())) == pytest.approx([2.9, 5.9])


def test_every_video_has_one_outcome_and_damage_is_told(clip: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copyfile(clip, videos / "whole.mp4")
    shutil.copyfile(clip, videos / "cut.mp4")
    os.truncate(videos / "cut.mp4", clip.stat().st_size * 6 // 10)
    write_video(videos / "grey.mkv", greys(30))
    write_video(videos / "grey_cut.mkv", greys(30) * 4)
    os.truncate(videos / "grey_cut.mkv", (videos / "grey_cut.mkv").stat().st_size // 2)
    write_video(videos / "song.mov", [], sound=1)
    (videos / "empty.avi").touch()
    (videos / "text.webm").write_text("no video\n" * 900)
    (videos / "notes.txt").write_text("no video")
    done, said = embed("-i", videos, "-o", tmp_path / "t.pkl", "--min-face-size", "30")
    assert done.code == 3, done.err
    made = table.read(tmp_path / "t.pkl")
    assert said["inputs"] == len(made.files) == 7
    assert said["outcomes"]["faces"] == 2
    assert reason(made, "whole.mp4") == (Outcome.FACES, "")
    outcome, why = reason(made, "cut.mp4")
    assert outcome == Outcome.FACES
    assert why.startswith("cut off after 3.")
    assert why.endswith("it should last 5.9 s")
    assert f"{videos}/cut.mp4: {why}" in done.err
    assert f"{videos}/cut.mp4: {why}" in said["notes"]
    assert reason(made, "grey.mkv") == (Outcome.NO_FACE, "")
    outcome, why = reason(made, "grey_cut.mkv")
    assert outcome == Outcome.UNREADABLE
    assert why.startswith("cut off after")
    assert why.endswith("no face in what can be read")
    assert reason(made, "song.mov") == (Outcome.UNSUPPORTED, "no moving pictures in it")
    assert reason(made, "empty.avi") == (Outcome.UNREADABLE, "empty file")
    assert reason(made, "text.webm")[0] == Outcome.UNREADABLE
    # Known now; looked at again when asked, or when its bytes are others.
    assert embed("-i", videos, "-o", tmp_path / "t.pkl", "--min-face-size", "30")[1]["looked_at"] == 0
    status, data = (videos / "grey.mkv").stat(), bytearray((videos / "grey.mkv").read_bytes())
    data[-1] ^= 1
    (videos / "grey.mkv").write_bytes(data)
    os.utime(videos / "grey.mkv", ns=(status.st_atime_ns, status.st_mtime_ns))
    again = embed("-i", videos, "-o", tmp_path / "t.pkl", "--min-face-size", "30", "--again", "changed")[1]
    assert again["looked_at"] == 1


def test_faces_that_are_too_small(clip: Path, tmp_path: Path) -> None:
    done, _ = embed("-i", clip, "-o", tmp_path / "t.pkl", "--min-face-size", "250")
    assert done.code == 0
    expected = (Outcome.TOO_SMALL, "all faces are smaller than 250 px")
    assert reason(table.read(tmp_path / "t.pkl"), "two.mp4") == expected


def test_the_clip_of_dev_faces(dev_faces: Path, tmp_path: Path) -> None:
    done, said = embed("-i", dev_faces / "video", "-o", tmp_path / "t.pkl")
    assert (done.code, said["outcomes"]["faces"]) == (0, 1)
    faces = table.read(tmp_path / "t.pkl").faces
    assert 1 <= len(faces) <= 10
    singer = np.flatnonzero(faces.track == 0)  # he is on from the first frame to 7.87 s, with cuts to others
    assert 1 <= len(singer) <= 3
    assert faces.seen_from[singer] == pytest.approx(0.84, abs=0.05)
    assert np.all((faces.seen_to[singer] > 6.9) & (faces.seen_to[singer] < 7.9))
    assert np.abs(faces.yaw[singer]).max() < 35
    assert faces.sharpness[singer].min() > 100


def test_a_video_is_a_shard_of_its_own() -> None:
    paths = ["/a.jpg", "/b.mp4", "/c.jpg", "/d.MKV", "/e.jpg"]
    assert list(shards.divide(paths)) == [["/b.mp4"], ["/d.MKV"], ["/a.jpg", "/c.jpg", "/e.jpg"]]


@pytest.mark.slow
def test_a_decoder_that_crashes_costs_its_file_alone(clip: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "killer.mp4", "z.mp4"):
        another(clip, videos / name)
    running = Running(videos, tmp_path / "t.pkl", FAULT="killer")
    assert running.end() == 3, running.said
    made = table.read(tmp_path / "t.pkl")
    assert made.outcome_counts()["faces"] == 2
    crashed = (Outcome.UNREADABLE, "ended the process that read it: killed by SIGSEGV")
    assert reason(made, "killer.mp4") == crashed


@pytest.mark.slow
def test_killed_between_videos(clip: Path, tmp_path: Path) -> None:
    """A kill costs the video in hand; those that were finished are not looked at again."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(4):
        another(clip, videos / f"{number}.mp4")
    running = Running(videos, tmp_path / "t.pkl", "--fps", "10")
    running.reach(1)
    running.kill()
    running.process.wait()
    done, said = embed("-i", videos, "-o", tmp_path / "t.pkl", "--fps", "10")
    assert done.code == 0
    assert said["looked_at"] < 4
    embed("-i", videos, "-o", tmp_path / "whole.pkl", "--fps", "10")
    assert content(table.read(tmp_path / "t.pkl")) == content(table.read(tmp_path / "whole.pkl"))

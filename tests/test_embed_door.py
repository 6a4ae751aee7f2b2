"""`fo.embed` as a notebook calls it: in memory, with events, on another engine, over tables made long ago."""

from __future__ import annotations

import os
import runpy
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making_tables import content
from running import some_photos

import face_organizer as fo
from face_organizer import table
from face_organizer.embed import shards
from face_organizer.embed.events import Report
from face_organizer.embed.maker import ShardMaker
from face_organizer.embed.setup import EmbedOptions, Setup, stamp_of
from face_organizer.embed.shards import Shard
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU

HERE: dict[str, Any] = {"pack": "opencv", "device": "cpu"}


@pytest.fixture(scope="module")
def photos(dev_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_photos(dev_faces, tmp_path_factory.mktemp("door") / "photos", 20)


@pytest.fixture(scope="module")
def made(photos: Path) -> bytes:
    output = photos.parent / "faces.pkl"
    fo.embed(photos, output, **HERE)
    return output.read_bytes()


def test_in_memory(photos: Path, made: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    result = fo.embed([photos], **HERE)
    assert os.listdir(tmp_path) == [], "nothing is left"
    table.write(result, tmp_path / "faces.pkl")
    assert (tmp_path / "faces.pkl").read_bytes() == made


def test_what_it_tells(photos: Path, tmp_path: Path) -> None:
    (photos.parent / "notes.txt").write_text("no picture")
    events: list[fo.Event] = []
    result = fo.embed(
        [photos, photos.parent / "notes.txt"],
        tmp_path / "f.pkl",
        **HERE,
        workers=1,
        offset=2,
        limit=17,
        on_event=events.append,
    )
    kinds = [type(event) for event in events]
    assert kinds[:3] == [fo.Listed, fo.Chosen, fo.Planned]
    assert set(kinds[3:-1]) == {fo.Progress}
    listed, chosen, planned, done = *events[:3], events[-1]
    assert isinstance(listed, fo.Listed)
    assert (len(listed.paths), len(listed.found.paths), listed.found.other.total(), listed.videos) == (
        17,
        20,
        1,
        0,
    )
    assert isinstance(chosen, fo.Chosen)
    assert chosen.threads is not None
    assert (chosen.pack.name, chosen.devices, chosen.threads.count) == ("opencv", [CPU], 1)
    assert planned == fo.Planned(17, 17)
    progress = [event for event in events if isinstance(event, fo.Progress)]
    assert sum(p.pictures for p in progress) == 17
    assert sum(p.faces for p in progress) == len(result)
    assert isinstance(done, fo.Made)
    assert (done.looked_at, done.backup) == (17, "")
    stages = ["read", "detect", "choose", "align", "embed", "measure", "write"]
    assert list(done.report.seconds) == stages
    events.clear()
    fo.embed(photos, tmp_path / "f.pkl", **HERE, offset=2, limit=17, on_event=events.append)
    assert events[2] == fo.Planned(17, 0)
    assert isinstance(events[-1], fo.Made)
    assert events[-1].looked_at == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"min_confidence": 2}, "min_confidence must be from 0 to 1, not 2"),
        ({"min_face_size": float("nan")}, "min_face_size must be at least 1, not nan"),
        ({"fps": 0}, "fps must be from 0.01 to 240, not 0"),
        ({"faces": "some"}, "faces must be largest or all, not 'some'"),
        ({"enhance": "yes"}, "enhance must be none or clahe, not 'yes'"),
        ({"again": "never"}, "again must be changed, failed or all, not 'never'"),
        ({"shard": "2/2"}, "'2/2' is no shard: say 0/2 and 1/2 for two halves"),
        ({"limit": 0}, "limit must be at least 1, not 0"),
        ({"offset": -1}, "offset must be at least 0, not -1"),
        ({"offset": 20}, "leaves nothing of 20 pictures"),
        ({"device": "toaster"}, "'toaster' is no device"),
    ],
    ids=str,
)
def test_arguments_that_make_no_sense(wrong: dict[str, Any], said: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        fo.embed(photos, tmp_path / "f.pkl", **{**HERE, **wrong})
    assert os.listdir(tmp_path) == []


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(FaceOrganizerError, match=f"no pictures or videos in {tmp_path}"):
        fo.embed(tmp_path, **HERE)


# --- another engine


class InThisProcess:
    """An engine without processes, locks and signals: all that another one has to offer."""

    def __init__(self, only: int | None = None) -> None:
        self.only = only
        self.made: list[int] = []

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        yield

    def run(self, setup: Setup, todo: Sequence[Shard], on_event: Callable[[fo.Event], None]) -> Report:
        maker, report = ShardMaker.open(setup, CPU, threads=1), Report()
        for shard in todo[: self.only]:
            for finished in maker.make(shard, on_progress=on_event):
                report.add(finished.report)
                self.made.append(finished.pictures)
        return report


def test_another_engine_comes_to_the_same_bytes(
    photos: Path, made: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_FILES", 16)
    engine, events = InThisProcess(), list[fo.Event]()
    fo.embed(photos, tmp_path / "f.pkl", pack="opencv", engine=engine, on_event=events.append)
    assert engine.made == [16, 4]
    assert (tmp_path / "f.pkl").read_bytes() == made
    assert os.listdir(tmp_path) == ["f.pkl"]
    assert isinstance(events[1], fo.Chosen)
    assert (events[1].devices, events[1].threads) == ((), None)


def test_an_engine_that_leaves_shards_out_makes_no_table(
    photos: Path, made: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it made counts, for whichever engine comes next."""
    monkeypatch.setattr(shards, "SHARD_FILES", 16)
    with pytest.raises(FaceOrganizerError, match=r"shard-000001.pkl"):
        fo.embed(photos, tmp_path / "f.pkl", pack="opencv", engine=InThisProcess(only=1))
    assert os.listdir(tmp_path) == ["f.pkl.work"]
    events: list[fo.Event] = []
    fo.embed(photos, tmp_path / "f.pkl", **HERE, on_event=events.append)
    assert events[2] == fo.Planned(20, 4)
    assert (tmp_path / "f.pkl").read_bytes() == made


def test_a_part_of_a_shard_never_takes_the_place_of_the_whole(photos: Path, tmp_path: Path) -> None:
    """A process whose run was killed may come late, and stop early."""
    paths = sorted(str(p) for p in photos.iterdir())
    options = EmbedOptions()
    setup = Setup("opencv", options, stamp_of(packs.find("opencv"), options))
    maker = ShardMaker.open(setup, CPU, threads=1)
    shard = Shard(0, paths, tmp_path / "shard-000000.pkl")
    (part,) = maker.make(shard, stopping=iter([False, True]).__next__)
    assert part.pictures == 16
    assert len(table.read(shard.target).files) == 16
    (whole,) = maker.make(shard)
    assert whole.pictures == 20
    (part,) = maker.make(shard, stopping=iter([False, True]).__next__)
    assert part.pictures == 16
    assert len(table.read(shard.target).files) == 20


# --- made by the tree before rooms


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """What the tree before rooms left, and its pictures; `make.py` in the archive tells how it was made.

    It holds absolute paths: of a root of 120 characters, here replaced by another one as long.
    """
    root = tmp_path / ("p" * (119 - len(str(tmp_path))))
    with tarfile.open(Path(__file__).with_name("made_before.tar.xz")) as archive:
        archive.extractall(root, filter="data")
    then, now = b"/tmp/" + b"p" * 115, os.fsencode(root)
    assert len(then) == len(now)
    for path in root.rglob("*.*"):
        if path.suffix in (".pkl", ".json", ".npy") and path.is_file():
            path.write_bytes(path.read_bytes().replace(then, now))
    (root / "photos").mkdir()
    bitmap = runpy.run_path(str(root / "bitmap.py"))["bitmap"]
    for i in range(20):
        photo = root / "photos" / f"{i:02d}.bmp"
        photo.write_bytes(bitmap(50 + i))
        os.utime(photo, ns=(1_700_000_000_000_000_000 + i,) * 2)
    return root


@pytest.mark.parametrize("name", ["whole.pkl", "whole.faces"])
def test_a_table_of_the_tree_before_is_gone_on_with(name: str, before: Path) -> None:
    there = table.read(before / name)
    assert there.outcome_counts()["faces"] == len(there) == 10
    events: list[fo.Event] = []
    again = fo.embed(before / "photos", before / name, **HERE, on_event=events.append)
    assert events[2] == fo.Planned(20, 0)
    assert content(again) == content(there)
    os.utime(before / "photos" / "03.bmp")
    again = fo.embed(before / "photos", before / name, **HERE, on_event=events.append)
    assert isinstance(events[-1], fo.Made)
    assert (events[-1].looked_at, events[-1].backup) == (1, "")
    assert np.array_equal(again.embeddings, there.embeddings)


def test_a_run_of_the_tree_before_is_gone_on_with(before: Path) -> None:
    events: list[fo.Event] = []
    made = fo.embed(before / "photos", before / "begun.pkl", **HERE, on_event=events.append)
    assert events[2] == fo.Planned(20, 12)
    fresh = fo.embed(before / "photos", before / "fresh.pkl", **HERE)
    assert (before / "begun.pkl").read_bytes() == (before / "fresh.pkl").read_bytes()
    assert content(made) == content(fresh)
    assert not (before / "begun.pkl.work").exists()

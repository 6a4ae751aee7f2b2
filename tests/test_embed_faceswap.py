"""FaceSwap crops on their way through extraction: headers believed, not believed, damaged, mixed, refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faceswap_writer as writer
import numpy as np
import pytest
from conftest import read_rgb

from face_organizer.detect import Detector, Look
from face_organizer.embed import maker
from face_organizer.embed.events import Report
from face_organizer.embed.maker import look_at
from face_organizer.embed.setup import EmbedOptions, Models, Setup, open_models, stamp_of
from face_organizer.faceswap import trust
from face_organizer.faceswap.landmarks import Centering
from face_organizer.media.listing import listing
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.types import Detections, FaceTable, Image, Outcome

COUNT = 10
SIZE = 256


class Counting:
    """A detector that counts the pictures it is shown."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.shown = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def detect(self, canvases: Image, min_score: float) -> list[Detections]:
        """As the detector does."""
        self.shown += len(canvases)
        return self._detector.detect(canvases, min_score)


@pytest.fixture(scope="module")
def models() -> Models:
    return open_models(packs.find("opencv"), CPU)


@pytest.fixture(scope="module")
def people(dev_faces: Path) -> list[tuple[Image, np.ndarray]]:
    """Photos with a face of some size, and its 68 landmarks by dlib."""
    folder = dev_faces / "detection_gt_dlib"
    faces = [(n, p) for n, p in writer.dlib_faces(folder) if np.ptp(p, axis=0).min() > 50]
    return [(read_rgb(folder / name), points) for name, points in faces[:COUNT]]


def write(
    folder: Path,
    people: Sequence[tuple[Image, np.ndarray]],
    centering: Centering = Centering.HEAD,
    spoil: Callable[[Image], Image] = lambda crop: crop,
) -> Path:
    """A folder of crops as FaceSwap leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    version = 2.0 if centering is Centering.LEGACY else 2.4
    for i, (photo, points) in enumerate(people):
        crop = spoil(writer.crop(photo, points, SIZE, centering))
        meta = writer.header(
            points,
            masks=1,
            source_filename=f"frame {i}.png",
            face_index=i,
            source_frame_dims=photo.shape[:2],
            alignments_version=version,
        )
        (folder / f"{i:02d}.png").write_bytes(writer.png(crop, meta))
    return folder


def run(folder: Path, models: Models, threads: int = 2, **options: Any) -> tuple[FaceTable, Report, int]:
    """The table, the run, and how many canvases the detector saw."""
    counting = Counting(models.detector)
    settings = EmbedOptions(**options)
    paths = listing([folder]).paths
    table, took = look_at(
        paths,
        Models(counting, models.embedder),  # type: ignore[arg-type]
        Setup("", settings, stamp_of(packs.find("opencv"), settings), trust.samples(paths)),
        threads,
    )
    return table, took, counting.shown


@pytest.mark.parametrize("centering", list(Centering))
def test_believed_headers(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path, centering: Centering
) -> None:
    table, took, shown = run(write(tmp_path / "crops", people, centering), models)
    assert table.outcome_counts()["faces"] == len(table) == COUNT
    assert took.counts["by FaceSwap header"] == COUNT
    assert took.notes == []
    assert set(table.files.reason) == {"aligned by its FaceSwap header"}
    assert np.isnan(table.faces.score).all()
    assert list(table.faces.source_filename) == [f"frame {i}.png" for i in range(COUNT)]
    assert table.faces.source_face.tolist() == list(range(COUNT))
    assert table.faces.frame_height.tolist() == [photo.shape[0] for photo, _ in people]
    assert table.faces.frame_width.tolist() == [photo.shape[1] for photo, _ in people]
    assert (table.files.width == SIZE).all()
    # no detection but for the sample (its unsure ones more than once)
    sample = trust.samples(listing([tmp_path / "crops"]).paths)
    assert [len(s) for s in sample.values()] == [8]
    counting = Counting(models.detector)
    judge = trust.Crops(counting, EmbedOptions().look, sample)  # type: ignore[arg-type]
    judge._judge(str(tmp_path / "crops"), ("FaceSwap", centering is Centering.LEGACY))
    assert shown == counting.shown


def test_header_and_detection_give_the_same_person(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    folder = write(tmp_path / "crops", people)
    by_header, _, _ = run(folder, models)
    detected, took, shown = run(folder, models, headers=False)
    assert shown >= COUNT
    assert took.counts["by FaceSwap header"] == 0
    assert not np.isnan(detected.faces.score).any()
    assert set(detected.faces.source_filename) == {""}
    both = [i for i, o in enumerate(detected.files.outcome) if o == Outcome.FACES]
    assert len(both) >= COUNT - 1
    rows = by_header.embeddings[both]
    assert np.median((rows * detected.embeddings).sum(axis=1)) >= 0.9


def test_wrong_headers_of_a_folder(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    folder = write(tmp_path / "crops", people, spoil=lambda c: np.roll(c, SIZE // 4, axis=1))
    table, took, _ = run(folder, models)
    assert took.counts["by FaceSwap header"] == 0
    assert len(took.notes) == 1
    assert took.notes[0].startswith(f"{folder}: FaceSwap headers not used, faces are detected instead: ")
    assert table.outcome_counts()["faces"] >= COUNT // 2
    assert not np.isnan(table.faces.score).any()
    assert all("the detector does not confirm this folder's" in reason for reason in table.files.reason)
    # what the header tells of the source is kept all the same
    assert "frame 0.png" in list(table.faces.source_filename)


def test_folders_are_judged_apart(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    write(tmp_path / "all" / "bad", people, spoil=lambda c: np.roll(c, SIZE // 4, axis=1))
    write(tmp_path / "all" / "good", people)
    write(tmp_path / "all" / "old", people, Centering.LEGACY)
    table, took, _ = run(tmp_path / "all", models)
    assert took.counts["by FaceSwap header"] == 2 * COUNT
    assert [note.split(":")[0] for note in took.notes] == [str(tmp_path / "all" / "bad")]
    used = {
        Path(p).parent.name
        for p, r in zip(table.files.path, table.files.reason, strict=True)
        if "aligned by" in r
    }
    assert used == {"good", "old"}


def test_a_mixed_folder(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path, dev_faces: Path
) -> None:
    """Crops, photos, PNGs without a header, a damaged header, a crop that was cut: each as it deserves."""
    folder = write(tmp_path / "crops", people)
    photo, points = people[0]
    crop = writer.crop(photo, points, SIZE, Centering.HEAD)
    meta = writer.header(points)
    (folder / "a photo.jpg").write_bytes((dev_faces / "identities/Al_Gore/Al_Gore_0001.jpg").read_bytes())
    (folder / "b none.png").write_bytes(writer.png(crop, None))
    (folder / "c damaged.png").write_bytes(writer.png(crop, "{'alignments': {'x': __import__('os')"))
    (folder / "d huge.png").write_bytes(writer.png(crop, b"{" + b" " * (5 << 20)))
    (folder / "e oblong.png").write_bytes(writer.png(np.ascontiguousarray(crop[20:]), meta))
    (folder / "f no face.png").write_bytes(writer.png(crop, writer.header(np.tile(points[:1], (68, 1)))))
    (folder / "g blank.png").write_bytes(writer.png(np.zeros_like(crop), "{}"))
    table, took, _ = run(folder, models)
    reason = {Path(p).name: r for p, r in zip(table.files.path, table.files.reason, strict=True)}
    outcome = {Path(p).name: Outcome(o) for p, o in zip(table.files.path, table.files.outcome, strict=True)}
    assert took.counts["by FaceSwap header"] == COUNT
    assert took.notes == []
    assert reason["a photo.jpg"] == reason["b none.png"] == ""
    for name in ("c damaged.png", "d huge.png", "e oblong.png", "f no face.png", "g blank.png"):
        assert reason[name].startswith("FaceSwap header not used: "), name
    assert "4194304" in reason["d huge.png"]
    assert "no square crop" in reason["e oblong.png"]
    assert "no face's" in reason["f no face.png"]
    assert outcome.pop("g blank.png") == Outcome.NO_FACE
    assert set(outcome.values()) == {Outcome.FACES}


def test_threads_and_chunks_make_no_difference(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "crops", people)
    one, _, _ = run(folder, models, threads=1)
    monkeypatch.setattr(maker, "CHUNK_FILES", 3)
    other, _, _ = run(folder, models, threads=5)
    np.testing.assert_allclose(one.embeddings, other.embeddings, atol=1e-5)
    np.testing.assert_array_equal(one.faces.landmarks, other.faces.landmarks)
    assert list(one.files.reason) == list(other.files.reason)


def test_a_turned_crop_is_aligned_by_its_header(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    """Crops are upright whatever the face was on its frame; its header tells so."""
    frames = []
    for photo, points in people:
        side = photo.shape[0]
        turned = np.ascontiguousarray(np.rot90(photo))  # (x, y) → (y, width − 1 − x)
        frames.append((turned, np.stack([points[:, 1], photo.shape[1] - 1 - points[:, 0]], axis=1)))
        assert side == turned.shape[1]
    upright, _, _ = run(write(tmp_path / "upright", people), models)
    table, took, _ = run(write(tmp_path / "turned", frames), models)
    assert took.counts["by FaceSwap header"] == COUNT
    assert np.median((upright.embeddings * table.embeddings).sum(axis=1)) > 0.98


def test_samples_are_spread_over_a_folder() -> None:
    paths = [f"/a/{i:03d}.png" for i in range(100)] + ["/a/x.jpg", "/b/1.PNG", "/b/2.png", "/c/3.jpg"]
    chosen = trust.samples(paths)
    assert chosen.keys() == {"/a", "/b", "/c"}
    assert chosen["/b"] == ["/b/1.PNG", "/b/2.png"]
    assert chosen["/a"].pop() == "/a/x.jpg"  # JPEGs beside them have a sample of their own
    assert len(set(chosen["/a"])) == 8
    assert (chosen["/a"][0], chosen["/a"][-1]) == ("/a/000.png", "/a/099.png")
    gaps = np.diff([int(p[3:6]) for p in chosen["/a"]])
    assert gaps.max() - gaps.min() <= 1


def test_a_damaged_crop_in_the_sample_is_left_out(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    folder = write(tmp_path / "crops", people)
    for name in ("00.png", "09.png"):  # both of the sample
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) * 2 // 3])
    table, took, _ = run(folder, models)
    assert table.outcome_counts()["unreadable"] == 2
    assert took.counts["by FaceSwap header"] == COUNT - 2
    assert took.notes == []


def test_the_finder_is_not_asked_for_sizes_of_no_pictures(models: Models) -> None:
    judge = trust.Crops(models.detector, Look(), {})
    assert judge._judge("/nowhere", ("FaceSwap", False)).centering is None

"""The way of a picture: every file has its outcome, and neither threads nor companions change a face."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import read_rgb
from making_tables import content

from face_organizer.embed import maker, pictures
from face_organizer.embed.events import Report
from face_organizer.embed.maker import ShardMaker, look_at
from face_organizer.embed.setup import EmbedOptions, Models, Setup, open_models, stamp_of
from face_organizer.errors import ImageError
from face_organizer.geometry import align, quality
from face_organizer.media import images
from face_organizer.media.listing import listing
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.types import FaceTable, Image, Outcome

PACK = packs.find("opencv")


@pytest.fixture(scope="module")
def models() -> Models:
    return open_models(PACK, CPU)


@pytest.fixture(scope="module")
def photos(dev_faces: Path) -> list[str]:
    found = sorted((dev_faces / "identities").glob("*/*.jpg"))
    return [str(p) for p in found[:: len(found) // 20][:20]]


def run(
    paths: Sequence[str | Path], models: Models, threads: int = 2, **options: Any
) -> tuple[FaceTable, Report]:
    settings = EmbedOptions(**options)
    return look_at([str(p) for p in paths], models, Setup("", settings, stamp_of(PACK, settings)), threads)


def save(path: Path, picture: Image, quality: int = 95) -> Path:
    path.write_bytes(
        cv2.imencode(path.suffix, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    )
    return path


def outcomes(table: FaceTable) -> dict[str, Outcome]:
    return {Path(p).name: Outcome(o) for p, o in zip(table.files.path, table.files.outcome, strict=True)}


def reasons(table: FaceTable) -> dict[str, str]:
    return {Path(p).name: r for p, r in zip(table.files.path, table.files.reason, strict=True)}


# --- outcomes ---


def test_every_file_has_one_outcome(models: Models, dev_faces: Path, tmp_path: Path) -> None:
    for source in (dev_faces / "broken").iterdir():
        shutil.copyfile(source, tmp_path / source.name)
    shutil.copyfile(dev_faces / "identities/Al_Gore/Al_Gore_0001.jpg", tmp_path / "face.jpg")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "photo.jxl").write_bytes(b"x")
    save(tmp_path / "grey.png", np.full((300, 200, 3), 99, np.uint8))
    paths = listing([tmp_path]).paths
    table, _ = run(paths, models)
    assert list(table.files.path) == list(paths)
    assert sum(table.outcome_counts().values()) == len(paths) == 23
    said = outcomes(table)
    assert said["face.jpg"] == Outcome.FACES
    assert said["grey.png"] == Outcome.NO_FACE
    assert said["photo.jxl"] == Outcome.UNSUPPORTED
    for name in (
        "empty.jpg",
        "gone.jpg",
        "broken.png",
        "truncated_jpeg.jpg",
        "truncated_image.png",
        "zero_width.gif",
    ):
        assert said[name] == Outcome.UNREADABLE, name
    bad = [o in (Outcome.UNREADABLE, Outcome.UNSUPPORTED) for o in said.values()]
    assert all(bool(r) == b for r, b in zip(table.files.reason, bad, strict=True))
    assert [Path(p).name for p, r in zip(table.files.path, table.files.retry, strict=True) if r] == [
        "gone.jpg"
    ]


def test_no_files(models: Models) -> None:
    table, _ = run([], models)
    assert (len(table), len(table.files), table.embeddings.shape) == (0, 0, (0, PACK.embedder.dim))


def test_shards_in_one_go_are_what_they_are_alone(models: Models, photos: list[str]) -> None:
    parts: list[list[str]] = [photos[:18], [], photos[18:19], photos[10:14]]
    begun: list[int] = []

    def shards() -> Iterator[list[str]]:
        for number, part in enumerate(parts):
            begun.append(number)
            yield part

    settings = EmbedOptions()
    chunks: list[FaceTable] = []
    setup = Setup(PACK.location, settings, stamp_of(PACK, settings))
    each = ShardMaker(models, setup, threads=2).tables(shards(), chunks.append)
    made = [next(each)]
    assert begun == [0, 1, 2, 3], "the next ones are begun before the first is through"
    made += each
    assert [content(table) for table, _ in made] == [content(run(part, models)[0]) for part in parts]
    assert sum(len(chunk.files) for chunk in chunks) == sum(map(len, parts))


def test_small_faces_beside_others_are_counted(models: Models, photos: list[str], tmp_path: Path) -> None:
    scene = np.zeros((600, 800, 3), np.uint8)
    scene[:500, :500] = cv2.resize(read_rgb(Path(photos[0])), (500, 500))
    scene[500:600, 600:700] = cv2.resize(read_rgb(Path(photos[1])), (100, 100), interpolation=cv2.INTER_AREA)
    path = save(tmp_path / "scene.png", scene)
    for least, faces in ((20, 2), (90, 1)):
        table, took = run([path], models, faces="all", min_face_size=least)
        assert (len(table), took.counts["with smaller faces left out"]) == (faces, 2 - faces)


def test_faces_that_are_too_small(models: Models, photos: list[str]) -> None:
    table, _ = run(photos[:3], models, min_face_size=200)
    assert set(outcomes(table).values()) == {Outcome.TOO_SMALL}
    assert len(table) == 0
    whole, _ = run(photos[:3], models)
    for reason, size in zip(table.files.reason, whole.faces.size, strict=True):
        largest = int(reason.removeprefix("largest face ").removesuffix(" px, the least is 200"))
        assert largest == pytest.approx(size, rel=0.15)


# --- the same whoever comes along ---


@pytest.mark.parametrize("threads", [1, 5])
def test_any_number_of_threads_gives_the_same_table(
    models: Models, photos: list[str], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "CHUNK_FILES", 3)
    two, _ = run(photos, models, threads=2)
    seen: list[int] = []
    settings = EmbedOptions()
    other, _ = look_at(
        photos,
        models,
        Setup("", settings, stamp_of(PACK, settings)),
        threads,
        lambda chunk: seen.append(len(chunk.files)),
    )
    assert content(other) == content(two)
    assert seen == [3] * 6 + [2]


def test_companions_make_no_difference(
    models: Models, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    together, _ = run(photos, models)
    monkeypatch.setattr(maker, "CHUNK_FILES", 1)
    apart, _ = run(photos, models)
    for name in ("box", "landmarks", "score", "sharpness", "yaw", "norm"):
        np.testing.assert_allclose(
            getattr(apart.faces, name), getattr(together.faces, name), rtol=1e-4, atol=1e-3
        )
    np.testing.assert_allclose(apart.embeddings, together.embeddings, atol=1e-5)
    assert apart.faces.turn.tolist() == together.faces.turn.tolist()


# --- large pictures ---


def placed(photo: Image, side: int, width: int, left: int = 0) -> Image:
    """The photo `width` pixels wide, on a noisy grey square of `side`."""
    canvas = np.random.default_rng(0).integers(110, 130, (side, side, 3), np.uint8)
    small = cv2.resize(
        photo, (width, width), interpolation=cv2.INTER_AREA if width < 250 else cv2.INTER_CUBIC
    )
    canvas[100 : 100 + width, left : left + width] = small
    return canvas


def wrap_decoder(
    monkeypatch: pytest.MonkeyPatch, around: Callable[[int, int, Callable[[], Image]], Image]
) -> None:
    """Pictures are decoded by `around(content, reduction, decode)`."""
    real = images.decoders.open_picture

    def open_picture(data: bytes, max_pixels: int) -> tuple[int, int, Callable[[int], Image]]:
        width, height, decode = real(data, max_pixels)
        content = images.content_of(data)
        return width, height, lambda reduction: around(content, reduction, lambda: decode(reduction))

    monkeypatch.setattr(images.decoders, "open_picture", open_picture)


def test_reduced_decoding_gives_the_same_face(
    models: Models, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for i, name in enumerate(photos[:6]):
        large = cv2.resize(read_rgb(Path(name)), (3000, 3000), interpolation=cv2.INTER_CUBIC)
        paths.append(save(tmp_path / f"{i}.jpg", large))
    decoded = []

    def counted(_: int, reduction: int, decode: Callable[[], Image]) -> Image:
        decoded.append(reduction)
        return decode()

    wrap_decoder(monkeypatch, counted)
    reduced, _ = run(paths, models)
    assert len(decoded) >= 6
    assert min(decoded) > 1, "never the whole"
    monkeypatch.setattr(images.Shrinkable, "_reduction", lambda self, longer_side: 1)
    whole, _ = run(paths, models)
    assert len(reduced) == len(whole) == 6
    assert ((reduced.embeddings * whole.embeddings).sum(axis=1) >= 0.97).all()
    assert (reduced.files.width == 3000).all()
    np.testing.assert_allclose(
        reduced.faces.landmarks, whole.faces.landmarks, atol=0.05 * whole.faces.size.max()
    )


def test_a_small_face_in_a_large_picture_is_cut_from_the_whole_of_it(
    models: Models, photos: list[str], tmp_path: Path
) -> None:
    photo = read_rgb(Path(photos[0]))
    path = save(tmp_path / "large.jpg", placed(photo, 2400, 250, left=900))
    table, _ = run([path], models, faces="all")
    assert len(table) == 1
    matrix = align.estimate(table.faces.landmarks)[0]
    sharp = align.warp(read_rgb(path), matrix)
    assert table.faces.size[0] < 180
    expected = quality.light([sharp])[0][0]
    assert table.faces.sharpness[0] == pytest.approx(expected, rel=0.02)
    raw = models.embedder.embed(sharp[None])[0]
    assert table.embeddings[0] @ raw / np.linalg.norm(raw) > 0.999


def test_damaged_far_in(
    models: Models, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small, it can be decoded; whole, for its small face, it cannot. Its companions do not suffer."""
    large = save(tmp_path / "large.jpg", placed(read_rgb(Path(photos[0])), 2400, 250, left=900))
    paths = sorted([*photos[:3], str(large)])
    bad = images.content_of(large.read_bytes())
    healthy, _ = run(paths, models, faces="all")
    assert outcomes(healthy)["large.jpg"] == Outcome.FACES

    def damaged(content: int, reduction: int, decode: Callable[[], Image]) -> Image:
        if content == bad and reduction == 1:
            raise ImageError(Outcome.UNREADABLE, "damaged: far in")
        return decode()

    wrap_decoder(monkeypatch, damaged)
    table, _ = run(paths, models, faces="all")
    _only_one_suffers(table, healthy, "damaged: far in")


def test_damaged_for_the_detector(
    models: Models, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look goes well and finds nothing; the pixels for the second are damaged."""
    large = save(tmp_path / "large.jpg", placed(read_rgb(Path(photos[0])), 2400, 60, left=900))
    paths = sorted([*photos[:3], str(large)])
    bad = images.content_of(large.read_bytes())
    healthy, _ = run(paths, models)

    def damaged(content: int, reduction: int, decode: Callable[[], Image]) -> Image:
        if content == bad and reduction < 4:
            raise ImageError(Outcome.UNREADABLE, "damaged: not that far in")
        return decode()

    wrap_decoder(monkeypatch, damaged)
    table, _ = run(paths, models)
    _only_one_suffers(table, healthy, "damaged: not that far in")


def _only_one_suffers(table: FaceTable, healthy: FaceTable, reason: str) -> None:
    assert outcomes(table)["large.jpg"] == Outcome.UNREADABLE
    assert reasons(table)["large.jpg"] == reason
    rest = np.array([not p.endswith("large.jpg") for p in healthy.files.path])
    assert content(table.take_files(rest)) == content(healthy.take_files(rest))


def test_a_jpeg_that_is_cut_off(models: Models, photos: list[str], tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg", cv2.resize(read_rgb(Path(photos[0])), (2000, 2000)))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    table, _ = run([cut, whole], models)
    assert list(outcomes(table).values()) == [Outcome.UNREADABLE, Outcome.FACES]
    assert reasons(table)["cut.jpg"].startswith("damaged: ")


# --- options ---


def test_all_faces_of_a_group(models: Models, dev_faces: Path) -> None:
    path = dev_faces / "picasa" / "modern_family_pic_1.jpg"
    every, _ = run([path], models, faces="all")
    largest, _ = run([path], models, faces="largest")
    assert len(every) >= 5
    assert len(largest) == 1
    assert every.faces.face_index.tolist() == list(range(len(every)))
    picture = read_rgb(path)
    from face_organizer.geometry.boxes import prominence

    order = prominence(every.faces.box, picture.shape[1], picture.shape[0])
    assert (np.diff(order) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(every.embeddings, axis=1), 1, atol=1e-5)
    some, _ = run([path], models, faces="all", min_face_size=float(np.median(every.faces.size)))
    assert 0 < len(some) < len(every)
    assert some.faces.face_index.tolist() == list(range(len(some)))


def test_max_side(models: Models, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = save(tmp_path / "large.jpg", cv2.resize(read_rgb(Path(photos[0])), (3000, 3000)))
    shapes = []

    def seen(_: int, reduction: int, decode: Callable[[], Image]) -> Image:
        pixels = decode()
        shapes.append(max(pixels.shape))
        return pixels

    wrap_decoder(monkeypatch, seen)
    table, _ = run([large], models, max_side=400, faces="all")
    assert max(shapes) < 800
    assert (table.files.width[0], len(table)) == (3000, 1)
    assert table.faces.size[0] > 800, "in pixels of the picture"
    assert table.stamp is not None
    assert table.stamp.options["max_side"] == 400


def test_clahe_lights_and_stamps(models: Models, photos: list[str], tmp_path: Path) -> None:
    dark = save(tmp_path / "dark.png", (read_rgb(Path(photos[0])) // 5).astype(np.uint8))
    plain, _ = run([dark], models)
    lit, _ = run([dark], models, enhance="clahe")
    assert len(plain) == len(lit) == 1
    assert lit.faces.brightness[0] > plain.faces.brightness[0] + 5
    assert plain.stamp is not None
    assert lit.stamp is not None
    assert (plain.stamp.options["enhance"], lit.stamp.options["enhance"]) == ("none", "clahe")


def test_turns_off(models: Models, photos: list[str], tmp_path: Path) -> None:
    path = save(tmp_path / "down.png", np.ascontiguousarray(read_rgb(Path(photos[0]))[::-1, ::-1]))
    auto, took = run([path], models)
    off, _ = run([path], models, turns=False)
    assert abs(int(auto.faces.turn[0]) - 180) < 45
    assert took.counts["turned"] == 1
    assert off.faces.turn.tolist() in ([], [0])


# --- what the columns say ---


def test_columns_are_sane(models: Models, photos: list[str]) -> None:
    table, took = run(photos, models)
    faces = table.faces
    assert len(table) == len(photos)
    assert ((faces.size > 30) & (faces.size < 250)).all()
    assert ((faces.sharpness > 0) & (faces.sharpness < 20_000)).all()
    assert ((faces.brightness > 20) & (faces.brightness < 235)).all()
    assert (np.abs(faces.yaw) < 75).all()
    assert np.abs(np.median(faces.pitch)) < 25
    assert np.abs(np.median(faces.roll)) < 10
    assert (faces.norm > 0).all()
    assert (faces.outside == 0).mean() > 0.8
    assert ((faces.score >= 0.5) & (faces.score <= 1)).all()
    np.testing.assert_allclose(np.linalg.norm(table.embeddings, axis=1), 1, atol=1e-5)
    for i, path in enumerate(photos):
        status = Path(path).stat()
        assert (table.files.bytes[i], table.files.mtime_ns[i]) == (status.st_size, status.st_mtime_ns)
        assert table.files.content[i] == images.content_of(Path(path).read_bytes())
    assert took.seconds.keys() == {"read", "detect", "choose", "align", "embed", "measure"}


def test_a_face_cut_off_by_the_edge_is_partly_outside(
    models: Models, photos: list[str], tmp_path: Path
) -> None:
    photo = read_rgb(Path(photos[0]))
    whole, _ = run(photos[:1], models)
    x1, _, x2, _ = whole.faces.box[0]
    cut = np.ascontiguousarray(photo[:, int(x1 + (x2 - x1) * 0.25) :])
    table, _ = run([save(tmp_path / "cut.png", cut)], models)
    assert len(table) == 1
    assert 0.02 < table.faces.outside[0] < 0.5


# --- memory ---


@pytest.mark.parametrize(("limit", "value", "most"), [("CHUNK_FILES", 4, 4), ("BATCH_PIXELS", 100_000, 2)])
def test_pictures_are_let_go(
    models: Models, photos: list[str], monkeypatch: pytest.MonkeyPatch, limit: str, value: int, most: int
) -> None:
    monkeypatch.setattr(maker if limit == "CHUNK_FILES" else pictures, limit, value)
    alive: weakref.WeakSet[images.Source] = weakref.WeakSet()
    counts = []
    open_source = images.open_source

    def opened(path: str, **options: Any) -> images.Source:
        source = open_source(path, **options)
        alive.add(source)
        counts.append(len(alive))
        return source

    monkeypatch.setattr(images, "open_source", opened)
    chunks: list[FaceTable] = []
    settings = EmbedOptions()
    look_at(photos, models, Setup("", settings, stamp_of(PACK, settings)), 1, chunks.append)
    assert len(counts) == len(photos)
    assert max(counts) <= most + 1
    assert len(alive) == 0

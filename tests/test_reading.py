"""Whatever people's folders hold: read as a viewer shows it, or refused in words; never passed over."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import making_tables
import numpy as np
import pytest
import tifffile
from conftest import read_rgb
from PIL import Image as Pillow
from shell import here

import face_organizer as fo
from face_organizer.errors import FaceOrganizerError, ImageError
from face_organizer.evaluate.truth import csv_rows
from face_organizer.geometry.boxes import overlap
from face_organizer.media import images, kinds, video
from face_organizer.media.listing import listing
from face_organizer.types import Image, Outcome


@pytest.fixture(scope="module")
def portraits(dev_faces: Path) -> list[Image]:
    return [read_rgb(path) for path in sorted((dev_faces / "identities").glob("*/*_0001.jpg"))[:12]]


def film(path: Path, frames: Sequence[Image], form: str, codec: str) -> Path:
    with av.open(str(path), "w", format=form) as out:
        stream: Any = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    return path


# --- which files there are ---


@pytest.mark.parametrize(
    ("name", "form", "codec"),
    [
        ("a.m4v", "mp4", "mpeg4"),
        ("a.3gp", "3gp", "mpeg4"),
        ("a.MTS", "mpegts", "mpeg2video"),
        ("a.ts", "mpegts", "mpeg2video"),
        ("a.mpg", "mpeg", "mpeg2video"),
        ("a.vob", "vob", "mpeg2video"),
        ("a.wmv", "asf", "wmv2"),
        ("a.flv", "flv", "flv"),
        ("without an ending", "mp4", "mpeg4"),
        ("a.strange", "matroska", "mpeg4"),
    ],
)
def test_videos_of_all_kinds(
    portraits: list[Image], tmp_path: Path, name: str, form: str, codec: str
) -> None:
    frame = cv2.resize(portraits[0], (256, 256))
    path = film(tmp_path / name, [frame] * 30, form, codec)
    assert [Path(p).name for p in listing([tmp_path]).paths] == [name]
    assert kinds.is_video(str(path))
    with video.open_video(str(path)) as opened:
        shown = list(opened.samples(1))
    assert len(shown) >= 2
    assert np.abs(shown[0][1].astype(int) - frame).mean() < 12


def test_by_content_where_the_ending_tells_nothing(portraits: list[Image], tmp_path: Path) -> None:
    for name, form in (("photo", "JPEG"), ("photo.bin", "PNG"), ("x.dat", "WEBP"), ("y.2017", "TIFF")):
        Pillow.fromarray(portraits[0]).save(tmp_path / name, form)
    (tmp_path / "code.ts").write_text("const a: number = 1;\n" * 50)
    (tmp_path / "module.mts").write_text("export {}\n" * 50)
    (tmp_path / "notes").write_text("GIFts for Anna\n")
    found = listing([tmp_path])
    assert sorted(Path(p).name for p in found.paths) == ["photo", "photo.bin", "x.dat", "y.2017"]
    assert found.other == {".ts": 1, ".mts": 1, "": 1}
    for path in found.paths:
        assert images.read(path).shape == portraits[0].shape


@pytest.mark.parametrize("name", ["e.jxl", "f.insp", "g.rmvb"])
def test_what_cameras_write_and_nothing_here_reads_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    table = fo.embed([tmp_path], device="cpu")
    assert table.files.outcome.tolist() == [Outcome.UNSUPPORTED]
    assert "JPEG" in table.files.reason[0] or "MP4" in table.files.reason[0]


def test_litter_of_systems_is_no_photo(portraits: list[Image], tmp_path: Path) -> None:
    good = ["a.jpg", "2017/b.jpg", ".hidden/c.jpg", "Trash of 2017/d.jpg"]
    bad = ["@eaDir/a.jpg", "x/#recycle/b.jpg", ".Trash-1000/files/c.jpg", ".thumbnails/d.jpg", "._a.jpg"]
    bad += [".picasaoriginals/e.jpg", "lost+found/f.jpg", "app/cache/g.jpg", "app/z.jpg", "deep/.ignore"]
    bad += ["deep/h.jpg"]
    for name in good + bad:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "app" / ".nomedia").touch()
    found = listing([tmp_path])
    assert {os.path.relpath(p, tmp_path) for p in found.paths} == set(good)
    assert found.system == 9
    everything = listing([tmp_path], skip_system=False)
    assert len(everything.paths) == len(good + bad) - 1
    assert listing([tmp_path / "@eaDir"]).paths == [str(tmp_path / "@eaDir" / "a.jpg")], "named is wanted"


def test_a_pattern_of_folders_and_one_that_matches_nothing(tmp_path: Path) -> None:
    for name in ("a/thumbs/x.jpg", "thumbs", "b.jpg", "2017/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    found = listing([tmp_path], exclude=["thumbs/", "2017/", "*.png", "nowhere/"])
    assert [os.path.relpath(p, tmp_path) for p in found.paths] == ["b.jpg", "thumbs"]
    assert found.unmatched == ["*.png", "nowhere/"]


def test_the_film_of_a_live_photo_is_not_a_second_picture(shared: Path, tmp_path: Path) -> None:
    pair = shared / "data/formats/real/limitpoint"
    for source, name in (("keyPhoto.jpg", "IMG_1.JPG"), ("pairedVideo.mov", "IMG_1.MOV")):
        (tmp_path / name).write_bytes((pair / source).read_bytes())
    (tmp_path / "IMG_2.MOV").write_bytes((pair / "pairedVideo.mov").read_bytes())
    (tmp_path / "IMG_3.jpg").write_bytes(b"x")
    (tmp_path / "IMG_3.mov").write_bytes(b"a film of its own")
    found = listing([tmp_path])
    assert [Path(p).name for p in found.paths] == ["IMG_1.JPG", "IMG_2.MOV", "IMG_3.jpg", "IMG_3.mov"]
    assert found.paired == 1
    assert len(listing([tmp_path], pairs=True).paths) == 5


# --- what is in them ---


def tiff(
    picture: Image, kind: str, bits: str, planar: str, tile: Any, compression: str | None
) -> bytes | None:
    """A TIFF of that kind as `tifffile` writes it; None where it cannot."""
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    values: Any = {
        "rgb": picture,
        "grey": picture[..., 1],
        "rgba": np.concatenate([picture, opaque], axis=2),
        "cmyk": np.concatenate([255 - picture, 0 * opaque], axis=2),
        "palette": picture[..., 1],
    }[kind]
    scale = {"u1": 1, "u2": 257, "u4": 16_843_009, "f4": np.float32(1 / 255)}[bits]
    values = (values.astype(bits) * scale).astype(bits) if kind != "palette" else values
    more: dict[str, Any] = (
        {"colormap": np.stack([np.arange(256) * 257] * 3).astype("u2")} if kind == "palette" else {}
    )
    if kind == "rgba":
        more["extrasamples"] = ["unassalpha"]
    if planar == "separate":
        values = np.moveaxis(values, 2, 0) if values.ndim == 3 else values
    names = {"grey": "minisblack", "rgba": "rgb", "cmyk": "separated"}
    file = io.BytesIO()
    try:
        tifffile.imwrite(
            file,
            values,
            photometric=names.get(kind, kind),
            planarconfig=planar if values.ndim == 3 else None,
            tile=tile,
            compression=compression,
            **more,
        )
    except (ValueError, NotImplementedError, ImportError, KeyError):
        return None
    return file.getvalue()


def test_tiffs_of_all_kinds_are_right_or_refused_in_words(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (12, 16, 3), np.uint8)
    picture = np.asarray(cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC), np.uint8)
    path, read = tmp_path / "a.tif", 0
    kinds_ = itertools.product(
        ("rgb", "grey", "rgba", "cmyk", "palette"),
        ("u1", "u2", "u4", "f4"),
        ("contig", "separate"),
        (None, (64, 64)),
        (None, "lzw", "zlib", "jpeg"),
    )
    for kind, bits, planar, tile, compression in kinds_:
        if (data := tiff(picture, kind, bits, planar, tile, compression)) is None:
            continue
        path.write_bytes(data)
        wanted = np.repeat(picture[..., 1:2], 3, axis=2) if kind in ("grey", "palette") else picture
        got, refused = None, Outcome.UNSUPPORTED
        with contextlib.suppress(ImageError):
            got = images.read(str(path))
        if got is None:
            with pytest.raises(ImageError, match="bits") as error:
                images.read(str(path))
            assert error.value.outcome == refused, (kind, bits, planar)
            continue
        read += 1
        assert np.abs(got.astype(int) - wanted).mean() < 3, (kind, bits, planar, tile, compression)
    assert read >= 40


def test_pages_of_a_tiff_and_frames_of_animations(portraits: list[Image], tmp_path: Path) -> None:
    """Each page is a place of its own; an animation is looked at like a short video."""
    pages = [Pillow.fromarray(p) for p in portraits[:3]]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    two = [pages[0]] * 6 + [pages[1]] * 6
    for name in ("a.gif", "b.webp", "c.apng"):
        form = {"a.gif": "GIF", "b.webp": "WEBP", "c.apng": "PNG"}[name]
        two[0].save(
            tmp_path / name, form, save_all=True, append_images=two[1:], duration=250, loop=0, quality=95
        )
    pages[0].save(tmp_path / "one.tif")
    pages[0].save(tmp_path / "one.gif")
    thumbnail = pages[0].resize((60, 60))
    pages[0].save(tmp_path / "thumb.tif", save_all=True, append_images=[thumbnail])
    table = fo.embed([tmp_path], device="cpu")
    assert set(table.files.outcome.tolist()) == {Outcome.FACES}
    rows = {Path(p).name: table.faces.file_index == i for i, p in enumerate(table.files.path)}
    assert sorted(table.faces.time[rows["pages.tif"]].tolist()) == [0, 1, 2]
    for name in ("a.gif", "b.webp", "c.apng"):
        own = table.embeddings[rows[name]]
        assert len(own) >= 2, name
        assert (own @ own.T).min() < 0.3, f"two people on {name}"
    for name in ("one.tif", "one.gif", "thumb.tif"):
        assert rows[name].sum() == 1
        assert np.isnan(table.faces.time[rows[name]]).all()


def test_heic_and_jpeg_2000(portraits: list[Image], shared: Path, tmp_path: Path) -> None:
    Pillow.fromarray(portraits[0]).save(tmp_path / "a.jp2", quality_layers=[20])
    assert np.abs(images.read(str(tmp_path / "a.jp2")).astype(int) - portraits[0]).mean() < 6
    real = sorted((shared / "data/formats/real").rglob("*.[hH][eE][iI][cC]"))
    read = 0
    for path in real:
        with contextlib.suppress(ImageError):  # some are made to be refused
            read += images.read(str(path)).ndim == 3
    assert read >= len(real) / 2, (read, len(real))


@pytest.mark.parametrize(("cut", "usable"), [(2, True), (30, True), (0.02, True), (0.3, False)])
def test_a_jpeg_without_its_last_bytes(
    portraits: list[Image], tmp_path: Path, cut: float, usable: bool
) -> None:
    scene = np.vstack([cv2.resize(portraits[0], (800, 800)), np.full((200, 800, 3), 77, np.uint8)])
    scene[850:, ::9] = 190
    data = cv2.imencode(".jpg", scene[..., ::-1])[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data[: -int(cut if cut >= 1 else cut * len(data))])
    table = fo.embed([tmp_path], device="cpu")
    assert table.files.outcome.tolist() == [Outcome.FACES if usable else Outcome.UNREADABLE]
    assert table.files.reason[0] if cut != 2 else True


def test_a_face_where_pixels_are_missing_is_no_face(portraits: list[Image], tmp_path: Path) -> None:
    photo = cv2.resize(portraits[0], (700, 700))[:490]  # its chin at the edge
    data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data[: -int(0.04 * len(data))])
    table = fo.embed([tmp_path], device="cpu")
    assert table.files.outcome.tolist() == [Outcome.UNREADABLE]
    assert "through a face" in table.files.reason[0]


@pytest.mark.slow
def test_five_hundred_inputs_show_the_right_face(portraits: list[Image], tmp_path: Path) -> None:
    """Formats × orientations × sizes × places of a face."""
    random, wanted = np.random.default_rng(11), {}
    forms = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP", "jp2": "JPEG2000"}
    forms |= {"gif": "GIF", "avif": "AVIF", "mpo": "MPO", "ppm": "PPM"}
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how it is stored for it to be upright after EXIF
    for number in range(500):
        end = list(forms)[number % len(forms)]
        width, height = (int(v) for v in random.integers(260, 1500, 2))
        side = int(random.integers(150, min(width, height, 700)))
        y, x = int(random.integers(0, height - side + 1)), int(random.integers(0, width - side + 1))
        scene = np.full((height, width, 3), int(random.integers(60, 200)), np.uint8)
        face = cv2.resize(portraits[number % len(portraits)], (side, side), interpolation=cv2.INTER_AREA)
        scene[y : y + side, x : x + side] = face
        picture, exif = Pillow.fromarray(scene), Pillow.Exif()
        orientation = int(random.integers(1, 9)) if end in ("jpg", "png", "webp", "tif", "mpo") else 1
        if orientation > 1:
            picture = picture.transpose(Pillow.Transpose(methods[orientation]))
            exif[0x0112] = orientation
        path = tmp_path / f"{number:03}.{end}"
        picture.save(path, forms[end], **({"exif": exif} if orientation > 1 else {}))
        middle = np.array([x, y]) + side / 2
        wanted[str(path)] = [*(middle - 0.22 * side), *(middle + 0.22 * side)]
    table = fo.embed([tmp_path], device="cpu")
    main = table.faces.face_index == 0
    found = dict(zip(np.array(table.face_paths())[main], table.faces.box[main], strict=True))
    overlaps = {
        p: overlap(np.array([b], np.float32), found[p][None])[0, 0] for p, b in wanted.items() if p in found
    }
    bad = [Path(p).name for p in wanted if overlaps.get(p, 0) < 0.5]
    assert not bad


@pytest.mark.slow
def test_hostile_files_cost_no_more_than_themselves_and_print_nothing(shared: Path, tmp_path: Path) -> None:
    """Each of the damaged pictures ends in an outcome with a reason, and the screen shows our lines alone."""
    done = here("embed", "-i", shared / "data/broken_pillow", "-o", tmp_path / "t.pkl", "--device", "cpu")
    assert done.code in (0, 3), done.err
    strange = [
        line for line in done.err.splitlines() if re.search(r"TIFF|tiff\w*Proc|JPEG data|samples per", line)
    ]
    assert not [line for line in strange if "/" not in line]
    table = fo.read(tmp_path / "t.pkl")
    bad = np.isin(table.files.outcome, (Outcome.UNREADABLE, Outcome.UNSUPPORTED))
    assert bad.sum() >= 20
    assert all(table.files.reason[i] for i in np.flatnonzero(bad))


def test_an_animation_that_breaks_off_gives_what_is_sound(portraits: list[Image], tmp_path: Path) -> None:
    frames = [Pillow.fromarray(p) for p in (portraits[0], portraits[1])] * 6
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=500, loop=0)
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(data[: len(data) * 2 // 3])
    table = fo.embed([tmp_path], device="cpu")
    assert table.files.outcome.tolist() == [Outcome.FACES]
    assert "damaged at" in table.files.reason[0]


# --- lists as spreadsheets save them ---


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "sep"])
def test_labels_as_spreadsheets_save_them(
    tmp_path: Path, separator: str, code: str, end: str, first: str
) -> None:
    lines = [["Path", "PERSON", "Note"], ["a,b.jpg", "Zoë", 'said "yes"'], ["", "", ""], ["ü.jpg", "Bob", ""]]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(lines)
    if first:
        text = io.StringIO(f"sep={separator}\n{text.getvalue()}")
    (tmp_path / "labels.csv").write_bytes(text.getvalue().encode(code))
    rows = [row for _, row in csv_rows(tmp_path / "labels.csv")]
    assert [(r["path"], r["person"]) for r in rows] == [("a,b.jpg", "Zoë"), ("ü.jpg", "Bob")]
    assert rows[0]["note"] == 'said "yes"'


def test_a_list_without_the_columns_says_which_it_has(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("when;who\n1;Bob\n")
    table = making_tables.table_of({f"/{i}.jpg": 1 for i in range(4)})
    with pytest.raises(FaceOrganizerError, match="its columns are when, who"):
        fo.evaluate(fo.cluster(table, clusters="auto"), tmp_path / "l.csv")


# --- raw photos ---


def dng(path: Path, photo: Image, preview: Image, orientation: int = 1) -> Path:
    """A DNG as a camera writes it: a preview, and the mosaic of the sensor, RGGB, 12 bits."""
    mosaic = np.zeros(photo.shape[:2], np.uint16)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = photo[y::2, x::2, channel]
    one = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]
    about = [(50706, "B", 4, bytes([1, 4, 0, 0]), True), (50707, "B", 4, bytes([1, 1, 0, 0]), True)]
    about += [(50708, "s", 0, "Made", True), (274, "H", 1, orientation, True)]
    about += [(50721, "2i", 9, one, True), (50728, "2I", 3, [1] * 6, True)]
    sensor = [
        (33421, "H", 2, (2, 2), True),
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50717, "I", 1, 4095, True),
    ]
    with tifffile.TiffWriter(path) as out:
        out.write(preview, photometric="rgb", subfiletype=1, subifds=1, extratags=about)
        out.write(mosaic * 16, photometric=32803, subfiletype=0, extratags=sensor)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("large", [True, False])
def test_a_raw_photo_by_its_preview(
    portraits: list[Image], tmp_path: Path, orientation: int, large: bool
) -> None:
    """Where the preview is a thumbnail, the photo itself is developed."""
    stored = np.rot90(cv2.resize(portraits[0], (1200, 1200)), {1: 0, 3: 2, 6: 1, 8: 3}[orientation])
    preview = np.ascontiguousarray(stored if large else cv2.resize(stored, (160, 160)))
    path = dng(tmp_path / "a.dng", stored, preview, orientation)
    table = fo.embed([path], device="cpu")
    assert table.files.outcome.tolist() == [Outcome.FACES]
    assert table.files.width[0] == (1200 if large else 600)
    upright = fo.embed([save_png(tmp_path / "b.png", cv2.resize(portraits[0], (1200, 1200)))], device="cpu")
    assert table.faces.turn[0] in (0, upright.faces.turn[0])
    assert float(table.embeddings[0] @ upright.embeddings[0]) > 0.8


def save_png(path: Path, picture: Image) -> Path:
    Pillow.fromarray(picture).save(path)
    return path


def test_a_raw_photo_without_libraw_is_named_and_beside_its_jpeg_left_out(
    portraits: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "IMG_1.CR2").write_bytes(b"x" * 100)
    (tmp_path / "IMG_2.NEF").write_bytes(b"x" * 100)
    Pillow.fromarray(portraits[0]).save(tmp_path / "IMG_1.JPG")
    found = listing([tmp_path])
    assert ([Path(p).name for p in found.paths], found.paired) == (["IMG_1.JPG", "IMG_2.NEF"], 1)
    with pytest.raises(ImageError) as error:
        images.read(str(tmp_path / "IMG_2.NEF"))
    assert error.value.outcome == Outcome.UNREADABLE
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(ImageError, match="rawpy") as error:
        images.read(str(tmp_path / "IMG_2.NEF"))
    assert error.value.outcome == Outcome.UNSUPPORTED

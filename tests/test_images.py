"""Which pictures are found, and what their pixels are: values against Pillow, outcomes for what is broken."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps
from shell import CANNOT_DROP, ROOT, apart, python

from face_organizer.errors import ImageError, UsageError
from face_organizer.files import MARKER, printable
from face_organizer.media import decoders, images, png
from face_organizer.media.images import Source, read
from face_organizer.media.listing import listing
from face_organizer.types import Outcome

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # remarks on the damaged files below

TOLERANCE = 2
"""Levels of 255 by which a pixel may differ from Pillow's reading: two builds of one JPEG decoder."""


def gradient(width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A picture that no turn or mirror maps to itself."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1).astype(
        np.uint8
    )


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def pillow_rgb(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    assert (a.shape, a.dtype) == (b.shape, np.uint8)
    return int(np.abs(a.astype(int) - b).max())


def refused(data: bytes, tmp_path: Path, name: str = "x.jpg", **limits: int) -> ImageError:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read(str(tmp_path / name), **limits)
    return caught.value


# --- pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = gradient()
    data = encoded(Image.fromarray(upright), kind, exif=exif, quality=95)
    source = Source(data)
    pixels = source.pixels()[0]
    assert difference(pixels, pillow_rgb(data)) <= TOLERANCE
    assert (source.height, source.width) == pixels.shape[:2]
    turned = pixels.shape[:2] == (64, 48)
    assert turned == (orientation >= 5)
    if orientation > 1:
        assert turned or np.abs(pixels.astype(int) - upright).mean() > 20, "turned, not left as it lay"


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_real_portrait_turned_seven_ways(dev_faces: Path, orientation: int) -> None:
    path = dev_faces / "broken" / f"hopper_orientation_{orientation}.jpg"
    assert difference(read(str(path)), pillow_rgb(path.read_bytes())) <= TOLERANCE


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *[("JPEG", m) for m in ("RGB", "L", "CMYK")],
        *[("PNG", m) for m in ("RGB", "L", "1", "P", "RGBA", "LA")],
        *[("TIFF", m) for m in ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr", "LAB")],
        *[("GIF", m) for m in ("P", "L", "1")],
        *[("BMP", m) for m in ("RGB", "L", "1", "P")],
        *[("WEBP", m) for m in ("RGB", "RGBA")],
        *[("AVIF", m) for m in ("RGB", "RGBA", "L")],
    ],
)
def test_every_kind_of_pixel_becomes_rgb(kind: str, mode: str) -> None:
    picture = Image.fromarray(gradient())
    picture = ImageCmsLab(picture) if mode == "LAB" else picture.convert(mode)
    data = encoded(picture, kind)
    assert difference(Source(data).pixels()[0], pillow_rgb(data)) <= TOLERANCE


def ImageCmsLab(picture: Image.Image) -> Image.Image:  # noqa: N802
    from PIL import ImageCms

    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    turned = ImageCms.applyTransform(picture, lab)
    assert turned is not None
    return turned


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_cut_off(kind: str) -> None:
    grey = gradient()[..., 0]
    data = encoded(Image.fromarray(grey.astype(np.uint16) * 257), kind)
    assert difference(Source(data).pixels()[0], np.repeat(grey[..., None], 3, axis=2)) <= 1


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_16_bit_colour(ending: str, alpha: bool) -> None:
    cv2 = pytest.importorskip("cv2")
    colour = gradient()
    deep = colour[..., ::-1].astype(np.uint16) * 257
    deep = np.dstack([deep, deep[..., 0]]) if alpha else deep
    done, data = cv2.imencode(ending, deep)
    assert done
    assert difference(Source(data.tobytes()).pixels()[0], colour) <= 1


def test_32_bits_are_refused_in_words(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(gradient()[..., 0].astype(np.float32)), "TIFF")
    error = refused(data, tmp_path, "x.tif")
    assert (error.outcome, error.reason) == (Outcome.UNSUPPORTED, "32 bits per pixel; convert it to 8 or 16")


def test_one_pixel_and_one_row() -> None:
    for width, height in ((1, 1), (3000, 1), (1, 3000)):
        data = encoded(Image.fromarray(gradient(width, height)), "PNG")
        assert Source(data).pixels()[0].shape == (height, width, 3)


def test_the_ending_does_not_decide(tmp_path: Path) -> None:
    (tmp_path / "png.jpg").write_bytes(encoded(Image.fromarray(gradient()), "PNG"))
    assert np.array_equal(read(str(tmp_path / "png.jpg")), gradient())


# --- what cannot be used


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_cut_off_picture_is_never_half_a_picture(kind: str, share: float, tmp_path: Path) -> None:
    data = encoded(Image.fromarray(gradient(320, 240)), kind)
    assert Source(data).pixels()[0].shape == (240, 320, 3)
    if (kind, share) == ("JPEG", 0.97):  # every viewer shows it; faces where pixels are missing do not count
        source = Source(data[: int(len(data) * share)])
        assert source.pixels()[0].shape == (240, 320, 3)
        assert source.missing is not None
        return
    assert refused(data[: int(len(data) * share)], tmp_path).outcome == Outcome.UNREADABLE


def test_a_cut_off_progressive_jpeg(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(gradient(320, 240)), "JPEG", progressive=True)
    assert refused(data[: len(data) * 3 // 4], tmp_path).outcome == Outcome.UNREADABLE


BROKEN = {
    "broken.png",
    "broken_data_stream.png",
    "truncated_end_chunk.png",
    "truncated_image.png",
    "truncated_jpeg.jpg",
    "zero_width.gif",
}


def test_the_broken_folder(dev_faces: Path) -> None:
    """Damaged pixels are unreadable; a damaged EXIF block or comment takes nothing from the pixels."""
    outcomes = {}
    for path in (dev_faces / "broken").iterdir():
        try:
            outcomes[path.name] = read(str(path)).shape[2]
        except ImageError as error:
            outcomes[path.name] = error.outcome
    assert {name for name, o in outcomes.items() if o == Outcome.UNREADABLE} == BROKEN
    assert {name for name, o in outcomes.items() if o == 3} == outcomes.keys() - BROKEN


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"Dear diary, today I took no pictures.\n" * 9, "not a picture, or damaged at its start"),
        (b"\xff\xd8\xff", "not a picture, or damaged at its start"),
        (b"\0" * 5000, "not a picture, or damaged at its start"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n" * 9,
            "not a picture, or damaged at its start",
        ),
    ],
    ids=["empty", "text", "three-bytes", "zeros", "postscript"],
)
def test_what_is_no_picture(data: bytes, reason: str, tmp_path: Path) -> None:
    error = refused(data, tmp_path)
    assert (error.outcome, error.reason) == (Outcome.UNREADABLE, reason)


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_over_the_limit_nothing_is_decoded(tmp_path: Path) -> None:
    """10 gigapixels by a header of a few bytes: refused by a process that could not hold them."""
    (tmp_path / "bomb.png").write_bytes(png_header(100_000, 100_000))
    script = (
        "import resource, sys; from face_organizer.media.images import read, ImageError\n"
        "import numpy, PIL.Image\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "try: read(sys.argv[1])\nexcept ImageError as e: print(e.outcome.label, e.reason)"
    )
    done = python("-c", script, tmp_path / "bomb.png", OPENBLAS_NUM_THREADS="1")
    assert done.out == "unsupported 100000 x 100000: 10000 megapixels, the limit is 256 (--max-megapixels)\n"


def test_the_limit_is_the_number_of_pixels(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(gradient(100, 50)), "JPEG")
    (tmp_path / "x.jpg").write_bytes(data)
    assert read(str(tmp_path / "x.jpg"), max_pixels=5000).shape == (50, 100, 3)
    assert refused(data, tmp_path, max_pixels=4999).outcome == Outcome.UNSUPPORTED


def test_a_picture_that_memory_does_not_hold_spares_the_rest(tmp_path: Path) -> None:
    Image.new("RGB", (12_000, 12_000)).save(tmp_path / "large.png")
    script = (
        "import resource, sys; from face_organizer.media.images import read, ImageError\n"
        "import numpy, PIL.Image, PIL.ImageOps, PIL.PngImagePlugin\n"
        "resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))\n"
        "try: read(sys.argv[1])\nexcept ImageError as e: print(e.outcome.label, e.reason)"
    )
    done = python("-c", script, tmp_path / "large.png", OPENBLAS_NUM_THREADS="1")
    assert done.out == "unreadable not enough memory for 12000 x 12000\n"


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "x.jpg", "wb") as file:
        file.truncate(3_000_000_000)  # sparse
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"3\.0 GB") as caught:
        read(str(tmp_path / "x.jpg"))
    assert caught.value.outcome == Outcome.UNSUPPORTED
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_gone_looped_and_special_files_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    os.mkfifo(tmp_path / "fifo.jpg")
    os.chdir(tmp_path)  # a socket's path may only be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.jpg")
    found = listing([tmp_path])
    assert [Path(p).name for p in found.paths] == ["broken.jpg", "fifo.jpg", "loop.jpg", "socket.jpg"]
    for path in found.paths:
        with pytest.raises(ImageError) as caught:
            read(path)
        assert caught.value.outcome == Outcome.UNREADABLE
        assert caught.value.reason


@pytest.fixture(autouse=True)
def _back_home() -> Any:
    before = os.getcwd()
    yield
    os.chdir(before)


def test_permissions(tmp_path: Path) -> None:
    """A file and a folder that may not be read: told, and the rest of the run unharmed."""
    photos = tmp_path / "photos"
    (photos / "closed").mkdir(parents=True)
    Image.fromarray(gradient()).save(photos / "open.jpg")
    Image.fromarray(gradient()).save(photos / "secret.jpg")
    (photos / "secret.jpg").chmod(0)
    (photos / "closed").chmod(0)
    done = apart("embed", "-i", photos, "-o", tmp_path / "f.pkl", bound=True)
    (photos / "closed").chmod(0o700)
    if done.code == CANNOT_DROP:
        pytest.skip("root, and not allowed to give up reading what it may not")
    assert done.code == 3
    assert f"cannot look into {photos / 'closed'}: permission denied" in done.err
    assert f"{photos / 'secret.jpg'}: permission denied" in done.err
    assert "2 pictures = 0 with faces + 1 no face + 1 unreadable" in done.out


# --- which pictures


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(found: Any, root: Path) -> list[str]:
    return [os.path.relpath(p, root) for p in found.paths]


def test_sorted_by_bytes_below_all_folders_whatever_the_case_of_the_ending(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.JPG",
        "a/z.Jpeg",
        "a.png",
        "B.jpg",
        "é.webp",
        "a-b/c.TIFF",
        "notes.txt",
        "x.heic",
        "Thumbs.db",
    )
    found = listing([tmp_path])
    assert names(found, tmp_path) == ["B.jpg", "a-b/c.TIFF", "a.png", "a/z.Jpeg", "b.JPG", "x.heic", "é.webp"]
    assert found.other == {".txt": 1, ".db": 1}
    assert names(listing([tmp_path], recursive=False), tmp_path) == [
        "B.jpg",
        "a.png",
        "b.JPG",
        "x.heic",
        "é.webp",
    ]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    raw = [
        b"new\nline.jpg",
        b"\xff\xfe.jpg",
        "😀.jpg".encode(),
        b"-rf.jpg",
        b"\x1b[31m.jpg",
        b" .jpg",
        b"..jpg",
    ]
    for name in raw:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    found = listing([tmp_path])
    assert [os.fsencode(os.path.basename(p)) for p in found.paths] == sorted(raw)
    for path in found.paths:
        assert printable(path).isprintable()
        printable(path).encode("utf-8")


def test_each_folder_and_file_once(tmp_path: Path) -> None:
    touch(tmp_path, "in/sub/x.jpg", "in/y.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "sub" / "up").symlink_to("..")
    (tmp_path / "in" / "a-link").symlink_to("sub")
    (tmp_path / "in" / "self").symlink_to("self")
    inputs = [tmp_path / "in" / "sub", tmp_path / "in", tmp_path / "in" / "y.jpg", f"{tmp_path}/in/../in/"]
    assert names(listing(inputs), tmp_path) == ["in/sub/x.jpg", "in/y.jpg"]
    assert names(listing(inputs[1:2]), tmp_path) == ["in/sub/x.jpg", "in/y.jpg"], (
        "by its own path, not a link's"
    )


def test_links_to_folders_and_files_elsewhere_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "else/x.jpg", "y.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "else")
    (tmp_path / "in" / "z.jpg").symlink_to(tmp_path / "y.jpg")
    assert names(listing([tmp_path / "in"]), tmp_path) == ["in/link/x.jpg", "in/z.jpg"]


def test_exclude_matches_names_and_paths_below_the_input(tmp_path: Path) -> None:
    touch(
        tmp_path, "2017/a.jpg", "2017/a_mask.png", "thumbs/b.jpg", "2018/thumbs/c.jpg", "d.jpg", "2018/e.jpg"
    )

    def left(*patterns: str) -> list[str]:
        return names(listing([tmp_path], exclude=patterns), tmp_path)

    assert left("*_mask.png", "thumbs") == ["2017/a.jpg", "2018/e.jpg", "d.jpg"]
    assert left("2017/*", "2018/thumbs") == ["2018/e.jpg", "d.jpg", "thumbs/b.jpg"]
    assert names(listing([tmp_path / "d.jpg", tmp_path / "thumbs"], exclude=["d.*", "thumbs"]), tmp_path) == [
        "thumbs/b.jpg"
    ]


def test_single_files_and_a_folder_named_like_a_picture(tmp_path: Path) -> None:
    touch(tmp_path, "one.jpg", "two.txt", "folder.jpg/three.png")
    found = listing([tmp_path / "one.jpg", tmp_path / "two.txt"])
    assert (names(found, tmp_path), found.other) == (["one.jpg"], {".txt": 1})
    assert names(listing([tmp_path]), tmp_path) == ["folder.jpg/three.png", "one.jpg"]


def test_an_input_that_is_not_there(tmp_path: Path) -> None:
    for missing in (tmp_path / "nowhere", ""):
        with pytest.raises(UsageError):
            listing([missing])


def test_output_folders_are_left_out_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg", "people/person_A/x.jpg", f"people/{MARKER}/plan.jsonl")
    found = listing([tmp_path])
    assert names(found, tmp_path) == ["x.jpg"]
    assert found.skipped == [str(tmp_path / "people")]


# --- noise of the libraries


def test_nothing_of_libjpeg_reaches_the_terminal_and_nothing_of_ours_is_lost(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(gradient(320, 240)), "JPEG", quality=95)
    middle = data.index(b"\xff\xda") + 2000
    (tmp_path / "noisy.jpg").write_bytes(data[:middle] + b"\xff\xd0" * 40 + data[middle + 400 :])
    script = (
        "import os, sys, warnings; from face_organizer.cli.console import quiet_libraries\n"
        "from face_organizer.media.images import ImageError, read\n"
        "def look():\n"
        "    try: read(sys.argv[1])\n"
        "    except ImageError: pass\n"
        "look()\n"
        "print('--', file=sys.stderr, flush=True)\n"
        "with quiet_libraries():\n"
        "    look()\n"
        "    print('ours', file=sys.stderr)\n"
        "    os.write(2, b'a crash of a library\\n')\n"
        "os.write(2, b'after\\n'); print('end', file=sys.stderr)\n"
    )
    done = python("-c", script, tmp_path / "noisy.jpg", cwd=ROOT)
    before, _, after = done.err.partition("--\n")
    assert "JPEG" in before, "the file is meant to make libjpeg speak"
    assert sorted(after.splitlines()) == ["a crash of a library", "after", "end", "ours"]


# --- the fast way of plain PNGs


def rows_filtered(pixels: NDArray[np.uint8], filters: list[int]) -> bytes:
    """The lines of a PNG of RGB `pixels`, each with its filter, uncompressed."""
    lines = []
    for row, kind in zip(pixels, filters, strict=True):
        before = np.zeros_like(row)
        before[1:] = row[:-1]
        lines.append(bytes([kind]) + (row - before if kind else row).tobytes())
    return b"".join(lines)


def png_of(raw: bytes, width: int, height: int, *, split: int = 1, extra: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    packed = zlib.compress(raw)
    step = -(-len(packed) // split)
    parts = b"".join(chunk(b"IDAT", packed[i : i + step]) for i in range(0, len(packed), step))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + parts + chunk(b"IEND", b"")


@pytest.mark.parametrize("split", [1, 3])
@pytest.mark.parametrize("filters", [[0] * 9, [1] * 9, [0, 1] * 4 + [0]])
def test_a_plain_png_is_what_pillow_makes_of_it(filters: list[int], split: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    data = png_of(rows_filtered(pixels, filters), 14, 9, split=split)
    found = png.plain(data)
    assert found is not None
    assert np.array_equal(found.pixels(), pixels)
    assert np.array_equal(
        images.Source(data).pixels()[0], np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )


def test_other_pngs_are_left_to_pillow() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    kinds: list[dict[str, Any]] = [{"mode": m} for m in ("L", "P", "RGBA", "1", "I;16")]
    kinds += [{"mode": "RGB", "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}]
    for kind in kinds:
        buffer = io.BytesIO()
        mode = kind.pop("mode")
        (Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == "I;16" else picture.convert(mode)).save(
            buffer, "PNG", **kind
        )
        assert png.plain(buffer.getvalue()) is None
    paeth = io.BytesIO()
    Image.fromarray(np.add.outer(np.arange(60), np.arange(90)).astype(np.uint8)).convert("RGB").save(
        paeth, "PNG"
    )
    found = png.plain(paeth.getvalue())
    assert found is not None
    assert found.pixels() is None
    assert images.Source(paeth.getvalue()).pixels()[0].shape == (60, 90, 3)


def test_a_damaged_plain_png_is_unreadable() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    raw = rows_filtered(pixels, [1] * 40)
    data = png_of(raw, 50, 40)
    end = len(data) - 12
    hostile = [
        data[: end // 2] + b"\x00" + data[end // 2 + 1 :],
        png_of(raw[:-10], 50, 40),
        png_of(raw + b"\x00" * 10_000_000, 50, 40),
        png_of(raw, 50, 41),
        png_of(raw, 50, 39),
        data[: end - 30] + data[-12:],
    ]
    for one in hostile:
        with pytest.raises(ImageError, match="damaged") as failed:
            images.Source(one).pixels()
        assert failed.value.outcome is Outcome.UNREADABLE
    cut_off = data[: len(data) // 2]
    with pytest.raises(ImageError):
        images.Source(cut_off).pixels()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
)
def test_jpegs_of_every_coding(mode: str, options: dict[str, Any]) -> None:
    data = encoded(Image.fromarray(gradient(70, 50)).convert(mode), "JPEG", **options)
    assert (Source(data).width, Source(data).height) == (70, 50)
    assert difference(Source(data).pixels()[0], pillow_rgb(data)) <= TOLERANCE


def test_a_turned_jpeg() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(gradient(70, 50)), "JPEG", exif=exif)
    assert (Source(data).width, Source(data).height) == (50, 70)
    assert difference(Source(data).pixels()[0], pillow_rgb(data)) <= TOLERANCE


def test_a_turn_told_behind_the_size_is_seen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(Image.fromarray(gradient(70, 50)), "JPEG", exif=exif)
    plain = encoded(Image.fromarray(gradient(70, 50)), "JPEG")
    at = turned.index(b"\xff\xe1")
    segment = turned[at : at + 2 + int.from_bytes(turned[at + 2 : at + 4], "big")]
    scan = plain.index(b"\xff\xda")
    data = plain[:scan] + segment + plain[scan:]
    source = Source(data)
    assert source.pixels()[0].shape == (source.height, source.width, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_sizes_do_not_depend_on_the_order_they_are_asked_for(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1001, 1603, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    sides = [320, 700, 1600]
    forth, back = Source(data), Source(data)
    first = {side: forth.pixels(side)[0] for side in sides}
    last = {side: back.pixels(side)[0] for side in reversed(sides)}
    for side in sides:
        assert np.array_equal(first[side], last[side])


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8), st.integers(0, 600))
def test_any_damage_to_a_jpegs_header_is_an_image_error(at: int, junk: bytes, stop: int) -> None:
    whole = encoded(Image.fromarray(gradient()), "JPEG")
    for data in (whole[:at] + junk + whole[at + len(junk) :], whole[:stop]):
        with contextlib.suppress(ImageError):
            pixels = Source(data, max_pixels=10_000_000).pixels()[0]
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3


def test_a_jpeg_is_decoded_once_for_the_sizes_that_most_faces_need(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(gradient(1600, 1200)), "JPEG", quality=95)
    decoded: list[int] = []
    real = decoders._Jpeg.__call__
    monkeypatch.setattr(decoders._Jpeg, "__call__", lambda self, r: decoded.append(r) or real(self, r))
    source = Source(data)
    sizes = [source.pixels(side)[0].shape[1] for side in (320, 700, 320, 1600, 300)]
    assert sizes == [400, 800, 400, 1600, 400]  # the small ones stay small: a canvas is drawn from them
    assert decoded == [2, 1]
    small = np.asarray(Image.fromarray(gradient(1600, 1200)).reduce(4))
    assert difference(source.pixels(320)[0], small) <= 4

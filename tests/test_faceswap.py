"""FaceSwap crops: the header, hostile ones above all; where its landmarks lie; whom to believe."""

from __future__ import annotations

import ast
import dataclasses
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faceswap_writer as writer
import numpy as np
import pytest
from conftest import letterbox, read_rgb
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from face_organizer.detect import Detector, open_detector
from face_organizer.faceswap import Header, HeaderError, header, read_header, trust
from face_organizer.faceswap.landmarks import Centering, crop_points, five_points
from face_organizer.geometry import align
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.recognize import open_embedder
from face_organizer.types import Detections

LANDMARKS = writer.mean_68() * 200 + np.array([300.0, 150.0])
PICTURE = np.full((16, 16, 3), 128, np.uint8)

Photo = tuple[NDArray[np.uint8], NDArray[np.floating]]


def crop_landmarks(points: NDArray[np.float32], sizes: Any, centering: Centering) -> NDArray[np.float32]:
    return five_points(crop_points(points, sizes, centering))


# The header


def genuine(**source: Any) -> bytes:
    return writer.png(PICTURE, writer.header(LANDMARKS, masks=1, **source))


@pytest.mark.parametrize(("masks", "identities"), [(0, 0), (1, 1), (3, 2)])
def test_reads_what_faceswap_writes(masks: int, identities: int) -> None:
    meta = writer.header(LANDMARKS, masks=masks, identities=identities, face_index=3)
    head = read_header(writer.png(PICTURE, meta))
    assert head is not None
    np.testing.assert_array_equal(head.landmarks, LANDMARKS.astype(np.float32))
    assert head.landmarks.dtype == np.float32
    assert (head.source_filename, head.face_index, head.frame_dims) == ("frame_000001.png", 3, (720, 1280))
    assert head.alignments_version == 2.4


def test_reads_nothing_behind_the_pixels_start() -> None:
    data = genuine()
    assert read_header(data[: data.index(b"IDAT") + 4]) is not None
    late = writer.chunk(b"iTXt", b"faceswap" + bytes(5) + str(writer.header(LANDMARKS)).encode())
    plain = writer.png(PICTURE, None)
    assert read_header(plain[:-12] + late + plain[-12:]) is None  # the last 12 bytes are IEND


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0 a JPEG", writer.png(PICTURE, None)]
)
def test_no_header_is_no_error(data: bytes) -> None:
    assert read_header(data) is None


def test_text_under_another_keyword_is_no_header() -> None:
    plain = writer.png(PICTURE, None)
    at = plain.index(b"IDAT") - 4
    for keyword in (b"Comment", b"faceswap2", b"face"):
        other = writer.chunk(b"iTXt", keyword + bytes(5) + str(writer.header(LANDMARKS)).encode())
        assert read_header(plain[:at] + other + plain[at:]) is None


@pytest.mark.parametrize(
    "name",
    [
        "it's.png",
        'the "one".png',
        "both ' and \".png",
        "back\\slash\\.png",
        "ends with \\",
        "Ünïcödé 顔 😀.png",
        "hidden \u200b\xa0\x07\x85\U000e0001.png",
        "not UTF-8 \udce9.png",
        "tab\tline\n.png",
        "True (None) [False] b'x'",
        "b",
        "",
    ],
)
def test_any_file_name_comes_back(name: str) -> None:
    head = read_header(genuine(source_filename=name))
    assert head is not None
    assert head.source_filename == name


@pytest.mark.parametrize("dims", [(7, 9), [7, 9], None])
def test_frame_size_may_be_tuple_list_or_none(dims: Any) -> None:
    head = read_header(genuine(source_frame_dims=dims))
    assert head is not None
    assert head.frame_dims == (tuple(dims) if dims else None)


def test_key_order_and_missing_identity_do_not_matter() -> None:
    meta = writer.header(LANDMARKS, masks=1)
    del meta["alignments"]["identity"]
    turned = {key: dict(reversed(list(meta[key].items()))) for key in ("source", "alignments")}
    assert read_header(writer.png(PICTURE, turned)) is not None


@given(st.binary(max_size=300))
def test_masks_of_any_bytes_are_passed_over(mask: bytes) -> None:
    meta = writer.header(LANDMARKS, masks=1)
    meta["alignments"]["mask"]["mask-0"]["mask"] = mask
    assert read_header(writer.png(PICTURE, meta)) is not None


def changed(*path: str | int, value: Any) -> dict[str, Any]:
    meta: Any = writer.header(LANDMARKS)
    place = meta
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return dict(meta)


POINTS = LANDMARKS.tolist()
TEXT = str(writer.header(LANDMARKS))


UNUSABLE: list[tuple[Any, str]] = [
    ("", "malformed"),
    ("{'alignments': ", "malformed"),
    ("{'alignments': 'never closed", "malformed"),
    (TEXT + TEXT, "malformed"),
    (TEXT[:-1], "malformed"),
    (TEXT.replace("0.0", "0.0.0"), "malformed"),
    (b"\xff\xfe" + TEXT.encode(), "malformed"),
    ("[" * 100_000, "malformed"),
    ("(" * 1_000_000, "malformed"),
    ("-" * 1_000_000 + "1", "malformed"),
    ("{1:" * 100_000, "malformed"),
    ("1+" * 500_000 + "1", "malformed"),
    ("9" * 100_000, "malformed"),
    ("''" * 100_000, "malformed"),
    ("'\\" * 100_000, "malformed"),
    (TEXT.replace("'frame_000001.png'", "'\\N{DIGIT ONE}'"), "malformed"),
    (TEXT.replace("'frame_000001.png'", "'\\U00110000'"), "malformed"),
    (TEXT.replace("'frame_000001.png'", "b'frame'"), "source_filename"),
    (TEXT.replace("'frame_000001.png'", "f'{1}'"), "malformed"),
    (TEXT.replace("'frame_000001.png'", "'''frame'''"), "malformed"),
    (TEXT.replace("720", "__import__('os').abort()"), "malformed"),
    ("__import__('pytest').exit('was run')", "malformed"),
    ("(lambda: 1/0)()", "malformed"),
    ({"alignments": {}}, "another FaceSwap tool"),
    ({"alphabet": [1, 2]}, "another FaceSwap tool"),
    ([1, 2], "another FaceSwap tool"),
    ("5", "another FaceSwap tool"),
    ({"alignments": 5, "source": {}}, "alignments"),
    (changed("alignments", "landmarks_xy", value=None), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value={}), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[]), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=POINTS[:4]), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=POINTS[17:]), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[[1, 2]] * 100_000), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[[1, 2, 3]] * 68), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[["1", "2"]] * 68), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[[True, False]] * 68), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[[None, 1]] * 68), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[[10**400, 1]] * 68), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[*POINTS[:67], [1]]), "68 landmarks"),
    (changed("alignments", "landmarks_xy", value=[*POINTS[:67], [1e7, 1]]), "beyond"),
    (changed("alignments", "landmarks_xy", value=[*POINTS[:67], [1e300, 1]]), "beyond"),
    (changed("alignments", "landmarks_xy", value=[[-(2**63), 1]] * 68), "beyond"),
    (TEXT.replace(str(POINTS[0][0]), "nan"), "malformed"),
    (TEXT.replace(str(POINTS[0][0]), "NaN"), "beyond"),
    (TEXT.replace(str(POINTS[0][0]), "-Infinity"), "beyond"),
    (TEXT.replace(str(POINTS[0][0]), "1e999"), "beyond"),
    (changed("source", "face_index", value=-1), "face_index"),
    (changed("source", "face_index", value=1.5), "face_index"),
    (changed("source", "source_filename", value=None), "source_filename"),
    (changed("source", "source_filename", value="x" * 100_000), "source_filename"),
    (changed("source", "face_index", value=True), "face_index"),
    (changed("source", "face_index", value=2**40), "face_index"),
    (changed("source", "source_frame_dims", value=(1,)), "malformed"),
    (changed("source", "source_frame_dims", value=[1]), "source_frame_dims"),
    (changed("source", "source_frame_dims", value=[0, 5]), "source_frame_dims"),
    (changed("source", "alignments_version", value="2"), "alignments_version"),
    (changed("source", "alignments_version", value=float("1e400")), "malformed"),
]


@pytest.mark.parametrize(
    ("meta", "reason"), UNUSABLE, ids=[f"{i}-{reason}" for i, (_, reason) in enumerate(UNUSABLE)]
)
def test_a_header_that_cannot_be_used_gives_its_reason(meta: Any, reason: str) -> None:
    with pytest.raises(HeaderError) as error:
        read_header(writer.png(PICTURE, meta))
    assert reason in str(error.value)
    assert len(str(error.value)) < 120


def with_chunk(chunk: bytes) -> bytes:
    plain = writer.png(PICTURE, None)
    at = plain.index(b"IDAT") - 4
    return plain[:at] + chunk + plain[at:]


def test_damaged_chunks() -> None:
    payload = b"faceswap" + bytes(5) + TEXT.encode()
    good = writer.chunk(b"iTXt", payload)
    assert read_header(with_chunk(good)) is not None
    for chunk, reason in (
        (good[:-1] + bytes([good[-1] ^ 1]), "damaged"),
        (struct.pack(">I", 2**31) + good[4:], "limit"),
        (struct.pack(">I", header.MAX_BYTES) + good[4:], "cut off"),
        (writer.chunk(b"iTXt", payload + b" " * header.MAX_BYTES), "limit"),
    ):
        with pytest.raises(HeaderError, match=reason):
            read_header(with_chunk(chunk))
    data = with_chunk(good)
    with pytest.raises(HeaderError, match="cut off"):
        read_header(data[: data.index(b"iTXt") + 200])


def test_a_chunk_that_faceswap_does_not_write_is_no_header() -> None:
    for chunk in (
        writer.chunk(b"iTXt", b"faceswap\0\1\0\0\0" + zlib.compress(TEXT.encode())),
        writer.chunk(b"iTXt", b"faceswap\0\0\0en\0\0" + TEXT.encode()),
        writer.chunk(b"iTXt", b"faceswap\0"),
    ):
        assert read_header(with_chunk(chunk)) is None


def test_a_chunk_longer_than_the_file_ends_the_walk() -> None:
    data = bytearray(genuine())
    struct.pack_into(">I", data, 8, 0xFFFFFFFF)
    assert read_header(bytes(data)) is None


def outcome(data: bytes) -> Header | str | None:
    try:
        return read_header(data)
    except HeaderError as error:
        return str(error)


MUTATED = writer.png(PICTURE, writer.header(LANDMARKS, masks=1, identities=1))


@settings(max_examples=300)
@given(st.data())
def test_any_change_of_bytes_ends_in_header_reason_or_nothing(data: st.DataObject) -> None:
    """With a right checksum, too: as a hostile file would have."""
    text = bytearray(str(writer.header(LANDMARKS)).encode())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b"'", b'"', b"\\", b"(", b"}", b"b'"]))
        )
        text[at : at + data.draw(st.integers(0, 3))] = new
    result = outcome(writer.png(PICTURE, bytes(text)))
    if isinstance(result, Header):
        assert np.isfinite(result.landmarks).all()
    raw = bytearray(MUTATED)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    outcome(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


LITERALS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**12), 10**12),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
        st.binary(max_size=20),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=12,
)


@given(LITERALS)
def test_reads_literals_as_literal_eval_does(value: Any) -> None:
    """Bytes become None, tuples lists; all else is the same."""

    def plain(item: Any) -> Any:
        if isinstance(item, bytes):
            return None
        if isinstance(item, list):
            return [plain(i) for i in item]
        return {key: plain(i) for key, i in item.items()} if isinstance(item, dict) else item

    assert json.loads("".join(header._as_json(repr(value)))) == plain(ast.literal_eval(repr(value)))


# Where the landmarks lie


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector(packs.find("opencv"), CPU)


def detect(detector: Detector, picture: NDArray[np.uint8], size: int = 320) -> Detections:
    canvas, scale = letterbox(picture, size)
    found = detector.detect(canvas[None], 0.5)[0]
    return Detections(found.boxes / np.float32(scale), found.scores, found.landmarks / np.float32(scale))


@pytest.fixture(scope="module")
def dlib(dev_faces: Path) -> list[Photo]:
    """Photos with 68 landmarks that dlib's predictor found."""
    folder = dev_faces / "detection_gt_dlib"
    return [(read_rgb(folder / name), landmarks) for name, landmarks in writer.dlib_faces(folder)]


@pytest.fixture(scope="module")
def people(dev_faces: Path, detector: Detector) -> list[Photo]:
    """Photos with landmarks made from four detections each: two sizes, mirrored or not."""
    photos: list[Photo] = []
    for path in sorted((dev_faces / "identities").glob("*/*.jpg"))[::9]:
        photo = read_rgb(path)
        mirrored = np.ascontiguousarray(photo[:, ::-1])
        found = []
        for size in (256, 320):
            found += [f.landmarks[0] for f in [detect(detector, photo, size)] if len(f)]
            for other in detect(detector, mirrored, size).landmarks[:1]:
                found.append(other[[1, 0, 2, 4, 3]] * [-1, 1] + [photo.shape[1] - 1, 0])
        if len(found) == 4 and np.ptp(np.array(found), axis=0).max() < 15:
            photos.append((photo, writer.landmarks_from_five(np.mean(found, axis=0))))
    assert len(photos) > 50
    return photos


def stacked(photos: list[Photo]) -> NDArray[np.float32]:
    return np.stack([landmarks for _, landmarks in photos]).astype(np.float32)


@pytest.mark.parametrize("size", [512, 256, 203])
@pytest.mark.parametrize("centering", Centering)
def test_landmarks_lie_where_faceswap_puts_them(dlib: list[Photo], centering: Centering, size: int) -> None:
    """Seen: within 1e-4 px."""
    ours = crop_points(stacked(dlib), size, centering)
    for (_, landmarks), points in zip(dlib, ours, strict=True):
        matrix = writer.crop_matrix(landmarks, size, centering)
        np.testing.assert_allclose(points, landmarks @ matrix[:, :2].T + matrix[:, 2], atol=0.01)


def test_a_turned_and_scaled_frame_gives_the_same_crop_points() -> None:
    turn = np.array([[0.3, -2.0], [2.0, 0.3]])
    both = np.stack([LANDMARKS, LANDMARKS @ turn.T + 1000]).astype(np.float32)
    for centering in Centering:
        one, other = crop_points(both, 512, centering)
        np.testing.assert_allclose(one, other, atol=0.01)


def test_faces_of_several_sizes_at_once() -> None:
    twice = np.stack([LANDMARKS] * 2).astype(np.float32)
    both = crop_landmarks(twice, np.array([512, 256]), Centering.HEAD)
    np.testing.assert_allclose(both[0], both[1] * 2, atol=1e-3)
    assert both.shape == (2, 5, 2)
    assert both.dtype == np.float32
    assert both[0, 0, 0] < both[0, 1, 0]  # the viewer's left eye first
    none = crop_landmarks(np.empty((0, 68, 2), np.float32), 512, Centering.FACE)
    assert none.shape == (0, 5, 2)


@pytest.mark.parametrize("centering", Centering)
def test_landmarks_of_no_face_come_back_as_nan(centering: Centering) -> None:
    """And leave the others alone."""
    random = np.random.default_rng(0)
    bad = [
        np.zeros((68, 2)),
        np.full((68, 2), 1e5),
        np.column_stack([np.arange(68.0), np.arange(68.0)]),
        random.uniform(0, 500, (68, 2)),
        LANDMARKS[random.permutation(68)],
        LANDMARKS * [-1, 1],
    ]
    points = crop_landmarks(np.stack([*bad, LANDMARKS]).astype(np.float32), 512, centering)
    assert np.isnan(points[:-1]).all()
    assert np.isfinite(points[-1]).all()
    assert not align.usable(points[:-1]).any()


@pytest.mark.parametrize("centering", Centering)
def test_embeddings_are_those_of_detection(
    people: list[Photo], detector: Detector, centering: Centering
) -> None:
    """Median cosine to the embedding with detected landmarks on the same crop. Seen: head 0.968, face 0.965,
    legacy 0.962. What bounds it is the detector: its landmarks on canvases of 320 and 480 px give 0.965."""
    embedder = open_embedder(packs.find("opencv"), CPU)
    points = crop_landmarks(stacked(people), 512, centering)
    aligned = []
    for (photo, landmarks), five in zip(people, points, strict=True):
        crop = writer.crop(photo, landmarks, 512, centering)
        found = detect(detector, crop)
        assert len(found)
        nearest = np.linalg.norm(found.landmarks - five, axis=2).mean(axis=1).argmin()
        aligned += [align.warp(crop, m) for m in align.estimate(np.stack([five, found.landmarks[nearest]]))]
    vectors = np.concatenate(
        [embedder.embed(np.stack(aligned[i : i + 32])) for i in range(0, len(aligned), 32)]
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (vectors[::2] * vectors[1::2]).sum(axis=1)
    low, median = np.quantile(cosines, [0.1, 0.5])
    print(f"cosine {centering}: median {median:.4f}, a tenth below {low:.4f}")  # noqa: T201
    assert median >= 0.95


# Whom to believe


def head_of(landmarks: NDArray[np.floating]) -> Header:
    head = read_header(writer.png(PICTURE, writer.header(landmarks)))
    assert head is not None
    return head


Sample = list[tuple[Header, int, Detections]]


def sample_of(
    photos: list[Photo],
    detector: Detector,
    centering: Centering,
    spoil: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] = lambda crop: crop,
) -> Sample:
    crops = [spoil(writer.crop(photo, landmarks, 512, centering)) for photo, landmarks in photos]
    return [
        (head_of(landmarks), 512, detect(detector, crop))
        for (_, landmarks), crop in zip(photos, crops, strict=True)
    ]


@pytest.mark.parametrize("centering", Centering)
def test_settles_the_centering(
    dlib: list[Photo], people: list[Photo], detector: Detector, centering: Centering
) -> None:
    large = [photo for photo in dlib if np.ptp(photo[1][:, 0]) > 45]
    for photos in (large[:8], people[:8], people[8:10], people[10:11]):
        verdict = trust.settle(sample_of(photos, detector, centering))
        assert verdict.centering is centering, verdict
        assert verdict.reason == ""


def test_crops_changed_after_extraction_are_not_believed(people: list[Photo], detector: Detector) -> None:
    for spoil in (
        lambda crop: np.roll(crop, 40, axis=1),
        lambda crop: np.roll(crop, -40, axis=0),
        lambda crop: np.ascontiguousarray(np.rot90(crop)),
    ):
        verdict = trust.settle(sample_of(people[:8], detector, Centering.HEAD, spoil))
        assert verdict.centering is None
        assert verdict.reason


def test_landmarks_of_no_face_are_not_believed(people: list[Photo], detector: Detector) -> None:
    sample = sample_of(people[:8], detector, Centering.HEAD)
    random = np.random.default_rng(0)
    shuffled = [
        (dataclasses.replace(head, landmarks=head.landmarks[random.permutation(68)]), size, found)
        for head, size, found in sample
    ]
    verdict = trust.settle(shuffled)
    assert verdict.centering is None
    assert "no face's" in verdict.reason
    assert trust.settle(sample[:7] + shuffled[:1]).centering is Centering.HEAD
    assert trust.settle(sample[:4] + shuffled[4:]).centering is None


def test_without_detected_faces_nothing_is_settled(people: list[Photo], detector: Detector) -> None:
    sample = sample_of(people[:4], detector, Centering.HEAD)
    blind = [(head, size, Detections.empty()) for head, size, _ in sample]
    assert trust.settle([]).centering is None
    assert trust.settle(blind).centering is None
    assert trust.settle(blind[:3] + sample[3:]).centering is None
    assert trust.settle(blind[:2] + sample[2:]).centering is Centering.HEAD


def test_the_fixture_with_made_up_landmarks_is_not_believed(dev_faces: Path, detector: Detector) -> None:
    paths = sorted((dev_faces / "faceswap_fixture").glob("*.png"))
    assert len(paths) == 2
    sample: Sample = []
    for path in paths:
        head = read_header(path.read_bytes())
        assert head is not None
        assert head.frame_dims == (250, 250)
        picture = read_rgb(path)
        sample.append((head, len(picture), detect(detector, picture)))
    assert trust.settle(sample).centering is None

"""DeepFaceLab's faces: the pickle in a JPEG's APP15, hostile ones above all; whom to believe; facesets."""

from __future__ import annotations

import os
import pickle
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import faceswap_writer as writer
import numpy as np
import pytest
from conftest import read_rgb
from hypothesis import given, settings
from hypothesis import strategies as st
from shell import here
from test_embed_faceswap import run

from face_organizer.cluster.constraints import hints_of
from face_organizer.embed.setup import Models, open_models
from face_organizer.errors import UnsafePickleError
from face_organizer.faceswap import HeaderError, dfl, trust
from face_organizer.media.listing import listing
from face_organizer.networks import packs
from face_organizer.networks.devices import CPU
from face_organizer.table import safe_pickle
from face_organizer.types import Image, Outcome

PICTURE = np.full((64, 64, 3), 128, np.uint8)
LANDMARKS = writer.mean_68() * 30 + 17


def face(landmarks: Any = LANDMARKS, **more: Any) -> dict[str, Any]:
    """What DeepFaceLab says of a face, in the types of its own files."""
    points = landmarks.tolist() if isinstance(landmarks, np.ndarray) else landmarks
    return {
        "face_type": "whole_face",
        "landmarks": points,
        "source_filename": "00001.png",
        "source_rect": np.array([184, 32, 260, 137]),
        "source_landmarks": LANDMARKS + 100,
        "image_to_face_mat": np.eye(2, 3),
        "seg_ie_polys": {"polys": [{"type": 1, "pts": np.ones((5, 2), np.float32)}]},
        "xseg_mask": np.arange(200, dtype=np.uint8)[:, None],
        "eyebrows_expand_mod": np.float64(1.5),
        **more,
    }


def segment(payload: bytes, marker: int = 0xEF, length: int | None = None) -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2 if length is None else length) + payload


def jpeg(said: Any = None, picture: Image = PICTURE, protocol: int = 3) -> bytes:
    """`picture` (RGB) as a JPEG with `said` in its APP15: bytes as they are, all else pickled."""
    data = cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()
    payload = said if isinstance(said, bytes) else pickle.dumps(said, protocol)
    at = data.index(b"\xff\xdb")  # behind JFIF's APP0
    return data[:at] + segment(payload) + data[at:] if said is not None else data


# The header


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_what_deepfacelab_writes(protocol: int) -> None:
    header = dfl.read_header(jpeg(face(), protocol=protocol), "00001_3.jpg")
    assert header is not None
    np.testing.assert_array_equal(header.landmarks, LANDMARKS.astype(np.float32))
    assert (header.landmarks.dtype, header.landmarks.shape) == (np.float32, (68, 2))
    assert (header.program, header.source_filename, header.face_index) == ("DeepFaceLab", "00001.png", 3)
    assert header.frame_dims is None


def test_landmarks_may_be_an_array() -> None:
    header = dfl.read_header(jpeg({**face(), "landmarks": LANDMARKS}))
    assert header is not None
    np.testing.assert_array_equal(header.landmarks, LANDMARKS.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("00001_0.jpg", 0),
        ("00001_12.jpeg", 12),
        ("00001.jpg", -1),  # sorted or renamed: its number is not known
        ("00002_1.jpg", -1),
        ("00001_1_1.jpg", -1),
        ("00001_-1.jpg", -1),
        ("00001_99999999999999.jpg", -1),
        ("", -1),
    ],
)
def test_the_number_on_the_frame_is_in_the_name_it_was_extracted_under(name: str, number: int) -> None:
    header = dfl.read_header(jpeg(face()), name)
    assert header is not None
    assert header.face_index == number


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xef",
        b"\xff\xd8\xff\xef\0",
        b"\x89PNG\r\n\x1a\n",
        jpeg(),
        jpeg(b"Q100"),  # GraphicConverter's
        jpeg(b""),
        jpeg(pickle.dumps(face(), 0)),  # nothing that DeepFaceLab ever wrote, and never read
        b"\xff\xd8" + b"\xff" * 5_000_000,
        b"\xff\xd8" + segment(b"", 0xE1, 0) * 1_000_000 + segment(pickle.dumps(face())),
        b"\xff\xd8" + segment(b"", 0xDA) + segment(pickle.dumps(face())),  # among the pixels
    ],
)
def test_no_header_is_no_error_and_takes_no_time(data: bytes) -> None:
    start = time.perf_counter()
    assert dfl.read_header(data) is None
    assert time.perf_counter() - start < 0.1


def test_other_segments_are_passed_by() -> None:
    data = jpeg(face())
    more = segment(b"Exif\0\0", 0xE1) + segment(b"x" * 60_000, 0xE2) + segment(b"Q90") + b"\xff\xff"
    assert dfl.read_header(data[:2] + more + data[2:]) is not None


class Runs:
    """Pickled as a call of `os.system`."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def nested(depth: int) -> bytes:
    return b"\x80\x03" + b"]" * depth + b"a" * (depth - 1) + b"."


def own_list() -> list[Any]:
    """A list that holds itself."""
    items: list[Any] = [1.0]
    items.append(items)
    return items


def doubling(times: int) -> list[Any]:
    """A small pickle of 2 ** times values."""
    items: list[Any] = [1.0, 2.0]
    for _ in range(times):
        items = [items, items]
    return items


def changed(at: int, value: Any) -> list[Any]:
    points = LANDMARKS.tolist()
    points[at] = value
    return points


UNUSABLE: list[tuple[Any, str]] = [
    (b"\x80\x03", "malformed"),
    (b"\x80\x03" + b"\xff" * 100, "malformed"),
    (b"\x80\x09.", "malformed"),
    (pickle.dumps(face(), 3)[:-4], "malformed"),
    (pickle.dumps(face(), 3) * 2, ""),  # what stands behind the end is not looked at
    (b"\x80\x03r\xff\xff\xff\x7f.", "malformed"),
    (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.", "malformed"),
    (b"\x80\x03" + b"(" * 60_000, "malformed"),
    (nested(30_000), "it does not hold a face"),
    ({**face(), "landmarks": own_list()}, "malformed"),
    (face(doubling(60)), "malformed"),
    ([face()], "it does not hold a face"),
    ("face", "it does not hold a face"),
    (5, "it does not hold a face"),
    ({}, "68 landmarks"),
    (face(None), "68 landmarks"),
    (face("landmarks"), "68 landmarks"),
    (face(b"x" * 136), "68 landmarks"),
    (face({}), "68 landmarks"),
    (face([]), "68 landmarks"),
    (face(LANDMARKS[17:]), "68 landmarks"),
    (face([[1, 2, 3]] * 68), "68 landmarks"),
    (face([["1", "2"]] * 68), "68 landmarks"),
    (face(changed(9, [1])), "68 landmarks"),
    (face(changed(9, None)), "68 landmarks"),
    (face(changed(9, [10**400, 1])), "68 landmarks"),
    ({**face(), "landmarks": LANDMARKS.astype(np.complex64)}, "malformed"),
    ({**face(), "landmarks": LANDMARKS.astype("U20")}, "68 landmarks"),
    (face(changed(9, [float("nan"), 1])), "beyond"),
    (face(changed(9, [1, float("-inf")])), "beyond"),
    (face(changed(9, [1e7, 1])), "beyond"),
    (face(np.ones((68, 2))), "no face's"),
    (face(LANDMARKS[::-1]), "no face's"),
    (face(source_filename=None), "source_filename"),
    (face(source_filename=b"00001.png"), "source_filename"),
    (face(source_filename="x" * 2000), "source_filename"),
    (face(source_filename=["00001.png"]), "source_filename"),
    (b"\x80\x03cbuiltins\nexec\nX\x04\0\0\0exit\x85R.", "it names builtins.exec"),
    (b"\x80\x03cnumpy\nload\n.", "it names numpy.load"),
    (b"\x80\x03c" + b"a" * 5000 + b"\nb\n.", "could run a program"),
    (face(source_rect=Path("x")), "could run a program"),
]


@pytest.mark.parametrize(("said", "reason"), UNUSABLE, ids=[f"{i}-{r}" for i, (_, r) in enumerate(UNUSABLE)])
def test_a_header_that_cannot_be_used_gives_its_reason(said: Any, reason: str) -> None:
    start = time.perf_counter()
    if reason:
        with pytest.raises(HeaderError) as error:
            dfl.read_header(jpeg(said))
        assert reason in str(error.value)
        assert len(str(error.value)) < 150
    else:
        assert dfl.read_header(jpeg(said)) is not None
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("place", ["alone", "beside", "within"])
def test_nothing_is_run(tmp_path: Path, place: str, protocol: int) -> None:
    mark = tmp_path / "was run"
    evil = Runs(f"touch '{mark}'")
    said = {"alone": evil, "beside": face(evil=evil), "within": face([evil])}[place]
    with pytest.raises(HeaderError, match=r"names \w+\.system, which could run a program; nothing was run"):
        dfl.read_header(jpeg(said, protocol=protocol))
    assert not mark.exists()


def test_a_length_beyond_the_file() -> None:
    data = jpeg(face())
    at = data.index(b"\xff\xef")
    with pytest.raises(HeaderError, match="cut off"):
        dfl.read_header(data[:at] + b"\xff\xef\xff\xff" + data[at + 4 :][:3000])
    for end in range(at + 5, at + 2000, 97):
        with pytest.raises(HeaderError, match="cut off"):
            dfl.read_header(data[:end])


def test_loads_names_what_it_refuses() -> None:
    with pytest.raises(UnsafePickleError, match=r"^\w+\.system$"):
        safe_pickle.loads(pickle.dumps(Runs("true")))
    with pytest.raises(ValueError, match="damaged pickle"):
        safe_pickle.loads(b"\x80\x03")
    assert safe_pickle.loads(pickle.dumps({"a": [1, "b"]})) == {"a": [1, "b"]}


PACKED = pickle.dumps(face(), 3)


@settings(max_examples=400)
@given(st.data())
def test_any_change_of_bytes_ends_in_header_reason_or_nothing(data: st.DataObject) -> None:
    packed = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(2, len(packed) - 1))
        new = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b".", b"0", b"R", b"h\x00", b"(", b"]"]))
        )
        packed[at : at + data.draw(st.integers(0, 4))] = new
    raw = bytearray(jpeg(bytes(packed)))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, 60))] = data.draw(st.integers(0, 255))
        raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        header = dfl.read_header(bytes(raw), "00001_0.jpg")
    except HeaderError:
        return
    if header is not None:
        assert np.isfinite(header.landmarks).all()


# Real files


@pytest.fixture(scope="module")
def crops(shared: Path) -> Path:
    folder = shared / "data" / "crops"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/crops (faces of DeepFaceLab), which is not here")
    return folder


@pytest.fixture(scope="module")
def models() -> Models:
    return open_models(packs.find("opencv"), CPU)


def test_genuine_files(crops: Path) -> None:
    folder = crops / "dfl_genuine" / "workspace" / "data_src"
    header = dfl.read_header((folder / "aligned" / "00001_0.jpg").read_bytes(), "00001_0.jpg")
    assert header is not None
    assert (header.source_filename, header.face_index) == ("00001.png", 0)
    np.testing.assert_allclose(header.landmarks[30], [250.5, 267.7], atol=0.1)  # the tip of the nose
    with pytest.raises(HeaderError, match="no face's"):  # a shoe
        dfl.read_header((folder / "aligned" / "00001_1.jpg").read_bytes())
    assert dfl.read_header((folder / "aligned_debug" / "00001.jpg").read_bytes()) is None
    assert dfl.read_header((folder / "00001.png").read_bytes()) is None


def test_a_genuine_folder_with_a_false_detection(crops: Path, models: Models) -> None:
    folder = crops / "dfl_genuine" / "workspace" / "data_src" / "aligned"
    table, took, _ = run(folder, models)
    assert took.notes == []
    assert took.counts["by DeepFaceLab header"] == 1
    assert list(table.files.reason) == [
        "aligned by its DeepFaceLab header",
        "DeepFaceLab header not used: its landmarks are no face's",
    ]
    assert np.isnan(table.faces.score).tolist() == [True, False]  # the man to whom the shoe belongs
    assert list(table.faces.source_filename) == ["00001.png", ""]
    assert len(hints_of(table).conflicts) == 0


def test_every_written_face(crops: Path, models: Models) -> None:
    table, took, _ = run(crops / "dfl_written", models)
    detected, _, _ = run(crops / "dfl_written", models, headers=False)
    assert took.counts["by DeepFaceLab header"] == len(table) == 40
    assert took.counts["by FaceSwap header"] == 0
    assert took.notes == []
    assert np.isnan(table.faces.score).all()
    assert table.faces.source_face.tolist() == [0] * 40
    for path, name in zip(table.face_paths(), table.faces.source_filename, strict=True):
        assert Path(path).stem == f"{Path(name).stem}_0"
    assert np.median((table.embeddings * detected.embeddings).sum(axis=1)) > 0.9


# Whom to believe


@pytest.fixture(scope="module")
def people(dev_faces: Path) -> list[tuple[Image, np.ndarray]]:
    """Crops of ten faces as DeepFaceLab makes them, and their 68 landmarks by dlib in pixels of the crop."""
    folder = dev_faces / "detection_gt_dlib"
    faces = [(n, p) for n, p in writer.dlib_faces(folder) if np.ptp(p, axis=0).min() > 50][:10]
    made = []
    for name, points in faces:
        matrix = writer.crop_matrix(points, 256, writer.Centering.FACE)
        crop = cv2.warpAffine(read_rgb(folder / name), matrix, (256, 256))
        made.append((crop, points @ matrix[:, :2].T + matrix[:, 2]))
    return made


def write(
    folder: Path, people: list[tuple[Image, np.ndarray]], spoil: Callable[[Image], Image] = lambda crop: crop
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, (crop, points) in enumerate(people):
        said = face(points, source_filename=f"{i:05d}.png")
        (folder / f"{i:05d}_0.jpg").write_bytes(jpeg(said, spoil(crop)))
    return folder


def test_a_folder_whose_landmarks_lie_elsewhere(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    folder = write(tmp_path / "moved", people, lambda crop: np.roll(crop, 64, axis=1))
    write(tmp_path / "good", people)
    table, took, _ = run(tmp_path, models)
    assert took.counts["by DeepFaceLab header"] == 10
    (note,) = took.notes
    assert note.startswith(f"{folder}: DeepFaceLab headers not used, faces are detected instead: ")
    reasons = [r for p, r in zip(table.files.path, table.files.reason, strict=True) if "moved" in p]
    assert set(reasons) == {"DeepFaceLab header not used: the detector does not confirm this folder's"}
    assert list(table.faces.source_filename).count("00000.png") == 2  # what it tells of the frame is kept


def test_a_folder_of_both_programs_and_photos(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path, dev_faces: Path
) -> None:
    """A sample of each program, a verdict of each: moved PNGs do not discredit the JPEGs beside them."""
    folder = write(tmp_path / "both", people)
    for i, (crop, points) in enumerate(people):
        moved = np.roll(crop, 64, axis=1)
        (folder / f"{i}.png").write_bytes(writer.png(moved, writer.header(points)))
    (folder / "a photo.jpg").write_bytes((dev_faces / "identities/Al_Gore/Al_Gore_0001.jpg").read_bytes())
    crop, points = people[0]
    (folder / "b oblong.jpg").write_bytes(jpeg(face(points), np.ascontiguousarray(crop[:, :-20])))
    (folder / "c evil.jpg").write_bytes(jpeg(Runs("false"), crop))
    (folder / "d plain.jpg").write_bytes(jpeg(None, crop))
    table, took, _ = run(folder, models)
    reason = {Path(p).name: r for p, r in zip(table.files.path, table.files.reason, strict=True)}
    assert (took.counts["by DeepFaceLab header"], took.counts["by FaceSwap header"]) == (10, 0)
    (note,) = took.notes
    assert "FaceSwap headers not used" in note
    assert reason["a photo.jpg"] == reason["d plain.jpg"] == ""
    assert reason["b oblong.jpg"] == "DeepFaceLab header not used: the picture is no square crop"
    assert reason["c evil.jpg"].startswith("DeepFaceLab header not used: refused: it names ")
    assert reason["00003_0.jpg"] == "aligned by its DeepFaceLab header"
    assert set(table.files.outcome) == {Outcome.FACES}


def test_a_sampled_crop_on_which_the_detector_sees_no_such_face_is_detected(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    """Landmarks like a face's on what is none, as DeepFaceLab's network draws them on anything."""
    folder = write(tmp_path / "some", people[:6])
    (folder / "false_0.jpg").write_bytes(jpeg(face(people[0][1]), np.zeros_like(people[0][0])))
    table, took, _ = run(folder, models)
    assert took.counts["by DeepFaceLab header"] == len(table) == 6
    assert took.notes == []
    assert table.files.reason[-1] == "DeepFaceLab header not used: the detector sees no such face on it"
    assert table.files.outcome[-1] == Outcome.NO_FACE


def test_landmarks_outside_the_picture(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    folder = write(tmp_path / "crops", people)
    crop, points = people[0]
    (folder / "00001x.jpg").write_bytes(jpeg(face(points + 5000), crop))  # the second: not of the sample
    assert str(folder / "00001x.jpg") not in trust.samples(listing([folder]).paths)[str(folder)]
    table, took, _ = run(folder, models)
    assert took.counts["by DeepFaceLab header"] == 10
    reason = dict(zip(map(os.path.basename, table.files.path), table.files.reason, strict=True))
    assert reason["00001x.jpg"] == "DeepFaceLab header not used: its landmarks lie outside the picture"


def test_faces_without_a_number_say_nothing_of_one_another(
    models: Models, people: list[tuple[Image, np.ndarray]], tmp_path: Path
) -> None:
    """Of one frame, sorted and so renamed: neither two people nor, on the next frame, one."""
    for kept in (True, False):
        folder = tmp_path / str(kept)
        folder.mkdir()
        for i, (crop, points) in enumerate(people[:4]):
            frame, number = 10 + i // 2, i % 2
            name = f"{frame}_{number}.jpg" if kept else f"{i:05d}.jpg"
            (folder / name).write_bytes(jpeg(face(points, source_filename=f"{frame}.png"), crop))
        table, _, _ = run(folder, models)
        hints = hints_of(table)
        assert (len(hints.conflicts), len(hints.same)) == ((2, 2) if kept else (0, 0))


# Packed facesets


def pak(files: list[bytes]) -> bytes:
    """A faceset.pak as DeepFaceLab lays it out: version, a pickle's length and bytes, offsets, files."""
    said = pickle.dumps([{"filename": f"{i}.jpg"} for i in range(len(files))], 4)
    ends = np.cumsum([0, *map(len, files)])
    return struct.pack("<QQ", 1, len(said)) + said + struct.pack(f"<{len(ends)}Q", *ends) + b"".join(files)


@pytest.mark.parametrize("name", ["faceset.pak", "Faceset.PAK"])
def test_a_faceset_is_named_with_what_mends_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(pak([jpeg(face())] * 3))
    (tmp_path / "in" / "game.pak").write_bytes(b"anything")  # others are called so too
    done = here("embed", "-i", tmp_path / "in", "-o", tmp_path / "faces.pkl", "--pack", "opencv")
    assert done.code == 3
    assert "1 picture = 0 with faces + 1 unsupported" in done.out
    assert "DeepFaceLab's faces packed into one file; unpack it" in done.out + done.err
    assert "Left alone: 1 .pak" in done.out

"""Reading videos: frames by the file's own times, upright, and damage told in words."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from making_videos import greys, number_of, turn, write_video

from face_organizer.errors import ImageError
from face_organizer.media import video
from face_organizer.types import Image, Outcome


def samples(path: Path, fps: float, **options: int) -> tuple[list[float], list[Image], str]:
    with video.open_video(str(path), **options) as opened:
        taken = list(opened.samples(fps))
    return [round(time, 3) for time, _ in taken], [frame for _, frame in taken], opened.damage


def refusal(path: Path, **options: int) -> ImageError:
    with pytest.raises(ImageError) as caught:
        samples(path, 1, **options)
    return caught.value


@pytest.mark.parametrize("name", ["a.mp4", "a.MOV", "a.mkv", "a.avi", "a.webm"])
def test_every_container_gives_its_frames(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name.lower(), greys(26)).rename(tmp_path / name)
    assert video.is_video(str(path))
    times, frames, damage = samples(path, 2)
    assert times == pytest.approx([0, 0.52, 1.0], abs=0.002)
    assert [number_of(f) for f in frames] == [0, 13, 25]
    assert damage == ""
    assert {f.shape for f in frames} == {(48, 64, 3)}


def test_times_are_the_files_own(tmp_path: Path) -> None:
    shown = [0, 0.1, 0.2, 1.5, 1.6, 4.0, 4.05]
    path = write_video(tmp_path / "phone.mp4", greys(7), shown)
    times, frames, _ = samples(path, 1)
    assert times == [0, 1.5, 4.0, 4.05]
    assert [number_of(f) for f in frames] == [0, 3, 5, 6]
    times, frames, _ = samples(path, 240)
    assert times == shown
    assert [number_of(f) for f in frames] == list(range(7))


def test_a_video_of_one_frame(tmp_path: Path) -> None:
    times, frames, damage = samples(write_video(tmp_path / "one.mp4", greys(1)), 1)
    assert (times, [number_of(f) for f in frames], damage) == ([0], [0], "")


def test_pictures_that_begin_after_the_sound(tmp_path: Path) -> None:
    path = write_video(tmp_path / "late.mkv", greys(3), [2.0, 2.04, 2.08], sound=3)
    times, _, damage = samples(path, 1)
    assert times == pytest.approx([2.0, 2.08], abs=0.002)
    assert damage == ""
    assert number_of(video.frame(str(path), 2.04)) == 1


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_as_a_player_shows_it(tmp_path: Path, degrees: int) -> None:
    path = write_video(tmp_path / "phone.mp4", greys(2))
    plain = samples(path, 1)[1][0]
    turn(path, degrees)
    turned = samples(path, 1)[1][0]
    np.testing.assert_array_equal(turned, np.rot90(plain, -degrees // 90))
    _, other = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).read()
    assert np.abs(other[..., ::-1].astype(int) - turned).mean() < 3
    with video.open_video(str(path)) as opened:
        list(opened.samples(1))
    assert (opened.height, opened.width) == turned.shape[:2]


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = write_video(tmp_path / "dv.mkv", greys(2), pixel_ratio=Fraction(3, 2))
    with video.open_video(str(path)) as opened:
        assert opened.at(0).shape == (48, 96, 3)
        assert (opened.width, opened.height) == (96, 48)


def test_colours_are_the_pictures(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 220
    frame = video.frame(str(write_video(tmp_path / "red.mp4", [red] * 2)), 0)
    assert np.abs(frame.astype(int).mean(axis=(0, 1)) - (220, 0, 0)).max() < 8


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi", ".webm"])
def test_any_frame_can_be_had_again(tmp_path: Path, ending: str) -> None:
    path = write_video(tmp_path / f"a{ending}", greys(28))
    times, frames, _ = samples(path, 25)
    assert len(times) == 28
    for time, frame in zip(times[::3], frames[::3], strict=True):
        np.testing.assert_array_equal(video.frame(str(path), float(np.float32(time))), frame)
    assert number_of(video.frame(str(path), 1e6)) == 27
    assert number_of(video.frame(str(path), -5)) == 0


def test_sparse_frames_are_frames_of_the_video_too(tmp_path: Path) -> None:
    """Where frames are skipped because no other needs them, what is given is still at its own time."""
    path = write_video(tmp_path / "long.mp4", greys(28), codec="libx264")
    times, frames, _ = samples(path, 2)
    assert len(times) >= 3
    for time, frame in zip(times, frames, strict=True):
        assert abs(number_of(frame) - time * 25) <= 1
        np.testing.assert_array_equal(video.frame(str(path), time), frame)


# --- damage ---


def noise(count: int) -> list[Image]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 255, (48, 64, 3), np.uint8).repeat(2, 0).repeat(2, 1) for _ in range(count)]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".avi", ".webm"])
def test_cut_off(tmp_path: Path, ending: str) -> None:
    path = write_video(tmp_path / f"a{ending}", noise(150), index_first=ending == ".mp4", sound=0)
    whole = samples(path, 5)
    assert whole[2] == ""
    os.truncate(path, path.stat().st_size * 6 // 10)
    times, frames, damage = samples(path, 5)
    assert 2.0 < times[-1] < 4.5
    assert damage.startswith(f"cut off after {times[-1]:.0f}"[:-1])
    assert "it should last 6.0 s" in damage
    for time, frame in zip(times[:-1], frames[:-1], strict=True):
        np.testing.assert_array_equal(frame, whole[1][whole[0].index(time)])


def test_an_interrupted_recording(tmp_path: Path) -> None:
    """Phones write the index last: without it nothing can be read."""
    path = write_video(tmp_path / "a.mp4", noise(50))
    os.truncate(path, path.stat().st_size // 2)
    error = refusal(path)
    assert error.outcome == Outcome.UNREADABLE
    assert error.reason == "not a video, or one whose index is missing or damaged"


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", noise(150))
    whole = dict(zip(*samples(path, 25)[:2], strict=True))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 9000] = np.random.default_rng(0).bytes(9000)
    path.write_bytes(data)
    answers = [samples(path, 25) for _ in range(4)]
    times, frames, damage = answers[0]
    assert damage.startswith("damaged at 2.") or damage.startswith("damaged at 3.")
    assert times[-1] == pytest.approx(5.96, abs=0.01)
    assert 100 < len(times) < 150
    same = [np.array_equal(frame, whole[time]) for time, frame in zip(times, frames, strict=True)]
    assert np.mean(same) > 0.9
    for other in answers[1:]:
        assert (other[0], other[2]) == (times, damage)
        assert all(np.array_equal(a, b) for a, b in zip(frames, other[1], strict=True))


HOSTILE = {
    "empty.mp4": (b"", "empty file"),
    "text.mp4": (b"hello\n" * 5000, "not a video"),
    "zeros.mkv": (bytes(100_000), "not a video"),
    "noise.avi": (np.random.default_rng(0).bytes(100_000), "not a video"),
    "playlist.mp4": (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n/etc/passwd\n", "not a video"),
    "list.avi": (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "not a video"),
    "photo.mov": (b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(5000), "not a video"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_video(tmp_path: Path, name: str) -> None:
    data, reason = HOSTILE[name]
    (tmp_path / name).write_bytes(data)
    error = refusal(tmp_path / name)
    assert (error.outcome, error.passing) == (Outcome.UNREADABLE, False)
    assert reason in error.reason


def test_a_list_of_files_opens_none_of_them(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", greys(5))
    (tmp_path / "list.mkv").write_text(f"ffconcat version 1.0\nfile '{tmp_path}/a.mp4'\n")
    assert refusal(tmp_path / "list.mkv").outcome == Outcome.UNREADABLE


def test_gone_and_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.mp4").passing
    os.mkfifo(tmp_path / "pipe.mp4")
    assert refusal(tmp_path / "pipe.mp4").reason == "not a regular file"


def test_sound_alone(tmp_path: Path) -> None:
    error = refusal(write_video(tmp_path / "song.mp4", [], sound=2))
    assert (error.outcome, error.reason) == (Outcome.UNSUPPORTED, "no moving pictures in it")


def test_frames_over_the_limit_are_not_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "large.mp4", [np.zeros((600, 800, 3), np.uint8)] * 2)
    assert len(samples(path, 1, max_pixels=480_000)[0]) == 2
    error = refusal(path, max_pixels=400_000)
    assert error.outcome == Outcome.UNSUPPORTED
    assert error.reason == "frames of unknown size, or over the limit of 0.4 megapixels (--max-megapixels)"


def test_a_header_that_lies_about_its_size(tmp_path: Path) -> None:
    path = write_video(tmp_path / "lie.mkv", greys(3), codec="mjpeg")
    data = path.read_bytes()
    at = data.index(b"\xb0\x82\x00\x40") if b"\xb0\x82\x00\x40" in data else data.index(b"\xb0\x81\x40")
    size = 2 if data[at + 1] == 0x82 else 1
    path.write_bytes(data[:at] + b"\xb0" + bytes([0x80 + size]) + b"\xff" * size + data[at + 2 + size :])
    times, frames, _ = samples(path, 25)
    assert len(times) <= 3
    assert all(f.size < 10_000_000 for f in frames)


def test_names_of_any_bytes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", greys(2)).rename(tmp_path / os.fsdecode(b"no-utf8-\xff%03d.mp4"))
    assert len(samples(path, 1)[0]) == 2

"""Videos for tests, made by the library that reads them: real encoders, any times, any turn."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from face_organizer.types import Image

_MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
"""a, b, c, d of the display matrix of ISO 14496-12 that turns clockwise."""


def write_video(
    path: Path,
    pictures: Sequence[Image],
    times: Sequence[float] | None = None,
    *,
    codec: str | None = None,
    sound: float = 0.0,
    pixel_ratio: Fraction | None = None,
    index_first: bool = False,
) -> Path:
    """A video of RGB `pictures`, each shown from its second of `times` (25 a second by default), with
    `sound` seconds of silence."""
    times = [i / 25 for i in range(len(pictures))] if times is None else times
    options = {"movflags": "faststart"} if index_first else {}
    with av.open(str(path), "w", options=options) as container:
        stream: Any = None
        if pictures:
            stream = container.add_stream(codec or ("libvpx" if path.suffix == ".webm" else "mpeg4"), rate=25)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.bit_rate, stream.gop_size = 4_000_000, 12
            # AVI counts frames; the others hold any time.
            stream.codec_context.time_base = Fraction(1, 25 if path.suffix == ".avi" else 1000)
            if pixel_ratio:
                stream.sample_aspect_ratio = pixel_ratio
        voice: Any = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        base = stream.codec_context.time_base if stream else None
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time / base), base
            container.mux(stream.encode(frame))
        for at in range(0, int(sound * 8000), 1024):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts, silence.time_base = 8000, at, Fraction(1, 8000)
            container.mux(voice.encode(silence))
        for made in (stream, voice):
            if made:
                container.mux(made.encode(None))
    return path


def turn(path: Path, degrees: int) -> None:
    """Have an .mp4 shown turned clockwise, as phones do: by the matrix in its track header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, five numbers, layer to volume
    a, b, c, d = (value * 65536 for value in _MATRICES[degrees])
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def greys(count: int, width: int = 64, height: int = 48) -> list[Image]:
    """Frames that tell their number: frame i is grey 8 * i + 20, and each has a white top left corner."""
    frames = []
    for i in range(count):
        frame = np.full((height, width, 3), 8 * i + 20, np.uint8)
        frame[: height // 3, : width // 3] = 255
        frames.append(frame)
    return frames


def number_of(frame: Image) -> int:
    """Which of `greys` a frame is, by its middle."""
    middle = frame[frame.shape[0] // 2 - 3 :, frame.shape[1] // 2 - 3 :][:6, :6]
    return round((float(middle.mean()) - 20) / 8)

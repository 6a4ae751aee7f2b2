"""Reading videos: nothing else in the package opens one.

A `Video` gives frames as RGB uint8, upright and in the shape they are shown in, each with the time at which
it is shown. Times are seconds from the start of the file, as players show them, taken from the file's time
stamps, never from counting frames: phones record at a rate that varies.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.media import decoders
from face_organizer.media.images import DEFAULT_MAX_PIXELS, Decoded, Shrinkable, open_source, opened
from face_organizer.media.kinds import is_video as is_video
from face_organizer.media.kinds import kind
from face_organizer.types import Image, Outcome

MAX_PIXELS = 8192 * 8192
"""Largest frame that is decoded whatever `--max-megapixels` says: a decoder keeps up to seventeen of them."""

_FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg"
"""FFmpeg's names of the containers that are opened. None of them is a list of other files."""
_THREADS = 4  # whatever the machine: the frames of a damaged file may depend on it
_SPARSE = 4.0
"""Where at least this many frames are shown for each that is wanted, those that no other frame needs are not
decoded: a wanted frame may then come a few frames late, and films take a quarter less time."""
_MOST_BLIND = 10.0  # seconds; videos that refresh bit by bit never show a key frame
_LEAST_CUT, _LEAST_CUT_SHARE = 1.0, 0.03  # seconds; share of what the file says it lasts
_WIDEST_PIXEL = 4.0


@contextlib.contextmanager
def open_video(path: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Iterator[Video | Frames]:
    """The video file at `path`, or the animation or pages of one picture file, open inside the block.

    Raises `ImageError`: `unreadable` for what is no video, `unsupported` for one without pictures, in a codec
    that there is no decoder for, or with frames over `max_pixels`, none of which is decoded.
    """
    if kind(path) == "frames":
        with opened(path) as file:
            yield Frames(file.read(), max_pixels)
        return

    import av

    max_pixels = min(max_pixels, MAX_PIXELS)
    # A frame that is too large is refused while the file is probed, before anything is decoded.
    options = {"format_whitelist": _FORMATS, "max_pixels": str(max_pixels)}
    with opened(path) as file:
        try:
            container = av.open(
                file, options=options, io_open=_refuse, metadata_errors="replace", buffer_size=1 << 18
            )
        except av.error.FFmpegError as error:
            reason = "not a video, or one whose index is missing or damaged"
            raise ImageError(Outcome.UNREADABLE, reason) from error
        with container:
            yield Video(container, _stream(container, max_pixels))


class Video:
    """An open video. `width` and `height` are pixels of its first frame as shown, 0 until that was taken.

    Once all frames are taken, `damage` says in words what could not be read; it is empty for a sound file.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._start = (container.start_time or 0) / 1e6
        self.width = self.height = 0
        self.damage = ""

    def samples(self, fps: float) -> Iterator[tuple[float, Image]]:
        """Of each 1/`fps` seconds the first frame, and the very last one: (time, (h, w, 3) RGB uint8).

        Times rise. Damaged frames are left out, and those that build on them.
        """
        rate = self._stream.average_rate
        if rate and rate >= _SPARSE * fps:
            self._stream.codec_context.skip_frame = "NONREF"
        due, waiting = -math.inf, None
        for time, frame in self._decoded():
            waiting = (time, frame)
            if time >= due:
                yield time, self._image(frame)
                due, waiting = (math.floor(time * fps + 1e-6) + 1) / fps, None
        if waiting:
            yield waiting[0], self._image(waiting[1])

    def at(self, time: float) -> Image:
        """The frame that is shown nearest to `time` seconds. Raises `ImageError` where there is none."""
        from av.error import FFmpegError

        with contextlib.suppress(FFmpegError):  # a file without an index is read from its start
            at = max(time + self._start - 0.001, 0)
            self._container.seek(int(at / self._stream.time_base), stream=self._stream)
        before = None
        for shown, frame in self._decoded():
            if before is None or shown - time <= time - before[0]:
                before = shown, frame
            if shown >= time:
                break
        if before is None:
            raise ImageError(Outcome.UNREADABLE, f"no frame at {time:.1f} s")
        return self._image(before[1])

    def _decoded(self) -> Iterator[tuple[float, Any]]:
        """Sound frames in the order they are shown, each with its time; `damage` is set on the way."""
        from av.error import FFmpegError

        stream = self._stream
        step = 1 / float(stream.average_rate or 25)
        # Sound and subtitles too: they may end later than the pictures, and show whether the file is cut off.
        others = self._container.streams
        packets = self._container.demux(stream, *others.audio, *others.subtitles)
        shown, reached, blind = -math.inf, 0.0, -math.inf
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except FFmpegError as error:
                self._note(reached, error)
                break
            if packet.pts is not None and packet.time_base is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                reached = max(reached, end - self._start)
            if packet.stream is not stream:
                continue
            try:
                frames = packet.decode()
            except FFmpegError as error:
                self._note(max(shown, 0.0), error)
                blind = max(shown, 0.0) + _MOST_BLIND
                continue
            for frame in frames:
                time = shown + step if frame.time is None else frame.time - self._start
                time = max(time, 0.0)
                if frame.is_corrupt:
                    self._note(time, None)
                    blind = time + _MOST_BLIND
                elif (frame.key_frame or time >= blind) and time > shown:
                    blind, shown = -math.inf, time
                    yield time, frame
        whole = (self._container.duration or 0) / 1e6
        if self._container.format.name == "avi" and stream.average_rate:
            # FFmpeg shortens the duration of a cut AVI, its header still counts all frames.
            whole = max(whole, float(stream.frames / stream.average_rate))
        if whole - reached > max(_LEAST_CUT, _LEAST_CUT_SHARE * whole):
            self.damage = f"cut off after {reached:.1f} s: it should last {whole:.1f} s"

    def _note(self, time: float, error: Exception | None) -> None:
        """The first damage is what is reported."""
        what = f": {str(error.strerror).lower()}" if isinstance(error, OSError) and error.strerror else ""
        self.damage = self.damage or f"damaged at {time:.1f} s{what}"

    def _image(self, frame: Any) -> Image:
        """With square pixels, upright."""
        ratio = float(self._stream.sample_aspect_ratio or 1)
        if not 1 / _WIDEST_PIXEL <= ratio <= _WIDEST_PIXEL:
            ratio = 1.0
        width = max(1, round(frame.width * ratio))
        pixels = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        turned = np.rot90(pixels, round(frame.rotation / 90) % 4)
        if not self.width:
            self.height, self.width = turned.shape[:2]
        return np.ascontiguousarray(turned, np.uint8)


class Frames:
    """An animation or the pages of one picture file, as `Video` gives frames: page k is at k seconds.

    Once all frames are taken, `damage` says in words what could not be read; it is empty for a sound file.
    """

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._picture = decoders.pillow_picture(data)
        self.width, self.height = self._picture.size
        decoders.check_size(self.width, self.height, max_pixels)
        self._pages = self._picture.format == "TIFF"
        self.damage = ""

    def samples(self, fps: float) -> Iterator[tuple[float, Image]]:
        """Every page; or the first frame of each 1/`fps` seconds, and the last: (time, (h, w, 3) uint8)."""
        due, waiting = -math.inf, None
        for time, image in self._shown():
            waiting = (time, image)
            if time >= due or self._pages:
                yield waiting
                due, waiting = (math.floor(time * fps + 1e-6) + 1) / fps, None
        if waiting:
            yield waiting

    def at(self, time: float) -> Image:
        """The frame or page shown nearest to `time` seconds. Raises `ImageError` where there is none."""
        nearest = min(self._shown(), key=lambda shown: abs(shown[0] - time), default=None)
        if nearest is None:
            raise ImageError(Outcome.UNREADABLE, self.damage)
        return nearest[1]

    def _shown(self) -> Iterator[tuple[float, Image]]:
        """Each frame with its time, as far as the file is sound."""
        time = 0.0
        for number in itertools.count():
            try:
                with decoders.damage(self.width, self.height):
                    if not self._goes_to(number):
                        return
                    image = decoders.by_pillow(self._picture.copy(), 1)
            except ImageError as error:
                self.damage = f"damaged at {time:.1f} s: {error.reason.removeprefix('damaged: ')}"
                return
            yield time, image
            # browsers take 0 for 0.1 s
            time += 1.0 if self._pages else float(self._picture.info.get("duration") or 100) / 1000

    def _goes_to(self, number: int) -> bool:
        try:
            self._picture.seek(number)
            self._picture.load()
        except EOFError:
            return False
        return True


def picture(path: str, time: float) -> Shrinkable:
    """What a face is on: the frame at `time` seconds of a video (the first where that is NaN), else the
    picture file. Raises `ImageError`."""
    if is_video(path):
        return Decoded(frame(path, 0.0 if math.isnan(time) else time))
    return open_source(path)


def frame(path: str, time: float) -> Image:
    """The frame of a video nearest to `time` seconds, (h, w, 3) RGB uint8. Raises `ImageError`."""
    with open_video(path) as video:
        return video.at(time)


def _refuse(url: str, flags: int, options: Any) -> Any:
    """A video has no business with other files."""
    raise PermissionError(f"a video that names another file: {url}")


def _stream(container: Any, max_pixels: int) -> Any:
    """The stream of moving pictures, ready to decode. Raises `ImageError` where there is none."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise ImageError(Outcome.UNSUPPORTED, "no moving pictures in it")
    stream = streams[0]
    if stream.codec_context is None:
        raise ImageError(Outcome.UNSUPPORTED, "its codec cannot be decoded here")
    if not stream.codec_context.width or not stream.codec_context.height:
        # What FFmpeg refuses by `max_pixels` has no size any more.
        limit = f"the limit of {max_pixels / 1e6:g} megapixels (--max-megapixels)"
        raise ImageError(Outcome.UNSUPPORTED, f"frames of unknown size, or over {limit}")
    stream.thread_type = "FRAME"
    stream.codec_context.thread_count = _THREADS
    return stream

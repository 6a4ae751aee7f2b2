"""Videos: rows and seconds of the real clip, and speed and memory over a 4K video ten times as long.

`python benchmarks/video.py [--repeat 3]`
"""

from __future__ import annotations

import argparse
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from common import CORES, DATA, row, temporary

from face_organizer.embed import videos
from face_organizer.embed.setup import EmbedOptions, Setup, open_models, stamp_of
from face_organizer.media import video
from face_organizer.networks.devices import CPU
from face_organizer.networks.packs import resolve

CLIP = DATA / "dev-faces/video/short_hamilton_clip.mp4"
SEEN = (0.84, 7.85)
"""Seconds at which the singer is seen first and last, by eye, frame by frame."""


def peak() -> int:
    """Largest memory of this process so far, in kB; unlike `ru_maxrss` it begins anew with the program."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def looked_at(path: Path, fps: float, pipe: Any) -> None:
    """What one video gives, in a process of its own, so that its memory is its own."""
    cv2.setNumThreads(1)
    pack, options = resolve("opencv"), EmbedOptions(fps=fps)
    models = open_models(pack, CPU)
    before = peak()
    start = time.perf_counter()
    made, report = videos.look(str(path), models, Setup("", options, stamp_of(pack, options)), CORES, int)
    main = np.flatnonzero(made.faces.track == 0)[:1]
    pipe.send(
        {
            "fps": fps,
            "rows": len(made),
            "tracks": int(made.faces.track.max(initial=-1)) + 1,
            "first": [round(float(made.faces.seen_from[i]), 2) for i in main],
            "last": [round(float(made.faces.seen_to[i]), 2) for i in main],
            "seconds": round(time.perf_counter() - start, 2),
            "stages": {name: round(s, 2) for name, s in report.seconds.items()},
            "megabytes": (peak() - before) // 1024,
        }
    )


def apart(path: Path, fps: float = 1.0) -> dict[str, Any]:
    """`looked_at` in a process of its own."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=looked_at, args=(path, fps, theirs))
    process.start()
    answer: dict[str, Any] = ours.recv()
    process.join()
    return answer


def large(folder: Path, repeat: int) -> Path:
    """Four seconds of the clip at 3840 x 2160, H.264 with B-frames, shown `repeat` times over."""
    seed, path = folder / "seed.mkv", folder / f"{4 * repeat}.mp4"
    if not seed.exists():
        with video.open_video(str(CLIP)) as source, av.open(str(seed), "w") as container:
            options = {"preset": "superfast", "bf": "3"}
            stream: Any = container.add_stream("libx264", rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 3840, 2160, "yuv420p"
            for shown, image in source.samples(25):
                if 4 <= shown < 8:
                    frame = av.VideoFrame.from_ndarray(cv2.resize(image, (3840, 2160)), format="rgb24")
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with av.open(str(path), "w") as container:
        made: Any = None
        for number in range(repeat):
            with av.open(str(seed)) as source_container:
                stream = source_container.streams.video[0]
                made = made or container.add_stream_from_template(stream)
                for packet in source_container.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    later = int(4 * number / stream.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, made
                    container.mux(packet)
    return path


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    for fps in (1.0, 10.0):
        row("video-clip", seen=SEEN, **apart(CLIP, fps))
    with temporary() as folder:
        for times in (repeat, 10 * repeat):
            row("video-4k", shown_seconds=4 * times, **apart(large(folder, times)))


if __name__ == "__main__":
    main()

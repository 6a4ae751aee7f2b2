"""Videos in a search: when a person is seen, and the frames that show them best."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.files import atomic_write
from face_organizer.search.match import Found
from face_organizer.types import FaceTable

_QUALITY = 92


def clock(seconds: float) -> str:
    """Seconds as people write them, such as `1:02:03.4`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def ranges(table: FaceTable, found: Found) -> dict[str, list[tuple[float, float]]]:
    """For each video with a match: the seconds (from, to) in which the person is seen, in order, those that
    touch as one."""
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in found.rows[found.is_match]:
        start, end = float(table.faces.seen_from[row]), float(table.faces.seen_to[row])
        if not np.isnan(start):
            seen[table.files.path[table.faces.file_index[row]]].append((start, end))
    return {path: _united(found_there) for path, found_there in sorted(seen.items())}


def _united(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    united: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], end))
        else:
            united.append((start, end))
    return united


def best_frames(table: FaceTable, found: Found, most: int) -> Iterator[tuple[int, str]]:
    """(row, file name) of the `most` surest matches in videos, one a moment of a video."""
    taken: set[tuple[int, float]] = set()
    names: set[str] = set()
    for row in found.rows[found.is_match].tolist():
        moment = (int(table.faces.file_index[row]), float(table.faces.time[row]))
        if len(taken) == most:
            return
        if np.isnan(moment[1]) or moment in taken:
            continue
        taken.add(moment)
        stem = os.path.splitext(os.path.basename(table.files.path[moment[0]]))[0]
        name = f"{found.profile.name} {stem} {clock(moment[1]).replace(':', '.')}"
        number = 0
        while (whole := f"{name}{f' {number}' if number else ''}.jpg") in names:
            number += 1
        names.add(whole)
        yield row, whole


def write_frame(path: Path, table: FaceTable, row: int, source: str) -> bool:
    """Write the frame of `row` as JPEG, read from the video at `source`; False where it cannot be read (any
    more)."""
    from PIL import Image

    from face_organizer.media import video

    try:
        picture = video.frame(source, float(table.faces.time[row]))
    except ImageError:
        return False
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())
    return True

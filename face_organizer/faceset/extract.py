"""Aligned crops out of photos and films, at the full quality of their pixels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_organizer.errors import FaceOrganizerError, ImageError, UsageError
from face_organizer.faceswap import Header, with_header
from face_organizer.faceswap.landmarks import Centering, crop_matrix
from face_organizer.faceswap.points import FILE, Points, open_points
from face_organizer.files import atomic_write, clock, count, png, printable
from face_organizer.geometry import align
from face_organizer.machine import available_cores, in_order
from face_organizer.media import images, video
from face_organizer.types import FaceTable, Float32, Image

SMALLEST, LARGEST = 64, 2048
"""Pixels of a crop's side."""
_HEAD = 174.0
"""Side of the crop in pixels of the aligned face, of which it is the middle: as much of the head as
FaceSwap's own `head` crops show, whose unit square is 65 of these pixels wide and 0.375 of their side."""


@dataclass(frozen=True, slots=True, eq=False)
class Extracted:
    """The crops of some faces: `rows` of the table, `names` of their files below the output, `side` in
    pixels; `points` finds the 68 landmarks of FaceSwap's header, None where there is no such network."""

    table: FaceTable
    rows: Sequence[int]
    names: Sequence[str]
    side: int
    points: Points | None

    @property
    def note(self) -> str:
        """Whether the crops carry FaceSwap's header, in words."""
        if self.points is None:
            return (
                "These crops carry no FaceSwap header: five landmarks are not 68, and no installed pack "
                f"holds {FILE}. Let FaceSwap's extract run over them before training."
            )
        return (
            f"These crops carry FaceSwap's header, with 68 landmarks by {self.points.path.name} "
            "(InsightFace's weights: non-commercial research only)."
        )

    def write(self, folder: Path, on_step: Callable[[], object]) -> dict[int, str]:
        """Cut them out; where each one lies, by its row. Raises `FaceOrganizerError` where some
        cannot be cut: nothing is left out in silence."""
        failed, placed = list[str](), dict[int, str]()
        work = list(zip(self.rows, self.names, strict=True))
        results = in_order(work, lambda one: self._cut(one[0], folder / one[1]), available_cores().count)
        for (row, name), why in zip(work, results, strict=True):
            path = self.table.files.path[self.table.faces.file_index[row]]
            if why:
                failed.append(f"{printable(path)}: {why}")
            else:
                placed[row] = name
            on_step()
        if failed:
            raise FaceOrganizerError(
                f"{count(len(failed), 'crop')} could not be cut: {failed[0]}", "embed again"
            )
        return placed

    def _cut(self, row: int, target: Path) -> str:
        faces, files = self.table.faces, self.table.files
        path = files.path[faces.file_index[row]]
        try:
            source = video.picture(path, float(faces.time[row]))
            header, matrix = None, None
            if self.points:
                found = self.points.find(source, faces.box[row], float(faces.roll[row]))
                matrix = crop_matrix(found, self.side, Centering.HEAD)
                sides = source.height, source.width
                header = Header(
                    found, _frame(path, float(faces.time[row])), int(faces.face_index[row]), sides, 2.4
                )
            if header is None or matrix is None:
                data = png(crop(source, faces.landmarks[row], self.side))
            else:
                data = with_header(png(align.cut(source, matrix, self.side)), header, target.name)
        except ImageError as error:
            return error.reason
        with atomic_write(target) as file:
            file.write(data)
        return ""


def _frame(path: str, time: float) -> str:
    """The name of the frame that a face was on: the photo's, or one of the film's with its milliseconds."""
    name = os.path.basename(path)
    return name if np.isnan(time) else f"{os.path.splitext(name)[0]}_{round(1000 * time):06d}.png"


def crop(source: images.Shrinkable, landmarks: Float32, side: int) -> Image:
    """(side, side, 3) RGB: the head about five landmarks (5, 2), upright; black where the picture ends.
    Raises `ImageError`."""
    template = (align.TEMPLATE - align.SIZE / 2) * np.float32(side / _HEAD) + np.float32(side / 2)
    return align.cut(source, align.estimate(landmarks[None], template=template)[0], side)


def extracted(table: FaceTable, chosen: Sequence[tuple[int, str]], side: int) -> Extracted:
    """The crops of `chosen` faces, (row of the table, folder below the output) each. Raises `UsageError` for
    a side that makes no sense."""
    if not SMALLEST <= side <= LARGEST:
        raise UsageError(f"--extract takes {SMALLEST} to {LARGEST} pixels, not {side}")
    usable = align.usable(table.faces.landmarks[np.array([row for row, _ in chosen], np.int64)])
    if not usable.all():
        raise UsageError("the table does not say where all faces are", "embed the pictures again")
    names, used = [], Counter[str]()
    for row, folder in chosen:
        path, time = table.files.path[table.faces.file_index[row]], float(table.faces.time[row])
        stem = os.path.splitext(os.path.basename(path))[0]
        when = "" if np.isnan(time) else f"_{clock(time).replace(':', '.')}"
        name = f"{stem}{when}_{table.faces.face_index[row]}"
        key = f"{folder}/{name}".casefold()
        used[key] += 1
        name = f"{name}_{used[key]}.png" if used[key] > 1 else f"{name}.png"
        names.append(f"{folder}/{name}" if folder else name)
    return Extracted(table, [row for row, _ in chosen], names, side, open_points())

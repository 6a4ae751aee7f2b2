"""True boxes of faces, as dlib's imglab writes them, and what of them a back end found."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from face_organizer.errors import UsageError
from face_organizer.files import printable
from face_organizer.geometry.boxes import overlap
from face_organizer.types import Float32

IOU = 0.4
"""Least intersection over union of a found box with a true one. PASCAL VOC asks for 0.5; back ends draw the
box of one and the same face from brow to chin or from hair to neck, which alone brings it down to that."""


class TrueFaces(NamedTuple):
    """(n, 4) x1, y1, x2, y2 in pixels of the picture; (n,) whether a face may be found or not, as one likes
    (imglab's `ignore`)."""

    boxes: Float32
    ignored: NDArray[np.bool_]


class Truth:
    """The true faces of pictures, which go by their path below the file, or by a name that it holds once."""

    def __init__(self, path: Path) -> None:
        """Read the file at `path`. Raises `UsageError`."""
        try:
            values = _read(path.read_bytes())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"{printable(path)}: {reason}") from error
        except (ValueError, KeyError, ElementTree.ParseError) as error:
            raise UsageError(
                f"{printable(path)} holds no boxes ({str(error)[:120]}); expected XML as dlib's imglab writes it"
            ) from error
        names = Counter(map(os.path.basename, values))
        self._faces = {os.path.basename(n): v for n, v in values.items() if names[os.path.basename(n)] == 1}
        self._faces |= {os.path.abspath(path.parent / name): value for name, value in values.items()}

    def of(self, path: str) -> TrueFaces | None:
        """The true faces of the picture at `path`; None where nothing is known of it."""
        return self._faces.get(path) or self._faces.get(os.path.basename(path))


def _read(text: bytes) -> dict[str, TrueFaces]:
    if b"<!ENTITY" in text:
        raise ValueError("it declares entities")
    found = {}
    for image in ElementTree.fromstring(text).iter("image"):
        boxes = list(image.iter("box"))
        sides = [[float(box.attrib[key]) for key in ("left", "top", "width", "height")] for box in boxes]
        array = np.array(sides, np.float32).reshape(-1, 4)
        if not np.isfinite(array).all():
            raise ValueError("a box that is not finite")
        array[:, 2:] += array[:, :2]
        ignored = [box.attrib.get("ignore") in ("1", "true") for box in boxes]
        found[image.attrib["file"].replace("\\", "/")] = TrueFaces(array, np.array(ignored, np.bool_))
    if not found:
        raise ValueError("it names no picture")
    return found


def matches(found: Float32, true: TrueFaces) -> tuple[int, int, int]:
    """Found boxes (n, 4), best score first, against true ones: right, wrong, missed.

    Each found box takes the true one that it overlaps most, if that is free and the overlap at least `IOU`.
    Boxes on ignored faces count as nothing.
    """
    free = np.ones(len(true.boxes), np.bool_)
    right = wrong = 0
    for row in overlap(found, true.boxes):
        candidates = np.where(free, row, 0)
        best = int(candidates.argmax()) if len(row) else 0
        if len(row) and candidates[best] >= IOU:
            free[best] = False
            right += not true.ignored[best]
        elif not (row[true.ignored] >= IOU).any():
            wrong += 1
    return right, wrong, int((free & ~true.ignored).sum())

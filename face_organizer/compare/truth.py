"""True boxes of faces, as dlib's imglab writes them, and how many of them a back end found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from face_organizer.errors import UsageError
from face_organizer.files import os_errors, printable
from face_organizer.geometry.boxes import overlap
from face_organizer.types import Detections, Float32

IOU = 0.4
"""Least intersection over union of a found box with a true one. PASCAL VOC asks for 0.5; back ends draw the
box of one and the same face from brow to chin or from hair to neck, which alone brings it down to that."""


class TrueFaces(NamedTuple):
    """(n, 4) x1, y1, x2, y2 in pixels of the picture; (n,) whether a face may be found or not, as one likes
    (imglab's `ignore`)."""

    boxes: Float32
    ignored: NDArray[np.bool_]


def read_boxes(path: Path) -> dict[str, TrueFaces]:
    """The true faces of each picture that the XML at `path` names, by absolute path. Raises `UsageError`."""
    with os_errors(path, kind=UsageError):
        text = path.read_bytes()
    found = {}
    try:
        if b"<!ENTITY" in text:
            raise ValueError("it declares entities")
        for image in ElementTree.fromstring(text).iter("image"):
            boxes = list(image.iter("box"))
            sides = [[float(box.attrib[key]) for key in ("left", "top", "width", "height")] for box in boxes]
            array = np.array(sides, np.float32).reshape(-1, 4)
            array[:, 2:] += array[:, :2]
            if not np.isfinite(array).all():
                raise ValueError("a box is not finite")
            ignored = [box.attrib.get("ignore") in ("1", "true") for box in boxes]
            place = os.path.abspath(path.parent / image.attrib["file"].replace("\\", "/"))
            found[place] = TrueFaces(array, np.array(ignored, np.bool_))
        if not found:
            raise ValueError("it names no picture")
    except (ValueError, KeyError, ElementTree.ParseError) as error:
        why = f"{printable(path)} holds no boxes ({str(error)[:120]})"
        raise UsageError(why, "give XML as dlib's imglab writes it") from error
    return found


def against(
    truth: Mapping[str, TrueFaces], found: Iterable[tuple[str, Detections]]
) -> tuple[float | None, float | None]:
    """Precision and recall of the faces found on pictures, 0 to 1; None where there are none to count.

    Each found face, the surest first, takes the true one that it overlaps most, if that is free and the
    overlap at least `IOU`. Boxes on ignored faces count as nothing.
    """
    right = wrong = missed = 0
    for path, faces in found:
        true, order = truth[path], np.argsort(-np.nan_to_num(faces.scores), kind="stable")
        free = np.ones(len(true.boxes), np.bool_)
        for row in overlap(faces.boxes[order], true.boxes):
            best = int(np.where(free, row, -1).argmax()) if len(row) else -1
            if best >= 0 and free[best] and row[best] >= IOU:
                free[best] = False
                right += int(not true.ignored[best])
            else:
                wrong += int(not (row[true.ignored] >= IOU).any())
        missed += int((free & ~true.ignored).sum())
    precision = right / (right + wrong) if right + wrong else None
    return precision, right / (right + missed) if right + missed else None

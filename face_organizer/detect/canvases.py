"""Which canvases a picture is drawn on for the detector: their sizes, and the border kept around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from face_organizer.detect import Detector, Look
from face_organizer.geometry.canvas import STRIDE, Placement, around, whole
from face_organizer.media.images import Shrinkable
from face_organizer.types import Float32

SMALL_PICTURE = 512
"""Longer side, in pixels, up to which a picture is a portrait or a crop: its face is large in it."""
BORDER = 0.125
"""Of a portrait's longer side, kept free around it: detectors miss faces that fill the picture."""
WIDE_BORDER = 0.25
FIRST_LOOK = 320
LARGEST_LOOK = 960
"""Larger canvases lose more large faces than they win small ones, and cost by their area."""
SMALLEST_FOUND = 16.0
"""Pixels of a canvas: YuNet and SCRFD find few faces smaller than twice their first stride of 8."""
CLOSE_LOOK, CLOSE_LOOK_FACE = 160, 60.0
"""Side of the canvas for a look at one face, and the face's size on it, in pixels. On dev-faces, upright
faces of 50 to 65 pixels score highest above the same faces turned, for both detectors."""


def first(picture: Shrinkable, detector: Detector, look: Look, turn: int = 0) -> Placement:
    """The canvas of the first look."""
    width, height, longer = picture.width, picture.height, max(picture.width, picture.height)
    if detector.fixed_size:
        return _square(whole(width, height, detector.fixed_size, BORDER, turn))
    if look.canvas:
        return whole(width, height, look.canvas, 0.0, turn)
    if look.every_face:
        return whole(width, height, _keeping(longer, look), 0.0, turn)
    if longer <= SMALL_PICTURE:
        return whole(width, height, detector.portrait, BORDER, turn)
    return whole(width, height, FIRST_LOOK, BORDER / 2, turn)


def second(picture: Shrinkable, detector: Detector, look: Look, turn: int = 0) -> Placement:
    """The canvas of the second look, large enough for the smallest face that is wanted."""
    width, height, longer = picture.width, picture.height, max(picture.width, picture.height)
    if detector.fixed_size:
        return _square(whole(width, height, detector.fixed_size, turn=turn))
    if look.every_face:  # the first look was large: what it missed is larger than a detector sees there
        return whole(width, height, FIRST_LOOK, BORDER, turn)
    border = WIDE_BORDER if longer <= SMALL_PICTURE else 0.0
    size = round(_keeping(longer, look) * (1 + 2 * border))
    return whole(width, height, -(-size // STRIDE) * STRIDE, border, turn)


def turned(picture: Shrinkable, detector: Detector, look: Look) -> list[Placement]:
    """Canvases for a picture on its sides and upside down, sized for its main face: large ones cost most."""
    main = replace(look, every_face=False)
    return [first(picture, detector, main, turn) for turn in (90, 180, 270)]


def close(box: Float32, turns: Sequence[int]) -> list[Placement]:
    """The canvases on which one face is looked at, from near, at each of `turns`."""
    return [around(box, CLOSE_LOOK, CLOSE_LOOK_FACE, turn % 360) for turn in turns]


def _keeping(longer: int, look: Look) -> int:
    """The longer side of a canvas on which a face of `min_face_size` is still found, within limits."""
    wanted = SMALLEST_FOUND / max(look.min_face_size, 1.0) * longer
    return int(min(max(-(-wanted // STRIDE) * STRIDE, FIRST_LOOK), LARGEST_LOOK))


def _square(placement: Placement) -> Placement:
    side = max(placement.width, placement.height)
    return replace(placement, width=side, height=side)

"""Which canvases a picture is drawn on for the detector: their sizes, and the border kept around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from face_organizer.detect import Detector, Look
from face_organizer.geometry.canvas import STRIDE, Placement, around, whole
from face_organizer.media.images import Shrinkable
from face_organizer.types import Detections, Float32

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
NEARLY = 0.95
"""Of `SMALLEST_FOUND` on small pictures: 192 pixels show one of 250 in three quarters of the time of 224."""
CLOSE_LOOK, CLOSE_LOOK_FACE = 160, 60.0
"""Side of the canvas for a look at one face, and the face's size on it, in pixels. On dev-faces, upright
faces of 50 to 65 pixels score highest above the same faces turned, for both detectors."""

ORDINARY_PIXELS, ORDINARY_SHAPE = 32_000_000, 2.5
"""A picture of more pixels, or longer than so many times
its shorter side, is more than one scene: faces on it may be far smaller than a look at all of it shows."""
MOST_TILES, MOST_TILES_ORDINARY = 24, 6
WORTH_TILES = 1.25
"""Tiles must show a face larger by this than looks at the whole."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen on one canvas, in picture pixels, best score first, and how far the picture was turned on
    it, in degrees."""

    faces: Detections
    turn: int

    @property
    def score(self) -> float:
        """The best, 0 without faces."""
        return float(self.faces.scores.max(initial=0.0))


def first(picture: Shrinkable, detector: Detector, look: Look, turn: int = 0) -> Placement:
    """The canvas of the first look."""
    width, height, longer = picture.width, picture.height, max(picture.width, picture.height)
    if detector.fixed_size:
        return _square(whole(width, height, detector.fixed_size, BORDER, turn))
    if look.canvas:
        return whole(width, height, look.canvas, 0.0, turn)
    if look.every_face:
        side = int(-(-NEARLY * SMALLEST_FOUND / look.min_face_size * longer // STRIDE) * STRIDE)
        if longer <= SMALL_PICTURE and side < FIRST_LOOK:
            return whole(width, height, max(side, detector.portrait), 0.0, turn)
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


def close(box: Float32, turns: Sequence[int], face: float = CLOSE_LOOK_FACE) -> list[Placement]:
    """The canvases on which one face is looked at, from near, `face` pixels large, at each of `turns`."""
    side = round(face * CLOSE_LOOK / CLOSE_LOOK_FACE / STRIDE) * STRIDE
    return [around(box, side, face, turn % 360) for turn in turns]


def tiles(picture: Shrinkable, detector: Detector, look: Look, *, none: bool = False) -> list[Placement]:
    """Canvases that show a picture tile by tile, for faces too small for a look at all of it: those of
    `min_face_size`, as far as `MOST_TILES` will do. No canvases where looks at all of it show these too, or
    for a picture that is neither large nor long, unless all are to be looked at so or it shows `none` so far:
    such a one gets `MOST_TILES_ORDINARY`.
    """
    width, height, longer = picture.width, picture.height, max(picture.width, picture.height)
    large = width * height > ORDINARY_PIXELS or longer > ORDINARY_SHAPE * min(width, height)
    large = large or look.tiles == "all"
    if look.tiles == "off" or (look.every_face and none == large):
        return []
    known = max(make(picture, detector, look).scale for make in (first, second))
    side = detector.fixed_size or LARGEST_LOOK
    scale = min(SMALLEST_FOUND / look.min_face_size, 1.0)
    while scale >= WORTH_TILES * known:
        # faces too large to be whole in the overlap are large enough for the look at all of the picture
        shared = min(SMALLEST_FOUND * scale / known, side / 3)
        across, down = (_steps(length, scale, side, shared) for length in (width, height))
        if len(across) * len(down) <= (MOST_TILES if large else MOST_TILES_ORDINARY):
            sides = (min(side, -(-round(length * scale) // STRIDE) * STRIDE) for length in (height, width))
            h, w = (side, side) if detector.fixed_size else (max(s, STRIDE) for s in sides)
            return [Placement(h, w, scale, x, y) for y in down for x in across]
        scale /= 1.1
    return []


def _steps(length: int, scale: float, side: int, shared: float) -> list[float]:
    """The middles, in pixels of the picture, of the tiles in which `length` of it is looked at."""
    on_canvas = length * scale
    count = max(1, math.ceil((on_canvas - shared) / (side - shared)))
    ends = min(side, on_canvas) / 2 / scale
    return [float(x) for x in np.linspace(ends, length - ends, count) - 0.5]


def _keeping(longer: int, look: Look) -> int:
    """The longer side of a canvas on which a face of `min_face_size` is still found, within limits."""
    wanted = SMALLEST_FOUND / max(look.min_face_size, 1.0) * longer
    return int(min(max(-(-wanted // STRIDE) * STRIDE, FIRST_LOOK), LARGEST_LOOK))


def _square(placement: Placement) -> Placement:
    side = max(placement.width, placement.height)
    return replace(placement, width=side, height=side)

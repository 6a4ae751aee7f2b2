"""One look at pictures: on which canvas each is drawn, and what the detector sees there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from face_organizer.detect import Detector
from face_organizer.geometry import canvas, quality
from face_organizer.geometry.boxes import overlap
from face_organizer.geometry.canvas import Placement
from face_organizer.types import NO_FACES, Detections, Image

SMALL_PICTURE = 512
"""Longer side, in pixels, up to which a picture is taken for a portrait or a crop: its face is large in
it."""
BORDER = 0.125
"""Of a portrait's longer side, kept free around it: detectors miss faces that fill the picture."""
WIDE_BORDER = 0.25
FIRST_LOOK = 320
TURNS = (90, 180, 270)
LARGEST_LOOK = 960
"""Larger canvases lose more large faces than they win small ones, and cost by their area."""
LARGE_FACE = 256.0
"""Pixels of a canvas above which a smaller one sees a face better: SCRFD missed those of 400 to 530."""
SAME_FACE = 0.3
"""Intersection over union from which boxes of two looks are one face's. 95 of 100 overlap by 0.6 and more."""
SMALLEST_FOUND = 16.0
"""Pixels of a canvas: YuNet and SCRFD find few faces smaller than twice their first stride of 8."""


class Pixels(Protocol):
    """A picture whose pixels are decoded as large as someone needs them."""

    width: int
    height: int

    def pixels(self, longer_side: float) -> tuple[Image, float]:
        """The picture with a longer side of at least that (or the whole), and how much it is shrunk (1 =
        not)."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """How to look. `canvas` overrides the size of the first canvas, in pixels; `turns` allows turned
    looks."""

    min_score: float = 0.5
    min_face_size: float = 20.0
    every_face: bool = False
    canvas: int | None = None
    turns: bool = True


@dataclass(slots=True)
class Found:
    """The faces of one picture in its own pixels, how far it was turned (degrees, counter-clockwise), how
    often looked at."""

    faces: Detections = NO_FACES
    turn: int = 0
    looks: int = 0
    again: bool = False
    """Whether the first look found nothing."""


def first(picture: Pixels, detector: Detector, look: Look, turn: int = 0) -> Placement:
    """The canvas of the first look."""
    longer = max(picture.width, picture.height)
    if detector.fixed_size:
        return _square(
            canvas.whole(picture.width, picture.height, detector.fixed_size, BORDER, turn),
            detector.fixed_size,
        )
    if look.canvas:
        return canvas.whole(picture.width, picture.height, look.canvas, 0.0, turn)
    if look.every_face:
        return canvas.whole(picture.width, picture.height, _keeping(longer, look), 0.0, turn)
    if longer <= SMALL_PICTURE:
        return canvas.whole(picture.width, picture.height, detector.portrait, BORDER, turn)
    return canvas.whole(picture.width, picture.height, FIRST_LOOK, BORDER / 2, turn)


def second(picture: Pixels, detector: Detector, look: Look, turn: int = 0) -> Placement:
    """The canvas of the second look, large enough for the smallest face that is wanted."""
    width, height, longer = picture.width, picture.height, max(picture.width, picture.height)
    if detector.fixed_size:
        whole = canvas.whole(width, height, detector.fixed_size, turn=turn)
        return _square(whole, detector.fixed_size)
    if look.every_face:  # the first look was large: what it missed is larger than a detector sees there
        return canvas.whole(width, height, FIRST_LOOK, BORDER, turn)
    border = WIDE_BORDER if longer <= SMALL_PICTURE else 0.0
    size = round(_keeping(longer, look) * (1 + 2 * border))
    return canvas.whole(width, height, -(-size // canvas.STRIDE) * canvas.STRIDE, border, turn)


def quarter_turns(
    pictures: Sequence[Pixels], among: Iterable[int], detector: Detector, look: Look
) -> dict[int, list[Placement]]:
    """The canvases on which each picture of `among` is looked at on its sides and upside down, whole, for its
    main face: large ones for each turn would cost more than all else."""
    main = replace(look, every_face=False)
    return {i: [first(pictures[i], detector, main, turn) for turn in TURNS] for i in among}


def _keeping(longer: int, look: Look) -> int:
    """The longer side of a canvas on which a face of `min_face_size` is still found, within limits."""
    wanted = SMALLEST_FOUND / max(look.min_face_size, 1.0) * longer
    return int(min(max(-(-wanted // canvas.STRIDE) * canvas.STRIDE, FIRST_LOOK), LARGEST_LOOK))


def _square(placement: Placement, side: int) -> Placement:
    return Placement(side, side, placement.scale, placement.x, placement.y, placement.turn)


def detect(
    pictures: Sequence[Pixels], wanted: dict[int, list[Placement]], detector: Detector, min_score: float
) -> dict[int, list[Detections]]:
    """What the detector finds on each canvas, in picture pixels; canvases of one size run together."""
    by_size: dict[tuple[int, int], list[tuple[int, int, Placement]]] = defaultdict(list)
    for i, placements in wanted.items():
        for n, placement in enumerate(placements):
            by_size[placement.height, placement.width].append((i, n, placement))
    answers: dict[int, list[Detections]] = {i: [NO_FACES] * len(p) for i, p in wanted.items()}
    for (height, width), placed in by_size.items():
        canvases = np.empty((len(placed), height, width, 3), np.uint8)
        for drawn, (i, _, placement) in zip(canvases, placed, strict=True):
            _draw(pictures[i], placement, drawn)
        for (i, n, placement), faces in zip(placed, detector.detect(canvases, min_score), strict=True):
            answers[i][n] = canvas.to_picture(faces, placement)
    return answers


def _draw(picture: Pixels, placement: Placement, drawn: Image) -> None:
    image, reduction = picture.pixels(max(picture.width, picture.height) * placement.scale)
    canvas.draw(image, reduction, placement, drawn)


def keep_best(
    pictures: Sequence[Pixels],
    found: list[Found],
    wanted: dict[int, list[Placement]],
    detector: Detector,
    look: Look,
) -> None:
    """Look at each picture of `wanted` on its canvases; keep the canvas with the best face."""
    for i, answers in detect(pictures, wanted, detector, look.min_score).items():
        best = max(zip(answers, wanted[i], strict=True), key=lambda a: a[0].scores.max(initial=0.0))
        found[i].looks += len(answers)
        if len(best[0]):
            found[i].faces, found[i].turn = best[0], best[1].turn


def keep_every(
    pictures: Sequence[Pixels], found: list[Found], turns: dict[int, int], detector: Detector, look: Look
) -> None:
    """Look at each picture of `turns`, turned by so many degrees, for every face; keep them where they are
    no fewer than before.

    It is a large look, and a small one too where that is smaller: detectors miss faces that are large on
    their canvas, such as a portrait's own where they find the bystander behind.
    """
    wanted = {}
    for i, turn in turns.items():
        large, small = (place(pictures[i], detector, look, turn) for place in (first, second))
        wanted[i] = [large, small] if large.scale > small.scale else [large]
    for i, answers in detect(pictures, wanted, detector, look.min_score).items():
        faces = answers[0]
        for small_faces in answers[1:]:
            faces = _with_large(faces, small_faces, wanted[i][0].scale)
        found[i].looks += len(answers)
        if len(faces) >= len(found[i].faces):
            found[i].faces, found[i].turn = faces, turns[i]


def _with_large(faces: Detections, seen_small: Detections, scale: float) -> Detections:
    """`faces`, found on a canvas of that `scale`, and of those `seen_small` what is too large for it; best
    score first. All of `seen_small` where there are no `faces`."""
    if not len(faces):
        return seen_small
    large = seen_small.take(quality.size(seen_small.boxes) * scale > LARGE_FACE)
    if not len(large):
        return faces
    other = overlap(faces.boxes, large.boxes).max(axis=1) < SAME_FACE
    both = Detections.concatenate([large, faces.take(other)])
    return both.take(np.argsort(-both.scores, kind="stable"))

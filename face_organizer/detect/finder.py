"""Finding the faces of pictures of any size, in any quarter turn, with as few and as small canvases as will
do.

The first look is small: a picture's main face is large in it. What is not found gets one more look, larger
and with room around it. A face found with a low score, or with landmarks that no upright face has, lies on
its side or upside down more often than not: it is looked at again at four turns, and the best is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from face_organizer import align
from face_organizer.detect import Detector, canvas
from face_organizer.detect.canvas import Placement
from face_organizer.types import Detections, Float32, Image

SMALL_PICTURE = 512
"""Longer side, in pixels, up to which a picture is taken for a portrait or a crop: its face is large in
it."""
BORDER = 0.125
"""Of a portrait's longer side, kept free around it: detectors miss faces that fill the picture."""
WIDE_BORDER = 0.25
FIRST_LOOK = 320
LARGEST_LOOK = 960
"""Larger canvases lose more large faces than they win small ones, and cost by their area."""
SMALLEST_FOUND = 16.0
"""Pixels of a canvas: YuNet and SCRFD find few faces smaller than twice their first stride of 8."""
SECOND_LOOK, SECOND_LOOK_FACE = 160, 60.0
"""Side of the canvas for a second look at one face, and the face's size on it, in pixels. On dev-faces,
upright faces of 50 to 65 pixels score highest above the same faces turned, for both detectors."""
MOST_ROLL = 40.0
"""Degrees: a face turned by more is looked at upright first; turns come in steps of 45."""
MOST_MISFIT = 0.45
"""Of `align.misfit`: landmarks of upright faces, profiles too, stay below it."""
STRAIGHTENINGS = 2
"""Detectors tell less of a tilt than there is, so what is left of it may be seen at the second go."""
TURNS = (90, 180, 270)
ALL_TURNS = (0, 45, 90, 135, 180, 225, 270, 315)
HALF_STEP = 22
"""Degrees to either side of the best of those: YuNet's landmarks do not tell a tilt, its score does."""


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

    faces: Detections = field(default_factory=Detections.empty)
    turn: int = 0
    looks: int = 0


def find(pictures: Sequence[Pixels], detector: Detector, look: Look) -> list[Found]:
    """The faces of each picture. The answer for one does not depend on the others."""
    found = [Found() for _ in pictures]
    _look(pictures, found, {i: [first(p, detector, look)] for i, p in enumerate(pictures)}, detector, look)
    again = {i: [second(pictures[i], detector, look)] for i in _without(found)}
    _look(pictures, found, again, detector, look)
    if look.turns:
        main = replace(look, every_face=False)  # a large canvas for each turn would cost more than all else
        turned = {i: [first(pictures[i], detector, main, turn) for turn in TURNS] for i in _without(found)}
        _look(pictures, found, turned, detector, look)
        _look_at_unsure(pictures, found, detector, look)
        among = set() if look.every_face else set(range(len(pictures)))
        for _ in range(STRAIGHTENINGS):
            among = _straighten(pictures, found, detector, look, among)
    return found


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


def second(picture: Pixels, detector: Detector, look: Look) -> Placement:
    """The canvas of the second look, large enough for the smallest face that is wanted."""
    longer = max(picture.width, picture.height)
    if detector.fixed_size:
        return _square(canvas.whole(picture.width, picture.height, detector.fixed_size), detector.fixed_size)
    if (
        look.every_face
    ):  # the first look was large already: what it missed is larger than a detector sees there
        return canvas.whole(picture.width, picture.height, FIRST_LOOK, BORDER)
    border = WIDE_BORDER if longer <= SMALL_PICTURE else 0.0
    size = round(_keeping(longer, look) * (1 + 2 * border))
    return canvas.whole(picture.width, picture.height, -(-size // canvas.STRIDE) * canvas.STRIDE, border)


def _keeping(longer: int, look: Look) -> int:
    """The longer side of a canvas on which a face of `min_face_size` is still found, within limits."""
    wanted = SMALLEST_FOUND / max(look.min_face_size, 1.0) * longer
    return int(min(max(-(-wanted // canvas.STRIDE) * canvas.STRIDE, FIRST_LOOK), LARGEST_LOOK))


def _square(placement: Placement, side: int) -> Placement:
    return Placement(side, side, placement.scale, placement.x, placement.y, placement.turn)


def _without(found: Sequence[Found]) -> list[int]:
    return [i for i, f in enumerate(found) if not len(f.faces)]


def _look(
    pictures: Sequence[Pixels],
    found: list[Found],
    wanted: dict[int, list[Placement]],
    detector: Detector,
    look: Look,
) -> None:
    """Look at each picture of `wanted` on its canvases; keep the canvas with the best face."""
    for i, answers in _detect(pictures, wanted, detector, look.min_score).items():
        best = max(zip(answers, wanted[i], strict=True), key=lambda a: a[0].scores.max(initial=0.0))
        found[i].looks += len(answers)
        if len(best[0]):
            found[i].faces, found[i].turn = best[0], best[1].turn


def _detect(
    pictures: Sequence[Pixels], wanted: dict[int, list[Placement]], detector: Detector, min_score: float
) -> dict[int, list[Detections]]:
    """What the detector finds on each canvas, in picture pixels; canvases of one size run together."""
    by_size: dict[tuple[int, int], list[tuple[int, int, Placement]]] = defaultdict(list)
    for i, placements in wanted.items():
        for n, placement in enumerate(placements):
            by_size[placement.height, placement.width].append((i, n, placement))
    answers: dict[int, list[Detections]] = {i: [Detections.empty()] * len(p) for i, p in wanted.items()}
    for placed in by_size.values():
        canvases = np.stack([_drawn(pictures[i], placement) for i, _, placement in placed])
        for (i, n, placement), faces in zip(placed, detector.detect(canvases, min_score), strict=True):
            answers[i][n] = canvas.to_picture(faces, placement)
    return answers


def _drawn(picture: Pixels, placement: Placement) -> Image:
    image, reduction = picture.pixels(max(picture.width, picture.height) * placement.scale)
    return canvas.draw(image, reduction, placement)


def _look_at_unsure(pictures: Sequence[Pixels], found: list[Found], detector: Detector, look: Look) -> None:
    """Look again, at eight turns, at main faces that may not be upright; then, where none is surely one, at
    the whole picture turned: what looked like a face may have been none."""
    rows, main, turns = _main_faces(pictures, found)
    doubtful = is_unsure(main, turns, detector.sure)
    unsure = {i: row for (i, row), doubt in zip(rows, doubtful.tolist(), strict=True) if doubt}
    near = {
        i: [canvas.around(found[i].faces.boxes[m], SECOND_LOOK, SECOND_LOOK_FACE, turn) for turn in ALL_TURNS]
        for i, m in unsure.items()
    }
    best = _best_upright(pictures, near, found, detector, look)
    main_look = replace(look, every_face=False)
    wide = {
        i: [first(pictures[i], detector, main_look, turn) for turn in TURNS]
        for i in unsure
        if i not in best or best[i].score < detector.sure
    }
    for i, other in _best_upright(pictures, wide, found, detector, look).items():
        if i not in best or other.score > best[i].score:
            best[i] = other
    between = {
        i: [
            canvas.around(seen.face.boxes[0], SECOND_LOOK, SECOND_LOOK_FACE, (seen.turn + step) % 360)
            for step in (-HALF_STEP, HALF_STEP)
        ]
        for i, seen in best.items()
    }
    for i, other in _best_upright(pictures, between, found, detector, look).items():
        if other.score > best[i].score:
            best[i] = other
    again: dict[int, list[Placement]] = {}
    for i, seen in best.items():
        if not look.every_face:
            found[i].faces, found[i].turn = seen.face, seen.turn
        elif seen.turn != found[i].turn:
            again[i] = [first(pictures[i], detector, look, seen.turn)]
    _look(pictures, found, again, detector, look)


def _straighten(
    pictures: Sequence[Pixels], found: list[Found], detector: Detector, look: Look, among: Set[int]
) -> set[int]:
    """Look once more at tilted main faces with the picture turned by just that tilt: landmarks get exact
    there. Of the pictures in `among`; gives those whose face changed."""
    rows, main, turns = _main_faces(pictures, found)
    rolls = align.roll(main.landmarks)
    tilts = np.abs(_signed(rolls - turns))
    tilted = {
        i: [canvas.around(main.boxes[n], SECOND_LOOK, SECOND_LOOK_FACE, round(float(rolls[n])) % 360)]
        for n, (i, _) in enumerate(rows)
        if tilts[n] > detector.straight and i in among
    }
    changed = set()
    for i, seen in _best_upright(pictures, tilted, found, detector, look).items():
        if seen.score > found[i].faces.scores.max():
            found[i].faces, found[i].turn = seen.face, seen.turn
            changed.add(i)
    return changed


def _main_faces(
    pictures: Sequence[Pixels], found: Sequence[Found]
) -> tuple[list[tuple[int, int]], Detections, NDArray[np.int64]]:
    """The main face of each picture that has one: (picture, row of its faces), the faces, their turns."""
    rows = [
        (i, main_face(one.faces.boxes, pictures[i].width, pictures[i].height))
        for i, one in enumerate(found)
        if len(one.faces)
    ]
    if not rows:
        return [], Detections.empty(), np.empty(0, np.int64)
    main = Detections(
        np.stack([found[i].faces.boxes[row] for i, row in rows]),
        np.stack([found[i].faces.scores[row] for i, row in rows]),
        np.stack([found[i].faces.landmarks[row] for i, row in rows]),
    )
    return rows, main, np.array([found[i].turn for i, _ in rows], np.int64)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One upright face, its score, and how far the picture was turned."""

    score: float
    face: Detections
    turn: int


def _best_upright(
    pictures: Sequence[Pixels],
    wanted: dict[int, list[Placement]],
    found: list[Found],
    detector: Detector,
    look: Look,
) -> dict[int, _Seen]:
    """Of each picture, the best upright face on any of its canvases; pictures without one are left out."""
    best: dict[int, _Seen] = {}
    for i, answers in _detect(pictures, wanted, detector, look.min_score).items():
        found[i].looks += len(answers)
        for faces, placement in zip(answers, wanted[i], strict=True):
            upright = np.abs(_roll(faces.landmarks, placement.turn)) <= MOST_ROLL
            for row in np.flatnonzero(upright)[:1]:
                if i not in best or faces.scores[row] > best[i].score:
                    best[i] = _Seen(float(faces.scores[row]), faces.take(np.array([row])), placement.turn)
    return best


def is_unsure(faces: Detections, turns: NDArray[np.int64], sure: float) -> NDArray[np.bool_]:
    """(n,) whether faces, found in pictures turned by (n,) `turns`, may not be upright there: a score below
    `sure`, landmarks turned by more than `MOST_ROLL`, or unlike those of any face."""
    odd = ~align.usable(faces.landmarks) | (align.misfit(faces.landmarks) > MOST_MISFIT)
    unsure: NDArray[np.bool_] = (
        odd | (faces.scores < sure) | (np.abs(_signed(align.roll(faces.landmarks) - turns)) > MOST_ROLL)
    )
    return unsure


def _roll(landmarks: Float32, turn: int) -> Float32:
    """(n,) degrees that faces are turned clockwise in a picture that was itself turned counter-clockwise by
    `turn`."""
    return np.asarray(_signed(align.roll(landmarks) - turn), np.float32)


def _signed(degrees: Any) -> Any:
    return (degrees + 180) % 360 - 180


def prominence(boxes: Float32, width: int, height: int) -> Float32:
    """How much each of (n, 4) `boxes` is the main face of its picture, (n,) in square pixels; larger is more.

    Its area inside the picture less twice the squared distance of its center from the picture's: a bystander
    cut off by the edge is often larger than the person the photo is of. The rule that FaceNet's
    `align_dataset_mtcnn.py` (Sandberg 2016) prepared LFW with.
    """
    limits = np.array([width, height, width, height], np.float32)
    inside = np.clip(boxes, 0, limits)
    area = np.clip(inside[:, 2:] - inside[:, :2], 0, None).prod(axis=1)
    off = (boxes[:, :2] + boxes[:, 2:]) / 2 - limits[:2] / 2
    return np.asarray(area - 2 * (off**2).sum(axis=1), np.float32)


def main_face(boxes: Float32, width: int, height: int) -> int:
    """The row of (n, 4) `boxes`, n > 0, that is the main face of the picture."""
    if len(boxes) == 1:
        return 0
    return int(np.argmax(prominence(boxes, width, height)))

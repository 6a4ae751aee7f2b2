"""Faces that may not be upright: a low score, or landmarks that no upright face has. They lie on their side
or upside down more often than not, are looked at again at other turns, and the best is kept."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_organizer.detect import Detector
from face_organizer.detect.looks import Found, Look, Pixels, detect, keep_every, quarter_turns
from face_organizer.geometry import align, canvas
from face_organizer.geometry.canvas import Placement
from face_organizer.geometry.main_face import main_face
from face_organizer.types import NO_FACES, Detections, Float32

SECOND_LOOK, SECOND_LOOK_FACE = 160, 60.0
"""Side of the canvas for a second look at one face, and the face's size on it, in pixels. On dev-faces,
upright faces of 50 to 65 pixels score highest above the same faces turned, for both detectors."""
MOST_ROLL = 40.0
"""Degrees: a face turned by more is looked at upright first; turns come in steps of 45."""
MOST_MISFIT = 0.45
"""Of `align.misfit`: landmarks of upright faces, profiles too, stay below it."""
ALL_TURNS = (0, 45, 90, 135, 180, 225, 270, 315)
HALF_STEP = 22
"""Degrees to either side of the best of those: YuNet's landmarks do not tell a tilt, its score does."""


def look_at_unsure(pictures: Sequence[Pixels], found: list[Found], detector: Detector, look: Look) -> None:
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
    doubted = [i for i in unsure if i not in best or best[i].score < detector.sure]
    wide = quarter_turns(pictures, doubted, detector, look)
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
    again: dict[int, int] = {}
    for i, seen in best.items():
        if not look.every_face:
            found[i].faces, found[i].turn = seen.face, seen.turn
        elif seen.turn != found[i].turn:
            again[i] = seen.turn
    keep_every(pictures, found, again, detector, look)


def straighten(
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
        return [], NO_FACES, np.empty(0, np.int64)
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
    for i, answers in detect(pictures, wanted, detector, look.min_score).items():
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

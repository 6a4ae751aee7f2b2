"""Finding the faces of pictures of any size, in any quarter turn, on as few and as small canvases as will do.

The first look is small: a picture's main face is large in it. Where every face is wanted, there is a small
and a large one, for faces that are large and small. A picture without a face gets one more look, larger and
with room around it, then one at each quarter turn. A face found with a low score, or with landmarks that no
upright face has, lies on its side or upside down more often than not: it is looked at again at eight turns,
and the best is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_organizer.detect import Detector, Found, Look, canvases
from face_organizer.geometry import align, canvas, quality
from face_organizer.geometry.boxes import main_face, overlap
from face_organizer.geometry.canvas import Placement
from face_organizer.media.images import Shrinkable
from face_organizer.types import NO_FACES, Detections

LARGE_FACE = 256.0
"""Pixels of a canvas above which a smaller one sees a face better: SCRFD missed those of 400 to 530."""
SAME_FACE = 0.3
"""Intersection over union from which boxes of two looks are one face's. 95 of 100 overlap by 0.6 and more."""
MOST_ROLL = 40.0
"""Degrees: a face turned by more is looked at upright first; turns come in steps of 45."""
MOST_MISFIT = 0.45
"""Of `align.misfit`: landmarks of upright faces, profiles too, stay below it."""
HALF_STEP = 22
"""Degrees to either side of the best of eight turns: YuNet's landmarks do not show a tilt, its score does."""
STRAIGHTENINGS = 2
"""Detectors see less of a tilt than there is, so what is left of it may show at the second go."""


def find(pictures: Sequence[Shrinkable], detector: Detector, look: Look) -> list[Found]:
    """The faces of each picture. The answer for one does not depend on the others."""
    state = _Finder(pictures, detector, look)
    if look.every_face:
        state.keep_every(dict.fromkeys(range(len(pictures)), 0))
    else:
        state.keep_best({i: [canvases.first(p, detector, look)] for i, p in enumerate(pictures)})
    for i in state.without_faces():
        state.found[i].again = True
    once = [i for i in state.without_faces() if state.found[i].looks == 1]
    state.keep_best({i: [canvases.second(pictures[i], detector, look)] for i in once})
    if look.turns:
        state.keep_best({i: canvases.turned(pictures[i], detector, look) for i in state.without_faces()})
        state.turn_unsure()
        if not look.every_face:
            state.straighten()
    return state.found


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen on one canvas, in picture pixels, and how far the picture was turned on it."""

    faces: Detections
    turn: int

    @property
    def score(self) -> float:
        return float(self.faces.scores.max(initial=0.0))


class _Finder:
    """What is known of each picture so far, in `found`: `_see` counts looks, `_keep` sets faces and turn."""

    def __init__(self, pictures: Sequence[Shrinkable], detector: Detector, look: Look) -> None:
        self.pictures, self.detector, self.look = pictures, detector, look
        self.found = [Found() for _ in pictures]

    def without_faces(self) -> list[int]:
        return [i for i, found in enumerate(self.found) if not len(found.faces)]

    def _keep(self, i: int, seen: _Seen) -> None:
        self.found[i].faces, self.found[i].turn = seen.faces, seen.turn

    def _see(self, wanted: Mapping[int, Sequence[Placement]]) -> dict[int, list[_Seen]]:
        """What the detector finds on the canvases of each picture; those of one size run together."""
        by_size: dict[tuple[int, int], list[tuple[int, int, Placement]]] = defaultdict(list)
        for i, placements in wanted.items():
            self.found[i].looks += len(placements)
            for n, placement in enumerate(placements):
                by_size[placement.height, placement.width].append((i, n, placement))
        seen = {i: [_Seen(NO_FACES, p.turn) for p in placements] for i, placements in wanted.items()}
        for (height, width), placed in by_size.items():
            drawn = np.empty((len(placed), height, width, 3), np.uint8)
            for onto, (i, _, placement) in zip(drawn, placed, strict=True):
                longer_side = max(self.pictures[i].width, self.pictures[i].height) * placement.scale
                canvas.draw(*self.pictures[i].pixels(longer_side), placement, onto)
            answers = self.detector.detect(drawn, self.look.min_score)
            for (i, n, placement), faces in zip(placed, answers, strict=True):
                seen[i][n] = _Seen(canvas.to_picture(faces, placement), placement.turn)
        return seen

    def keep_best(self, wanted: Mapping[int, Sequence[Placement]]) -> None:
        """Look at each picture on its canvases; keep what the one with the best face shows."""
        for i, seen in self._see(wanted).items():
            best = max(seen, key=lambda one: one.score)
            if len(best.faces):
                self._keep(i, best)

    def keep_every(self, turns: Mapping[int, int]) -> None:
        """Look for every face of each picture, turned by `turns` degrees; keep them where they are no fewer
        than before. A large look, and a small one where that is smaller: detectors miss faces that are large
        on their canvas, such as a portrait's own where they find the bystander behind."""
        wanted = {}
        for i, turn in turns.items():
            make = canvases.first, canvases.second
            large, small = (place(self.pictures[i], self.detector, self.look, turn) for place in make)
            wanted[i] = [large, small] if large.scale > small.scale else [large]
        for i, seen in self._see(wanted).items():
            faces = seen[0].faces
            for small_look in seen[1:]:
                faces = _with_large(faces, small_look.faces, wanted[i][0].scale)
            if len(faces) >= len(self.found[i].faces):
                self._keep(i, _Seen(faces, turns[i]))

    def turn_unsure(self) -> None:
        """Look again, at eight turns, at main faces that may not be upright; then, where none is surely one,
        at the whole picture turned: what looked like a face may have been none."""
        pictures, faces, turns = self._main_faces()
        doubtful = is_unsure(faces, turns, self.detector.sure).tolist()
        unsure = {i: box for i, box, doubt in zip(pictures, faces.boxes, doubtful, strict=True) if doubt}
        best = self._upright({i: canvases.close(box, range(0, 360, 45)) for i, box in unsure.items()})
        doubted = [i for i in unsure if i not in best or best[i].score < self.detector.sure]
        wide = {i: canvases.turned(self.pictures[i], self.detector, self.look) for i in doubted}
        best = _better(best, self._upright(wide))
        between = {
            i: canvases.close(seen.faces.boxes[0], [seen.turn - HALF_STEP, seen.turn + HALF_STEP])
            for i, seen in best.items()
        }
        best = _better(best, self._upright(between))
        if self.look.every_face:
            self.keep_every({i: seen.turn for i, seen in best.items() if seen.turn != self.found[i].turn})
        else:
            for i, seen in best.items():
                self._keep(i, seen)

    def straighten(self) -> None:
        """Look once more at tilted main faces with the picture turned by just that tilt: landmarks get exact
        there; and again where that changed the face."""
        among = set(range(len(self.pictures)))
        for _ in range(STRAIGHTENINGS):
            pictures, faces, turns = self._main_faces()
            rolls = align.roll(faces.landmarks)
            tilted = np.abs(_signed(rolls - turns)) > self.detector.straight
            wanted = {
                i: canvases.close(faces.boxes[n], [round(float(rolls[n]))])
                for n, i in enumerate(pictures)
                if tilted[n] and i in among
            }
            among = set()
            for i, seen in self._upright(wanted).items():
                if seen.score > self.found[i].faces.scores.max():
                    self._keep(i, seen)
                    among.add(i)

    def _main_faces(self) -> tuple[list[int], Detections, NDArray[np.int64]]:
        """The pictures that have faces, the main face of each, and how far each was turned."""
        among = [i for i, found in enumerate(self.found) if len(found.faces)]
        main = []
        for i in among:
            faces, picture = self.found[i].faces, self.pictures[i]
            main.append(faces.take(np.array([main_face(faces.boxes, picture.width, picture.height)])))
        return among, Detections.concatenate(main), np.array([self.found[i].turn for i in among], np.int64)

    def _upright(self, wanted: Mapping[int, Sequence[Placement]]) -> dict[int, _Seen]:
        """The best upright face of each picture on any of its canvases; pictures without one are left out."""
        best: dict[int, _Seen] = {}
        for i, seen in self._see(wanted).items():
            for one in seen:
                rolls = _signed(align.roll(one.faces.landmarks) - one.turn)
                rows = np.flatnonzero(np.abs(rolls) <= MOST_ROLL)[:1]
                if len(rows):
                    best = _better(best, {i: _Seen(one.faces.take(rows), one.turn)})
        return best


def _better(best: Mapping[int, _Seen], other: Mapping[int, _Seen]) -> dict[int, _Seen]:
    """Of each picture, what scores higher; `best` where they are equal."""
    better = {i: seen for i, seen in other.items() if i not in best or seen.score > best[i].score}
    return {**best, **better}


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


def is_unsure(faces: Detections, turns: NDArray[np.int64], sure: float) -> NDArray[np.bool_]:
    """(n,) whether faces, found in pictures turned by (n,) `turns`, may not be upright there: a score below
    `sure`, landmarks turned by more than `MOST_ROLL`, or unlike those of any face."""
    odd = ~align.usable(faces.landmarks) | (align.misfit(faces.landmarks) > MOST_MISFIT)
    tilted = np.abs(_signed(align.roll(faces.landmarks) - turns)) > MOST_ROLL
    return np.asarray(odd | tilted | (faces.scores < sure))


def _signed(degrees: NDArray[Any]) -> NDArray[Any]:
    return np.asarray((degrees + 180) % 360 - 180)

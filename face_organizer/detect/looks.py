"""Looks at some pictures together, and what is known of each so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from face_organizer.detect import Detector, Found, Look, canvases
from face_organizer.detect.canvases import Seen
from face_organizer.geometry import canvas, quality
from face_organizer.geometry.boxes import main_face, nms, overlap
from face_organizer.geometry.canvas import Placement
from face_organizer.media.images import Shrinkable
from face_organizer.types import NO_FACES, Detections, Int64

LARGE_FACE = 256.0
"""Pixels of a canvas above which a smaller one sees a face better: SCRFD missed those of 400 to 530."""
NEAR_LIMIT = 1.5
"""A face smaller than this many times the smallest that a look shows is seldom the smallest
on its picture."""
SAME_FACE = 0.3
"""Intersection over union from which boxes of two looks are one face's. 95 of 100 overlap by 0.6 and more."""


class Looks:
    """What is known of each picture so far, in `found`: `see` counts looks, the others set faces and
    turns."""

    def __init__(self, pictures: Sequence[Shrinkable], detector: Detector, look: Look) -> None:
        self.pictures, self.detector, self.look = pictures, detector, look
        self.found = [Found() for _ in pictures]

    def without_faces(self) -> list[int]:
        """The pictures without a face so far."""
        return [i for i, found in enumerate(self.found) if not len(found.faces)]

    def main(self, i: int) -> int:
        """The row of the main face of a picture that has faces."""
        return main_face(self.found[i].faces.boxes, self.pictures[i].width, self.pictures[i].height)

    def keep(self, i: int, faces: Detections, turns: int | Int64) -> None:
        """Set the faces of a picture, best score first."""
        order, turns = np.argsort(-faces.scores, kind="stable"), np.broadcast_to(turns, len(faces))
        self.found[i].faces, self.found[i].turns = faces.take(order), turns[order].astype(np.int64)

    def exchange(self, i: int, better: Mapping[int, Seen], none: set[int]) -> None:
        """Put other faces in the place of rows of a picture's (of none of them: -1), and drop the rows
        `none`. Where two are then one face, the better stays."""
        found = self.found[i]
        rows = np.array([n for n in range(len(found.faces)) if n not in none and n not in better], np.int64)
        faces = Detections.concatenate([found.faces.take(rows), *(look.faces for look in better.values())])
        turns = np.concatenate([found.turns[rows], np.array([look.turn for look in better.values()])])
        rows = nms(faces.boxes, faces.scores, SAME_FACE) if better else np.arange(len(faces))
        self.keep(i, faces.take(rows), turns[rows])

    def see(
        self, wanted: Mapping[int, Sequence[Placement]], least: float | None = None
    ) -> dict[int, list[Seen]]:
        """What the detector finds on the canvases of each picture, with a score of `least` or what is wanted;
        those of one size run together."""
        by_size: dict[tuple[int, int], list[tuple[int, int, Placement]]] = defaultdict(list)
        for i, placements in wanted.items():
            self.found[i].looks += len(placements)
            for n, placement in enumerate(placements):
                by_size[placement.height, placement.width].append((i, n, placement))
        seen = {i: [Seen(NO_FACES, p.turn) for p in placements] for i, placements in wanted.items()}
        for (height, width), placed in by_size.items():
            drawn = np.empty((len(placed), height, width, 3), np.uint8)
            for onto, (i, _, placement) in zip(drawn, placed, strict=True):
                longer_side = max(self.pictures[i].width, self.pictures[i].height) * placement.scale
                canvas.draw(*self.pictures[i].pixels(longer_side), placement, onto)
            answers = self.detector.detect(drawn, least or self.look.min_score)
            for (i, n, placement), faces in zip(placed, answers, strict=True):
                seen[i][n] = Seen(canvas.to_picture(faces, placement), placement.turn)
        return seen

    def keep_best(self, wanted: Mapping[int, Sequence[Placement]]) -> None:
        """Look at each picture on its canvases; keep what the one with the best face shows."""
        for i, seen in self.see(wanted).items():
            best = max(seen, key=lambda one: one.score)
            if len(best.faces):
                self.keep(i, best.faces, best.turn)

    def keep_every(self, turns: Mapping[int, int]) -> None:
        """Look for every face of each picture, turned by `turns` degrees, and add what was not known of: a
        small look where a face may be too large for the large one (such as a portrait's own, where only the
        bystander behind is found), the large one, and tiles where faces are too small for it."""
        wanted, tiles, scales = {}, {}, {}
        for i, turn in turns.items():
            make = canvases.first, canvases.second
            large, small = (place(self.pictures[i], self.detector, self.look, turn) for place in make)
            too_large = min(self.pictures[i].width, self.pictures[i].height) * large.scale > LARGE_FACE
            wanted[i] = [small, large] if too_large and large.scale > small.scale else [large]
            tiles[i] = [] if turn else canvases.tiles(self.pictures[i], self.detector, self.look)
            scales[i] = large.scale
        self.add(wanted)
        self.add(tiles)
        for i, scale in scales.items():
            least = quality.size(self.found[i].faces.boxes).min(initial=np.inf) * scale
            self.found[i].smaller = bool(least < NEAR_LIMIT * canvases.SMALLEST_FOUND and not tiles[i])

    def add(self, wanted: Mapping[int, Sequence[Placement]]) -> None:
        """Look at each picture on its canvases and join what they show to its faces. What an edge of a canvas
        cuts off is whole on another one."""
        for i, every in self.see(wanted).items():
            for seen, place in zip(every, wanted[i], strict=True):
                found, picture = self.found[i], self.pictures[i]
                new = seen.faces.take(canvas.uncut(seen.faces.boxes, place, picture.width, picture.height))
                too_large = quality.size(new.boxes) * place.scale > LARGE_FACE
                same = overlap(new.boxes, found.faces.boxes) >= SAME_FACE
                better = same & (found.faces.scores >= (new.scores - too_large)[:, None])
                stay = np.flatnonzero(~better.any(axis=1))
                known = np.flatnonzero(~same[stay].any(axis=0))
                turns = np.concatenate([found.turns[known], np.full(len(stay), seen.turn)])
                self.keep(i, Detections.concatenate([found.faces.take(known), new.take(stay)]), turns)

"""Finding the faces of pictures of any size, in any turn, on as few and as small canvases as will do.

The first look is small: a picture's main face is large in it. Where every face is wanted, the look is as
large as the smallest of them needs, and there is a small one too where a face could be too large for it. A
picture without a face gets one more look, larger and with room around it, then tile by tile, then one at each
quarter turn. A face found with a low score, or with landmarks that no upright face has, may lie on its side,
be upside down, or be none: `doubts` looks at it from near, and turns it where another turn shows it better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from face_organizer.detect import Detector, Found, Look, canvases, doubts
from face_organizer.detect.looks import Looks
from face_organizer.geometry import align
from face_organizer.geometry.boxes import overlap
from face_organizer.geometry.canvas import Placement
from face_organizer.media.images import Shrinkable

PHOTO = 1024
"""Longer side, in pixels, from which three small looks more cost little beside reading the picture."""
STRAIGHTENINGS = 2
"""Detectors see less of a tilt than there is, so what is left of it may show at the second go."""


def find(pictures: Sequence[Shrinkable], detector: Detector, look: Look) -> list[Found]:
    """The faces of each picture. The answer for one does not depend on the others."""
    state = Looks(pictures, detector, look)
    if look.every_face:
        state.keep_every(dict.fromkeys(range(len(pictures)), 0))
    else:
        state.keep_best({i: [canvases.first(p, detector, look)] for i, p in enumerate(pictures)})
    for i in state.without_faces():
        state.found[i].again = True
    once = [i for i in state.without_faces() if state.found[i].looks == 1]
    state.keep_best({i: [canvases.second(pictures[i], detector, look)] for i in once})
    state.add({i: canvases.tiles(pictures[i], detector, look, none=True) for i in state.without_faces()})
    if look.turns:
        state.keep_best({i: canvases.turned(pictures[i], detector, look) for i in state.without_faces()})
    doubts.settle(state)
    if look.turns and look.every_face:
        add_lying(state)
    elif look.turns:
        straighten(state)
    return state.found


def add_lying(state: Looks) -> None:
    """Add faces that only a turned picture shows and that are sure from near: a child that lies across a lap.
    On photos alone: on small pictures it would cost more than all other looks."""
    among = [i for i, p in enumerate(state.pictures) if max(p.width, p.height) >= PHOTO]
    seen = state.see({i: canvases.turned(state.pictures[i], state.detector, state.look) for i in among})
    new = []
    for i, looks in seen.items():
        for look in looks:
            known = overlap(look.faces.boxes, state.found[i].faces.boxes).max(axis=1, initial=0) > 0
            rows = np.flatnonzero(doubts.is_upright(look.faces, look.turn) & ~known)
            new += [(i, look.faces.boxes[row], look.turn) for row in rows]
    wanted = defaultdict[int, list[Placement]](list)
    for i, box, turn in new:
        wanted[i] += canvases.close(box, [turn])
    near = {i: iter(looks) for i, looks in state.see(wanted).items()}
    for i, box, _ in new:
        look = doubts.at(next(near[i]), box)
        if look.score >= state.detector.sure:
            state.exchange(i, {-1: look}, set())


def straighten(state: Looks) -> None:
    """Look once more at tilted main faces with the picture turned by just that tilt: landmarks get exact
    there; and again where that changed the face."""
    among: Iterable[int] = range(len(state.pictures))
    for _ in range(STRAIGHTENINGS):
        wanted, rows = {}, {}
        for i in (i for i in among if len(state.found[i].faces)):
            n, found = state.main(i), state.found[i]
            roll = float(align.roll(found.faces.landmarks[n : n + 1])[0])
            if abs(doubts.signed(roll - found.turns[n])) > state.detector.straight:
                wanted[i], rows[i] = canvases.close(found.faces.boxes[n], [round(roll)]), n
        among = []
        for i, (look,) in state.see(wanted).items():
            faces = state.found[i].faces
            best = doubts.at(look, faces.boxes[rows[i]])
            if best.score > faces.scores[rows[i]]:
                state.exchange(i, {rows[i]: best}, set())
                among.append(i)

"""Finding the faces of pictures of any size, in any quarter turn, with as few and as small canvases as will
do.

The first look is small: a picture's main face is large in it. Where every face is wanted, it is a small and a
large one, for faces that are large and small. What is not found gets one more look, larger and with room
around it. A face found with a low score, or with landmarks that no upright face has, lies on
its side or upside down more often than not: it is looked at again at four turns, and the best is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from face_organizer.detect import Detector
from face_organizer.detect.looks import (
    Found,
    Look,
    Pixels,
    first,
    keep_best,
    keep_every,
    quarter_turns,
    second,
)
from face_organizer.detect.upright import look_at_unsure, straighten

STRAIGHTENINGS = 2
"""Detectors tell less of a tilt than there is, so what is left of it may be seen at the second go."""


def find(pictures: Sequence[Pixels], detector: Detector, look: Look) -> list[Found]:
    """The faces of each picture. The answer for one does not depend on the others."""
    found = [Found() for _ in pictures]
    if look.every_face:
        keep_every(pictures, found, dict.fromkeys(range(len(pictures)), 0), detector, look)
    else:
        once = {i: [first(picture, detector, look)] for i, picture in enumerate(pictures)}
        keep_best(pictures, found, once, detector, look)
    for i in _without(found):
        found[i].again = True
    again = {i: [second(pictures[i], detector, look)] for i in _without(found) if found[i].looks == 1}
    keep_best(pictures, found, again, detector, look)
    if look.turns:
        turned = quarter_turns(pictures, _without(found), detector, look)
        keep_best(pictures, found, turned, detector, look)
        look_at_unsure(pictures, found, detector, look)
        among = set() if look.every_face else set(range(len(pictures)))
        for _ in range(STRAIGHTENINGS):
            among = straighten(pictures, found, detector, look, among)
    return found


def _without(found: Sequence[Found]) -> list[int]:
    return [i for i, f in enumerate(found) if not len(f.faces)]

"""Faces that may not be upright, or may be none: looked at again from near, and turned, or left out.

A turn must show the face better than it is seen as it lies: by `CLEARLY`, or, where it is a close call, in
the mean of nine looks at either. That is asked of each face, so faces of one picture may have different
turns. A whole picture is turned where no face on it is surely upright, and only to a surer one.

What is no face (a hand, a clock, the gap between two faces) looks like one at one size more often than at
two: its mean score of both is low. Of 1,703 faces of group and sports photos that two detectors agree upon,
the limits of `Detector.real` lose 0.4 %; of 49 things that YuNet wrongly takes for faces 42 go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from face_organizer.detect import canvases
from face_organizer.detect.canvases import Seen
from face_organizer.detect.looks import SAME_FACE, Looks
from face_organizer.geometry import align, quality
from face_organizer.geometry.boxes import overlap
from face_organizer.geometry.canvas import Placement
from face_organizer.types import NO_FACES, Detections, Float32, Int64

MOST_ROLL = 40.0
"""Degrees: a face turned by more is looked at upright first; turns come in steps of 45."""
MOST_MISFIT = 0.45
"""Of `align.misfit`: landmarks of upright faces, profiles too, stay below it."""
HALF_STEP = 22
"""Degrees to either side of the best of eight turns: YuNet's landmarks do not show a tilt, its score does."""
CLEARLY, MARGIN = 0.06, 0.01
"""By how much a turned face must score above the same face as it lies, in its best look and in the mean of
many. On the photos of `benchmarks/finding.py` a best look more than 0.06 above was wrong once in 3,900 faces;
of 450 closer calls the mean of nine looks decided 446 rightly, the best look 436."""
CLOSE_CALL_FACES = (45.0, 60.0, 84.0)
"""Pixels of a face on the canvases of a close call."""
MOST_TURNED = 8
"""Unsure faces of a picture, the largest first, that are looked at turned: a crowd has hundreds."""
LEAST_NEAR = 0.1
"""Score from which a look from near tells something of a face that is known."""
LARGE_SHARE = 0.5
"""Of a picture's shorter side: a face that large is the one that the picture is of, and never left out."""
NEARLY_AS_LARGE, FAR_SMALLER = 0.7, 0.5
"""Of a face's size: a child that lies across a lap is half as large as the face above it, and more."""
SAME_PLACE = 0.2
"""Intersection over union of a face's box seen from near with what it was: boxes of turned faces are off."""


@dataclass(slots=True, eq=False)
class Doubt:
    """Face `n` of picture `i`, which may lie otherwise or be none. `score` and `turn` are as it was found,
    `own` is its score where it is upright so, else 0, and `near` what is there from near. `looks` show it
    upright, by their turn, `beside` all else around it; `better` is what shows it better than it was found,
    its `box` then that."""

    i: int
    n: int
    box: Float32
    score: float
    turn: int
    own: float
    near: float = 0.0
    looks: dict[int, Seen] = field(default_factory=dict)
    beside: list[Seen] = field(default_factory=list)
    better: Seen | None = None

    def best(self, turned: bool) -> Seen:
        """The best look from near at another turn, by more than 45°, or else at about this one."""
        turns = [turn for turn in self.looks if (abs(signed(turn - self.turn)) > 45) == turned]
        looks = [self.looks[turn] for turn in turns]
        return max(looks, key=lambda look: look.score, default=Seen(NO_FACES, self.turn))

    @property
    def known(self) -> float:
        """The best score of what shows it as it lies or, where it was turned, so."""
        return self.better.score if self.better else max(self.own, self.best(turned=False).score)

    def take(self, look: Seen) -> None:
        """Take `look` where it shows the face better."""
        if look.score > (self.better.score if self.better else self.own):
            self.better, self.box = look, look.faces.boxes[0]


def settle(state: Looks) -> None:
    """Turn the faces that are better seen turned, of each picture the main one or, where these are wanted,
    every one; of these, leave out those that are none."""
    every = state.look.every_face
    doubts, others = _doubts(state)
    for d, (look,) in _look(state, doubts, lambda d: [d.turn]).items():
        same = overlap(look.faces.boxes, d.box[None])[:, 0] >= SAME_FACE
        d.near, d.looks[d.turn] = float(look.faces.scores[same].max(initial=0.0)), at(look, d.box)
    turns: dict[int, int] = {}
    if state.look.turns:
        _turn(state, doubts, others)
        unsure = [d for d in doubts if others.get(d.i, 0) < state.detector.sure]
        turns = _turn_whole(state, unsure, others)
        _look_between(state, [d for d in doubts if d.better or not every])
    for i, own in _by_picture(doubts).items():
        none = {d.n for d in own if (_is_none(d, state) if every else _gives_way(d, state))}
        state.found[i].none += len(none) * every
        state.exchange(i, {d.n: d.better for d in own if d.better}, none)
    if every:
        state.keep_every(turns)


def is_upright(faces: Detections, turns: Int64 | int) -> NDArray[np.bool_]:
    """(n,) whether the landmarks are those of an upright face in pictures turned by `turns`."""
    odd = ~align.usable(faces.landmarks) | (align.misfit(faces.landmarks) > MOST_MISFIT)
    return np.asarray(~odd & (np.abs(signed(align.roll(faces.landmarks) - turns)) <= MOST_ROLL))


def signed(degrees: Any) -> Any:
    """`degrees` from -180 to 180."""
    return (degrees + 180) % 360 - 180


def at(look: Seen, box: Float32) -> Seen:
    """Of a look, the best face that is upright on its canvas and lies where `box` (4,) does; or none."""
    there = overlap(look.faces.boxes, box[None])[:, 0] >= SAME_PLACE
    there &= np.abs(signed(align.roll(look.faces.landmarks) - look.turn)) <= MOST_ROLL
    return Seen(look.faces.take(np.flatnonzero(there)[:1]), look.turn)


def _doubts(state: Looks) -> tuple[list[Doubt], dict[int, float]]:
    """The faces in doubt that are asked for, and of each picture the best score of another upright face."""
    doubts, others = [], dict[int, float]()
    for i, found in enumerate(state.found):
        faces, upright = found.faces, is_upright(found.faces, found.turns)
        own = np.where(upright, faces.scores, 0.0)
        unsure = own < state.detector.sure
        if len(faces) and not state.look.every_face:
            unsure &= np.arange(len(faces)) == state.main(i)
        others[i] = float(own[~unsure].max(initial=0.0))
        doubts += [
            Doubt(i, n, faces.boxes[n], float(faces.scores[n]), int(found.turns[n]), float(own[n]))
            for n in np.flatnonzero(unsure).tolist()
        ]
    return doubts, others


def _by_picture(doubts: Iterable[Doubt]) -> dict[int, list[Doubt]]:
    own = defaultdict(list)
    for d in doubts:
        own[d.i].append(d)
    return own


def _look(
    state: Looks,
    doubts: Sequence[Doubt],
    turns: Callable[[Doubt], Sequence[int]],
    face: float = canvases.CLOSE_LOOK_FACE,
) -> dict[Doubt, list[Seen]]:
    """The whole of what is seen around each of `doubts` from near, itself `face` pixels large, at some
    turns."""
    wanted: dict[int, list[Placement]] = defaultdict(list)
    for d in doubts:
        wanted[d.i] += canvases.close(d.box, turns(d), face)
    seen = {i: iter(looks) for i, looks in state.see(wanted, LEAST_NEAR).items()}
    return {d: [next(seen[d.i]) for _ in turns(d)] for d in doubts}


def _worth_turning(state: Looks, doubts: Sequence[Doubt], others: dict[int, float]) -> list[Doubt]:
    """All but those that, beside a face that is sure, are sure from near or far smaller; of a crowd the
    largest."""
    sure = state.detector.sure
    size = {d: float(quality.size(d.box[None])[0]) for d in doubts}
    largest = {i: float(quality.size(state.found[i].faces.boxes).max()) for i in {d.i for d in doubts}}

    def settled(d: Doubt) -> bool:
        sure_too = bool(d.own) and d.near >= sure
        return others[d.i] >= sure and (sure_too or size[d] < FAR_SMALLER * largest[d.i])

    asked = sorted((d for d in doubts if not settled(d)), key=lambda d: -size[d])
    return [d for own in _by_picture(asked).values() for d in own[:MOST_TURNED]]


def _turn(state: Looks, doubts: Sequence[Doubt], others: dict[int, float]) -> None:
    """Find which faces are better seen at another turn."""
    sure = state.detector.sure
    asked = _worth_turning(state, doubts, others)
    steps = {d: 90 if others[d.i] >= sure else 45 for d in asked}
    around = _look(state, asked, lambda d: [(d.turn + s) % 360 for s in range(steps[d], 360, steps[d])])
    for d, looks in around.items():
        d.looks |= {look.turn: at(look, d.box) for look in looks}
        d.beside = looks
    gains = {d: d.best(turned=True).score - d.known for d in doubts}
    close = [d for d in asked if d.best(turned=True).score and abs(gains[d]) <= CLEARLY]
    means = dict.fromkeys(close, 0.0)
    for face in CLOSE_CALL_FACES:
        for turned, sign in ((True, 1), (False, -1)):
            turns = {d: _about(d.best(turned).turn, middle=True) for d in close}
            for d, looks in _look(state, close, turns.__getitem__, face).items():
                means[d] += sign * sum(at(look, d.box).score for look in looks) / (3 * len(CLOSE_CALL_FACES))
    as_they_lie = {i for i, score in others.items() if score}
    as_they_lie |= {d.i for d in doubts if d.known and gains[d] <= 0}
    for d in doubts:
        # beside a face that is seen better as it lies, one is turned only where it is a sure one then
        best, least = d.best(turned=True), sure if d.i in as_they_lie else state.look.min_score
        if best.score >= least and (means[d] > MARGIN if d in means else gains[d] > CLEARLY):
            d.better, d.box = best, best.faces.boxes[0]
        elif not state.look.every_face:
            d.take(d.best(turned=False))


def _turn_whole(state: Looks, doubts: Sequence[Doubt], others: dict[int, float]) -> dict[int, int]:
    """Where none of `doubts`, all faces of their pictures, is surely upright: look for a surer one beside
    them and on the picture turned. By how much each picture is to be turned, if at all."""
    best = {i: max(own, key=lambda d: d.known) for i, own in _by_picture(doubts).items()}
    for d in best.values():
        _surer(d, d.beside, state.detector.sure * bool(others[d.i]))
    wide = [i for i, d in best.items() if d.known < state.detector.sure]
    seen = state.see({i: canvases.turned(state.pictures[i], state.detector, state.look) for i in wide})
    for i, looks in seen.items():
        _surer(best[i], looks, state.detector.sure * bool(others[i]))
    turns = {i: round(d.better.turn / 90) * 90 % 360 for i, d in best.items() if d.better}
    return {i: turn for i, turn in turns.items() if turn}


def _surer(d: Doubt, looks: Sequence[Seen], least: float) -> None:
    """Take another face of some looks in the place of `d`, where it is clearly surer, and scores `least`."""
    least = max(d.known + CLEARLY, least)
    for look in looks:
        faces = look.faces.take(np.flatnonzero(is_upright(look.faces, look.turn))[:1])
        if len(faces) and faces.scores[0] > least:
            d.take(Seen(faces, look.turn))


def _look_between(state: Looks, doubts: Sequence[Doubt]) -> None:
    """Look at faces half a step to either side of what shows them best."""
    best = {d: d.better or d.best(turned=False) for d in doubts}
    best = {d: look for d, look in best.items() if look.score}
    for d, looks in _look(state, list(best), lambda d: _about(best[d].turn)).items():
        for look in looks:
            d.take(at(look, d.box))


def _about(turn: int, middle: bool = False) -> list[int]:
    """Turns half a step to either side of `turn`, and that in the middle."""
    return [turn - HALF_STEP, *([turn] if middle else []), turn + HALF_STEP]


def _is_none(d: Doubt, state: Looks) -> bool:
    """Whether what looked like a face does so at one size alone."""
    shorter = min(state.pictures[d.i].width, state.pictures[d.i].height)
    small = float(quality.size(d.box[None])[0]) < LARGE_SHARE * shorter
    return small and not d.better and (d.score + d.near) / 2 < state.detector.real


def _gives_way(d: Doubt, state: Looks) -> bool:
    """Whether the main face of a picture is an unsure one beside a sure one that is nearly as large, or none
    beside a surer one."""
    found = state.found[d.i]
    large = quality.size(found.faces.boxes) >= NEARLY_AS_LARGE * float(quality.size(d.box[None])[0])
    other = np.where(is_upright(found.faces, found.turns), found.faces.scores, 0) > d.known + CLEARLY
    other &= large & (found.faces.scores >= state.detector.sure) | _is_none(d, state)
    return d.known < state.detector.sure and bool(other.any())

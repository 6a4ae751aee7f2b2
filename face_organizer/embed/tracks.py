"""Faces followed from frame to frame of a video, so that an appearance becomes a few good rows.

An appearance (a track) is one face seen again and again without a longer gap. A face joins the track that it
is most like, by embeddings, and by boxes where the track was seen on the frame before. Tracks hold a few best
rows at a time, so that memory depends on the faces in sight, not on the length of the video.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from face_organizer.geometry.boxes import overlap
from face_organizer.types import Faces, Float32

ROWS = 3  # most rows of a track: its best face, and others that look different
GAP = 10.0  # seconds for which a face may be out of sight within a track: the cuts of a conversation
ALIKE = 0.45  # cosine at which two faces of one video are taken for one person's
# The same for a face whose box overlaps (intersection over union) with the track's on the frame before: a
# head that turns. A cut to another face in the same place stays below.
NEAR, NEAR_OVERLAP = 0.25, 0.3
SAME = 0.5  # the same for all that was seen of two appearances, one after the other
DIFFERENT = 0.8  # cosine below which two faces of a track are worth a row each
LEAST_QUALITY = 0.01
"""Of `quality`: below it a face is a blur, and blurs look like one another, not like their persons."""
_PLACE = 0.2  # of a whole overlap, in cosine
_CANDIDATES = 16
_SECOND_QUALITY, _SECOND_SHARE = 0.1, 0.5  # of a track's further rows; its share of the best row's


@dataclass(slots=True, eq=False)
class Track:
    """One appearance so far: first and last second, in how many frames it was seen, its best rows."""

    first: float
    last: float
    box: Float32
    latest: Float32
    total: NDArray[np.float64]
    seen: int = 0
    # (quality, time, row, embedding), the best first
    candidates: list[tuple[float, float, Faces, Float32]] = field(default_factory=list)

    def add(self, time: float, row: Faces, embedding: Float32, quality: float) -> None:
        """The track's face on another frame; `row` is one row of `Faces`."""
        self.last, self.box, self.latest = time, row.box[0], embedding
        self.total = self.total + embedding
        self.seen += 1
        bisect.insort(self.candidates, (quality, time, row, embedding), key=lambda c: (-c[0], c[1]))
        del self.candidates[_CANDIDATES:]

    def likeness(self, embeddings: Float32) -> NDArray[np.float64]:
        """(n,) cosine of (n, d) embeddings to the track: to its mean or its latest face, the higher one."""
        mean = self.total / np.linalg.norm(self.total)
        return np.asarray(np.maximum(embeddings @ mean, embeddings @ self.latest), np.float64)

    def cosine(self, other: Track) -> float:
        """Of the means of two tracks."""
        return float(self.total @ other.total / np.linalg.norm(self.total) / np.linalg.norm(other.total))

    def extend(self, later: Track) -> None:
        """Go on with a track that began after this one ended."""
        self.last, self.seen, self.total = later.last, self.seen + later.seen, self.total + later.total
        self.candidates = sorted(self.candidates + later.candidates, key=lambda c: (-c[0], c[1]))
        self.settle()

    def settle(self) -> None:
        """Keep the rows that go into the table."""
        kept = self.candidates[:1]
        least = max(_SECOND_QUALITY, _SECOND_SHARE * kept[0][0])
        for candidate in self.candidates[1:]:
            if candidate[0] >= least and all(candidate[3] @ c[3] < DIFFERENT for c in kept):
                kept.append(candidate)
        self.candidates = kept[:ROWS]


class Tracker:
    """Takes frame after frame, in the order of time, and gives the rows of all tracks at the end."""

    def __init__(self) -> None:
        self._open: list[Track] = []
        self._closed: list[Track] = []
        self._before = -np.inf
        self.blurred = 0  # faces that were left out, see `LEAST_QUALITY`

    def add(self, time: float, faces: Faces, embeddings: Float32) -> None:
        """The faces of the frame at `time` seconds, n rows, and their (n, d) embeddings."""
        goods = quality(faces)
        clear = np.flatnonzero(goods >= LEAST_QUALITY)
        self.blurred += len(faces) - len(clear)
        faces, embeddings, goods = faces.take(clear), embeddings[clear], goods[clear]
        for old in [t for t in self._open if time - t.last > GAP]:
            old.settle()
            self._open.remove(old)
            self._closed.append(old)
        joined = self._joined(faces.box, embeddings)
        for i in range(len(faces)):
            if (track := joined.get(i)) is None:
                track = Track(time, time, faces.box[i], embeddings[i], np.zeros(embeddings.shape[1]))
                self._open.append(track)
            track.add(time, faces.take(np.array([i])), embeddings[i], float(goods[i]))
        self._before = time

    def _joined(self, boxes: Float32, embeddings: Float32) -> dict[int, Track]:
        """Which track each face goes on with: one per face and one per track, the likest pairs first."""
        if not self._open or not len(boxes):
            return {}
        cosines = np.stack([t.likeness(embeddings) for t in self._open])
        near = np.array([t.last == self._before for t in self._open])
        overlaps = overlap(np.stack([t.box for t in self._open]), boxes) * near[:, None]
        alike = cosines >= ALIKE
        fits = alike | ((cosines >= NEAR) & (overlaps >= NEAR_OVERLAP))
        # Who it is before where it is: people swap places. Place decides between faces that are as like.
        closeness = alike + cosines + _PLACE * overlaps
        pairs = sorted(zip(*np.nonzero(fits), strict=True), key=lambda p: (-closeness[p], p))
        joined: dict[int, Track] = {}
        for number, face in pairs:
            if face not in joined and self._open[number] not in joined.values():
                joined[int(face)] = self._open[number]
        return joined

    def rows(self, dim: int) -> tuple[Faces, Float32]:
        """The rows of all tracks and their (n, `dim`) embeddings: the track seen in most frames first, the
        best row of each first. To be called once, at the end."""
        for track in self._open:
            track.settle()
        tracks = _rejoined(self._closed + self._open)
        tracks.sort(key=lambda t: (-t.seen, t.first, t.box.tolist()))
        chosen = [(number, t, c) for number, t in enumerate(tracks) for c in t.candidates]
        rows = dataclasses.replace(
            Faces.concatenate([c[2] for _, _, c in chosen]),
            file_index=np.zeros(len(chosen), np.int64),
            face_index=np.arange(len(chosen), dtype=np.int32),
            time=np.array([c[1] for _, _, c in chosen], np.float32),
            track=np.array([number for number, _, _ in chosen], np.int32),
            seen_from=np.array([t.first for _, t, _ in chosen], np.float32),
            seen_to=np.array([t.last for _, t, _ in chosen], np.float32),
        )
        return rows, np.array([c[3] for _, _, c in chosen], np.float32).reshape(len(chosen), dim)


def _rejoined(tracks: Sequence[Track]) -> list[Track]:
    """Tracks that go on where another ended, of one person by all that was seen of both, made one: a single
    face after a cut, from afar or from the side, often tells too little."""
    kept: list[Track] = []
    for track in sorted(tracks, key=lambda t: (t.first, t.last, t.box.tolist())):
        before = [t for t in kept if 0 < track.first - t.last <= GAP]
        best = max(before, key=track.cosine, default=None)
        if best is None or track.cosine(best) < SAME:
            kept.append(track)
        else:
            best.extend(track)
    return kept


def quality(faces: Faces) -> NDArray[np.float64]:
    """(n,) how good a picture of its person each face is, 0 to 1: sharp, large, frontal, whole, surely one.
    Each counts from 0 to 1 and they multiply, so that one bad trait is enough to lose."""
    sharp = faces.sharpness / (faces.sharpness + 100)  # 100: half-way from blurred to sharp, `quality.light`
    large = np.minimum(faces.size / 112, 1)  # the aligned face's own size: more adds nothing
    frontal = np.cos(np.radians(np.minimum(np.hypot(faces.yaw, faces.pitch), 85)))
    return np.asarray(np.nan_to_num(sharp * large * frontal * (1 - faces.outside) * faces.score), np.float64)

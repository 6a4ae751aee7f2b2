"""Other settings, and changes to a picture, for a back end that has found nothing on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from face_organizer.detect import Found, Look
from face_organizer.geometry import canvas
from face_organizer.media.images import Decoded, Shrinkable

LARGEST = 2400
"""Longer side, in pixels, of the largest changed picture."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One other way to look. `look` changes the `Look`; `enhance` lights the picture evenly; it is enlarged
    by `scale`, turned by `turn` degrees counter-clockwise, and gets a `border`, a share of its longer side.
    `always` says to try it where a face was found too."""

    name: str
    look: Mapping[str, Any] = field(default_factory=dict)
    enhance: bool = False
    scale: float = 1.0
    border: float = 0.0
    turn: int = 0
    always: bool = False

    def looked(self, look: Look) -> Look:
        """How to look."""
        return replace(look, **self.look)

    def change(self, picture: Shrinkable) -> tuple[Shrinkable, Callable[[Found], Found]]:
        """The changed picture, and what brings faces back to the picture as it was. Raises `ImageError`."""
        if self.scale == 1 and not self.border and not self.turn:
            return picture, lambda found: found
        longer = max(picture.width, picture.height)
        side = min(longer * self.scale * (1 + 2 * self.border), LARGEST)
        side = -(-int(side) // canvas.STRIDE) * canvas.STRIDE
        placed = canvas.whole(picture.width, picture.height, side, self.border, self.turn)
        drawn = Decoded(canvas.draw(*picture.pixels(longer * placed.scale), placed))

        def back(found: Found) -> Found:
            return Found(canvas.to_picture(found.faces, placed), (found.turn + self.turn) % 360)

        return drawn, back


SETTINGS = (
    Variant("--faces all", {"every_face": True}, always=True),
    Variant("--det-size 1280", {"canvas": 1280}),
    Variant("--min-confidence 0.3", {"min_score": 0.3}),
    Variant("--min-face-size 5", {"min_face_size": 5.0}),
    Variant("--enhance clahe", enhance=True),
)
"""What a user of `embed` can say, in the order in which it is tried: for our back ends, which turn pictures
and give them a border by themselves."""

CHANGES = (
    Variant("evenly lit", enhance=True),
    Variant("enlarged twice", scale=2.0),
    Variant("half a picture of border", border=0.5),
    Variant("turned by 90°", turn=90),
    Variant("turned by 180°", turn=180),
    Variant("turned by 270°", turn=270),
)
"""For back ends that know no settings."""

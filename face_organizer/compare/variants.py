"""Other settings, and changes to a picture, for a back end that has found nothing on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from face_organizer.detect.looks import Found, Look, Pixels
from face_organizer.geometry import canvas
from face_organizer.media.images import Decoded

LARGEST = 2400
"""Longer side, in pixels, of the largest changed picture."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One other way to look. `look` changes the `Look`; `enhance` lights the picture evenly; the picture is
    enlarged by `scale`, turned by `turn` degrees counter-clockwise, or gets a border of that share of its
    longer side. `always` says to try it on pictures whose face was found too."""

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

    def placed(self, picture: Pixels) -> canvas.Placement | None:
        """Where the picture lies on the changed one; None where it is not changed."""
        if self.scale == 1 and not self.border and not self.turn:
            return None
        longer = max(picture.width, picture.height)
        side = min(longer * self.scale * (1 + 2 * self.border), LARGEST)
        side = -(-side // canvas.STRIDE) * canvas.STRIDE
        return canvas.whole(picture.width, picture.height, int(side), self.border, self.turn)


def drawn(picture: Pixels, placement: canvas.Placement) -> Decoded:
    """The changed picture. Raises `ImageError`."""
    longer = max(picture.width, picture.height) * placement.scale
    return Decoded(canvas.draw(*picture.pixels(longer), placement))


def brought_back(found: Found, placement: canvas.Placement) -> Found:
    """What was found on the changed picture, in pixels of the picture as it was."""
    return Found(canvas.to_picture(found.faces, placement), (found.turn + placement.turn) % 360)


SETTINGS = (
    Variant("--faces all", {"every_face": True}, always=True),
    Variant("--det-size 1280", {"canvas": 1280}),
    Variant("--min-confidence 0.3", {"min_score": 0.3}),
    Variant("--min-face-size 5", {"min_face_size": 5.0}),
    Variant("--enhance clahe", enhance=True),
    Variant("--min-confidence 0.3 --min-face-size 5", {"min_score": 0.3, "min_face_size": 5.0}),
)
"""What a user of `embed` can say, in the order in which it is tried: for our back ends, which look at turned
and bordered pictures anyway."""

CHANGES = (
    Variant("evenly lit", enhance=True),
    Variant("enlarged twice", scale=2.0),
    Variant("half a picture of border", border=0.5),
    Variant("turned by 90°", turn=90),
    Variant("turned by 180°", turn=180),
    Variant("turned by 270°", turn=270),
)
"""For back ends that know no settings."""

"""How pictures are looked at: what decides, beside their bytes and the networks, what stands in a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

from face_organizer.detect import Look
from face_organizer.errors import UsageError
from face_organizer.media import images

_RANGES = {
    "min_confidence": (0, 1),
    "min_face_size": (1, math.inf),
    "max_pixels": (1, math.inf),
    "fps": (0.01, 240),
    "det_size": (64, 4096),
    "max_side": (64, math.inf),
}
_CHOICES = {"faces": ("largest", "all"), "enhance": ("none", "clahe")}


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """The options of `embed` of these names; `max_pixels` is `max_megapixels` in pixels. They are part of a
    table's stamp. Raises `UsageError` for values out of range."""

    faces: str = "largest"
    min_confidence: float = 0.5
    min_face_size: float = 20.0
    max_pixels: int = images.DEFAULT_MAX_PIXELS
    det_size: int | None = None
    turns: bool = True
    max_side: int | None = None
    enhance: str = "none"
    headers: bool = True
    fps: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                span = f"from {low} to {high}" if high < math.inf else f"at least {low}"
                raise UsageError(f"{name} must be {span}, not {value}")
        for name, words in _CHOICES.items():
            if getattr(self, name) not in words:
                raise UsageError(f"{name} must be {' or '.join(words)}, not {getattr(self, name)!r}")

    @property
    def look(self) -> Look:
        """The part of the options that the finder needs."""
        return Look(self.min_confidence, self.min_face_size, self.faces == "all", self.det_size, self.turns)

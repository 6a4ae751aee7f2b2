"""How pictures are looked at: the options, the networks on a device, and the stamp of what they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from face_organizer import __version__
from face_organizer.detect import Detector, Look, open_detector
from face_organizer.errors import UsageError
from face_organizer.geometry import align
from face_organizer.media import images, video
from face_organizer.networks.devices import CUDA_DEFAULTS, CudaOptions, Device
from face_organizer.networks.packs import Pack
from face_organizer.recognize import Embedder, open_embedder
from face_organizer.types import Stamp

_RANGES = {
    "min_confidence": (0, 1),
    "min_face_size": (1, math.inf),
    "max_pixels": (1, math.inf),
    "fps": (0.01, 240),
    "det_size": (64, 4096),
    "max_side": (64, math.inf),
}
VIDEO_LOOK = 1.0
"""Second of a video at which a single look is had: the first frame is often black."""
_CHOICES = {"faces": ("largest", "all"), "enhance": ("none", "clahe"), "tiles": ("auto", "all", "off")}


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """The options of `embed` of these names; `max_pixels` is `max_megapixels` in pixels. They are part of a
    table's stamp. Raises `UsageError` for values out of range."""

    faces: str = "largest"
    min_confidence: float = 0.5
    min_face_size: float = 20.0
    max_pixels: int = images.DEFAULT_MAX_PIXELS
    det_size: int | None = None
    tiles: str = "auto"
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

    @classmethod
    def of(cls, stamp: Stamp | None) -> EmbedOptions:
        """Those that a table was made under; the defaults where it does not say."""
        names = {spec.name for spec in fields(cls)}
        return cls(
            **{name: value for name, value in (stamp.options if stamp else {}).items() if name in names}
        )

    def open(self, path: str) -> images.Shrinkable:
        """The picture at `path`, of a video its frame at `VIDEO_LOOK`. Raises `ImageError`."""
        if not video.is_video(path):
            return self.source(path)
        clahe, image = self.enhance == "clahe", video.frame(path, VIDEO_LOOK)
        return images.Decoded(image, max_side=self.max_side, enhance=clahe)

    def source(self, path: str) -> images.Source:
        """The picture file at `path`. Raises `ImageError`."""
        clahe = self.enhance == "clahe"
        return images.open_source(path, max_pixels=self.max_pixels, max_side=self.max_side, enhance=clahe)

    @property
    def look(self) -> Look:
        """The part of the options that the finder needs."""
        every = self.faces == "all"
        return Look(self.min_confidence, self.min_face_size, every, self.det_size, self.turns, self.tiles)


@dataclass(frozen=True, slots=True)
class Setup:
    """All that must be known to look at shards. `pack` is what `packs.find` takes; `samples` are pictures by
    which each folder's headers are judged (see `trust.samples`)."""

    pack: str
    options: EmbedOptions
    stamp: Stamp
    samples: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Models:
    """The networks of one pack on one device."""

    detector: Detector
    embedder: Embedder

    @property
    def notes(self) -> list[str]:
        """What the user should know of how they run."""
        return [*self.detector.notes, *self.embedder.notes]


def open_models(pack: Pack, device: Device, cuda: CudaOptions = CUDA_DEFAULTS) -> Models:
    """The detector and the embedder of `pack` on `device`. Raises `PackError`, `DeviceError`."""
    models = Models(open_detector(pack, device, cuda=cuda), open_embedder(pack, device, cuda=cuda))
    if device.kind == "cuda":
        # A session opens on a card for which cuDNN holds no code, and fails when it runs: better now.
        side = models.detector.fixed_size or models.detector.portrait
        models.detector.detect(np.zeros((1, side, side, 3), np.uint8), 0.5)
        models.embedder.embed(np.zeros((1, align.SIZE, align.SIZE, 3), np.uint8))
    return models


def stamp_of(pack: Pack, options: EmbedOptions, shard: str = "") -> Stamp:
    """The stamp of the tables that `pack` makes under `options`; `shard` as `embed` has it."""
    said = asdict(options)
    if options.tiles == "auto":  # tables made before there was a choice go on
        del said["tiles"]
    return Stamp(
        pack=pack.name,
        detector=pack.detector.kind,
        detector_sha256=pack.detector.sha256,
        embedder=pack.embedder.kind,
        embedder_sha256=pack.embedder.sha256,
        dim=pack.embedder.dim,
        preprocessing=f"{pack.embedder.preprocessing}; arcface template {align.SIZE}",
        licence=pack.licence,
        # `half` was an option once: tables made without it go on.
        options={**said, "shard": shard, "half": False},
        version=__version__,
    )

"""The back ends by name: our detectors, InsightFace's own loop beside ours, DeepFace's detectors."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from face_organizer.compare.variants import Variant
from face_organizer.deepface import engine
from face_organizer.detect.looks import Found, Look, Pixels
from face_organizer.errors import ModelMissingError, UsageError
from face_organizer.geometry.main_face import prominence
from face_organizer.networks import packs
from face_organizer.types import Detections


class Backend(Protocol):
    """What a back end offers inside its process."""

    at_once: int
    """Pictures that one call looks at together; 1 where it takes them one by one."""
    tries: Sequence[Variant]
    """Other ways to look that make sense to it."""

    def find(self, paths: Sequence[str], pictures: Sequence[Pixels], look: Look) -> list[Found]:
        """The faces on each picture, the main one first. Landmarks and scores that it does not tell are NaN;
        those that heed no `look` find all faces."""
        ...

    def device(self) -> str:
        """What it really ran on, after it ran: `cpu`, `cuda:0`."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """A back end that may be tried. `opener` is `module:class`, made in its process from `arguments` and the
    device; `absent` says why it cannot be, and what mends that."""

    name: str
    opener: str
    arguments: tuple[Any, ...] = ()
    absent: str = ""


EXTRA: list[Spec] = []
"""Further back ends: a place for a user's own."""

ALIASES = {"yolo": "deepface:yolov8n", "yunet": "ours:yunet", "faceswap": "ours:faceswap"}
"""Plain names that could mean more than one back end, and the one that they do mean."""
USUAL = ("opencv", "ssd", "mtcnn", "retinaface", "mediapipe", "yunet", "centerface", "dlib", "yolov8n")
_YOLO = ("v8m", "v8l", "v11n", "v11s", "v11m", "v11l", "v12n", "v12s", "v12m", "v12l")
DEEPFACE = (*USUAL, "fastmtcnn", *(f"yolo{kind}" for kind in _YOLO))
"""DeepFace's detectors. The group `deepface` is the usual ones: the rest are other sizes of the same."""

_OPENERS = {"scrfd": "ours:Finder", "yunet": "ours:Finder", "embed": "ours:Embed"}


def choose(names: Sequence[str], *, downloads: bool = False) -> list[Spec]:
    """The back ends that `names` mean, each once, in that order; the groups ours, insightface and deepface
    where there are none.

    A name is `ours:yunet` or `deepface:ssd` in full; one of DeepFace's plain names (`opencv`, `ssd` …), as
    the original takes them; `scrfd` for that of every installed pack; `ours:scrfd@FOLDER`, `ours:embed@PACK`
    and `insightface@PACK` for any pack; `ours`, `insightface`, `deepface` or `all` for many. `downloads` lets
    DeepFace fetch weights. Raises `UsageError`, which names them all.
    """
    known = [*_of_packs(), Spec("ours:faceswap", _place("ours:Headers")), *_of_deepface(downloads), *EXTRA]
    chosen: dict[str, Spec] = {}
    for name in names or ("ours", "insightface", "deepface"):
        chosen |= {spec.name: spec for spec in _meant(name.strip(), known) if spec.name not in chosen}
    return list(chosen.values())


def _meant(name: str, known: Sequence[Spec]) -> list[Spec]:
    kind, at, place = name.partition("@")
    if at and kind in ("ours:scrfd", "ours:yunet", "ours:embed"):
        return [_ours(kind.removeprefix("ours:"), packs.find(place))]
    if at and kind == "insightface":
        return [_insightface(packs.find(place))]
    word = name.lower()
    full = ALIASES.get(word, f"deepface:{word}" if word in DEEPFACE else word)
    groups: dict[str, Callable[[Spec], bool]] = {
        "all": lambda spec: True,
        "ours": lambda spec: spec.name.startswith("ours:") and spec.name != "ours:faceswap",
        "scrfd": lambda spec: spec.name.startswith("ours:scrfd"),
        "insightface": lambda spec: spec.name.startswith("insightface"),
        "deepface": lambda spec: spec.name.removeprefix("deepface:") in USUAL,
    }
    meant = [s for s in known if s.name == full] or [s for s in known if word in groups and groups[word](s)]
    if not meant and word == "scrfd":
        raise UsageError("scrfd: no pack with an SCRFD detector is installed; see `face-organizer packs list`")
    if not meant:
        names = ", ".join(spec.name for spec in known)
        raise UsageError(f"{name!r} is no back end; there are {names}; and the groups {', '.join(groups)}")
    return meant


def _place(opener: str) -> str:
    return f"face_organizer.compare.{opener}"


def _ours(kind: str, pack: packs.Pack) -> Spec:
    kind = kind if kind == "embed" else pack.detector.kind
    name = "ours:yunet" if (kind, pack.name) == ("yunet", packs.EMBEDDED) else f"ours:{kind}@{pack.name}"
    return Spec(name, _place(_OPENERS[kind]), (pack.location,))


def _insightface(pack: packs.Pack | None) -> Spec:
    absent = ""
    if importlib.util.find_spec("insightface") is None:
        absent = "make setup PROFILE=cpu (or gpu, gpu-pascal) installs it"
    elif pack is None or pack.detector.kind != "scrfd":
        absent = (
            f"it needs a pack in InsightFace's layout: `face-organizer packs pull {packs.DEFAULT}` fetches one"
        )
    name = f"insightface@{pack.name}" if pack else "insightface"
    return Spec(name, _place("insightface:InsightFace"), (pack.location if pack else "",), absent)


def _of_packs() -> list[Spec]:
    """The detector of each pack, and for each in InsightFace's layout its loop beside ours, embeddings
    included."""
    found = packs.installed()
    theirs = [pack for pack in found if pack.detector.kind == "scrfd"]
    detectors = [_ours(pack.detector.kind, pack) for pack in found]
    pairs = [spec for pack in theirs for spec in (_ours("embed", pack), _insightface(pack))]
    return [*detectors, *(pairs or [_insightface(None)])]


def _of_deepface(downloads: bool) -> list[Spec]:
    try:
        engine()
        absent = ""
    except ModelMissingError as error:
        absent = str(error)
    return [Spec(f"deepface:{name}", _place("deepface:DeepFace"), (name, downloads), absent) for name in DEEPFACE]


def main_first(faces: Detections, picture: Pixels) -> Detections:
    """`faces` of a picture, the main one first."""
    order = np.argsort(-prominence(faces.boxes, picture.width, picture.height), kind="stable")
    return faces.take(order)

"""The back ends by name: our detectors, InsightFace's own loop beside ours, DeepFace's detectors."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from face_organizer.compare.variants import Variant
from face_organizer.deepface import engine
from face_organizer.detect import Found, Look
from face_organizer.errors import ModelMissingError, UsageError
from face_organizer.geometry.boxes import prominence
from face_organizer.media.images import Shrinkable
from face_organizer.networks import inventory, packs
from face_organizer.types import Detections


class Backend(Protocol):
    """What a back end offers inside its process."""

    at_once: int
    """Pictures that one call looks at together; 1 where it takes them one by one."""
    tries: Sequence[Variant]
    """Other ways to look that make sense to it."""

    def find(self, paths: Sequence[str], pictures: Sequence[Shrinkable], look: Look) -> list[Found]:
        """The faces on each picture, the main one first; scores and landmarks that it does not tell are NaN.
        Back ends that heed no `look` find all faces."""
        ...

    def device(self) -> str:
        """What it really ran on, after it ran: `cpu`, `cuda:0`."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """A back end that may be tried. `opener` is `module:name`, called in its process with `arguments` and
    the device; `absent` says why it is not installed, and what mends that."""

    name: str
    opener: str = ""
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
_ROOM = "face_organizer.compare."


def choose(names: Sequence[str], *, downloads: bool = False) -> list[Spec]:
    """The back ends that `names` mean, each once, in that order; the groups ours, insightface and deepface
    where there are none.

    A name is `ours:yunet` or `deepface:ssd` in full; one of DeepFace's plain names (`opencv`, `ssd` …), as
    the original takes them; `scrfd` for that of every installed pack; `ours:scrfd@PACK`, `ours:embed@PACK` or
    `insightface@PACK` with any pack or folder; or a group: `ours`, `insightface`, `deepface`, `all`.
    `downloads` lets DeepFace fetch weights. Raises `UsageError`, which names them all.
    """
    groups = {"ours": _ours(), "insightface": _insightface(), "deepface": _deepface(USUAL, downloads)}
    known = [*groups["ours"], *groups["insightface"], *_deepface(DEEPFACE, downloads), *EXTRA]
    known.append(Spec("ours:faceswap", f"{_ROOM}ours:Headers"))
    groups |= {"scrfd": [spec for spec in known if spec.name.startswith("ours:scrfd")], "all": known}
    chosen: dict[str, Spec] = {}
    for name in names or ("ours", "insightface", "deepface"):
        kind, at, place = name.strip().partition("@")
        word = kind.lower()
        full = ALIASES.get(word, f"deepface:{word}" if word in DEEPFACE else word)
        if at and word in _OF_PACK:
            meant = [_of_pack(word, packs.find(place))]
        else:
            meant = [s for s in known if s.name in (full, name.strip())] or groups.get(word, [])
        if not meant:
            there = ", ".join(spec.name for spec in known)
            raise UsageError(f"{name!r} is no back end here", f"say {there}, or {', '.join(groups)}")
        chosen |= {spec.name: spec for spec in meant}
    return list(chosen.values())


_OF_PACK = {f"ours:{kind}": "ours:Finder" for kind in ("yunet", "scrfd")}
_OF_PACK |= {"ours:embed": "ours:Embed", "insightface": "theirs:insightface"}


def _of_pack(kind: str, pack: packs.Pack) -> Spec:
    kind = f"ours:{pack.detector.kind}" if _OF_PACK[kind] == "ours:Finder" else kind
    name = kind if (kind, pack.name) == ("ours:yunet", packs.EMBEDDED) else f"{kind}@{pack.name}"
    return Spec(name, _ROOM + _OF_PACK[kind], (pack.location,))


def _ours() -> list[Spec]:
    return [_of_pack(f"ours:{pack.detector.kind}", pack) for pack in inventory.installed()]


def _insightface() -> list[Spec]:
    """For each pack in InsightFace's layout its loop, and what of ours does the same work."""
    theirs = [pack for pack in inventory.installed() if pack.detector.kind == "scrfd"]
    if importlib.util.find_spec("insightface") is None:
        return [Spec("insightface", absent="make setup PROFILE=cpu (or gpu, gpu-pascal) installs it")]
    if not theirs:
        mend = f"`face-organizer packs pull {packs.DEFAULT}` fetches one"
        return [Spec("insightface", absent=f"no pack of InsightFace's is here; {mend}")]
    return [_of_pack(kind, pack) for pack in theirs for kind in ("ours:embed", "insightface")]


def _deepface(names: Sequence[str], downloads: bool) -> list[Spec]:
    try:
        engine()
    except ModelMissingError as error:
        each = ["deepface"] if names == USUAL else [f"deepface:{name}" for name in names]
        return [Spec(name, absent=str(error)) for name in each]
    return [Spec(f"deepface:{name}", f"{_ROOM}theirs:deepface", (name, downloads)) for name in names]


def main_first(faces: Detections, picture: Shrinkable) -> Detections:
    """`faces` of a picture, the main one first."""
    return faces.take(np.argsort(-prominence(faces.boxes, picture.width, picture.height), kind="stable"))

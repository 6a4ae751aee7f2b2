"""The back ends by name, and what opens each in its process: our detectors, InsightFace's own loop beside
ours, DeepFace's detectors."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from face_organizer import deepface as deepface_room
from face_organizer.detect import Found, Look, finder, open_detector
from face_organizer.errors import ModelMissingError, PackError, UsageError
from face_organizer.geometry import align, quality
from face_organizer.geometry.boxes import prominence
from face_organizer.machine import available_cores, in_order
from face_organizer.media.images import Shrinkable
from face_organizer.networks import inventory, packs
from face_organizer.networks.child import first_line
from face_organizer.networks.devices import CPU_PROVIDER, CUDA_PROVIDER, Device
from face_organizer.recognize import open_embedder
from face_organizer.types import Detections, Image, Int64


@dataclass(frozen=True, slots=True)
class Backend:
    """What a back end is inside its process. `find` gives the faces on each picture, the main one first;
    scores and landmarks that it does not tell are NaN. `device` says what it really ran on, after it ran:
    `cpu`, `cuda:0`. `at_once` is the number of pictures that one call looks at together, 1 where it takes
    them one by one. Only those with `settings` heed `Look`; the others find all faces."""

    find: Callable[[Sequence[Shrinkable], Look], list[Found]]
    device: Callable[[], str]
    at_once: int = 1
    settings: bool = False


Opener = Callable[[Device], Backend]
Backends = dict[str, Opener | str]
"""By name, what opens a back end in its process; or why it is not installed, and what mends that."""
YUNET = f"ours:yunet@{packs.EMBEDDED}"
ALIASES = {"yolo": "deepface:yolov8n", "yunet": YUNET, "ours:yunet": YUNET}
"""Names that could mean more than one back end, and the one that they do mean."""
DEEPFACE = ("opencv", "ssd", "mtcnn", "retinaface", "mediapipe", "yunet", "centerface", "dlib", "yolov8n")
"""DeepFace's detectors by their plain names: the group `deepface`. `deepface:NAME` is any other one."""
OF_A_PACK = ("ours:yunet", "ours:scrfd", "ours:embed", "insightface")
CHUNK = 16  # pictures that a thread looks at together, as in `embed`
Faces = Iterable[tuple[Any, Any, Any]]  # box, score and landmarks of each face on a picture


def choose(names: Sequence[str], *, downloads: bool = False) -> Backends:
    """The back ends that `names` mean, each once, in that order; all where there are none.

    A name is `ours:yunet` or `deepface:ssd` in full; one of DeepFace's plain names (`opencv`, `ssd` …), as
    the original takes them; `ours:scrfd@PACK`, `ours:embed@PACK` or `insightface@PACK` with any pack or
    folder; or a group: `scrfd` for that of every installed pack, `ours`, `insightface`, `deepface`, `all`.
    `downloads` lets DeepFace fetch weights. Raises `UsageError`, which names them all.
    """
    own = {name: o for pack in inventory.installed() for name, o in _of_pack("ours:scrfd", pack).items()}
    groups = {"insightface": _insightface(), "deepface": _deepface(DEEPFACE, downloads)}
    groups |= {"ours": own, "scrfd": {n: own[n] for n in own if n.startswith("ours:scrfd")}}
    groups["all"] = own | groups["insightface"] | groups["deepface"]
    chosen: Backends = {}
    for name in names or ["all"]:
        kind, at, place = ALIASES.get(name.strip().lower(), name.strip()).partition("@")
        kind = kind.lower()
        if at and kind in OF_A_PACK:
            chosen |= _of_pack(kind, packs.find(place))
        elif kind in DEEPFACE or kind.startswith("deepface:"):
            chosen |= _deepface([kind.removeprefix("deepface:")], downloads)
        elif not groups.get(kind):
            there = [*DEEPFACE, *filter(groups.get, groups), *(f"{each}@PACK" for each in OF_A_PACK)]
            raise UsageError(f"{name!r} is no back end here", f"say {', '.join(there)}")
        else:
            chosen |= groups[kind]
    return chosen


def _of_pack(kind: str, pack: packs.Pack) -> Backends:
    """InsightFace's loop, `ours:embed`, or else our detector of that pack, whichever kind it is."""
    if kind == "insightface":
        return {f"{kind}@{pack.name}": partial(insightface, pack.location)}
    embeds = kind == "ours:embed"
    name = f"{kind if embeds else f'ours:{pack.detector.kind}'}@{pack.name}"
    return {"ours:yunet" if name == YUNET else name: partial(ours, pack.location, embeds)}


def _insightface() -> Backends:
    """For each pack in InsightFace's layout its loop, and what of ours does the same work."""
    found: Backends = {}
    for pack in inventory.installed():
        if pack.detector.kind == "scrfd" and importlib.util.find_spec("insightface"):
            found |= _of_pack("ours:embed", pack) | _of_pack("insightface", pack)
    mend = "make setup PROFILE=cpu (or gpu, gpu-pascal) and `face-organizer packs pull` install them"
    return found or {"insightface": f"it needs its package and a pack; {mend}"}


def _deepface(names: Sequence[str], downloads: bool) -> Backends:
    try:
        deepface_room.engine()
    except ModelMissingError as error:
        each = ["deepface"] if names is DEEPFACE else [f"deepface:{name}" for name in names]
        return dict.fromkeys(each, str(error))
    return {f"deepface:{name}": partial(deepface, name, downloads) for name in names}


# --- in the process of a back end ---


def ours(location: str, embeds: bool, device: Device) -> Backend:
    """The faces that `embed` takes; `embeds` embeds them too, as InsightFace's loop does: the main face, or
    every one. One picture gets all cores; of many, each thread looks at some on one core, as `embed` does."""
    cores, pack = available_cores().count, packs.find(location)
    detectors = {n: open_detector(pack, device, threads=n) for n in {1, cores}}
    embedders = {n: open_embedder(pack, device, threads=n) for n in detectors if embeds}

    def look_at(pictures: Sequence[Shrinkable], threads: int, look: Look) -> list[Found]:
        found, chips = [], []
        for picture, one in zip(pictures, finder.find(pictures, detectors[threads], look), strict=True):
            large = quality.size(one.faces.boxes) >= look.min_face_size
            rows = _main_first(one.faces, picture)
            found.append(one.take(rows[(large & align.usable(one.faces.landmarks))[rows]]))
            if embeds:
                taken = found[-1].faces.landmarks[: None if look.every_face else 1]
                chips += [align.cut(picture, matrix) for matrix in align.estimate(taken)]
        if chips:
            embedders[threads].embed(np.stack(chips))
        return found

    def find(pictures: Sequence[Shrinkable], look: Look) -> list[Found]:
        size, threads = min(CHUNK, -(-len(pictures) // cores)), 1 if len(pictures) > 1 else cores
        chunks = [pictures[i : i + size] for i in range(0, len(pictures), size)]
        each = in_order(chunks, lambda chunk: look_at(chunk, threads, look), cores)
        return [found for chunk in each for found in chunk]

    # A session on another device than the one asked for does not open.
    name = "cpu" if device.kind == "cpu" else f"cuda:{device.index}"
    return Backend(find, lambda: name, at_once=CHUNK * cores, settings=True)


def insightface(location: str, device: Device) -> Backend:
    """`FaceAnalysis.get` at 640 pixels, every network of the pack on every face, as the original runs it."""
    from insightface.app import FaceAnalysis

    card = [(CUDA_PROVIDER, {"device_id": str(device.index)})] if device.kind == "cuda" else []
    # An absolute path stands for the name of a pack in every version, and nothing is downloaded then.
    app = FaceAnalysis(str(packs.find(location).folder), providers=[*card, CPU_PROVIDER])
    app.prepare(ctx_id=device.index if card else -1, det_size=(640, 640))

    def faces(picture: Image) -> Faces:
        found = app.get(np.ascontiguousarray(picture[..., ::-1]))
        return [(face.bbox, face.det_score, face.kps) for face in found]

    on_card = CUDA_PROVIDER in app.det_model.session.get_providers()
    return _one_by_one(faces, lambda: f"cuda:{device.index}" if on_card else "cpu")


def deepface(name: str, downloads: bool, device: Device) -> Backend:
    """DeepFace's detector of that name; `downloads` lets it fetch its weights."""
    find = deepface_room.open_detector(name, device, downloads)
    try:
        find(np.zeros((64, 64, 3), np.uint8))  # some load their weights only now
    except Exception as error:  # a ValueError where there are none
        raise PackError(first_line(error)) from error
    unknown = np.full((5, 2), np.nan)

    def faces(picture: Image) -> Faces:
        for area in find(picture):
            score = np.nan if area.score is None else area.score
            yield area.box, score, unknown if area.landmarks is None else area.landmarks

    return _one_by_one(faces, deepface_room.ran_on)


def _one_by_one(faces: Callable[[Image], Faces], device: Callable[[], str]) -> Backend:
    """A back end of `faces`, which takes whole pictures, (h, w, 3) RGB uint8."""

    def found(picture: Shrinkable) -> Found:
        rows = list(faces(picture.pixels(float("inf"))[0]))
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        boxes, scores, landmarks = (np.array(column, np.float32) for column in columns)
        detections = Detections(boxes.reshape(-1, 4), scores, landmarks.reshape(-1, 5, 2))
        return Found(detections.take(_main_first(detections, picture)))

    return Backend(lambda pictures, look: [found(picture) for picture in pictures], device)


def _main_first(faces: Detections, picture: Shrinkable) -> Int64:
    """The rows of `faces` of a picture, the main one first."""
    return np.argsort(-prominence(faces.boxes, picture.width, picture.height), kind="stable")

"""Face detectors side by side, ours and DeepFace's, each measured in a process of its own.

`BACKENDS` names them; `trial` is the program of the process, `runner` starts it and outlives its crashes.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from face_organizer.detect.looks import Look, Pixels
from face_organizer.errors import UsageError
from face_organizer.networks import inventory, packs

__all__ = ["Spec", "chart", "diagnosis", "figures", "gender", "run", "truth"]

Face = dict[str, Any]
"""`box` [x1, y1, x2, y2] and `landmarks` (five [x, y], or None where the back end has none) in pixels of the
picture, `score` 0 to 1 or None, `turn` in degrees (see `types.Faces`). JSON, as it crosses processes."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture for a back end: its path and its pixels, decoded as large as the back end wants them."""

    path: str
    picture: Pixels


class Backend(Protocol):
    """What a back end offers inside its process."""

    at_once: int
    """Pictures that one call looks at together; 1 where it takes them one by one."""
    tunable: bool
    """Whether it heeds the `Look` beyond `every_face`: canvas, least score, turns."""

    def find(self, shots: Sequence[Shot], look: Look) -> list[list[Face]]:
        """The faces on each picture, the main one first."""
        ...

    def device(self) -> str:
        """What it really ran on, after it ran: `cpu`, `cuda:0`."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """A back end that may be tried. `opener` is `module:function`; called in the trial's process with
    `argument` and the device, it gives a `Backend`. `packages` are modules it imports, pip name → module;
    `weights` files in DeepFace's folder, name → where they come from."""

    name: str
    opener: str
    argument: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def missing(self, *, downloads: bool = False) -> str:
        """What it lacks and how to get it, in words; empty where it can be tried. With `downloads`, weights
        do not count: DeepFace is free to fetch them."""
        lacking = [pip for pip, module in self.packages.items() if importlib.util.find_spec(module) is None]
        if lacking:
            return f"package missing: {_how_to_install(lacking)}"
        absent = [name for name in self.weights if not (weights_folder() / name).is_file()]
        if absent and not downloads:
            sources = ", ".join(f"{name} ({self.weights[name]})" for name in absent)
            return f"weights missing: put {sources} into {weights_folder()}, or say --allow-downloads"
        return ""


def _how_to_install(lacking: Sequence[str]) -> str:
    profile = [name for name in lacking if name in _IN_PROFILE]
    words = [f"make setup PROFILE=cpu-tf (or gpu, gpu-pascal) brings {', '.join(profile)}"] if profile else []
    # With its dependencies it would bring a second OpenCV or NumPy, which overwrites the one that is here.
    words += [f"pip install -c constraints.txt {name}" for name in lacking if name not in _IN_PROFILE]
    return "; ".join(words)


_IN_PROFILE = ("deepface", "tensorflow", "mtcnn", "retina-face")


def weights_folder() -> Path:
    """Where DeepFace keeps its weights: `.deepface/weights` in $DEEPFACE_HOME, else in the home folder."""
    return Path(os.environ.get("DEEPFACE_HOME") or Path.home()) / ".deepface" / "weights"


_DEEPFACE = {"deepface": "deepface"}
_TENSORFLOW = {**_DEEPFACE, "tensorflow": "tensorflow"}
_GITHUB = "https://github.com/"
_YOLO8 = f"{_GITHUB}YapaLab/yolo-face/releases/download/1.0.0/"
_YOLO11 = f"{_GITHUB}akanametov/yolo-face/releases/download/1.0.0/"
_YOLO = {
    "v8n": "https://drive.google.com/uc?id=1qcr9DbgsX3ryrz2uU8w4Xm3cOrRywXqb",
    **dict.fromkeys(("v8m", "v8l", "v11l", "v12n", "v12s", "v12m", "v12l"), _YOLO8),
    **dict.fromkeys(("v11n", "v11s", "v11m"), _YOLO11),
}


def _deepface(
    name: str, packages: Mapping[str, str] = _DEEPFACE, weights: Mapping[str, str] | None = None
) -> Spec:
    return Spec(
        f"deepface:{name}",
        "face_organizer.compare.deepface:open_backend",
        name,
        {**_DEEPFACE, **packages},
        weights or {},
    )


_OPENCV_3RD = f"{_GITHUB}opencv/opencv_3rdparty/raw/dnn_samples_face_detector_20170830"
DEEPFACE: dict[str, Spec] = {
    spec.argument: spec
    for spec in (
        _deepface("opencv"),
        _deepface(
            "ssd",
            weights={
                "deploy.prototxt": f"{_GITHUB}opencv/opencv/raw/3.4.0/samples/dnn/face_detector",
                "res10_300x300_ssd_iter_140000.caffemodel": _OPENCV_3RD,
            },
        ),
        _deepface("mtcnn", {**_TENSORFLOW, "mtcnn": "mtcnn"}),
        _deepface(
            "retinaface",
            {**_TENSORFLOW, "retina-face": "retinaface"},
            {"retinaface.h5": f"{_GITHUB}serengil/deepface_models/releases/download/v1.0"},
        ),
        _deepface("mediapipe", {"mediapipe": "mediapipe"}),
        _deepface(
            "yunet",
            weights={
                "face_detection_yunet_2023mar.onnx": f"{_GITHUB}opencv/opencv_zoo/raw/main/models/"
                "face_detection_yunet"
            },
        ),
        _deepface(
            "centerface",
            weights={"centerface.onnx": f"{_GITHUB}Star-Clouds/CenterFace/raw/master/models/onnx"},
        ),
        _deepface(
            "dlib",
            {"dlib": "dlib"},
            {"shape_predictor_5_face_landmarks.dat": "https://dlib.net/files, unpacked"},
        ),
        _deepface("fastmtcnn", {"facenet-pytorch": "facenet_pytorch"}),
        *(
            _deepface(f"yolo{kind}", {"ultralytics": "ultralytics"}, {f"yolo{kind}-face.pt": source})
            for kind, source in _YOLO.items()
        ),
    )
}
"""DeepFace 0.0.103's detectors (`modules/modeling.py`), and the weights that each loads."""

USUAL = ("opencv", "ssd", "mtcnn", "retinaface", "mediapipe", "yunet", "centerface", "dlib", "yolov8n")
"""Those of DeepFace's that are tried when none is named: the others are its sizes of YOLO and MTCNN again."""

ALIASES = {"yolo": "deepface:yolov8n", "yunet": "ours:yunet", "faceswap": "ours:faceswap"}
"""Plain names that more than one back end could mean, and which one they do."""

_OURS = "face_organizer.compare.ours"


HEADERS = "ours:faceswap"
"""The back end that reads FaceSwap's headers."""


def ours() -> list[Spec]:
    """Our back ends: the detector of each installed pack, and the headers of FaceSwap crops."""
    found = [
        Spec(
            "ours:yunet" if pack.name == packs.EMBEDDED else f"ours:{pack.detector.kind}@{pack.name}",
            f"{_OURS}:open_pack",
            pack.location,
        )
        for pack in inventory.installed()
    ]
    return [*found, Spec(HEADERS, f"{_OURS}:open_headers")]


EXTRA: dict[str, Spec] = {}
"""Further back ends by name: a place for a user's own, and for those that tests make crash."""


def choose(names: Sequence[str]) -> list[Spec]:
    """The back ends that `names` mean, each once, in that order; the usual ones where there are none.

    A name is `deepface:ssd` or `ours:yunet` in full; one of DeepFace's plain names (`opencv`, `ssd`, …), as
    the original takes them; `scrfd` for that of every installed pack, `ours:scrfd@FOLDER` for any folder;
    `ours`, `deepface`, `all` for many. `yunet` alone is ours. Raises `UsageError`, which names them all.
    """
    chosen: dict[str, Spec] = {}
    for name in names or ("ours", *(f"deepface:{usual}" for usual in USUAL)):
        for spec in _meant(name.strip().lower() if "@" not in name else name.strip()):
            chosen.setdefault(spec.name, spec)
    return list(chosen.values())


def _meant(name: str) -> list[Spec]:
    known = {spec.name: spec for spec in (*ours(), *(DEEPFACE[n] for n in DEEPFACE), *EXTRA.values())}
    groups = {
        "ours": [spec for spec in known.values() if spec.name.startswith("ours:")],
        "deepface": [DEEPFACE[usual] for usual in USUAL],
        "all": list(known.values()),
        "scrfd": [spec for spec in known.values() if spec.name.startswith("ours:scrfd")],
    }
    full = ALIASES.get(name, f"deepface:{name}" if name in DEEPFACE else name)
    if full in known:
        return [known[full]]
    if groups.get(name):
        return groups[name]
    kind, at, place = name.partition("@")
    if at and kind in ("ours:scrfd", "ours:yunet"):
        pack = packs.find(place)
        return [Spec(f"ours:{pack.detector.kind}@{pack.name}", f"{_OURS}:open_pack", pack.location)]
    if name == "scrfd":
        raise UsageError(
            "scrfd: no pack with an SCRFD detector is installed; see `face-organizer packs list`"
        )
    raise UsageError(
        f"{name!r} is no back end; there are {', '.join(known)}; the groups ours, deepface, all; and "
        "DeepFace's plain names"
    )

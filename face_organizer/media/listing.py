"""Which pictures and videos there are: folders walked in one order on every machine."""

from __future__ import annotations

import fnmatch
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from face_organizer.errors import UsageError
from face_organizer.files import MARKER, printable, reason
from face_organizer.media.images import READABLE_ENDINGS, UNSUPPORTED_ENDINGS, ending
from face_organizer.media.video import ENDINGS as VIDEO_ENDINGS


@dataclass(slots=True)
class Listing:
    """The pictures and videos under some folders: `paths` are absolute, each once, sorted by their bytes.
    `other` counts files that are neither by their ending; `skipped` are output folders of this program;
    `problems` are folders that could not be listed, with the reason, and `unlisted` these folders alone."""

    paths: list[str] = field(default_factory=list)
    other: int = 0
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)

    def _add(self, path: str) -> None:
        if ending(path) in READABLE_ENDINGS | UNSUPPORTED_ENDINGS | VIDEO_ENDINGS:
            self.paths.append(path)
        else:
            self.other += 1

    def _walk(self, roots: Sequence[str], recursive: bool, excluded: Callable[..., bool]) -> None:
        """Add what is in `roots`; folders behind symbolic links come last, so that a folder goes by its own
        path. A folder is known by device and inode, so that loops end."""
        pending, seen = deque((root, root) for root in roots), set()
        while pending:
            root, folder = pending.popleft()
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder) as scan:
                    entries = sorted(scan, key=lambda e: os.fsencode(e.name))
            except OSError as error:
                self.problems.append(f"{folder}: {reason(error)}")
                self.unlisted.append(folder)
                continue
            if any(entry.name == MARKER for entry in entries):
                self.skipped.append(folder)
                continue
            for entry in entries:
                if excluded(entry.name, entry.path[len(root) :].lstrip("/")):
                    continue
                if not os.path.isdir(entry.path):
                    self._add(entry.path)
                elif recursive:
                    add = pending.append if entry.is_symlink() else pending.appendleft
                    add((root, entry.path))


def listing(inputs: Sequence[str | Path], *, recursive: bool = True, exclude: Sequence[str] = ()) -> Listing:
    """The pictures and videos in `inputs` (folders or single files), sorted, each once however often it is
    reached.

    Endings are matched without regard to case; symbolic links are followed. `exclude` are shell patterns
    (`*_mask.png`, `thumbs`, `2017/*`) of names or paths below the input, never of a folder that is an input.
    Output folders of this program are left out. Raises `UsageError` when an input is not there.
    """
    if not all(os.fspath(item) for item in inputs):
        raise UsageError("an empty name is no folder or picture")
    paths = [os.path.abspath(item) for item in inputs]
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{printable(path)}: no such folder or picture")

    def excluded(*names: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in exclude)

    found = Listing()
    found._walk([path for path in paths if os.path.isdir(path)], recursive, excluded)
    for path in paths:
        if not os.path.isdir(path) and not excluded(os.path.basename(path)):
            found._add(path)
    found.paths = sorted(set(found.paths), key=os.fsencode)
    return found

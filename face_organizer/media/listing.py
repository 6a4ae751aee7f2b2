"""Which pictures and videos there are: folders walked in one order on every machine."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from face_organizer.errors import UsageError
from face_organizer.files import MARKER, printable, reason
from face_organizer.media.kinds import RAW, ending, kind

SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "@recycle", "$recycle.bin", "recycler", ".thumbnails", ".picasaoriginals"}
    | {"lost+found", "#snapshot", ".snapshot", ".snapshots", "@recently-snapshot", ".@__thumb", "__macosx"}
    | {".spotlight-v100", ".fseventsd", ".temporaryitems"}
)
"""Folders, in lower case, that NAS and systems keep beside photos: thumbnails, bins, snapshots."""
_SYSTEM_STARTS = (".trash", "system volume information")  # .Trash, .Trash-1000, .Trashes
_LEAVE_OUT = frozenset({".nomedia", ".ignore", ".noindex"})
"""Files by which phones and other programs mark a folder as one to leave out."""
_LIVE = b"com.apple.quicktime.content.identifier"
_LIVE_PICTURES = (".heic", ".HEIC", ".jpg", ".JPG", ".jpeg", ".JPEG")
_LIVE_ENDS = 256_000  # bytes: where a film of seconds keeps what it says of itself


@dataclass(slots=True)
class Listing:
    """The pictures and videos under some folders: `paths` are absolute, each once, sorted by their bytes.

    `other` counts, by ending, files that are neither; `system` folders and files of the system or marked as
    none to show, `paired` the films of Live Photos and raw photos beside their
    pictures, all left out. `skipped` are output folders of this
    program; `problems` are folders that could not be listed, with the reason, and `unlisted` these folders
    alone; `unmatched` are patterns of `exclude` that nothing matched."""

    paths: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    system: int = 0
    paired: int = 0
    skipped: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)

    def _add(self, path: str) -> None:
        if kind(path):
            self.paths.append(path)
        else:
            self.other[ending(path)] += 1

    def _walk(
        self, roots: Sequence[str], recursive: bool, excluded: Callable[[bool, str, str], bool], system: bool
    ) -> None:
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
            names = {entry.name for entry in entries}
            if MARKER in names:
                self.skipped.append(folder)
                continue
            if system and folder != root and names & _LEAVE_OUT:
                self.system += 1
                continue
            for entry in entries:
                is_folder = os.path.isdir(entry.path)
                if excluded(is_folder, entry.name, entry.path[len(root) :].lstrip("/")):
                    continue
                if system and _of_system(entry.name, is_folder):
                    self.system += 1
                elif not is_folder:
                    self._add(entry.path)
                elif recursive:
                    add = pending.append if entry.is_symlink() else pending.appendleft
                    add((root, entry.path))

    def _leave_out_paired(self) -> None:
        """Leave out films of Live Photos, and raw photos, that show what the photo of that name shows."""
        there = set(self.paths)
        mates = [p for p in self.paths if ending(p) == ".mov" or ending(p) in RAW]
        mates = [p for p in mates if _has_photo(p, there) and (ending(p) in RAW or _is_live(p))]
        self.paired, self.paths = len(mates), sorted(there - set(mates))


def _of_system(name: str, is_folder: bool) -> bool:
    small = name.lower()
    return (is_folder and (small in SYSTEM_FOLDERS or small.startswith(_SYSTEM_STARTS))) or small.startswith(
        "._"
    )


def _has_photo(path: str, there: set[str]) -> bool:
    stem = os.path.splitext(path)[0]
    return any(stem + end in there for end in _LIVE_PICTURES)


def _is_live(path: str) -> bool:
    """Whether a film says that it belongs to a Live Photo."""
    try:
        with open(path, "rb") as file:
            start = file.read(_LIVE_ENDS)
            file.seek(max(0, os.path.getsize(path) - _LIVE_ENDS))
            return _LIVE in start or _LIVE in file.read()
    except OSError:
        return False  # its own reading will tell


def listing(
    inputs: Sequence[str | Path],
    *,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    skip_system: bool = True,
    pairs: bool = False,
) -> Listing:
    """The pictures and videos in `inputs` (folders or single files), sorted, each once however often it is
    reached.

    Symbolic links are followed. `exclude` are shell patterns (`*_mask.png`, `2017/*`; `thumbs/` of folders
    alone) of names or paths below the input, never of an input itself where that is a folder. Output folders
    of this program are left out; with `skip_system` also what NAS, systems and phones keep beside photos or
    mark as none; without `pairs` films of Live Photos and raw photos beside their
    picture. Raises `UsageError` when an input is not
    there.
    """
    if not all(os.fspath(item) for item in inputs):
        raise UsageError("an empty name is no folder or picture")
    paths = [os.path.abspath(item) for item in inputs]
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{printable(path)}: no such folder or picture")
    matched = set[str]()

    def excluded(is_folder: bool, *names: str) -> bool:
        for pattern in exclude:
            shape = pattern.rstrip("/")
            if (is_folder or shape == pattern) and any(fnmatch.fnmatchcase(name, shape) for name in names):
                matched.add(pattern)
                return True
        return False

    found = Listing()
    found._walk([path for path in paths if os.path.isdir(path)], recursive, excluded, skip_system)
    for path in paths:
        if not os.path.isdir(path) and not excluded(False, os.path.basename(path)):
            found._add(path)
    found.paths = sorted(set(found.paths))
    if not pairs:
        found._leave_out_paired()
    found.paths.sort(key=os.fsencode)
    found.unmatched = [pattern for pattern in exclude if pattern not in matched]
    return found

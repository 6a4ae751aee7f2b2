"""What belongs to a picture and is none: edits, the raw file beside a JPEG, the film of a Live Photo."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator

_EDITS = frozenset({".xmp", ".aae"})
_RAW = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"})
_DEVELOPED = frozenset({".heic", ".heif", ".jpg", ".jpeg"})
_KINDS = _EDITS | _RAW | {".mov"}


class Sidecars:
    """The files beside pictures, by folder; `also` are those that lie elsewhere now and will return."""

    def __init__(self, also: Iterable[str]) -> None:
        self._also: dict[str, set[str]] = defaultdict(set)
        for path in also:
            self._also[os.path.dirname(path)].add(os.path.basename(path))
        self._folders: dict[str, dict[str, list[str]]] = {}

    def of(self, picture: str, name: str) -> Iterator[tuple[str, str]]:
        """(path, name beside a picture called `name`) of each sidecar of `picture`."""
        folder, own = os.path.split(picture)
        stem, ending = os.path.splitext(own)
        for beside in self._names(folder).get(stem.casefold(), ()):
            kind = os.path.splitext(beside)[1]
            if beside.casefold() == f"{own}.xmp".casefold():
                yield os.path.join(folder, beside), name + kind
            elif (
                _belongs(kind.lower(), ending.lower())
                and os.path.splitext(beside)[0].casefold() == stem.casefold()
            ):
                yield os.path.join(folder, beside), os.path.splitext(name)[0] + kind

    def _names(self, folder: str) -> dict[str, list[str]]:
        """Names in a folder by what comes before their endings."""
        if folder not in self._folders:
            found: dict[str, list[str]] = defaultdict(list)
            try:
                names = set(os.listdir(folder))
            except OSError:
                names = set()
            for name in sorted(names | self._also[folder]):
                stem, ending = os.path.splitext(name)
                if ending.lower() not in _KINDS:
                    continue
                if ending.lower() == ".xmp" and "." in stem:
                    found[os.path.splitext(stem)[0].casefold()].append(name)
                found[stem.casefold()].append(name)
            self._folders[folder] = found
        return self._folders[folder]


def _belongs(kind: str, ending: str) -> bool:
    if kind in _EDITS:
        return True
    return (kind in _RAW or kind == ".mov") and ending in _DEVELOPED

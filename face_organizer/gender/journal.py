"""What is known so far, on disk as it grows: a killed run goes on from there, and asks nothing twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

_LONGEST = 1 << 20  # characters of a line; a file of more faces than that holds none of ours


class Journal(dict[str, Any], AbstractContextManager["Journal"]):
    """JSON values by key, one line each, after a first line that says what they were made by (`stamp`).

    A value that was set survives a kill. Damaged lines and those of another stamp count as not there; what
    the values hold is for the caller to check.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any]) -> None:
        super().__init__()
        first = json.dumps({"face_organizer_gender": 1, **stamp}, sort_keys=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+", encoding="ascii", errors="replace")  # noqa: SIM115
        self._file.seek(0)
        if self._file.readline(_LONGEST).strip() == first:
            for line in iter(lambda: self._file.readline(_LONGEST), ""):
                with suppress(ValueError, TypeError, RecursionError):
                    super().update([json.loads(line)])
            self._file.write("\n")  # ends a line that a kill cut off
        else:
            self._file.truncate(0)
            self._file.write(f"{first}\n")
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._file.write(json.dumps([key, value], separators=(",", ":")) + "\n")
        self._file.flush()


def key_of(path: str, numbers: Iterable[int], *columns: NDArray[Any]) -> str:
    """What a file is known by: its name, `numbers` such as its size and time, and the faces on it."""
    digest = hashlib.blake2b(os.fsencode(path), digest_size=12)
    for number in numbers:
        digest.update(int(number).to_bytes(9, "little", signed=True))
    for column in columns:
        digest.update(column.tobytes())
    return digest.hexdigest()

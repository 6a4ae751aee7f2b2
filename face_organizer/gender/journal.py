"""What is known so far, on disk as it grows: a killed run goes on from there, and asks nothing twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

_LONGEST = 1 << 20  # bytes of a line; a file of more faces than that holds none of ours


class Journal:
    """JSON values by key, one line each, after a first line that says what they were made by (`stamp`).

    Damaged lines (such as the last one of a killed run) and those of another stamp count as not there; what
    the values hold is for the caller to check. Without a `path` it is in memory only. Use it as a context.
    """

    def __init__(self, path: Path | None, stamp: Mapping[str, Any]) -> None:
        self._known: dict[str, Any] = {}
        self._file = None
        if path is None:
            return
        first = json.dumps({"face_organizer_gender": 1, **stamp}, sort_keys=True).encode("ascii")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115
        self._file.seek(0)
        if self._file.readline(_LONGEST).strip() == first:
            self._known = dict(filter(None, map(_entry, iter(lambda: self._line(), b""))))
            self._file.write(b"\n")  # ends a line that a kill cut off
        else:
            self._file.truncate(0)
            self._file.write(first + b"\n")
        self._file.flush()

    def _line(self) -> bytes:
        return self._file.readline(_LONGEST) if self._file else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def get(self, key: str) -> Any:
        """The value of `key`, None where it is not known."""
        return self._known.get(key)

    def add(self, values: Mapping[str, Any]) -> None:
        """Remember some values, which a kill after this call does not lose."""
        self._known.update(values)
        if self._file and values:
            lines = [json.dumps(pair, separators=(",", ":")) for pair in values.items()]
            self._file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
            self._file.flush()


def _entry(line: bytes) -> tuple[str, Any] | None:
    try:
        key, value = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return None
    return (key, value) if isinstance(key, str) else None

"""The journal: the plan of an output folder on disk, read as a file from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from face_organizer.errors import OrganizeError
from face_organizer.files import MARKER, atomic_write, printable

_PLAN, _APPLIED = "plan.jsonl", "applied"
GONE = "gone"
"""The folder below the output for copies whose original is gone and that no result wants any more: each may
be the last one."""
MODES = ("copy", "hardlink", "symlink", "move")


@dataclass(frozen=True, slots=True)
class Move:
    """One picture on its way: `source`, absolute; `target`, FOLDER/…/NAME below the output; size in bytes,
    modification time, and one of `MODES`. A `sidecar` is no picture, and goes along with one."""

    source: str
    target: str
    bytes: int
    mtime_ns: int
    mode: str = "copy"
    sidecar: bool = False

    def __post_init__(self) -> None:
        folder, _, name = self.target.rpartition("/")
        if not is_folder(folder) or name in ("", ".", "..") or not os.path.isabs(self.source):
            raise ValueError(f"not a way into the output folder: {self!r}")
        if type(self.bytes) is not int or type(self.mtime_ns) is not int or self.mode not in MODES:
            raise TypeError(f"no size, time or mode: {self!r}")

    @property
    def folder(self) -> str:
        """The folder of the target, below the output."""
        return self.target.rpartition("/")[0]


def is_folder(name: str) -> bool:
    """Whether `name` (`person_A`, `Anna/review`; empty for the output itself) stays inside the output."""
    parts = name.split("/") if name else []
    return not {"", ".", "..", MARKER}.intersection(parts)


@dataclass(frozen=True)
class Journal:
    """What a plan set out to make: pictures, and files of results, named below the output; `library` says
    whose numbers `persons` are, those of the persons whose pictures a folder holds."""

    moves: Sequence[Move] = ()
    results: Sequence[str] = ()
    persons: Mapping[str, int] = field(default_factory=dict)
    library: str = ""

    def __post_init__(self) -> None:
        if any(name != os.path.basename(name) or name in ("", ".", "..", MARKER) for name in self.results):
            raise ValueError(f"results outside the output folder: {self.results!r}")

    @cached_property
    def homes(self) -> dict[str, str]:
        """Target of each source that was to be moved there."""
        return {m.source: m.target for m in self.moves if m.mode == "move"}

    def lying(self, output: Path) -> dict[str, str]:
        """Home of each picture that was to be moved, by the place below `output` where it was to go."""
        here = os.path.abspath(output)
        return {os.path.join(here, target): source for source, target in self.homes.items()}

    def original(self, move: Move, output: Path) -> str:
        """Where the picture that `move` copies lies: at its source, or where the plan has moved it."""
        if move.mode != "copy" or move.source not in self.homes or os.path.lexists(move.source):
            return move.source
        return str(output / self.homes[move.source])


def write(journal: Journal, output: Path) -> None:
    """Write the journal into `output`, whole or not at all."""
    with atomic_write(output / MARKER / _PLAN) as file:
        first = {"results": [*journal.results], "persons": {**journal.persons}, "library": journal.library}
        file.write(json.dumps(first).encode("ascii") + b"\n")
        file.writelines(json.dumps(asdict(move)).encode("ascii") + b"\n" for move in journal.moves)


def set_applied(output: Path, applied: bool) -> None:
    """Leave word whether the plan in `output` is carried out whole: only then a file that is not in its place
    was taken from there by somebody."""
    mark = output / MARKER / _APPLIED
    if applied:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def is_applied(output: Path) -> bool:
    """Whether the plan in `output` was carried out whole."""
    return (output / MARKER / _APPLIED).is_file()


def read_plan(output: Path) -> Journal:
    """The journal as it was written, whatever became of its folders since. Raises `OrganizeError`."""
    path = output / MARKER / _PLAN
    first: dict[str, Any] = {}
    moves: list[Move] = []
    try:
        with open(path, "rb") as file:
            for line in file:
                values = json.loads(line)
                if "results" in values:
                    first = values
                else:
                    moves.append(Move(**values))
        persons = {str(folder): int(number) for folder, number in first.get("persons", {}).items()}
        return Journal(moves, list(first.get("results", ())), persons, str(first.get("library", "")))
    except (FileNotFoundError, NotADirectoryError):
        return Journal()
    except (ValueError, TypeError, AttributeError) as error:
        raise OrganizeError(
            f"{printable(path)} is damaged, so that nobody can tell which files were made by this program; "
            "give another --output, or delete that file to keep all that is there"
        ) from error

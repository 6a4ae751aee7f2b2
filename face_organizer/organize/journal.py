"""The journal: the plan of an output folder on disk, read as a file from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from face_organizer.errors import OrganizeError
from face_organizer.files import MARKER, atomic_write, printable
from face_organizer.organize.moves import Lookup, Move, Moves, is_folder

_PLAN, _APPLIED = "plan.jsonl", "applied"
GONE = "gone"
"""The folder below the output for copies whose original is gone and that no result wants any more: each may
be the last one."""


@dataclass(frozen=True)
class Journal:
    """What a plan set out to make: pictures, and files of results, named below the output; `library` says
    whose numbers `persons` are, those of the persons whose pictures a folder holds."""

    moves: Sequence[Move] = ()
    results: Sequence[str] = ()
    persons: Mapping[str, int] = field(default_factory=dict)
    library: str = ""
    written: Sequence[Move] = ()
    """The moves as they were planned, where the user's hand has changed something since."""

    def __post_init__(self) -> None:
        if not all(name and is_folder(name) for name in self.results):
            raise ValueError(f"results outside the output folder: {self.results!r}")

    @cached_property
    def homes(self) -> Mapping[str, str]:
        """Target of each source that was to be moved there."""
        return Lookup(self.moves, lambda m: m.source, lambda m: m.target, lambda m: m.mode == "move")

    def lying(self, output: Path, wanted: Callable[[Move], bool] = lambda move: True) -> Mapping[str, str]:
        """Home of each picture that was to be moved, by the place below `output` where it was to go, and by
        that where it lies today."""
        here = os.path.abspath(output)
        return Lookup(
            Moves(chain(self.moves, self.written)) if self.written else self.moves,
            lambda m: os.path.join(here, m.target),
            lambda m: m.source,
            lambda m: m.mode == "move" and wanted(m),
        )

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
        file.writelines(_line(move) for move in journal.moves)


def _line(move: Move) -> bytes:
    return json.dumps({name: getattr(move, name) for name in Move.__slots__}).encode("ascii") + b"\n"


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
    moves = Moves()
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
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise OrganizeError(
            f"{printable(path)} is damaged, so that nobody can tell which files were made by this program; "
            "give another --output, or delete that file to keep all that is there"
        ) from error

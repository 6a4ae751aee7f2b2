"""The photos in which a search found nobody, and those without a face."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import os_errors, printable
from face_organizer.organize import View
from face_organizer.search.found import JSON, Found
from face_organizer.search.match import MATCH
from face_organizer.types import FaceTable, Outcome


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Every photo of a table, as sorted paths: those that show the persons, that show others alone, that have
    no face or too small ones alone, and files that could not be read."""

    found: list[str]
    nobody: list[str]
    no_face: list[str]
    unusable: list[str]

    def view(self) -> View:
        """The photos that are left over in `nobody` and `no_face`."""
        return View([(path, name) for name in ("nobody", "no_face") for path in getattr(self, name)])


def leftovers(
    table: FaceTable,
    found: Found | str | Path,
    *,
    persons: Iterable[str] = (),
    without: Literal["any", "all"] = "any",
    review: bool = True,
) -> Leftovers:
    """Divide the photos of `table` by whether a search found somebody: `found`, or its output folder or
    report.json.

    `persons` are the names that count (default: all). `without`: a photo is left over without any of them
    ("any"), or where at least one of them is missing ("all"). `review`: whether a photo for review counts as
    found. Raises `UsageError` for a name that was not searched, `FaceOrganizerError` for a broken report.
    """
    if isinstance(found, Found):
        photos = {one.name: one.photos() for one in found.persons}
    else:
        photos = _reported(Path(found))
    names = list(persons) or list(photos)
    if strange := [name for name in names if name not in photos]:
        searched = ", ".join(map(printable, photos))
        raise UsageError(f"{printable(strange[0])} was not searched: {searched} were")
    seen = [{path for path, match in photos[name].items() if match or review} for name in names]
    with_persons = set.union(*seen) if without == "any" else set.intersection(*seen)
    made = Leftovers([], [], [], [])
    lists = {Outcome.NO_FACE: made.no_face, Outcome.TOO_SMALL: made.no_face, Outcome.FACES: made.nobody}
    for path, outcome in zip(table.files.path, table.files.outcome.tolist(), strict=True):
        (made.found if path in with_persons else lists.get(outcome, made.unusable)).append(path)
    return made


def _reported(place: Path) -> dict[str, dict[str, bool]]:
    """Of a report: for each person the photos, and whether a face on one is a match."""
    path = place / JSON if place.is_dir() else place
    try:
        with os_errors(path):
            document = json.loads(path.read_bytes())
        photos: dict[str, dict[str, bool]] = {str(person["name"]): {} for person in document["persons"]}
        for face in document["faces"]:
            seen, source = photos[face["person"]], str(face["source"])
            seen[source] = face["verdict"] == MATCH or seen.get(source, False)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FaceOrganizerError(f"{printable(path)} is no report of `search`: {error!r}") from error
    return photos

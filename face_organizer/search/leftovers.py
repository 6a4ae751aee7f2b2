"""The photos in which a search found nobody, and those without a face."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from face_organizer.errors import UsageError
from face_organizer.files import printable
from face_organizer.organize import View
from face_organizer.search import report
from face_organizer.search.find import Found
from face_organizer.types import FaceTable, Outcome

NOBODY, NO_FACE = "nobody", "no_face"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Every photo of a table by what a search says of it, as sorted paths."""

    found: list[str]
    """With the persons."""
    nobody: list[str]
    """With faces, and without the persons."""
    no_face: list[str]
    """Without a face, or with too small ones alone."""
    unusable: list[str]
    """Files that could not be read."""
    unnamed: int
    """Photos without a face that the table counts and does not name."""

    @property
    def folders(self) -> Mapping[str, list[str]]:
        """Folder → photos, of those that are left over."""
        return {NOBODY: self.nobody, NO_FACE: self.no_face}

    def view(self) -> View:
        """The photos that are left over in `nobody` and `no_face`."""
        return View([(path, name) for name, paths in self.folders.items() for path in paths])


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
    found. Raises `UsageError` for a name that was not searched, `FaceOrganizerError` for a report that
    cannot be read.
    """
    if isinstance(found, Found):
        photos = {one.name: one.photos() for one in found.persons}
    else:
        photos = report.read(Path(found))
    names = list(persons) or list(photos)
    if strange := [name for name in names if name not in photos]:
        searched = ", ".join(map(printable, photos))
        raise UsageError(f"{printable(strange[0])} was not searched: {searched} were")
    seen = [{path for path, match in photos[name].items() if match or review} for name in names]
    with_persons = set.union(*seen) if without == "any" else set.intersection(*seen)
    made = Leftovers([], [], [], [], table.unnamed_files)
    for path, outcome in zip(table.files.path, table.files.outcome.tolist(), strict=True):
        if outcome == Outcome.FACES:
            (made.found if path in with_persons else made.nobody).append(path)
        else:
            is_whole = outcome in (Outcome.NO_FACE, Outcome.TOO_SMALL)
            (made.no_face if is_whole else made.unusable).append(path)
    return made

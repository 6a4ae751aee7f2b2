"""The door of the room: some photos of persons in, all photos that may show them out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import count, printable
from face_organizer.organize import Placed, View, is_folder
from face_organizer.search import FALSE_MATCHES, workbook
from face_organizer.search.match import Candidates, Rules, compare
from face_organizer.search.pictures import best_frames, draw, write_frames
from face_organizer.search.profiles import ENDING, Profile, make, read, write
from face_organizer.search.references import check_profile, from_persons, from_photos, listed, pack_for
from face_organizer.search.report import CSV, JSON, XLSX, Report, folder_of
from face_organizer.search.threshold import sample
from face_organizer.types import FaceTable


class Found(Report):
    """What a search found: for each of `persons`, by name, the faces of `table` that may show it.

    `found["Anna"]` is one of them; `rows` and `summary` give the same as report.csv and report.json hold it;
    `settings` reproduce the search.
    """

    __slots__ = ()

    def __getitem__(self, name: str) -> Candidates:
        """The person of that name. Raises `KeyError`."""
        return {one.name: one for one in self.persons}[name]

    def view(
        self,
        *,
        thumbnails: int = 500,
        frames: int = 0,
        settings: Mapping[str, Any] | None = None,
        on_problem: Callable[[str, str], object] = lambda name, why: None,
    ) -> View:
        """The result as folders: photos in NAME, doubtful ones in NAME/review, and beside them the report, a
        contact sheet and a profile per person.

        `thumbnails`: how many faces report.xlsx shows, 0 to 10,000. `frames`: how many frames of videos are
        written for each person, those that show it best. `settings` stand in the report before those of the
        search. `on_problem` hears, by name and why, of a file that is not there or not whole.
        """
        names = [one.name for one in self.persons]
        sheets = [f"{one.name}.jpg" for one in self.persons if len(one.rows)]
        stills = [name for one in self.persons for _, name in best_frames(one, frames)]
        files = [CSV, JSON, XLSX, *sheets, *(f"{name}{ENDING}" for name in names), *stills]
        entries = [
            (path, folder_of(one.name, match)) for one in self.persons for path, match in one.photos().items()
        ]

        def write_all(folder: Path, placed: Placed, on_step: Callable[[], object]) -> None:
            report = replace(self, settings={**(settings or {}), **self.settings}, placed=placed)
            for one in self.persons:
                write(one.profile, folder / f"{one.name}{ENDING}")
            report.write(folder)
            draw(folder, report, on_step)
            workbook.write(folder, report, thumbnails, on_problem)
            write_frames(folder, report, frames, on_problem)

        return View(entries, files, write_all, len(sheets))


def search(
    table: FaceTable,
    references: str | Path | Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    profiles: Iterable[str | Path | Profile] = (),
    people: str | Path | None = None,
    persons: Iterable[str] = (),
    reference_face: Literal["only", "largest"] = "only",
    keep_outliers: bool = False,
    false_matches: float = FALSE_MATCHES,
    threshold: float | None = None,
    strict: bool = False,
    pack: str | None = None,
    device: str | None = None,
    on_event: Callable[[int, int, str], object] = lambda photos, persons, pack: None,
) -> Found:
    """Find the faces of `table` that show given persons, or may show them.

    `references` is a folder with photos of one person (called `name`, or as the folder is) or with a folder
    per person, or a mapping from names to photos and folders, or to (m, d) vectors of the table's space;
    `profiles` are those of an earlier search (files, or values); `persons` are names in the result of
    clustering that lies in the folder `people`.

    `reference_face`: a reference photo with several faces is left out ("only"), or its main face is taken
    ("largest"). `keep_outliers` uses references that are unlike the others too. `false_matches` is the share
    of other people's faces that may pass for a match, 1e-12 to 0.1; `threshold` a cosine, -1 to 1, that
    overrides it; `strict`, for children and siblings, allows for a tenth of the false matches and wants two
    thirds of the references to agree. `pack` (default: the one that made the table) and `device` (as `embed`
    takes them) look at reference photos; `on_event` is called before that with the number of photos, that of
    persons, and the name of the pack.

    Raises `UsageError` for a call that makes no sense, `SpaceMismatchError` for references that cannot be
    compared with the table, `FaceOrganizerError` for a person without a usable reference.
    """
    if not len(table):
        raise FaceOrganizerError(f"no faces among {count(table.total_files, 'picture')}: nobody to find")
    rules, persons = Rules(false_matches, threshold, strict), list(persons)
    if bool(persons) != (people is not None):
        raise UsageError("persons of a clustering and its folder go together: --from-person and --people")
    photos, given = listed(references, name, table.embeddings.shape[1])
    everybody = [one if isinstance(one, Profile) else read(Path(one)) for one in profiles]
    for profile in everybody:
        check_profile(profile, table)
    _check_names([*photos, *given, *persons, *(profile.name for profile in everybody)])
    if photos:
        chosen = pack_for(table, pack)
        on_event(sum(map(len, photos.values())), len(photos), chosen.name)
        given |= from_photos(photos, table, chosen, device, reference_face == "largest")
    if people is not None:
        given |= from_persons(persons, Path(people), table)
    some = sample(table.embeddings)
    for person, one in given.items():
        everybody.append(make(person, one, table.stamp, some, keep_outliers=keep_outliers))
    everybody.sort(key=lambda profile: os.fsencode(profile.name))
    settings = {**asdict(rules), "match_rate": rules.match_rate, "review_rate": rules.review_rate}
    if threshold is not None:
        settings["match_rate"] = None
    return Found(table, compare(table, everybody, rules), settings)


def _check_names(names: list[str]) -> None:
    """Each person needs a name of its own that can be the name of a folder."""
    if not names:
        raise UsageError("whom to find? Give --reference, --profile or --from-person")
    for name in names:
        if not name or {"/", "\0"} & set(name) or not is_folder(name):
            raise UsageError(f"{printable(name)!r} cannot be the name of a folder: give another --name")
        if names.count(name) > 1:
            raise UsageError(f"two persons called {printable(name)}")

"""The doors of the room: some photos of persons in, all photos that may show them out, or all others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from face_organizer.cluster.strangers import sample
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import count, os_errors, printable
from face_organizer.library.people import Library
from face_organizer.organize import View, is_folder
from face_organizer.search.found import JSON, Found
from face_organizer.search.heeding import heeded, own_faces, with_confirmed, with_their_person
from face_organizer.search.match import MATCH, Candidates, Rules, compare
from face_organizer.search.profiles import Profile, make, read
from face_organizer.search.references import check_space, from_persons, from_photos, listed
from face_organizer.table import fingerprint
from face_organizer.types import FaceTable, Outcome


def search(
    table: FaceTable,
    references: str | Path | Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    profiles: Iterable[str | Path | Profile] = (),
    people: str | Path | None = None,
    persons: Iterable[str] = (),
    reference_face: Literal["agreeing", "only", "largest"] = "agreeing",
    keep_outliers: bool = False,
    false_matches: float | None = None,
    threshold: float | None = None,
    strict: bool = False,
    library: Library | None = None,
    pack: str | None = None,
    device: str | None = None,
) -> Found:
    """Find the faces of `table` that show given persons, or may show them.

    `references` is a folder with photos of one person (called `name`, or as the folder is) or with a folder
    per person, or a mapping from names to photos and folders, or to (m, d) vectors of the table's space;
    `profiles` are those of an earlier search (files, or values); `persons` are names in the result of
    clustering that lies in the folder `people`, or without it in the `library`.

    `library`: what people said. A face that was refused does not come back, one that was confirmed is a match
    and a reference; ignored ones, and those said to be somebody else, are nobody's match.

    `reference_face`: of a reference photo with several faces the one that agrees with the other references is
    taken ("agreeing"), its main face ("largest"), or none ("only"). `keep_outliers` uses references that are
    unlike the others too. `false_matches` is the share of other people's faces that may pass for a match,
    1e-12 to 0.1 (default: `FALSE_MATCHES`); `threshold` a cosine, -1 to 1, that overrides it; `strict`, for
    children and siblings, allows for a tenth of the false matches and wants two thirds of the references to
    agree. `pack` (default: the one that made the table) and `device` (as `embed` takes them) look at
    reference photos.

    Raises `UsageError` for a call that makes no sense, `SpaceMismatchError` for references that cannot be
    compared with the table, `FaceOrganizerError` for a person without a usable reference.
    """
    if not len(table):
        raise FaceOrganizerError(f"no faces among {count(table.total_files, 'picture')}: nobody to find")
    rules = Rules(false_matches, threshold, strict).settled(table.embeddings)
    persons = list(persons)
    if (people is not None and not persons) or (persons and people is None and library is None):
        raise UsageError("persons of a clustering and its folder go together: --from-person and --people")
    said = None if library is None else library.said(table)
    photos, given = listed(references, name, table.embeddings.shape[1])
    everybody = [one if isinstance(one, Profile) else read(Path(one)) for one in profiles]
    for one in everybody:
        check_space(f"the profile of {printable(one.name)}", one.stamp, one.vectors.shape[1], table)
    _check_names([*photos, *given, *persons, *(one.name for one in everybody)])
    if photos:
        pack = pack or (table.stamp.pack if table.stamp else "")
        given |= from_photos(photos, table, pack, device, reference_face)
    if people is not None:
        given |= from_persons(persons, Path(people), table)
    elif said is not None:
        given |= {who: own_faces(said, who, table) for who in persons}
    some = sample(table.embeddings)
    everybody += [make(who, one, table.stamp, some, keep_outliers) for who, one in given.items()]
    if said is not None:
        everybody = [with_confirmed(profile, said, table) for profile in everybody]
    everybody.sort(key=lambda profile: os.fsencode(profile.name))

    def heed(one: Candidates) -> Candidates:
        return one if said is None else heeded(one, said)

    found = compare(table, everybody, rules, heed)
    if said is not None:
        with_their_person(found, said)
    return Found(table, found, asdict(rules))


def _check_names(names: list[str]) -> None:
    """Each person needs a name of its own that can be the name of a folder."""
    if not names:
        raise UsageError("whom to find? Give --reference, --profile or --from-person")
    for name in names:
        if not name or {"/", "\0"} & set(name) or not is_folder(name):
            raise UsageError(f"{printable(name)!r} cannot be the name of a folder: give another --name")
        if names.count(name) > 1:
            raise UsageError(f"two persons called {printable(name)}")


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
    found. Raises `UsageError` for a name that was not searched and for a table that has changed since,
    `FaceOrganizerError` for a broken report.
    """
    if isinstance(found, Found):
        photos, searched = {one.name: one.photos() for one in found.persons}, found.summary()["table"]
        where = "the search"
    else:
        photos, searched = _reported(Path(found))
        where = printable(found)
    _check_searched(table, searched, where)
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


def _check_searched(table: FaceTable, searched: Mapping[str, Any], where: str) -> None:
    """Raise where the search did not see the table as it is: photos that came since were never searched."""
    if "fingerprint" in searched:
        same = searched["fingerprint"] == fingerprint(table)
    else:  # a report of an earlier version
        same = int(searched.get("photos", table.total_files)) == table.total_files
    if not same:
        then = count(int(searched.get("photos", 0)), "picture")
        raise UsageError(
            f"{where} is of {then}, and the table has changed since: it holds {table.total_files:,} now",
            "search again first (--profile takes the profiles that lie beside the report)",
        )


def _reported(place: Path) -> tuple[dict[str, dict[str, bool]], dict[str, Any]]:
    """Of a report: for each person the photos, and whether a face on one is a match; and what is told of the
    table."""
    path = place / JSON if place.is_dir() else place
    if place.is_dir() and not path.exists():
        what = "the output of `cluster`" if (place / "manifest.csv").exists() else "no output of `search`"
        mend = f"search first: --from-person NAME --people {printable(place)} takes persons of a clustering"
        raise UsageError(f"{printable(place)} is {what}, which does not say who was searched for", mend)
    try:
        with os_errors(path):
            document = json.loads(path.read_bytes())
        photos: dict[str, dict[str, bool]] = {str(person["name"]): {} for person in document["persons"]}
        told = dict(document.get("table", {}))
        for face in document["faces"]:
            seen, source = photos[face["person"]], str(face["source"])
            seen[source] = face["verdict"] == MATCH or seen.get(source, False)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FaceOrganizerError(f"{printable(path)} is no report of `search`: {error!r}") from error
    return photos, told

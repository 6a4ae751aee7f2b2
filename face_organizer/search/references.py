"""Reference photos on their way to a profile: looked at as the pictures of the table were."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_organizer import table
from face_organizer.cluster import result
from face_organizer.embed.maker import look_at
from face_organizer.embed.models import open_models, stamp_of
from face_organizer.embed.options import EmbedOptions
from face_organizer.errors import FaceOrganizerError, SpaceMismatchError, TableError, UsageError
from face_organizer.faceswap import trust
from face_organizer.files import printable
from face_organizer.media.listing import listing
from face_organizer.networks import packs
from face_organizer.networks.devices import Device
from face_organizer.search.profiles import Profile, Reference
from face_organizer.types import FaceTable, Float32, Outcome

_MOST_ROWS = 200  # of a person of a clustering: more make no better mean


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What was given for one person: (m, d) vectors, a source for each, and what could not be used."""

    vectors: Float32
    sources: Sequence[str]
    unusable: Sequence[Reference]


def folders(place: Path, name: str | None) -> dict[str, list[str]]:
    """Person → photos: a folder a person in `place`, or one person's photos there, called `name` or as it is.

    Raises `UsageError` for a folder that is neither or both.
    """
    if not place.exists():
        raise UsageError(f"{printable(place)} is not there")
    by_person: dict[str, list[str]] = defaultdict(list)
    root = os.path.abspath(place)
    for path in listing([place]).paths:
        inside = os.path.relpath(path, root).split(os.sep)
        by_person[inside[0] if len(inside) > 1 else ""].append(path)
    loose = by_person.pop("", [])
    if loose and by_person:
        raise UsageError(
            f"{printable(place)} holds photos and folders with photos: give one person's photos, or a "
            "folder for each person"
        )
    if not loose and not by_person:
        raise UsageError(f"{printable(place)}: no pictures there")
    if loose:
        return {name or os.path.basename(root if os.path.isdir(root) else os.path.dirname(root)): loose}
    if name is None:
        return dict(by_person)
    if name not in by_person and len(by_person) > 1:
        raise UsageError(f"--name {printable(name)}: {printable(place)} holds {len(by_person)} other folders")
    return {name: by_person[name] if name in by_person else next(iter(by_person.values()))}


def pack_for(searched: FaceTable, choice: str | None) -> packs.Pack:
    """The pack that made the table, or `choice`. Raises `SpaceMismatchError` where their vectors differ."""
    stamp = searched.stamp
    if choice is None:
        if stamp is None:
            raise TableError("the table does not tell which pack made it: name it by --pack")
        choice = stamp.pack
    try:
        pack = packs.resolve(choice)
    except packs.PackMissingError as error:
        raise type(error)(f"{error}; --pack names the folder of the pack that made the table") from None
    made = stamp_of(pack, EmbedOptions())
    if stamp.space != made.space if stamp else searched.embeddings.shape[1] != made.dim:
        raise SpaceMismatchError(
            f"the table holds embeddings of another model ({table.describe(searched)}) than pack {pack.name} "
            f"({made.dim}-d) makes, which cannot be compared: name the table's own by --pack, or embed again"
        )
    return pack


def from_photos(
    people: Mapping[str, Sequence[str]],
    searched: FaceTable,
    *,
    pack: packs.Pack,
    device: Device,
    lanes: int,
    largest: bool,
) -> dict[str, Given]:
    """The faces of reference photos, found and embedded with the options of the table.

    A photo with several faces is used only where `largest` says so, and then by its main one.
    """
    known = {f.name for f in dataclasses.fields(EmbedOptions)}
    told = searched.stamp.options if searched.stamp else {}
    options = EmbedOptions(**{k: v for k, v in told.items() if k in known} | {"faces": "all"})
    paths = sorted({path for photos in people.values() for path in photos}, key=os.fsencode)
    seen, _ = look_at(
        paths,
        open_models(pack, device),
        options,
        stamp=stamp_of(pack, options),
        threads=lanes,
        samples=trust.samples(paths),
    )
    rows = defaultdict(list)
    for row, file in enumerate(seen.faces.file_index.tolist()):
        rows[seen.files.path[file]].append(row)
    why = {
        path: reason or Outcome(outcome).label.replace("_", " ")
        for path, outcome, reason in zip(
            seen.files.path, seen.files.outcome.tolist(), seen.files.reason, strict=True
        )
    }
    given = {}
    for person, photos in people.items():
        used, unusable = [], []
        for path in photos:
            if len(rows[path]) == 1 or (rows[path] and largest):
                used.append(rows[path][0])
            elif rows[path]:
                unusable.append(Reference(path, f"{len(rows[path])} faces: whose is it? (--reference-face)"))
            else:
                unusable.append(Reference(path, why[path]))
        sources = [seen.files.path[seen.faces.file_index[row]] for row in used]
        given[person] = Given(seen.embeddings[used], sources, unusable)
    return given


def from_person(name: str, people: Path, searched: FaceTable) -> Given:
    """The faces that a result of `cluster` has in the folder `name`, by their rows in the table."""
    former = result.read(people)
    if name not in former.names:
        raise UsageError(f"{printable(name)}: {printable(people)} has no person of that name")
    wanted = former.names.index(name)
    keys = {
        (path, int(index))
        for path, index, label in zip(former.paths, former.face_index, former.labels, strict=True)
        if label == wanted
    }
    rows = [
        row
        for row, key in enumerate(zip(searched.face_paths(), searched.faces.face_index.tolist(), strict=True))
        if key in keys
    ]
    if not rows:
        raise FaceOrganizerError(
            f"none of the faces of {printable(name)} is in the table: is it another one?"
        )
    rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(_MOST_ROWS, len(rows))).astype(int))]
    paths = searched.face_paths()
    return Given(np.asarray(searched.embeddings[rows]), [paths[row] for row in rows], [])


def check_space(profile: Profile, searched: FaceTable) -> None:
    """Raise `SpaceMismatchError` unless `profile` may be compared with the table."""
    one, other = profile.stamp, searched.stamp
    same_dim = profile.vectors.shape[1] == searched.embeddings.shape[1]
    if not same_dim or (one and other and one.space != other.space) or (one is None) != (other is None):
        raise SpaceMismatchError(
            f"the profile of {printable(profile.name)} (pack {printable(one.pack) if one else 'not known'}, "
            f"{profile.vectors.shape[1]}-d) and the table ({table.describe(searched)}) hold embeddings of "
            "different models, which cannot be compared: make the profile again from its photos"
        )

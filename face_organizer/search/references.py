"""References on their way to a profile: photos are looked at as the pictures of the table were."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer import table
from face_organizer.cluster import result
from face_organizer.embed import plan_threads
from face_organizer.embed.maker import look_at
from face_organizer.embed.models import open_models, stamp_of
from face_organizer.embed.options import EmbedOptions
from face_organizer.errors import FaceOrganizerError, SpaceMismatchError, TableError, UsageError
from face_organizer.faceswap import trust
from face_organizer.files import count, printable
from face_organizer.media.listing import listing
from face_organizer.networks import packs
from face_organizer.networks.devices import choose_one
from face_organizer.search.profiles import Given, Profile, Reference
from face_organizer.types import FaceTable, Outcome, Stamp

_MOST_ROWS = 200  # of a person of a clustering: more make no better mean


def listed(
    references: str | Path | Mapping[str, Any] | None, name: str | None, dim: int
) -> tuple[Mapping[str, Sequence[str]], dict[str, Given]]:
    """What is given as `search` takes it: person → photos, and person → (m, `dim`) vectors.

    Raises `UsageError` for what is neither.
    """
    if name and not isinstance(references, str | Path):
        raise UsageError("--name names the person of a folder of --reference")
    if not isinstance(references, Mapping):
        return (_folders(Path(references), name) if references else {}), {}
    photos: dict[str, Sequence[str]] = {}
    vectors: dict[str, Given] = {}
    for person, given in references.items():
        several: list[Any] = [given] if isinstance(given, str | os.PathLike) else list(given)
        if several and all(isinstance(one, str | os.PathLike) for one in several):
            photos[person] = listing(several).paths
        else:
            vectors[person] = _vectors(person, several, dim)
    return photos, vectors


def _vectors(person: str, values: Sequence[Any], dim: int) -> Given:
    try:
        made = np.atleast_2d(np.asarray(values, np.float32))
    except (TypeError, ValueError) as error:
        raise UsageError(f"references of {printable(person)}: neither paths nor vectors") from error
    lengths = np.linalg.norm(made, axis=-1, keepdims=True)
    if made.shape[1:] != (dim,) or not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise UsageError(f"references of {printable(person)}: not (m, {dim}) finite vectors, none of zeros")
    return Given(made / lengths, [f"vector {i + 1}" for i in range(len(made))])


def _folders(place: Path, name: str | None) -> dict[str, list[str]]:
    """One person per folder in `place`, or one person's photos there, called `name` or as the folder is."""
    if not place.exists():
        raise UsageError(f"{printable(place)} is not there")
    people: dict[str, list[str]] = defaultdict(list)
    root = os.path.abspath(place)
    for path in listing([place]).paths:
        first, _, below = os.path.relpath(path, root).partition(os.sep)
        people[first if below else ""].append(path)
    if not people:
        raise UsageError(f"{printable(place)}: no pictures there")
    if "" in people and len(people) > 1:
        raise UsageError(
            f"{printable(place)} holds photos and folders with photos",
            "give one person's photos, or a folder for each person",
        )
    if "" in people:
        name = name or os.path.basename(root if os.path.isdir(root) else os.path.dirname(root))
    if name is None:
        return dict(people)
    if name not in people and len(people) > 1:
        raise UsageError(f"--name {printable(name)}: {printable(place)} holds {len(people)} other folders")
    return {name: people[name] if name in people else next(iter(people.values()))}


def pack_for(searched: FaceTable, choice: str | None) -> packs.Pack:
    """The pack that made the table, or `choice`. Raises `SpaceMismatchError` where their vectors differ."""
    stamp = searched.stamp
    if choice is None and stamp is None:
        raise TableError("the table does not say which pack made it", "name it by --pack")
    try:
        pack = packs.resolve(choice or (stamp.pack if stamp else ""))
    except packs.PackMissingError as error:
        raise type(error)(str(error), "--pack names the folder of the pack that made the table") from None
    made = stamp_of(pack, EmbedOptions())
    mend = "name the table's own by --pack, or embed again"
    _check_space(f"pack {pack.name}", made if stamp else None, made.dim, searched, mend)
    return pack


def check_profile(profile: Profile, searched: FaceTable) -> None:
    """Raise `SpaceMismatchError` unless `profile` may be compared with the table."""
    pack = printable(profile.stamp.pack) if profile.stamp else "not known"
    what = f"the profile of {printable(profile.name)} (pack {pack})"
    mend = "make the profile again from its photos"
    _check_space(what, profile.stamp, profile.vectors.shape[1], searched, mend)


def _check_space(what: str, stamp: Stamp | None, dim: int, searched: FaceTable, mend: str) -> None:
    space = searched.stamp.space if searched.stamp else None
    if dim != searched.embeddings.shape[1] or (stamp.space if stamp else None) != space:
        raise SpaceMismatchError(
            f"{what}, {dim}-d, and the table ({table.describe(searched)}) are of different models, whose "
            "embeddings cannot be compared",
            mend,
        )


def from_photos(
    people: Mapping[str, Sequence[str]],
    searched: FaceTable,
    pack: packs.Pack,
    device: str | None,
    largest: bool,
) -> dict[str, Given]:
    """The faces of reference photos. A photo with several faces is used only where `largest` says so, and
    then by its main one."""
    seen = _embedded({path for photos in people.values() for path in photos}, searched, pack, device)
    rows = defaultdict(list)
    for row, path in enumerate(seen.face_paths()):
        rows[path].append(row)
    files = zip(seen.files.path, seen.files.outcome.tolist(), seen.files.reason, strict=True)
    why = {path: reason or Outcome(outcome).label.replace("_", " ") for path, outcome, reason in files}
    given = {}
    for person, photos in people.items():
        used, unusable = [], []
        for path in photos:
            faces = len(rows[path])
            if faces == 1 or (faces and largest):
                used.append(path)
            else:
                several = f"{count(faces, 'face')}: whose is it? (--reference-face)"
                unusable.append(Reference(path, several if faces else why[path]))
        given[person] = Given(seen.embeddings[[rows[path][0] for path in used]], used, unusable)
    return given


def _embedded(paths: set[str], searched: FaceTable, pack: packs.Pack, device: str | None) -> FaceTable:
    """All faces of some photos, found and embedded with the options of the table."""
    known = {f.name for f in dataclasses.fields(EmbedOptions)}
    kept = {k: v for k, v in searched.stamp.options.items() if k in known} if searched.stamp else {}
    options = EmbedOptions(**kept | {"faces": "all"})
    chosen, _ = choose_one(device)
    ordered = sorted(paths, key=os.fsencode)
    return look_at(
        ordered,
        open_models(pack, chosen),
        options,
        stamp=stamp_of(pack, options),
        threads=plan_threads(None, [chosen]).count,
        samples=trust.samples(ordered),
    )[0]


def from_persons(names: Sequence[str], people: Path, searched: FaceTable) -> dict[str, Given]:
    """The faces that a result of `cluster` has in the folders `names`, by their rows in the table."""
    former = result.read(people)
    if strange := [name for name in names if name not in former.names]:
        raise UsageError(f"{printable(strange[0])}: {printable(people)} has no person of that name")
    labels = {former.names.index(name): name for name in names}
    faces = zip(former.paths, former.face_index.tolist(), former.labels.tolist(), strict=True)
    person_of = {(path, index): labels[label] for path, index, label in faces if label in labels}
    rows, paths = defaultdict(list), searched.face_paths()
    for row, face in enumerate(zip(paths, searched.faces.face_index.tolist(), strict=True)):
        if face in person_of:
            rows[person_of[face]].append(row)
    given = {}
    for name in names:
        if not (own := rows[name]):
            raise FaceOrganizerError(
                f"none of the faces of {printable(name)} is in the table", "is it another table?"
            )
        some = [own[i] for i in np.unique(np.linspace(0, len(own) - 1, _MOST_ROWS).astype(int)).tolist()]
        given[name] = Given(np.asarray(searched.embeddings[some]), [paths[row] for row in some])
    return given

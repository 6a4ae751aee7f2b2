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
from face_organizer.cluster import rows_of
from face_organizer.cluster.strangers import crowds_of, sample
from face_organizer.embed import plan_threads
from face_organizer.embed.maker import look_at
from face_organizer.embed.setup import EmbedOptions, Setup, open_models, stamp_of
from face_organizer.errors import SpaceMismatchError, TableError, UsageError
from face_organizer.faceswap import trust
from face_organizer.files import printable
from face_organizer.media.listing import listing
from face_organizer.networks import packs
from face_organizer.networks.devices import choose_one
from face_organizer.search.profiles import UNLIKE, Given, Reference
from face_organizer.types import FaceTable, Float32, Outcome, Stamp

_MOST_ROWS = 200  # of a person of a clustering: more make no better mean


def listed(
    references: str | Path | Mapping[str, Any] | None, name: str | None, dim: int
) -> tuple[dict[str, list[str]], dict[str, Given]]:
    """What is given as `search` takes it: person → photos, and person → (m, `dim`) vectors."""
    if name and not isinstance(references, str | Path):
        raise UsageError("--name names the person of a folder of --reference")
    people: Mapping[str, Any] = references if isinstance(references, Mapping) else {}
    if isinstance(references, str | Path):
        people = _folders(Path(references), name)
    photos, vectors = {}, {}
    for person, given in people.items():
        several: list[Any] = [given] if isinstance(given, str | os.PathLike) else list(given)
        if several and all(isinstance(one, str | os.PathLike) for one in several):
            photos[person] = listing(several).paths
        else:
            vectors[person] = _vectors(person, several, dim)
    return photos, vectors


def _vectors(person: str, values: Sequence[Any], dim: int) -> Given:
    try:
        made = np.atleast_2d(np.asarray(values, np.float32))
        lengths = np.linalg.norm(made, axis=-1, keepdims=True)
        if made.shape[1:] != (dim,) or not np.all(np.isfinite(lengths) & (lengths > 0)):
            raise ValueError
    except (TypeError, ValueError) as error:
        wanted = f"neither paths nor (m, {dim}) finite vectors, none of zeros"
        raise UsageError(f"references of {printable(person)}: {wanted}") from error
    return Given(made / lengths, [f"vector {i + 1}" for i in range(len(made))])


def _folders(place: Path, name: str | None) -> dict[str, list[str]]:
    """One person per folder in `place`, or one person's photos there, called `name` or as the folder is."""
    people: dict[str, list[str]] = defaultdict(list)
    root = Path(os.path.abspath(place))
    for path in listing([root]).paths:
        first, _, below = os.path.relpath(path, root).partition(os.sep)
        people[first if below else ""].append(path)
    if not people:
        raise UsageError(f"{printable(place)}: no pictures there")
    if "" in people and len(people) > 1:
        mend = "give one person's photos, or a folder for each person"
        raise UsageError(f"{printable(place)} holds photos and folders with photos", mend)
    if "" in people:
        people = {name or (root if root.is_dir() else root.parent).name: people[""]}
    if name and name not in people:
        raise UsageError(f"--name {printable(name)}: {printable(place)} holds no folder of that name")
    return {name: people[name]} if name else dict(people)


def check_space(what: str, stamp: Stamp | None, dim: int, searched: FaceTable) -> None:
    """Raise `SpaceMismatchError` unless vectors of that stamp and size can be compared with the table."""
    space = searched.stamp.space if searched.stamp else None
    if dim != searched.embeddings.shape[1] or (stamp.space if stamp else None) != space:
        raise SpaceMismatchError(
            f"{what}, {dim}-d, and the table ({table.describe(searched)}) are of different models, whose "
            "embeddings cannot be compared",
            "give photos as references, with the pack that made the table",
        )


def from_photos(
    people: Mapping[str, Sequence[str]], searched: FaceTable, pack: str, device: str | None, face: str
) -> dict[str, Given]:
    """The faces of reference photos, looked at with the options of the table. Of a photo with several, `face`
    says whose is taken: as `reference_face` of `search`."""
    if not pack:
        raise TableError("the table does not say which pack made it", "name it by --pack")
    chosen, models = choose_one(device)[0], packs.resolve(pack)
    options = dataclasses.replace(EmbedOptions.of(searched.stamp), faces="all")
    stamp = stamp_of(models, options)
    check_space(f"pack {models.name}", stamp if searched.stamp else None, stamp.dim, searched)
    paths = sorted({path for photos in people.values() for path in photos}, key=os.fsencode)
    seen, _ = look_at(
        paths,
        open_models(models, chosen),
        Setup("", options, stamp, trust.samples(paths)),
        plan_threads(None, [chosen]).count,
    )
    rows = defaultdict[str, list[int]](list)
    for row, path in enumerate(seen.face_paths()):
        rows[path].append(row)
    why = {}
    for path, outcome, reason in zip(seen.files.path, seen.files.outcome, seen.files.reason, strict=True):
        if not rows[path]:
            why[path] = reason or Outcome(outcome).label.replace("_", " ")
        elif len(rows[path]) > 1 and face == "only":
            why[path] = f"{len(rows[path])} faces: whose is it? (--reference-face)"
    given = {}
    for person, photos in people.items():
        used = {path: rows[path] for path in photos if path not in why}
        if face == "agreeing":
            used = _agreeing(used, seen.embeddings, sample(searched.embeddings))
        none = (
            f"several faces, of which no single one agrees with the other references of {printable(person)}"
        )
        unusable = [Reference(path, why.get(path, none)) for path in photos if path not in used]
        taken = [own[0] for own in used.values()]
        given[person] = Given(seen.embeddings[taken], list(used), unusable)
    return given


def _agreeing(photos: Mapping[str, list[int]], faces: Float32, some: Float32) -> dict[str, list[int]]:
    """Of each photo, path → rows of `faces`, the one face that is like the person of the other photos: like
    those that show one face alone or, where all show several, like a face of most others. Photos of which
    none is, or two are, are left out. `some` tells how alike strangers are."""
    alone = {path: own for path, own in photos.items() if len(own) == 1}
    group = [row for own in photos.values() for row in own]
    if len(alone) == len(photos) or not group:
        return dict(photos)
    limits = dict(zip(group, (c.threshold(UNLIKE) for c in crowds_of(some @ faces[group].T)), strict=True))

    def like(row: int, other: int) -> bool:
        return float(faces[row] @ faces[other]) >= (limits[row] + limits[other]) / 2

    def support(row: int, path: str) -> int:
        """In how many photos but `path` there is a face like it."""
        return sum(any(like(row, other) for other in own) for p, own in photos.items() if p != path)

    if not alone:
        most, path, row = max((support(row, p), p, row) for p, own in photos.items() for row in own)
        if not most:
            return {}
        alone = {path: [row]}
    persons = [row for own in alone.values() for row in own]
    mean = faces[persons].mean(axis=0)
    taken = {}
    for path, own in photos.items():
        nearest = sorted(alone.get(path, own), key=lambda row: -float(faces[row] @ mean))
        those = [row for row in nearest if path in alone or any(like(row, other) for other in persons)]
        if len(those) == 1:
            taken[path] = those
    return taken


def from_persons(names: Sequence[str], people: Path, searched: FaceTable) -> dict[str, Given]:
    """The faces that a result of `cluster` has in the folders `names`, by their rows in the table."""
    paths, given = searched.face_paths(), {}
    for name, own in rows_of(names, people, searched).items():
        some = own[np.unique(np.linspace(0, len(own) - 1, _MOST_ROWS).astype(int))]
        given[name] = Given(np.asarray(searched.embeddings[some]), [paths[row] for row in some])
    return given

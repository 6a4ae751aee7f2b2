"""Where the faces that `gender` judges come from: tables, pictures, or what tables hold of pictures."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_organizer import organize, table
from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.embed import run
from face_organizer.embed.picture import ExtractOptions
from face_organizer.embed.resume import Todo
from face_organizer.embed.worker import Progress
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable
from face_organizer.media.listing import Listing, listing
from face_organizer.networks import packs
from face_organizer.networks.devices import choose, choose_one
from face_organizer.types import FaceTable

_TABLE, _MOVED = "faces.pkl", "moved.pkl"


@dataclass(frozen=True, slots=True)
class Search:
    """How to find faces in pictures that no table holds; see the options of those names."""

    pack: str
    device: str | None
    workers: int | None
    faces: str
    detector: str | None = None


def read(paths: Sequence[Path]) -> FaceTable | None:
    """The faces of some tables, whatever embedded them, without their embeddings; None for no table.

    Raises `FaceOrganizerError` for tables that know of no face where it is.
    """
    if not paths:
        return None
    tables = [_bare(table.read(path)) for path in paths]
    for one, path in zip(tables, paths, strict=True):
        if len(one) and not np.isfinite(one.faces.landmarks).any():
            raise FaceOrganizerError(
                f"{printable(path)} does not tell where the faces are on their pictures (it is not of this "
                "program): embed them again, or give their folders with --input instead"
            )
    return table.merge(tables, [printable(path) for path in paths])


def listed(
    inputs: Sequence[str], exclude: Sequence[str], recursive: bool, output: Path
) -> tuple[Listing, list[str]]:
    """The pictures of `inputs`, those among them that an earlier run has moved into `output`.

    Raises `FaceOrganizerError` where there is none.
    """
    found = listing(inputs, recursive=recursive, exclude=exclude)
    roots = [os.path.join(os.path.abspath(name), "") for name in inputs]
    gone = [path for path in organize.moved(output) if path.startswith(tuple(roots))]
    if not found.paths and not gone:
        where = ", ".join(printable(name) for name in inputs)
        other = f" ({found.other:,} other files)" if found.other else ""
        raise FaceOrganizerError(f"no pictures in {where}{other}")
    return found, gone


def of_inputs(
    paths: Sequence[str],
    moved: Sequence[str],
    known: FaceTable | None,
    workplace: Path,
    search: Search,
    console: Console,
) -> FaceTable:
    """The faces of `paths` and of `moved`, which are no longer there.

    They come from `known`, else from an earlier run's table in `workplace`, else they are looked for now,
    which goes on after a kill where it stopped.
    """
    parts = [_part(known, {*paths, *moved})] if known else []
    told = {path for part in parts for path in part.files.path}
    parts += _moved(set(moved) - told, workplace)
    rest = [path for path in paths if path not in told]
    if rest:
        if known:
            console.say(f"{len(rest):,} of {len(paths):,} pictures are in no table and are looked at now")
        find = _by_deepface if search.detector else _found
        parts.append(_bare(find(rest, workplace, search, console)))
    return table.merge(parts, [""] * len(parts))


def _found(paths: Sequence[str], workplace: Path, search: Search, console: Console) -> FaceTable:
    devices, _ = choose(search.device)
    pack = packs.resolve(search.pack)
    lanes = run.plan_workers(search.workers, devices).count
    console.say(f"{len(paths):,} pictures; pack {pack.name} finds the faces ({pack.why})")
    with quiet_libraries(), console.progress(len(paths), "pictures") as bar:

        def on_plan(todo: Todo) -> None:
            bar.initial = bar.n = len(paths) - todo.pictures

        def on_progress(progress: Progress) -> None:
            bar.update(progress.pictures)

        made = run.embed(
            paths,
            workplace / _TABLE,
            pack=pack,
            devices=devices,
            lanes=lanes,
            options=ExtractOptions(faces=search.faces),
            again=run.Again(replace=True),
            on_plan=on_plan,
            on_progress=on_progress,
            warn=console.warn,
        )
    for note in made.report.notes:
        console.warn(note)
    return made.table


def _by_deepface(paths: Sequence[str], workplace: Path, search: Search, console: Console) -> FaceTable:
    from face_organizer.deepface import detector as detecting

    device, _ = choose_one(search.device)
    lanes = run.plan_workers(search.workers, [device]).count
    name = str(search.detector)
    console.say(f"{len(paths):,} pictures; DeepFace's detector {name} finds the faces")
    with quiet_libraries(), console.progress(len(paths), "pictures") as bar:
        every = search.faces == "all"
        return detecting.find(paths, name, device, workplace, lanes=lanes, every=every, on_files=bar.update)


def _moved(paths: set[str], workplace: Path) -> list[FaceTable]:
    """What earlier runs found on pictures that were moved since; kept, for no later run can look again."""
    if not paths:
        return []
    earlier = [
        _part(_bare(table.read(place)), paths)
        for place in (workplace / _MOVED, workplace / _TABLE)
        if place.exists()
    ]
    if not earlier:
        return []
    kept = table.merge(earlier, [""] * len(earlier))
    table.write(kept, workplace / _MOVED)
    return [kept]


def _bare(whole: FaceTable) -> FaceTable:
    """Without embeddings and stamp: whatever embedded a face, its place is its place."""
    return dataclasses.replace(whole, embeddings=np.empty((len(whole), 0), np.float32), stamp=None)


def _part(whole: FaceTable, paths: set[str]) -> FaceTable:
    return whole.take_files(np.array([path in paths for path in whole.files.path], np.bool_))

"""Forgetting a person who asks for it: faces out of tables, copies and reports out of folders, names out of
the library, where at most a template stays that keeps them out.

Tables and folders go first and the library, which knows whose faces these are, last: after a kill the same
call goes on.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from face_organizer import organize, table
from face_organizer.cluster.strangers import crowds_of, sample
from face_organizer.errors import UsageError
from face_organizer.files import is_inside, printable
from face_organizer.library.people import Library
from face_organizer.types import FaceTable, Float32, Int64, Outcome

__all__ = ["Forgotten", "forget"]

_REASON = "forgotten"
_FALSE_MATCHES = 2e-6
"""Share of other people's faces that a kept-out template may keep out too: that of a match in `search`."""


@dataclass
class Forgotten:
    """What is forgotten with a person, or would be: the person's `faces` on so many `pictures` (`shared` of
    them show others too); rows of `tables` by path; `files` that are removed, copies among them; `originals`;
    and what could not be reached (`missing`)."""

    name: str
    faces: int
    pictures: int
    shared: int
    tables: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    originals: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def forget(
    library: Library,
    person: str,
    tables: Iterable[str | Path] = (),
    outputs: Iterable[str | Path] = (),
    *,
    originals: bool = False,
    keep_out: bool = False,
    skip_missing: bool = False,
    dry_run: bool = False,
) -> Forgotten:
    """Remove all that is kept of a person, for good: no undo brings it back.

    Faces go out of the tables that the library was used with, and of `tables`, with their backups and
    unfinished work; a picture that shows nobody else stays known by its bytes, without a face, so that no
    later run looks at it again. Out of the output folders, and `outputs`, go the copies in the person's
    folder and all reports, sheets and pages, which the next run makes anew. In the library stays that
    somebody was forgotten, and when. `originals` removes also the pictures that show the person, wherever the
    library saw them, where their bytes are still the same. `keep_out` keeps one vector, by which later runs
    leave out faces of this person. `dry_run` tells and changes nothing.

    Raises `UsageError` for a person whom nobody knows, and, unless `skip_missing`, where a table or folder
    cannot be reached.
    """
    number = library.person(person)
    faces, contents = library.faces_of(number)
    on = Counter(content for content, _ in library.persons_on(contents))
    told = Forgotten(person, len(faces), len(contents), sum(n > 1 for n in on.values()))
    places = [Path(path) for path in {*map(os.path.abspath, tables), *library.used("table")}]
    folders = [Path(path) for path in {*map(os.path.abspath, outputs), *library.used("output")}]
    told.missing = sorted(str(path) for path in (*places, *folders) if not path.exists())
    if told.missing and not (skip_missing or dry_run):
        raise UsageError(
            f"{printable(told.missing[0])} cannot be reached, and may hold faces of {printable(person)}",
            "bring it back, or say --skip-missing where it is gone for good",
        )
    vectors: dict[str, list[Float32]] = {}
    samples: dict[str, list[Float32]] = {}
    for place in sorted(path for path in places if path.exists()):
        for one in _with_backups(place):
            _from_table(one, library, faces, told, vectors, samples, dry_run=dry_run)
        # What was measured on pictures holds tiny ones; the next face set measures those that are left.
        if str(place) in told.tables and (kept := table.figures_beside(place)).exists():
            told.files.append(str(kept))
            if not dry_run:
                kept.unlink()
    for folder in sorted(path for path in folders if path.is_dir()):
        _from_folder(folder, library, number, contents, told, dry_run=dry_run)
    if originals:
        told.originals = library.places_of(contents)
    if not dry_run:
        templates = (
            [_template(space, vectors[space], samples[space]) for space in vectors] if keep_out else []
        )
        for path in told.originals:
            Path(path).unlink(missing_ok=True)
        library.forget(number, faces, templates)
    return told


def _with_backups(place: Path) -> list[Path]:
    backup, work = (place.with_name(place.name + ending) for ending in (".bak", ".work"))
    shards = sorted(work.glob("shard-*.pkl")) if work.is_dir() else []
    return [place, *([backup] if backup.exists() else []), *shards]


def _from_table(
    place: Path,
    library: Library,
    faces: set[int],
    told: Forgotten,
    vectors: dict[str, list[Float32]],
    samples: dict[str, list[Float32]],
    *,
    dry_run: bool,
) -> None:
    held = table.read(place)
    rows = np.flatnonzero(np.isin(library.numbers(held), list(faces)))
    if not len(rows):
        return
    told.tables[str(place)] = len(rows)
    space = repr(held.stamp.space if held.stamp else None)
    vectors.setdefault(space, []).append(np.array(held.embeddings[rows]))
    samples.setdefault(space, []).append(sample(held.embeddings))
    if not dry_run:
        table.write(without(held, rows), place)


def without(held: FaceTable, rows: Int64) -> FaceTable:
    """`held` without some faces; a picture that has none left stays, and says that it was forgotten."""
    kept = np.ones(len(held), np.bool_)
    kept[rows] = False
    faces = held.faces.take(np.flatnonzero(kept))
    empty = np.setdiff1d(held.faces.file_index[rows], faces.file_index)
    outcome, reason = held.files.outcome.copy(), list(held.files.reason)
    outcome[empty] = Outcome.NO_FACE
    for file in empty.tolist():
        reason[file] = _REASON
    files = dataclasses.replace(held.files, outcome=outcome, reason=reason)
    return FaceTable(np.array(held.embeddings[kept]), faces, files, held.stamp, held.unnamed_files)


def _from_folder(
    folder: Path, library: Library, number: int, contents: Int64, told: Forgotten, *, dry_run: bool
) -> None:
    """Remove the person's copies, and every file in which the person may be seen or named."""
    journal = organize.read(folder)
    own = {name for name, one in journal.persons.items() if library.state.root(one) == number}
    known = library.contents_at([move.source for move in journal.moves])
    wanted = set(contents.tolist())
    left = []
    for move, content in zip(journal.moves, known, strict=True):
        is_theirs = move.folder.partition("/")[0] in own or (
            move.folder == organize.GONE and content in wanted
        )
        if move.mode == "move" or not (is_theirs and content in wanted):
            left.append(move)
        elif os.path.lexists(folder / move.target):
            told.files.append(str(folder / move.target))
    results = [str(folder / name) for name in journal.results if (folder / name).exists()]
    told.files += results
    if not dry_run:
        organize.forget(folder, left)
        for path in told.files:
            if is_inside(path, folder):
                Path(path).unlink(missing_ok=True)
        for name in own:
            for place in (folder / name / "review", folder / name):
                if place.is_dir() and not any(place.iterdir()):
                    place.rmdir()


def _template(
    space: str, vectors: Sequence[Float32], others: Sequence[Float32]
) -> tuple[str, float, Float32]:
    """The mean face in one space, and the cosine from which a face is taken for the person's."""
    mean = np.concatenate(vectors).mean(axis=0)
    center = np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)
    (crowd,) = crowds_of(np.concatenate(others) @ center[:, None])
    return space, crowd.threshold(_FALSE_MATCHES), center

"""`fo.gender`: find the faces or take them from tables, judge them, decide."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from face_organizer import organize
from face_organizer.cluster import People, former
from face_organizer.embed import plan_threads
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import MARKER, count, printable
from face_organizer.gender import faces as finding
from face_organizer.gender.genders import GENDERS, Genders, Used, decide, vote
from face_organizer.gender.journal import Journal
from face_organizer.gender.judging import look
from face_organizer.gender.models import GenderModel, open_model
from face_organizer.media.listing import listing
from face_organizer.networks import devices
from face_organizer.networks.devices import Device
from face_organizer.table import merge
from face_organizer.types import FaceTable

JOURNAL = "gender.jsonl"

Source = FaceTable | str | Path
OnProgress = Callable[[str, int, int], object]


def gender(
    source: Source | Sequence[str | Path] = (),
    *,
    tables: Sequence[Source] = (),
    gender: Literal["Woman", "Man"] = "Woman",
    model: str = "auto",
    min_confidence: float | None = None,
    faces: Literal["main", "any"] = "main",
    people: People | str | Path | None = None,
    attributes: bool = False,
    pack: str = "auto",
    detector: str | None = None,
    device: str | None = None,
    workers: int | None = None,
    recursive: bool = True,
    exclude: Sequence[str] = (),
    folder: str | Path | None = None,
    keep: bool = True,
    on_progress: OnProgress = lambda stage, done, total: None,
    warn: Callable[[str], object] = lambda text: None,
) -> Genders:
    """Ask a network whether faces look like women's or men's; which pictures are of a wanted `gender`.

    `source`: a face table, whose faces are judged; or folders and pictures, in which faces are looked for
    unless one of `tables` holds them. Tables may be named by their paths.

    `gender`: "Woman" or "Man", which pictures match. `faces`: whether the "main" face of a picture decides or
    "any" that surely matches. `min_confidence`: below it a face is unsure, 0.5 to 1 (default: the model's
    own). `people`: what `cluster` returned, or its output folder: all faces of a person vote together.
    `model`: "embedded", "insightface", "deepface", or "auto", the first that is installed.
    `attributes` asks for ages, and "deepface" for emotion and race too.

    `pack`, `recursive` and `exclude` are as for `embed`; `detector` looks for faces with one of DeepFace's
    instead of a pack's. `device`: "auto", "cpu", "0", "0,1" (default: the variable GPU_ID, else auto);
    `workers`: threads on each (default: by cores and free memory).

    `folder`: where the pictures are to go. Those of `source` that an earlier plan moved there count as if
    they were in their old place, and with `keep` all that is found and judged is kept there as it comes, so
    that the next call goes on from it. `on_progress` gets "find" or "judge", the pictures done so far and
    their number; `warn` gets what the user should know, in words.

    Raises `UsageError`, `FaceOrganizerError` where there are no pictures or `people` is of others,
    `ModelMissingError`, `PackError`, `DeviceError`, `TableError`.
    """
    known, inputs = list(tables), list[str | Path]()
    if isinstance(source, FaceTable):
        known.append(source)
    else:
        inputs += [source] if isinstance(source, str | Path) else source
    _check(inputs, known, gender, faces, min_confidence, detector)
    _check_apart(inputs, folder)
    chosen, why_devices = devices.choose(device)
    threads = plan_threads(workers, chosen).count
    with _kept(folder, keep) as place, _opened(model, chosen, attributes) as (models, why):
        # Pictures that an earlier plan has moved are looked at where they are now.
        moved = {} if folder is None else organize.moved(Path(folder))
        search = finding.Search(pack, detector, device, chosen, threads, faces == "any", place, warn)
        table, searched, problems = finding.merged(known), 0, list[str]()
        if inputs:
            paths, problems = _listed(inputs, recursive, exclude, moved)
            table, searched = _of(paths, table, moved, search, on_progress)
        _check_apart({os.path.dirname(path) for path in table.files.path}, folder)
        persons = [] if people is None else persons_of(people, table)
        total = table.outcome_counts()["faces"]
        with Journal(place / JOURNAL, {"model": models[0].identity, "attributes": attributes}) as journal:
            looked = look(
                table,
                models,
                journal,
                threads=threads * len(chosen),
                homes=moved,
                on_files=lambda done: on_progress("judge", done, total),
            )
    woman = vote(looked.judged.woman, persons) if persons else looked.judged.woman
    least = models[0].min_confidence if min_confidence is None else min_confidence
    pictures = decide(table, looked.failed, woman, gender, least, every=faces == "any")
    used = Used(
        model=models[0].name,
        why=why,
        description=models[0].description,
        licence=models[0].licence,
        identity=models[0].identity,
        devices=", ".join(map(str, chosen)),
        why_devices=why_devices,
        threads=threads,
        finder=search.name if searched else "",
        searched=searched,
        problems=problems,
        known=looked.known,
    )
    return Genders(table, looked.judged, woman, pictures, persons, gender, least, attributes, used)


def _check(
    inputs: Sequence[object],
    tables: Sequence[object],
    gender: str,
    faces: str,
    least: float | None,
    detector: str | None,
) -> None:
    if not inputs and not tables:
        raise UsageError("nothing to look at", "give --input, --embeddings, or both")
    if detector and tables:
        raise UsageError("a detector looks for faces itself", "leave out --embeddings, or --detector")
    if gender not in GENDERS or faces not in ("main", "any"):
        raise UsageError(f"gender is Woman or Man, faces main or any, not {gender!r} and {faces!r}")
    if least is not None and not 0.5 <= least <= 1:
        raise UsageError(f"a confidence is 0.5 to 1, not {least}")


def _check_apart(places: Iterable[str | Path], folder: str | Path | None) -> None:
    if folder is None:
        return
    output = os.path.realpath(folder)
    for place in places:
        if os.path.commonpath([output, os.path.realpath(place)]) == output:
            raise UsageError(f"{printable(place)} lies in the output folder", "give another --output")


@contextmanager
def _kept(folder: str | Path | None, keep: bool) -> Iterator[Path]:
    """Where tables and answers are kept between calls: with the journal of the folder, or nowhere."""
    if folder is not None and keep:
        yield Path(folder) / MARKER
        return
    with tempfile.TemporaryDirectory(prefix="face-organizer-") as place:
        yield Path(place)


@contextmanager
def _opened(name: str, chosen: Sequence[Device], attributes: bool) -> Iterator[tuple[list[GenderModel], str]]:
    """The model, once for each device, and why it."""
    with ExitStack() as stack:
        models = []
        for device in chosen:
            model, why = open_model(name, device, attributes=attributes)
            stack.callback(model.close)
            models.append(model)
        yield models, why


def _listed(
    inputs: Sequence[str | Path], recursive: bool, exclude: Sequence[str], moved: Iterable[str]
) -> tuple[list[str], list[str]]:
    """The pictures of `inputs`, those of them that were moved too, and the folders that cannot be listed."""
    found = listing(inputs, recursive=recursive, exclude=exclude)
    roots = tuple(os.path.join(os.path.abspath(name), "") for name in inputs)
    paths = [*found.paths, *(path for path in moved if path.startswith(roots))]
    if not paths:
        other = f" ({count(found.other, 'other file')})" if found.other else ""
        raise FaceOrganizerError(f"no pictures in {', '.join(map(printable, inputs))}{other}")
    return paths, list(found.problems)


def _of(
    paths: Sequence[str],
    known: FaceTable,
    moved: Mapping[str, str],
    search: finding.Search,
    on_progress: OnProgress,
) -> tuple[FaceTable, int]:
    """The table of `paths`: from the `known` one where it holds them, else looked at; and how many were."""
    listed = set(paths)
    known = known.take_files(np.array([path in listed for path in known.files.path], np.bool_))
    unknown = listed.difference(known.files.path)
    if not unknown:
        return known, 0
    now = {moved.get(path, path): path for path in unknown}
    found = search.find(sorted(now, key=os.fsencode), lambda done: on_progress("find", done, len(unknown)))
    files = dataclasses.replace(found.files, path=[now[path] for path in found.files.path])
    return merge([known, dataclasses.replace(found, files=files)], ["", ""]), len(unknown)


def persons_of(people: People | str | Path, table: FaceTable) -> list[str]:
    """(number of faces,) the person of each face of `table`, empty where none is named.

    Raises `FaceOrganizerError` where there is no such result, or none of these faces is in it.
    """
    past = former(people)
    faces = zip(past.paths, past.face_index.tolist(), past.labels.tolist(), strict=True)
    known = {(path, index): past.names[label] for path, index, label in faces if label >= 0}
    wanted = zip(table.face_paths(), table.faces.face_index.tolist(), strict=True)
    found = [known.get(face, "") for face in wanted]
    if found and not any(found):
        where = printable(people) if isinstance(people, str | Path) else "the clustering"
        raise FaceOrganizerError(f"{where} holds none of these faces: it is of other pictures")
    return found

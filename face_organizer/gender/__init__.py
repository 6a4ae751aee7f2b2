"""Whether the faces of a table look like women's or men's to a network, and which pictures match.

What a network says is an estimate of how a face looks to it, never of who someone is; each has its own errors
(docs/gender.md).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from face_organizer import organize
from face_organizer.cluster import People, persons_of
from face_organizer.embed import plan_threads
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import MARKER, is_inside, printable
from face_organizer.gender.faces import OnProgress, OnWarning, by_detector, by_pack, completed, merged
from face_organizer.gender.journal import Journal
from face_organizer.gender.judging import GenderModel, look
from face_organizer.gender.networks import open_model
from face_organizer.gender.verdicts import GENDERS, Genders, decide, vote
from face_organizer.media.listing import listing
from face_organizer.networks import devices
from face_organizer.types import FaceTable, Float32

__all__ = ["GenderModel", "Genders", "ages", "gender", "open_model"]

Source = FaceTable | str | Path


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
    warn: OnWarning = lambda text: None,
) -> Genders:
    """Ask a network whether faces look like women's or men's; which pictures are of a wanted `gender`.

    `source`: a face table, whose faces are judged; or folders and pictures, in which faces are looked for
    unless one of `tables` (or their paths) holds them.

    `gender`: "Woman" or "Man", which pictures match. `faces`: whether the "main" face of a picture decides or
    "any" that surely matches. `min_confidence`: below it a face is unsure, 0.5 to 1 (default: the model's
    own). `people`: what `cluster` returned, or its output folder: all faces of a person vote together.
    `model`: "embedded", "insightface", "deepface", or "auto", the first that is installed. `attributes` asks
    for ages, and "deepface" for emotion and race too.

    `pack`, `device`, `workers`, `recursive` and `exclude` are as for `embed`; `detector` looks for faces with
    one of DeepFace's instead of a pack's. `folder`: where the pictures are to go. Those of `source` that an
    earlier plan moved there count as if they were in their old place, and with `keep` all that is found and
    judged is kept there as it comes, so that the next call goes on from it. `on_progress` gets "find" or
    "judge", the pictures done so far and their number; `warn` gets what the user should know, in words.

    Raises `UsageError`, `FaceOrganizerError` where there are no pictures or `people` is of others,
    `ModelMissingError`, `PackError`, `DeviceError`, `TableError`.
    """
    sources = [source] if isinstance(source, Source) else source
    known = [*tables, *(one for one in sources if isinstance(one, FaceTable))]
    inputs = [one for one in sources if not isinstance(one, FaceTable)]
    if not inputs and not known:
        raise UsageError("nothing to look at", "give --input, --embeddings, or both")
    if detector and known:
        raise UsageError("a detector looks for faces itself", "leave out --embeddings, or --detector")
    if gender not in GENDERS or faces not in ("main", "any"):
        raise UsageError(f"gender is Woman or Man, faces main or any, not {gender!r} and {faces!r}")
    if min_confidence is not None and not 0.5 <= min_confidence <= 1:
        raise UsageError(f"a confidence is 0.5 to 1, not {min_confidence}")
    _check_apart(inputs, folder)
    chosen, why_devices = devices.choose(device)
    threads = plan_threads(workers, chosen).count
    with ExitStack() as stack:
        where = folder if keep else None
        place = Path(where or stack.enter_context(tempfile.TemporaryDirectory()), MARKER)
        opened = (open_model(model, one, attributes=attributes) for one in chosen)
        models = [stack.enter_context(closing(one)) for one in opened]
        # Pictures that an earlier plan has moved are looked at where they are now.
        moved = {} if folder is None else organize.moved(Path(folder))
        table, used = merged(known), dict[str, Any](problems=[], searched=0)
        if inputs:
            homes, used["problems"] = _listed(inputs, recursive, exclude, moved)
            if detector:
                find = partial(by_detector, name=detector, device=chosen[0], threads=threads)
            else:
                find = partial(by_pack, pack=pack, device=device, workers=threads, warn=warn)
            find = partial(find, place=place, faces="all" if faces == "any" else "largest", tell=on_progress)
            table, found = completed(table, homes, find)
            used |= {"searched": len(found.files), "finder": found.stamp.pack if found.stamp else detector}
        _check_apart({os.path.dirname(path) for path in table.files.path}, folder)
        persons, later = ([], 0) if people is None else persons_of(people, table)
        stamp = {"model": models[0].identity, "attributes": attributes}
        with Journal(place / "gender.jsonl", stamp) as journal:
            looked = look(table, models, journal, threads * len(chosen), moved, on_progress)
    woman = vote(looked.judged.woman, persons) if persons else looked.judged.woman
    least = models[0].min_confidence if min_confidence is None else min_confidence
    pictures = decide(table, looked.failed, woman, gender, least, every=faces == "any")
    used |= {name: getattr(models[0], name) for name in ("description", "licence", "identity")}
    used |= {"devices": ", ".join(map(str, chosen)), "why_devices": why_devices, "threads": threads}
    used |= {"model": models[0].name, "known": looked.known, "later": later}
    return Genders(table, looked.judged, woman, pictures, persons, gender, least, attributes, used)


def ages(table: FaceTable, device: str | None = None) -> Float32:
    """The age in years (n,) that the first network that is installed estimates for each face; NaN where a
    picture cannot be read. Raises `ModelMissingError`, `DeviceError`."""
    chosen, _ = devices.choose(device)
    with closing(open_model("auto", chosen[0], attributes=True)) as model:
        judged = look(table, [model], {}, plan_threads(None, chosen[:1]).count).judged
    return np.asarray(judged.age, np.float32)


def _check_apart(places: Iterable[str | Path], folder: str | Path | None) -> None:
    for place in places:
        if folder and is_inside(place, folder):
            raise UsageError(f"{printable(place)} lies in the output folder", "give another --output")


def _listed(
    inputs: Sequence[str | Path], recursive: bool, exclude: Sequence[str], moved: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The pictures of `inputs`, those of them that were moved too, and where they lie now; and the folders
    that cannot be listed."""
    found = listing(inputs, recursive=recursive, exclude=exclude)
    roots = tuple(os.path.join(os.path.abspath(name), "") for name in inputs)
    homes = {path: path for path in found.paths}
    homes |= {path: now for path, now in moved.items() if path.startswith(roots)}
    if not homes:
        raise FaceOrganizerError(f"no pictures in {', '.join(map(printable, inputs))}")
    return homes, list(found.problems)

"""People: what `cluster` returns, and how it lies on disk.

Programs read `cluster_assignments.pkl`, people the manifest; both have one row per face.
"""

from __future__ import annotations

import difflib
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from face_organizer import table as tables
from face_organizer.cluster import result
from face_organizer.cluster.faiss_device import faiss
from face_organizer.cluster.known_number import Advice
from face_organizer.cluster.labels import NO_FACE, UNASSIGNED, Clustering
from face_organizer.cluster.portraits import REVIEW, Portraits
from face_organizer.cluster.result import PICKLE, Former, Kept
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import atomic_write, printable, write_csv, write_json
from face_organizer.library.people import Library
from face_organizer.organize import Placed, View
from face_organizer.types import FaceTable, Float32, Int64, Outcome

CSV, JSON = "manifest.csv", "manifest.json"
FILES = (PICKLE, CSV, JSON)
COLUMNS = ("source", "face_index", "person", "similarity", "margin", "review", "nearness", "reason", "placed")
_MANY, _BLOCK = 2048, 65_536
_SAMPLE, _SEED = 1000, 1234  # faces of nobody whose nearest person is kept, for `evaluate`
_WORTH = 10  # faces for review: from there on a lower threshold is told of


class Lower(NamedTuple):
    """A threshold, and how many faces of nobody are that near to a person."""

    threshold: float
    faces: int


@dataclass(frozen=True, eq=False)
class People(Portraits):
    """The n faces of a table by person, the one with the most faces first.

    `labels` (n,) int64, -1 for a face of nobody; `centers` (k, d) float32 of unit length; `similarity` (n,)
    float32, the cosine of each face to its person's center; `table`; `names` of the k persons; `margin` (n,)
    float32, see `margins`.
    """

    reasons: Sequence[str]
    """(n): why each face is where it is."""
    advice: Advice | None = None
    """Whether another number of people would fit better; None where no number was asked for."""
    kept: Kept | None = None
    """What stayed of the persons before; None where none were told of."""
    person_ids: Sequence[int | None] = ()
    """(k): the id of the person before that each one is; None for somebody new."""
    nearness: Float32 | None = None
    """(n,): how alike a face of nobody is to the nearest person, to be held against `threshold`; else NaN."""
    device: str = "cpu"
    """Where the faces were compared: "cpu" or the number of a GPU."""
    device_why: str = ""

    def __post_init__(self) -> None:
        persons = len(self.centers)
        if len(self.names) != persons or len(set(self.names)) != persons or UNASSIGNED in self.names:
            raise ValueError(f"{persons} persons want as many different names: {self.names!r}")

    @cached_property
    def paths(self) -> list[str]:
        """(n): the path of each face's picture."""
        return self.table.face_paths()

    @cached_property
    def folders(self) -> list[str]:
        """(n): the folder of each face's picture: the person's name, NAME/review, or `unassigned`."""
        maybe = {i: f"{name}/{REVIEW}" for i, name in self.maybe.items()}
        return [maybe.get(i, name) for i, name in enumerate(self.persons)]

    @cached_property
    def persons(self) -> list[str]:
        """(n): the name of each face's person, or `unassigned`."""
        names = [*self.names, UNASSIGNED]
        return [names[label] for label in self.labels]

    @property
    def more(self) -> tuple[Float32, Float32, Int64]:
        """The columns of `Former` by which faces are shown."""
        nearest, nobody = np.full(len(self.labels), -1, np.int64), np.flatnonzero(self.labels < 0)
        if len(nobody) and self.names:
            some = np.random.default_rng(_SEED).choice(nobody, min(_SAMPLE, len(nobody)), replace=False)
            nearest[some] = self.nearest(some)
        faces = self.table.faces
        return np.asarray(faces.landmarks, np.float32), np.asarray(faces.time, np.float32), nearest

    @cached_property
    def maybe(self) -> dict[int, str]:
        """The name of the person that each face for review may be."""
        return {i: self.names[person] for i, person in enumerate(self.review) if person >= 0}

    def rows(self, placed: Placed | None = None, *, quality: bool = False) -> Iterator[dict[str, Any]]:
        """One dict per face, keys `COLUMNS`, and with `quality` those of `table.QUALITY`; `placed` maps
        (source, folder) to the path below the output."""
        if quality:
            both = zip(self.rows(placed), tables.quality(self.table.faces), strict=True)
            yield from (row | more for row, more in both)
            return
        places = placed or {}
        near = np.full(len(self.labels), np.nan) if self.nearness is None else self.nearness
        for i, (path, index, person, similarity, margin, nearness, reason, folder) in enumerate(
            zip(
                self.paths,
                self.table.faces.face_index.tolist(),
                self.persons,
                self.similarity.tolist(),
                self.margin.tolist(),
                near.tolist(),
                self.reasons,
                self.folders,
                strict=True,
            )
        ):
            how_near = round(nearness, 6) if math.isfinite(nearness) else None
            values = (round(similarity, 6), round(margin, 6), self.maybe.get(i, ""), how_near, reason)
            placed_at = places.get((path, folder), "")
            yield dict(zip(COLUMNS, (path, index, person, *values, placed_at), strict=True))

    def write(self, folder: str | Path, placed: Placed | None = None, *, quality: bool = False) -> None:
        """Write `cluster_assignments.pkl`, `manifest.csv` and `manifest.json` into `folder`.

        The pickle is a dict of `labels` (n,) int64, `image_paths` list of n paths, `cluster_centers` (k, d)
        float32, and beside these of the original `face_index` (n,) int32, `similarity` (n,) float32 and
        `persons`, k names, and for `evaluate` `landmarks`, `time` and `nearest`. `placed` and `quality`
        are as for `rows`.
        """
        place = Path(folder)
        document = {
            "labels": self.labels,
            "image_paths": self.paths,
            "cluster_centers": np.asarray(self.centers),
            "face_index": np.asarray(self.table.faces.face_index),
            "similarity": np.asarray(self.similarity),
            "persons": list(self.names),
            **dict(zip(("landmarks", "time", "nearest"), self.more, strict=True)),
        }
        with atomic_write(place / PICKLE) as file:
            pickle.dump(document, file, protocol=tables.PICKLE_PROTOCOL)
        columns = (*COLUMNS, *(tables.QUALITY if quality else ()))
        write_csv(place / CSV, columns, self.rows(placed, quality=quality))
        write_json(place / JSON, {"persons": list(self.names)}, faces=self.rows(placed, quality=quality))

    def lower(self) -> Lower | None:
        """What a lower threshold would bring in, where many faces are for review; None where few are."""
        if self.nearness is None or len(self.maybe) < _WORTH:
            return None
        likely = np.sort(self.nearness[list(self.maybe)])
        at = math.floor(100 * float(likely[len(likely) // 4])) / 100
        return Lower(at, int((self.nearness >= at).sum())) if at < self.threshold else None

    def entries(self) -> list[tuple[str, str]]:
        """Picture and folder of all that get one. A photo that surely shows somebody is nowhere else, and one
        for review not in `unassigned`; where somebody hidden is all that it surely shows, it is in none."""
        everywhere = {(p, f): _doubt(f) for p, f in zip(self.paths, self.folders, strict=True)}
        least: dict[str, int] = {}
        for (path, _), doubt in everywhere.items():
            least[path] = min(doubt, least.get(path, doubt))
        nowhere = {self.names[i] for i in self.hidden}
        wanted = (entry for entry, doubt in everywhere.items() if doubt == least[entry[0]])
        return [entry for entry in wanted if entry[1] not in nowhere]

    def view(
        self,
        sheets: int = 100,
        library: Library | None = None,
        *,
        no_face: bool = False,
        quality: bool = False,
    ) -> View:
        """A folder per person, one in it for review, the three files of `write`, and for the `sheets` largest
        persons a contact sheet, with a page that shows all (0: neither). `library` takes down who is
        where. `no_face`: pictures without a usable face go to the folder of that name; `quality` as for
        `rows`."""
        entries, files = self.entries(), self.table.files
        if no_face:
            without = np.isin(files.outcome, (Outcome.NO_FACE, Outcome.TOO_SMALL))
            entries += [(files.path[i], NO_FACE) for i in np.flatnonzero(without).tolist()]
        drawings = self.drawings(sheets)

        def write_all(folder: Path, placed: Placed, on_step: Callable[[], object]) -> None:
            self.write(folder, placed, quality=quality)
            if sheets:
                self.draw(folder, placed, sheets, on_step)

        def remember() -> tuple[str, Mapping[str, int]]:
            if library is None:
                return "", {}
            return library.uuid, library.remember(self.table, self.labels, self.names, self.person_ids)

        return View(entries, [*FILES, *drawings], write_all, max(len(drawings) - 1, 0), remember)


def _doubt(folder: str) -> int:
    """0 for a person's folder, 1 for one in it, 2 for nobody's."""
    return 2 if folder == UNASSIGNED else int("/" in folder)


def former(given: People | str | Path) -> Former:
    """`given`, or the result that lies in that folder, as a former one. Raises `FaceOrganizerError`."""
    if not isinstance(given, People):
        return result.read(Path(given))
    index = np.asarray(given.table.faces.face_index, np.int64)
    return Former(given.paths, index, given.labels, given.names, given.centers, *given.more)


def persons_of(people: People | str | Path, table: FaceTable) -> tuple[list[str], int]:
    """(number of faces,) the person of each face of `table`, empty where none is named; and how many faces
    the result does not hold, since their pictures came later. Raises `FaceOrganizerError` where there is no
    such result, or none of these faces is in it."""
    past = former(people)
    labels, rows = past.labels.tolist(), past.rows()
    faces = zip(table.face_paths(), table.faces.face_index.tolist(), strict=True)
    at = [rows.get(face, -1) for face in faces]
    if at and max(at) < 0:
        where = printable(people) if isinstance(people, str | Path) else "the clustering"
        raise FaceOrganizerError(f"{where} holds none of these faces: it is of other pictures")
    found = [past.names[labels[row]] if row >= 0 and labels[row] >= 0 else "" for row in at]
    return found, at.count(-1)


def rows_of(names: Sequence[str], people: People | str | Path, table: FaceTable) -> dict[str, Int64]:
    """The rows of `table` that each of the persons `names` has in a result. Raises `UsageError` for a name
    that is not there, `FaceOrganizerError` for one of whom no face is in the table."""
    known = former(people).names
    if strange := [name for name in names if name not in known]:
        near = difflib.get_close_matches(strange[0], known, 3, 0.5) or known[:5]
        where = printable(people) if isinstance(people, str | Path) else "the clustering"
        mend = f"it has {', '.join(map(printable, near))}"
        raise UsageError(f"{printable(strange[0])}: {where} has no person of that name", mend)
    persons = np.array(persons_of(people, table)[0])
    rows = {name: np.flatnonzero(persons == name) for name in names}
    if empty := [name for name, own in rows.items() if not len(own)]:
        raise FaceOrganizerError(f"no face of {printable(empty[0])} is in the table: is it another one?")
    return rows


def margins(embeddings: Float32, clustering: Clustering) -> Float32:
    """(n,) float32: the cosine of each face to its own center less that to the nearest other one, in [-2, 2].

    Larger is surer; below 0 the face is nearer to somebody else. With one person the other cosine is 0, and
    so is the margin of a face in no cluster. Among more than `_MANY` centers the other one is looked for in a
    graph (HNSW, Malkov & Yashunin 2016), which misses it now and then and then overstates the margin.
    """
    labels, centers = clustering.labels, clustering.centers
    out = np.zeros(len(labels), np.float32)
    members = np.flatnonzero(labels >= 0)
    if len(centers) == 1:
        out[members] = clustering.similarity[members]
    elif len(centers):
        if len(centers) > _MANY:
            index = faiss().IndexHNSWFlat(centers.shape[1], 32, faiss().METRIC_INNER_PRODUCT)
        else:
            index = faiss().IndexFlatIP(centers.shape[1])
        index.add(np.ascontiguousarray(centers))
        for at in range(0, len(members), _BLOCK):
            block = members[at : at + _BLOCK]
            cosines, nearest = index.search(np.ascontiguousarray(embeddings[block]), 2)
            own = nearest[:, 0] == labels[block]
            out[block] = clustering.similarity[block] - np.where(own, cosines[:, 1], cosines[:, 0])
    return out

"""Which faces show a person best, as a contact sheet per person and on the page of all."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np

from face_organizer.cluster import page
from face_organizer.cluster.constraints import copy_cosine
from face_organizer.cluster.doubt import Outsider, Suggestion
from face_organizer.cluster.labels import UNASSIGNED, Clustering
from face_organizer.cluster.page import Card, Face, Question
from face_organizer.cluster.threshold import Strangers
from face_organizer.files import count, printable
from face_organizer.organize import Placed
from face_organizer.previews.sheets import Section, contact_sheet
from face_organizer.previews.thumbnails import Tile, seconds, thumbnails, tile
from face_organizer.types import FaceTable, Float32, Image, Int64

PAGE, REVIEW = "index.html", "review"
_TYPICAL, _UNSURE, _SPREAD, _REVIEW = 16, 8, 16, 16  # faces under each heading of a contact sheet
_ALL, _TOP, _LAST = 12, 8, 2  # on the page: all faces of a person, or so many, of them the least certain ones
_QUESTIONS, _ASIDE = 6, 4  # that the page begins with: what may be wrong, and persons with faces for review
_COPY = 0.95  # faces that alike are near-copies, whatever the table
_BLOCK = 65_536
_TITLES = (
    "Most typical",
    "Least certain",
    "Across the pictures",
    "For review: may be the same person",
)


@dataclass(frozen=True, eq=False)
class Portraits(Clustering):
    """The faces of a clustering to look at."""

    table: FaceTable
    names: Sequence[str]
    """Of the k persons."""
    margin: Float32
    """(n,): see `margins`; larger is surer."""
    review: Sequence[int] = field(default=(), kw_only=True)
    """(n): the person, by number, that a face of nobody may be, or -1; empty where nobody asked."""
    hidden: frozenset[int] = field(default=frozenset(), kw_only=True)
    """Persons, by number, that get no folder and are not shown."""
    threshold: float = field(default=math.nan, kw_only=True)
    """The cosine from which two faces are one person."""
    strangers: Strangers | None = field(default=None, kw_only=True)
    """How alike faces of different people are in this table."""
    suggestions: Sequence[Suggestion] = field(default=(), kw_only=True)
    """Persons that may be one, the likeliest first."""
    outsiders: Sequence[Outsider] = field(default=(), kw_only=True)
    """Members that may not be their person, the least like the others first."""

    def questions(self, most: int) -> list[Suggestion | Outsider]:
        """The `most` questions whose answers help most, in turn of persons that may be one and of faces that
        may not be theirs."""
        turns = zip_longest(self.suggestions[:most], self.outsiders[:most])
        return [one for pair in turns for one in pair if one is not None][:most]

    def in_words(self, one: Suggestion | Outsider) -> str:
        """One of the questions as a sentence."""
        name = self.names[one.person]
        if isinstance(one, Outsider):
            return f"{self._name(one.face)} may not be {name}: {one.similarity:.2f}"
        return f"{name} may be {self.names[one.other]}: {one.likeness:.2f}"

    def nearest(self, rows: Int64) -> Int64:
        """The person, by number, that each of `rows` (r,) is most like, (r,); there must be one."""
        return np.asarray((self.table.embeddings[rows] @ self.centers.T).argmax(axis=1), np.int64)

    @cached_property
    def cards(self) -> list[Card]:
        """The persons that are shown, the largest person first, what belongs to nobody last."""
        order = np.argsort(self.labels, kind="stable")
        starts = np.searchsorted(self.labels[order], np.arange(-1, len(self.names) + 1))
        nobody, *persons = np.split(order, starts[1:-1])
        shown = [*zip(self.names, persons, strict=True)]
        shown = [card for i, card in enumerate(shown) if i not in self.hidden]
        return [Card(name, rows) for name, rows in [*shown, (UNASSIGNED, nobody)] if len(rows)]

    def drawings(self, most: int) -> list[str]:
        """What `draw` makes: a contact sheet for each of the `most` largest persons, and the page."""
        return [*(f"{card.name}.jpg" for card in self.cards[:most]), *([PAGE] if most else [])]

    def draw(
        self, folder: Path, placed: Placed, most: int, on_person: Callable[[], object] = lambda: None
    ) -> None:
        """Make the contact sheets and the page in `folder`; only faces that are shown are decoded.

        `placed` maps (source, folder) to the path in the output, where the pictures are read from.
        """
        cards = []
        for card in self.cards[:most]:
            chosen = self.chosen(card.rows)
            review = dict.fromkeys(self._aside(card.name, placed)[:_REVIEW], 1)
            tiles = [
                [self._tile(row, folder, placed, copies) for row, copies in some.items()]
                for some in (*chosen, review)
            ]
            pictures = thumbnails([tile for some in tiles for tile in some])
            sections = [
                Section(title, [*islice(pictures, len(some))], [t.caption for t in some])
                for title, some in zip(_TITLES, tiles, strict=True)
            ]
            facts = page.facts(self.table, self, card.rows)
            contact_sheet(folder / f"{card.name}.jpg", card.name, facts, [s for s in sections if s.pictures])
            typical, unsure, spread = (
                [
                    self._face(row, placed, picture, copies)
                    for (row, copies), picture in zip(some.items(), section.pictures, strict=True)
                ]
                for some, section in zip(chosen, sections, strict=False)
            )
            if card.name != UNASSIGNED:
                unsure = [replace(one, mark="least sure") for one in unsure]
            last, everything = unsure[:_LAST], [*typical, *spread, *unsure]
            few = [*typical[: _TOP - len(last)], *last]
            cards.append(replace(card, faces=everything if len(everything) <= _ALL else few))
            on_person()
        cards, asked = [*cards, *self.cards[most:]], [*self._questions(folder, placed)]
        page.write(folder / PAGE, self.table, self, cards, asked, self.threshold)

    def _questions(self, folder: Path, placed: Placed) -> Iterator[Question]:
        """What to look at first, in words and with a face or two."""
        asked: list[tuple[str, list[int]]] = []
        for one in self.questions(_QUESTIONS):
            best = self._best(one.person)
            both = [one.face, best] if isinstance(one, Outsider) else [best, self._best(one.other)]
            asked.append((self.in_words(one), both))
        for person, _ in Counter(p for p in self.review if p >= 0).most_common(_ASIDE):
            name = self.names[person]
            if rows := self._aside(name, placed):
                words = f"{count(len(rows), 'face')} may be {name}: see {name}/{REVIEW}"
                asked.append((words, [rows[0], self._best(person)]))
        pictures = thumbnails([self._tile(row, folder, placed) for _, rows in asked for row in rows])
        for words, rows in asked:
            yield Question(printable(words), [self._face(row, placed, next(pictures)) for row in rows])

    def _best(self, person: int) -> int:
        rows = np.flatnonzero(self.labels == person)
        return int(rows[self.similarity[rows].argmax()])

    def chosen(self, rows: Int64) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """Of a person's rows (ascending, so by path): the most typical ones, in turn from each folder; of the
        rest the least certain; and of the rest some from the first to the last. Near-copies are shown once:
        for each row, how many faces it stands for."""
        best_first = rows[np.argsort(-self.similarity[rows], kind="stable")]
        typical, rest = self._distinct(rows, self._in_turn(best_first), _TYPICAL)
        unsure, rest = self._distinct(rest, rest[np.argsort(self.margin[rest], kind="stable")], _UNSURE)
        spread = rest[np.unique(np.linspace(0, len(rest) - 1, min(_SPREAD, len(rest))).astype(np.int64))]
        return typical, unsure, self._distinct(rest, spread, _SPREAD)[0]

    def _distinct(self, rows: Int64, order: Int64, most: int) -> tuple[dict[int, int], Int64]:
        """The first `most` of `order` that are no near-copies of one another, and of how many of `rows` each
        is one; and the rows that are left."""
        vectors, picked = self.table.embeddings, list[int]()
        least = _COPY if self.strangers is None else min(copy_cosine(self.strangers), _COPY)
        for row in order.tolist():
            if len(picked) < most and (vectors[picked] @ vectors[row] < least).all():
                picked.append(row)
        copied = np.full(len(rows), -1, np.int64)
        for at in range(0, len(rows) if picked else 0, _BLOCK):
            cosines = vectors[rows[at : at + _BLOCK]] @ vectors[picked].T
            copied[at : at + _BLOCK] = np.where(cosines.max(axis=1) < least, -1, cosines.argmax(axis=1))
        counts = np.bincount(copied[copied >= 0], minlength=len(picked)).tolist()
        return dict(zip(picked, counts, strict=True)), rows[copied < 0]

    def _source(self, row: int) -> str:
        return str(self.table.files.path[self.table.faces.file_index[row]])

    def _aside(self, name: str, placed: Placed) -> list[int]:
        """The rows for review of a person whose pictures lie in that folder, the nearest first."""
        person = self.names.index(name) if name in self.names else len(self.names)
        rows = np.flatnonzero(np.asarray(self.review) == person)
        order = rows[np.argsort(-self.similarity[rows], kind="stable")].tolist()
        return [row for row in order if (self._source(row), f"{name}/{REVIEW}") in placed]

    def _in_turn(self, best_first: Int64) -> Int64:
        by_folder: dict[str, list[int]] = defaultdict(list)
        path, file_index = self.table.files.path, self.table.faces.file_index
        for row in best_first[: 200 * _TYPICAL].tolist():
            by_folder[os.path.dirname(path[file_index[row]])].append(row)
        turns = zip_longest(*by_folder.values(), fillvalue=-1)
        return np.array([row for turn in turns for row in turn if row >= 0], np.int64)

    def _folder(self, row: int) -> str:
        """Where the picture of a face goes, if nobody surer is on it."""
        if self.labels[row] >= 0:
            return self.names[int(self.labels[row])]
        maybe = self.review[row] if len(self.review) else -1
        return f"{self.names[maybe]}/{REVIEW}" if maybe >= 0 else UNASSIGNED

    def _place(self, row: int, placed: Placed) -> str:
        """Where the picture of a face lies now: below the output, or absolute where it was put nowhere."""
        index, source = self.table.faces.file_index, self._source(row)
        beside = range(*np.searchsorted(index, index[row] + np.arange(2)).tolist())
        folders = (self._folder(other) for other in (row, *beside))
        return next((placed[source, name] for name in folders if (source, name) in placed), source)

    def _caption(self, row: int, copies: int) -> str:
        """How near, to whom where that is not said, and for how many faces; below it the picture's name."""
        near = ""
        if self.labels[row] < 0 and self.names:
            near = f" to {self.names[self.nearest(np.array([row]))[0]]}"
        words = f"{self.similarity[row]:.2f}{near}{f' x{copies}' if copies > 1 else ''}"
        return f"{printable(words)}\n{printable(self._name(row))}"

    def _name(self, row: int) -> str:
        return os.path.basename(self._source(row)) + seconds(float(self.table.faces.time[row]))

    def _tile(self, row: int, folder: Path, placed: Placed, copies: int = 1) -> Tile:
        return tile(self.table, row, str(folder / self._place(row, placed)), self._caption(row, copies))

    def _face(self, row: int, placed: Placed, picture: Image, copies: int = 1) -> Face:
        """A face on the page, from its thumbnail."""
        faces, files = self.table.faces, self.table.files
        size = np.array([files.width[faces.file_index[row]], files.height[faces.file_index[row]]])
        box = 100 * faces.box[row].reshape(2, 2) / np.maximum(size, 1)
        known = size.all() and np.isfinite(box).all()
        corners = (*box[0], *(box[1] - box[0])) if known else ()
        caption = " · ".join(self._caption(row, copies).split("\n")[::-1])
        where, time = self._place(row, placed), float(faces.time[row])
        return Face(picture, where, time, caption, [round(float(x), 2) for x in corners], copies)

"""Which faces show a person best, as a contact sheet per person and on the page of all."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from face_organizer.cluster import page
from face_organizer.cluster.labels import UNASSIGNED, Clustering, copies_of
from face_organizer.cluster.page import Card
from face_organizer.organize import Placed
from face_organizer.previews.sheets import Section, contact_sheet
from face_organizer.previews.thumbnails import Tile, thumbnails
from face_organizer.types import FaceTable, Float32, Int64

PAGE, REVIEW = "index.html", "review"
_TYPICAL, _UNSURE, _SPREAD, _REVIEW = 16, 8, 16, 16  # faces under each heading of a contact sheet
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
            tiles = [
                [self._tile(int(row), card.name, folder, placed) for row in rows]
                for rows in self.chosen(card.rows)
            ]
            where = f"{card.name}/{REVIEW}"
            doubtful = [row for row in self.doubtful(card.name) if (self._source(row), where) in placed]
            tiles.append([self._tile(row, where, folder, placed) for row in doubtful[:_REVIEW]])
            pictures = thumbnails([tile for some in tiles for tile in some])
            sections = [
                Section(title if some else "", [*islice(pictures, len(some))], [t.caption for t in some])
                for title, some in zip(_TITLES, tiles, strict=True)
            ]
            facts = page.facts(self.table, self, card.rows)
            contact_sheet(folder / f"{card.name}.jpg", card.name, facts, sections)
            cards.append(replace(card, typical=sections[0].pictures[:6], unsure=sections[1].pictures[:2]))
            on_person()
        page.write(folder / PAGE, self.table, self, [*cards, *self.cards[most:]])

    def chosen(self, rows: Int64) -> tuple[Int64, Int64, Int64]:
        """Of a person's rows (ascending, so by path): the most typical ones, in turn from each folder; of the
        rest the least certain; and of the rest some from the first to the last. Copies are shown once."""
        rows = rows[np.sort(np.unique(self._copies[rows], return_index=True)[1])]
        typical = self._in_turn(rows[np.argsort(-self.similarity[rows], kind="stable")])
        rest = np.setdiff1d(rows, typical)
        unsure = rest[np.argsort(self.margin[rest], kind="stable")][:_UNSURE]
        rest = np.setdiff1d(rest, unsure)
        spread = rest[np.unique(np.linspace(0, len(rest) - 1, min(_SPREAD, len(rest))).astype(np.int64))]
        return typical, unsure, spread

    @cached_property
    def _copies(self) -> Int64:
        return copies_of(self.table)

    def doubtful(self, name: str) -> list[int]:
        """The rows for review of a person, the nearest first."""
        person = self.names.index(name) if name in self.names else len(self.names)
        rows = np.flatnonzero(np.asarray(self.review) == person)
        return [int(row) for row in rows[np.argsort(-self.similarity[rows], kind="stable")]]

    def _source(self, row: int) -> str:
        return str(self.table.files.path[self.table.faces.file_index[row]])

    def _in_turn(self, best_first: Int64) -> Int64:
        by_folder: dict[str, list[int]] = defaultdict(list)
        path, file_index = self.table.files.path, self.table.faces.file_index
        for row in best_first[: 200 * _TYPICAL].tolist():
            by_folder[os.path.dirname(path[file_index[row]])].append(row)
        turns = range(_TYPICAL)
        chosen = [rows[turn] for turn in turns for rows in by_folder.values() if turn < len(rows)]
        return np.array(chosen[:_TYPICAL], np.int64)

    def _tile(self, row: int, name: str, folder: Path, placed: Placed) -> Tile:
        faces, source = self.table.faces, self._source(row)
        path = placed.get((source, name))
        caption = f"{self.similarity[row]:.2f}  {os.path.basename(source)}"
        where = str(folder / path) if path else source
        return Tile(where, faces.landmarks[row], caption, float(faces.time[row]))

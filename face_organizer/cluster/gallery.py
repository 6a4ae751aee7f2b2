"""Pictures to look at: which faces show a person best, as contact sheets and on the overview page."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face_organizer.cluster import page, result
from face_organizer.cluster.result import UNASSIGNED, Sorting
from face_organizer.organize import Placed, View
from face_organizer.previews.sheets import Section, contact_sheet
from face_organizer.previews.thumbnails import Tile, thumbnails
from face_organizer.types import Image, Int64

PAGE = "index.html"
_TYPICAL, _UNSURE, _SPREAD = 16, 8, 16  # faces under each heading of a contact sheet
_TITLES = ("Most typical", "Least certain", "Across the pictures")


def view(sorting: Sorting, sheets: int = 100) -> View:
    """A folder per person, the assignments, and `sheets` contact sheets with a page (0: none)."""
    pictures = names(sorting, sheets)
    everywhere = set(zip(sorting.table.face_paths(), sorting.folders(), strict=True))
    of_persons = {path for path, folder in everywhere if folder != UNASSIGNED}
    # A photo of a person stays out of `unassigned`, whoever else is on it.
    entries = [e for e in everywhere if e[1] != UNASSIGNED or e[0] not in of_persons]

    def write_all(folder: Path, placed: Placed, on_step: Callable[[], object]) -> None:
        result.write(folder, sorting, placed)
        if sheets:
            write(folder, sorting, placed, sheets, on_person=on_step)

    return View(entries, [*result.FILES, *pictures], write_all, max(len(pictures) - 1, 0))


@dataclass(frozen=True, slots=True)
class Person:
    """A folder and its rows of the table."""

    name: str
    rows: Int64


def names(sorting: Sorting, most: int) -> list[str]:
    """The files that `write` makes: a contact sheet for each of the `most` largest persons, and the page."""
    return [*(f"{person.name}.jpg" for person in _people(sorting)[:most]), *([PAGE] if most else [])]


def write(
    folder: Path,
    sorting: Sorting,
    placed: Mapping[tuple[str, str], str],
    most: int,
    on_person: Callable[[], object] = lambda: None,
) -> None:
    """Make the contact sheets and the page in `folder`.

    `placed` maps (source, folder) to the path in the output, where the pictures are read from. Only faces
    that are shown are decoded.
    """
    pages = []
    people = _people(sorting)
    for person in people[:most]:
        shown = _shown(sorting, person.rows)
        rows = np.concatenate(shown)
        tiles = [_tile(sorting, int(row), person.name, folder, placed) for row in rows]
        pictures = list(thumbnails(tiles))
        sections = _sections(shown, pictures, [tile.caption for tile in tiles])
        subtitle = page.facts(sorting, person.rows)
        contact_sheet(folder / f"{person.name}.jpg", person.name, subtitle, sections)
        typical, unsure = sections[0].pictures, sections[1].pictures
        pages.append(page.Card(person.name, person.rows, typical[:6], unsure[:2]))
        on_person()
    pages += [page.Card(person.name, person.rows, (), ()) for person in people[most:]]
    page.write(folder / PAGE, sorting, pages)


def _people(sorting: Sorting) -> list[Person]:
    """All folders, the largest person first, what belongs to nobody last."""
    labels = sorting.clustering.labels
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(-1, len(sorting.names) + 1))
    people = [
        Person(name, rows)
        for name, rows in zip([UNASSIGNED, *sorting.names], np.split(order, starts[1:-1]), strict=True)
        if len(rows)
    ]
    return [p for p in people if p.name != UNASSIGNED] + [p for p in people if p.name == UNASSIGNED]


def _shown(sorting: Sorting, rows: Int64) -> tuple[Int64, Int64, Int64]:
    """Of a person's rows (ascending, so by path): the most typical ones, in turn from each folder; of the
    rest the least certain; and of the rest some from begin to end."""
    typical = _in_turn(rows[np.argsort(-sorting.clustering.similarity[rows], kind="stable")], sorting)
    rest = np.setdiff1d(rows, typical)
    unsure = rest[np.argsort(sorting.margin[rest], kind="stable")][:_UNSURE]
    rest = np.setdiff1d(rest, unsure)
    spread = rest[np.unique(np.linspace(0, len(rest) - 1, min(_SPREAD, len(rest))).astype(np.int64))]
    return typical, unsure, spread


def _in_turn(best_first: Int64, sorting: Sorting) -> Int64:
    by_folder: dict[str, list[int]] = defaultdict(list)
    path, file_index = sorting.table.files.path, sorting.table.faces.file_index
    for row in best_first[: 200 * _TYPICAL]:
        by_folder[os.path.dirname(path[file_index[row]])].append(int(row))
    chosen: list[int] = []
    for turn in range(_TYPICAL):
        chosen += [rows[turn] for rows in by_folder.values() if turn < len(rows)]
    return np.array(chosen[:_TYPICAL], np.int64)


def _tile(sorting: Sorting, row: int, name: str, folder: Path, placed: Mapping[tuple[str, str], str]) -> Tile:
    source = sorting.table.files.path[sorting.table.faces.file_index[row]]
    path = placed.get((source, name))
    caption = f"{sorting.clustering.similarity[row]:.2f}  {os.path.basename(source)}"
    faces = sorting.table.faces
    time = float(faces.time[row])
    return Tile(str(folder / path) if path else source, faces.landmarks[row], caption, time)


def _sections(shown: Sequence[Int64], pictures: Sequence[Image], captions: Sequence[str]) -> list[Section]:
    sections, start = [], 0
    for title, rows in zip(_TITLES, shown, strict=True):
        part = slice(start, start + len(rows))
        sections.append(Section(title if len(rows) else "", pictures[part], captions[part]))
        start += len(rows)
    return sections

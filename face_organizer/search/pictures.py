"""What was found, to look at: a contact sheet per person, and the frames of videos that show it best."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.files import clock, count, write_jpeg
from face_organizer.media import video
from face_organizer.previews.sheets import Section, contact_sheet
from face_organizer.previews.thumbnails import Tile, thumbnails
from face_organizer.search.match import Candidates
from face_organizer.search.report import Report, folder_of

_SHOWN = 48  # faces of a person on its contact sheet, of matches and of faces for review each
_QUALITY = 92


def tile(report: Report, one: Candidates, at: int, folder: Path) -> Tile:
    """The `at`-th face of a person, read from where its photo lies now; `folder` is the output."""
    row, faces = int(one.rows[at]), report.table.faces
    source = report.table.files.path[faces.file_index[row]]
    places = ((source, folder_of(one.name, match)) for match in (True, False))
    now = next((str(folder / report.placed[place]) for place in places if place in report.placed), source)
    caption = f"{one.similarity[at]:.2f}  {os.path.basename(source)}"
    return Tile(now, np.asarray(faces.landmarks[row]), caption, float(faces.time[row]))


def draw(folder: Path, report: Report, on_sheet: Callable[[], object]) -> None:
    """Write a contact sheet per person: the surest matches, the least sure ones, and what needs a look."""
    for one in report.persons:
        if not len(one.rows):
            continue
        matches, reviews = np.flatnonzero(one.is_match), np.flatnonzero(~one.is_match)
        shown = {
            "Surest matches": matches[: _SHOWN // 2],
            "Least sure matches": matches[_SHOWN // 2 :][-_SHOWN // 2 :],
            "For review": reviews[:_SHOWN],
        }
        sections = []
        for heading, positions in shown.items():
            if len(positions):
                tiles = [tile(report, one, at, folder) for at in positions.tolist()]
                sections.append(Section(heading, list(thumbnails(tiles)), [t.caption for t in tiles]))
        subtitle = (
            f"{count(len(matches), 'face matches', 'faces match')} (similarity {one.match_threshold:.2f} and "
            f"more), {len(reviews):,} for review ({one.review_threshold:.2f} and more) · "
            f"{count(len(one.profile.vectors), 'reference')}"
        )
        contact_sheet(folder / f"{one.name}.jpg", one.name, subtitle, sections)
        on_sheet()


def best_frames(one: Candidates, most: int) -> Iterator[tuple[int, str]]:
    """(position, file name) of the `most` surest matches in videos, one for each moment of a video."""
    files, faces = one.table.files, one.table.faces
    taken: set[tuple[int, float]] = set()
    names = Counter[str]()
    for at in np.flatnonzero(one.is_match).tolist():
        file, time = int(faces.file_index[one.rows[at]]), float(faces.time[one.rows[at]])
        if len(taken) == most:
            return
        if np.isnan(time) or (file, time) in taken:
            continue
        taken.add((file, time))
        stem = os.path.splitext(os.path.basename(files.path[file]))[0]
        name = f"{one.name} {stem} {clock(time).replace(':', '.')}"
        yield at, f"{name} {names[name]}.jpg" if names[name] else f"{name}.jpg"
        names[name] += 1


def write_frames(folder: Path, report: Report, most: int, on_problem: Callable[[str, str], object]) -> None:
    """Write the `best_frames` of each person as JPEG; `on_problem` hears of those that cannot be read."""
    for one in report.persons:
        for at, name in best_frames(one, most):
            where = tile(report, one, at, folder)
            try:
                write_jpeg(folder / name, video.frame(where.path, where.time), _QUALITY)
            except ImageError as error:
                on_problem(name, error.reason)

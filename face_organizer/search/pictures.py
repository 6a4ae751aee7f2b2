"""What was found, to look at: a contact sheet per person, and the frames of videos that show it best."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from face_organizer.errors import ImageError
from face_organizer.files import clock, count, printable, write_jpeg
from face_organizer.media import video
from face_organizer.organize import Placed
from face_organizer.previews import thumbnails
from face_organizer.previews.sheets import Section, contact_sheet
from face_organizer.previews.thumbnails import Tile, seconds
from face_organizer.search.match import Candidates

_SHOWN = 48  # faces of a person on its contact sheet, of matches and of faces for review each


def tile(one: Candidates, at: int, folder: Path, placed: Placed) -> Tile:
    """The `at`-th face of a person, read from where its photo lies now; `folder` is the output."""
    row, source = int(one.rows[at]), one.source(at)
    name = os.path.basename(source) + seconds(float(one.table.faces.time[row]))
    where = str(folder / (one.now(source, placed) or source))
    return thumbnails.tile(one.table, row, where, f"{one.similarity[at]:.2f}\n{printable(name)}")


def draw(one: Candidates, folder: Path, placed: Placed) -> None:
    """Write a person's contact sheet: the surest matches, the least sure ones, and what needs a look."""
    matches, reviews = np.flatnonzero(one.is_match), np.flatnonzero(~one.is_match)
    half = _SHOWN // 2
    shown = {"Surest matches": matches[:half], "Least sure matches": matches[half:][-half:]}
    sections = []
    for heading, positions in (shown | {"For review": reviews[:_SHOWN]}).items():
        if len(positions):
            tiles = [tile(one, at, folder, placed) for at in positions]
            sections.append(Section(heading, list(thumbnails.thumbnails(tiles)), [t.caption for t in tiles]))
    subtitle = (
        f"{count(len(matches), 'face matches', 'faces match')} (similarity {one.match_threshold:.2f} and "
        f"more), {len(reviews):,} for review ({one.review_threshold:.2f} and more) · "
        f"{count(len(one.profile.vectors), 'reference')}"
    )
    contact_sheet(folder / f"{one.name}.jpg", one.name, subtitle, sections)


def best_frames(one: Candidates, most: int) -> Iterator[tuple[int, str]]:
    """(position, file name) of the `most` surest matches in videos, one for each moment of a video."""
    times, taken, names = one.table.faces.time, set[tuple[str, float]](), Counter[str]()
    for at in np.flatnonzero(one.is_match).tolist():
        source, time = one.source(at), float(times[one.rows[at]])
        if len(taken) == most:
            return
        if np.isnan(time) or (source, time) in taken:
            continue
        taken.add((source, time))
        stem = os.path.splitext(os.path.basename(source))[0]
        name = f"{one.name} {stem} {clock(time).replace(':', '.')}"
        yield at, f"{name} {names[name]}.jpg" if names[name] else f"{name}.jpg"
        names[name] += 1


def write_frames(
    one: Candidates, folder: Path, placed: Placed, most: int, on_problem: Callable[[str, str], object]
) -> None:
    """Write the `best_frames` of a person as JPEG; `on_problem` hears of those that cannot be read."""
    for at, name in best_frames(one, most):
        where = tile(one, at, folder, placed)
        try:
            write_jpeg(folder / name, video.frame(where.path, where.time), quality=92)
        except ImageError as error:
            on_problem(name, error.reason)

"""What a search found, for people and programs: a row per face, the reports, and the result as folders."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.files import clock, count, printable, write_csv, write_json
from face_organizer.library import NEW
from face_organizer.library.answers import NUMBER, PERSON, RIGHT
from face_organizer.library.people import Library
from face_organizer.organize import Placed, View
from face_organizer.previews.thumbnails import Tile, thumbnails
from face_organizer.search import pictures, profiles, workbook
from face_organizer.search.match import CONFIDENCE, MATCH, REVIEW, Candidates
from face_organizer.table import fingerprint
from face_organizer.types import FaceTable, Int64

CSV, JSON, XLSX = "report.csv", "report.json", "report.xlsx"
_NUMBERS = ("confidence", "similarity", "best_reference", "references_agree", "chance")
_TIMES = ("time", "seen_from", "seen_to")
COLUMNS = ("person", "verdict", *_NUMBERS, "reason", "source", "face_index", *_TIMES, "placed")
"""Of report.csv, and the keys of each face in report.json."""
_ANSWER = (
    f"In Matches and Review, write yes or no under “{RIGHT}” and save: the next search into this folder "
    "reads it, and heeds it from then on."
)
_NO_ANSWER = "Made without a library: what is written here is not read back. Search with one to have that."
_TECHNICAL = (*_NUMBERS, "source", "face_index", *_TIMES)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search found: for each of `persons`, by name, the faces of `table` that may show it.

    `found["Anna"]` is one of them; `rows` and `summary` give the same as report.csv and report.json hold it;
    `settings` reproduce the search; `placed` is where photos were put.
    """

    table: FaceTable
    persons: Sequence[Candidates]
    settings: Mapping[str, Any]
    placed: Placed = field(default_factory=dict)

    def __getitem__(self, name: str) -> Candidates:
        """The person of that name. Raises `KeyError`."""
        return {one.name: one for one in self.persons}[name]

    def rows(self, *persons: Candidates) -> Iterator[dict[str, Any]]:
        """A dict of `COLUMNS` per face of `persons` (default: all), one after another, the nearest first."""
        faces = self.table.faces
        for one in persons or self.persons:
            for at, row in enumerate(one.rows.tolist()):
                source, chance = one.source(at), one.crowd.chance(float(one.similarity[at]))
                yield {
                    "person": one.name,
                    "verdict": MATCH if one.is_match[at] else REVIEW,
                    "confidence": next(word for word, most in CONFIDENCE if chance <= most),
                    "similarity": round(float(one.similarity[at]), 4),
                    "best_reference": round(float(one.best[at]), 4),
                    "references_agree": f"{one.agree[at]} of {len(one.profile.vectors)}",
                    "chance": float(f"{chance:.1e}"),
                    "reason": one.reasons[at],
                    "source": source,
                    "face_index": int(faces.face_index[row]),
                    **{name: _seconds(getattr(faces, name)[row]) for name in _TIMES},
                    "placed": one.now(source, self.placed),
                }

    def summary(self) -> dict[str, Any]:
        """The settings, and what is to be said of each person and of the table: JSON values."""
        table, persons = self.table, [_person(one) for one in self.persons]
        counts = {"faces": len(table), "photos": table.total_files, "outcomes": table.outcome_counts()}
        counts["pack"] = table.stamp.pack if table.stamp else None
        counts["fingerprint"] = fingerprint(table)
        return {"settings": dict(self.settings), "persons": persons, "table": counts}

    def view(
        self,
        *,
        thumbnails: int = 500,
        frames: int = 0,
        on_problem: Callable[[str, str], object] = lambda name, why: None,
        library: Library | None = None,
    ) -> View:
        """The result as folders: photos in NAME, doubtful ones in NAME/review, and beside them the report, a
        contact sheet and a profile per person.

        `thumbnails`: how many faces each sheet of report.xlsx shows. `frames`: how many frames of videos are
        written for each person, those that show it best. `on_problem` hears, by name and why, of a file that
        is not there or not whole. `library` takes down whom it found where nobody was known yet.
        """
        entries, files = [], [CSV, JSON, XLSX]
        for one in self.persons:
            entries += [(path, one.folders[not match]) for path, match in one.photos().items()]
            files += [one.name + profiles.ENDING, *(name for _, name in pictures.best_frames(one, frames))]
            files += [f"{one.name}.jpg"] if len(one.rows) else []

        def write(folder: Path, placed: Placed, on_step: Callable[[], object]) -> None:
            now = replace(self, placed=placed)
            write_csv(folder / CSV, COLUMNS, now.rows())
            write_json(folder / JSON, now.summary(), faces=now.rows())
            for one in self.persons:
                profiles.write(one.profile, folder / (one.name + profiles.ENDING))
                if len(one.rows):
                    pictures.draw(one, folder, placed)
                    on_step()
                pictures.write_frames(one, folder, placed, frames, on_problem)
            for sheet in workbook.write(folder / XLSX, now._sheets(folder, thumbnails, library)):
                on_problem(XLSX, f"its sheet {sheet} is full; what follows stands only in {CSV}")

        def remember() -> tuple[str, Mapping[str, int]]:
            return ("", {}) if library is None else (library.uuid, self._remember(library))

        return View(entries, files, write, sum(len(one.rows) > 0 for one in self.persons), remember)

    def _remember(self, library: Library) -> dict[str, int]:
        said = library.said(self.table)
        ids = {person.name: person.id for person in said.persons}
        labels = np.full(len(self.table), NEW, np.int64)
        for number, one in enumerate(self.persons):
            free = one.matches[said.before[one.matches] < 0]
            labels[free] = number
        names = [one.name for one in self.persons]
        return library.remember(self.table, labels, names, [ids.get(name) for name in names])

    def _sheets(self, folder: Path, shown: int, library: Library | None) -> dict[str, workbook.Sheet]:
        """report.xlsx, sheet by sheet."""
        seen = count(len({path for one in self.persons for path in one.photos()}), "photo")
        above = ["Who is on which photos", f"{date.today()} · {seen} of {self.table.total_files:,}"]
        above.append(_ANSWER if library else _NO_ANSWER)
        numbers = None if library is None else library.numbers(self.table)
        faces = ["face", PERSON, *([RIGHT] if library else []), "how sure", "photo", "at"]
        technical = [*_TECHNICAL, *([NUMBER] if library else [])]
        settings = [{"setting": name, "value": value} for name, value in self.settings.items()]
        matches, reviews = (self._faces(folder, match, shown, numbers) for match in (True, False))
        people, photos = self._overview(folder), self._photos(folder, shown)
        return {
            "Overview": workbook.Sheet(["portrait", "name", "photos", "to_look_at"], people, (), above),
            "Matches": workbook.Sheet(faces, matches, technical),
            "Review": workbook.Sheet([*faces, "why"], reviews, technical),
            "Photos": workbook.Sheet(["picture", "photo", "persons", "for_review"], photos, ["source"]),
            "Settings": workbook.Sheet((), settings, ["setting", "value"]),
        }

    def _overview(self, folder: Path) -> Iterator[dict[str, Any]]:
        """A row per person."""
        tiles = [pictures.tile(one, 0, folder, self.placed) for one in self.persons if len(one.rows)]
        faces = thumbnails(tiles, side=workbook.LARGE)
        for one in self.persons:
            photos, face = one.photos(), next(faces) if len(one.rows) else None
            sure = sum(photos.values())
            link = (one.name, f"{one.name}/") if photos else one.name
            yield {"portrait": face, "name": link, "photos": sure, "to_look_at": len(photos) - sure}

    def _faces(
        self, folder: Path, match: bool, shown: int, numbers: Int64 | None
    ) -> Iterator[dict[str, Any]]:
        """The rows that are a match, or not, the first ones with thumbnails; `numbers` (n,) are those of the
        faces in the library."""

        def found() -> Iterator[tuple[Candidates, int]]:
            return (
                (one, at) for one in self.persons for at in np.flatnonzero(one.is_match == match).tolist()
            )

        tiles = [pictures.tile(one, at, folder, self.placed) for one, at in islice(found(), shown)]
        faces = thumbnails(tiles, side=workbook.SIDE)
        lines = (line for line in self.rows() if (line["verdict"] == MATCH) == match)
        for (one, at), line in zip(found(), lines, strict=True):
            words: dict[str, Any] = {
                "face": next(faces, None),
                "photo": _link(line["source"], line["placed"]),
            }
            words |= {RIGHT: None, "how sure": _how_sure(line), "why": line["reason"]}
            words["at"] = None if line["time"] is None else clock(line["time"])
            number = None if numbers is None else int(numbers[one.rows[at]])
            yield {**line, **words, PERSON: printable(one.name), NUMBER: number}

    def _photos(self, folder: Path, shown: int) -> Iterator[dict[str, Any]]:
        """A row per photo on which somebody was found, with all persons on it; the first ones to be seen."""
        on: dict[str, list[tuple[Candidates, bool]]] = defaultdict(list)
        for one in self.persons:
            for path, match in one.photos().items():
                on[path].append((one, match))
        paths, nowhere = sorted(on, key=os.fsencode), np.full((5, 2), np.nan, np.float32)

        def placed(path: str) -> str:
            return next(filter(None, (one.now(path, self.placed) for one, _ in on[path])), "")

        tiles = [Tile(str(folder / (placed(path) or path)), nowhere) for path in paths[:shown]]
        seen = thumbnails(tiles, side=workbook.SIDE)
        for path in paths:
            sure, doubtful = (", ".join(o.name for o, m in on[path] if m == match) for match in (True, False))
            words = {"persons": sure, "for_review": doubtful, "source": path}
            yield {"picture": next(seen, None), "photo": _link(path, placed(path)), **words}


def _link(source: str, placed: str) -> tuple[str, str]:
    return placed or os.path.basename(source), placed or source


def _how_sure(line: Mapping[str, Any]) -> workbook.Word:
    is_sure = line["reason"] == "said" or line["confidence"] in ("very high", "high")
    return workbook.Word("look" if line["verdict"] != MATCH else "sure" if is_sure else "likely")


def _seconds(value: np.float32) -> float | None:
    """Of a face in a video; None for one in a picture."""
    return None if np.isnan(value) else round(float(value), 2)


def _person(one: Candidates) -> dict[str, Any]:
    photos = one.photos()
    return {
        "name": one.name,
        "photos": sum(photos.values()),
        "photos_for_review": len(photos) - sum(photos.values()),
        "faces": len(one.matches),
        "match_threshold": round(float(one.match_threshold), 4),
        "review_threshold": round(float(one.review_threshold), 4),
        **{f"crowd_{name}": round(value, 4) for name, value in asdict(one.crowd).items()},
        "references_used": len(one.profile.vectors),
        "references": [{"source": s, "used": not why, "reason": why} for s, why in one.profile.references],
        "doubts": list(one.profile.doubts),
        "videos": [{"source": path, "seconds": spans} for path, spans in one.videos().items()],
    }

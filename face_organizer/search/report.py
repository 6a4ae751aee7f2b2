"""What was found, for people and programs: a row per face, `report.csv` and `report.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import FaceOrganizerError
from face_organizer.files import os_errors, printable, write_csv, write_json
from face_organizer.organize import Placed
from face_organizer.search.match import CONFIDENCE, Candidates
from face_organizer.types import FaceTable

CSV, JSON, XLSX = "report.csv", "report.json", "report.xlsx"
MATCH, REVIEW = "match", "review"
_NUMBERS = ("confidence", "similarity", "best_reference", "references_agree", "chance")
_FACE = ("source", "face_index", "time", "seen_from", "seen_to", "placed")
COLUMNS = ("person", "verdict", *_NUMBERS, "reason", *_FACE)
"""Of report.csv, and the keys of each face in report.json."""


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What was found of each person in `table`, as plain values. `settings` reproduce the search; `placed` is
    where the photos were put."""

    table: FaceTable
    persons: Sequence[Candidates]
    settings: Mapping[str, Any]
    placed: Placed = field(default_factory=dict)

    def rows(self) -> Iterator[dict[str, Any]]:
        """A dict of `COLUMNS` per face, person after person, the nearest first."""
        for one in self.persons:
            yield from self.rows_of(one)

    def rows_of(self, one: Candidates) -> Iterator[dict[str, Any]]:
        """Those of one person."""
        photos, faces = one.photos(), self.table.faces
        for at, row in enumerate(one.rows.tolist()):
            source = self.table.files.path[faces.file_index[row]]
            yield {
                "person": one.name,
                "verdict": MATCH if one.is_match[at] else REVIEW,
                "confidence": next(word for word, most in CONFIDENCE if one.chance(at) <= most),
                "similarity": round(float(one.similarity[at]), 4),
                "best_reference": round(float(one.best[at]), 4),
                "references_agree": f"{int(one.agree[at])} of {len(one.profile.vectors)}",
                "chance": float(f"{one.chance(at):.1e}"),
                "reason": one.reasons[at],
                "source": source,
                "face_index": int(faces.face_index[row]),
                "time": _seconds(faces.time[row]),
                "seen_from": _seconds(faces.seen_from[row]),
                "seen_to": _seconds(faces.seen_to[row]),
                "placed": self.placed.get((source, folder_of(one.name, photos[source])), ""),
            }

    def summary(self) -> dict[str, Any]:
        """The settings, and what is to be said of each person and of the table: JSON values."""
        counts = {
            "faces": len(self.table),
            "photos": self.table.total_files,
            "outcomes": self.table.outcome_counts(),
            "pack": self.table.stamp.pack if self.table.stamp else None,
            "embedder_sha256": self.table.stamp.embedder_sha256 if self.table.stamp else None,
        }
        persons = [_person(one) for one in self.persons]
        return {"settings": dict(self.settings), "persons": persons, "table": counts}

    def write(self, folder: Path) -> None:
        """Write `report.csv` and `report.json` into `folder`; paths stand there as `cluster` writes them."""
        write_csv(folder / CSV, COLUMNS, self.rows())
        write_json(folder / JSON, self.summary(), faces=self.rows())


def folder_of(name: str, is_match: bool) -> str:
    """Where a photo of a person goes."""
    return name if is_match else f"{name}/{REVIEW}"


def _seconds(value: np.float32) -> float | None:
    """Of a face in a video; None for one in a picture."""
    return None if np.isnan(value) else round(float(value), 2)


def _person(one: Candidates) -> dict[str, Any]:
    photos, profile, crowd = one.photos(), one.profile, one.crowd
    return {
        "name": one.name,
        "photos": sum(photos.values()),
        "photos_for_review": len(photos) - sum(photos.values()),
        "faces": len(one.matches),
        "match_threshold": round(float(one.match_threshold), 4),
        "review_threshold": round(float(one.review_threshold), 4),
        "crowd_center": round(crowd.center, 4),
        "crowd_spread": round(crowd.spread, 4),
        "crowd_faces": crowd.faces,
        "references_used": len(profile.vectors),
        "references_unity": round(profile.unity, 4),
        "references": [
            {"source": r.source, "used": not r.reason, "reason": r.reason} for r in profile.references
        ],
        "doubts": list(profile.doubts),
        "videos": [
            {"source": path, "seconds": [[round(a, 2), round(b, 2)] for a, b in spans]}
            for path, spans in one.videos().items()
        ],
    }


def read(place: Path) -> dict[str, dict[str, bool]]:
    """Of a report (`report.json` or its folder): for each person the photos, and whether a face on one is a
    match.

    Raises `FaceOrganizerError`.
    """
    path = place / JSON if place.is_dir() else place
    with os_errors(path):
        data = path.read_bytes()
    try:
        document = json.loads(data)
        photos: dict[str, dict[str, bool]] = {str(person["name"]): {} for person in document["persons"]}
        for face in document["faces"]:
            seen, source = photos[face["person"]], str(face["source"])
            seen[source] = face["verdict"] == MATCH or seen.get(source, False)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FaceOrganizerError(f"{printable(path)} is no report of `search`: {error!r}") from error
    return photos

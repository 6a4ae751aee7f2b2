"""What was found, for people and programs: rows a face, `report.csv`, `report.json`, contact sheets."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.errors import FaceOrganizerError
from face_organizer.files import atomic_write, plain_cell, printable
from face_organizer.previews import sheets
from face_organizer.previews.thumbnails import Tile, thumbnails
from face_organizer.search import appearances
from face_organizer.search.match import CONFIDENCE, Found, photos
from face_organizer.types import FaceTable

CSV, JSON, XLSX = "report.csv", "report.json", "report.xlsx"
REVIEW = "review"
COLUMNS = (
    "person",
    "verdict",
    "confidence",
    "similarity",
    "best_reference",
    "references_agree",
    "chance",
    "reason",
    "source",
    "face_index",
    "time",
    "seen_from",
    "seen_to",
    "placed",
)
_SHOWN = 48  # faces of a person on its contact sheet, matches and reviews each


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A search that is done. `settings` reproduce it; `placed` maps (source, folder) to the path in the
    output."""

    table: FaceTable
    found: Sequence[Found]
    settings: Mapping[str, Any]
    placed: Mapping[tuple[str, str], str]

    @property
    def names(self) -> list[str]:
        """The persons, in order."""
        return [one.profile.name for one in self.found]


def folder_of(name: str, is_match: bool) -> str:
    """Where a photo goes."""
    return name if is_match else f"{name}/{REVIEW}"


def entries(table: FaceTable, found: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """(photo, folder), one a photo and person, for `organize.plan`."""
    for one in found:
        for file, (_, is_match) in sorted(photos(table, one).items()):
            yield table.files.path[file], folder_of(one.profile.name, is_match)


def rows(result: Result, found: Found) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row of the table, dict of `COLUMNS`), one a face, the nearest first."""
    used = len(found.profile.vectors)
    files = result.table.faces.file_index[found.rows].tolist()
    best = photos(result.table, found)
    for at, (row, file) in enumerate(zip(found.rows.tolist(), files, strict=True)):
        source, is_match = result.table.files.path[file], bool(found.is_match[at])
        folder = folder_of(found.profile.name, best[file][1])
        yield (
            row,
            {
                "person": found.profile.name,
                "verdict": "match" if is_match else REVIEW,
                "confidence": found.confidence(at),
                "similarity": round(float(found.similarity[at]), 4),
                "best_reference": round(float(found.best[at]), 4),
                "references_agree": f"{int(found.agree[at])} of {used}",
                "chance": float(f"{found.chance(at):.1e}"),
                "reason": found.reasons[at],
                "source": source,
                "face_index": int(result.table.faces.face_index[row]),
                **{name: _seconds(result.table, name, row) for name in ("time", "seen_from", "seen_to")},
                "placed": result.placed.get((source, folder), ""),
            },
        )


def _seconds(table: FaceTable, column: str, row: int) -> float | None:
    """Of a face in a video; None for one in a picture."""
    value = float(getattr(table.faces, column)[row])
    return None if np.isnan(value) else round(value, 2)


def persons(result: Result) -> list[dict[str, Any]]:
    """What is to be told of each person: counts, thresholds, crowd, references and doubts."""
    told = []
    for one in result.found:
        seen = photos(result.table, one)
        told.append(
            {
                "name": one.profile.name,
                "photos": sum(match for _, match in seen.values()),
                "photos_for_review": sum(not match for _, match in seen.values()),
                "faces": int(one.is_match.sum()),
                "match_threshold": round(float(one.match), 4),
                "review_threshold": round(float(one.review), 4),
                "crowd_center": round(one.crowd.center, 4),
                "crowd_spread": round(one.crowd.spread, 4),
                "crowd_faces": one.crowd.faces,
                "references_used": len(one.profile.vectors),
                "references_unity": round(one.profile.unity, 4),
                "references": [
                    {"source": r.source, "used": not r.reason, "reason": r.reason}
                    for r in one.profile.references
                ],
                "doubts": list(one.profile.doubts),
                "videos": [
                    {"source": path, "seconds": [[round(a, 2), round(b, 2)] for a, b in spans]}
                    for path, spans in appearances.ranges(result.table, one).items()
                ],
            }
        )
    return told


def confidence_in_words() -> list[tuple[str, str]]:
    """Each word of confidence and what it means."""
    return [
        (word, f"up to {most:.0e} of other people's faces come as near" if most < 1 else "more than that")
        for word, most in CONFIDENCE
    ]


def write(folder: Path, result: Result) -> None:
    """Write `report.csv` and `report.json` into `folder`; paths as in the manifest of `cluster`."""
    with atomic_write(folder / CSV) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        for one in result.found:
            writer.writerows({k: plain_cell(v) for k, v in line.items()} for _, line in rows(result, one))
        text.flush()
        text.detach()
    head = {"settings": dict(result.settings), "persons": persons(result), "table": of_table(result.table)}
    with atomic_write(folder / JSON) as file:
        file.write(json.dumps(head, indent=1).encode("ascii")[:-2] + b',\n "faces": [')
        first = True
        for one in result.found:
            for _, line in rows(result, one):
                file.write((b"\n" if first else b",\n") + json.dumps(line).encode("ascii"))
                first = False
        file.write(b"\n]}\n")


def of_table(table: FaceTable) -> dict[str, Any]:
    """What a report says of the table that was searched."""
    return {
        "faces": len(table),
        "photos": table.total_files,
        "outcomes": table.outcome_counts(),
        "pack": table.stamp.pack if table.stamp else None,
        "embedder_sha256": table.stamp.embedder_sha256 if table.stamp else None,
    }


def read_found(place: Path) -> tuple[list[str], dict[str, set[str]], dict[str, set[str]]]:
    """Of a report (its folder or `report.json`): persons, photos of matches, photos for review, by person.

    Raises `FaceOrganizerError`.
    """
    path = place / JSON if place.is_dir() else place
    try:
        document = json.loads(path.read_bytes())
        names = [str(person["name"]) for person in document["persons"]]
        sure: dict[str, set[str]] = {name: set() for name in names}
        doubtful: dict[str, set[str]] = {name: set() for name in names}
        for face in document["faces"]:
            (sure if face["verdict"] == "match" else doubtful)[face["person"]].add(str(face["source"]))
    except OSError as error:
        raise FaceOrganizerError(f"{printable(path)}: cannot be read: {error.strerror or error}") from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FaceOrganizerError(f"{printable(path)} is no report of `search`: {error!r}") from error
    return names, sure, doubtful


def sheet_names(found: Sequence[Found]) -> list[str]:
    """The contact sheets that `draw` makes."""
    return [f"{one.profile.name}.jpg" for one in found if len(one.rows)]


def draw(folder: Path, result: Result, on_sheet: Callable[[], object] = lambda: None) -> None:
    """A contact sheet a person: the surest matches, the least sure ones, and what wants a look."""
    for one in result.found:
        if not len(one.rows):
            continue
        matches, reviews = np.flatnonzero(one.is_match), np.flatnonzero(~one.is_match)
        parts = {
            "Surest matches": matches[: _SHOWN // 2],
            "Least sure matches": matches[_SHOWN // 2 :][-_SHOWN // 2 :],
            "For review": reviews[:_SHOWN],
        }
        sections = []
        for heading, positions in parts.items():
            if len(positions):
                tiles = [tile(result, one, int(at), folder) for at in positions]
                pictures = list(thumbnails(tiles))
                sections.append(sheets.Section(heading, pictures, [t.caption for t in tiles]))
        subtitle = (
            f"{len(matches):,} faces match (similarity {one.match:.2f} and more), {len(reviews):,} for "
            f"review ({one.review:.2f} and more) · {len(one.profile.vectors)} references"
        )
        sheets.contact_sheet(folder / f"{one.profile.name}.jpg", one.profile.name, subtitle, sections)
        on_sheet()


def tile(result: Result, found: Found, at: int, folder: Path) -> Tile:
    """The `at`-th face of `found`, read from where its photo lies now."""
    row = int(found.rows[at])
    source = result.table.files.path[result.table.faces.file_index[row]]
    names = (folder_of(found.profile.name, match) for match in (True, False))
    placed = next((p for name in names if (p := result.placed.get((source, name)))), None)
    caption = f"{found.similarity[at]:.2f}  {os.path.basename(source)}"
    return Tile(
        str(folder / placed) if placed else source,
        np.asarray(result.table.faces.landmarks[row]),
        caption,
        float(result.table.faces.time[row]),
    )

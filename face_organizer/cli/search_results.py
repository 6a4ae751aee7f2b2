"""What `face-organizer search` shows and writes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import face_organizer as fo
from face_organizer.cli.console import Console, table_of
from face_organizer.cli.placing import place, summary
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE
from face_organizer.files import printable

if TYPE_CHECKING:
    from face_organizer.organize import Placed
    from face_organizer.search.match import Found
    from face_organizer.search.report import Result
    from face_organizer.types import FaceTable


def show(
    searched: FaceTable, found: Sequence[Found], settings: dict[str, Any], top: int, console: Console
) -> int:
    """The nearest faces of each person, as a table."""
    from face_organizer.search import appearances, report

    result = report.Result(searched, found, settings, {})
    faces = []
    for one, person in zip(found, report.persons(result), strict=True):
        lines = [line for _, line in report.rows(result, one)]
        faces += lines[:top]
        console.say()
        console.say(_summary(person))
        if lines:
            shown = [("similarity", "confidence", "verdict", "agree", "photo")]
            for line in lines[:top]:
                words = (line["confidence"], line["verdict"], line["references_agree"])
                at = f" at {appearances.clock(line['time'])}" if line["time"] is not None else ""
                shown.append((f"{line['similarity']:.3f}", *words, printable(line["source"]) + at))
            console.say(table_of(shown))
        if len(lines) > top:
            console.say(f"… and {len(lines) - top:,} more; --top shows more, --output writes all")
    console.result({"settings": settings, "persons": report.persons(result), "faces": faces})
    return EXIT_DONE


def _write_frames(
    frames: Sequence[tuple[int, str]], searched: FaceTable, placed: fo.Applied, output: Path, console: Console
) -> None:
    from face_organizer.search import appearances

    now = {move.source: os.fspath(output / move.target) for move in placed.moves}
    failed = []
    for row, name in frames:
        source = searched.files.path[searched.faces.file_index[row]]
        if not appearances.write_frame(output / name, searched, row, now.get(source, source)):
            failed.append((name, "the video cannot be read there"))
    console.files(f"{len(failed):,} frames could not be written:", failed)


def _summary(person: dict[str, Any]) -> str:
    from face_organizer.search.appearances import clock

    videos = "".join(
        f"\n  {printable(video['source'])}: "
        + ", ".join(f"{clock(start)} to {clock(end)}" for start, end in video["seconds"])
        for video in person["videos"]
    )
    return (
        f"{printable(person['name'])}: {person['photos']:,} photos"
        f" (similarity ≥ {person['match_threshold']:.3f}), {person['photos_for_review']:,} for review"
        f" (≥ {person['review_threshold']:.3f}); {person['references_used']:,} references{videos}"
    )


def write(
    searched: FaceTable,
    found: Sequence[Found],
    settings: dict[str, Any],
    output: Path,
    options: dict[str, Any],
    started: float,
    console: Console,
) -> int:
    from face_organizer.organize import View
    from face_organizer.search import appearances, profiles, report, workbook

    names = [f"{one.profile.name}{profiles.ENDING}" for one in found]
    frames = [frame for one in found for frame in appearances.best_frames(searched, one, options["frames"])]
    results = [report.CSV, report.JSON, report.XLSX, *report.sheet_names(found), *names]
    results += [name for _, name in frames]
    result = report.Result(searched, found, settings, {})

    def write_all(folder: Path, where: Placed, on_step: Callable[[], object]) -> None:
        told = report.Result(searched, found, settings, where)
        for one, name in zip(found, names, strict=True):
            profiles.write(one.profile, folder / name)
        report.write(folder, told)
        report.draw(folder, told, on_sheet=on_step)
        workbook.write(folder / report.XLSX, told, pictures=options["thumbnails"])

    view = View(report.entries(searched, found), results, write_all, len(report.sheet_names(found)))
    plan = fo.plan(view, output, mode=options["mode"])
    placed = place(plan, dry_run=options["dry_run"], console=console)
    if isinstance(placed, fo.Applied):
        result = report.Result(searched, found, settings, placed.placed)
        _write_frames(frames, searched, placed, output, console)
    return _report(result, placed, output, time.perf_counter() - started, console)


def _report(
    result: Result, placed: fo.Plan | fo.Applied, output: Path, seconds: float, console: Console
) -> int:
    from face_organizer.search import report

    persons = report.persons(result)
    for person in persons:
        console.say(_summary(person))
    if isinstance(placed, fo.Applied):
        console.say(f"Look at it: {printable(output / report.XLSX)} ({seconds:.1f} s)")
    console.result(
        {
            "output": os.fspath(output),
            "seconds": round(seconds, 3),
            "settings": result.settings,
            "table": report.of_table(result.table),
            "persons": persons,
            "placing": summary(placed),
        }
    )
    return EXIT_SOME_UNUSABLE if placed.missing else EXIT_DONE

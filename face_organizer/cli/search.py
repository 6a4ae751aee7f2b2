"""`face-organizer search`: some photos of a person in, every photo with that person out."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console, quiet_libraries, table_of
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    Finite,
    ManyValues,
    check_place,
    device_option,
    json_option,
    output_option,
    pack_option,
    tables_option,
)
from face_organizer.cli.placing import place, place_options
from face_organizer.cli.placing import summary as placing
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import clock, count, printable


@click.command(cls=ManyValues, context_settings=HELP)
@tables_option
@click.option(
    "-r",
    "--reference",
    "references",
    type=FOLDER_OR_FILE,
    metavar="DIR",
    help="Photos of one person, or a folder of photos for each person.",
)
@click.option("--name", help="What the one person is called.  [default: the folder's name]")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    type=FOLDER_OR_FILE,
    metavar="FILE...",
    help="Profiles of an earlier search, NAME.profile.",
)
@click.option(
    "--from-person",
    "persons",
    multiple=True,
    metavar="NAME...",
    help="Persons of a clustering, by their folder's name; with --people.",
)
@click.option("--people", type=FOLDER_OR_FILE, metavar="DIR", help="Output folder of that clustering.")
@output_option("Folder for NAME/, NAME/review/ and the report.")
@click.option(
    "--reference-face",
    type=click.Choice(["only", "largest"]),
    default="only",
    show_default=True,
    help="A reference photo with several faces: leave it out, or take its main face.",
)
@click.option("--keep-outliers", is_flag=True, help="Use references that are unlike the others too.")
@click.option(
    "--false-matches",
    type=Finite(1e-12, 0.1),
    default=fo.FALSE_MATCHES,
    show_default=True,
    metavar="RATE",
    help="Share of other people's faces that may pass for a match: 1e-4 is one in 10,000. Review takes 100"
    " times as many.",
)
@click.option(
    "--threshold",
    type=Finite(-1, 1),
    help="Cosine from which a face is a match, instead of --false-matches.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="For children and siblings: a tenth of the false matches, and two thirds of the references must"
    " agree.",
)
@pack_option("Pack that looks at the references.  [default: the one that made the table]", None)
@device_option("Where references are embedded.", several=False)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Without --output: show at most this many faces of each person.",
)
@click.option(
    "--thumbnails",
    type=click.IntRange(0, 10_000),
    default=500,
    show_default=True,
    help="Show this many faces in the workbook.",
)
@click.option(
    "--frames",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="From videos: write at most this many frames of each person, the surest, as JPEG.",
)
@place_options
@json_option
def search(
    embeddings: tuple[Path, ...],
    output: Path | None,
    mode: str,
    dry_run: bool,
    top: int,
    thumbnails: int,
    frames: int,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> int:
    """Find every photo of one person, or of several at once, in tables of embed.

    Photos go into NAME/, doubtful ones into NAME/review/; report.xlsx, report.csv and report.json list each
    face; NAME.jpg shows them. Without --output the nearest faces are printed. Similarities are cosines to the
    mean of the references, in [-1, 1], larger is closer; the thresholds come from the other faces of the
    collection. Originals are never changed, unless --mode move takes them.

    \b
    face-organizer search --embeddings event.pkl --reference refs --output found
    face-organizer search --embeddings event.pkl --reference refs/Anna --top 10
    """
    console = Console(as_json=as_json, quiet=quiet)
    if output:
        check_place(output)
    elif dry_run:
        raise UsageError("--dry-run shows what would go into --output")
    started = time.perf_counter()
    table = fo.merge([fo.read(path) for path in embeddings], [printable(path) for path in embeddings])
    console.say(f"{count(len(table), 'face')} of {count(table.total_files, 'picture')}")

    def on_photos(photos: int, persons: int, pack: str) -> None:
        if table.stamp is None:
            console.warn(
                "the table does not name its pack: whether --pack is the right one cannot be checked"
            )
        people = count(persons, "person", "persons")
        console.say(f"{count(photos, 'reference photo')} of {people}, by pack {pack}")

    with quiet_libraries():
        found = fo.search(table, on_event=on_photos, **wanted)
    for one in found.persons:
        refused = [(r.source, r.reason) for r in one.profile.refused]
        console.files(f"{printable(one.name)}: {count(len(refused), 'reference')} left out:", refused)
        for doubt in one.profile.doubts:
            console.warn(f"{printable(one.name)}: {doubt}")
    console.say(f"{count(len(found.persons), 'person', 'persons')} compared with {count(len(table), 'face')}")
    settings = _settings(embeddings, mode, wanted)
    if output is None:
        return _show(found, settings, top, console)
    problems: list[tuple[str, str]] = []
    plan = fo.plan(
        found,
        output,
        mode=mode,
        thumbnails=thumbnails,
        frames=frames,
        settings=settings,
        on_problem=lambda name, why: problems.append((name, why)),
    )
    placed = place(plan, dry_run=dry_run, console=console)
    console.files(f"{count(len(problems), 'file')} could not be written whole:", problems)
    summary = found.summary()
    for person in summary["persons"]:
        console.say(_in_words(person))
    seconds = time.perf_counter() - started
    if not dry_run:
        console.say(f"Look at it: {printable(output / 'report.xlsx')} ({seconds:.1f} s)")
    summary["settings"] = settings | summary["settings"]
    here = {"output": os.fspath(output), "seconds": round(seconds, 3)}
    console.result({**here, **summary, "placing": placing(placed)})
    return EXIT_SOME_UNUSABLE if placed.missing else EXIT_DONE


def _settings(embeddings: tuple[Path, ...], mode: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """All that reproduces the run, beside what the search itself says of its rules."""
    return {
        "command": "search",
        "version": fo.__version__,
        "embeddings": _plain(embeddings),
        "reference": _plain(wanted["references"]),
        "name": wanted["name"],
        "profile": _plain(wanted["profiles"]),
        "from_person": list(wanted["persons"]),
        "people": _plain(wanted["people"]),
        "reference_face": wanted["reference_face"],
        "keep_outliers": wanted["keep_outliers"],
        "pack": wanted["pack"],
        "mode": mode,
    }


def _plain(place: Path | tuple[Path, ...] | None) -> Any:
    if isinstance(place, tuple):
        return [os.path.abspath(path) for path in place]
    return os.path.abspath(place) if place else None


def _show(found: fo.Found, settings: dict[str, Any], top: int, console: Console) -> int:
    """The nearest faces of each person, as a table."""
    summary, faces = found.summary(), []
    for one, person in zip(found.persons, summary["persons"], strict=True):
        lines = list(found.rows_of(one))
        faces += lines[:top]
        console.say("\n" + _in_words(person))
        shown = [("similarity", "confidence", "verdict", "agree", "photo")]
        for line in lines[:top]:
            words = (line["confidence"], line["verdict"], line["references_agree"])
            at = f" at {clock(line['time'])}" if line["time"] is not None else ""
            shown.append((f"{line['similarity']:.3f}", *words, printable(line["source"]) + at))
        if lines:
            console.say(table_of(shown))
        if len(lines) > top:
            console.say(f"… and {len(lines) - top:,} more; --top shows more, --output writes all")
    settings |= summary["settings"]
    console.result({"settings": settings, "persons": summary["persons"], "faces": faces})
    return EXIT_DONE


def _in_words(person: dict[str, Any]) -> str:
    videos = "".join(
        f"\n  {printable(video['source'])}: "
        + ", ".join(f"{clock(start)} to {clock(end)}" for start, end in video["seconds"])
        for video in person["videos"]
    )
    return (
        f"{printable(person['name'])}: {count(person['photos'], 'photo')}"
        f" (similarity ≥ {person['match_threshold']:.3f}), {person['photos_for_review']:,} for review"
        f" (≥ {person['review_threshold']:.3f}); {count(person['references_used'], 'reference')}{videos}"
    )

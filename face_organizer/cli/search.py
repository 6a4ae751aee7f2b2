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

_SETTINGS = {"references": "reference", "profiles": "profile", "persons": "from_person"}
"""What these options are called among the settings of a report; the others are called as they are here."""


@click.command(cls=ManyValues, context_settings={**HELP, "show_default": True})
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
    help="A reference photo with several faces: leave it out, or take its main face.",
)
@click.option("--keep-outliers", is_flag=True, help="Use references that are unlike the others too.")
@click.option(
    "--false-matches",
    type=Finite(1e-12, 0.1),
    default=fo.FALSE_MATCHES,
    metavar="RATE",
    help="Share of other people's faces that may pass for a match: 1e-4 is one in 10,000. Review takes 100"
    " times as many.",
)
@click.option("--threshold", type=Finite(-1, 1), help="Cosine of a match, instead of --false-matches.")
@click.option(
    "--strict",
    is_flag=True,
    help="For children and siblings: a tenth of the false matches, and two thirds of the references must"
    " agree.",
)
@pack_option("Pack that looks at the references.  [default: the one that made the table]", None)
@device_option("Where references are embedded.", several=False)
@click.option(
    "--top", type=click.IntRange(1), default=20, help="Without --output: faces of each person shown, at most."
)
@click.option(
    "--thumbnails", type=click.IntRange(0, 10_000), default=500, help="Faces shown in the workbook, at most."
)
@click.option(
    "--frames",
    type=click.IntRange(0, 1000),
    default=0,
    help="From videos: frames that show each person best, at most this many, written as JPEG.",
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
    used = {"embeddings": embeddings, **wanted, "mode": mode}
    settings = {_SETTINGS.get(k, k): _plain(v) for k, v in used.items() if k != "device"}
    settings = {"command": "search", "version": fo.__version__, **settings, **found.settings}
    if output is None:
        return _show(found, settings, top, console)
    problems: list[tuple[str, str]] = []
    shown = {"thumbnails": thumbnails, "frames": frames, "settings": settings}
    plan = fo.plan(found, output, mode=mode, on_problem=lambda *p: problems.append(p), **shown)
    placed = place(plan, dry_run=dry_run, console=console)
    console.files(f"{count(len(problems), 'file')} could not be written whole:", problems)
    return _report(found, placed, settings, time.perf_counter() - started, console)


def _report(
    found: fo.Found, placed: fo.Plan | fo.Applied, settings: dict[str, Any], seconds: float, console: Console
) -> int:
    summary = found.summary()
    for person in summary["persons"]:
        console.say(_in_words(person))
    if isinstance(placed, fo.Applied):
        console.say(f"Look at it: {printable(placed.output / 'report.xlsx')} ({seconds:.1f} s)")
    told = {"output": os.fspath(placed.output), "seconds": round(seconds, 3)}
    console.result({**told, **summary, "settings": settings, "placing": placing(placed)})
    return EXIT_SOME_UNUSABLE if placed.missing else EXIT_DONE


def _plain(value: Any) -> Any:
    """A setting as JSON holds it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return os.path.abspath(value) if isinstance(value, Path) else value


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

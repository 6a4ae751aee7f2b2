"""`face-organizer search`: some photos of a person in, every photo with that person out."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli import options
from face_organizer.cli.console import Console, quiet_libraries, table_of
from face_organizer.cli.learning import learned, library_options
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, Finite, ManyValues
from face_organizer.cli.placing import place, place_options, summary
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, UsageError
from face_organizer.files import clock, count, printable

_DIR: dict[str, Any] = {"type": FOLDER_OR_FILE, "metavar": "DIR"}
_FILES: dict[str, Any] = {"type": FOLDER_OR_FILE, "metavar": "FILE...", "multiple": True}


@click.command(cls=ManyValues, context_settings={**HELP, "show_default": True})
@options.tables_option
@click.option(
    "-r", "--reference", "references", help="Photos of one person, or a folder of photos for each.", **_DIR
)
@click.option("--name", help="What the one person is called.  [default: the folder's name]")
@click.option("--profile", "profiles", help="Profiles of an earlier search, NAME.profile.", **_FILES)
@click.option(
    "--from-person", "persons", multiple=True, metavar="NAME...", help="Persons of a clustering, by folder."
)
@click.option("--people", help="Output folder of that clustering.", **_DIR)
@options.output_option("Folder for NAME/, NAME/review/ and the report.")
@click.option(
    "--reference-face",
    type=click.Choice(["agreeing", "only", "largest"]),
    default="agreeing",
    show_default=True,
    help="Of a reference photo with several faces: the one that agrees with the other references, its main "
    "one, or none.",
)
@click.option("--keep-outliers", is_flag=True, help="Use references that are unlike the others too.")
@click.option(
    "--false-matches",
    type=Finite(1e-12, 0.1),
    metavar="RATE",
    help="Share of other people's faces that may pass for a match; for review, 100 times as many.  [default: "
    f"{fo.FALSE_MATCHES:g}; in an album of few people more, for 0.003 of them in all]",
)
@click.option("--threshold", type=Finite(-1, 1), help="Cosine of a match, instead of --false-matches.")
@click.option(
    "--strict", is_flag=True, help="For siblings: a tenth as many false matches; references must agree."
)
@options.pack_option("Pack that looks at the references.  [default: the one that made the table]", None)
@options.device_option("Where references are embedded.", several=False)
@click.option("--top", type=click.IntRange(1), default=20, help="Faces of a person shown without --output.")
@click.option(
    "--frames", type=click.IntRange(0, 1000), default=0, help="Frames of videos that show each person best."
)
@library_options
@place_options
@options.json_option
def search(
    embeddings: tuple[Path, ...],
    output: Path | None,
    library: Path | None,
    learns: bool,
    learn_deletions: bool,
    mode: str,
    dry_run: bool,
    top: int,
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
    check_output(output, dry_run=dry_run)
    table = fo.read(*embeddings)
    console.say(f"{count(len(table), 'face')} of {count(table.total_files, 'picture')}")
    if table.stamp is None and wanted["pack"]:
        console.warn("the table does not name its pack: whether --pack is the right one cannot be checked")
    opened = fo.Library(place_of, dry_run=dry_run or not output) if (place_of := library or output) else None
    told_before: dict[str, Any] = {}
    if opened and output:
        told_before = learned(
            opened, output, table, console, learns=learns, deletions=learn_deletions, dry_run=dry_run
        )
    with quiet_libraries():
        found = fo.search(table, **wanted, library=opened)
    used = {"command": "search", "version": fo.__version__, "embeddings": embeddings, **wanted, "mode": mode}
    found = replace(found, settings=json.loads(json.dumps(used, default=os.path.abspath)))
    for one in found.persons:
        refused = [reference for reference in one.profile.references if reference.reason]
        console.files(f"{printable(one.name)}: {count(len(refused), 'reference')} left out:", refused)
        for doubt in one.profile.doubts:
            console.warn(f"{printable(one.name)}: {doubt}")
    told, code = found.summary(), EXIT_DONE
    if output:
        problems: list[tuple[str, str]] = []
        plan = fo.plan(
            found, output, mode=mode, frames=frames, on_problem=lambda *p: problems.append(p), library=opened
        )
        if opened and not dry_run:
            opened.use("table", *embeddings)
            opened.use("output", output)
        placed = place(plan, dry_run=dry_run, console=console, tables=embeddings)
        console.files(f"{count(len(problems), 'file')} could not be written whole:", problems)
        told |= {"output": os.fspath(placed.output), "placing": summary(placed), "learned": told_before}
        code = EXIT_SOME_UNUSABLE if placed.missing else EXIT_DONE
    else:
        told["faces"] = [line for one in found.persons for line in islice(found.rows(one), top)]
    for person in told["persons"]:
        console.say(_in_words(person))
        faces = [line for line in told.get("faces", ()) if line["person"] == person["name"]]
        if faces:
            console.say(_nearest(faces) + "\n")
    if output and not dry_run:
        console.say(f"Look at it: {printable(output / 'report.xlsx')}")
    if opened:
        opened.close()
    console.result(told)
    return code


def check_output(output: Path | None, *, dry_run: bool) -> None:
    """Refuse, before the work, an output that cannot be written, and a dry run without one."""
    if output:
        options.check_place(output)
    elif dry_run:
        raise UsageError("--dry-run shows what would go into --output")


def _nearest(faces: list[dict[str, Any]]) -> str:
    """The nearest faces of a person, as a table."""
    shown = [("similarity", "confidence", "verdict", "agree", "photo")]
    for line in faces:
        words = (line["confidence"], line["verdict"], line["references_agree"])
        at = f" at {clock(line['time'])}" if line["time"] is not None else ""
        shown.append((f"{line['similarity']:.3f}", *words, printable(line["source"]) + at))
    return table_of(shown)


def _in_words(person: dict[str, Any]) -> str:
    lines = [
        f"{printable(person['name'])}: {count(person['photos'], 'photo')}"
        f" (similarity ≥ {person['match_threshold']:.3f}), {person['photos_for_review']:,} for review"
        f" (≥ {person['review_threshold']:.3f}); {count(person['references_used'], 'reference')}"
    ]
    for video in person["videos"]:
        seen = ", ".join(f"{clock(start)} to {clock(end)}" for start, end in video["seconds"])
        lines.append(f"  {printable(video['source'])}: {seen}")
    return "\n".join(lines)

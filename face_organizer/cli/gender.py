"""`face-organizer gender`: the pictures of women, or of men, out of many."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    Finite,
    ManyValues,
    check_place,
    device_option,
    inputs_option,
    json_option,
    output_option,
    pack_option,
    walk_options,
    workers_option,
)
from face_organizer.cli.placing import place, place_options, summary
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE
from face_organizer.files import count, printable

UNSURE = "unsure"  # folder below the output for pictures on which the network is not sure


@click.command(cls=ManyValues, context_settings={**HELP, "show_default": True})
@inputs_option("Folders or pictures. With --embeddings: which pictures of the tables, and others.")
@click.option(
    "-e",
    "--embeddings",
    "tables",
    multiple=True,
    type=FOLDER_OR_FILE,
    metavar="TABLE...",
    help="Tables of embed: their faces are judged, none is searched for again.",
)
@output_option("Folder for the pictures that match.", required=True)
@click.option(
    "--gender",
    type=click.Choice(["Woman", "Man"], case_sensitive=False),
    metavar="[Woman|Man]",
    default="Woman",
    help="Which pictures match.",
)
@click.option(
    "--model",
    type=click.Choice(["auto", "embedded", "insightface", "deepface"]),
    default="auto",
    help="Gender network; auto is the first of the others that is installed.",
)
@click.option(
    "--min-confidence",
    type=Finite(0.5, 1),
    help="Below it a picture goes to unsure/.  [default: the model's own, 0.9]",
)
@click.option(
    "--faces",
    type=click.Choice(["main", "any"]),
    default="main",
    help="Which face decides: the main one of a picture, or any that surely matches.",
)
@click.option(
    "--vote-by-person",
    "people",
    type=FOLDER_OR_FILE,
    metavar="CLUSTERS",
    help="Output of cluster, or its cluster_assignments.pkl: all photos of a person vote together.",
)
@click.option(
    "--attributes",
    is_flag=True,
    help="Ages as well, and with --model deepface emotion and race where their weights are there.",
)
@workers_option
@pack_option("Model pack that finds faces in --input.")
@click.option(
    "--detector",
    metavar="BACKEND",
    help="Find faces in --input with a detector of DeepFace (opencv, mtcnn, ssd, retinaface …), as the "
    "original did, instead of --pack. Slower, and it finds fewer turned faces.",
)
@device_option("Where the networks run: every GPU there is, the CPU, or GPUs by number.")
@walk_options
@place_options
@json_option
def gender(
    inputs: tuple[str, ...],
    output: Path,
    mode: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> int:
    """Pick the pictures whose main face looks like a woman's (or a man's) into OUTPUT.

    Pictures that match go into OUTPUT itself, those on which the network is not sure into OUTPUT/unsure, and
    OUTPUT/gender.csv has a line for every picture: matched, other, unsure, no_face or unreadable. From the
    table of `embed` no face is searched for twice. The confidence is that of the likelier gender, 0.5 to 1.

    A network judges how a face looks, is wrong at times, and more often on some people than on others: see
    docs/gender.md. The same call again goes on where it stopped; `face-organizer undo` takes it back.

    \b
    face-organizer gender --input input/2017 --output faces_female/2017 --gender Woman
    face-organizer gender --embeddings faces.pkl --output faces_male --gender Man
    """
    console = Console(as_json=as_json, quiet=quiet)
    check_place(output)
    started = time.perf_counter()
    with quiet_libraries(), ExitStack() as stack:
        bars: dict[str, Any] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                for bar in bars.values():
                    bar.close()
                bars[stage] = stack.enter_context(console.progress(total, "pictures"))
                bars[stage].initial = bars[stage].n = done
            bars[stage].update(done - bars[stage].n)

        words = {"keep": not dry_run, "on_progress": on_progress, "warn": console.warn, **options}
        found = fo.gender(inputs, folder=output, **words)
    used, total = found.used, found.table.total_files
    for problem in used["problems"]:
        console.warn(f"cannot look into {printable(problem)}")
    console.say(f"Model {used['model']}: {used['description']}; licence: {used['licence']}")
    console.say(f"Device {used['devices']} ({used['why_devices']}); {count(used['threads'], 'thread')} each")
    if used["searched"]:
        which = f"{used['searched']:,} of {total:,} pictures are in no table: "
        console.say(f"{which if used['searched'] < total else ''}{used['finder']} finds the faces")
    placed = place(fo.plan(found, output, mode=mode, unsure=UNSURE), dry_run=dry_run, console=console)
    counts, bad, seconds = found.counts(), found.unreadable(), time.perf_counter() - started
    console.files(f"{count(len(bad), 'file')} could not be used:", bad)
    if isinstance(placed, fo.Applied):
        console.say("Gender filter complete!")
        for folder, what in (("", found.gender), (UNSURE, UNSURE)):
            if placed.folders[folder]:
                images = count(placed.folders[folder], "image")
                console.say(f"  {what}: {images} → {printable(output / folder)}/")
    parts = " + ".join(f"{n:,} {label.replace('_', ' ')}" for label, n in counts.items())
    console.say(f"{count(total, 'picture')} = {parts}")
    known = f"; {used['known']:,} judged before" if used["known"] else ""
    rate = f"{total / max(seconds, 1e-9):.0f} pictures/s{known}"
    console.say(f"{seconds:.1f} s ({rate}); sure from {found.min_confidence:g}")
    console.result(
        {
            "output": os.fspath(output),
            "inputs": total,
            "counts": counts,
            "unreadable": [{"path": path, "reason": reason} for path, reason in bad],
            "gender": found.gender,
            "model": used["model"],
            "model_identity": used["identity"],
            "licence": used["licence"],
            "min_confidence": found.min_confidence,
            "known": used["known"],
            "seconds": round(seconds, 3),
            **summary(placed),
        }
    )
    return EXIT_SOME_UNUSABLE if bad or placed.missing or used["problems"] else EXIT_DONE

"""`face-organizer gender`: the pictures of women, or of men, out of many."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
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
_MODELS = "auto", "embedded", "insightface", "deepface"
_TABLES = "Tables of embed: their faces are judged, none is searched for again."
_VOTE = "Output of cluster, or its cluster_assignments.pkl: all photos of a person vote together."
_DETECTOR = """Find faces in --input with a detector of DeepFace (opencv, mtcnn, ssd, retinaface …), as the
original did, instead of --pack. Slower, and it finds fewer turned faces."""


def _choice(flag: str, text: str, *words: str) -> Callable[[Any], Any]:
    """An option with one of `words`, the first by default."""
    kind, metavar = click.Choice(words, case_sensitive=False), f"[{'|'.join(words)}]"
    return click.option(flag, type=kind, metavar=metavar, default=words[0], help=text)


@click.command(cls=ManyValues, context_settings={**HELP, "show_default": True})
@inputs_option("Folders or pictures. With --embeddings: which pictures of the tables, and others.")
@click.option(
    "-e", "--embeddings", "tables", multiple=True, type=FOLDER_OR_FILE, metavar="TABLE...", help=_TABLES
)
@output_option("Folder for the pictures that match.", required=True)
@_choice("--gender", "Which pictures match.", "Woman", "Man")
@_choice("--model", "Gender network; auto is the first of the others that is installed.", *_MODELS)
@click.option("--min-confidence", type=Finite(0.5, 1), help="Pictures below go to unsure/.  [default: 0.9]")
@_choice("--faces", "Which face decides: the main one, or any that surely matches.", "main", "any")
@click.option("--vote-by-person", "people", type=FOLDER_OR_FILE, metavar="CLUSTERS", help=_VOTE)
@click.option("--attributes", is_flag=True, help="Ages as well; with deepface, emotion and race too.")
@workers_option
@pack_option("Model pack that finds faces in --input.")
@click.option("--detector", metavar="BACKEND", help=_DETECTOR)
@device_option("Where the networks run: every GPU there is, the CPU, or GPUs by number.")
@walk_options
@place_options
@json_option
def gender(output: Path, mode: str, dry_run: bool, as_json: bool, quiet: bool, **options: Any) -> int:
    """Pick the pictures whose main face looks like a woman's (or a man's) into OUTPUT.

    Pictures that match go into OUTPUT itself, those on which the network is not sure into OUTPUT/unsure, and
    OUTPUT/gender.csv has a line for every picture: matched, other, unsure, no_face or unreadable. The same
    call again goes on where it stopped; `face-organizer undo` takes it back. A network judges how a face
    looks, is wrong at times, and more often on some people than on others: see docs/gender.md.

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
                bars[stage] = stack.enter_context(console.progress(total, "pictures"))
                bars[stage].initial = bars[stage].n = done
            bars[stage].update(done - bars[stage].n)
            if done == total:
                bars[stage].close()

        options |= {"keep": not dry_run, "on_progress": on_progress, "warn": console.warn}
        found = fo.gender(options.pop("inputs"), folder=output, **options)
    used, total = found.used, found.table.total_files
    if used["later"]:
        console.warn(
            f"{count(used['later'], 'face')} came after that clustering, judged without the others of their "
            "persons: cluster again first"
        )
    for problem in used["problems"]:
        console.warn(f"cannot look into {printable(problem)}")
    console.say(f"Model {used['model']}: {used['description']}; licence: {used['licence']}")
    console.say(f"Device {used['devices']} ({used['why_devices']}); {count(used['threads'], 'thread')} each")
    if used["searched"]:
        which = f"{used['searched']:,} of {total:,} pictures are in no table: "
        finder = f"{'detector' if options['detector'] else 'pack'} {used['finder']}"
        console.say(f"{which if used['searched'] < total else ''}{finder} finds the faces")
    placed = place(fo.plan(found, output, mode=mode, unsure=UNSURE), dry_run=dry_run, console=console)
    counts, seconds = found.counts(), time.perf_counter() - started
    bad = [(one.path, one.reason) for one in found.pictures if one.verdict == "unreadable"]
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
            "model_identity": used["identity"],
            **{name: used[name] for name in ("model", "licence", "known")},
            "min_confidence": found.min_confidence,
            "seconds": round(seconds, 3),
            **summary(placed),
        }
    )
    return EXIT_SOME_UNUSABLE if bad or placed.missing or used["problems"] else EXIT_DONE

"""`face-organizer embed`: pictures in, a face table out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, ManyValues, check_table_place, json_option
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, FaceOrganizerError, UsageError
from face_organizer.images import DEFAULT_MAX_PIXELS, Listing, listing, printable
from face_organizer.types import FaceTable, Outcome

if TYPE_CHECKING:
    from tqdm import tqdm

    from face_organizer.extract import Chunk

UNUSABLE = (Outcome.UNREADABLE, Outcome.UNSUPPORTED)
"""Outcomes of files that the program could not use; they make the exit code 3."""


@click.command(cls=ManyValues, context_settings=HELP)
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="DIR...",
    help="Folders or pictures; several after one flag are fine.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=FOLDER_OR_FILE,
    help="Table to write: NAME.pkl, or a folder NAME.faces for large collections.",
)
@click.option(
    "-w",
    "--workers",
    type=click.IntRange(1, 256),
    help="Threads that read and compute.  [default: one a core]",
)
@click.option("--pack", default="auto", show_default=True, help="Model pack: a name, a folder, or auto.")
@click.option(
    "--device",
    metavar="auto|cpu|N",
    help="Where the networks run: auto, cpu, or a GPU's number.  [default: $GPU_ID, else auto]",
)
@click.option(
    "--faces",
    type=click.Choice(["largest", "all"]),
    default="largest",
    show_default=True,
    help="One face a picture, or a row for each.",
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Detection score below which nothing is a face (0 to 1).",
)
@click.option(
    "--min-face-size",
    type=click.FloatRange(1),
    default=20,
    show_default=True,
    help="Smallest face, in pixels of the picture.",
)
@click.option(
    "--max-megapixels",
    type=click.FloatRange(0.01),
    default=DEFAULT_MAX_PIXELS / 1e6,
    show_default=True,
    help="Larger pictures are not decoded.",
)
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Look into subfolders.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN...",
    help="Leave out names or paths below the input that match, such as '*_mask.png'.",
)
@click.option(
    "--offset",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Leave out the first so many of the sorted pictures.",
)
@click.option("--limit", type=click.IntRange(1), help="Take so many pictures at most.")
@json_option
def embed(inputs: tuple[str, ...], output: Path, as_json: bool, quiet: bool, **options: Any) -> int:
    """Find the faces in pictures and compute their embeddings: the one slow step, done once.

    Every picture ends in one of: faces, no_face, too_small, unreadable, unsupported. Pictures are opened
    read-only. Similarities of embeddings are cosines in [-1, 1], larger is closer.

    \b
    face-organizer embed --input photos --output faces.pkl
    face-organizer embed --input 2017 2018 2019 --output faces.pkl --workers 8
    """
    from face_organizer import extract, packs, table
    from face_organizer.engine import choose_device, open_engine, stamp_of

    console = Console(as_json=as_json, quiet=quiet)
    check_table_place(output)
    found = listing(inputs, recursive=options["recursive"], exclude=options["exclude"])
    paths = list(found.paths)[options["offset"] :][: options["limit"]]
    _report_listing(found, inputs, len(paths), console)
    device, device_why = choose_device(options["device"], os.environ)
    pack = packs.resolve(options["pack"])
    console.say(f"Pack {pack.name} ({pack.why}); licence: {pack.licence}")
    console.say(f"Device {device} ({device_why})")
    settings = extract.ExtractOptions(
        faces=options["faces"],
        min_confidence=options["min_confidence"],
        min_face_size=options["min_face_size"],
        max_pixels=int(options["max_megapixels"] * 1e6),
    )
    engine = open_engine(pack, device)
    started = time.perf_counter()
    with quiet_libraries(), console.progress(len(paths), "pictures") as bar:
        result, seconds = extract.extract(
            paths,
            engine,
            settings,
            stamp=stamp_of(pack, engine, settings),
            lanes=options["workers"] or os.cpu_count() or 1,
            on_chunk=_counting(bar),
        )
    table.write(result, output)
    used = {"pack": pack.name, "device": str(device)}
    return _report(result, output, time.perf_counter() - started, seconds, used, console)


def _counting(bar: tqdm[Any]) -> Callable[[Chunk], None]:
    """What moves `bar` on by a chunk and shows how many faces and unusable files there were."""
    counts = {"faces": 0, "errors": 0}

    def on_chunk(chunk: Chunk) -> None:
        counts["faces"] += len(chunk.faces)
        counts["errors"] += sum(outcome in UNUSABLE for outcome in chunk.files.outcome)
        bar.set_postfix(counts, refresh=False)
        bar.update(len(chunk.files))

    return on_chunk


def _report_listing(found: Listing, inputs: tuple[str, ...], taken: int, console: Console) -> None:
    for folder in found.skipped:
        console.say(f"Left out {printable(folder)}: an output folder of this program")
    for problem in found.problems:
        console.warn(f"cannot look into {printable(problem)}")
    if not found.paths:
        where = ", ".join(printable(i) for i in inputs)
        raise FaceOrganizerError(
            f"no pictures in {where}" + (f" ({found.other:,} other files)" if found.other else "")
        )
    if not taken:
        raise UsageError(f"--offset leaves nothing of {len(found.paths):,} pictures")
    of = f" of {len(found.paths):,}" if taken < len(found.paths) else ""
    other = f", {found.other:,} other files left alone" if found.other else ""
    console.say(f"{taken:,}{of} pictures{other}")


def _report(
    result: FaceTable, output: Path, elapsed: float, seconds: Any, used: dict[str, str], console: Console
) -> int:
    counts = result.outcome_counts()
    files = result.files
    bad = [i for i, o in enumerate(files.outcome) if o in UNUSABLE]
    console.files(f"{len(bad):,} files could not be used:", [(files.path[i], files.reason[i]) for i in bad])
    words = {label: label.replace("_", " ") for label in counts} | {Outcome.FACES.label: "with faces"}
    parts = " + ".join(f"{n:,} {words[label]}" for label, n in counts.items() if n or label == "faces")
    rate = result.total_files / elapsed if elapsed else 0.0
    console.say(f"{result.total_files:,} pictures = {parts}")
    console.say(f"{len(result):,} faces in {elapsed:.1f} s ({rate:.0f} pictures/s) → {printable(output)}")
    total = sum(seconds.values()) or 1.0
    console.say(
        "Time by stage: " + ", ".join(f"{stage} {100 * s / total:.0f} %" for stage, s in seconds.items())
    )
    console.result(
        {
            "output": os.fspath(output),
            "inputs": result.total_files,
            "outcomes": counts,
            "faces": len(result),
            "seconds": round(elapsed, 3),
            "stages": {stage: round(s, 3) for stage, s in seconds.items()},
            "unusable": [{"path": files.path[i], "reason": files.reason[i]} for i in bad],
            **used,
        }
    )
    return EXIT_SOME_UNUSABLE if bad else EXIT_DONE

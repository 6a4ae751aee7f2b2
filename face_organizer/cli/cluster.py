"""`face-organizer cluster`: face tables in, one folder per person out."""

from __future__ import annotations

from pathlib import Path

import click

from face_organizer.cli.console import Console
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    Finite,
    ManyValues,
    NumberOrAuto,
    check_place,
    json_option,
    tables_option,
)
from face_organizer.cli.placing import place_options
from face_organizer.cli.sorting import sheets_option, sort_into_folders
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable


@click.command(cls=ManyValues, context_settings=HELP)
@tables_option
@click.option(
    "-o", "--output", required=True, type=FOLDER_OR_FILE, help="Folder for person_A, person_B and so on."
)
@click.option(
    "-k",
    "--clusters",
    type=NumberOrAuto(),
    default="2",
    show_default=True,
    help="How many people; auto finds out.",
)
@click.option(
    "--keep-strangers",
    is_flag=True,
    help="With a number of people: every face goes to the nearest, and none to unassigned.",
)
@click.option(
    "--threshold",
    type=Finite(-1, 1),
    help="Similarity from which two faces are one person.  [default: from the table]",
)
@click.option(
    "--min-cluster-size",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="With --clusters auto: people with fewer faces go to unassigned.",
)
@click.option(
    "--previous",
    type=FOLDER_OR_FILE,
    metavar="DIR|FILE",
    help="An earlier result: people keep their letters, and renamed ones their name and their faces.",
)
@click.option(
    "--one-per-photo/--no-one-per-photo",
    default=True,
    show_default=True,
    help="Two faces on one photo or video frame are rather not one person (mirrors and collages: say no).",
)
@click.option(
    "--frames/--no-frames",
    default=True,
    show_default=True,
    help="FaceSwap faces of one number on neighbouring frames are one person where nothing speaks against "
    "it.",
)
@click.option(
    "--restarts",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Runs of plain K-Means, where fewer people are found than asked for; the best is kept.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=1234,
    show_default=True,
    help="The same seed gives the same folders.",
)
@click.option(
    "--device",
    metavar="auto|cpu|N",
    help="Where FAISS computes: a GPU where it has one, the CPU, or the GPU of that number."
    "  [default: $GPU_ID, else auto]",
)
@sheets_option
@place_options
@json_option
def cluster(
    embeddings: tuple[Path, ...],
    output: Path,
    clusters: int | None,
    keep_strangers: bool,
    threshold: float | None,
    min_cluster_size: int,
    previous: Path | None,
    one_per_photo: bool,
    frames: bool,
    restarts: int,
    seed: int,
    device: str | None,
    sheets: int,
    mode: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Sort the pictures of one or more face tables into person_A, person_B …, the largest first.

    Pictures are copied byte for byte (or linked or moved, see --mode) and never changed; of two pictures with
    one name both are kept, the second as NAME_1. Faces that belong to none of the people go to unassigned.
    Faces are compared by the cosine of their embeddings, in [-1, 1], larger is closer. The same call again
    finishes what was interrupted; another one on the same folder replaces its result, and
    `face-organizer undo` takes it back.

    \b
    face-organizer cluster --embeddings faces.pkl --output people --clusters 2
    face-organizer cluster --embeddings faces.pkl --output people --clusters auto
    """
    from face_organizer import organize, table
    from face_organizer.cluster import result
    from face_organizer.cluster.divide import Options, divide
    from face_organizer.cluster.faiss_device import choose

    console = Console(as_json=as_json, quiet=quiet)
    check_place(output)
    merged = table.merge([table.read(path) for path in embeddings], [printable(p) for p in embeddings])
    if not len(merged):
        raise FaceOrganizerError(f"no faces among {merged.total_files:,} pictures: nothing to sort")
    console.say(f"{len(merged):,} faces of {merged.total_files:,} pictures ({table.describe(merged)})")
    if previous is None and (output / result.PICKLE).is_file() and organize.renamed(output):
        previous = output
        console.say(f"Persons keep the names that their folders have now in {printable(output)}")
    gpu, where = choose(device)
    console.say(where)
    divided = divide(
        merged,
        Options(
            clusters=clusters,
            restarts=restarts,
            seed=seed,
            threshold=threshold,
            min_cluster_size=min_cluster_size,
            keep_strangers=keep_strangers,
            photos=one_per_photo,
            frames=frames,
            previous=previous,
            gpu=gpu,
        ),
    )
    for line in divided.said:
        console.say(line)
    sorting = result.Sorting(
        merged,
        divided.clustering,
        divided.names,
        result.margins(merged.embeddings, divided.clustering),
        divided.reasons,
    )
    return sort_into_folders(
        sorting, output, mode=mode, dry_run=dry_run, sheets=sheets, console=console, facts=divided.facts
    )

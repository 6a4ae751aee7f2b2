"""`face-organizer cluster`: face tables in, one folder per person out."""

from __future__ import annotations

from pathlib import Path

import click

from face_organizer.cli.console import Console
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, ManyValues, check_place, json_option
from face_organizer.cli.placing import place_options
from face_organizer.cli.sorting import sheets_option, sort_into_folders
from face_organizer.errors import FaceOrganizerError
from face_organizer.files import printable


@click.command(cls=ManyValues, context_settings=HELP)
@click.option(
    "-e",
    "--embeddings",
    multiple=True,
    required=True,
    type=FOLDER_OR_FILE,
    metavar="TABLE...",
    help="Tables of embed; several after one flag are merged.",
)
@click.option(
    "-o", "--output", required=True, type=FOLDER_OR_FILE, help="Folder for person_A, person_B and so on."
)
@click.option(
    "-k", "--clusters", type=click.IntRange(1), default=2, show_default=True, help="How many people."
)
@click.option(
    "--restarts",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Runs of K-Means; the best is kept.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=1234,
    show_default=True,
    help="The same seed gives the same folders.",
)
@sheets_option
@place_options
@json_option
def cluster(
    embeddings: tuple[Path, ...],
    output: Path,
    clusters: int,
    restarts: int,
    seed: int,
    sheets: int,
    mode: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Sort the pictures of one or more face tables into person_A, person_B …, the largest first.

    Pictures are copied byte for byte (or linked or moved, see --mode) and never changed; of two pictures with
    one name both are kept, the second as NAME_1. Faces are compared by the cosine of their embeddings, in
    [-1, 1], larger is closer. The same call again finishes what was interrupted; another one on the same
    folder replaces its result, and `face-organizer undo` takes it back.

    \b
    face-organizer cluster --embeddings faces.pkl --output people --clusters 2
    """
    from face_organizer import assignments, table
    from face_organizer.cluster import clusterer

    console = Console(as_json=as_json, quiet=quiet)
    check_place(output)
    merged = table.merge([table.read(path) for path in embeddings], [printable(p) for p in embeddings])
    if not len(merged):
        raise FaceOrganizerError(f"no faces among {merged.total_files:,} pictures: nothing to sort")
    console.say(f"{len(merged):,} faces of {merged.total_files:,} pictures ({table.describe(merged)})")
    clustering = clusterer("kmeans", clusters=clusters, restarts=restarts, seed=seed).cluster(
        merged.embeddings
    )
    sorting = assignments.Sorting(
        merged,
        clustering,
        assignments.persons(clustering),
        assignments.margins(merged.embeddings, clustering),
        ["assigned"] * len(merged),
    )
    return sort_into_folders(sorting, output, mode=mode, dry_run=dry_run, sheets=sheets, console=console)

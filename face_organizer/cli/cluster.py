"""`face-organizer cluster`: face tables in, one folder per person out."""

from __future__ import annotations

import os
from pathlib import Path

import click

from face_organizer.cli.console import Console
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, ManyValues, check_place, json_option
from face_organizer.cli.placing import Placed, place, place_options
from face_organizer.errors import EXIT_DONE, EXIT_SOME_UNUSABLE, FaceOrganizerError
from face_organizer.files import printable
from face_organizer.types import Clustering, FaceTable, Outcome


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
@place_options
@json_option
def cluster(
    embeddings: tuple[Path, ...],
    output: Path,
    clusters: int,
    restarts: int,
    seed: int,
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
    names = assignments.persons(clustering)
    entries = (
        (path, names[label]) for path, label in zip(merged.face_paths(), clustering.labels, strict=True)
    )
    placed = place(entries, output, mode=mode, dry_run=dry_run, results=assignments.FILES, console=console)
    if not dry_run:
        assignments.write(output, merged, clustering)
    return _report(merged, clustering, placed, output, console)


def _report(merged: FaceTable, clustering: Clustering, placed: Placed, output: Path, console: Console) -> int:
    """Print folders and counts; every input picture is in exactly one of the last line's counts."""
    folders, gone = placed.folders, {m.source for m in placed.missing}
    if not placed.dry_run:
        console.say("Clustering complete!")
        for name in sorted(folders, key=lambda n: (len(n), n)):
            console.say(f"  {name}: {folders[name]:,} images → {printable(output / name)}/")
    outcomes = {
        label: n for label, n in merged.outcome_counts().items() if label != Outcome.FACES.label and n
    }
    parts = [f"{len(placed.sources):,} sorted", *(f"{len(gone):,} missing" for _ in [0] if gone)]
    parts += [f"{n:,} {label.replace('_', ' ')}" for label, n in outcomes.items()]
    console.say(f"{merged.total_files:,} pictures = {' + '.join(parts)}")
    console.result(
        {
            "output": os.fspath(output),
            "inputs": merged.total_files,
            "faces": len(merged),
            "sorted": len(placed.sources),
            "outcomes": merged.outcome_counts(),
            "persons": dict(folders),
            "cluster_sizes": clustering.sizes().tolist(),
            **placed.summary(),
            "missing": len(gone),
        }
    )
    return EXIT_SOME_UNUSABLE if gone else EXIT_DONE

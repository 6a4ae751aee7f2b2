"""`face-organizer evaluate`: how good a result of cluster is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from face_organizer.cli.console import Console
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, json_option
from face_organizer.errors import EXIT_DONE, UsageError
from face_organizer.files import printable


@click.command(context_settings=HELP)
@click.option(
    "-c",
    "--clusters",
    type=FOLDER_OR_FILE,
    metavar="DIR|FILE",
    required=True,
    help="Output folder of cluster, or its cluster_assignments.pkl.",
)
@click.option(
    "-l",
    "--labels",
    type=FOLDER_OR_FILE,
    metavar="CSV|DIR",
    help="Who is who: a CSV with the columns path and person (and face_index), or a folder per person.",
)
@click.option("--worst", type=click.IntRange(0), default=10, show_default=True, help="How many to show.")
@click.option(
    "--audit",
    type=click.IntRange(2, 100_000),
    metavar="N",
    help="Write N pairs to look at into --pairs; fill its column `same` with y, n or ?.",
)
@click.option(
    "--pairs",
    type=FOLDER_OR_FILE,
    default=Path("audit.csv"),
    show_default=True,
    help="The file with the pairs.",
)
@click.option("--answers", is_flag=True, help="Turn the answers in --pairs into an estimate.")
@click.option("--seed", type=click.IntRange(0), default=1234, show_default=True, help="Of the pairs drawn.")
@json_option
def evaluate(
    clusters: Path,
    labels: Path | None,
    worst: int,
    audit: int | None,
    pairs: Path,
    answers: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Judge a result of cluster against known people, or by pairs that you look at yourself.

    Scores are in [0, 1], 1 is best; a face in `unassigned` counts as a folder of its own. Pairwise scores
    count pairs of faces, so large people weigh most; BCubed counts faces.

    \b
    face-organizer evaluate --clusters people --labels photos_by_person
    face-organizer evaluate --clusters people --audit 200 --pairs audit.csv
    face-organizer evaluate --clusters people --answers --pairs audit.csv
    """
    if (labels is not None) + (audit is not None) + answers != 1:
        raise UsageError("one of --labels, --audit and --answers is wanted")
    console = Console(as_json=as_json, quiet=quiet)
    if labels is not None:
        return _against_labels(clusters, labels, worst, console)
    if audit is not None:
        return _audit(clusters, audit, pairs, seed, console)
    return _answers(pairs, console)


def _against_labels(clusters: Path, labels: Path, number: int, console: Console) -> int:
    from face_organizer.cluster import result as assignments
    from face_organizer.evaluate import audit as evaluation
    from face_organizer.evaluate import scores as metrics

    if not labels.exists():
        raise UsageError(f"{printable(labels)} is not there")
    result = assignments.read(clusters)
    known = evaluation.judged(result, labels)
    found = result.labels[known.rows]
    scores = metrics.score(found, known.people)
    poorest = metrics.worst(found, known.people, number)
    console.say(
        f"{len(known.rows):,} of {len(result.paths):,} faces have a known person; "
        f"{len(set(known.people)):,} people, {len(set(found[found >= 0].tolist())):,} clusters, "
        f"{int((found < 0).sum()):,} unassigned"
    )
    console.say("            precision  recall       F")
    for name in ("pairwise", "bcubed"):
        values = [getattr(scores, f"{name}_{part}") for part in ("precision", "recall", "f")]
        console.say(f"{name:<10}  {values[0]:9.4f}  {values[1]:6.4f}  {values[2]:6.4f}")
    console.say(f"NMI {scores.nmi:.4f}, purity {scores.purity:.4f}")
    for p in poorest:
        console.say(
            f"  {printable(p.person)}: F {p.f:.3f} (precision {p.precision:.3f}, recall {p.recall:.3f}), "
            f"{p.faces} faces in {p.clusters} places"
        )
    console.result(
        {
            "faces": len(result.paths),
            "judged": len(known.rows),
            "people": len(set(known.people)),
            **{k: None if v != v else v for k, v in scores.as_dict().items()},
            "worst": [asdict(p) for p in poorest],
        }
    )
    return EXIT_DONE


def _audit(clusters: Path, count: int, pairs: Path, seed: int, console: Console) -> int:
    from face_organizer.cluster import result as assignments
    from face_organizer.evaluate import audit as evaluation

    if pairs.is_dir():
        raise UsageError(f"{printable(pairs)} is a folder, where a file is wanted")
    if pairs.exists():
        raise UsageError(f"{printable(pairs)} is there; give another name, or remove it")
    result = assignments.read(clusters)
    drawn = evaluation.audit(result, count, seed)
    evaluation.write_audit(pairs, drawn)
    console.say(
        f"{len(drawn):,} pairs in {printable(pairs)}: fill the column `same` with y, n or ?, then\n"
        f"  face-organizer evaluate --clusters {printable(clusters)} --answers --pairs {printable(pairs)}"
    )
    console.result({"pairs": len(drawn), "file": str(pairs)})
    return EXIT_DONE


def _answers(pairs: Path, console: Console) -> int:
    from face_organizer.evaluate import audit as evaluation

    estimates = evaluation.answered(pairs)
    words = {
        "precision": "a face and another one of its folder are one person",
        "split": "a face and one of the folder most like its own are one person after all",
    }
    for name, e in estimates.items():
        console.say(
            f"{name}: {e.share:.1%} (95 %: {e.low:.1%} to {e.high:.1%}) — how often {words[name]}; "
            f"{e.answers} answers, {e.unsure} unsure"
        )
    console.result({name: asdict(e) for name, e in estimates.items()})
    return EXIT_DONE

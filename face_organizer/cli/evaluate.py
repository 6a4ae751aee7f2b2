"""`face-organizer evaluate`: how good a result of cluster is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, json_option, option
from face_organizer.errors import UsageError
from face_organizer.files import count, printable


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
@option("--worst", type=click.IntRange(0), default=10, metavar="N", help="Name the N people that fit worst.")
@click.option(
    "--audit",
    "number",
    type=click.IntRange(2, 100_000),
    metavar="N",
    help="Write N pairs to look at into --pairs, and a page beside it to answer them on.",
)
@option("--pairs", type=FOLDER_OR_FILE, default=Path("audit.csv"), help="The file with the pairs.")
@click.option("--answers", is_flag=True, help="Turn the answers in --pairs into an estimate.")
@option("--seed", type=click.IntRange(0), default=1234, help="Of the pairs drawn.")
@json_option
def evaluate(
    clusters: Path,
    labels: Path | None,
    worst: int,
    number: int | None,
    pairs: Path,
    answers: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Judge a result of cluster against known people, or by pairs that you look at yourself.

    Scores are in [0, 1], 1 is best; a face in `unassigned` counts as a folder of its own. Pairwise scores
    count pairs of faces, so large people weigh most; BCubed counts faces.

    \b
    face-organizer evaluate --clusters people --labels photos_by_person
    face-organizer evaluate --clusters people --audit 200 --pairs audit.csv
    face-organizer evaluate --clusters people --answers --pairs audit.csv
    """
    if (labels is not None) + (number is not None) + answers != 1:
        raise UsageError("one of --labels, --audit and --answers is wanted")
    console = Console(as_json=as_json, quiet=quiet)
    if labels is not None:
        _against_labels(fo.evaluate(clusters, labels, worst_people=worst), console)
    elif number is not None:
        drawn = fo.audit(clusters, pairs, number, seed=seed)
        page = pairs.with_suffix(".html")
        console.say(
            f"{count(drawn, 'pair')} in {printable(pairs)}: answer and save them on {printable(page)}, "
            "in a browser, or fill the column `same` with y, n or ?; then\n"
            f"  face-organizer evaluate --clusters {printable(clusters)} --answers --pairs {printable(pairs)}"
        )
        console.result({"pairs": drawn, "file": str(pairs), "page": str(page)})
    else:
        _answers(pairs, clusters, console)


def _against_labels(found: Any, console: Console) -> None:
    console.say(
        f"{found.judged:,} of {count(found.faces, 'face')} have a known person; "
        f"{count(found.people, 'person', 'people')}, {count(found.clusters, 'cluster')}, "
        f"{found.unassigned:,} unassigned"
    )
    if found.strange:
        console.warn(
            f"{count(found.strange, 'picture')} of known people not judged, since this result does not hold "
            "them: cluster again where they came later"
        )
    scores = found.scores._asdict()
    console.say("            precision  recall       F")
    for name in ("pairwise", "bcubed"):
        precision, recall, f = (scores[f"{name}_{part}"] for part in ("precision", "recall", "f"))
        console.say(f"{name:<10}  {precision:9.4f}  {recall:6.4f}  {f:6.4f}")
    console.say(f"NMI {scores['nmi']:.4f}, purity {scores['purity']:.4f}")
    for p in found.worst:
        console.say(
            f"  {printable(p.person)}: F {p.f:.3f} (precision {p.precision:.3f}, recall {p.recall:.3f}), "
            f"{count(p.faces, 'face')} in {count(p.clusters, 'place')}"
        )
    counts = {"faces": found.faces, "judged": found.judged, "people": found.people, "strange": found.strange}
    known = {k: None if v != v else v for k, v in scores.items()}
    console.result({**counts, **known, "worst": [p._asdict() for p in found.worst]})


def _answers(pairs: Path, clusters: Path, console: Console) -> None:
    estimates = fo.answered(pairs, clusters)
    words = {
        "precision": "a face and another one of its folder are one person",
        "split": "a face and one of the folder most like its own are one person after all",
        "missed": "an unassigned face and one of the folder most like it are one person after all",
    }
    for name, e in estimates.items():
        console.say(
            f"{name}: {e.share:.1%} (95 %: {e.low:.1%} to {e.high:.1%}) — how often {words[name]}; "
            f"{count(e.answers, 'answer')}, {e.unsure:,} unsure"
            + (f", {e.blank:,} not answered yet" if e.blank else "")
        )
    console.result({name: e._asdict() for name, e in estimates.items()})

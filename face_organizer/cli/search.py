"""`face-organizer search`: some photos of a person in, every photo with that person out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from face_organizer.cli.console import Console, quiet_libraries
from face_organizer.cli.options import (
    FOLDER_OR_FILE,
    HELP,
    Finite,
    ManyValues,
    check_place,
    json_option,
    tables_option,
)
from face_organizer.cli.placing import place_options
from face_organizer.errors import FaceOrganizerError, UsageError
from face_organizer.files import printable

if TYPE_CHECKING:
    from face_organizer.search.match import Rules
    from face_organizer.search.profiles import Profile
    from face_organizer.types import FaceTable

_DEFAULT_RATE = 2e-6  # search.finding.FALSE_MATCHES, which `--help` need not load


@click.command(cls=ManyValues, context_settings=HELP)
@tables_option
@click.option(
    "-r",
    "--reference",
    type=FOLDER_OR_FILE,
    metavar="DIR",
    help="Photos of one person, or a folder of photos for each person.",
)
@click.option("--name", help="What the one person is called.  [default: the folder's name]")
@click.option(
    "--profile",
    "saved",
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
@click.option("-o", "--output", type=FOLDER_OR_FILE, help="Folder for NAME/, NAME/review/ and the report.")
@click.option(
    "--reference-face",
    type=click.Choice(["only", "largest"]),
    default="only",
    show_default=True,
    help="Of a reference photo with several faces: leave it out, or take its main face.",
)
@click.option("--keep-outliers", is_flag=True, help="Use references that are unlike the others too.")
@click.option(
    "--false-matches",
    type=Finite(1e-12, 0.1),
    default=_DEFAULT_RATE,
    show_default=True,
    metavar="RATE",
    help="Share of other people's faces that may pass for a match: 1e-4 is one in 10,000. Review takes 100"
    " times as many.",
)
@click.option(
    "--threshold",
    type=Finite(-1, 1),
    help="Cosine from which a face is a match, instead of --false-matches.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="For children and siblings: a tenth of the false matches, and two thirds of references must agree.",
)
@click.option(
    "--second-opinion",
    is_flag=True,
    help="Ask embeddings weighted by the variance of their elements too; what they deny is for review.",
)
@click.option("--pack", help="Pack of the references.  [default: the one that made the table]")
@click.option(
    "--device", metavar="auto|cpu|N", help="Where references are embedded.  [default: $GPU_ID, else auto]"
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Without --output: so many faces of each person are shown.",
)
@click.option(
    "--thumbnails",
    type=click.IntRange(0, 10_000),
    default=500,
    show_default=True,
    help="Faces shown in the workbook.",
)
@click.option(
    "--frames",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    help="Of videos: write so many frames that show each person best, as JPEG.",
)
@place_options
@json_option
def search(
    embeddings: tuple[Path, ...], output: Path | None, as_json: bool, quiet: bool, **options: Any
) -> int:
    """Find every photo of one person, or of several at once, in tables of embed.

    Photos go into NAME/, doubtful ones into NAME/review/; report.xlsx, report.csv and report.json tell each
    face; NAME.jpg shows them. Without --output the nearest faces are printed. Similarities are cosines to the
    mean of the references, in [-1, 1], larger is closer; the thresholds come from the other faces of the
    collection. Originals are never changed.

    \b
    face-organizer search --embeddings event.pkl --reference refs --output found
    face-organizer search --embeddings event.pkl --reference refs/Anna --top 10
    """
    from face_organizer import table
    from face_organizer.cli import search_results
    from face_organizer.search import match

    console = Console(as_json=as_json, quiet=quiet)
    _check(output, options)
    started = time.perf_counter()
    searched = table.merge([table.read(path) for path in embeddings], [printable(p) for p in embeddings])
    if not len(searched):
        raise FaceOrganizerError(f"no faces among {searched.total_files:,} pictures: nobody to find")
    console.say(f"{len(searched):,} faces of {searched.total_files:,} pictures ({table.describe(searched)})")
    rules = match.Rules(
        options["false_matches"], options["threshold"], options["strict"], options["second_opinion"]
    )
    people = _profiles(searched, options, console)
    asked = time.perf_counter()
    found = match.search(searched.embeddings, people, rules)
    seconds = time.perf_counter() - asked
    console.say(f"{len(people):,} persons compared with {len(searched):,} faces in {seconds:.2f} s")
    settings = _settings(embeddings, options, rules)
    if output is None:
        return search_results.show(searched, found, settings, options["top"], console)
    return search_results.write(searched, found, settings, output, options, started, console)


def _check(output: Path | None, options: dict[str, Any]) -> None:
    if not (options["reference"] or options["saved"] or options["persons"]):
        raise UsageError("whom to find? Give --reference, --profile or --from-person")
    if bool(options["persons"]) != bool(options["people"]):
        raise UsageError("--from-person and --people go together: a person, and the folder of the clustering")
    if options["name"] and not options["reference"]:
        raise UsageError("--name names the person of --reference")
    if output:
        check_place(output)
    elif options["dry_run"]:
        raise UsageError("--dry-run shows what would go into --output")


def _profiles(searched: FaceTable, options: dict[str, Any], console: Console) -> list[Profile]:
    """Everybody who is searched for, by name."""
    from face_organizer.organize import is_folder
    from face_organizer.search import profiles, references
    from face_organizer.search.threshold import sample

    some = sample(searched.embeddings)
    made: list[Profile] = []
    given: dict[str, references.Given] = {}
    if options["reference"]:
        given |= _look(searched, options, console)
    for name in options["persons"]:
        if name in given:
            raise UsageError(f"two persons called {printable(name)}")
        given[name] = references.from_person(name, options["people"], searched)
    for name, one in given.items():
        made.append(
            profiles.make(
                name,
                one.vectors,
                one.sources,
                searched.stamp,
                sample=some,
                keep_outliers=options["keep_outliers"],
                unusable=one.unusable,
            )
        )
    for path in options["saved"]:
        profile = profiles.read(path)
        references.check_space(profile, searched)
        made.append(profile)
    names = [profile.name for profile in made]
    for profile in made:
        if "/" in profile.name or not profile.name or not is_folder(profile.name):
            raise UsageError(
                f"{printable(profile.name)!r} cannot be the name of a folder: give another --name"
            )
        if names.count(profile.name) > 1:
            raise UsageError(f"two persons called {printable(profile.name)}")
        if profile.name not in given:
            continue
        left = [(r.source, r.reason) for r in profile.references if r.reason]
        console.files(f"{printable(profile.name)}: {len(left):,} references are left out:", left)
        for doubt in profile.doubts:
            console.warn(f"{printable(profile.name)}: {doubt}")
    return sorted(made, key=lambda p: os.fsencode(p.name))


def _look(searched: FaceTable, options: dict[str, Any], console: Console) -> dict[str, Any]:
    from face_organizer.embed import plan_threads
    from face_organizer.networks.devices import choose_one
    from face_organizer.search import references

    people = references.folders(options["reference"], options["name"])
    pack = references.pack_for(searched, options["pack"])
    if searched.stamp is None:
        console.warn("the table does not tell its pack: whether --pack is the right one cannot be checked")
    device, _ = choose_one(options["device"])
    count = sum(map(len, people.values()))
    console.say(f"{count:,} reference photos of {len(people):,} persons, by pack {pack.name}")
    with quiet_libraries():
        return references.from_photos(
            people,
            searched,
            pack=pack,
            device=device,
            lanes=plan_threads(None, [device]).count,
            largest=options["reference_face"] == "largest",
        )


def _settings(embeddings: Sequence[Path], options: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """All that reproduces the run."""
    from face_organizer import __version__

    def place_of(path: Path | None) -> str | None:
        return os.path.abspath(path) if path else None

    return {
        "command": "search",
        "version": __version__,
        "embeddings": [place_of(p) for p in embeddings],
        "reference": place_of(options["reference"]),
        "name": options["name"],
        "profile": [place_of(p) for p in options["saved"]],
        "from_person": list(options["persons"]),
        "people": place_of(options["people"]),
        "reference_face": options["reference_face"],
        "keep_outliers": options["keep_outliers"],
        "false_matches": options["false_matches"],
        "threshold": options["threshold"],
        "strict": options["strict"],
        "second_opinion": options["second_opinion"],
        "pack": options["pack"],
        "match_rate": rules.match_rate if rules.threshold is None else None,
        "review_rate": rules.review_rate,
        "mode": options["mode"],
    }

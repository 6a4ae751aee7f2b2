"""`face-organizer sort`: embed and cluster in one call, for who wants no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from face_organizer.cli.cluster import cluster
from face_organizer.cli.embed import embed
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, ManyValues, NumberOrAuto, check_place, option
from face_organizer.files import MARKER

TABLE = "faces.faces"
"""Name of the table, in the output's own folder."""
_NOT_HERE = ("inputs", "output", "embeddings", "clusters")
_LOOKING = {p.name: p for p in embed.params if p.name and p.name not in _NOT_HERE}
_SORTING = {p.name: p for p in cluster.params if p.name and p.name not in _NOT_HERE}


@click.command(cls=ManyValues, context_settings=HELP)
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.argument("people", type=FOLDER_OR_FILE, metavar="PEOPLE")
@option("-k", "--clusters", type=NumberOrAuto(1), default="auto", help="How many people; auto finds out.")
def sort(photos: tuple[str, ...], people: Path, clusters: int | None, **options: Any) -> int:
    """Sort PHOTOS, folders of pictures and videos, into folders of persons in PEOPLE.

    What `embed` and then `cluster` do, with the options of both. The table of faces is kept in PEOPLE: the
    same call again looks only at pictures that are new or changed, learns what was corrected by hand in
    PEOPLE, and goes on after Ctrl-C. --dry-run looks at the pictures, keeps the table, and shows the rest.

    \b
    face-organizer sort photos people
    face-organizer sort 2017 2018 people -k 5 --names references
    """
    check_place(people)
    table, context = people / MARKER / TABLE, click.get_current_context()
    looking = {name: options[name] for name in _LOOKING}
    looking |= {"as_json": False, "quiet": options["quiet"] or options["as_json"]}
    code: int = context.invoke(embed, inputs=photos, output=table, **looking)
    sorting = {name: options[name] for name in _SORTING}
    if "," in (options["device"] or ""):
        sorting["device"] = None  # one is enough to compare faces on
    return context.invoke(cluster, embeddings=(table,), output=people, clusters=clusters, **sorting) or code


sort.params += {**_SORTING, **_LOOKING}.values()

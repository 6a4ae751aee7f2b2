"""`face-organizer packs`: the model packs on this machine."""

from __future__ import annotations

import dataclasses

import click

from face_organizer.cli.console import Console, table_of
from face_organizer.cli.options import HELP, json_option
from face_organizer.errors import EXIT_DONE, EXIT_FAILED


@click.group(context_settings=HELP)
def packs() -> None:
    """Model packs: a detector and an embedder that belong together.

    opencv is built in and free for any use. InsightFace's packs recognise better; their weights are for
    non-commercial research only.
    """


@packs.command("list")
@json_option
def list_(as_json: bool, quiet: bool) -> None:
    """List known and installed packs with their licences."""
    from face_organizer.networks.packs import listing, resolve

    console = Console(as_json=as_json, quiet=quiet)
    rows = listing()
    header = ("PACK", "INSTALLED", "DIMENSIONS", "LICENCE", "WHERE")
    lines = [
        (r.name, "yes" if r.installed else "no", str(r.dim), r.licence, r.where if r.installed else "")
        for r in rows
    ]
    console.say(table_of([header, *lines]))
    auto = resolve("auto")
    console.say(f"\n--pack auto takes {auto.name}: {auto.why}")
    console.result({"packs": [dataclasses.asdict(r) for r in rows], "auto": auto.name})


@packs.command()
@click.argument("name")
@json_option
def pull(name: str, as_json: bool, quiet: bool) -> None:
    """Download the InsightFace pack NAME; nothing else downloads unless --allow-downloads is given.

    A download that was cut off goes on where it stopped. Weights: non-commercial research only.
    """
    from face_organizer.networks.download import pull as download

    console = Console(as_json=as_json, quiet=quiet)
    pack = download(name, progress=not quiet)
    console.say(f"{pack.name} → {pack.folder}; licence: {pack.licence}")
    console.result({"pack": pack.name, "folder": str(pack.folder), "licence": pack.licence})


@packs.command()
@click.argument("names", nargs=-1)
@json_option
def verify(names: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Check the files of packs against their known or recorded SHA-256; all installed ones without NAMES."""
    from face_organizer.networks.packs import find, installed
    from face_organizer.networks.packs import verify as check

    console = Console(as_json=as_json, quiet=quiet)
    chosen = [find(name) for name in names] if names else installed()
    checked = [(pack, row) for pack in chosen for row in check(pack)]
    words = {True: "ok", False: "WRONG"}
    lines = [(p.name, r.file.name, words[r.ok], r.source, r.sha256) for p, r in checked]
    console.say(table_of([("PACK", "FILE", "STATE", "AGAINST", "SHA256"), *lines]))
    wrong = [row for _, row in checked if not row.ok]
    for row in wrong:
        console.warn(f"{row.file} has SHA-256 {row.sha256}, not {row.expected}: fetch the pack again")
    console.result(
        {"files": [{**dataclasses.asdict(r), "file": str(r.file), "pack": p.name} for p, r in checked]}
    )
    return EXIT_FAILED if wrong else EXIT_DONE

"""`face-organizer packs`: the model packs on this machine."""

from __future__ import annotations

from dataclasses import asdict

import click
from tqdm import tqdm

import face_organizer as fo
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
    console = Console(as_json=as_json, quiet=quiet)
    rows = fo.list_packs()
    header = ("PACK", "INSTALLED", "DIMENSIONS", "LICENCE", "WHERE")
    lines = [
        (r.name, "yes" if r.installed else "no", str(r.dim), r.licence, r.where if r.installed else "")
        for r in rows
    ]
    console.say(table_of([header, *lines]))
    auto = next(row for row in rows if row.auto)
    if auto.installed:
        console.say(f"\n--pack auto takes {auto.name}: {auto.auto}")
    else:
        console.warn(f"--pack auto cannot take {auto.name}: {auto.auto}")
    console.result({"packs": [asdict(row) for row in rows], "auto": auto.name})


@packs.command()
@click.argument("name")
@json_option
def pull(name: str, as_json: bool, quiet: bool) -> None:
    """Download the InsightFace pack NAME; nothing else downloads unless --allow-downloads is given.

    A download that was cut off goes on where it stopped. Weights: non-commercial research only.
    """
    console = Console(as_json=as_json, quiet=quiet)
    with tqdm(desc=f"{name}.zip", unit="B", unit_scale=True, disable=quiet) as bar:

        def on_bytes(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        pack = fo.pull_pack(name, on_bytes=on_bytes)
    console.say(f"{pack.name} → {pack.folder}; licence: {pack.licence}")
    console.result({"pack": pack.name, "folder": str(pack.folder), "licence": pack.licence})


@packs.command()
@click.argument("names", nargs=-1)
@json_option
def verify(names: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Check the files of packs against their known or recorded SHA-256; all installed ones without NAMES."""
    console = Console(as_json=as_json, quiet=quiet)
    rows = fo.verify_packs(names)
    lines = [(r.pack, r.file.name, "ok" if r.ok else "WRONG", r.source, r.sha256) for r in rows]
    console.say(table_of([("PACK", "FILE", "STATE", "AGAINST", "SHA256"), *lines]))
    wrong = [row for row in rows if not row.ok]
    for row in wrong:
        console.warn(f"{row.file} has SHA-256 {row.sha256}, not {row.expected}: fetch the pack again")
    console.result({"files": [{**asdict(row), "file": str(row.file)} for row in rows]})
    return EXIT_FAILED if wrong else EXIT_DONE

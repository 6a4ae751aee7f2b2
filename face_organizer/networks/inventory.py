"""Which packs are on this machine, and whether their files are what they were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from face_organizer.errors import PackError
from face_organizer.files import os_errors, write_json
from face_organizer.networks import packs
from face_organizer.networks.graphs import WRITABLE


@dataclass(frozen=True, slots=True)
class Listed:
    """One pack of `list_packs`. `where` is a folder, or what is wrong, or how to get it; `auto` says why
    `auto` takes this pack, or would if it were whole (empty for the others)."""

    name: str
    installed: bool
    where: str
    licence: str
    dim: int
    auto: str = ""


def list_packs() -> list[Listed]:
    """Every known pack and every other one where packs are searched for, by name, opencv first."""
    found = [path for place in packs.search_folders() for path in place.glob("*")]
    names = {*packs.KNOWN, *(path.name for path in found if packs.holds_models(path))} - {packs.EMBEDDED}
    try:
        auto, why = packs.resolve("auto").name, packs.resolve("auto").why
    except PackError as error:
        auto, why = packs.DEFAULT, str(error)
    rows = []
    for name in [packs.EMBEDDED, *sorted(names)]:
        pack, there = packs.KNOWN.get(name), True
        try:
            pack = packs.find(name)
            where = str(pack.folder)
        except PackError as error:
            where, there = str(error), False
        licence, dim = (pack.licence, pack.embedder.dim) if pack else (packs.UNKNOWN_LICENCE, 0)
        rows.append(Listed(name, there, where, licence, dim, why if name == auto else ""))
    return rows


def installed() -> list[packs.Pack]:
    """The packs that can be used now, in the order of `list_packs`."""
    return [packs.find(row.name) for row in list_packs() if row.installed]


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether one file of a pack is as it should be. `source` of `expected`: pinned, recorded, or first use
    (recorded now)."""

    pack: str
    file: Path
    sha256: str
    expected: str
    source: str
    ok: bool


def verify_packs(names: Sequence[str] = ()) -> list[Checked]:
    """Compare the files of these packs (names or folders; none given: all installed) with their SHA-256.

    That of opencv is pinned. InsightFace publishes none: a first look is recorded and trusted, later ones
    must agree. PackError for a pack that is not there, or a record that cannot be read or written.
    """
    rows = []
    for pack in [packs.find(name) for name in names] if names else installed():
        owner = pack.name if pack.name in packs.KNOWN else str(pack.folder.resolve())
        for role in (pack.detector, pack.embedder):
            if pack.name == packs.EMBEDDED:
                expected, source = packs.PINNED[role.path.name], "pinned"
            else:
                expected, source = record(f"{owner}/{role.path.name}", role.sha256)
            same = role.sha256 == expected
            rows.append(Checked(pack.name, role.path, role.sha256, expected, source, same))
    return rows


def record(key: str, digest: str) -> tuple[str, str]:
    """The hash on record for `key` (`digest` from now on where there was none) and its `Checked.source`."""
    path = packs.pack_folder() / "hashes.json"
    try:
        known = {str(k): str(v) for k, v in json.loads(path.read_text("utf-8")).items()}
    except FileNotFoundError:
        known = {}
    except (OSError, ValueError, AttributeError) as error:
        why = f"{path}, the record of file hashes, cannot be read ({error})"
        raise PackError(why, "delete it") from error
    if key in known:
        return known[key], "recorded"
    with os_errors(path, "cannot be written", PackError, WRITABLE):
        write_json(path, {**known, key: digest})
    return digest, "first use"

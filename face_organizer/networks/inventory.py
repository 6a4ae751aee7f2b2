"""Which packs are on this machine, and whether their files are what they were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from face_organizer.errors import PackError
from face_organizer.files import atomic_write
from face_organizer.networks import packs


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
    there = [path for place in packs.search_folders() for path in place.iterdir()]
    names = {path.name for path in there if packs.holds_models(path)}
    try:
        auto, why = packs.resolve("auto").name, packs.resolve("auto").why
    except PackError as error:
        auto, why = packs.DEFAULT, str(error)
    rows = []
    for name in [packs.EMBEDDED, *sorted({*packs.KNOWN, *names} - {packs.EMBEDDED})]:
        because = why if name == auto else ""
        try:
            pack = packs.find(name)
        except PackError as error:
            known = packs.KNOWN.get(name)
            licence = packs.INSIGHTFACE_LICENCE if known else packs.UNKNOWN_LICENCE
            rows.append(Listed(name, False, str(error), licence, known.dim if known else 0, because))
        else:
            rows.append(Listed(name, True, str(pack.folder), pack.licence, pack.embedder.dim, because))
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
    """Compare the files of these packs (names or folders; none given: all installed) with their known or
    recorded SHA-256. PackError for a pack that is not there."""
    chosen = [packs.find(name) for name in names] if names else installed()
    return [row for pack in chosen for row in verify(pack)]


def verify(pack: packs.Pack) -> list[Checked]:
    """Compare the pack's files with the pinned hashes (opencv) or with those recorded at their first use.

    InsightFace publishes no checksums: a first look is recorded and trusted, later looks must agree.
    PackError where the record cannot be read or written.
    """
    rows = []
    for role in (pack.detector, pack.embedder):
        digest = role.sha256
        if pack.name == packs.EMBEDDED:
            expected, source = packs.PINNED[role.path.name], "pinned"
        else:
            owner = pack.name if pack.name in packs.KNOWN else str(pack.folder.resolve())
            expected, first = record(f"{owner}/{role.path.name}", digest)
            source = "first use" if first else "recorded"
        rows.append(Checked(pack.name, role.path, digest, expected, source, digest == expected))
    return rows


def record(key: str, digest: str) -> tuple[str, bool]:
    """The hash on record for `key` (`digest` from now on where there was none); whether there was none."""
    path = packs.pack_folder() / "hashes.json"
    try:
        known = json.loads(path.read_text("utf-8")) if path.exists() else {}
        known = {str(name): str(value) for name, value in known.items()}
    except (OSError, ValueError, AttributeError) as error:
        why = f"{path}, the record of file hashes, cannot be read ({error})"
        raise PackError(why, "delete it") from error
    if key in known:
        return known[key], False
    known[key] = digest
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(known, indent=1, sort_keys=True).encode() + b"\n")
    except OSError as error:
        mend = "set FACE_ORGANIZER_CACHE to a folder that can be written"
        raise PackError(f"{path} cannot be written: {error.strerror}", mend) from error
    return digest, True

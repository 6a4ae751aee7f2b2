"""Fetching model packs: the only code of face-organizer that uses the network, and only when asked to.

A download goes to `NAME.zip.part`, takes up where it was cut (HTTP Range), is checked, unpacked into a
temporary folder and renamed into place, so a pack is either whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import http
import http.client
import json
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from face_organizer.errors import DownloadError, PackError, UsageError
from face_organizer.networks import packs
from face_organizer.networks.unpack import unpack

TIMEOUT = 8.0
"""Seconds to connect, and to wait for the next bytes."""
_CHUNK = 1 << 18


def pull(
    name: str,
    *,
    progress: bool = True,
    url: str | None = None,
    sha256: str | None = None,
    timeout: float = TIMEOUT,
) -> packs.Pack:
    """Download the pack `name` into `packs.pack_folder()`; one that is installed comes back at once.

    `url` stands in for the publisher's (a mirror). `sha256` of the zip is checked where given; else the
    hash is recorded at the first download and later ones must agree. `progress` shows a bar on stderr.

    Errors: UsageError for a name that is not published; DownloadError in one line that says what to do.
    """
    if name == packs.EMBEDDED:
        return packs.find(name)
    if name not in packs.KNOWN:
        raise UsageError(f"no pack {name!r} can be fetched; there are {', '.join(packs.KNOWN)}")
    with contextlib.suppress(PackError):
        return packs.find(name)
    source = url or packs.URL.format(name=name)
    folder = packs.pack_folder()
    part = folder / f"{name}.zip.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(source, part, folder / name, progress, timeout)
        _check(name, part, sha256)
        _install(part, folder / name)
    except OSError as error:
        raise DownloadError(f"{name} cannot be installed in {folder}: {error.strerror or error}") from error
    return packs.from_folder(folder / name)


# --- the transfer ---


def _fetch(url: str, part: Path, target: Path, progress: bool, timeout: float) -> None:
    """Bring `part` to its full size, going on where it was cut as long as every attempt brings bytes."""
    while True:
        before = _size(part)
        try:
            if _transfer(url, part, progress, timeout):
                return
        except urllib.error.HTTPError as error:
            error.close()
            raise DownloadError(
                f"{url} answers {error.code} {error.reason}; {_by_hand(url, target)}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            if _size(part) > before:
                continue
            why = getattr(error, "reason", None) or error
            kept = f"; {_size(part)} bytes are kept, run it again to go on" if _size(part) else ""
            raise DownloadError(f"{url} cannot be fetched: {why}{kept}; {_by_hand(url, target)}") from error
        if _size(part) <= before:
            raise DownloadError(
                f"{url} was cut at {_size(part)} bytes; run it again, or {_by_hand(url, target)}"
            )


def _by_hand(url: str, target: Path) -> str:
    return f"without a network here, download {url} on another machine and unpack it to {target}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _transfer(url: str, part: Path, progress: bool, timeout: float) -> bool:
    """One request; whether `part` is whole after it. Starts anew where the server's file is not the same."""
    have, seen = _size(part), _notes(part)
    headers = {"User-Agent": "face-organizer", "Accept-Encoding": "identity"}
    if have and seen.get("url") == url:
        headers["Range"] = f"bytes={have}-"
        if seen.get("etag"):
            headers["If-Range"] = str(seen["etag"])
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or "Range" not in headers:
            raise
        whole = error.headers.get("Content-Range", "") == f"bytes */{have}"
        error.close()
        if not whole:
            part.unlink()  # longer than the server's file: not a part of it
            return _transfer(url, part, progress, timeout)
        return True
    with response:
        start, total = _placed(response, have)
        if start and (start != have or total != seen.get("total", total)):
            part.unlink()
            return _transfer(url, part, progress, timeout)
        _notes(part, {"url": url, "total": total, "etag": _strong(response.headers.get("ETag"))})
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for block in _blocks(response, part.name, start, total, progress):
                file.write(block)
            file.truncate()
    return total is None or _size(part) == total


def _placed(response: Any, have: int) -> tuple[int, int | None]:
    """First byte that the answer brings, and the size of the whole file where told."""
    length = response.headers.get("Content-Length", "")
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        unit, _, place = response.headers.get("Content-Range", "").partition(" ")
        span, _, total = place.partition("/")
        first = span.partition("-")[0]
        if unit == "bytes" and first.isdigit():
            return int(first), int(total) if total.isdigit() else None
        return -1, None  # cannot be placed: start anew
    return 0, int(length) if length.isdigit() else None


def _strong(etag: str | None) -> str | None:
    """Weak validators may not be used with If-Range (RFC 9110, 13.1.5)."""
    return etag if etag and not etag.startswith("W/") else None


def _notes(part: Path, new: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is known of the file that `part` is a part of, beside it on disk."""
    path = part.with_suffix(".json")
    if new is not None:
        path.write_text(json.dumps(new), "utf-8")
        return new
    try:
        notes = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _blocks(response: Any, name: str, start: int, total: int | None, progress: bool) -> Iterator[bytes]:
    from tqdm import tqdm

    with tqdm(
        desc=name.removesuffix(".part"),
        initial=start,
        total=total,
        unit="B",
        unit_scale=True,
        disable=not progress,
    ) as bar:
        while block := response.read1(_CHUNK):
            bar.update(len(block))
            yield block


# --- what came ---


def _check(name: str, part: Path, sha256: str | None) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256:
        expected, whose = sha256.lower(), "it should be"
    elif zipfile.is_zipfile(part):  # a page of an error is not worth being recorded
        expected, whose = packs.record(f"{name}.zip", found)[0], "at the first download it was"
    else:
        expected, whose = found, ""
    if found != expected:
        _forget(part)
        raise DownloadError(
            f"{name}.zip has SHA-256 {found}, {whose} {expected}: it was changed or damaged and is deleted; "
            f"fetch it again, or, if the new one is right, remove {name}.zip from "
            f"{packs.pack_folder() / 'hashes.json'}"
        )


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_suffix(".json").unlink(missing_ok=True)


def _install(part: Path, target: Path) -> None:
    """Unpack `part` to `target`, whole or not at all; a `target` that is there (incomplete) is replaced."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        fresh = Path(temporary) / target.name
        try:
            unpack(part, fresh)
            packs.from_folder(fresh)
        except PackError as error:
            _forget(part)
            raise DownloadError(
                f"{part.name.removesuffix('.part')} is not usable and is deleted: {error}"
            ) from error
        if target.exists():
            target.rename(Path(temporary) / "old")
        fresh.rename(target)
    _forget(part)

"""Fetching model packs: the only code here that uses the network, over TLS alone, and only when asked to.

A download goes to `NAME.zip.part`, goes on where it was cut (HTTP Range), is checked, unpacked into a folder
beside and renamed into place, so a pack is either whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from face_organizer.errors import DownloadError, PackError, UsageError
from face_organizer.files import os_errors
from face_organizer.networks import inventory, packs

TIMEOUT = 8.0
"""Seconds to connect, and to wait for the next bytes."""
LARGEST = 2 << 30
"""Bytes that an archive may unpack to; InsightFace's largest pack has about 0.4 GB."""

OnBytes = Callable[[int, int | None], None]
"""Called as bytes come with how many there are, and of how many where the server says."""


def pull_pack(
    name: str,
    *,
    url: str | None = None,
    timeout: float = TIMEOUT,
    on_bytes: OnBytes = lambda done, total: None,
) -> packs.Pack:
    """Download the pack `name` into `packs.pack_folder()`; one that is installed comes back at once.

    `url` (https) stands in for the publisher's. The SHA-256 of the zip is recorded at the first download and
    later ones must agree. `timeout` is in seconds, for a connection and for the next bytes; `on_bytes` is
    told of the progress.

    Errors: UsageError for a name that is not published; DownloadError in one line that says what to do.
    """
    if name == packs.EMBEDDED:
        return packs.find(name)
    if name not in packs.KNOWN:
        raise UsageError(f"no pack {name!r} can be fetched", f"there are {', '.join(packs.KNOWN)}")
    with contextlib.suppress(PackError):
        return packs.find(name)
    source, target = url or packs.URL.format(name=name), packs.pack_folder() / name
    part = target.with_name(f"{name}.zip.part")
    with os_errors(target, "cannot be installed", DownloadError):
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(source, part, timeout, on_bytes)
        try:
            return _install(part, target)
        finally:
            part.unlink(missing_ok=True)


class _NoPlain(urllib.request.HTTPHandler):
    """Refuses HTTP without TLS, after a redirect too."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `HTTPHandler`."""
        raise urllib.error.URLError(f"{req.full_url} is not https")


def _fetch(url: str, part: Path, timeout: float, on_bytes: OnBytes) -> None:
    """Bring `part` to its full size, going on where it was cut as long as every attempt brings bytes."""
    by_hand = f"download {url} on another machine and unpack it to {str(part).removesuffix('.zip.part')}"
    mend = f"without a network here, {by_hand}"
    opener = urllib.request.build_opener(_NoPlain)
    while True:
        have = _size(part)
        headers = {"User-Agent": "face-organizer", "Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={have}-"} if have else {}
        try:
            with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
                if _save(response, part, have, on_bytes):
                    return
            why = "was cut"
        except urllib.error.HTTPError as error:
            error.close()
            if not have or error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise DownloadError(f"{url} answers {error.code} {error.reason}", mend) from error
            part.unlink()  # as long as the server's file or longer: begin anew
            continue
        except (OSError, http.client.HTTPException) as error:
            why = f"cannot be fetched: {getattr(error, 'reason', None) or error}"
        if _size(part) <= have:
            kept = f"; {_size(part)} bytes are kept, run it again to go on" if _size(part) else ""
            raise DownloadError(f"{url} {why}{kept}", mend)


def _save(response: http.client.HTTPResponse, part: Path, have: int, on_bytes: OnBytes) -> bool:
    """Write what comes to `part`, after what it has if that was asked for; whether it is whole then."""
    goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    length = response.headers.get("Content-Length", "")
    total = (have if goes_on else 0) + int(length) if length.isdecimal() else None
    with part.open("ab" if goes_on else "wb") as file:
        while block := response.read1(1 << 18):
            file.write(block)
            on_bytes(file.tell(), total)
    return total is None or _size(part) == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _install(part: Path, target: Path) -> packs.Pack:
    """Check `part` and unpack it to `target`, whole or not at all; an incomplete pack there is replaced."""
    archive = f"{target.name}.zip"
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        fresh = Path(temporary) / target.name
        try:
            unpack(part, fresh)
            packs.from_folder(fresh)
        except PackError as error:
            mend = "fetch it again: what was cut off may have been of another file"
            raise DownloadError(f"{archive} is not usable and is deleted: {error}", mend) from error
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        first, _ = inventory.record(archive, found)
        if found != first:
            why = f"{archive} has SHA-256 {found}, at the first download it had {first}; it is deleted"
            record = target.with_name("hashes.json")
            mend = f"fetch it again, or, if the new one is right, remove {archive} from {record}"
            raise DownloadError(why, mend)
        if target.exists():
            target.rename(Path(temporary) / "old")
        fresh.rename(target)
    return packs.from_folder(target)


def unpack(archive: Path, folder: Path, largest: int = LARGEST) -> None:
    """Unpack a zip from outside into the new `folder`. `zipfile` writes plain files and folders only, none
    outside, and no more of each than the archive says. DownloadError where that is more than `largest` bytes
    in all, or the archive is damaged."""
    try:
        with zipfile.ZipFile(archive) as source:
            if sum(member.file_size for member in source.infolist()) > largest:
                raise DownloadError(f"{archive.name} unpacks to more than a pack may hold")
            source.extractall(folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise DownloadError(f"{archive.name} is no whole zip archive: {error}") from error

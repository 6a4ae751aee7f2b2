"""Fetching model packs: the only code here that uses the network, over TLS alone, and only when asked to.

A download goes to `NAME.zip.part`, goes on where it was cut (HTTP Range), is checked, unpacked into a folder
beside and renamed into place, so a pack is either whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from face_organizer.errors import DownloadError, PackError, UsageError
from face_organizer.networks import inventory, packs

TIMEOUT = 8.0
"""Seconds to connect, and to wait for the next bytes."""
LARGEST = 2 << 30
"""Bytes that an archive may unpack to; InsightFace's largest pack has about 0.4 GB."""
_CHUNK = 1 << 18

OnBytes = Callable[[int, int | None], None]
"""Called as bytes come with how many there are, and of how many where the server says."""


def pull_pack(
    name: str,
    *,
    url: str | None = None,
    sha256: str | None = None,
    timeout: float = TIMEOUT,
    on_bytes: OnBytes = lambda done, total: None,
) -> packs.Pack:
    """Download the pack `name` into `packs.pack_folder()`; one that is installed comes back at once.

    `url` (https) stands in for the publisher's. `sha256` of the zip is checked where given; else the hash is
    recorded at the first download and later ones must agree. `timeout` is in seconds, for a connection and
    for the next bytes; `on_bytes` is told of the progress.

    Errors: UsageError for a name that is not published; DownloadError in one line that says what to do.
    """
    if name == packs.EMBEDDED:
        return packs.find(name)
    if name not in packs.KNOWN:
        raise UsageError(f"no pack {name!r} can be fetched", f"there are {', '.join(packs.KNOWN)}")
    with contextlib.suppress(PackError):
        return packs.find(name)
    source, folder = url or packs.URL.format(name=name), packs.pack_folder()
    part, target = folder / f"{name}.zip.part", folder / name
    mend = f"without a network here, download {source} on another machine and unpack it to {target}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        went_on = part.exists()
        while True:
            _fetch(source, part, timeout, on_bytes, mend)
            try:
                return _install(name, part, target, sha256)
            except DownloadError:
                if not went_on:
                    raise
                went_on = False  # what was there may have been of another file than what came now
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{name} cannot be installed in {folder}: {error.strerror or error}") from error


# --- the transfer ---


class _NoPlain(urllib.request.HTTPHandler):
    """Refuses HTTP without TLS, after a redirect too."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """See `HTTPHandler`."""
        raise urllib.error.URLError(f"{req.full_url} is not https")


def _fetch(url: str, part: Path, timeout: float, on_bytes: OnBytes, mend: str) -> None:
    """Bring `part` to its full size, going on where it was cut as long as every attempt brings bytes."""
    while True:
        before = _size(part)
        try:
            if _transfer(url, part, timeout, on_bytes):
                return
            why = "was cut"
        except urllib.error.HTTPError as error:
            error.close()
            raise DownloadError(f"{url} answers {error.code} {error.reason}", mend) from error
        except (OSError, http.client.HTTPException) as error:
            why = f"cannot be fetched: {getattr(error, 'reason', None) or error}"
        if _size(part) <= before:
            kept = f"; {_size(part)} bytes are kept, run it again to go on" if _size(part) else ""
            raise DownloadError(f"{url} {why}{kept}", mend)


def _transfer(url: str, part: Path, timeout: float, on_bytes: OnBytes) -> bool:
    """One request, for what is missing of `part`; whether it is whole after it."""
    have = _size(part)
    headers = {"User-Agent": "face-organizer", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        response = urllib.request.build_opener(_NoPlain).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if not have or error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return True
        part.unlink()  # longer than the server's file: not a part of it
        return _transfer(url, part, timeout, on_bytes)
    with response:
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start, length = have if goes_on else 0, response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        with part.open("ab" if goes_on else "wb") as file:
            while block := response.read1(_CHUNK):
                file.write(block)
                on_bytes(file.tell(), total)
    return total is None or _size(part) == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# --- what came ---


def _install(name: str, part: Path, target: Path, sha256: str | None) -> packs.Pack:
    """Check `part` and unpack it to `target`, whole or not at all; a `target` that is there (incomplete) is
    replaced."""
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    changed = f"{name}.zip has SHA-256 {found}, {{}} {{}}: it was changed or damaged and is deleted"
    if sha256 and found != sha256.lower():
        raise DownloadError(changed.format("it should be", sha256), "fetch it again")
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=target.parent) as temporary:
        fresh = Path(temporary) / name
        try:
            unpack(part, fresh)
            packs.from_folder(fresh)
        except PackError as error:
            raise DownloadError(f"{name}.zip is not usable and is deleted: {error}") from error
        first = found if sha256 else inventory.record(f"{name}.zip", found)[0]
        if found != first:
            where = packs.pack_folder() / "hashes.json"
            mend = f"fetch it again, or, if the new one is right, remove {name}.zip from {where}"
            raise DownloadError(changed.format("at the first download it was", first), mend)
        if target.exists():
            target.rename(Path(temporary) / "old")
        fresh.rename(target)
    return packs.from_folder(target)


def unpack(archive: Path, folder: Path, largest: int = LARGEST) -> None:
    """Unpack a zip from outside into the new `folder`: plain files and folders only.

    DownloadError for names that leave `folder`, links, more than `largest` bytes, or a damaged archive;
    `folder` then holds what came before.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                target = folder.joinpath(*_safe(member))
                if member.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with source.open(member) as content, target.open("xb") as file:
                    while block := content.read(_CHUNK):
                        largest -= len(block)  # what really comes, not what the archive says
                        if largest < 0:
                            raise DownloadError(f"{archive.name} unpacks to more than a pack may hold")
                        file.write(block)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise DownloadError(f"{archive.name} is no whole zip archive: {error}") from error


def _safe(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """The parts of a member's path, checked."""
    path, kind = PurePosixPath(member.filename), stat.S_IFMT(member.external_attr >> 16)
    leaves = path.is_absolute() or ".." in path.parts or not path.parts
    if leaves or "\\" in member.filename or ":" in member.filename:
        raise DownloadError(f"the archive holds {member.filename!r}, which would leave its folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DownloadError(f"the archive holds {member.filename!r}, which is a link or device")
    return path.parts

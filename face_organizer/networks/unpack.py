"""Unpacking zip archives from outside."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from face_organizer.errors import DownloadError

LARGEST = 2 << 30
"""Bytes that an archive may unpack to; InsightFace's largest pack has about 0.4 GB."""
_CHUNK = 1 << 18


def unpack(archive: Path, folder: Path, largest: int = LARGEST) -> None:
    """Unpack a zip from outside into the new `folder`: plain files and folders only.

    DownloadError for names that leave `folder`, links, more than `largest` bytes, or a damaged archive.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            _extract(source, folder, archive.name, largest)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DownloadError(f"{archive.name} is no whole zip archive: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _extract(source: zipfile.ZipFile, folder: Path, name: str, left: int) -> None:
    for member in source.infolist():
        target = folder.joinpath(*_safe(member))
        if member.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open(member) as content, target.open("xb") as file:
            while block := content.read(_CHUNK):
                left -= len(block)  # what really comes, not what the archive says
                if left < 0:
                    raise DownloadError(f"{name} unpacks to more than a pack may hold; nothing of it is kept")
                file.write(block)


def _safe(member: zipfile.ZipInfo) -> tuple[str, ...]:
    """The parts of a member's path, checked."""
    path = PurePosixPath(member.filename)
    mode = member.external_attr >> 16
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in member.filename
        or ":" in member.filename
        or not path.parts
    ):
        raise DownloadError(f"the archive holds {member.filename!r}, which would leave its folder")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DownloadError(f"the archive holds {member.filename!r}, which is a link or device")
    return path.parts

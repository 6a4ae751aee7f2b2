"""Files: writing them whole or not at all, and the words for them in messages.

Whenever a writer is killed, what is under a name is the old file or the new one, never half of either.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import json
import os
import re
import secrets
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from face_organizer.errors import FaceOrganizerError

MARKER = ".face-organizer"
"""Folder that marks an output of this program; what is below it is no input of another run."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet takes for a formula
_NAME_BYTES = 100  # of the file's own name in the temporary one: whole, it could be longer than names may be


def printable(path: str | os.PathLike[str]) -> str:
    """`path` fit for one line of a terminal: control characters and bytes that are no UTF-8 are escaped."""
    text = os.fspath(path)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def count(n: int, singular: str, plural: str | None = None) -> str:
    """How many, in words: "1 face", "2,000 faces". Without `plural`, an s is added."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def size(bytes_: float) -> str:
    """A number of bytes for people: `7 kB`, `3.4 MB`, `640 MB`, `1.5 GB`; decimal units."""
    if bytes_ >= 1e9:
        return f"{bytes_ / 1e9:,.1f} GB"
    if bytes_ >= 1e6:
        return f"{bytes_ / 1e6:.{0 if bytes_ >= 5e7 else 1}f} MB"
    return f"{bytes_ / 1e3:.0f} kB"


def by_name(name: str) -> list[tuple[int, int | str]]:
    """What to sort names by as people do: numbers by value, case and accents' forms aside, and `person_Z`
    before `person_AA`."""
    stem, _, letters = name.partition("person_")
    if not stem and letters and letters.partition("/")[0].isupper():
        return [(1, "person_"), (0, len(letters.partition("/")[0])), (1, letters)]
    parts = re.split(r"(\d+)", unicodedata.normalize("NFKC", name).casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def is_inside(place: str | Path, folder: str | Path) -> bool:
    """Whether `place` is `folder` or lies below it, symbolic links followed."""
    outer = os.path.realpath(folder)
    return os.path.commonpath([outer, os.path.realpath(place)]) == outer


def clock(seconds: float) -> str:
    """A time in a video as people write it, such as "0:07.5" or "1:02:03.4"."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def reason(error: OSError) -> str:
    """Why the system refused, in its own words, such as "no such file or directory"."""
    words = error.strerror or ""
    return words[:1].lower() + words[1:] or str(error) or type(error).__name__


@contextlib.contextmanager
def os_errors(
    path: str | os.PathLike[str],
    failed: str = "cannot be read",
    kind: type[FaceOrganizerError] = FaceOrganizerError,
    mend: str = "",
) -> Iterator[None]:
    """Turn an OSError of the block into `kind`: "PATH: cannot be read: permission denied; MEND"."""
    try:
        yield
    except OSError as error:
        message = f"{printable(path)}: {failed}: {reason(error)}"
        raise kind(f"{message}; {mend}" if mend else message) from error


def cache_dir() -> Path:
    """`$FACE_ORGANIZER_CACHE`, else face-organizer in `$XDG_CACHE_HOME` or `~/.cache`; not made here."""
    if own := os.environ.get("FACE_ORGANIZER_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "face-organizer"


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file; remembered while size and modification time stay. OSError as open()."""
    status = path.stat()
    return _sha256(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under `path`, synced to disk, when the block ends well, and else not at all.

    A file that is replaced keeps its permissions. Missing folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{_begun(path.name)}.{secrets.token_hex(8)}.part"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _begun(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_NAME_BYTES])


def remove_written(folder: Path, names: Iterable[str]) -> None:
    """Remove files that `atomic_write` made in `folder`, and what killed ones of it left of them."""
    own, begun = set(names), {_begun(name) for name in names}
    for path in folder.iterdir():
        if path.name in own or (path.suffix == ".part" and path.name[1:].rsplit(".", 2)[0] in begun):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable, where the file system can (some shares cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `rows`, dicts with some of the keys `columns`, as a CSV with a header, row by row as they come.

    Paths stand byte for byte, but for an apostrophe before what a spreadsheet would take for a formula.
    """
    with atomic_write(path) as file:
        file.write(csv_line(columns))
        file.writelines(csv_line([row.get(name) for name in columns]) for row in rows)


def csv_line(values: Iterable[Any]) -> bytes:
    """A line of such a CSV, with its end."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow(map(_cell, values))
    return line.getvalue().encode("utf-8", "surrogateescape")


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def write_json(path: Path, value: Any, faces: Iterable[Any] | None = None) -> None:
    """Write `value` as JSON in ASCII; what is no UTF-8 in a path is escaped (PEP 383).

    `faces` is one more key of `value`, then a dict that is not empty: its items are written as they come,
    one a line, so that millions need not be held at once.
    """
    with atomic_write(path) as file:
        text = json.dumps(value, indent=1).encode("ascii")
        if faces is not None:
            file.write(text.removesuffix(b"\n}") + b',\n "faces": [')
            for i, face in enumerate(faces):
                file.write(f"{',' if i else ''}\n{json.dumps(face)}".encode("ascii"))
            text = b"\n ]\n}"
        file.write(text + b"\n")


def jpeg(rgb: Any, quality: int = 88) -> bytes:
    """A picture, (height, width, 3) uint8 or a Pillow image, as the bytes of a JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    (rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def png(rgb: Any) -> bytes:
    """A picture, (height, width, 3) uint8 or a Pillow image, as the bytes of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    (rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def write_jpeg(path: Path, rgb: Any, quality: int = 88) -> None:
    """Write a picture, (height, width, 3) uint8 or a Pillow image, as a JPEG."""
    with atomic_write(path) as file:
        file.write(jpeg(rgb, quality))

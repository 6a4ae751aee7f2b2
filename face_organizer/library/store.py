"""The file of a library: one SQLite database, its tables and how older ones are brought up to date.

Write-ahead logging and one transaction a change: a kill at any moment leaves all of a change or nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

from face_organizer.errors import LibraryError
from face_organizer.files import MARKER, printable

NAME = "library.sqlite"
_APPLICATION = 0x466F4C69  # "FoLi", so that other databases are told apart
_WAIT_SECONDS = 30

_MIGRATIONS = (
    """
    CREATE TABLE library (uuid TEXT NOT NULL, seen BLOB) STRICT;
    CREATE TABLE files (content INTEGER PRIMARY KEY, bytes INTEGER NOT NULL) STRICT;
    CREATE TABLE places (path BLOB PRIMARY KEY, content INTEGER NOT NULL REFERENCES files)
        STRICT, WITHOUT ROWID;
    CREATE INDEX places_by_content ON places (content);
    CREATE TABLE persons (id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT NOT NULL) STRICT;
    CREATE TABLE faces (
        id INTEGER PRIMARY KEY, content INTEGER NOT NULL REFERENCES files, number INTEGER NOT NULL, time REAL,
        x1 REAL, y1 REAL, x2 REAL, y2 REAL, person INTEGER REFERENCES persons, seen INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX faces_by_content ON faces (content);
    CREATE INDEX faces_by_person ON faces (person);
    CREATE TABLE decisions (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, how TEXT NOT NULL, kind TEXT NOT NULL,
        person INTEGER REFERENCES persons, other INTEGER REFERENCES persons, name TEXT,
        undoes INTEGER REFERENCES decisions
    ) STRICT;
    CREATE TABLE decided (
        decision INTEGER NOT NULL REFERENCES decisions, face INTEGER NOT NULL REFERENCES faces,
        whose INTEGER NOT NULL, PRIMARY KEY (decision, face, whose)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX decided_by_face ON decided (face, whose);
    CREATE TABLE doubts (person INTEGER NOT NULL REFERENCES persons, face INTEGER REFERENCES faces) STRICT;
    CREATE TABLE kept_out (space TEXT NOT NULL, threshold REAL NOT NULL, vector BLOB NOT NULL) STRICT;
    CREATE TABLE used (path BLOB PRIMARY KEY, kind TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TRIGGER decisions_stay BEFORE DELETE ON decisions
        BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END;
    CREATE TRIGGER decisions_are_as_said
        BEFORE UPDATE OF id, at, how, kind, person, other, undoes ON decisions
        BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END;
    """,
)
"""What brings a file from one `user_version` to the next. Never changed, only added to.

`files` by content, `places` where they lie, `faces` by content and box, with the `person` that the last run
put each with; `decided` the faces that a decision is about (whose = 0), and those that a person had when it
was made (whose = that person); `doubts` what a run saw gone and did not take for a decision; `kept_out`
templates of people who were forgotten; `used` the tables and output folders that it was used with.
"""


def place_of(where: str | Path) -> Path:
    """The file of the library of an output folder; a path that is no folder is that file itself."""
    path = Path(where)
    is_file = path.suffix in {".sqlite", ".db"} and not path.is_dir()
    return path if is_file or path.is_file() else path / MARKER / NAME


def connect(path: Path, *, in_memory: bool = False) -> sqlite3.Connection:
    """Open the library at `path` and bring it up to date; `in_memory` works on a copy, or on a new one where
    none is there.

    Raises `LibraryError` where it is missing, damaged, no library, or of a later version.
    """
    with _in_words(path):
        if not path.is_file() and not in_memory:
            mend = "name an output folder of `cluster`"
            raise LibraryError(f"{printable(path)}: no library is there", mend)
        connection = _open(":memory:" if in_memory else _uri(path))
        try:
            if in_memory and path.is_file():
                with contextlib.closing(_open(_uri(path))) as there:
                    there.backup(connection)
            _bring_up_to_date(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def written(connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Write a library that is in memory to `path`, whole or not at all, and open it there."""
    with _in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            with contextlib.closing(sqlite3.connect(part)) as new:
                connection.backup(new)
                new.execute("PRAGMA journal_mode = WAL")
            connection.close()
            os.link(part, path)  # never over one that another run has made meanwhile
        finally:
            part.unlink(missing_ok=True)
        return connect(path)


def _uri(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=rw"


def _open(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA trusted_schema = OFF")  # a file from elsewhere runs nothing of its own
    return connection


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    (application,), (version,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in _HEADER)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != _APPLICATION:
        raise LibraryError(f"{printable(path)} is a database, and no library of this program")
    if version > len(_MIGRATIONS):
        raise LibraryError(
            f"{printable(path)} is of version {version}, this program knows {len(_MIGRATIONS)}", "update it"
        )
    if not version:
        connection.execute("PRAGMA journal_mode = WAL")
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        with transaction(connection):
            if connection.execute("PRAGMA user_version").fetchone() != (number - 1,):
                continue  # another process has come first
            for statement in _statements(script):
                connection.execute(statement)
            if number == 1:
                connection.execute("INSERT INTO library VALUES (?, NULL)", (uuid.uuid4().hex,))
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {number}")


_HEADER = ("application_id", "user_version")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of what the block changes, or nothing; inside another one it is part of that."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def problems(path: Path) -> list[str]:
    """What SQLite's `integrity_check` and `foreign_key_check` find wrong with the library at `path`."""
    with _in_words(path), contextlib.closing(connect(path)) as connection:
        found = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
        lost = [
            f"a row of {table} points nowhere" for table, *_ in connection.execute("PRAGMA foreign_key_check")
        ]
    return found + lost


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        mend = "" if isinstance(error, sqlite3.OperationalError | OSError) else "restore it from a backup"
        raise LibraryError(f"{printable(path)}: the library cannot be opened: {error}", mend) from error


def remove(path: Path) -> None:
    """Remove the library at `path`, with what SQLite keeps beside it."""
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{ending}")

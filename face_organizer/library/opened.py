"""Looking things up in a library: who there is, whose a face is, where its picture lies."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from face_organizer.errors import ImageError, UsageError
from face_organizer.files import printable
from face_organizer.library import decisions, store
from face_organizer.library.decisions import Decision, State
from face_organizer.library.said import Person
from face_organizer.media import images
from face_organizer.types import Int64

_HAVING = "SELECT DISTINCT person FROM faces WHERE person NOT NULL"


class Listed(NamedTuple):
    """A person as `people list` shows one: `faces` and the pictures that they are on, by their bytes."""

    id: int
    name: str
    known: bool
    hidden: bool
    faces: int
    pictures: int


class Face(NamedTuple):
    """A face as the library knows it: its number there, its number on the picture, whose it is (None:
    nobody's), whether somebody `said` so, and all places of the picture."""

    id: int
    number: int
    person: str | None
    said: bool
    places: Sequence[str]


class Opened:
    """The file of a library, opened; see `people.Library`, which says what may be said."""

    def __init__(self, place: str | Path, *, create: bool = True, dry_run: bool = False) -> None:
        self.path = store.place_of(place)
        is_new = create and not self.path.is_file()
        self.connection = store.connect(self.path, in_memory=dry_run or is_new)
        self._is_new = is_new and not dry_run
        (self.uuid,) = self.connection.execute("SELECT uuid FROM library").fetchone()
        self._state: State | None = None

    @staticmethod
    def is_at(place: str | Path) -> bool:
        """Whether there is a library at `place`."""
        return store.place_of(place).is_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @property
    def state(self) -> State:
        """What holds after all that was said."""
        if self._state is None:
            self._state = decisions.replay(self.connection)
        return self._state

    def transaction(self) -> AbstractContextManager[None]:
        """All of what the block says, or nothing."""
        if self._is_new:
            self.connection = store.written(self.connection, self.path)
            self._is_new = False
        return store.transaction(self.connection)

    def _persons(self) -> list[Person]:
        """Everybody who has a face or of whom somebody said something, as they are called today."""
        state = self.state
        having = {
            p for (p,) in self.connection.execute("SELECT DISTINCT person FROM faces WHERE person NOT NULL")
        }
        having = {state.root(person) for person in having} | state.mentioned
        labels = dict(self.connection.execute("SELECT id, label FROM persons"))
        return [
            Person(one, state.names.get(one, labels[one]), one in state.mentioned, one in state.hidden)
            for one in sorted(having - state.forgotten)
        ]

    def add(
        self,
        kind: str,
        person: int | None = None,
        other: int | None = None,
        *,
        name: str | None = None,
        faces: Iterable[int] = (),
        undoes: int | None = None,
        how: str = "command",
    ) -> int:
        """Append a decision as it is."""
        with self.transaction():
            self._state = None
            return decisions.add(
                self.connection, kind, person, other, name=name, faces=faces, undoes=undoes, how=how
            )

    def people(self) -> list[Listed]:
        """Everybody, the one with the most faces first."""
        faces, pictures = Counter[int](), defaultdict[int, set[int]](set)
        for face, content, person in self.connection.execute("SELECT id, content, person FROM faces"):
            if (whose := self._whose(face, person)) is not None:
                faces[whose] += 1
                pictures[whose].add(content)
        listed = [Listed(*one, faces[one.id], len(pictures[one.id])) for one in self._persons()]
        return sorted(listed, key=lambda one: (-one.faces, one.id))

    def show(self, person: str) -> list[Face]:
        """The faces of a person."""
        number = self.person(person)
        rows = self.connection.execute(
            "SELECT id, number, content, person FROM faces ORDER BY content, number"
        )
        own = [row for row in rows if self._whose(row[0], row[3]) == number]
        return [
            Face(face, index, self._name(number), self.state.is_known(face, number), self._places(content))
            for face, index, content, _ in own
        ]

    def history(self) -> list[Decision]:
        """All that was said, the oldest first."""
        return decisions.read(self.connection)

    def name_of(self, person: int | None) -> str | None:
        """What the person of that number is called today; None for None."""
        return None if person is None else self._name(self.state.root(person))

    def _name(self, person: int) -> str:
        if person in self.state.forgotten:
            return f"#{person}"
        (label,) = self.connection.execute("SELECT label FROM persons WHERE id = ?", (person,)).fetchone()
        return self.state.names.get(person, str(label))

    def _places(self, content: int) -> list[str]:
        rows = self.connection.execute("SELECT path FROM places WHERE content = ? ORDER BY path", (content,))
        return [os.fsdecode(path) for (path,) in rows]

    def person(self, who: str) -> int:
        """The number of the person called `who`, or `#7`. Raises `UsageError`."""
        everybody = {one.id: one.name for one in self._persons()}
        if (
            who.startswith("#")
            and who[1:].isdecimal()
            and (root := self.state.root(int(who[1:]))) in everybody
        ):
            return root
        found = [number for number, name in everybody.items() if name == who]
        if not found:
            close = [name for name in everybody.values() if name.casefold() == who.casefold()]
            close += difflib.get_close_matches(who, everybody.values(), 1, 0.6)
            mend = f"did you mean {printable(close[0])}?" if close else "`people list` shows who there is"
            raise UsageError(f"nobody is called {printable(who)}", mend)
        return found[0]

    def on(self, picture: str | Path) -> list[tuple[int, int, int | None]]:
        """(number, number on the picture, person) of each face on a picture. Raises `UsageError` for one that
        the library does not know."""
        try:
            faces = self.on_one_of([os.path.abspath(picture)])
        except ImageError as error:
            raise UsageError(f"{printable(picture)}: {error}") from error
        if not faces:
            raise UsageError(f"{printable(picture)}: no face is known on it", "embed and cluster it first")
        return faces

    def on_one_of(self, paths: Sequence[str]) -> list[tuple[int, int, int | None]]:
        """The same for a picture that lies, or lay, at one of these places; empty where it is not known.
        Raises `ImageError` where no place is known and the last cannot be read."""
        query = "SELECT content FROM places WHERE path = ?"
        known = (self.connection.execute(query, (os.fsencode(path),)).fetchone() for path in paths)
        found = next((row for row in known if row), None)
        if found is None:
            found = (np.uint64(images.content_of_file(paths[-1])).astype(np.int64).item(),)
        query = "SELECT id, number, person FROM faces WHERE content = ? ORDER BY number"
        faces = self.connection.execute(query, found).fetchall()
        return [(face, number, self._whose(face, person)) for face, number, person in faces]

    def _whose(self, face: int, person: int | None) -> int | None:
        """Whose a face is after all that was said, where the last run put it with `person`."""
        state = self.state
        root = None if person is None else state.root(person)
        if face in state.ignored or (face, root) in state.refused:
            root = None
        return state.known.get(face, root)

    def faces_of(self, person: int) -> tuple[set[int], Int64]:
        """The numbers of a person's faces, and the contents of the pictures that they are on."""
        rows = self.connection.execute("SELECT id, content, person FROM faces")
        own = [(face, content) for face, content, whose in rows if self._whose(face, whose) == person]
        return {face for face, _ in own}, np.unique(np.array([content for _, content in own], np.int64))

    def persons_on(self, contents: Int64) -> list[tuple[int, int | None]]:
        """(content, person) of each face on these pictures."""
        query = "SELECT id, content, person FROM faces WHERE content = ?"
        rows = (row for content in contents.tolist() for row in self.connection.execute(query, (content,)))
        return [(content, self._whose(face, person)) for face, content, person in rows]

    def contents_at(self, paths: Iterable[str]) -> list[int | None]:
        """The content that the library saw at each path, None where it saw none."""
        query = "SELECT content FROM places WHERE path = ?"
        found = (self.connection.execute(query, (os.fsencode(path),)).fetchone() for path in paths)
        return [row and row[0] for row in found]

    def places_of(self, contents: Int64) -> list[str]:
        """Where files with these bytes lie now, of the places that the library saw."""
        found = []
        for content in contents.tolist():
            for place in self._places(content):
                with contextlib.suppress(ImageError):
                    if np.uint64(images.content_of_file(place)).astype(np.int64) == content:
                        found.append(place)
        return found

    def used(self, kind: str) -> list[str]:
        """The tables, or the output folders, that this library was used with."""
        rows = self.connection.execute("SELECT path FROM used WHERE kind = ? ORDER BY path", (kind,))
        return [os.fsdecode(path) for (path,) in rows]

"""The library itself: who there is, what is said of them, and what a table's faces are by all that."""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Self, cast

import numpy as np

from face_organizer import organize
from face_organizer.errors import ImageError, UsageError
from face_organizer.files import count, printable
from face_organizer.library import decisions, registry, store
from face_organizer.library.decisions import Decision, State
from face_organizer.library.said import NEW, NOBODY, Person, Said
from face_organizer.media import images
from face_organizer.types import FaceTable, Float32, Int64

_SEEN = "SELECT id, coalesce(person, 0) FROM faces WHERE seen AND id < ?"
_IDLE = (
    "DELETE FROM persons WHERE id NOT IN (SELECT person FROM faces WHERE person NOT NULL) "
    "AND id NOT IN (SELECT person FROM decisions WHERE person NOT NULL) "
    "AND id NOT IN (SELECT other FROM decisions WHERE other NOT NULL)"
)
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


class Library:
    """The library of an output folder, or of a file that several share.

    Every method that says something appends to the journal, in one transaction, and returns the number of
    that decision for `undo`. Folders follow when `cluster` or `search` runs again. A person is given by name
    or as `#7`; a face by the path of its picture (in the collection or in an output folder), with `:2` after
    it for the third face on it. Raises `LibraryError` for what is not there, its kind `ContradictionError`
    for what cannot be after what was said before.

    A new one is written when the first thing is to be kept. `dry_run` works on a copy that is thrown away.
    """

    def __init__(self, place: str | Path, *, create: bool = True, dry_run: bool = False) -> None:
        self.path = store.place_of(place)
        is_new = create and not self.path.is_file()
        self.connection = store.connect(self.path, in_memory=dry_run or is_new)
        self._is_new = is_new and not dry_run
        (self.uuid,) = self.connection.execute("SELECT uuid FROM library").fetchone()
        self._state: State | None = None

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

    # What a table's faces are.

    def said(self, table: FaceTable) -> Said:
        """What was said of the faces of `table`, which are entered where they are new."""
        numbers = registry.enter(self.connection, table)
        state, persons = self.state, self._persons()
        row_of = {person.id: row for row, person in enumerate(persons)}
        size = int(numbers.max(initial=0)) + 1
        known, before = np.full(size, NOBODY, np.int64), np.full(size, NEW, np.int64)
        for face, person in state.known.items():
            if face < size:
                known[face] = row_of.get(person, NOBODY)
        seen = self.connection.execute(
            "SELECT id, coalesce(person, 0) FROM faces WHERE seen AND id < ?", (size,)
        )
        while part := seen.fetchmany(65_536):
            faces, whose = np.array(part, np.int64).T
            at, inverse = np.unique(whose, return_inverse=True)
            before[faces] = np.array([row_of.get(state.root(p), NOBODY) for p in at.tolist()])[inverse]
        ignored, spoken = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        ignored[[face for face in state.ignored if face < size]] = True
        spoken[[face for face in state.said if face < size]] = True
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        refused = []
        for face, person in state.refused:
            if person in row_of:
                start, end = np.searchsorted(ordered, [face, face + 1])
                refused += [(row, row_of[person]) for row in order[start:end].tolist()]
        out = ignored[numbers]
        for threshold, vector in self._kept_out(table):
            out |= table.embeddings @ vector >= threshold
        pairs = [(row_of[a], row_of[b]) for a, b in state.differ if a in row_of and b in row_of]
        return Said(
            persons,
            known[numbers],
            _pairs(sorted(refused)),
            out,
            before[numbers],
            _pairs(pairs),
            spoken[numbers],
        )

    def adopt(self, table: FaceTable, said: Said) -> None:
        """Take over what another result knew of faces that no run of this library has put anywhere: where
        they were, and the names that somebody gave."""
        with self.transaction():
            numbers = registry.enter(self.connection, table)
            by_name = {one.name: one.id for one in self._persons()}
            ids = [by_name.get(one.name) or self._new(one.name) for one in said.persons]
            seen = [face for face, _ in self.connection.execute(_SEEN, (int(numbers.max(initial=0)) + 1,))]
            new = ~np.isin(numbers, seen) & (said.before > NEW)
            self._put(numbers[new], np.array([*ids, 0], np.int64)[said.before[new]])
            for one, number in zip(said.persons, ids, strict=True):
                if one.known and one.name not in by_name:
                    self.add("name", number, name=one.name, how="folders")
        self._state = None

    def remember(
        self, table: FaceTable, labels: Int64, names: Sequence[str], ids: Sequence[int | None]
    ) -> dict[str, int]:
        """Keep whom a run put each face of `table` with: `labels` (n,), -1 nobody, -2 not asked; `names` of
        the persons and their `ids`, None for a new one. The number of each person by name."""
        with self.transaction():
            numbers = registry.enter(self.connection, table)[labels > NEW]
            labels = labels[labels > NEW]
            found = []
            for name, given in zip(names, ids, strict=True):
                if given is not None and given not in self.state.names:
                    self.connection.execute("UPDATE persons SET label = ? WHERE id = ?", (name, given))
                found.append(self._new(name) if given is None else given)
            whose = np.array([*found, 0], np.int64)[labels]
            self._put(numbers, whose)
            self.connection.execute(_IDLE)
        return dict(zip(names, found, strict=True))

    def _new(self, label: str) -> int:
        cursor = self.connection.execute("INSERT INTO persons (label) VALUES (?)", (label,))
        return cast(int, cursor.lastrowid)

    def _put(self, numbers: Int64, whose: Int64) -> None:
        """Write whose each face is, where that is not what stands there."""
        size = int(numbers.max(initial=0)) + 1
        now, then = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
        now[numbers] = whose
        rows = self.connection.execute(
            "SELECT id, coalesce(person, 0) FROM faces WHERE seen AND id < ?", (size,)
        )
        while part := rows.fetchmany(65_536):
            faces, persons = np.array(part, np.int64).T
            then[faces] = persons
        changed = np.flatnonzero((now >= 0) & (now != then))
        self.connection.executemany(
            "UPDATE faces SET person = nullif(?, 0), seen = 1 WHERE id = ?",
            zip(now[changed].tolist(), changed.tolist(), strict=True),
        )

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

    # Looking things up.

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

    def _faces(self, pictures: Iterable[str | Path], *, person: int | None = None) -> list[int]:
        """The numbers of the faces meant by `pictures`: those of `person`, else the only one, or the only one
        of nobody."""
        found = []
        for picture in pictures:
            path, colon, number = os.fspath(picture).rpartition(":")
            if not colon or not number.isdecimal() or os.path.lexists(picture):
                path, number = os.fspath(picture), ""
            faces = self.on(path)
            if number:
                faces = [face for face in faces if face[1] == int(number)]
            elif person is not None and (own := [face for face in faces if face[2] == person]):
                faces = own
            elif len(faces) > 1 and len(free := [face for face in faces if face[2] is None]) == 1:
                faces = free
            if not faces:
                raise UsageError(f"{printable(picture)}: no such face is on it")
            if len(faces) > 1 and faces[0][2] != person:
                which = ", ".join(f"{printable(path)}:{face[1]}" for face in faces)
                raise UsageError(f"{printable(picture)}: {count(len(faces), 'face')}; say which: {which}")
            found += [face[0] for face in faces]
        return found

    def numbers(self, table: FaceTable) -> Int64:
        """The number (n,) of each face of `table`, those that are new entered."""
        return registry.enter(self.connection, table)

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

    def use(self, kind: str, *paths: str | Path) -> None:
        """Keep that it is used with these tables, or output folders, so that forgetting finds them."""
        with self.transaction():
            lines = [(os.fsencode(os.path.abspath(path)), kind) for path in paths]
            self.connection.executemany("INSERT OR REPLACE INTO used VALUES (?, ?)", lines)

    def _kept_out(self, table: FaceTable) -> list[tuple[float, Float32]]:
        space = repr(table.stamp.space if table.stamp else None)
        rows = self.connection.execute("SELECT threshold, vector FROM kept_out WHERE space = ?", (space,))
        return [(threshold, np.frombuffer(vector, np.float32)) for threshold, vector in rows]

    def forget(self, person: int, faces: set[int], templates: Sequence[tuple[str, float, Float32]]) -> None:
        """Remove a person, the name and these faces for good; `templates` are (space, cosine, vector)."""
        state = self.state
        same = [p for (p,) in self.connection.execute("SELECT id FROM persons") if state.root(p) == person]
        with self.transaction():
            self.add("forget", person)
            run, lines = self.connection.executemany, [(face,) for face in faces]
            for sql in ("DELETE FROM decided WHERE face = ?", "DELETE FROM doubts WHERE face = ?"):
                run(sql, lines)
            run("DELETE FROM decided WHERE whose = ?", [(one,) for one in same])
            run("DELETE FROM doubts WHERE person = ?", [(one,) for one in same])
            run("DELETE FROM faces WHERE id = ?", lines)
            run("UPDATE faces SET person = NULL WHERE person = ?", [(one,) for one in same])
            run("UPDATE persons SET label = '' WHERE id = ?", [(one,) for one in same])
            run("UPDATE decisions SET name = NULL WHERE person = ?", [(one,) for one in same])
            vectors = [
                (space, cosine, vector.astype(np.float32).tobytes()) for space, cosine, vector in templates
            ]
            run("INSERT INTO kept_out VALUES (?, ?, ?)", vectors)
            for name in ("places", "files"):
                run(f"DELETE FROM {name} WHERE content NOT IN (SELECT content FROM faces)", [()])
            self.connection.execute("UPDATE library SET seen = NULL")
        self._state = None
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.execute("VACUUM")
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Saying things.

    def name(self, person: str, name: str) -> int:
        """Call a person something. Raises `ContradictionError` where another one is called so."""
        number = self.person(person)
        check_name(name)
        if other := [one for one in self._persons() if one.name == name and one.id != number]:
            words = f"another person is called {printable(name)} (#{other[0].id})"
            raise decisions.ContradictionError(words, "merge the two, or choose another name")
        return self.add("name", number, name=name)

    def merge(self, person: str, *others: str) -> list[int]:
        """Say that these are one person, who keeps the name of the first."""
        with self.transaction():
            numbers = [self.person(one) for one in others]
            return [self._checked("same", self.person(person), self.state.root(number)) for number in numbers]

    def differ(self, person: str, other: str) -> int:
        """Say that two persons are two."""
        return self._checked("differ", self.person(person), self.person(other))

    def is_(self, person: str, pictures: Iterable[str | Path]) -> int:
        """Say that the faces on these pictures are that person; a name that nobody has makes a new one."""
        return self._checked("is", self._person_or_new(person), faces=self._faces(pictures))

    def is_not(self, person: str, pictures: Iterable[str | Path]) -> int:
        """Say that the faces on these pictures are not that person."""
        number = self.person(person)
        return self._checked("is-not", number, faces=self._faces(pictures, person=number))

    def split(self, person: str, pictures: Iterable[str | Path], name: str) -> list[int]:
        """Say that the faces of a person on these pictures are somebody else, called `name`."""
        with self.transaction():
            number = self.person(person)
            faces = self._faces(pictures, person=number)
            new = self._person_or_new(name)
            refused = self._checked("is-not", number, faces=faces)
            return [refused, self._checked("is", new, faces=faces)]

    def ignore(self, pictures: Iterable[str | Path] = (), *, person: str | None = None) -> int:
        """Say that these faces are nobody's, or no faces: those on the pictures, or all of a person."""
        faces = [face.id for face in self.show(person)] if person else self._faces(pictures)
        return self._checked("ignore", 0, faces=faces)

    def hide(self, person: str) -> int:
        """Give a person no folder from now on."""
        return self.add("hide", self.person(person))

    def undo(self, decision: int | None = None) -> Decision:
        """Take a decision back, the last one that holds where none is given; undoing an undoing redoes."""
        said = {one.id: one for one in self.history() if not one.undone and one.kind != "forget"}
        if decision is None:
            last = [one for one in said.values() if one.kind != "undo"]
            if not last:
                raise UsageError("nothing was said that could be taken back")
            decision = last[-1].id
        if decision not in said:
            raise UsageError(f"there is no decision {decision} that holds, or it cannot be taken back")
        self.add("undo", undoes=decision)
        return said[decision]

    def _checked(self, kind: str, person: int, other: int | None = None, faces: Sequence[int] = ()) -> int:
        with self.transaction():
            decisions.check(self.state, kind, person, other, faces)
            return self.add(kind, person or None, other, faces=faces)

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

    def _person_or_new(self, name: str) -> int:
        for one in self._persons():
            if name in (one.name, f"#{one.id}"):
                return one.id
        return self.new_person(name)

    def new_person(self, name: str, how: str = "command") -> int:
        """A person called `name`, of whom nothing is known yet."""
        check_name(name)
        with self.transaction():
            number = self._new(name)
            self.add("name", number, name=name, how=how)
        return number


def check_name(name: str) -> None:
    """Raise `UsageError` where `name` cannot be the name of a person's folder."""
    if not name.strip() or {"/", "\0"} & set(name) or name in RESERVED or name.startswith((".", "#")):
        raise UsageError(f"{printable(name)!r} cannot be the name of a person's folder")


RESERVED = frozenset({"unassigned", "gone", "review", "faces"})
"""Folders of an output that hold no person."""


def _pairs(pairs: Iterable[tuple[int, int]]) -> Int64:
    return np.array(list(pairs), np.int64).reshape(-1, 2)


def undo(folder: str | Path, *, forget_names: bool = False) -> organize.Undone:
    """Take back what a plan put into `folder`, as `organize.undo` does. The library there goes too where
    nobody said anything, or `forget_names` says so."""
    place = store.place_of(folder)
    if not forget_names and place.is_file():
        with Library(place) as library:
            forget_names = not library.history()
    return organize.undo(folder, forget_names=forget_names)

"""The library itself: what may be said of people, and taken back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from face_organizer import organize
from face_organizer.errors import UsageError
from face_organizer.files import count, printable
from face_organizer.library import decisions, store
from face_organizer.library.decisions import Decision
from face_organizer.library.tables import Tables
from face_organizer.types import Float32

RESERVED = frozenset({"unassigned", "gone", "review", "faces"})
"""Folders of an output that hold no person."""


class Library(Tables):
    """The library of an output folder, or of a file that several share.

    Every method that says something appends to the journal, in one transaction, and returns the number of
    that decision for `undo`. Folders follow when `cluster` or `search` runs again. A person is given by name
    or as `#7`; a face by the path of its picture (in the collection or in an output folder), with `:2` after
    it for the third face on it. Raises `LibraryError` for what is not there, its kind `ContradictionError`
    for what cannot be after what was said before.

    A new one is written when the first thing is to be kept. `dry_run` works on a copy that is thrown away.
    """

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
            against = decisions.contradicted(self.state, kind, person, other, faces)
            if number := next(filter(None, against), None):
                (line,) = (line for line in self.history() if line.id == number)
                said = f"{line.kind} {self.name_of(line.person) or ''}, {line.at}"
                mend = f"`people undo … {number}` takes that back"
                raise decisions.ContradictionError(f"this contradicts decision {number} ({said})", mend)
            if person == other:
                raise UsageError("that is one and the same person already")
            return self.add(kind, person or None, other, faces=faces)

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


def check_name(name: str) -> None:
    """Raise `UsageError` where `name` cannot be the name of a person's folder."""
    if not name.strip() or {"/", "\0"} & set(name) or name in RESERVED or name.startswith((".", "#")):
        raise UsageError(f"{printable(name)!r} cannot be the name of a person's folder")


def undo(folder: str | Path, *, forget_names: bool = False) -> organize.Undone:
    """Take back what a plan put into `folder`, as `organize.undo` does. The library there goes too where
    nobody said anything, or `forget_names` says so."""
    place = store.place_of(folder)
    if not forget_names and place.is_file():
        with Library(place) as library:
            forget_names = not library.history()
    return organize.undo(folder, forget_names=forget_names)

"""Learning from folders: what a user's hand changed since the last run, as decisions.

A renamed folder is a name; a picture dragged into a person's folder, or into a new one, says *is*; one taken
away says *is not*; folders put together are one person; a person's folder removed hides the person. What is
gone in such numbers that a slip or a disk that is away explains it better is no decision, but a doubt. What
somebody answered in a report of `search` is said last, and so counts most.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from face_organizer import organize
from face_organizer.errors import ImageError
from face_organizer.files import printable
from face_organizer.library import answers, registry
from face_organizer.library.people import RESERVED, Library
from face_organizer.organize import Changes, Journal
from face_organizer.types import FaceTable, Int64

_THEIRS = "SELECT id FROM faces WHERE person = ?"
_FACE = "SELECT 1 FROM faces WHERE id = ?"
_REPORT = "report.xlsx"
_MOST_GONE = 3
"""More than one in three of a person's pictures gone at once is never taken for a decision."""


@dataclass
class Learned:
    """What the folders said, by the names of today: pictures by person, and what was no decision."""

    named: list[tuple[str, str]] = field(default_factory=list)
    merged: list[tuple[str, str]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    confirmed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    doubts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Person → pictures that are gone from the folder, and how many there were."""
    decisions: list[int] = field(default_factory=list)


def learn(
    library: Library, output: str | Path, table: FaceTable | None = None, *, deletions: bool = False
) -> Learned:
    """Take down as decisions what changed by hand in `output` since the last finished run, in one
    transaction. `deletions` takes down those that a run doubted too, this one or the last.

    Of several faces on a picture that was dragged to a person, the one that is most like the person is meant,
    by the embeddings of `table`; without it, the main one.

    Raises `OrganizeError` for a damaged journal, `LibraryError` for a report whose answers cannot be read.
    """
    output = Path(output)
    if not organize.is_applied(output):
        return Learned()
    journal = organize.read_plan(output)
    found = organize.changes(journal.moves, output)
    with library.transaction():
        return _Reading(library, output, journal, found, table).learn(deletions)


class _Reading:
    def __init__(
        self, library: Library, output: Path, journal: Journal, found: Changes, table: FaceTable | None
    ) -> None:
        self.library, self.output, self.journal, self.found = library, output, journal, found
        self.table = table
        self.learned = Learned()
        own = journal.persons if journal.library == library.uuid else {}
        self.persons = {folder: library.state.root(number) for folder, number in own.items()}
        """Person of each folder of the plan."""
        self.today: dict[str, int] = {}
        """Person of each folder as it is called today."""

    def learn(self, deletions: bool) -> Learned:
        if deletions:
            self._settle_doubts()
        self.library.connection.execute("DELETE FROM doubts")
        if any(self.found.places) or deletions:
            self._folders()
            self._pictures(deletions)
        else:
            self._doubt_all()
        self._answers()
        return self.learned

    def _answers(self) -> None:
        """What somebody answered in the report of a search that this library was used with."""
        of, state = {printable(folder): number for folder, number in self.persons.items()}, self.library.state
        said: dict[tuple[str, int], list[int]] = defaultdict(list)
        for who, face, is_right in answers.read(self.output / _REPORT) if of else ():
            number = state.root(of.get(who, 0))
            is_said = state.is_known(face, number) if is_right else (face, number) in state.refused
            if who in of and not is_said and self.library.connection.execute(_FACE, (face,)).fetchone():
                said["is" if is_right else "is-not", number].append(face)
        for (kind, number), faces in said.items():
            self._decide(kind, number, faces, how="report")

    def _say(
        self, kind: str, person: int, other: int | None = None, how: str = "folders", **more: object
    ) -> None:
        number = self.library.add(kind, person, other, how=how, **more)  # type: ignore[arg-type]
        self.learned.decisions.append(number)

    def _folders(self) -> None:
        """Names, and folders put together."""
        at: dict[str, list[str]] = defaultdict(list)
        for folder in self.persons:
            if home := self.found.homes.get(folder):
                at[home].append(folder)
        self.today = {}
        names = {number: self.library.name_of(number) for number in self.persons.values()}
        for home, folders in at.items():
            folders.sort(key=lambda folder: (folder != home, -self._size(folder), folder))
            first, *others = (self.persons[folder] for folder in folders)
            for other in others:
                if self.library.state.root(other) != self.library.state.root(first):
                    self.learned.merged.append((str(names[other]), home))
                    self._say("same", first, self.library.state.root(other))
            self.today[home] = first
        for home, number in self.today.items():
            if home not in self.journal.persons or self.persons[home] != number:
                self._name(number, home, str(names[number]))

    def _size(self, folder: str) -> int:
        return self._sizes[folder]

    @cached_property
    def _sizes(self) -> Counter[str]:
        """Pictures of the plan below each folder."""
        return Counter(move.target.partition("/")[0] for move in self.journal.moves if "/" in move.target)

    def _name(self, number: int, name: str, before: str) -> None:
        if name in RESERVED or self.library.name_of(number) == name:
            return
        taken = [one.id for one in self.library.people() if one.name == name and one.id != number]
        going = {
            n for folder, n in self.persons.items() if self.found.homes.get(folder) not in (None, folder)
        }
        for other in taken:
            if other not in going:  # called so already, and without a folder of their own: one person
                self.learned.merged.append((before, name))
                self._say("same", number, other)
        self.learned.named.append((before, name))
        self._say("name", number, name=name)

    def _pictures(self, deletions: bool) -> None:
        """Pictures dragged, copied and taken away."""
        gone: dict[str, list[tuple[int, ...]]] = defaultdict(list)
        moved: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for i, (move, place) in enumerate(zip(self.journal.moves, self.found.places, strict=True)):
            folder, _, rest = move.target.partition("/")
            if place is None:
                if folder in self.persons:
                    gone[folder].append(self._faces(i, folder))
                continue
            now, _, here = place.partition("/")
            aside = here.startswith("review/")
            home = self.found.homes.get(folder, folder) if folder in self.persons else folder
            if now == home and (aside or not rest.startswith("review/")):
                continue  # where it was, or set aside by somebody who is not sure
            moved[now if not aside else ""].append((i, folder))
        for i, path in self.found.copies:
            folder, _, rest = path.partition("/")
            if not rest.startswith("review/"):
                free = self._faces(i, "")
                moved[folder].append((i, "" if free else self.journal.moves[i].target.partition("/")[0]))
        for now, those in sorted(moved.items()):
            self._moved(now, those)
        self._brought()
        for folder, faces in gone.items():
            self._gone(folder, faces, deletions)

    def _brought(self) -> None:
        """Pictures that somebody put into a person's folder, and that the plan put nowhere."""
        for path in self.found.strange:
            folder, _, rest = path.partition("/")
            if folder in self.today and "/" not in rest:
                try:
                    on = self.library.on_one_of([str(self.output / path)])
                except ImageError:
                    continue  # no file to read: named as foreign
                person = self.library.state.root(self.today[folder])
                free = [face for face, _, whose in on if whose != person]
                if len(free) == len(on):
                    self._decide("is", person, self._meant(free, person))

    def _moved(self, now: str, those: list[tuple[int, str]]) -> None:
        """Pictures that lie in the folder `now`, and that the plan put elsewhere."""
        person = self._person_of(now)
        away: dict[int, list[int]] = defaultdict(list)
        here: list[int] = []
        for i, folder in those:
            faces, whose = list(self._faces(i, folder)), self.persons.get(folder)
            if person is not None and whose != person:
                here += self._meant(faces, person) if whose is None else faces
            elif person is not None:
                here += (
                    self._meant(self._faces(i, ""), person) or faces
                )  # from review/ into the folder itself
            if whose is not None and whose != person:
                away[whose] += faces
        state = self.library.state
        for number, faces in away.items():
            self._decide("is-not", number, [f for f in faces if (f, state.root(number)) not in state.refused])
        if person is not None:
            self._decide(
                "is", person, [face for face in here if not self.library.state.is_known(face, person)]
            )

    def _meant(self, faces: Sequence[int], person: int) -> list[int]:
        """The one of some faces on one picture that somebody took for `person`."""
        if len(faces) < 2 or self.table is None:
            return list(faces[:1])
        numbers, vectors = self._numbers, self.table.embeddings
        theirs = [face for (face,) in self.library.connection.execute(_THEIRS, (person,))]
        like = vectors[np.isin(numbers, theirs)].sum(axis=0)
        rows = [np.flatnonzero(numbers == face)[:1] for face in faces]
        likeness = [float((vectors[row] @ like).max(initial=-np.inf)) for row in rows]
        return [faces[int(np.argmax(likeness))]]

    @cached_property
    def _numbers(self) -> Int64:
        assert self.table is not None
        return registry.enter(self.library.connection, self.table)

    def _person_of(self, folder: str) -> int | None:
        """Whose folder that is, a new person's where it is a new one; None for `unassigned` and the like."""
        if (
            folder in RESERVED
            or not folder
            or (folder in self.found.homes.values() and folder not in self.today)
        ):
            return None
        if folder not in self.today:
            same = [one.id for one in self.library.people() if one.name == folder]
            self.today[folder] = same[0] if same else self.library.new_person(folder, how="folders")
        return self.library.state.root(self.today[folder])

    def _gone(self, folder: str, faces: list[tuple[int, ...]], deletions: bool) -> None:
        number, planned = self.library.state.root(self.persons[folder]), self._size(folder)
        name = str(self.library.name_of(number))
        if self.found.homes.get(folder) is None:
            self.learned.hidden.append(name)
            self._say("hide", number)
        elif _MOST_GONE * len(faces) > planned and not deletions:
            self.learned.doubts[name] = (len(faces), planned)
            self._doubt((number, face) for one in faces for face in one)
        else:
            self._decide("is-not", number, [face for one in faces for face in one])

    def _decide(self, kind: str, number: int, faces: Iterable[int], how: str = "folders") -> None:
        if faces := list(dict.fromkeys(faces)):
            told = self.learned.confirmed if kind == "is" else self.learned.refused
            told[str(self.library.name_of(number))] += len(faces)
            self._say(kind, number, faces=faces, how=how)

    def _faces(self, i: int, folder: str) -> tuple[int, ...]:
        """The faces for which the plan put the i-th picture into `folder`: of its person; elsewhere, and in
        review/, those of nobody."""
        move, place = self.journal.moves[i], self.found.places[i]
        on = self.library.on_one_of(
            [move.source, str(self.output / move.target), str(self.output / (place or ""))]
        )
        whose = self.persons.get(folder)
        own = [face for face, _, person in on if person == whose]
        if not own and whose is not None:  # a search put it there, and a clustering with somebody else
            own = self._meant([face for face, *_ in on if face not in self.library.state.said], whose)
        return tuple(own)

    def _doubt(self, doubts: Iterable[tuple[int, int | None]]) -> None:
        self.library.connection.executemany("INSERT INTO doubts VALUES (?, ?)", doubts)

    def _doubt_all(self) -> None:
        for folder, number in self.persons.items():
            if planned := self._size(folder):
                self.learned.doubts[str(self.library.name_of(number))] = (planned, planned)
                self._doubt([(number, None)])

    def _settle_doubts(self) -> None:
        """What an earlier run doubted was meant so."""
        faces: dict[int, list[int | None]] = defaultdict(list)
        for number, face in self.library.connection.execute("SELECT person, face FROM doubts").fetchall():
            faces[self.library.state.root(number)].append(face)
        for number, those in faces.items():
            if None in those:
                self.learned.hidden.append(str(self.library.name_of(number)))
                self._say("hide", number)
            self._decide("is-not", number, [face for face in those if face is not None])

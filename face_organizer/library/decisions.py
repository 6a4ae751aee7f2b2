"""What people said, in the order in which they said it, and what follows from it.

The journal is only added to; `replay` reads it anew. Later words beat earlier ones there, but whoever says
something by command is told first what it contradicts (`ContradictionError`).

Whoever is named, merged, told apart or given a face is from then on a *known* person: the faces that they
have at that moment are theirs (`whose` in the file), until somebody says otherwise of one of them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from face_organizer.errors import LibraryError

KINDS = ("name", "is", "is-not", "same", "differ", "ignore", "hide", "forget", "undo")


_THEIRS = (
    "INSERT INTO decided SELECT ?, id, person FROM faces WHERE person = ? "
    "AND NOT EXISTS (SELECT 1 FROM decided WHERE face = faces.id AND whose = faces.person) "
    "AND NOT EXISTS (SELECT 1 FROM decided WHERE decision = ? AND face = faces.id)"
)
"""The faces that a person has just now, and was not seen with before; those that a decision is about speak
for themselves."""


class Decision(NamedTuple):
    """One line of the journal. `at` is UTC; `how` says where it was said: `command`, `folders`, `report`;
    `person` and `other` are numbers of persons, `faces` how many faces it is about; `undone` by a later
    one."""

    id: int
    at: str
    how: str
    kind: str
    person: int | None = None
    other: int | None = None
    name: str | None = None
    undoes: int | None = None
    faces: int = 0
    undone: bool = False


class ContradictionError(LibraryError):
    """What was said cannot be, after what was said before."""

    exit_code = 2


@dataclass
class State:
    """What holds, after all that was said. Faces and persons are numbers of the library."""

    known: dict[int, int] = field(default_factory=dict)
    """Person of each face of a known person."""
    said: dict[int, int] = field(default_factory=dict)
    """Decision that gave a face its person, of those that somebody spoke of by themselves."""
    refused: dict[tuple[int, int], int] = field(default_factory=dict)
    """(face, person) that it is not → decision."""
    differ: dict[tuple[int, int], int] = field(default_factory=dict)
    """Two persons, the smaller number first → decision."""
    names: dict[int, str] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    ignored: set[int] = field(default_factory=set)
    """Faces."""
    mentioned: set[int] = field(default_factory=set)
    """Known persons."""
    into: dict[int, int] = field(default_factory=dict)
    """A person that is the same as another one → that one."""
    joined: dict[int, int] = field(default_factory=dict)
    """... → the decision that said so."""
    forgotten: set[int] = field(default_factory=set)

    def root(self, person: int) -> int:
        """The person that `person` is today."""
        while person in self.into:
            person = self.into[person]
        return person

    def is_known(self, face: int, person: int) -> bool:
        """Whether somebody said that this face is that person."""
        return face in self.said and self.known.get(face) == person


def read(connection: sqlite3.Connection) -> list[Decision]:
    """The journal, the oldest first."""
    rows = connection.execute(
        "SELECT id, at, how, kind, person, other, name, undoes, "
        "(SELECT count(*) FROM decided WHERE decision = id AND whose = 0) FROM decisions ORDER BY id"
    ).fetchall()
    # An undoing that was itself undone undoes nothing: from the last on, each tells of those before.
    off: set[int] = set()
    for row in reversed(rows):
        if row[7] is not None and row[0] not in off:
            off.add(row[7])
    return [Decision._make((*row, row[0] in off)) for row in rows]


def replay(connection: sqlite3.Connection) -> State:
    """What holds after all decisions that are not undone."""
    state = State()
    faces: dict[int, list[int]] = defaultdict(list)
    theirs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for decision, face, whose in connection.execute("SELECT decision, face, whose FROM decided"):
        if whose:
            theirs[whose].append((decision, face))
        else:
            faces[decision].append(face)
    holding = [d for d in read(connection) if not d.undone and d.kind != "undo"]
    state.mentioned = {p for d in holding for p in (d.person, d.other) if p is not None}
    first: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for person in state.mentioned:  # what was seen of a person holds as long as anything said of them does
        for decision, face in theirs[person]:
            first[decision][person].append(face)
    events = sorted({d.id for d in holding} | set(first))
    by_id = {d.id: d for d in holding}
    for event in events:
        for person, seen in first[event].items():
            for face in seen:
                if not (
                    face in state.said or face in state.ignored or (face, state.root(person)) in state.refused
                ):
                    state.known[face] = state.root(person)
        if event in by_id:
            _say(state, by_id[event], faces[event])
    state.mentioned = {state.root(p) for p in state.mentioned} - state.forgotten
    return state


def _say(state: State, decision: Decision, faces: Iterable[int]) -> None:
    person = None if decision.person is None else state.root(decision.person)
    other = None if decision.other is None else state.root(decision.other)
    match decision.kind:
        case "name" if person is not None:
            state.names[person] = str(decision.name)
        case "is" if person is not None:
            for face in faces:
                state.known[face], state.said[face] = person, decision.id
                state.refused.pop((face, person), None)
                state.ignored.discard(face)
        case "is-not" if person is not None:
            for face in faces:
                state.refused[face, person] = decision.id
                if state.known.get(face) == person:
                    del state.known[face]
                    state.said.pop(face, None)
        case "same" if person is not None and other is not None and person != other:
            _join(state, person, other, decision.id)
        case "differ" if person is not None and other is not None:
            state.differ[min(person, other), max(person, other)] = decision.id
        case "ignore":
            for face in faces:
                state.ignored.add(face)
                state.known.pop(face, None)
                state.said.pop(face, None)
        case "hide" if person is not None:
            state.hidden.add(person)
        case "forget" if person is not None:
            state.forgotten.add(person)
            state.names.pop(person, None)


def _join(state: State, person: int, other: int, decision: int) -> None:
    """From now on `other` is `person`, and all that was said of the one holds for the other."""
    state.into[other], state.joined[other] = person, decision
    name = state.names.pop(other, None)
    if name is not None:
        state.names.setdefault(person, name)
    state.hidden.discard(person)
    state.hidden.discard(other)
    refused = [(face, number) for (face, whose), number in state.refused.items() if whose == other]
    for face, number in refused:
        del state.refused[face, other]
        state.refused.setdefault((face, person), number)
    for face, whose in state.known.items():
        if whose == other:
            state.known[face] = person
    for face in [f for f, whose in state.known.items() if whose == person and (f, person) in state.refused]:
        if face not in state.said:
            del state.known[face]
        else:
            del state.refused[face, person]
    for pair in [p for p in state.differ if other in p]:
        number = state.differ.pop(pair)
        third = pair[0] if pair[1] == other else pair[1]
        if third != person:
            state.differ[min(person, third), max(person, third)] = number


def add(
    connection: sqlite3.Connection,
    kind: str,
    person: int | None = None,
    other: int | None = None,
    *,
    name: str | None = None,
    faces: Iterable[int] = (),
    undoes: int | None = None,
    how: str = "command",
) -> int:
    """Append one decision with the faces that it is about, and those that its persons have just now; its
    number."""
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    cursor = connection.execute(
        "INSERT INTO decisions (at, how, kind, person, other, name, undoes) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (at, how, kind, person, other, name, undoes),
    )
    number = cursor.lastrowid
    assert number is not None
    lines = [(number, face, 0) for face in faces]
    connection.executemany("INSERT OR IGNORE INTO decided VALUES (?, ?, ?)", lines)
    if kind not in ("forget", "undo"):
        for one in {person, other} - {None}:
            connection.execute(_THEIRS, (number, one, number))
    return number


def contradicted(
    state: State, kind: str, person: int, other: int | None, faces: Sequence[int]
) -> Iterator[int | None]:
    """The decisions that speak against this one, None among them for what nothing speaks against."""
    if kind == "is":
        yield from (state.refused.get((face, person)) for face in faces)
        yield from (state.said.get(face) for face in faces if state.known.get(face) != person)
    elif kind == "is-not":
        yield from (state.said.get(face) for face in faces if state.known.get(face) == person)
    elif kind == "ignore":
        yield from (state.said.get(face) for face in faces)
    elif kind == "same" and other is not None:
        yield state.differ.get((min(person, other), max(person, other)))
        both = {person: other, other: person}
        said = ((face, both[state.known[face]]) for face in state.said if state.known[face] in both)
        yield from (state.refused.get(pair) for pair in said)
    elif kind == "differ" and person == other:
        yield from [*state.joined.values()][-1:]

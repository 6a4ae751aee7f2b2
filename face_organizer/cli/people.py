"""`face-organizer people`: who there is, and saying who is who."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import face_organizer as fo
from face_organizer.cli.console import Console, table_of
from face_organizer.cli.options import FOLDER_OR_FILE, HELP, ManyValues, json_option, together
from face_organizer.files import count, printable

_MEND = "Folders follow when the same cluster or search runs again."
library_argument = click.argument("library", type=FOLDER_OR_FILE)
person_argument = click.argument("person")
files_argument = click.argument("files", nargs=-1, required=True, type=FOLDER_OR_FILE)


@click.group(context_settings=HELP)
def people() -> None:
    """Say who is who; every later run of cluster and search heeds it, whatever the folders look like.

    LIBRARY is an output folder of cluster or search, or the file given to them with --library. PERSON is a
    name, or a number such as #7. FILES are pictures in the collection or in an output folder; where several
    faces are on one, IMG.jpg:2 is the third. The same by hand: rename a person's folder, drag a picture from
    one folder to another, or delete a wrong one; the next run learns it.
    """


def _saying(*arguments: Callable[[Any], Any]) -> Callable[[Callable[..., Any]], Any]:
    """A command that says something: `say(library, **arguments)` returns the number of the decision, or
    several."""

    def made(say: Callable[..., int | Sequence[int]]) -> Any:
        def command(library: Path, as_json: bool, quiet: bool, **given: Any) -> None:
            console = Console(as_json=as_json, quiet=quiet)
            with fo.Library(library, create=False) as opened:
                made = say(opened, **given)
                numbers = [made] if isinstance(made, int) else list(made)
                said = {line.id: line for line in opened.history()}
                for number in numbers:
                    console.say(_in_words(said[number], opened))
            console.say(f"{_MEND} `face-organizer people undo {printable(library)}` takes it back.")
            console.result({"decisions": numbers})

        command.__doc__, command.__name__ = say.__doc__, say.__name__.strip("_").replace("_", "-")
        return people.command(context_settings=HELP)(
            together(library_argument, *arguments, json_option)(command)
        )

    return made


@people.command("list", context_settings=HELP)
@library_argument
@json_option
def list_(library: Path, as_json: bool, quiet: bool) -> None:
    """List everybody, the one with the most faces first."""
    console = Console(as_json=as_json, quiet=quiet)
    with fo.Library(library, create=False) as opened:
        everybody = opened.people()
    states = {one.id: "hidden" if one.hidden else "known" if one.known else "" for one in everybody}
    rows = [
        (f"#{one.id}", printable(one.name), f"{one.pictures:,}", f"{one.faces:,}", states[one.id])
        for one in everybody
    ]
    console.say(table_of([("NUMBER", "PERSON", "PICTURES", "FACES", ""), *rows]))
    console.result({"people": [one._asdict() for one in everybody]})


@people.command(context_settings=HELP)
@library_argument
@person_argument
@json_option
def show(library: Path, person: str, as_json: bool, quiet: bool) -> None:
    """Show the pictures of a person, and where they lie."""
    console = Console(as_json=as_json, quiet=quiet)
    with fo.Library(library, create=False) as opened:
        faces = opened.show(person)
    for face in faces:
        for place in face.places:
            console.say(f"{printable(place)}:{face.number}" + ("  (said)" if face.said else ""))
    console.result({"faces": [face._asdict() for face in faces]})


@_saying(person_argument, click.argument("name"))
def name(library: fo.Library, person: str, name: str) -> int:
    """Call PERSON by a NAME."""
    return library.name(person, name)


@_saying(person_argument, click.argument("others", nargs=-1, required=True))
def merge(library: fo.Library, person: str, others: Sequence[str]) -> list[int]:
    """Say that PERSON and the OTHERS are one, who keeps the name of PERSON."""
    return library.merge(person, *others)


@_saying(person_argument, click.argument("name"), files_argument)
def split(library: fo.Library, person: str, name: str, files: Sequence[Path]) -> list[int]:
    """Say that the faces of PERSON on FILES are somebody else, called NAME."""
    return library.split(person, files, name)


@_saying(person_argument, files_argument)
def is_(library: fo.Library, person: str, files: Sequence[Path]) -> int:
    """Say that the faces on FILES are PERSON; a name that nobody has makes a new person."""
    return library.is_(person, files)


@_saying(person_argument, files_argument)
def not_(library: fo.Library, person: str, files: Sequence[Path]) -> int:
    """Say that the faces on FILES are not PERSON."""
    return library.is_not(person, files)


@_saying(person_argument, click.argument("other"))
def differ(library: fo.Library, person: str, other: str) -> int:
    """Say that PERSON and OTHER are two people, however alike they look."""
    return library.differ(person, other)


@_saying(person_argument)
def hide(library: fo.Library, person: str) -> int:
    """Give PERSON no folder from now on; their faces still count as theirs."""
    return library.hide(person)


@_saying(click.option("--person", help="All faces of this person."), click.argument("files", nargs=-1))
def ignore(library: fo.Library, person: str | None, files: Sequence[str]) -> int:
    """Say that the faces on FILES are nobody's, or no faces: posters, statues, patterns."""
    return library.ignore(files, person=person)


@people.command(cls=ManyValues, context_settings=HELP)
@library_argument
@person_argument
@click.option(
    "-e", "--embeddings", multiple=True, type=FOLDER_OR_FILE, metavar="TABLE...", help="Further tables."
)
@click.option("-o", "--output", "outputs", multiple=True, type=FOLDER_OR_FILE, help="Further output folders.")
@click.option("--originals", is_flag=True, help="Remove also the pictures themselves, wherever they lie.")
@click.option("--keep-out", is_flag=True, help="Keep one vector, by which later runs leave the person out.")
@click.option("--skip-missing", is_flag=True, help="Tables and folders that are not there are gone for good.")
@click.option("--yes", is_flag=True, help="Do it; without this, only show what would go.")
@json_option
def forget(library: Path, person: str, yes: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Remove all that is kept of PERSON: faces in tables, copies, reports, names; nothing brings it back.

    Tables and folders that were used with LIBRARY are found by themselves. Originals stay unless --originals
    is said. Pictures that are embedded anew later show the person again, unless --keep-out is said. Reports,
    sheets and pages of the folders go as a whole; the next run makes them anew without the person.
    """
    console = Console(as_json=as_json, quiet=quiet)
    tables, outputs = options.pop("embeddings"), options.pop("outputs")
    with fo.Library(library, create=False, dry_run=not yes) as opened:
        told = fo.forget(opened, person, tables, outputs, dry_run=not yes, **options)
    done = "Forgotten" if yes else "Would be forgotten (say --yes to do it)"
    on = count(told.pictures, "picture") + (f", {told.shared:,} of which show others" if told.shared else "")
    console.say(f"{done}: {count(told.faces, 'face')} of {printable(person)} on {on}")
    for path, rows in told.tables.items():
        console.say(f"  {printable(path)}: {count(rows, 'row')}")
    for what, paths in (("file", told.files), ("original", told.originals)):
        console.say(
            f"  {count(len(paths), what)} removed" if yes else f"  {count(len(paths), what)} to remove"
        )
        for path in paths if not yes else ():
            console.say(f"    {printable(path)}")
    console.files("not there:", [(path, "if it comes back, the person is in it") for path in told.missing])
    console.result({**asdict(told), "done": yes})


@people.command(context_settings=HELP)
@library_argument
@json_option
def history(library: Path, as_json: bool, quiet: bool) -> None:
    """List all that was said, by command and by folders, the oldest first."""
    console = Console(as_json=as_json, quiet=quiet)
    with fo.Library(library, create=False) as opened:
        lines = opened.history()
        for line in lines:
            undone = "  (taken back)" if line.undone else ""
            console.say(f"{line.id:>5}  {line.at}  {line.how:<8}  {_in_words(line, opened)}{undone}")
    console.result({"decisions": [line._asdict() for line in lines]})


@people.command(context_settings=HELP)
@library_argument
@click.argument("decision", type=click.IntRange(1), required=False)
@json_option
def undo(library: Path, decision: int | None, as_json: bool, quiet: bool) -> None:
    """Take back a DECISION by its number in the history, or the last one."""
    console = Console(as_json=as_json, quiet=quiet)
    with fo.Library(library, create=False) as opened:
        line = opened.undo(decision)
        console.say(f"Taken back: {_in_words(line, opened)}. {_MEND}")
    console.result({"undone": line._asdict()})


def _in_words(line: Any, library: fo.Library) -> str:
    """A decision as a sentence."""
    person, other = (printable(library.name_of(n) or "") for n in (line.person, line.other))
    pictures = count(line.faces, "face")
    return {
        "name": f"#{line.person} is called {printable(line.name or '')}",
        "is": f"{pictures} {'is' if line.faces == 1 else 'are'} {person}",
        "is-not": f"{pictures} {'is' if line.faces == 1 else 'are'} not {person}",
        "same": f"#{line.other} is {person}",
        "differ": f"{person} is not {other}",
        "ignore": f"{pictures} {'is' if line.faces == 1 else 'are'} nobody's",
        "hide": f"{person} gets no folder",
        "forget": f"#{line.person} was forgotten",
        "undo": f"decision {line.undoes} is taken back",
    }[line.kind]

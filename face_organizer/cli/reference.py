"""`python -m face_organizer.cli.reference`: docs/cli.md, made from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from face_organizer.cli import group

_WIDTH = 90

_HEAD = """# The command line

Made by `make docs` from the commands themselves; a test holds it. Each text is what `--help` prints.
"""


def sections(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    """What `command` and all commands below it say of themselves, parents first."""
    settings = {**command.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield f"## {context.command_path}\n\n```text\n{context.get_help()}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            if child := command.get_command(context, below):
                yield from sections(child, below, context)


def reference() -> str:
    """The whole page: usage, help and options of every command, at one width on every machine."""
    return "\n".join([_HEAD, *sections(group, "face-organizer")])


if __name__ == "__main__":
    click.echo(reference(), nl=False)

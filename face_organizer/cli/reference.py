"""`python -m face_organizer.cli.reference`: docs/cli.md, made from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from face_organizer.cli import group

_WIDTH = 90

_HEAD = """# The command line

Made by `make docs` from the commands themselves; a test holds it. Each text is what `--help` prints.
"""


def commands(
    command: click.Command, names: tuple[str, ...]
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """`command` and all below it, as (full name, command, context), parents first."""
    settings = {**command.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = click.Context(command, info_name=" ".join(names), **settings)
    yield " ".join(names), command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from commands(child, (*names, name))


def reference() -> str:
    """The whole page: usage, help and options of every command, at one width on every machine."""
    parts = [_HEAD]
    for name, command, context in commands(group, ("face-organizer",)):
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    click.echo(reference(), nl=False)

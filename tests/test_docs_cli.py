"""docs/cli.md is what the commands say of themselves today."""

from __future__ import annotations

from pathlib import Path

from face_organizer.cli import COMMANDS
from face_organizer.cli.reference import reference

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"


def test_the_page_is_the_commands() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run `make docs`"


def test_the_page_does_not_hang_on_the_terminal(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert reference() == PAGE.read_text("utf-8")


def test_every_command_has_a_section_and_a_usage() -> None:
    text = reference()
    for name in COMMANDS:
        assert f"## face-organizer {name}\n\n```text\nUsage: face-organizer {name} " in text
    assert "## face-organizer packs pull" in text

"""What doctor found: one check a line, each with its state and, where something is wrong, the mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from face_organizer.errors import EXIT_DEVICE, EXIT_DONE, EXIT_FAILED


class State(StrEnum):
    """How a check ended. `WARN` never changes the exit code."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `mend` says what to do about it, `data` the same for a program."""

    section: str
    name: str
    state: State
    finding: str
    mend: str = ""
    device: bool = False
    """Whether a failure means that a device which should run does not: exit code 4 rather than 1."""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """Finding and mend, for people."""
        return f"{self.finding}; mend: {self.mend}" if self.mend else self.finding


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, and the profile whose lock the environment matches (empty: none known)."""

    profile: str
    checks: Sequence[Check]

    @property
    def decisive(self) -> Check | None:
        """The failure that decides the exit code: the first of a device, else the first; None when well."""
        failed = [check for check in self.checks if check.state is State.FAIL]
        return next((check for check in failed if check.device), failed[0] if failed else None)

    @property
    def exit_code(self) -> int:
        """0 well, 4 a device that should run does not, 1 anything else is broken."""
        if self.decisive is None:
            return EXIT_DONE
        return EXIT_DEVICE if self.decisive.device else EXIT_FAILED

    def as_dict(self) -> dict[str, Any]:
        """The report for `--json`."""
        return {
            "profile": self.profile,
            "exit_code": self.exit_code,
            "checks": [
                {
                    "section": check.section,
                    "name": check.name,
                    "state": check.state.value,
                    "finding": check.finding,
                    "mend": check.mend,
                    **check.data,
                }
                for check in self.checks
            ],
        }

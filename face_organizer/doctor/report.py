"""What doctor found: one check a line, each with its state and, where something is wrong, the mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from face_organizer.errors import DeviceError, FaceOrganizerError


class State(StrEnum):
    """How a check ended. `WARN` never changes the exit code."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `mend` says what to do where it is not as it should be. `device`: a
    failure means that a device which should run does not (exit code 4 rather than 1)."""

    section: str
    name: str
    finding: str
    state: State = State.OK
    mend: str = ""
    device: bool = False

    @property
    def line(self) -> str:
        """Finding and mend, for people."""
        return f"{self.finding}; {self.mend}" if self.mend else self.finding


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, and the profile that the installed packages are (empty: unknown)."""

    profile: str
    checks: Sequence[Check]

    @property
    def error(self) -> FaceOrganizerError | None:
        """What a command ends with: the first failure of a device (exit code 4), else the first failure (1);
        None for an installation that is well."""
        failed = [check for check in self.checks if check.state is State.FAIL]
        for check in sorted(failed, key=lambda check: not check.device):
            kind = DeviceError if check.device else FaceOrganizerError
            return kind(f"{check.name}: {check.finding}", check.mend)
        return None

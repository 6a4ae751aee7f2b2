"""What doctor found: one check a line, each with its state and, where something is wrong, the mend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from face_organizer.errors import DeviceError, FaceOrganizerError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `state`: ok, warn (which never changes the exit code) or FAIL; `mend`:
    what to do then; `device`: a failure means that a device which should run does not (exit code 4)."""

    section: str
    name: str
    finding: str
    state: str = "ok"
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
        failed = [check for check in self.checks if check.state == "FAIL"]
        if not failed:
            return None
        first = max(failed, key=lambda check: check.device)
        kind = DeviceError if first.device else FaceOrganizerError
        return kind(f"{first.name}: {first.finding}", first.mend)

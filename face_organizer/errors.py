"""The exception tree. Every error a user can meet carries the exit code that the command line ends with: 1,
but 2 for `UsageError` and 4 for `DeviceError`. `ImageError` stands apart: it never ends a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from face_organizer.types import Outcome

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_UNUSABLE = 3
EXIT_DEVICE = 4
EXIT_INTERRUPTED = 130


class FaceOrganizerError(Exception):
    """Base of every error that is shown to the user as one line: `why`, and `mend`, what to do about it
    (may be empty). `exit_code` is the process's."""

    exit_code = EXIT_FAILED

    def __init__(self, why: str, mend: str = "") -> None:
        super().__init__(why, mend)
        self.why, self.mend = why, mend

    def __str__(self) -> str:
        return f"{self.why}; {self.mend}" if self.mend else self.why


class UsageError(FaceOrganizerError):
    """The command was called with something that cannot be done."""

    exit_code = EXIT_USAGE


class TableError(FaceOrganizerError):
    """A face table cannot be read, written or merged."""


class UnsafePickleError(TableError):
    """A pickle names a global outside the allow-list; nothing of it was run."""


class SpaceMismatchError(TableError):
    """Tables whose embeddings live in different spaces were put together."""


class PackError(FaceOrganizerError):
    """A model pack is missing, incomplete or not what it claims to be."""


class DownloadError(PackError):
    """A model pack could not be downloaded whole."""


class ModelMissingError(PackError):
    """A gender network, or what it needs, is not installed; the message says how to get it."""


class ClusterError(FaceOrganizerError):
    """The embeddings cannot be clustered as asked."""


class LibraryError(FaceOrganizerError):
    """A library cannot be opened, or what was said contradicts what it holds."""


class OrganizeError(FaceOrganizerError):
    """Folders cannot be written as planned."""


class DeviceError(FaceOrganizerError):
    """The device that was asked for is not there, or a session fell back from it."""

    exit_code = EXIT_DEVICE


class OutOfMemoryError(DeviceError):
    """The device has no memory left for a batch; `networks.sessions` tries smaller ones first."""


class ImageError(Exception):
    """One picture could not be used; `outcome` and `reason` go into the table of files. `passing`: a later
    run may succeed (a share that was away, a permission, memory)."""

    def __init__(self, outcome: Outcome, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.passing = outcome, reason, passing

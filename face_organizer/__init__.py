"""Sort large photo collections by the people on them: compute faces once, decide many times.

    import face_organizer as fo

    table = fo.embed(["photos"], "faces.pkl")
    people = fo.cluster(table)
    fo.plan(people, "people").apply()

What there is stands in `face_organizer.api`; each name is loaded when it is first asked for (PEP 562).
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from face_organizer.api import *  # noqa: F403

__version__ = "0.1.0"


class _FrontDoor(ModuleType):
    """The package. Some rooms have the name of the function that they are for (`embed`, `cluster` …):
    importing a module of theirs must not put the folder in that function's place, as Python does it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _api().OFFERED):
            super().__setattr__(name, value)


def _api() -> Any:
    # Loaded by hand: `from face_organizer import api` would ask this module for it.
    from importlib import import_module

    return import_module("face_organizer.api")


if not TYPE_CHECKING:  # type checkers read `api`

    def __getattr__(name):
        return _api().load(name)


def __dir__() -> list[str]:
    return sorted({"__version__", *_api().OFFERED})


sys.modules[__name__].__class__ = _FrontDoor

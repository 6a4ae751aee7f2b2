"""One direction of imports, from the roof to the ground, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "face_organizer"

FLOORS = (
    "errors files machine types",
    "media networks organize table",
    "geometry library",
    "deepface detect doctor previews recognize",
    "cluster faceswap",
    "embed evaluate",
    "duplicates gender search",
    "compare faceset forget",
    "api",
    "cli",
)
"""Rooms, from the ground up: a folder or a module that lies flat. A room imports only from floors beneath its
own; the ground floor's modules may import one another. `__init__` and `__main__` are the two entrances."""

FLAT = {"errors", "files", "machine", "types", "api", "__init__", "__main__"}

FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split()}

HEAVY = ("av", "cv2", "onnxruntime", "onnx", "faiss", "PIL", "tensorflow", "insightface")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def room(module: str) -> str:
    """`face_organizer.detect.yunet` is in the room `detect`; the package itself in `__init__`."""
    return [*module.split("."), "__init__"][1]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module of the package or name in it), inside functions and TYPE_CHECKING blocks too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == PACKAGE:
                yield node.lineno, f"{PACKAGE}.__init__" if name == f"{PACKAGE}.__version__" else name


MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))


def arrows() -> dict[tuple[str, str], list[str]]:
    """(room, imported room) and the places of these imports, `file:line module`."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in MODULES:
        here = room(module_name(path))
        for line, imported in imports(path):
            if not {"__init__", "__main__"} & {here, there := room(imported)} and there != here:
                found.setdefault((here, there), []).append(f"{path.relative_to(ROOT)}:{line} {imported}")
    return found


def test_a_room_imports_only_what_lies_beneath_it() -> None:
    wrong = [
        place
        for (here, there), places in arrows().items()
        if not (FLOOR[there] < FLOOR[here] or FLOOR[here] == FLOOR[there] == 0)
        for place in places
    ]
    assert wrong == []


def test_commands_use_nothing_but_the_front_door() -> None:
    """Beside it: errors, files and types, on which commands and rooms agree."""
    assert {there for here, there in arrows() if here == "cli"} <= {"errors", "files", "types"}


def test_the_house_stays_small() -> None:
    """Few modules beside the rooms, few floors, few arrows between rooms."""
    flat = {p.stem for p in (ROOT / PACKAGE).glob("*.py")}
    assert flat <= FLAT
    assert len(FLOORS) <= 10
    assert len(arrows()) <= 162, sorted(arrows())


def test_a_room_offers_what_its_front_page_names() -> None:
    """Others import what `__all__` of a room's `__init__` lists: modules of it, or names in it."""
    wrong = []
    for path in MODULES:
        here = room(module_name(path))
        for line, imported in imports(path):
            parts = imported.split(".")
            there = room(imported)
            if there in {here, "__init__"} or not (ROOT / PACKAGE / there).is_dir():
                continue
            if len(parts) > 2 and parts[2] not in offered(there):
                wrong.append(f"{path.relative_to(ROOT)}:{line} {imported}")
    assert wrong == []


def test_the_front_door_is_typed() -> None:
    """What a type checker reads in `api` is what `load` loads."""
    import face_organizer as fo
    from face_organizer import api

    (block,) = [n for n in ast.parse(Path(api.__file__).read_text("utf-8")).body if isinstance(n, ast.If)]
    typed = {
        alias.asname: node.module.removeprefix(f"{PACKAGE}.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert typed == api.OFFERED
    assert all(getattr(fo, name) is api.load(name) for name in typed)
    assert set(dir(fo)) == {"__version__", *typed}
    with pytest.raises(AttributeError, match="offers no 'nonsense'"):
        fo.nonsense  # noqa: B018


def test_a_function_of_the_front_door_is_not_hidden_by_the_room_of_its_name() -> None:
    script = (
        "import face_organizer.cluster, face_organizer as fo, importlib\n"
        f"for name in {sorted(room(module_name(p)) for p in MODULES)}:\n"
        "    importlib.import_module(f'face_organizer.{name}')\n"
        "from face_organizer import api\n"
        "assert all(type(getattr(fo, name)).__name__ != 'module' for name in api.OFFERED)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@cache
def offered(folder: str) -> frozenset[str]:
    tree = ast.parse((ROOT / PACKAGE / folder / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree), f"{folder}/__init__.py says nothing"
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def test_no_two_modules_import_each_other() -> None:
    """Beyond floors: modules that import one another at their top level cannot be read one at a time."""
    names = {module_name(p) for p in MODULES if p.name != "__init__.py"}
    graph = {
        module_name(p): {m for _, name in imports(p) for m in (name, name.rpartition(".")[0]) if m in names}
        for p in MODULES
        if p.name != "__init__.py"
    }
    resolved: set[str] = set()
    while True:
        free = {m for m, needs in graph.items() if not (needs & graph.keys()) - resolved - {m}} - resolved
        if not free:
            break
        resolved |= free
    assert sorted(graph.keys() - resolved) == []


def test_imports_are_found_inside_functions(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "def f():\n    from face_organizer.cli import main\n    import face_organizer.embed.processes\n"
    )
    assert list(imports(path)) == [(2, "face_organizer.cli.main"), (3, "face_organizer.embed.processes")]


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(sys.modules), sep='\\n', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import face_organizer",
        "from face_organizer.cli import group, run; run(group, ['--help'])",
        "from face_organizer.cli import group, run; run(group, ['embed', '--help'])",
        "from face_organizer.cli import group, run; run(group, ['cluster', '--help'])",
        "from face_organizer.cli import group, run; run(group, ['gender', '--help'])",
    ],
    ids=["import", "help", "embed-help", "cluster-help", "gender-help"],
)
def test_nothing_heavy_is_loaded_to_answer_help(code: str) -> None:
    loaded = loaded_after(code)
    assert PACKAGE in loaded
    assert loaded & set(HEAVY) == set()


def test_help_loads_no_numpy() -> None:
    code = "from face_organizer.cli import group, run; run(group, ['--help'])"
    assert "numpy" not in loaded_after(code)


def test_every_room_stands_on_one_floor() -> None:
    rooms = " ".join(FLOORS).split()
    assert len(rooms) == len(set(rooms))

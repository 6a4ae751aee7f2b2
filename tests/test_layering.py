"""One direction of imports, from the roof to the ground, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "face_organizer"

FLOORS = (
    "__init__ columns errors types",
    "align device faceswap files download graph_cache graphs half_precision images jpeg known listing packs"
    " pickle_machine pickled_arrays pillow_picture png resources roles runtime safe_pickle shards table"
    " table_document table_folder unpack video workplace",
    "cluster crops detect embed metrics quality thumbnails tracks",
    "clips engine extract picture rows",
    "assignments backends diagnosis dividing doctor embedding evaluation gallery gender"
    " jobs organize overview pieces search"
    " sheets stability worker",
    "cli",
    "__main__ demo",
)
"""Rooms, from the ground up. A room imports its own floor and those beneath."""

FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split()}

HEAVY = ("av", "cv2", "onnxruntime", "onnx", "faiss", "PIL", "tensorflow", "insightface")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def room(module: str) -> str:
    """`face_organizer.detect.yunet` is in the room `detect`; the package itself in `__init__`."""
    return [*module.split("."), "__init__"][1]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, imported module of the package), inside functions and TYPE_CHECKING blocks too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [node.module or ""]
            if node.module == PACKAGE:
                names = [f"{PACKAGE}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == PACKAGE:
                yield node.lineno, f"{PACKAGE}.__init__" if name == f"{PACKAGE}.__version__" else name


MODULES = sorted((ROOT / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_its_floor_and_below(path: Path) -> None:
    here = room(module_name(path))
    assert here in FLOOR, f"put {here} on a floor"
    for line, imported in imports(path):
        assert room(imported) in FLOOR, f"{path.name}:{line}: {imported} stands on no floor"
        assert FLOOR[room(imported)] <= FLOOR[here], (
            f"{path.name}:{line}: {here} imports {imported}, above it"
        )


def test_no_two_modules_import_each_other() -> None:
    """Beyond floors: modules that import one another at their top level cannot be read one at a time."""
    graph = {module_name(p): {m for _, m in imports(p)} for p in MODULES if p.name != "__init__.py"}
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
    assert list(imports(path)) == [(2, "face_organizer.cli"), (3, "face_organizer.embed.processes")]


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

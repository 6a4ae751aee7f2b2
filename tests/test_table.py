"""The face table on disk: what is written is read, by us and by the original's readers; damage is told."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_tables import WEIRD_PATHS, content, stamp, table_of, tables, unit

from face_organizer import table
from face_organizer.errors import SpaceMismatchError, TableError
from face_organizer.types import Faces, FaceTable, Files, Outcome

FORMS = ("faces.pkl", "large.faces")
_SPECS = (*Faces.specs(), *Files.specs())
FOLDER_FILES = 2 + len(_SPECS) + sum("text" in s.metadata for s in _SPECS)
"""`embeddings`, `meta.json`, a file a column, and one more for the ends of texts."""
SAMPLE = dict.fromkeys(WEIRD_PATHS, 1) | {"/photos/two.jpg": 2, "/photos/none.jpg": 0}


@pytest.fixture(params=FORMS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where to write a table: as a pickle, and as a folder."""
    return tmp_path / str(request.param)


# Round trips.


@pytest.mark.parametrize(
    "made",
    [
        table_of(SAMPLE),
        table_of(SAMPLE, stamped=False),
        dataclasses.replace(table_of(SAMPLE), unnamed_files=7),
        table_of({}),
        table_of({"/only/faceless.jpg": 0}, dim=512),
    ],
    ids=["weird names", "no stamp", "unnamed files", "empty", "no faces"],
)
def test_a_table_is_read_as_it_was_written(place: Path, made: FaceTable) -> None:
    table.write(made, place)
    assert content(table.read(place)) == content(made)


@given(made=tables(), form=st.sampled_from(FORMS))
@settings(max_examples=100)
def test_any_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, made: FaceTable, form: str
) -> None:
    place = tmp_path_factory.getbasetemp() / form
    table.write(made, place)
    assert content(table.read(place)) == content(made)


def test_a_table_goes_from_form_to_form_unchanged(tmp_path: Path) -> None:
    made = table_of(SAMPLE)
    table.write(made, tmp_path / "a.pkl")
    table.write(table.read(tmp_path / "a.pkl"), tmp_path / "b.faces")
    table.write(table.read(tmp_path / "b.faces"), tmp_path / "b.faces")
    table.write(table.read(tmp_path / "b.faces"), tmp_path / "c.pkl")
    assert content(table.read(tmp_path / "c.pkl")) == content(made)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["deep/er/", "🎉" * 58, os.fsdecode(b"\xff") * 200, "line\nbreak"])
def test_a_table_may_be_called_anything(tmp_path: Path, name: str, form: str) -> None:
    place = tmp_path / f"{name}{form}"
    table.write(table_of(SAMPLE), place)
    assert len(table.read(place)) == len(table_of(SAMPLE))


def test_options_of_the_stamp_are_the_same_from_both_forms(tmp_path: Path) -> None:
    made = dataclasses.replace(
        table_of(SAMPLE), stamp=stamp(options={"sizes": (1, 2), "nested": {"a": None}})
    )
    for form in FORMS:
        table.write(made, tmp_path / form)
        read = table.read(tmp_path / form).stamp
        assert read is not None
        assert read.options == {"sizes": [1, 2], "nested": {"a": None}}


# The pickle is the original's interchange file.

NUMPY_ONLY = """
import pickle, pickletools, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "face_organizer":
            raise ImportError(name)
sys.meta_path.insert(0, Finder())
with open(sys.argv[1], "rb") as file:
    data = file.read()
made = pickle.loads(data)
import numpy as np
assert isinstance(made["embeddings"], np.ndarray) and made["embeddings"].dtype == np.float32
assert type(made["image_paths"]) is list and {type(p) for p in made["image_paths"]} == {str}
assert type(made["no_face_count"]) is int and type(made["total_images"]) is int
roots = {name.split(".")[0] for name in sys.modules} & {"cv2", "faiss", "onnxruntime", "face_organizer"}
protocol = next(argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "PROTO")
print(ascii([made["embeddings"].shape, made["embeddings"].tolist(), made["image_paths"],
             made["no_face_count"], made["total_images"], protocol, roots]))
"""


def test_plain_pickle_with_numpy_alone_reads_what_the_original_reads(tmp_path: Path) -> None:
    made = dataclasses.replace(table_of(SAMPLE), unnamed_files=2)
    table.write(made, tmp_path / "faces.pkl")
    command = [sys.executable, "-I", "-c", NUMPY_ONLY, str(tmp_path / "faces.pkl")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    paths = sorted([*WEIRD_PATHS, "/photos/two.jpg", "/photos/two.jpg"], key=os.fsencode)
    assert ran.stdout.strip() == ascii([(8, 4), made.embeddings.tolist(), paths, 3, 10, 4, set()])


def original(count: int = 5, **changes: Any) -> dict[str, Any]:
    """What the original script pickles: four keys."""
    document = {
        "embeddings": unit(count, 512),
        "image_paths": [f"/photos/{i}.jpg" for i in range(count)],
        "no_face_count": 2,
        "total_images": count + 2,
    }
    return document | changes


def read_pickled(document: Any, folder: Path, protocol: int | None = None) -> FaceTable:
    (folder / "original.pkl").write_bytes(pickle.dumps(document, protocol))
    return table.read(folder / "original.pkl")


@pytest.mark.parametrize("protocol", [*range(pickle.HIGHEST_PROTOCOL + 1), None])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"embeddings": unit(5, 512) * np.array([[1], [2], [0.5], [30], [1e-3]], np.float32)},
        {"embeddings": unit(5, 512).astype(np.float64)},
        {"embeddings": np.asfortranarray(unit(5, 512))},
        {"embeddings": list(unit(5, 512))},
        {"embeddings": unit(5, 512).tolist()},
        {"image_paths": np.array(original()["image_paths"])},
        {"image_paths": np.array(original()["image_paths"], object)},
        {"image_paths": tuple(original()["image_paths"])},
        {"no_face_count": np.int64(2), "total_images": np.int64(7)},
        {"files": ["a user's own key"], "faces": None, "model": "buffalo_l", 7: (1, [2])},
    ],
    ids=[
        "original", "not unit", "float64", "fortran", "list of arrays", "list of lists", "texts", "objects",
        "tuple", "numpy counts", "more keys",
    ],
)  # fmt: skip
def test_a_pickle_of_the_original_is_accepted(
    tmp_path: Path, changes: dict[Any, Any], protocol: int | None
) -> None:
    read = read_pickled(original() | changes, tmp_path, protocol)
    assert read.embeddings.dtype == np.float32
    assert np.allclose(read.embeddings, unit(5, 512), atol=1e-6)
    assert read.face_paths() == list(read.files.path) == [f"/photos/{i}.jpg" for i in range(5)]
    assert read.stamp is None
    assert (read.total_files, read.outcome_counts()["faces"], read.outcome_counts()["no_face"]) == (7, 5, 2)
    assert np.isnan(read.faces.box).all()


def test_rows_of_an_original_are_sorted_and_faces_of_one_picture_numbered(tmp_path: Path) -> None:
    vectors = unit(4)
    document = original(4, embeddings=vectors, image_paths=["/b", "/a", "/b", "/A"], total_images=9)
    read = read_pickled(document, tmp_path)
    assert read.face_paths() == ["/A", "/a", "/b", "/b"]
    assert read.faces.face_index.tolist() == [0, 0, 0, 1]
    assert np.array_equal(read.embeddings, vectors[[3, 1, 0, 2]])
    assert (read.total_files, read.unnamed_files) == (9, 6)


@pytest.mark.parametrize("nothing", [np.array([]), np.empty((0, 512), np.float32), []])
def test_an_original_without_faces_is_accepted(tmp_path: Path, nothing: Any) -> None:
    read = read_pickled(
        {"embeddings": nothing, "image_paths": [], "no_face_count": 3, "total_images": 3}, tmp_path
    )
    assert (len(read), read.total_files, read.outcome_counts()["no_face"]) == (0, 3, 3)


def test_counts_that_an_original_does_not_tell_are_worked_out(tmp_path: Path) -> None:
    document = original()
    del document["total_images"]
    assert read_pickled(document, tmp_path).total_files == 7
    del document["no_face_count"]
    assert read_pickled(document, tmp_path).total_files == 5
    assert read_pickled(original(total_images=1), tmp_path).total_files == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embeddings": unit(4, 512)}, "table of vectors"),
        ({"embeddings": None}, "table of vectors"),
        ({"embeddings": "12345"}, "table of vectors"),
        ({"embeddings": unit(5, 512)[:, :, None]}, "table of vectors"),
        ({"embeddings": unit(5, 512)[:, 0]}, "table of vectors"),
        ({"embeddings": [unit(1, i)[0] for i in (1, 2, 3, 4, 5)]}, "inhomogeneous"),
        ({"embeddings": unit(5, 512) * np.float32(np.nan)}, "5 embeddings hold NaN"),
        ({"embeddings": np.full((5, 2), np.inf, np.float32)}, "5 embeddings hold NaN or infinite"),
        ({"embeddings": np.zeros((5, 512), np.float32)}, "zero vectors"),
        ({"embeddings": np.array(["a"] * 5)}, "not a face table"),
        ({"image_paths": "abcde"}, "image_paths"),
        ({"image_paths": [1, 2, 3, 4, 5]}, "image_paths"),
        ({"image_paths": [b"/a"] * 5}, "image_paths"),
        ({"image_paths": None}, "image_paths"),
        ({"image_paths": ["/a\ud800"] * 5}, "surrogates"),
        ({"total_images": "many"}, "many"),
        ({"total_images": float("inf")}, "infinity"),
        ({"total_images": None}, "NoneType"),
        ({"format": "face-organizer 9"}, "face-organizer 9"),
        ({"format": "face-organizer 1"}, "files"),
    ],
)
def test_a_pickle_that_is_no_table_is_refused_in_words(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(TableError, match=words) as refused:
        read_pickled(original() | changes, tmp_path)
    assert "original.pkl: not a face table, or damaged: " in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("document", [[], {}, None, 7, "text", {"embeddings": unit(1)}, [unit(1)]])
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(TableError, match=r"original\.pkl: not a face table, or damaged"):
        read_pickled(document, tmp_path)


# Versions to come and to go.


def later(document: dict[str, Any]) -> dict[str, Any]:
    """The same table from a later version that knows more, and has dropped two columns."""
    files = {k: v for k, v in document["files"].items() if k != "width"} | {
        "blur": np.ones(8),
        "tags": [["x"]] * 8,
    }
    faces = {k: v for k, v in document["faces"].items() if k != "score"} | {"age": np.ones((8, 3))}
    marks = document["stamp"] | {"signature": b"\0\1"}
    return document | {"files": files, "faces": faces, "stamp": marks, "clusters": {"a": {1: 2}}}


def test_a_pickle_of_a_later_version_loads(tmp_path: Path) -> None:
    made = table_of(SAMPLE)
    table.write(made, tmp_path / "faces.pkl")
    read = read_pickled(later(pickle.loads((tmp_path / "faces.pkl").read_bytes())), tmp_path)
    assert np.isnan(read.faces.score).all()
    assert not read.files.width.any()
    known = content(made)
    assert {k: v for k, v in content(read).items() if known[k] != v}.keys() == {"score", "width"}


def test_a_folder_of_a_later_version_loads(tmp_path: Path) -> None:
    made = table_of(SAMPLE)
    folder = tmp_path / "large.faces"
    table.write(made, folder)
    meta = json.loads((folder / "meta.json").read_text())
    np.save(folder / "blur.npy", np.ones(8))
    meta["columns"] |= {"files.blur": "blur.npy", "clusters.x": "not-there.npy"}
    del meta["columns"]["files.width"], meta["columns"]["faces.score"]
    meta |= {"signature": "x"}
    meta["stamp"] |= {"signature": "x"}
    (folder / "meta.json").write_text(json.dumps(meta))
    known = content(made)
    assert {k: v for k, v in content(table.read(folder)).items() if known[k] != v}.keys() == {
        "score",
        "width",
    }


# Damage.


def damaged(sound: bytes, data: st.DataObject) -> bytes:
    """`sound` cut short or changed in a few places."""
    changed = bytearray(sound[: data.draw(st.integers(0, len(sound)))] if data.draw(st.booleans()) else sound)
    for _ in range(data.draw(st.integers(0, 4))):
        if not changed:
            break
        place = data.draw(st.integers(0, len(changed) - 1))
        changed[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    return bytes(changed)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small table in both forms, and an original."""
    folder = tmp_path_factory.mktemp("sound")
    for form in FORMS:
        table.write(table_of({"/a": 1, "/b": 2, "/c": 0}), folder / form)
    (folder / "original.pkl").write_bytes(pickle.dumps(original(2, embeddings=unit(2))))
    return folder


def assert_read_or_refused(place: Path, again: Path) -> None:
    """Either a table that counts and can be written, or one line with the name of the file."""
    try:
        read = table.read(place)
    except TableError as error:
        refusal = str(error)
    else:
        assert sum(read.outcome_counts().values()) == read.total_files
        table.write(read, again)
        assert content(table.read(again)) == content(read)
        return
    assert refusal.startswith(f"{place}: ")
    assert refusal.isprintable()


@given(data=st.data(), name=st.sampled_from(["faces.pkl", "original.pkl"]))
@settings(max_examples=400)
def test_a_damaged_pickle_is_read_or_refused_with_its_name(
    sound: Path, data: st.DataObject, name: str
) -> None:
    file = sound / "damaged.pkl"
    file.write_bytes(damaged((sound / name).read_bytes(), data))
    assert_read_or_refused(file, sound / "again.faces")


@given(data=st.data())
@settings(max_examples=400)
def test_a_damaged_folder_is_read_or_refused_with_its_name(sound: Path, data: st.DataObject) -> None:
    folder = sound / "damaged.faces"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound / "large.faces", folder)
    names = sorted(os.listdir(folder), key=lambda name: name.split("-")[0])
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        (folder / name).write_bytes(damaged((folder / name).read_bytes(), data))
    assert_read_or_refused(folder, sound / "again.pkl")


@pytest.mark.parametrize("part", range(FOLDER_FILES))
def test_a_folder_without_one_of_its_files_is_refused(tmp_path: Path, part: int) -> None:
    folder = tmp_path / "large.faces"
    table.write(table_of(SAMPLE), folder)
    names = sorted(os.listdir(folder))
    assert len(names) == FOLDER_FILES
    (folder / names[part]).unlink()
    with pytest.raises(TableError, match=r"large\.faces: cannot be read: no such file"):
        table.read(folder)


@pytest.mark.parametrize(
    "name", ["../outside.npy", "/outside.npy", "sub/inside.npy", "..", ".", "", "a\0b", 7, None]
)
def test_a_folder_that_names_files_outside_is_refused(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "large.faces"
    table.write(table_of(SAMPLE), folder)
    meta = json.loads((folder / "meta.json").read_text())
    inside = folder / meta["columns"]["embeddings"]
    for copy in (tmp_path / "outside.npy", folder / "sub" / "inside.npy"):
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(inside, copy)
    meta["columns"]["embeddings"] = str(tmp_path / "outside.npy") if name == "/outside.npy" else name
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(TableError, match=r"large\.faces: not a face table, or damaged"):
        table.read(folder)


class Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("column", ["embeddings", "faces.box", "files.path", "files.bytes"])
@pytest.mark.parametrize("kind", ["objects", "npz", "pickle", "structured"])
def test_arrays_of_objects_in_a_folder_are_refused(tmp_path: Path, column: str, kind: str) -> None:
    folder = tmp_path / "large.faces"
    table.write(table_of(SAMPLE), folder)
    meta = json.loads((folder / "meta.json").read_text())
    hostile = np.array([Touches(tmp_path / "was run")] * 8, object)
    if kind == "objects":
        np.save(folder / "hostile.npy", hostile, allow_pickle=True)
        np.load(folder / "hostile.npy", allow_pickle=True)
        assert (tmp_path / "was run").exists()  # it would run, if it were unpickled
    elif kind == "npz":
        np.savez(folder / "hostile.npz", a=hostile)
        (folder / "hostile.npz").rename(folder / "hostile.npy")
    elif kind == "pickle":
        (folder / "hostile.npy").write_bytes(pickle.dumps(hostile))
    else:
        np.save(folder / "hostile.npy", np.zeros(8, [("x", "f4"), ("y", "O")]), allow_pickle=True)
    (tmp_path / "was run").unlink(missing_ok=True)
    meta["columns"][column] = "hostile.npy"
    (folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(TableError, match=r"large\.faces: not a face table, or damaged"):
        table.read(folder)
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    "meta", ["[]", "{}", "null", "7", '{"format": "face-organizer 1"}', "[" * 100_000, "{"]
)
def test_a_folder_whose_meta_is_something_else_is_refused(tmp_path: Path, meta: str) -> None:
    folder = tmp_path / "large.faces"
    folder.mkdir()
    (folder / "meta.json").write_text(meta)
    with pytest.raises(TableError, match=r"large\.faces: not a face table, or damaged"):
        table.read(folder)


def test_an_array_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "large.faces"
    table.write(table_of(SAMPLE), folder)
    for name in os.listdir(folder):
        if name.endswith(".npy"):
            data = (folder / name).read_bytes()
            (folder / name).write_bytes(data.replace(b"'shape': (8,", b"'shape': (99999999999,", 1))
    with pytest.raises(TableError, match=r"large\.faces: not a face table, or damaged"):
        table.read(folder)


def test_a_folder_of_the_users_keeps_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "large.faces"
    folder.mkdir()
    for name in ("notes.json", "vectors.npy", "embeddings.npy", "readme.txt", ".hidden.part"):
        (folder / name).write_text("mine")
    for seed in range(2):
        table.write(table_of(SAMPLE, seed=seed), folder)
    for name in ("notes.json", "vectors.npy", "embeddings.npy", "readme.txt", ".hidden.part"):
        assert (folder / name).read_text() == "mine"
    assert len(os.listdir(folder)) == FOLDER_FILES + 5


# Memory.


def test_vectors_of_a_folder_are_memory_mapped_and_those_of_a_pickle_are_its_bytes(tmp_path: Path) -> None:
    table.write(table_of(SAMPLE), tmp_path / "large.faces")
    table.write(table_of(SAMPLE), tmp_path / "faces.pkl")
    mapped, pickled = (table.read(tmp_path / name).embeddings for name in ("large.faces", "faces.pkl"))
    assert isinstance(mapped, np.memmap) or isinstance(mapped.base, np.memmap)
    assert not pickled.flags.owndata
    assert not mapped.flags.writeable
    assert not pickled.flags.writeable


def test_unit_vectors_of_an_original_are_not_copied(tmp_path: Path) -> None:
    assert not read_pickled(original(), tmp_path).embeddings.flags.owndata


def test_one_table_is_merged_into_itself() -> None:
    alone = table_of(SAMPLE)
    assert table.merge([alone], ["a"]) is alone


MEASURED = """
import re, sys
from pathlib import Path
import numpy as np
from face_organizer import table
def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
read = table.read(sys.argv[1])
merged = table.merge([read], ["it"])
assert merged.embeddings.shape == (100_000, 256), merged.embeddings.shape
total = sum(float(merged.embeddings[i:i + 10_000].sum()) for i in range(0, 100_000, 10_000))
print(peak() - before, total)
"""


@pytest.mark.parametrize("form", [*FORMS, "original.pkl"])
def test_large_vectors_are_held_once(tmp_path: Path, form: str) -> None:
    count, dim = 100_000, 256
    paths = [f"/photos/folder_{i // 1000:04d}/frame_{i:08d}.jpg" for i in range(count)]
    if form == "original.pkl":
        document = {
            "embeddings": unit(count, dim),
            "image_paths": paths,
            "no_face_count": 0,
            "total_images": count,
        }
        (tmp_path / form).write_bytes(pickle.dumps(document))
    else:
        table.write(table_of(dict.fromkeys(paths, 1), dim=dim), tmp_path / form)
    command = [sys.executable, "-c", MEASURED, str(tmp_path / form)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    growth, total = map(float, ran.stdout.split())
    vectors = count * dim * 4
    # A row takes about 300 bytes beside its vector: path, other columns, lists; a second copy is 1024.
    assert growth < 1.35 * vectors + 350 * count
    assert total == pytest.approx(float(unit(count, dim).sum(dtype=np.float64)), abs=1)


# Whole or not at all.

FIRST, SECOND = (
    table_of(SAMPLE, seed=1),
    table_of(dict.fromkeys(map("/{:05d}".format, range(3000)), 1), seed=2),
)


def test_a_write_that_fails_leaves_the_old_table_and_nothing_else(place: Path) -> None:
    table.write(FIRST, place)
    script = """
        import resource, signal, sys
        sys.path.insert(0, sys.argv[3])
        from test_table import SECOND, table
        from face_organizer.errors import TableError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        try:
            table.write(SECOND, sys.argv[1])
        except TableError as error:
            print(error)
    """
    before = sorted(place.parent.rglob("*"))
    for limit in (0, 100, 20_000, 45_000):
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(script),
            str(place),
            str(limit),
            str(Path(__file__).parent),
        ]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ran.stdout == f"{place}: cannot be written: file too large\n"
        assert content(table.read(place)) == content(FIRST)
        assert sorted(place.parent.rglob("*")) == before


KILLED = """
import itertools, os, signal, sys
sys.path.insert(0, sys.argv[2])
from test_table import FIRST, SECOND, content, table

def write_until(last):
    calls = itertools.count(1)
    def die(event, arguments):
        if event.startswith(("open", "os.")) and next(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(die)
    table.write(SECOND, sys.argv[1])
    os._exit(0)

known = [content(FIRST), content(SECOND)]
for last in itertools.count(1, int(sys.argv[3])):
    table.write(FIRST, sys.argv[1])
    child = os.fork() or write_until(last)
    ended = os.waitpid(child, 0)[1]
    print(known.index(content(table.read(sys.argv[1]))), ended)
    if ended == 0:
        break
"""


@pytest.mark.slow
def test_a_kill_at_any_step_leaves_one_of_the_two_tables(place: Path) -> None:
    """A writer is killed at its first call of the system, at a later one, and so on until it gets through."""
    steps = "1" if place.suffix == ".pkl" else "7"
    command = [sys.executable, "-c", KILLED, str(place), str(Path(__file__).parent), steps]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [line.split() for line in ran.stdout.splitlines()]
    assert [ended for _, ended in found] == ["9"] * (len(found) - 1) + ["0"]
    seen = "".join(which for which, _ in found)
    assert seen == "0" * seen.count("0") + "1" * seen.count("1")
    assert len(found) > 4
    assert {"0", "1"} == set(seen[:-1])
    table.write(FIRST, place)
    if place.is_dir():
        assert len(os.listdir(place)) == FOLDER_FILES  # the next write clears what killed ones left


def test_a_table_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    place = tmp_path / "faces.pkl"
    mask = os.umask(0o027)
    try:
        table.write(FIRST, place)
        assert stat.S_IMODE(place.stat().st_mode) == 0o640
        place.chmod(0o600)
        table.write(SECOND, place)
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
    finally:
        os.umask(mask)


@pytest.mark.parametrize(
    ("name", "words"), [("file/x.pkl", "."), ("file/x.faces", "."), ("file.faces", "exists")]
)
def test_a_table_that_cannot_be_written_says_why(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file.faces").touch()
    with pytest.raises(TableError, match=f"{name}: cannot be written: .*{words}"):
        table.write(FIRST, tmp_path / name)


# Merging.


@given(parts=st.lists(tables(stamped=True), min_size=1, max_size=4), data=st.data())
@settings(max_examples=200)
def test_merging_does_not_depend_on_the_order_of_tables(parts: list[FaceTable], data: st.DataObject) -> None:
    parts = [dataclasses.replace(p, stamp=stamp(version=str(len(p)))) for p in parts]
    order = data.draw(st.permutations(range(len(parts))))
    names = [str(i) for i in range(len(parts))]
    merged = table.merge(parts, names)
    assert content(table.merge([parts[i] for i in order], [names[i] for i in order])) == content(merged)

    paths = list(merged.files.path)
    assert paths == sorted({p for part in parts for p in part.files.path}, key=os.fsencode)
    keys = list(zip(merged.faces.file_index.tolist(), merged.faces.face_index.tolist(), strict=True))
    assert keys == sorted(keys)
    assert merged.unnamed_files == sum(p.unnamed_files for p in parts)
    assert sum(merged.outcome_counts().values()) == merged.total_files
    for i, path in enumerate(paths):
        sources = [(p, list(p.files.path).index(path)) for p in parts if path in p.files.path]
        with_faces = [(p, row) for p, row in sources if p.files.outcome[row] == Outcome.FACES]
        if with_faces:
            rows = merged.embeddings[merged.faces.file_index == i].tolist()
            assert rows in [p.embeddings[p.faces.file_index == row].tolist() for p, row in with_faces]
        else:
            assert merged.files.outcome[i] in [p.files.outcome[row] for p, row in sources]


def test_of_two_looks_at_one_picture_the_later_one_is_kept() -> None:
    old, new = (table_of({"/a": 1, "/b": 1}, seed=seed, mtime_ns=seed) for seed in (1, 2))
    for pair in ((old, new), (new, old)):
        assert content(table.merge(pair, ["x", "y"])) == content(new)


def test_a_look_that_found_faces_is_kept_before_a_later_one_that_found_none() -> None:
    found, lost = table_of({"/a": 2, "/b": 0}, mtime_ns=1), table_of({"/a": 0, "/b": 1}, mtime_ns=2)
    for pair in ((found, lost), (lost, found)):
        merged = table.merge(pair, ["x", "y"])
        assert merged.face_paths() == ["/a", "/a", "/b"]
        assert merged.outcome_counts()["faces"] == merged.total_files == 2


def test_tables_of_the_original_are_merged_with_one_another(tmp_path: Path) -> None:
    parts = []
    for gpu, paths in enumerate((["/b", "/d"], ["/a", "/c"])):
        parts.append(
            read_pickled(original(2, image_paths=paths, embeddings=unit(2, 512, seed=gpu)), tmp_path)
        )
    merged = table.merge(parts, ["gpu0", "gpu1"])
    assert merged.face_paths() == ["/a", "/b", "/c", "/d"]
    assert merged.stamp is None
    assert np.array_equal(merged.embeddings[[1, 3]], unit(2, 512, seed=0))
    assert (merged.total_files, merged.unnamed_files) == (8, 4)


MERGEABLE = table_of({"/a": 1})
UNLIKE = {
    "weights": dataclasses.replace(MERGEABLE, stamp=stamp(embedder_sha256="c" * 64)),
    "alignment": dataclasses.replace(MERGEABLE, stamp=stamp(preprocessing="other")),
    "dimension": table_of({"/a": 1}, dim=5),
    "no stamp": table_of({"/a": 1}, stamped=False),
}


@pytest.mark.parametrize("unlike", UNLIKE)
def test_embeddings_that_cannot_be_compared_are_not_merged(unlike: str) -> None:
    empty = table_of({"/faceless": 0})
    for parts in ([MERGEABLE, empty, UNLIKE[unlike]], [UNLIKE[unlike], MERGEABLE, empty]):
        names = [{id(MERGEABLE): "mine.pkl", id(empty): "empty.pkl"}.get(id(p), "theirs.pkl") for p in parts]
        with pytest.raises(SpaceMismatchError) as refused:
            table.merge(parts, names)
        message = str(refused.value)
        assert "mine.pkl (pack toy, 4-d)" in message
        assert "theirs.pkl (" in message
        assert "embed one of them again" in message
        assert refused.value.exit_code == 1


def test_several_tables_are_read_as_one(tmp_path: Path) -> None:
    parts = [table_of({"/a": 1}), table_of({"/b": 2}, seed=1)]
    places = [str(tmp_path / "a.pkl"), tmp_path / "b.faces"]
    for part, path in zip(parts, places, strict=True):
        table.write(part, path)
    assert content(table.read(*places)) == content(table.merge(parts))
    assert content(table.read(places[0])) == content(parts[0])
    table.write(UNLIKE["weights"], tmp_path / "c.pkl")
    with pytest.raises(SpaceMismatchError, match=r"a\.pkl \(.*c\.pkl \("):
        table.read(places[0], tmp_path / "c.pkl")
    with pytest.raises(SpaceMismatchError, match=r"table 1 \(.*table 2 \("):
        table.merge([parts[0], UNLIKE["weights"]])
    with pytest.raises(ValueError, match="no table"):
        table.read()


def test_unstamped_tables_of_different_dimensions_are_not_merged() -> None:
    empty, small, large = (table_of({"/a": n}, dim=d, stamped=False) for n, d in ((0, 4), (1, 4), (1, 5)))
    with pytest.raises(SpaceMismatchError, match=r"y \(no stamp, 4-d\) and z \(no stamp, 5-d\)"):
        table.merge([empty, small, large], ["x", "y", "z"])
    assert len(table.merge([empty, small], ["x", "y"])) == 1
    assert len(table.merge([table_of({}, dim=9, stamped=False), small], ["x", "y"])) == 1


def test_a_name_in_a_stamp_cannot_write_to_the_terminal() -> None:
    assert (
        table.describe(dataclasses.replace(MERGEABLE, stamp=stamp(pack="\x1b[2Jx"))) == "pack \\x1b[2Jx, 4-d"
    )

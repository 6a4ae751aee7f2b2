"""Pickles from outside: plain values come out, hostile ones fail quickly and run nothing."""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making_tables import WEIRD_PATHS

from face_organizer import table
from face_organizer.errors import TableError, UnsafePickleError
from face_organizer.table import safe_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def load(data: bytes, folder: Path) -> Any:
    file = folder / "given.pkl"
    file.write_bytes(data)
    return safe_pickle.load(file)


# What a table needs comes out as it went in.

VALUES: dict[str, Any] = {
    "paths": list(WEIRD_PATHS),
    "long text": "é" * 70_000,
    "numbers": [0, 1, -1, 255, 256, 65_536, -(2**31), 2**31, 2**70, -(2**2050), 0.1, -1e300, float("inf")],
    "others": [True, False, None, (), (1,), (1, 2), (1, 2, 3), (1, (2, "x", ()), 4, 5), [], {}],
    "nested": {"a": {"b": [{"c": 1}, {2: "int key"}]}},
    "scalar": [np.float32(0.5), np.int64(-3), np.bool_(True)],
}
ARRAYS: dict[str, np.ndarray] = {
    "float32": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4)),
    "big endian": np.arange(3, dtype=">i4"),
    "half": np.ones(3, np.float16),
    "bool": np.array([True, False]),
    "bytes": np.arange(5, dtype=np.uint8),
    "texts": np.array(["a", "é🎉"]),
    "no rows": np.empty((0, 512), np.float32),
    "scalar array": np.array(3.0),
    "strided": np.arange(20, dtype=np.int32)[::3],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_round_trip(tmp_path: Path, protocol: int) -> None:
    assert load(pickle.dumps(VALUES, protocol), tmp_path) == VALUES


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_round_trip(tmp_path: Path, protocol: int, name: str) -> None:
    array = ARRAYS[name]
    got = load(pickle.dumps({"it": array, "again": array}, protocol), tmp_path)
    for read in got.values():
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        assert np.array_equal(read, array)
        assert not read.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_text_objects_become_lists(tmp_path: Path, protocol: int) -> None:
    assert load(pickle.dumps([np.array(WEIRD_PATHS, object)], protocol), tmp_path) == [list(WEIRD_PATHS)]
    with pytest.raises(ValueError, match="objects"):
        load(pickle.dumps([np.array([["a"], ["b"]], object)], protocol), tmp_path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_bytes_come_as_views(tmp_path: Path, protocol: int) -> None:
    for value in (b"", b"\x00\xff abc", b"x" * 70_000):
        got = load(pickle.dumps([value], protocol), tmp_path)[0]
        assert got == value
        assert got.readonly


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(plain, st.sampled_from(PROTOCOLS))
def test_any_plain_value_round_trips(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int
) -> None:
    assert load(pickle.dumps([value], protocol), tmp_path_factory.getbasetemp()) == [value]


def test_arrays_are_views_on_the_bytes_of_the_file(tmp_path: Path) -> None:
    vectors = np.zeros((1000, 64), np.float32)
    got = load(pickle.dumps([vectors, vectors + 1], 4), tmp_path)
    assert [type(g.base) for g in got] == [np.ndarray, np.ndarray]
    first, second = (g.base.base.obj for g in got)
    assert first is second
    assert len(first) > 2 * vectors.nbytes


# Names: refused before anything is run.


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def named(name: str, *arguments: Any, protocol: int = 4) -> bytes:
    """A pickle that calls `module name` with `arguments`."""
    values = pickle.dumps(arguments, protocol)[2:-1]
    return b"\x80\x04" + b"c" + name.replace(" ", "\n").encode() + b"\n" + values + b"R."


def hostile_calls(marker: str) -> Iterator[tuple[str, bytes]]:
    import functools
    import runpy

    touch = f"open({marker!r}, 'w').close()"
    yield "posix.system", pickle.dumps({"embeddings": Calls(os.system, f"touch '{marker}'")}, 4)
    yield "subprocess.Popen", pickle.dumps(Calls(subprocess.Popen, ["touch", marker]))
    yield "subprocess.check_output", pickle.dumps(Calls(subprocess.check_output, ["touch", marker]))
    for protocol in PROTOCOLS:
        home = "builtins" if protocol > 2 else "__builtin__"
        yield f"{home}.eval", pickle.dumps(Calls(eval, touch), protocol)
        yield f"{home}.exec", pickle.dumps([Calls(exec, touch)], protocol)
        yield f"{home}.getattr", pickle.dumps(Calls(getattr, "text", "upper"), protocol)
    yield "builtins.__import__", pickle.dumps(Calls(__import__, "antigravity"))
    yield f"{open.__module__}.open", pickle.dumps(Calls(open, marker, "w"))
    yield "functools.partial", pickle.dumps(functools.partial(os.system, f"touch '{marker}'"))
    yield "runpy._run_code", pickle.dumps(Calls(runpy._run_code, touch, {}))
    yield "copyreg._reconstructor", named("copyreg _reconstructor", 1, 2, 3)
    yield "copyreg.add_extension", pickle.dumps(Calls(copyreg.add_extension, "os", "system", 1))
    yield "pickle.loads", named("pickle loads", pickle.dumps(Calls(os.system, f"touch '{marker}'")))
    yield "numpy.load", named("numpy load", marker)
    yield "numpy.memmap", named("numpy memmap", marker, "u1", "w+", 0, (1,))
    for core in ("core", "_core"):
        yield f"numpy.{core}.multiarray.fromfile", named(f"numpy.{core}.multiarray fromfile", marker)
        yield (
            f"numpy.{core}.multiarray.set_string_function",
            named(f"numpy.{core}.multiarray set_string_function"),
        )
    yield "numpy.ndarray.tofile", b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    yield "numpy.dtype.__class__", b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93."
    yield "numpy.testing._private.utils.runstring", named("numpy.testing._private.utils runstring", touch, {})
    yield "_codecs.decode", named("_codecs decode", b"x", "rot13")
    yield "codecs.encode", named("codecs encode", "x", "latin1")
    yield (
        "posix.system",
        f"(S'touch {marker}'\niposix\nsystem\n.".encode().replace(b"S'", b"V").replace(b"'\ni", b"\ni"),
    )
    yield "__main__.\\x1b[31m\\nname", b"\x80\x04\x8c\x08__main__\x8c\x0a\x1b[31m\nname\x93."


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that must not exist after the test: whatever makes it was run by a pickle."""
    yield tmp_path / "was run"
    assert not (tmp_path / "was run").exists()


CALLS = [name for name, _ in hostile_calls("/nowhere")]


@pytest.mark.parametrize("number", range(len(CALLS)), ids=[f"{i}-{name}" for i, name in enumerate(CALLS)])
def test_a_pickle_that_names_anything_else_is_refused(tmp_path: Path, marker: Path, number: int) -> None:
    name, data = list(hostile_calls(str(marker)))[number]
    file = tmp_path / "faces.pkl"
    file.write_bytes(data)
    with pytest.raises(UnsafePickleError) as refused:
        table.read(file)
    message = str(refused.value)
    assert message.startswith(f"{file}: refused: it names {name}, ")
    assert message.isprintable()
    assert refused.value.exit_code == 1


def test_the_marker_shows_what_a_plain_unpickler_would_have_run(tmp_path: Path) -> None:
    ran = 0
    for number, name in enumerate(CALLS):
        if name.startswith(("posix.s", "subprocess", "builtins.e", "__builtin__.e", open.__module__)):
            marker = tmp_path / f"{number}"
            data = list(hostile_calls(str(marker)))[number][1]
            made = pickle.loads(data)
            for value in made if isinstance(made, list) else [made]:
                if isinstance(value, subprocess.Popen):
                    value.wait()
                if isinstance(value, io.IOBase):
                    value.close()
            assert marker.exists(), name
            ran += 1
    assert ran >= 15


def test_the_command_line_refuses_with_exit_code_1_and_the_name(tmp_path: Path, marker: Path) -> None:
    file = tmp_path / "faces.pkl"
    file.write_bytes(pickle.dumps(Calls(os.system, f"touch '{marker}'")))
    command = [
        sys.executable,
        "-m",
        "face_organizer",
        "cluster",
        "-e",
        str(file),
        "-o",
        str(tmp_path / "people"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "posix.system" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "people").exists()


# Allowed names and opcodes used for other ends.

NDARRAY = b"\x8c\x05numpy\x8c\x07ndarray\x93"
DTYPE = b"\x8c\x05numpy\x8c\x05dtype\x93"
RECONSTRUCT = b"\x8c\x16numpy._core.multiarray\x8c\x0c_reconstruct\x93"


def array(
    spec: bytes, *, state: bytes = b"", shape: bytes = b"K\x01\x85", data: bytes = b"C\x08" + bytes(8)
) -> bytes:
    """A pickled array by hand: its dtype's spec and state, its shape and data, as opcodes."""
    dtype = DTYPE + b"\x8c" + bytes([len(spec)]) + spec + b"\x89\x88\x87R" + state
    return (
        b"\x80\x04"
        + RECONSTRUCT
        + NDARRAY
        + b"K\x00\x85C\x01b\x87R(K\x01"
        + shape
        + dtype
        + b"\x89"
        + data
        + b"tb."
    )


FIELDS = (
    b"(K\x03\x8c\x01<N\x8c\x01x\x85}\x8c\x01x" + DTYPE + b"\x8c\x02O8\x89\x88\x87RK\x00\x86sK\x08K\x08K\x3ftb"
)
SUBARRAY = b"(K\x03\x8c\x01<" + DTYPE + b"\x8c\x02f4\x89\x88\x87RK\x02\x85\x86NNK\x08K\x04K\x00tb"

FORGED = {
    "array made by hand": (array(b"f8"), None),
    "bytes as objects": (array(b"O8"), "objects"),
    "list as numbers": (array(b"f8", data=b"]"), "TypeError"),
    "objects in two dimensions": (array(b"O8", shape=b"K\x01K\x01\x86", data=b"]N\x61"), "objects"),
    "more objects than there are": (array(b"O8", shape=b"J\xff\xff\xff\x7f\x85", data=b"]N\x61"), "objects"),
    "structured": (array(b"V8", state=FIELDS), "kind"),
    "fields forged onto a float": (array(b"f8", state=FIELDS), "structured"),
    "subarray forged onto a float": (array(b"f8", state=SUBARRAY), "structured"),
    "comma dtype": (array(b"f4,O8"), "kind"),
    "repeated dtype": (array(b"(9999,9999)f8"), "kind"),
    "dates": (array(b"M8[s]"), "kind"),
    "void": (array(b"V8"), "kind"),
    "wider than the data": (array(b"U99999"), "size"),
    "shape beyond the data": (array(b"f8", shape=b"J\xff\xff\xff\x7f\x85"), "reshape"),
    "shape that overflows": (array(b"f8", shape=b"\x8a\x09" + b"\xff" * 8 + b"\x00\x85"), "dimension"),
    "array without a type": (b"\x80\x04" + RECONSTRUCT + b")R(K\x01)N\x89C\x00tb.", "type"),
    "array never built": (b"\x80\x04" + RECONSTRUCT + NDARRAY + b"K\x00\x85C\x01b\x87R.", "type stands"),
    "a type as a value": (b"\x80\x04" + DTYPE + b"\x8c\x02f4\x89\x88\x87R.", "type stands"),
    "a name as a value": (b"\x80\x04]" + NDARRAY + b"a.", "type stands"),
    "a name in a tuple": (b"\x80\x04]" + NDARRAY + b"\x85\x85a.", "type stands"),
    "call of the class": (b"\x80\x04" + NDARRAY + b"J\xff\xff\xff\x7f\x85R.", "call"),
    "call of a text": (b"\x80\x04\x8c\x01a)R.", "call"),
    "call with a list": (b"\x80\x04" + DTYPE + b"]R.", "TypeError"),
    "state set on a name": (b"\x80\x04" + RECONSTRUCT + b"}\x8c\x08__call__K\x01sb.", "state"),
    "state set on a list": (b"\x80\x04]}b.", "state"),
    "new object": (b"\x80\x04" + DTYPE + b")\x81.", "KeyError: 129"),
    "new object of keywords": (b"\x80\x04" + DTYPE + b")}\x92.", "KeyError: 146"),
    "another codec": (named("_codecs encode", "x", "rot13"), "Python"),
    "bytes of a size": (named("__builtin__ bytes", 2**40), "TypeError"),
    "persistent id": (b"Phello\n.", "not a pickle"),
    "persistent id of protocol 4": (b"\x80\x04\x8c\x05helloQ.", "KeyError: 81"),
    "extension 1": (b"\x80\x04\x82\x01.", "KeyError: 130"),
    "extension 2": (b"\x80\x04\x83\x01\x00.", "KeyError: 131"),
    "extension 4": (b"\x80\x04\x84\x01\x00\x00\x00.", "KeyError: 132"),
    "buffer from elsewhere": (b"\x80\x05\x97.", "KeyError: 151"),
    "two values left": (b"\x80\x04NN.", "left over"),
    "nothing left": (b"\x80\x04.", "IndexError"),
    "more than there is": (b"\x80\x04\x87.", "IndexError"),
    "mark that is not there": (b"\x80\x04Nt.", "IndexError"),
    "memo that is not there": (b"\x80\x04h\x07.", "index 7"),
    "long memo that is not there": (b"\x80\x04j\x07\x00\x00\x00.", "index 7"),
    "append to a text": (b"\x80\x04\x8c\x01aNa.", "AttributeError"),
    "set on a list": (b"\x80\x04]\x8c\x01aNs.", "no dict"),
    "a dict with half a pair": (b"\x80\x04}(\x8c\x01au.", "zip"),
    "no end": (b"\x80\x04]", "EOFError"),
    "text ends early": (b"\x80\x04\x8c\x10abc", "EOFError"),
    "text is no UTF-8": (b"\x80\x04\x8c\x01\xff.", "Unicode"),
    "no pickle": (b"PK\x03\x04", "not a pickle"),
    "empty file": (b"", "not a pickle"),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_pickles_fail_as_damaged(tmp_path: Path, case: str) -> None:
    data, words = FORGED[case]
    if words is None:
        assert load(data, tmp_path).tolist() == [0.0]
        return
    with pytest.raises(ValueError, match=words):
        load(data, tmp_path)
    with pytest.raises(TableError, match=r"given\.pkl: not a face table, or damaged"):
        table.read(tmp_path / "given.pkl")


# Small pickles that ask for the world.


def laughs(empty: bytes, pair: bytes, depth: int) -> bytes:
    """A list of containers, each holding the one before twice: 2**depth values when unfolded."""
    pairs = b"".join(pair.replace(b"#", bytes([i])) + b"\x94" for i in range(depth))
    return b"\x80\x04(" + empty + b"\x94" + pairs + b"l."


LAUGHING_LISTS = laughs(b"]", b"](h#h#e", 90)
LAUGHING_DICTS = laughs(b"}", b"}(K\x01h#K\x02h#u", 90)
LAUGHING_TUPLES = laughs(b"N\x85", b"h#h#\x86", 90)
BOMBS = {
    "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "bytes of 20 GB": b"\x80\x04\x8e" + struct.pack("<Q", 20 * 2**30) + b"x.",
    "bytes of all there is": b"\x80\x04\x8e" + b"\xff" * 8 + b".",
    "bytearray of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "text of a terabyte": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
    "integer of 2 GB": b"\x80\x04\x8b\xff\xff\xff\x7f.",
    "integer of negative size": b"\x80\x04\x8b\xff\xff\xff\xff.",
    "decimal integer": b"\x80\x04L" + b"9" * 1_000_000 + b"L\n.",
    "laughing lists": LAUGHING_LISTS,
    "laughing dicts": LAUGHING_DICTS,
    "laughing tuples": LAUGHING_TUPLES,
    "tuples as a key": LAUGHING_TUPLES[:-1] + b"}h\x50Ns.",
    "tuples in a set": b"\x80\x04\x8f(" + LAUGHING_TUPLES[2:-1] + b"\x90.",
    "tuples as a frozen set": b"\x80\x04(" + LAUGHING_TUPLES[2:-1] + b"\x91.",
    "tuples as a name": LAUGHING_TUPLES[:-1] + b"\x8c\x01xh\x50\x93.",
    "integers that collide as keys": b"\x80\x04}("
    + b"".join(b"\x8a\x0b" + (k * (2**61 - 1)).to_bytes(11, "little") + b"N" for k in range(1, 60_000))
    + b"u.",
    "memo numbered beyond reason": b"\x80\x04Np99999999999999999999\n.",
    "memo numbers that collide": b"\x80\x04N"
    + b"".join(b"p%d\n" % (k * (2**61 - 1)) for k in range(1, 60_000)) + b".",
    "numbers that unpack to long texts": b"\x80\x04(\x8c\x16numpy._core.multiarray\x8c\x06scalar\x93\x94"
    + DTYPE + b"\x8c\x07U250000\x89\x88\x87R\x94B" + struct.pack("<I", 10**6) + b"x\x00\x00\x00" * 250_000
    + b"\x94" + b"h\x00h\x01h\x02\x86R" * 20_000 + b"l.",
    "list that holds itself": b"\x80\x04]\x94h\x00a.",
    "dict that holds itself": b"\x80\x04}\x94K\x01h\x00s.",
    "nested lists": b"\x80\x04" + b"]" * 500_000 + b"a" * 499_999 + b".",
    "nested tuples": b"\x80\x04N" + b"\x85" * 500_000 + b".",
    "one text encoded again and again": b"\x80\x04X" + struct.pack("<I", 2**20) + b"x" * 2**20
    + b"\x94\x8c\x07_codecs\x8c\x06encode\x93\x94" + b"h\x01h\x00\x8c\x06latin1\x86R" * 20_000 + b".",
    "one array again and again": b"\x80\x04}(\x8c\x0aembeddings("
    + array(b"u1", shape=b"J\x00\x00\x10\x00\x85", data=b"B\x00\x00\x10\x00" + bytes(2**20))[2:-1]
    + b"\x94" + b"h\x00" * 299 + b"l\x8c\x0bimage_paths(" + b"\x8c\x02/a" * 300 + b"lu.",
}  # fmt: skip
MEASURED = """
import re, sys
from pathlib import Path
from face_organizer import table
from face_organizer.errors import TableError
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
try:
    table.read(sys.argv[1])
except TableError as error:
    print(peak() - before)
    print(len(str(error)), error)
"""


@pytest.mark.parametrize("case", BOMBS)
def test_a_small_pickle_takes_little_memory_and_time(tmp_path: Path, case: str) -> None:
    file = tmp_path / "bomb.pkl"
    file.write_bytes(BOMBS[case])
    limit = 4 * 2**30

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))  # seconds; most go into imports

    command = [sys.executable, "-c", MEASURED, str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=limited)
    kilobytes, message = ran.stdout.split("\n", 1)
    assert float(kilobytes) < 64 * 1024 + 100 * file.stat().st_size / 1024
    assert "bomb.pkl: not a face table, or damaged" in message
    assert int(message.split()[0]) < 500


def test_a_high_memo_number_costs_nothing(tmp_path: Path) -> None:
    assert load(b"\x80\x04Nr\xff\xff\xff\xff.", tmp_path) is None


# Damage of any kind.

SOUND = pickle.dumps(
    {"embeddings": np.ones((3, 2), np.float32), "image_paths": ["/a", "/b", "/c"], "n": 2, "t": (1.5, None)},
    4,
)


@given(st.data())
@settings(max_examples=500)
def test_mutated_pickles_give_plain_values_or_fail_in_the_one_way(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sound = bytearray(pickle.dumps(pickle.loads(SOUND), data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(sound) - 1))
        sound[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        value = load(bytes(sound), tmp_path_factory.getbasetemp())
    except (ValueError, UnsafePickleError):
        return
    pending = [value]
    while pending:
        item = pending.pop()
        assert type(item) in (dict, list, tuple, str, int, float, bool, type(None), memoryview, np.ndarray)
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else []


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x80\x04", b"\x80\x05", b"(", b"]", b"}"]))
@settings(max_examples=500)
def test_random_bytes_fail_in_the_one_way(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, start: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "random.pkl"
    file.write_bytes(start + data)
    with pytest.raises(TableError, match=r"random\.pkl: "):
        table.read(file)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull), Path("/dev/zero")):
        with pytest.raises(TableError, match="neither a file nor a"):
            table.read(path)
    with pytest.raises(TableError, match="no such file"):
        table.read(tmp_path / "missing.pkl")

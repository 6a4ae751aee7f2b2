"""A reader of pickles that can only build plain values: it has nothing that imports, and nothing to call.

The opcode REDUCE goes to the few lines of `pickled_arrays`; a name outside its list raises
`UnsafePickleError`. Texts, bytes and arrays are bounded by the bytes that are there, whatever length is
claimed, and the keys of dicts by kinds whose hashing is quick. Python's `pickletools` describes the opcodes.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

from face_organizer.errors import UnsafePickleError
from face_organizer.files import printable
from face_organizer.table.pickled_arrays import HELPERS, NAMES, Array, DType, Name

_LARGEST_KEY = 2**31  # a dict of larger integers can be made to take minutes
_SHORT_TEXT, _MEMOIZE = pickle.SHORT_BINUNICODE[0], pickle.MEMOIZE[0]
_GET, _LONG_GET = pickle.BINGET[0], pickle.LONG_BINGET[0]
_little = struct.Struct("<I").unpack


class Machine:
    """A pickle's stack, marks and memo, and what changes them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.view = memoryview(data)
        self.at = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stack under each mark."""
        self.memo: dict[int, Any] = {}
        self.steps = 0
        self.encoded = 0

    def run(self) -> Any:
        while self.paths() != pickle.STOP[0]:
            code = self.data[self.at]
            self.at += 1
            self.steps += 1
            if code not in _ACTIONS:
                raise ValueError(f"opcode {code:#04x} does not belong in a face table")
            _ACTIONS[code](self)
        (value,) = self.stack
        return value

    def paths(self) -> int:
        """Take what lists of paths are made of, nearly all of a large table, and give the opcode after it."""
        data, at, stack, memo = self.data, self.at, self.stack, self.memo
        steps = 0
        while True:
            code = data[at]
            if code == _SHORT_TEXT:
                end = at + 2 + data[at + 1]
                stack.append(str(data[at + 2 : end], "utf-8", "surrogatepass"))
                at = end
            elif code == _MEMOIZE:
                memo[len(memo)] = stack[-1]
                at += 1
            elif code == _GET and type(text := memo[data[at + 1]]) is str:
                stack.append(text)
                at += 2
            elif code == _LONG_GET and type(text := memo[_little(data[at + 1 : at + 5])[0]]) is str:
                stack.append(text)
                at += 5
            else:
                break
            steps += 1
        self.at = at
        self.steps += steps
        return code

    def take(self, size: int) -> memoryview:
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise ValueError("it ends in the middle of a value")
        return self.view[start : self.at]

    def number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    def line(self) -> str:
        """The rest of the line; protocol 0 writes all values as lines, texts with escapes."""
        end = self.data.index(b"\n", self.at)
        return str(self.take(end + 1 - self.at)[:-1], "raw-unicode-escape")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """The last `count` values, in the order they were pushed in."""
        if len(self.stack) < count:
            raise ValueError("it takes more values than there are")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """The values above the last mark, which goes."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("values are added to something that is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise ValueError("values are set on something that is no dict")
        for key in items[::2]:
            if type(key) is not str and not (type(key) is int and abs(key) < _LARGEST_KEY):
                raise ValueError(f"a dict has a key that is a {type(key).__name__}")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        value = self.memo[index]
        self.push(value.value if type(value) is Array else value)

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name that is no text")
        full = f"{module}.{name}"
        if full not in NAMES:
            raise UnsafePickleError(printable(full[:200]))
        self.push(Name(full))

    def reduce(self, function: Any, arguments: Any) -> None:
        if type(function) is not Name or function.name not in HELPERS or type(arguments) is not tuple:
            raise ValueError("a call of something that is no helper of numpy's")
        made = HELPERS[function.name](*arguments)
        if type(made) is memoryview:
            self.encoded += len(made)
            if self.encoded > len(self.data):
                raise ValueError("its values hold one another over and over")
        self.push(made)

    def build(self, target: Any, state: Any) -> None:
        if type(target) not in (DType, Array) or type(state) is not tuple:
            raise ValueError("a state is set on something that has none")
        target.build(state)
        self.push(target.value if type(target) is Array else target)

    def instance(self) -> None:
        self.name(self.line(), self.line())
        raise ValueError("an object is made by its class")

    def dict_of(self, items: list[Any]) -> None:
        self.push({})
        self.update(items)


_Action = Callable[[Machine], object]


def _literal(value: Any) -> _Action:
    return lambda m: m.push(value)


def _text(width: int) -> _Action:
    return lambda m: m.push(str(m.take(m.number(width)), "utf-8", "surrogatepass"))


def _bytes(width: int) -> _Action:
    return lambda m: m.push(m.take(m.number(width)))


def _integer(line: str) -> int:
    """The number of an INT line; `00` and `01` are the truth values of protocols 0 and 1."""
    return line == "01" if line in ("00", "01") else int(line)


_BY_OPCODE: dict[bytes, _Action] = {
    pickle.PROTO: lambda m: m.take(1),
    pickle.FRAME: lambda m: m.take(8),
    pickle.MARK: Machine.mark,
    pickle.NONE: _literal(None),
    pickle.NEWTRUE: _literal(True),
    pickle.NEWFALSE: _literal(False),
    pickle.INT: lambda m: m.push(_integer(m.line())),
    pickle.LONG: lambda m: m.push(int(m.line().removesuffix("L"))),
    pickle.BININT: lambda m: m.push(m.number(4, signed=True)),
    pickle.BININT1: lambda m: m.push(m.number(1)),
    pickle.BININT2: lambda m: m.push(m.number(2)),
    pickle.LONG1: lambda m: m.push(m.number(m.number(1), signed=True)),
    pickle.LONG4: lambda m: m.push(m.number(m.number(4), signed=True)),
    pickle.FLOAT: lambda m: m.push(float(m.line())),
    pickle.BINFLOAT: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    pickle.UNICODE: lambda m: m.push(m.line()),
    pickle.SHORT_BINUNICODE: _text(1),
    pickle.BINUNICODE: _text(4),
    pickle.BINUNICODE8: _text(8),
    pickle.SHORT_BINBYTES: _bytes(1),
    pickle.BINBYTES: _bytes(4),
    pickle.BINBYTES8: _bytes(8),
    pickle.BYTEARRAY8: _bytes(8),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.LIST: lambda m: m.push(m.marked()),
    pickle.APPEND: lambda m: m.extend(m.pop(1)),
    pickle.APPENDS: lambda m: m.extend(m.marked()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.DICT: lambda m: m.dict_of(m.marked()),
    pickle.SETITEM: lambda m: m.update(m.pop(2)),
    pickle.SETITEMS: lambda m: m.update(m.marked()),
    pickle.EMPTY_TUPLE: _literal(()),
    pickle.TUPLE: lambda m: m.push(tuple(m.marked())),
    pickle.TUPLE1: lambda m: m.push(tuple(m.pop(1))),
    pickle.TUPLE2: lambda m: m.push(tuple(m.pop(2))),
    pickle.TUPLE3: lambda m: m.push(tuple(m.pop(3))),
    pickle.PUT: lambda m: m.put(int(m.line())),
    pickle.BINPUT: lambda m: m.put(m.number(1)),
    pickle.LONG_BINPUT: lambda m: m.put(m.number(4)),
    pickle.MEMOIZE: lambda m: m.put(len(m.memo)),
    pickle.GET: lambda m: m.get(int(m.line())),
    pickle.BINGET: lambda m: m.get(m.number(1)),
    pickle.LONG_BINGET: lambda m: m.get(m.number(4)),
    pickle.GLOBAL: lambda m: m.name(m.line(), m.line()),
    pickle.STACK_GLOBAL: lambda m: m.name(*m.pop(2)),
    pickle.INST: Machine.instance,
    pickle.REDUCE: lambda m: m.reduce(*m.pop(2)),
    pickle.BUILD: lambda m: m.build(*m.pop(2)),
}
_ACTIONS = {opcode[0]: action for opcode, action in _BY_OPCODE.items()}

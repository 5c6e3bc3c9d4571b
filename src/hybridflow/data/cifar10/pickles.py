"""Reading the official pickles as data: nothing in them is imported or called; the only array made is of uint8.

A pickle is a program for a stack machine, and Python's own machine imports and calls what the program names. This one
knows only the instructions that build plain values; a call that the program asks for is kept as a description.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
LITERALS = ("BININT", "BININT1", "BININT2", "GLOBAL", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE")
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = ("PROTO", "FRAME", "STOP")


@dataclass
class Call:
    """What a pickle asks to be called: a dotted name, the arguments, and the state to be set on the result."""

    name: Any
    arguments: Any
    state: Any = None


def load_plain(content: bytes) -> Any:
    """The content of a pickle as dictionaries, lists, tuples, strings, numbers, None and :class:`Call`.

    Strings of Python 2 become bytes.

    Raises:
        ValueError: the content is damaged or holds anything that CIFAR-10 does not need.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def above_mark() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    try:
        for opcode, argument, _ in pickletools.genops(content):
            name = opcode.name
            if name in LITERALS:
                stack.append(argument)
            elif name in ("BINSTRING", "SHORT_BINSTRING"):
                stack.append(argument.encode("latin1"))
            elif name in CONSTANTS:
                stack.append(CONSTANTS[name])
            elif name == "MARK":
                marks.append(len(stack))
            elif name in ("EMPTY_LIST", "EMPTY_DICT"):
                stack.append([] if name == "EMPTY_LIST" else {})
            elif name == "TUPLE":
                stack.append(tuple(above_mark()))
            elif name in TUPLES:
                values = tuple(stack.pop() for _ in range(TUPLES[name]))
                stack.append(values[::-1])
            elif name in ("APPEND", "APPENDS"):
                values = above_mark() if name == "APPENDS" else [stack.pop()]
                _expect(stack[-1], list).extend(values)
            elif name in ("SETITEM", "SETITEMS"):
                values = above_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                for key, value in zip(values[::2], values[1::2], strict=True):
                    _expect(stack[-1], dict)[_expect(key, str, bytes)] = value
            elif name == "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(f"{_expect(module, str)} {_expect(attribute, str)}")
            elif name == "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(Call(function, arguments))
            elif name == "BUILD":
                state = stack.pop()
                _expect(stack[-1], Call).state = state
            elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name not in IGNORED:
                raise ValueError(f"it uses {name}, which CIFAR-10 does not need")
        (value,) = stack
    except (IndexError, KeyError):
        raise ValueError("it is damaged") from None
    return value


def as_bytes_array(value: Any) -> np.ndarray:
    """The array of uint8 that ``value`` of a pickle describes; its bytes are read, and nothing else.

    Raises:
        ValueError: it describes anything else.
    """
    match value:
        case Call(name, _, (_, tuple(shape), Call("numpy dtype", ("u1" | b"u1", *_)), False, bytes(content))) if (
            name in RECONSTRUCT
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(shape) == len(content)
        ):
            return np.frombuffer(content, np.uint8).reshape(shape)
    raise ValueError("its `data` must be an array of uint8")


def _expect(value: Any, *types: type) -> Any:
    if type(value) not in types:
        raise ValueError("it is damaged")
    return value

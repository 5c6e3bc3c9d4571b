"""Content hashes of values that hold tensors, and of arrays.

A file's own format finds a cut file; it does not find a changed bit in the weights. So whatever is written for
later use carries a SHA-256 of its content, or the note beside it does, and whoever reads it computes it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of nested mappings and sequences of tensors, numbers, text and None.

    It is the same on every device and in every memory layout, for lists and tuples, and in any order of keys.

    Raises:
        TypeError: something else is in it.
    """
    hasher = hashlib.sha256()
    for part in _parts(value):
        hasher.update(part)
    return hasher.hexdigest()


def _parts(value: Any) -> Iterator[Any]:
    """Buffers that differ when the values do: each begins with its kind and size."""
    if isinstance(value, Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)}\n".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}\n".encode()
        for key in sorted(value, key=repr):
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, list | tuple):
        yield f"sequence {len(value)}\n".encode()
        for item in value:
            yield from _parts(item)
    elif isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        yield f"text {len(text)}\n".encode() + text
    elif value is None or isinstance(value, bool | int | float):
        yield f"{value!r}\n".encode()
    else:
        raise TypeError(f"a {type(value).__name__} has no content hash")


def array_sha256(array: np.ndarray) -> str:
    """Hexadecimal SHA-256 of an array's values in C order, without shape and type."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()

"""Reading the official pickles without letting them run anything."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

ARRAY_CLASS = "numpy.ndarray"  # stands for the class, so that a pickle cannot call it


def _reconstruct(_cls: object, _shape: object, _code: object) -> np.ndarray:
    """An empty array that the pickle's state fills; whatever shape the pickle asks for."""
    return np.ndarray((0,), np.int8)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): ARRAY_CLASS,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,  # how Python 3 writes bytes in protocol 2
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside of it")


def load_arrays(content: bytes) -> Any:
    """Unpickles built-in types and numpy arrays; Python 2 strings become bytes.

    Raises:
        ValueError: the content is damaged or asks for anything else.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise almost anything
        raise ValueError(str(error) or type(error).__name__) from None

"""Pickles of arrays, read without looking up or calling anything that the file names.

A pickle is a program that may call whatever it can name. Here every name is refused but the three
that arrays of NumPy are made of, and what these stand for belongs to this module: the file only
fills in the shape, the type and the bytes of an array.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minaction.data.sources import refetch_hint
from minaction.errors import DataFileError

_TYPE = re.compile(r"[fiu][1248]")
_ORDERS = ("<", ">", "|")


def read_array_pickle(contents: bytes, path: Path) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, numbers, texts and arrays of numbers.

    Read are the forms that Python 2 wrote, protocols 0 to 2, and those of Python 3. Texts of
    Python 2 come as Latin-1.

    Args:
        contents: the file.
        path: where it is from, for the message.

    Raises:
        DataFileError: the file is cut or damaged, or names anything but arrays.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(contents), encoding="latin-1").load())
    # A damaged pickle leads to errors of any kind, and a hostile one to those it likes.
    except Exception as error:
        problem = (str(error) or type(error).__name__).splitlines()[0].replace(";", ",")
        raise DataFileError(
            path, f"is no pickle of arrays ({problem[:200]}); {refetch_hint(path)}"
        ) from error


class _Type:
    """Stands for a data type: its code, then its byte order."""

    __slots__ = ("code",)

    def __init__(self, code: object) -> None:
        if not isinstance(code, str) or not _TYPE.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of {code!r}, expected numbers")
        self.code = code

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in _ORDERS:
            raise pickle.UnpicklingError("a data type without a byte order")
        self.code = f"{state[1]}{self.code}"


class _Array:
    """Stands for an array: its shape, type and bytes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array without shape, type and bytes")
        _, shape, kind, column_major, data = state
        if not isinstance(kind, _Type) or not isinstance(shape, tuple):
            raise pickle.UnpicklingError("an array without shape or type")
        raw = data.encode("latin-1") if isinstance(data, str) else data
        if not isinstance(raw, bytes):
            raise pickle.UnpicklingError("an array without bytes")
        order = "F" if column_major else "C"
        self.value = np.frombuffer(raw, dtype=np.dtype(kind.code)).reshape(shape, order=order)


class _Name:
    """Stands for one of the names arrays are made of."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: object) -> _Array | _Type:
        if self.name == "_reconstruct":
            return _Array()
        if self.name == "dtype" and arguments:
            return _Type(arguments[0])
        raise pickle.UnpicklingError(f"it calls {self.name} as no array does")

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError(f"it changes {self.name}")


# The one written in Python: the other takes gigabytes for a single large memo number.
class _Unpickler(pickle._Unpickler):
    """An unpickler that knows the names of arrays and no others."""

    _NAMES = frozenset(
        {
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._NAMES:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is no array: not trusted"
            )
        return _Name(name)

    def get_extension(self, code: int) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for the extension {code}: not trusted")


def _plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """Return `value` with arrays in place of what stands for them.

    What occurs a million times is done once, or a small file could keep this busy for ever.
    """
    done = {} if done is None else done
    if id(value) not in done:
        done[id(value)] = _plainly(value, done)
    return done[id(value)]


def _plainly(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise pickle.UnpicklingError("an array without contents")
        return value.value
    if isinstance(value, dict):
        return {_plain(key, done): _plain(item, done) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, done) for item in value)
    if isinstance(value, _Name | _Type):
        raise pickle.UnpicklingError("a name in place of a value")
    return value

"""Pickles that hold numbers only. A pickle may name any function to be called while it is read, so
that a file from elsewhere must never be unpickled as it is."""

from __future__ import annotations

import pickle
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO

import numpy as np

from dlc_deploy.errors import InputError

_REFUSED = "it names {}, and code of others is not run. Give the poses as .h5 or .json."


class _Numbers(pickle.Unpickler):
    """Builds NumPy arrays and Python's own values, and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
        known = _array_builders().get(f"{module.replace('numpy.core', 'numpy._core')}.{name}")
        if known is None:
            raise InputError(_REFUSED.format(f"{module}.{name}"))
        return known


@cache
def _array_builders() -> dict[str, Any]:
    """What pickled arrays and scalars name, whatever NumPy wrote them."""
    return {
        "numpy.dtype": np.dtype,
        "numpy.ndarray": np.ndarray,
        "numpy._core.multiarray._reconstruct": np.empty(1).__reduce__()[0],
        "numpy._core.multiarray.scalar": np.float64(0).__reduce__()[0],
        "numpy._core.numeric._frombuffer": np.empty(1).__reduce_ex__(5)[0],
    }


def load_numbers(file: BinaryIO) -> Any:
    """What a pickle of arrays and Python's own values holds.

    Raises:
        InputError: it names anything else.
        Exception: it is damaged; damage raises many unrelated types.
    """
    return _Numbers(file).load()


class _Reading(threading.local):
    """Whether this thread reads a file from elsewhere, and what the file wanted to call."""

    active = False
    refused: str | None = None


_reading = _Reading()


@contextmanager
def no_pickled_code() -> Iterator[None]:
    """In this block and thread, pickles can hold Python's own values only.

    For libraries that unpickle parts of a file by themselves: PyTables takes each attribute of an
    HDF5 file that ends with a full stop for a pickle.

    Raises:
        InputError: a pickle named a class or function; it was not looked up.
    """
    _install_guard()
    _reading.active, _reading.refused = True, None
    try:
        yield
    except Exception:
        if _reading.refused is None:
            raise
    finally:
        _reading.active = False
    if _reading.refused is not None:
        raise InputError(_REFUSED.format(_reading.refused))


@cache
def _install_guard() -> None:
    """Watch Python's own event, which every unpickler raises before it looks up a name. A hook
    stays for good; this one does nothing outside of the block above."""

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "pickle.find_class" and _reading.active:
            _reading.refused = ".".join(map(str, arguments))
            raise pickle.UnpicklingError(f"{_reading.refused} is not looked up")

    sys.addaudithook(guard)

"""Random numbers that are not those of the user's data, and the global generators, which users draw from.

The state of NumPy's global generator is 624 numbers of 32 bits, and the number of the one that is next. To read it and
to put it back through NumPy takes ten times as long as where the numbers lie in memory, which is a good part of a small
check along directions. Beside them, the generator may keep a normal number that it has made but not given yet.
"""

from __future__ import annotations

import ctypes
import os
import random
import threading
from functools import lru_cache
from typing import Any

import numpy as np

#: What is drawn with a seed of 0 must not be what users get from ``np.random.default_rng(0)``: along the parameters
#: themselves, or for a cotangent equal to them, many functions have a derivative of zero.
_OWN = 0x67726164
_WORDS = 624
_BYTES = 4 * _WORDS + ctypes.sizeof(ctypes.c_int)
#: What draws from the global generator, whatever users put in its place.
_draw_normal = np.random.standard_normal
#: One thread at a time reads the state, for it is another one meanwhile. A fork waits for that.
_READING = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_READING.acquire, after_in_parent=_READING.release, after_in_child=_READING.release)


def generator(*seed: int) -> np.random.Generator:
    """Returns a generator of the library's own, always the same for a seed."""
    return np.random.default_rng((_OWN, *seed))


class GlobalGenerators:
    """The states of the global random number generators at one moment: Python's, and NumPy's old one."""

    def __init__(self) -> None:
        self._of_python = random.getstate()
        self._bits, self._normal = b"", None
        self._of_numpy: Any = None
        with _READING:
            bits = _in_memory()
            if bits is None:
                self._of_numpy = np.random.get_state(legacy=False)  # noqa: NPY002  # users draw from the old generator
                return
            self._bits, self._normal = _read(bits)
            if self._normal is not None:
                self._put_back_normal()

    def restore(self) -> None:
        """Puts them back."""
        random.setstate(self._of_python)
        with _READING:
            bits = _in_memory()
            if self._of_numpy is not None:
                np.random.set_state(self._of_numpy)  # noqa: NPY002
            elif bits is None or self._normal is not None:
                self._put_back_normal()
            else:
                _read(bits)  # so that no normal number is kept
                _write(bits, self._bits)

    def _put_back_normal(self) -> None:
        key = np.frombuffer(self._bits, np.uint32, _WORDS)
        place = int(np.frombuffer(self._bits, np.intc, 1, 4 * _WORDS)[0])
        kept = (0, 0.0) if self._normal is None else (1, self._normal)
        np.random.set_state(("MT19937", key, place, *kept))  # noqa: NPY002


def _in_memory() -> Any:
    """Gives the bits of NumPy's global generator if it is the one that NumPy has by itself, and can be read."""
    bits = getattr(np.random, "get_bit_generator", lambda: None)()  # since NumPy 1.24
    return bits if type(bits) is np.random.MT19937 and _is_as_expected() else None


@lru_cache(maxsize=1)
def _is_as_expected() -> bool:
    """Whether the state lies in memory as it is written above."""
    bits = np.random.MT19937(_OWN)
    expected = bits.state["state"]
    return _state(bits) == expected["key"].astype(np.uint32).tobytes() + np.intc(expected["pos"]).tobytes()


def _read(bits: Any) -> tuple[bytes, float | None]:
    """Gives the state, and the normal number that is kept, if there is one. Then it is no longer kept.

    Normal numbers are made in pairs. If one is kept, it is what is given next, and the state does not change.
    """
    before = _state(bits)
    try:
        normal = _draw_normal()
        return before, normal if _state(bits) == before else None
    finally:
        if _state(bits) != before:
            _draw_normal()  # the other one of the pair
            _write(bits, before)


def _state(bits: Any) -> bytes:
    return ctypes.string_at(bits.ctypes.state_address, _BYTES)


def _write(bits: Any, state: bytes) -> None:
    ctypes.memmove(bits.ctypes.state_address, state, _BYTES)

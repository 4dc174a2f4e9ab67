"""Functions that write into an array that they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


def _target(recording: Recording, array: Any) -> TracedArray:
    return array if type(array) is TracedArray else recording.adopt(array)


@implements(np.copyto)
def copyto(recording: Recording, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """``np.copyto``."""
    target = _target(recording, dst)
    target[...] = src if where is True else np.where(where, src, target.copy())


@implements(np.put)
def put(recording: Recording, a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """``np.put``: repeats its values as often as is needed."""
    target = _target(recording, a)
    places, values = np.ravel(np.asarray(ind)), np.ravel(recording.traced(v))
    places = np.take(np.arange(target.size), places, mode=mode)  # type: ignore[call-overload]
    if places.size and values.size:
        target[np.unravel_index(places, target.shape)] = values[np.arange(places.size) % values.size]


@implements(np.putmask)
def putmask(recording: Recording, a: Any, mask: Any, values: Any) -> None:
    """``np.putmask``: the value of each place is that at the same place of `values`, which is repeated."""
    target, new, where = _target(recording, a), recording.traced(values), recording.mask(recording.traced(mask))
    if new.size == 1 and where.shape == target.shape:
        target[where] = new.reshape(())
        return
    places = np.flatnonzero(where._view)
    if new.size:
        put(recording, target, places, np.ravel(new)[places % new.size])


@implements(np.place)
def place(recording: Recording, arr: Any, mask: Any, vals: Any) -> None:
    """``np.place``: fills the places of a mask one after the other."""
    put(recording, arr, np.flatnonzero(recording.traced(mask)._view), vals)


@implements(np.fill_diagonal)
def fill_diagonal(recording: Recording, a: Any, val: Any, wrap: bool = False) -> None:
    """``np.fill_diagonal``."""
    target = _target(recording, a)
    diagonal = np.zeros(target.shape, bool)
    np.fill_diagonal(diagonal, True, wrap)
    put(recording, target, np.flatnonzero(diagonal), val)


@implements(np.put_along_axis)
def put_along_axis(recording: Recording, arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    """``np.put_along_axis``."""
    target, indices = _target(recording, arr), np.asarray(indices)
    if axis is None:
        put(recording, target, indices, np.broadcast_to(recording.traced(values), indices.shape))
        return
    places = np.take_along_axis(np.arange(target.size).reshape(target.shape), indices, axis)
    put(recording, target, places, np.broadcast_to(recording.traced(values), places.shape))

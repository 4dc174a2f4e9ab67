"""Defines the opaque step: any function of arrays, of which nothing is known but its values.

Its differences are two values subtracted, and so they have fewer digits than those of all other steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, smooth

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals

    Function = Callable[..., Any]

#: The step of the central differences, over max(1, |x|): the cube root of the rounding unit, as for plain functions.
STEP = float(np.cbrt(np.finfo(np.float64).eps))
#: The sensitivity to an input with more entries than this is not computed: each costs two calls.
MOST_ENTRIES = 5_000
#: The estimated operations of a call, and for each entry of its inputs and its output. Nobody knows.
CALL_WORK, ENTRY_WORK = 100_000.0, 1_000.0


def _name(function: Function) -> str:
    return getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)


def _shape(shapes: Sequence[Shape], *, function: Function, shape: Shape) -> Shape:
    if not callable(function):
        raise ValueError(f"expected a function, got {type(function).__name__}")
    return shape


def _value(x: Sequence[Reals], *, function: Function, shape: Shape) -> Reals:
    """Calls the function. It gets copies, so that it may write into them."""
    found = np.array(function(*(at.copy() for at in x)), np.float64, order="C")
    if found.shape != shape:
        raise ValueError(f"{_name(function)} returned an array of shape {found.shape} instead of {shape}")
    return found


def _difference(x: Sequence[Reals], d: Sequence[Reals | None], *, function: Function, shape: Shape) -> Reals:
    moved = [at if change is None else at + change for at, change in zip(x, d, strict=True)]
    return _value(moved, function=function, shape=shape) - _value(x, function=function, shape=shape)


def _slopes(x: Sequence[Reals], k: int, function: Function, shape: Shape) -> Iterator[Reals]:
    """Yields the slope of the whole output by each entry of input k.

    Raises
    ------
    ValueError
        If there are too many entries.
    """
    if x[k].size > MOST_ENTRIES:
        raise ValueError(
            f"{_name(function)} is no function that is known here, and an input of {x[k].size} entries would take "
            f"{2 * x[k].size} calls of it (at most {MOST_ENTRIES} entries are allowed); write it with functions of "
            "NumPy, or check along directions: method='directional'"
        )
    moved = [at.copy() for at in x]
    entries = moved[k].reshape(-1)
    for entry, at in enumerate(entries.tolist()):
        h = STEP * max(1.0, abs(at))
        ends = []
        for end in (at + h, at - h):
            entries[entry] = end
            ends.append(_value(moved, function=function, shape=shape))
        entries[entry] = at
        yield (ends[0] - ends[1]) / ((at + h) - (at - h))


def _back(x: Sequence[Reals], k: int, up: Reals, *, function: Function, shape: Shape) -> Reals:
    found = [np.vdot(slope, up) for slope in _slopes(x, k, function, shape)]
    return np.array(found, np.float64).reshape(x[k].shape)


def _spread(x: Sequence[Reals], k: int, up: Reals, half: Reals, h: float, *, function: Function, shape: Shape) -> Reals:
    found = [np.vdot(np.abs(slope), half) for slope in _slopes(x, k, function, shape)]
    return np.array(found, np.float64).reshape(x[k].shape)


def _reach(masks: Sequence[Mask], *, function: Function, shape: Shape) -> Mask:
    return np.full(shape, any(mask.any() for mask in masks))


def _work(shapes: Sequence[Shape], *, function: Function, shape: Shape) -> float:
    return CALL_WORK + ENTRY_WORK * float(sum(map(math.prod, (*shapes, shape))))


#: Any function of arrays. Its attributes are function, which returns one array, and shape.
OPAQUE = Primitive(
    "opaque", "function({0})", _shape, _value, _difference, _back, _reach, smooth, _spread, _work
)  # fmt: skip

PRIMITIVES = (OPAQUE,)

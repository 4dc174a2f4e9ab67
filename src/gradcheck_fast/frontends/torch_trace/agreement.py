"""Compares what a rule gives with what PyTorch gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A rule is right if its values are those of PyTorch to this part of the largest of them, or of the arguments.
SAME_VALUE, OF_ARGUMENTS = 1e-10, 1e-12
#: The same where numbers were rounded to fewer digits on the way, in such roundings.
COARSE_ROUNDINGS = 1024.0


def arrays_in(tree: Any) -> Iterator[NDArray[Any]]:
    """Yields the plain values of the arrays among arguments."""
    if type(tree) is TracedArray:
        yield tree._view
    elif isinstance(tree, np.ndarray):
        yield tree
    elif isinstance(tree, (tuple, list, dict)):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from arrays_in(child)


def largest(array: NDArray[Any]) -> float:
    """Returns the size of the largest finite number of an array."""
    if array.dtype.kind not in "fc" or not array.size:
        return 0.0
    found = float(np.abs(array).max())
    return found if np.isfinite(found) else float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def agrees(value: TracedArray | ComplexArray, right: Any, size: float, rounding: float) -> bool:
    """Whether the values of a rule are those of PyTorch, but for rounding.

    `size` is that of the arguments, and `rounding` that of the coarsest numbers on the way.
    """
    own = value._view if type(value) is TracedArray else value.plain()
    if not isinstance(right, np.ndarray) or own.shape != right.shape:
        return False
    if right.dtype.kind not in "fc":
        return bool(np.array_equal(own, right))
    with np.errstate(invalid="ignore"):
        off = np.abs(own - right)
        allowed = SAME_VALUE * largest(right) + OF_ARGUMENTS * size
        if rounding > EPSILON:
            allowed *= COARSE_ROUNDINGS * rounding / SAME_VALUE
        if off.size and not off.max() <= allowed:
            return bool(((off <= allowed) | (own == right) | (np.isnan(own) & np.isnan(right))).all())
    return True

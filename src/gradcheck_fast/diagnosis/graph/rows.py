"""Takes many sensitivities of one step back at once: a row for each mutant.

What goes back through a step is linear in its sensitivity, so that rows of it can be taken together. Most steps of
small programs take hardly longer for hundreds of rows than for one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.program.primitive import same_entry, sum_to_shape
from gradcheck_fast.program.steps.movement import GATHER, RESHAPE, SLICE, STRIDED
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Step

    Reals: TypeAlias = NDArray[np.float64]

#: A function of rows of sensitivities of a step, shape (rows, ...), that returns what goes back, row by row.
OfRows: TypeAlias = "Callable[[Reals], Reals]"


def of_rows(step: Step, x: Sequence[Reals], k: int, slope: Callable[[], Reals], through: OfRows) -> OfRows:
    """Returns the function that takes rows of sensitivities of a step back to its input k.

    Parameters
    ----------
    step : Step
    x : sequence of ndarray
        The values of its inputs.
    k : int
    slope : callable
        Gives the slopes of a step that acts entry by entry.
    through : callable
        Takes one sensitivity back.
    """
    shape, attributes = np.shape(x[k]), step.attributes
    if step.primitive.reach is same_entry:
        return _entrywise(slope(), shape)
    if step.primitive is MATMUL:
        product = _product(x[0], x[1], k)
        if product is not None:
            return product
    if step.primitive is RESHAPE:
        return lambda rows: rows.reshape(len(rows), *shape)
    if {"axis", "keepdims"} <= attributes.keys():
        return _reduced(through(np.ones(step.shape)), **attributes)
    if step.primitive in (SLICE, STRIDED, GATHER):
        return _moved(step, x, k)
    return partial(_one_by_one, through, shape)


def _reduced(weights: Reals, axis: tuple[int, ...], keepdims: bool) -> OfRows:
    """Returns what goes back through a reduction: the sensitivity of an entry times the weight of each of its parts."""
    added = tuple(at + 1 for at in axis)
    return lambda rows: (rows if keepdims else np.expand_dims(rows, added)) * weights


def _moved(step: Step, x: Sequence[Reals], k: int) -> OfRows:
    """Returns what goes back through a step that moves entries of its inputs: each goes back to where it came from."""
    ends = np.cumsum([0, *(np.size(at) for at in x)])
    shape, size, numbers = np.shape(x[k]), int(np.size(x[k])), np.arange(ends[-1], dtype=np.float64)
    parts = [part.reshape(np.shape(at)) for part, at in zip(np.split(numbers, ends[1:-1]), x, strict=True)]
    origins = step.primitive.value(parts, **step.attributes).astype(np.intp).ravel() - ends[k]
    (own,) = np.nonzero((origins >= 0) & (origins < size))
    index = origins[own]

    def moved(rows: Reals) -> Reals:
        back, moving = np.zeros((len(rows), size)), rows.reshape(len(rows), -1)[:, own]
        if is_one_to_one:
            back[:, index] = moving
        else:
            places = (size * np.arange(len(rows))[:, np.newaxis] + index).ravel()
            back[...] = np.bincount(places, moving.ravel(), back.size).reshape(back.shape)
        return back.reshape(len(rows), *shape)

    is_one_to_one = np.bincount(index, minlength=1).max() <= 1  # np.unique imports numpy.ma, which takes time
    return moved


def _entrywise(slope: Reals, shape: tuple[int, ...]) -> OfRows:
    if slope.shape == shape:
        return lambda rows: rows * slope
    padded = (1,) * (slope.ndim - len(shape)) + shape
    return lambda rows: sum_to_shape(rows * slope, (len(rows), *padded)).reshape(len(rows), *shape)


def _product(a: Reals, b: Reals, k: int) -> OfRows | None:
    """Returns up bᵀ or aᵀ up for rows of up; None for stacks of matrices that are broadcast in another way.

    A vector on the left is a row, and one on the right a column.
    """
    left, right = a.ndim == 1, b.ndim == 1
    b = b[:, np.newaxis] if right else b
    a = a[np.newaxis] if left else a
    if b.ndim > 2 and a.shape[:-2] != b.shape[:-2]:
        return None
    shape = (*a.shape[:-1], b.shape[-1])

    def product(rows: Reals) -> Reals:
        up = rows.reshape(len(rows), *shape)
        if k == 0:
            back = up @ b.swapaxes(-1, -2)
            return back[..., 0, :] if left else back
        if b.ndim == 2 < a.ndim:  # one matrix for a whole stack
            back = a.reshape(-1, a.shape[-1]).T @ up.reshape(len(rows), -1, shape[-1])
        else:
            back = a.swapaxes(-1, -2) @ up
        return back[..., 0] if right else back

    return product


def _one_by_one(through: OfRows, shape: tuple[int, ...], rows: Reals) -> Reals:
    back = np.zeros((len(rows), *shape))
    for row, up in enumerate(rows):
        if up.any():
            back[row] = through(up)
    return back

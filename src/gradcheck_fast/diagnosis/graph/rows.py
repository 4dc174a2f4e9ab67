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
from gradcheck_fast.program.steps.arithmetic import ADD
from gradcheck_fast.program.steps.movement import GATHER, RESHAPE, SLICE, STRIDED
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Step

    Reals: TypeAlias = NDArray[np.float64]

    Integers: TypeAlias = NDArray[np.intp]

#: The steps that move entries of their inputs, or leave some out.
MOVES = (SLICE, STRIDED, GATHER)
#: A function of rows of sensitivities of a step, shape (rows, ...), that returns what goes back, row by row.
OfRows: TypeAlias = "Callable[[Reals], Reals]"


def of_rows(
    step: Step, x: Sequence[Reals], k: int, slope: Callable[[], Reals], moves: Callable[[], Moves], through: OfRows
) -> OfRows:  # fmt: skip
    """Returns the function that takes rows of sensitivities of a step back to its input k.

    Parameters
    ----------
    step : Step
    x : sequence of ndarray
        The values of its inputs.
    k : int
    slope : callable
        Gives the slopes of a step that acts entry by entry.
    moves : callable
        Gives the moves of a step that moves entries.
    through : callable
        Takes one sensitivity back.
    """
    shape, attributes = np.shape(x[k]), step.attributes
    if step.primitive.reach is same_entry:
        if step.primitive is ADD and shape == step.shape:
            return lambda rows: rows
        return _entrywise(slope(), shape)
    if step.primitive is MATMUL:
        product = _product(x[0], x[1], k)
        if product is not None:
            return product
    if step.primitive is RESHAPE:
        return lambda rows: rows.reshape(len(rows), *shape)
    if {"axis", "keepdims"} <= attributes.keys():
        return _reduced(through(np.ones(step.shape)), attributes["axis"])
    if step.primitive in MOVES:
        return moves().back(k)
    return partial(_one_by_one, through, shape)


def _reduced(weights: Reals, axis: tuple[int, ...]) -> OfRows:
    """Returns what goes back through a reduction: the sensitivity of an entry times the weight of each of its parts."""
    kept = [1 if at in axis else length for at, length in enumerate(weights.shape)]
    return lambda rows: rows.reshape(len(rows), *kept) * weights


class Moves:
    """Where the entries of a step come from that moves entries of its inputs, or leaves some out.

    Parameters
    ----------
    step : Step
    x : sequence of ndarray
        The values of its inputs.
    """

    def __init__(self, step: Step, x: Sequence[Reals]) -> None:
        self._shapes = [np.shape(at) for at in x]
        self._ends = np.cumsum([0, *(np.size(at) for at in x)])
        numbers = np.arange(self._ends[-1], dtype=np.float64)
        ends = self._ends.tolist()
        parts = [numbers[ends[k] : ends[k + 1]].reshape(shape) for k, shape in enumerate(self._shapes)]
        origins = step.primitive.value(parts, **step.attributes).astype(np.intp).ravel()
        self._order = np.argsort(origins, kind="stable")
        self._origins = origins[self._order]
        self._size = origins.size

    def of(self, k: int) -> tuple[Integers, Integers]:
        """Returns which entries come from input k, and from which of its entries."""
        begin, end = np.searchsorted(self._origins, self._ends[k : k + 2])
        return self._order[begin:end], self._origins[begin:end] - self._ends[k]

    def forward(self, k: int, rows: Reals) -> Reals:
        """Returns what rows of differences of input k alone change, shape (rows, entries)."""
        own, index = self.of(k)
        found = np.zeros((len(rows), self._size))
        found[:, own] = rows.reshape(len(rows), -1)[:, index]
        return found

    def back(self, k: int) -> OfRows:
        """Returns the function that takes rows of sensitivities back to input k."""
        own, index = self.of(k)
        shape, size = self._shapes[k], int(self._ends[k + 1] - self._ends[k])
        is_one_to_one = bool((index[1:] != index[:-1]).all())

        def moved(rows: Reals) -> Reals:
            back, moving = np.zeros((len(rows), size)), rows.reshape(len(rows), -1)[:, own]
            if is_one_to_one:
                back[:, index] = moving
            else:
                places = (size * np.arange(len(rows))[:, np.newaxis] + index).ravel()
                back[...] = np.bincount(places, moving.ravel(), back.size).reshape(back.shape)
            return back.reshape(len(rows), *shape)

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


def of_matrices(a: Reals, b: Reals, k: int) -> OfRows | None:
    """Returns the function that takes one sensitivity of a b back to a or b; None if one of them is a stack."""
    if a.ndim == b.ndim == 2:
        other = b.T if k == 0 else a.T
        return (lambda up: up @ other) if k == 0 else (lambda up: other @ up)
    if (a.ndim, b.ndim) == (2, 1):
        return (lambda up: up[:, np.newaxis] * b) if k == 0 else (lambda up: up @ a)
    if (a.ndim, b.ndim) == (1, 2):
        return (lambda up: b @ up) if k == 0 else (lambda up: a[:, np.newaxis] * up)
    return None


def _one_by_one(through: OfRows, shape: tuple[int, ...], rows: Reals) -> Reals:
    back = np.zeros((len(rows), *shape))
    for row, up in enumerate(rows):
        if up.any():
            back[row] = through(up)
    return back

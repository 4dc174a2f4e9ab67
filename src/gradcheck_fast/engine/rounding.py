"""Estimates what rounding may do to a right gradient: how much is added up in each entry, and what cancels before that.

Textbooks write back-propagation as 1 - a² for tanh, a (1 - a) for the logistic function, and p - y for softmax and
cross-entropy. These cancel where a unit is saturated or a sample is already right: the true number is then far less
than one rounding of what was subtracted. Such an error is no mistake, but it goes on to all layers below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.engine._program import NOTHING
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.primitive import SLOPE_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine._tape import Chunk
    from gradcheck_fast.engine.tables import Tables

#: A unit is saturated if its slope is less than this.
SATURATED = 2.0**-7


def add_roundings(
    tables: Tables, chunk: Chunk, sensitivities: dict[int, NDArray[np.float64]], isa: str, to: NDArray[np.float64]
) -> None:
    """Adds to each parameter's entry of `to` the size of one rounding in it, over EPSILON: \\|a\\|ᵀ (\\|s\\| + r).

    Here a is what the parameter is multiplied with, s are the sensitivities of its step's units, and r is the size of
    what was subtracted in them where something cancelled.

    Parameters
    ----------
    tables : Tables
    chunk : Chunk
        A chunk whose tape is filled.
    sensitivities : dict of ndarray, shape (samples of the chunk, width)
        The derivatives of the cost by the units of each affine step.
    isa : str
        The instruction set of the kernels.
    to : ndarray of float64, shape (size,)
    """
    program = tables.rows
    tape, rounded = chunk.tape[: chunk.count], np.zeros((chunk.count, 1))
    sizes: dict[int, NDArray[np.float64]] = {}
    for step in sorted(sensitivities, reverse=True):
        own = np.abs(sensitivities[step])
        for number, reader in enumerate(program.steps):
            if step in reader.inputs:
                rounded = np.maximum(rounded, _cancelled(tables, tape, number, step, own, isa)[:, np.newaxis])
        sizes[step] = own + rounded
    for step, term in program.terms:
        p = term.parameter
        begin, count = tables.offsets[term.step], p.columns if term.diagonal else p.rows
        factor = np.ones((chunk.count, 1)) if term.step == NOTHING else np.abs(tape[:, begin : begin + count])
        p.of(to)[...] += (factor * sizes[step]).sum(axis=0) if term.diagonal else factor.T @ sizes[step]


def _cancelled(
    tables: Tables, tape: NDArray[np.float64], number: int, step: int, own: NDArray[np.float64], isa: str
) -> NDArray[np.float64]:
    """Returns for each sample the size of what is subtracted where a saturated step reads another; zero if none is.

    The step `number` reads `step`, whose sensitivities have the sizes `own`.
    """
    program = tables.rows
    reader = program.steps[number]
    if reader.is_cost:  # a slope near 0 is a difference of numbers near 1
        cancelled: NDArray[np.float64] = np.where(own < SATURATED * reader.scale, reader.scale, 0.0).max(axis=1)
        return cancelled
    if not reader.is_entrywise and reader.stays_in_column:
        return np.zeros(len(own))
    slope = _values(tables, tape, number)
    if reader.is_entrywise:
        if reader.name == "exp":  # its slope is its value, in which nothing cancels
            return np.zeros(len(own))
        slope = np.abs(slopes(reader.name, _values(tables, tape, step), isa))
    saturated = (slope < SATURATED) & (slope > 0.0)
    upstream = np.divide(own, slope, out=np.zeros_like(own), where=saturated)
    if reader.is_entrywise:
        largest: NDArray[np.float64] = upstream.max(axis=1)
        return largest
    # what goes back is p_k (g_k - sum of p g). With p_1 near 1 the bracket is g_k - g_1, which for most k is near -g_1:
    # hence the lower median over k. For the softmax of a cost it cannot exceed the scale of the cost.
    scales = [s.scale for s in program.steps if s.is_cost and number in s.inputs]
    ordered = np.sort(np.where(saturated, upstream, np.inf), axis=1)
    counts = np.count_nonzero(saturated, axis=1)
    middle = np.take_along_axis(ordered, np.maximum(counts - 1, 0)[:, np.newaxis] // 2, axis=1)[:, 0]
    return np.where(counts > 0, np.minimum(middle, max(scales, default=np.inf)), 0.0)


def _values(tables: Tables, tape: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    begin = tables.offsets[step]
    return tape[:, begin : begin + tables.rows.steps[step].width]


def slopes(operation: str, z: NDArray[np.float64], isa: str) -> NDArray[np.float64]:
    """Returns the slopes of an elementwise operation at z: central differences in difference arithmetic."""
    at = np.ascontiguousarray(z).ravel()
    h = np.full_like(at, SLOPE_STEP)
    up, down = (_kernels.elementwise(operation, at, d, isa)[1] for d in (h, -h))
    return ((up - down) / (2.0 * SLOPE_STEP)).reshape(z.shape)

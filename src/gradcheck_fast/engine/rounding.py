"""What rounding may do to a right gradient: how much is added up in each entry, and what cancels before that.

Back-propagation written as textbooks have it, 1 - a² for tanh, a (1 - a) for the logistic function, p - y for softmax
and cross-entropy, cancels where a unit is saturated or a sample is already right: the true number is far less than one
rounding of what was subtracted. That rounding is no mistake. It goes down to all layers below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.engine._program import NOTHING
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.numerical.gradient import EXACT_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine._tape import Chunk
    from gradcheck_fast.engine.tables import Tables

#: A slope of less than this is one of a saturated unit.
SATURATED = 2.0**-7


def add_roundings(
    tables: Tables, chunk: Chunk, sensitivities: dict[int, NDArray[np.float64]], isa: str, to: NDArray[np.float64]
) -> None:
    """Adds to each parameter's entry what one rounding of everything in it is, over EPSILON: \\|a\\|ᵀ (\\|s\\| + r).

    a is what the parameter is multiplied with, s are the sensitivities of its step's units, and r is what is rounded in
    them.

    Parameters
    ----------
    tables : Tables
    chunk : Chunk
        Its tape filled.
    sensitivities : dict of ndarray, shape (samples of the chunk, width)
        What the cost does per unit, of each affine step.
    isa : str
    to : ndarray, shape (size,)
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
    """For each sample, what is subtracted where the step `number`, that reads `step`, is saturated; else zero."""
    program = tables.rows
    reader = program.steps[number]
    if reader.is_cost:  # of a slope near 0, which is a difference of numbers near 1
        cancelled: NDArray[np.float64] = np.where(own < SATURATED * reader.scale, reader.scale, 0.0).max(axis=1)
        return cancelled
    if not reader.is_entrywise and reader.stays_in_column:
        return np.zeros(len(own))
    slope = _values(tables, tape, number)
    if reader.is_entrywise:
        if reader.name == "exp":  # is its own slope
            return np.zeros(len(own))
        slope = np.abs(slopes(reader.name, _values(tables, tape, step), isa))
    saturated = (slope < SATURATED) & (slope > 0.0)
    upstream = np.divide(own, slope, out=np.zeros_like(own), where=saturated)
    if reader.is_entrywise:
        largest: NDArray[np.float64] = upstream.max(axis=1)
        return largest
    # p_k (g_k - sum p g): with one p near 1 that is g_k - g_1, of which most are near -g_1: their lower median, which
    # of a cost's own softmax cannot be more than its scale
    scales = [s.scale for s in program.steps if s.is_cost and number in s.inputs]
    ordered = np.sort(np.where(saturated, upstream, np.inf), axis=1)
    counts = np.count_nonzero(saturated, axis=1)
    middle = np.take_along_axis(ordered, np.maximum(counts - 1, 0)[:, np.newaxis] // 2, axis=1)[:, 0]
    return np.where(counts > 0, np.minimum(middle, max(scales, default=np.inf)), 0.0)


def _values(tables: Tables, tape: NDArray[np.float64], step: int) -> NDArray[np.float64]:
    begin = tables.offsets[step]
    return tape[:, begin : begin + tables.rows.steps[step].width]


def slopes(operation: str, z: NDArray[np.float64], isa: str) -> NDArray[np.float64]:
    """How an elementwise operation changes with its input: a central difference in difference arithmetic."""
    at = np.ascontiguousarray(z).ravel()
    h = np.full_like(at, EXACT_STEP)
    up, down = (_kernels.elementwise(operation, at, d, isa)[1] for d in (h, -h))
    return ((up - down) / (2.0 * EXACT_STEP)).reshape(z.shape)

"""Estimates what rounding may do to a right gradient: how much is added up in each entry, and what cancels before that.

Textbooks write back-propagation as 1 - a² for tanh, a (1 - a) for the logistic function, and p - y for softmax and
cross-entropy. These cancel where a unit is saturated or a sample is already right: the true number is then far less
than one rounding of what was subtracted. Such an error is no mistake, but it goes on to all layers below.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps.affine import AFFINE, MATRIX, terms_of
from gradcheck_fast.program.steps.costs import COSTS
from gradcheck_fast.program.steps.softmax import SOFTMAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.chain import Chunk, Point
    from gradcheck_fast.program.program import Program

    Reals = NDArray[np.float64]

#: A unit is saturated if its slope is less than this.
SATURATED = 2.0**-7


def roundings(point: Point) -> Reals:
    """Returns the size, over EPSILON, of one rounding in each entry of the gradient: \\|a\\|ᵀ (\\|s\\| + r).

    Here a is what the parameter is multiplied with, s are the sensitivities of the affine step that it is part of, and
    r is the size of what was subtracted in them where something cancelled.

    Parameters
    ----------
    point : Point
        The program at the parameters, in use.

    Returns
    -------
    ndarray of float64, shape (size,)
    """
    program = point.engine.program
    total = np.zeros(program.size)
    views = program.with_parts(program.arrays(total))
    readers: dict[int, list[int]] = defaultdict(list)
    for number in point.engine.plan.computed:
        for source in dict.fromkeys(program.steps[number].inputs):
            readers[source].append(number)
    for chunk in point.chunks():
        with np.errstate(over="ignore", invalid="ignore"):
            sensitivities = point.sensitivities(chunk, SLOPE_STEP)
            _add(program, chunk, sensitivities, readers, point.engine.isa, views)
    return total


def _add(
    program: Program, chunk: Chunk, sensitivities: dict[int, Reals], readers: dict[int, list[int]], isa: str,
    to: dict[int, Reals],
) -> None:  # fmt: skip
    """Adds what the samples of a chunk give to the views `to` of the parameters and their parts."""
    rounded = np.zeros((chunk.count, 1))
    for number in sorted(sensitivities, reverse=True):
        step = program.steps[number]
        if step.name != AFFINE.name:
            continue
        own = np.abs(sensitivities[number])
        for reader in readers[number]:
            rounded = np.maximum(rounded, _cancelled(program, chunk, reader, number, own, isa)[:, np.newaxis])
        sizes = own + rounded
        for kind, multiplied, parameter in terms_of(step.attributes["terms"]):
            part = to[step.inputs[parameter]]
            factor = np.ones((chunk.count, 1)) if multiplied is None else np.abs(chunk.values[step.inputs[multiplied]])
            found = factor.T @ sizes if kind == MATRIX else (factor * sizes).sum(axis=0)
            part[...] += found.reshape(part.shape)


def _cancelled(program: Program, chunk: Chunk, number: int, step: int, own: Reals, isa: str) -> Reals:
    """Returns for each sample the size of what is subtracted where a saturated step reads another; zero if none is.

    The step `number` reads `step`, whose sensitivities have the sizes `own`.
    """
    reader = program.steps[number]
    if reader.name in COSTS:  # a slope near 0 is a difference of numbers near 1
        scale = reader.attributes["scale"]
        cancelled: Reals = np.where(own < SATURATED * scale, scale, 0.0).max(axis=1)
        return cancelled
    is_entrywise = reader.name in _kernels.ELEMENTWISE
    if reader.name == "exp" or not (is_entrywise or reader.name == SOFTMAX.name):
        return np.zeros(len(own))  # in the slope of exp, which is its value, nothing cancels
    slope = np.abs(slopes(reader.name, chunk.values[step], isa)) if is_entrywise else chunk.values[number]
    saturated = (slope < SATURATED) & (slope > 0.0)
    upstream = np.divide(own, slope, out=np.zeros_like(own), where=saturated)
    if is_entrywise:
        largest: Reals = upstream.max(axis=1)
        return largest
    # what goes back is p_k (g_k - sum of p g). With p_1 near 1 the bracket is g_k - g_1, which for most k is near -g_1:
    # hence the lower median over k. For the softmax of a cost it cannot exceed the scale of the cost.
    scales = [program.steps[k].attributes["scale"] for k in program.costs if number in program.steps[k].inputs]
    ordered = np.sort(np.where(saturated, upstream, np.inf), axis=1)
    counts = np.count_nonzero(saturated, axis=1)
    middle = np.take_along_axis(ordered, np.maximum(counts - 1, 0)[:, np.newaxis] // 2, axis=1)[:, 0]
    return np.where(counts > 0, np.minimum(middle, max(scales, default=np.inf)), 0.0)


def slopes(operation: str, z: Reals, isa: str) -> Reals:
    """Returns the slopes of an elementwise operation at z: central differences in difference arithmetic."""
    at = np.ascontiguousarray(z).ravel()
    h = np.full_like(at, SLOPE_STEP)
    up, down = (_kernels.elementwise(operation, at, d, isa)[1] for d in (h, -h))
    return ((up - down) / (2.0 * SLOPE_STEP)).reshape(z.shape)

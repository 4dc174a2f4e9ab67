"""Estimates, for any program, what rounding may do to a right gradient: what is added up, and what cancels in it.

`engine.rounding` does so for networks, whose layers say where textbooks subtract. Here only the steps are known. Two
numbers go back through the program side by side: the sensitivity of each entry, and the size of the terms that it was
added up from. Where these cancel, as they do in p - y for softmax and cross-entropy, a rounding of the terms is left.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.engine.open_slopes import spread_of_all
from gradcheck_fast.program.primitive import SLOPE_STEP, same_entry
from gradcheck_fast.program.steps.costs import COSTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rules import RulesPoint
    from gradcheck_fast.program.program import Step

    Reals = NDArray[np.float64]

#: These steps add up products over a whole axis. The terms are those of the sensitivities themselves: the sizes of what
#: cancels are not multiplied through, for they would grow from product to product.
PRODUCTS = frozenset(("affine", "matmul", "solve", "inv", "det", "logdet", "cholesky", "cumprod", "prod", "opaque"))
#: A function is saturated if its slope is less than this part of its value, or of 1 if that is less. Its slope may then
#: have been computed, as in a (1 - a), with the roundings of the value.
SATURATED = 2.0**-7
#: But not if the number that it is a function of, times the slope, is at least this part: then the slope is small
#: because the number is large, as in x / 1e20 or log(x).
BY_UNITS = 0.1
#: A sum of more terms than this may lose more digits, added up one after the other: equal terms lose N/20 roundings.
LONG_SUM = 200.0
#: The size of what cancels is at most this many times that of the terms of a single step: in a long iteration sizes
#: would be multiplied from step to step, and what is rounded is not.
MOST_CANCELLED = 1e4


def roundings(point: RulesPoint) -> Reals:
    """Returns the size, over EPSILON, of one rounding in each entry of the gradient.

    Parameters
    ----------
    point : RulesPoint
        The program at the parameters, in use.

    Returns
    -------
    ndarray of float64, shape (size,)
    """
    program, plan, values = point.engine.program, point.engine.plan, point.values
    up, below, readers = point.sensitivities(), _before_products(point), _readers(point)
    sizes: dict[int, Any] = {number: np.ones_like(values[number]) for number in plan.costs}
    terms_of_one: dict[int, Any] = dict(sizes)  # the sizes of the sensitivities that a step's own is added up from
    functions: dict[int, _Function] = {}
    terms = dict.fromkeys(program.parameters, 0.0)
    with np.errstate(all="ignore"):
        for number, back, _, inputs, attributes, targets in plan.backs:
            step, x, size_of_up = program.steps[number], [values[k] for k in inputs], np.abs(up[number])
            own = np.minimum(sizes.pop(number), MOST_CANCELLED * terms_of_one.pop(number))
            singly = spread_of_all(step, x, targets, np.zeros_like(own), size_of_up, SLOPE_STEP)
            for (_, source), size in zip(targets, singly, strict=True):
                terms_of_one[source] = terms_of_one[source] + size if source in terms_of_one else size
            link = functions.pop(number, None) or _Function(np.ones_like(own), own, values[number])
            if _is_function(point, step, targets):
                ((k, source),) = targets
                link, near = _through(step, x, targets, link, values[number])
                found = [link.slope * link.size + np.maximum(near, link.rounded(x[k]))]
                if readers[source] == 1:
                    functions[source] = link
            else:
                found = spread_of_all(step, x, targets, np.zeros_like(own), own, SLOPE_STEP)
            for (k, source), size in zip(targets, found, strict=True):
                if step.name in PRODUCTS and source not in below:
                    size = np.abs(back(x, k, up[number], **attributes))
                elif step.name in COSTS:  # a slope near 0 is a difference of numbers near 1
                    scale = step.attributes["scale"]
                    size = np.where(size < SATURATED * scale, scale, size)
                sizes[source] = sizes[source] + size if source in sizes else size
                if source in terms:
                    work = step.primitive.work([program.steps[j].shape for j in inputs], **attributes)
                    terms[source] += work / max(1, np.size(values[source]))
    total = np.zeros(program.size)
    for number, begin, end, _ in plan.parameters:
        if number in sizes:
            total[begin:end] = np.ravel(sizes[number]) * max(1.0, terms[number] / LONG_SUM)
    return np.where(np.isfinite(total), total, 0.0)


class _Function(NamedTuple):
    """Steps one after the other that are, together, a function of one number.

    Attributes
    ----------
    slope : ndarray
        The size of its slope.
    size, value : ndarray
        The size of what comes back to it, and its value.
    """

    slope: Reals
    size: Reals
    value: Reals

    def rounded(self, at: Reals) -> Reals:
        """The size of what is rounded if the slope is small beside the value; a slope of exactly 0 has no rounding.

        `at` is the number that this is a function of.
        """
        value = np.abs(self.value)
        least = np.minimum(1.0, value)
        flat = (self.slope < SATURATED * least) & (self.slope * np.abs(at) < BY_UNITS * least)
        return np.where((self.slope > 0.0) & flat, value * self.size, 0.0)


def _through(
    step: Step, x: list[Reals], targets: list[tuple[int, int]], after: _Function, value: Reals
) -> tuple[_Function, Reals]:
    """Puts a step before a function, and returns it with what is rounded in the slope of the step alone."""
    (slope,) = spread_of_all(step, x, targets, np.zeros_like(value), np.ones_like(value), SLOPE_STEP)
    near = _Function(slope, after.slope * after.size, value)
    return after._replace(slope=slope * after.slope), near.rounded(x[targets[0][0]])


def _is_function(point: RulesPoint, step: Step, targets: list[tuple[int, int]]) -> bool:
    """Tells whether a step acts entry by entry on one other that depends on parameters."""
    return (
        len(targets) == 1
        and step.primitive.reach is same_entry
        and np.shape(point.values[targets[0][1]]) == step.shape
    )  # fmt: skip


def _readers(point: RulesPoint) -> Counter[int]:
    """Counts by how many steps, or as a cost, each step is read."""
    plan = point.engine.plan
    return Counter(chain(plan.costs, (source for row in plan.backs for _, source in row[-1])))


def _before_products(point: RulesPoint) -> set[int]:
    """Returns the numbers of the steps that depend on parameters, but through no product of them."""
    program, plan = point.engine.program, point.engine.plan
    found = {number for number, *_ in plan.parameters}
    for number, _, inputs, _ in plan.values:
        if program.steps[number].name not in PRODUCTS and all(k in found for k in inputs if _moves(point, k)):
            found.add(number)
    return found


def _moves(point: RulesPoint, number: int) -> bool:
    return point.engine.fixed[number] is None

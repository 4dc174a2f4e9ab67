"""What kinks leave open in a chained gradient of any program: for each parameter an interval of slopes.

`spreads` gives an outer bound for all parameters in one sweep back. `sides` gives the interval of one parameter by
exact differences, where kinks do not depend on each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import unwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.numerical.gradient import CHAIN_STEPS, EPSILON, NEAR_KINK
from gradcheck_fast.program.steps.jumps import nothing_back
from gradcheck_fast.program.steps.movement import GATHER
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.executor import Executor
    from gradcheck_fast.engine.rules import RulesPoint
    from gradcheck_fast.program.program import Step

    Reals = NDArray[np.float64]

#: The step of the exact differences. It is so small that they have no truncation, even to one side.
STEP = CHAIN_STEPS[0]
#: Changes to both sides that differ by more than this part of them do so because of a kink before.
ONE_SIDED = 1e-9
#: And if they differ by more than this part of the step, which roundings of values of order 1 make.
ROUNDINGS = 64.0 * EPSILON
#: How far a value beside a kink is moved to reach over it.
BESIDE = 2.0**-20


class Spreads(NamedTuple):
    """How far derivatives may be from those that are chained.

    Attributes
    ----------
    by_parameter : ndarray of float64, shape (size,)
    backs : mapping of int to ndarray
        What goes back to each step on whose kinks values lie.
    apart : set of int
        The steps among these after which there are no others.
    beside : set of int
        The steps among these with values that lie beside kinks, and not exactly on them.
    """

    by_parameter: Reals
    backs: Mapping[int, Reals]
    apart: set[int]
    beside: set[int]


def spreads(point: RulesPoint, h: float = NEAR_KINK) -> Spreads:
    """Returns how far the derivative by each parameter may be from the one that is chained, because of kinks.

    That is an upper bound: every value within h of a kink may take any slope between those of its two sides. It is 0
    for the parameters that no kink reaches. See `twin.spreads`.
    """
    values, plan, up = point.values, point.engine.plan, point.sensitivities()
    found: list[Any] = [None] * len(values)
    total, apart = np.zeros(point.engine.program.size), set[int]()
    with np.errstate(all="ignore"):
        kinked = point.near_kinks(h)
        for number, _, _, inputs, _, targets in plan.backs:
            half, found[number] = found[number], None
            if number in kinked and half is None:
                apart.add(number)
            if half is None and number not in kinked:
                continue
            half = np.zeros_like(up[number]) if half is None else half
            step, x = point.engine.program.steps[number], [values[k] for k in inputs]
            sizes = spread_of_all(step, x, targets, up[number], half, h)
            for (_, source), own in zip(targets, sizes, strict=True):
                if own.any():
                    found[source] = own if found[source] is None else found[source] + own
    for number, begin, end, _ in plan.parameters:
        if found[number] is not None:
            total[begin:end] = np.ravel(found[number])
    total = np.where(np.isnan(total), np.inf, total)
    beside = {number for number, margins in kinked.items() if margins.any()}
    return Spreads(total, {number: up[number] for number in kinked}, apart, beside)


def may_jump(engine: Executor) -> bool:
    """Whether steps that depend on parameters compare or round: their spread is 0, also where their values jump."""
    steps, depends = engine.program.steps, on_parameters(engine.program)
    return any(
        unwrap(steps[number].primitive.spread) is nothing_back for number in depends.intersection(engine.computed)
    )


def sides(point: RulesPoint, entry: int, found: Spreads) -> tuple[float, float] | None:
    """Returns the least and the largest slope by one entry, over all choices of slopes at kinks.

    If the parameter moves by h and by -h, a step on whose kink a value lies changes by D(d) and D(-d), and the sum of
    these is h times the jump of its slope. What the jump makes in the cost is multiplied by what goes back to the step.
    The choices lie around the central difference, by half of the sum of all jumps to either side. Where values lie
    beside kinks, so close that rounding decides the side, these changes are made as large as BESIDE, to reach over it.

    Returns
    -------
    tuple of float, or None
        None if kinks depend on each other, or if the cost is not finite.
    """
    values, steps, unit = point.values, point.engine.program.steps, np.zeros(len(point.theta))
    unit[entry] = 1.0
    plus, minus = (point.changes(unit, h) for h in (STEP, -STEP))
    right, left = (sum(float(np.sum(d[number])) for number in point.engine.plan.costs) for d in (plus, minus))
    jumps = 0.0
    with np.errstate(all="ignore"):
        for number, up in found.backs.items():
            step = steps[number]
            x, d, other = ([at[k] for k in step.inputs] for at in (values, plus, minus))
            if not any(change is not None and np.any(change) for change in d):
                continue
            if number not in found.apart or _is_one_sided(x, d, other):
                return None
            largest = max(float(np.abs(change).max(initial=0.0)) for change in d if change is not None)
            times = BESIDE / largest if number in found.beside else 1.0
            both = [[None if change is None else sign * times * change for change in d] for sign in (1.0, -1.0)]
            even = sum(step.primitive.difference(x, change, **step.attributes) for change in both)
            jumps += float(np.sum(np.abs(up * even))) / times
    middle, half = (right - left) / (2.0 * STEP), jumps / (2.0 * STEP)
    return (middle - half, middle + half) if np.isfinite(middle) and np.isfinite(half) else None


def spread_of_all(
    step: Step, x: list[Reals], targets: list[tuple[int, int]], up: Reals, half: Reals, h: float
) -> list[Reals]:
    """Returns what a step's rule `spread` gives for each of its targets; see `RulesPlan.backs`."""
    primitive, attributes = step.primitive, step.attributes
    if primitive is GATHER and primitive.back_all is not None:  # numbers are moved back as they are; so are sizes
        backs = primitive.back_all(x, half, **attributes)
        return [backs[k] for k, _ in targets]
    return [np.abs(primitive.spread(x, k, up, half, h, **attributes)) for k, _ in targets]


def _is_one_sided(x: list[Reals], plus: list[Any], minus: list[Any]) -> bool:
    """Tells whether changes to both sides are not those of a smooth function, beyond their rounding."""
    return any(
        np.any(np.abs(a + b) > ONE_SIDED * np.abs(a) + ROUNDINGS * STEP * np.maximum(np.abs(at), 1.0))
        for at, a, b in zip(x, plus, minus, strict=True)
        if a is not None
    )

"""Certifies a chained gradient: compares it with differences of the whole cost, which do without the chain rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.engine._directions import add_scaled, draw, norms
from gradcheck_fast.engine.faults import find_fault
from gradcheck_fast.numerical.certificate import PROBABILITY, Certificate
from gradcheck_fast.numerical.gradient import CHAIN_STEPS, EPSILON, EXACT_STEP, SECOND_STEP, jitter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.executor import AtPoint, Executor

#: How many directions there are by default.
DIRECTIONS = 2
#: The agreement up to which a difference is taken for rounding without a second look.
ALLOWED = 2e-13
#: An array whose gradient is small is moved up to this many times further than others, so that it counts as much.
LARGEST_SCALE = 2.0**10
#: Along a direction the cost may change by this part of itself: truncation is then below rounding.
SMALL_CHANGE = 2.0**-30
#: Exact differences to one side are taken with a step that is smaller by this: their truncation is of the order of the
#: step and not of its square, and is then below rounding even where the slope is a small part of the curvature.
ONE_SIDED = 2.0**-60
#: But no step is smaller than the least number that has all digits.
_LEAST_STEP = float(np.finfo(np.float64).tiny)
#: If the differences are not finite, because what passes is multiplied by huge factors, the step is so much smaller.
SMALLER = (1.0, 2.0**-200, 2.0**-700)
#: An array whose gradient is no larger than this part of the largest has nothing in it but rounding.
NOTHING_BUT_ROUNDING = 2.0**-40
#: The large steps, in root mean squares of the parameters of each array; one is made, the first that does not lead to
#: an infinite cost.
LARGE_STEPS = (2.0**-10, 2.0**-20, 2.0**-30)
#: Two costs are subtracted to see whether the difference of the large step is right: they may have this many roundings.
LARGE_ROUNDINGS = 4096.0
#: How many times what some roundings of the parameters, and another step, change a difference may be off.
CONDITION = 8.0
#: The squares of a vector with a smaller norm may underflow.
_SAFE_NORM = 1e-140
#: Where values lie on kinks, the certificate is made at parameters that are moved off them, by this part of the root
#: mean square of their array; of an array of zeros, by this much.
ASIDE = 2.0**-20


def certified(
    point: AtPoint, gradient: NDArray[np.float64], kinks: int, step: float, directions: int = DIRECTIONS
) -> Certificate:
    """Returns the certificate of a gradient that was chained at a point, where `kinks` values lie on kinks.

    At kinks there is no derivative to compare with, and with a step that is not small there is truncation. Then it is
    the chain that is vouched for and not this gradient: at parameters beside the kinks, with a small step.
    """
    engine, n_threads, small = point.engine, point.n_threads, point.engine.smallest_step
    if step <= max(EXACT_STEP, small) and not kinks:
        return certify(point, gradient, step=step, directions=directions)
    theta = aside(engine, point.theta, n_threads) if kinks else point.theta
    with engine.at(theta, n_threads) as near:
        found = certify(near, near.gradient(small), step=small, directions=directions, one_sided=not kinks)
        return found._replace(beside_kinks=kinks > 0)


def certify(
    point: AtPoint, gradient: NDArray[np.float64], *, step: float = CHAIN_STEPS[0], directions: int = DIRECTIONS,
    seed: int = 0, one_sided: bool = True,
) -> Certificate:  # fmt: skip
    """Compares a gradient with differences of the whole cost along random directions, and with one large step.

    An array moves in inverse proportion to the norm of its gradient, within limits, so that an error in any array shows
    alike. The steps are so small that truncation is below rounding, however far an array moves; where no costs are
    subtracted they can be so small that one side will do.

    Parameters
    ----------
    point : AtPoint
        The program at the parameters, in use. No value there lies on a kink.
    gradient : ndarray of float64, shape (size,)
        The derivative of the program's cost by every parameter, all finite.
    step : float
        The step of the slopes that were chained, which is small; or, if costs are subtracted, one that suits that.
    directions : int
    seed : int
        Of the random numbers.
    one_sided : bool
        Whether differences to one side are taken if no costs are subtracted. Close to kinks, where the slopes of single
        steps are means of both sides, that is not the same.
    """
    ends, sizes = _ends(point.engine), _norms(point.engine, gradient, point.n_threads)
    largest = float(sizes.max(initial=0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.minimum(largest / sizes, LARGEST_SCALE)
    # far moved, an array without a gradient, such as a bias before a normalisation, adds nothing but roundings
    scales = np.where(sizes > NOTHING_BUT_ROUNDING * largest, scales, 1.0)
    typical = math.hypot(*(scales * sizes))  # the standard deviation of g·r
    h, cost, one_sided = step / float(scales.max(initial=1.0)), abs(point.cost()), one_sided and step <= EXACT_STEP
    # parameters may be far smaller than the step
    if step <= EXACT_STEP and 0.0 < SMALL_CHANGE * cost < h * typical < math.inf:
        h = SMALL_CHANGE * cost / typical
    direction = point.vector()

    def derivatives(
        at: AtPoint, of: NDArray[np.float64], times: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns what a gradient says of each direction, and what differences of the cost, with so many steps, say."""
        chained, differenced = np.empty((2, directions))
        for number in range(directions):
            chained[number] = draw(seed, number, ends, scales, of, direction, at.engine.isa, at.n_threads)
            for smaller in SMALLER:
                differenced[number] = _slope(at, direction, times * smaller * h, one_sided)
                if math.isfinite(differenced[number]):
                    break
        return chained, differenced

    chained, differenced = derivatives(point, gradient, 1.0)
    error = float(np.abs(differenced - chained).max(initial=0.0))
    allowed = ALLOWED * typical
    if not error <= allowed:
        # are the differences so sensitive to rounding, or to truncation where curvature jumps? Or is the chain, in
        # which what goes back may cancel? A fault shows at both points alike, and rounding does not.
        own, _ = derivatives(point, point.gradient(step), 1.0)
        with point.engine.at(jitter(point.theta), point.n_threads) as moved:
            chained_again, again = derivatives(moved, moved.gradient(step), SECOND_STEP)
        changes = np.abs([again - differenced, (chained_again - again) - (own - differenced)])
        allowed = max(allowed, CONDITION * float(changes[np.isfinite(changes)].max(initial=0.0)))
    large, large_allowed = _large_step(point, direction, seed)
    scale = typical or 1.0
    power = _seen(directions) * allowed / (scales * sizes)[sizes > NOTHING_BUT_ROUNDING * largest]
    found = Certificate(directions, error / scale, allowed / scale, large, large_allowed, float(power.max(initial=0.0)))
    if found.holds:
        return found
    draw(seed, 0, ends, scales, gradient, direction, point.engine.isa, point.n_threads)
    fault = find_fault(point, direction, (h, LARGE_STEPS[0]))
    if not fault and found.agreement <= found.allowed:
        # every step's difference of the large step is that of its rule: it is the costs that are rounded so much
        return found._replace(large_allowed=large)
    return found._replace(fault=fault)


def _slope(point: AtPoint, direction: NDArray[np.float64], h: float, one_sided: bool) -> float:
    """Returns the difference quotient of the cost along a direction, to one side or to both."""
    if one_sided:
        step = ONE_SIDED * h if ONE_SIDED * h >= _LEAST_STEP else h
        (change,) = point.along(direction, (step,)).tolist()
        return float(change) / step
    plus, minus = point.along(direction, (h, -h)).tolist()
    return float(plus - minus) / (2.0 * h)


def aside(engine: Executor, theta: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]:
    """Returns parameters near these, where values that now lie on kinks do not."""
    sizes = _roots(engine, theta, n_threads)
    moved = np.empty(len(theta))
    draw(1, 0, _ends(engine), np.where(sizes > 0.0, sizes, 1.0), theta, moved, engine.isa, n_threads)
    add_scaled(theta, ASIDE, moved, moved, engine.isa, n_threads)
    return moved


def _seen(directions: int) -> float:
    """Returns how many times an agreement that is allowed an error must be to be seen with `PROBABILITY`.

    An error of the standard deviation s goes unseen along all n directions if each of n normal numbers is less than
    1/s: with the probability erf(1 / (s √2))^n, where erf(x) is about 2 x / √π.
    """
    missed: float = (1.0 - PROBABILITY) ** (1.0 / directions)
    return math.sqrt(2.0 / math.pi) / missed


def _large_step(point: AtPoint, direction: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Compares the exact difference of a large step with the difference of two costs; both over the larger cost.

    Returns what is found, and how much of it may be rounding. `direction` is written over.
    """
    engine, theta, n_threads = point.engine, point.theta, point.n_threads
    roots = _roots(engine, theta, n_threads)
    draw(seed, 0, _ends(engine), np.where(roots > 0.0, roots, 1.0), theta, direction, engine.isa, n_threads)
    before = point.cost()
    for step in LARGE_STEPS:
        (change,) = point.along(direction, (step,)).tolist()
        if math.isfinite(change):
            break
    else:  # no large step stays in the domain
        return 0.0, math.inf
    add_scaled(theta, step, direction, direction, engine.isa, n_threads)
    after = _cost(engine, direction, n_threads)
    size, off, allowed = max(abs(before), abs(after)), abs((after - before) - change), LARGE_ROUNDINGS * EPSILON
    if not off <= allowed * size and size > 0.0:  # are the costs so sensitive to rounding?
        rounded = [_cost(engine, jitter(at), n_threads) for at in (theta, direction)]
        allowed += CONDITION * (abs(rounded[0] - before) + abs(rounded[1] - after)) / size
    return float(off / size if size else off), float(allowed)


def _cost(engine: Executor, theta: NDArray[np.float64], n_threads: int) -> float:
    with engine.at(theta, n_threads) as point:
        return point.cost()


def _ends(engine: Executor) -> NDArray[np.intp]:
    return np.cumsum(engine.sizes, dtype=np.intp)


def _norms(engine: Executor, vector: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]:
    """Returns the Euclidean norm of each array of a flat vector."""
    ends = _ends(engine)
    found = norms(vector, ends, engine.isa, n_threads)
    for k in np.flatnonzero(~np.isfinite(found) | (found < _SAFE_NORM)):
        array = vector[ends[k] - engine.sizes[k] : ends[k]]
        largest = float(np.abs(array).max(initial=0.0))
        found[k] = largest * float(np.linalg.norm(array / largest)) if largest else 0.0
    return found


def _roots(engine: Executor, vector: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]:
    """Returns the root mean square of each array of a flat vector."""
    return _norms(engine, vector, n_threads) / np.sqrt(np.maximum(engine.sizes, 1))

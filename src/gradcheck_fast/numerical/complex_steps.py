"""Complex steps, Im f(p + ih) / h: without error but for rounding where f is analytic, and wrong where it is not.

Whether it is cannot be known (abs, comparisons and real parts look like any other function), so they are never taken on
trust: differences of real values must agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.gradient import EPSILON, PLAIN_STEP, Numerical, Refined, jitter
from gradcheck_fast.numerical.step_ladder import NOISES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.numerical.point import Point

#: The imaginary step, in sizes of the parameter: its square is nothing beside 1, whatever the function.
STEP = 1e-20
#: Differences must agree to so much. With a step for which rounding is the square of that, they are given a second try.
AGREEMENT = 1e-3
#: Along a line, where differences are better, they must agree to so much of the sizes of what is added up.
LINE_AGREEMENT = 1e-8
#: The same for the difference of one more cost and the first.
GLANCE = 3e-7
#: Entries that show whether a function takes complex arrays.
FEW = 2


def by_complex_steps(point: Point, step: float | None) -> Numerical:
    """The gradient by complex steps.

    Raises
    ------
    ValueError
        If the function is of another kind, or a central difference along a line contradicts.
    """
    if not point.costs.takes_complex:
        raise ValueError("method: 'complex' needs a Python function of one set of parameters; use 'direct'")
    gradient = _steps(point, point.entries, step)
    _require_analytic(point, gradient)
    quietly = point.quietly()
    again = lambda times: _steps(quietly.moved_to(jitter(point.theta)), point.entries, step, times)
    return Numerical(gradient, "complex", True, step, again, lambda: 0.0)


def confirmed_steps(point: Point) -> NDArray[np.float64]:
    """Complex steps where differences of real values agree, NaN elsewhere; everywhere if they fail at the first few."""
    if not point.costs.takes_complex:
        return np.full(len(point.theta), np.nan)
    with np.errstate(all="ignore"):
        few, rest = np.split(point.entries, [min(FEW, len(point.theta))])
        steps = _confirmed(point.quietly(), few)
        more = _confirmed(point, rest) if np.isfinite(steps).any() else np.full(len(rest), np.nan)
        steps = np.concatenate([steps, more])
        found = np.flatnonzero(np.isfinite(steps))
        if len(found) and _leave_something_out(point, found, steps[found]):
            steps[found] = np.nan
        return steps


def within_bars(point: Point, known: Refined) -> Refined:
    """Complex steps in place of central differences where they lie within their error bars, which then get wider."""
    with np.errstate(all="ignore"):
        few, rest = np.split(point.entries, [min(FEW, len(point.theta))])
        steps = _tried(point, few)
        if (np.abs(steps - known.derivatives[few]) <= known.bars[few]).any():
            steps = np.concatenate([steps, _tried(point, rest)])
            change = np.abs(steps - known.derivatives)
            taken = change <= known.bars
            return Refined(np.where(taken, steps, known.derivatives), known.bars + np.where(taken, change, 0.0))
    return known


def _confirmed(point: Point, entries: NDArray[np.intp]) -> NDArray[np.float64]:
    """Complex steps where differences agree, NaN elsewhere: a difference to one side is enough."""
    theta, base = point.theta[entries], point.value
    moved = theta + PLAIN_STEP * np.maximum(1.0, np.abs(theta))
    steps, costs = point.steps_and_costs(entries, STEP * np.maximum(1.0, np.abs(theta)), moved)
    noise = NOISES * EPSILON * np.maximum(np.abs(costs), abs(base)) / (moved - theta)
    agree = np.abs((costs - base) / (moved - theta) - steps) <= AGREEMENT * np.abs(steps) + noise
    doubted = np.flatnonzero(np.isfinite(steps) & ~agree)
    h = EPSILON / AGREEMENT**2 * np.maximum(np.abs(base / steps), np.abs(theta))[doubted]
    plus, minus, width = point.quietly().pairs(entries[doubted], np.minimum(h, (moved - theta)[doubted] / 4.0))
    agree[doubted] = np.abs((plus - minus) / width - steps[doubted]) <= AGREEMENT * np.abs(steps[doubted])
    return np.where(agree, steps, np.nan)


def _tried(point: Point, entries: NDArray[np.intp]) -> NDArray[np.float64]:
    """Complex steps, or NaN if the function does not take them: whatever it says to arrays it was not written for."""
    try:
        return _steps(point.quietly(), entries)
    except Exception:
        return np.full(len(entries), np.nan)


def _steps(
    point: Point, entries: NDArray[np.intp], step: float | None = None, times: float = 1.0
) -> NDArray[np.float64]:
    h = STEP * np.maximum(1.0, np.abs(point.theta[entries])) if step is None else np.full(len(entries), step)
    return point.complex_steps(entries, times * h)


def _require_analytic(point: Point, gradient: NDArray[np.float64]) -> None:
    if not len(point.theta):
        return
    expected, slope, bar, size = _along_a_line(point, point.entries, gradient)
    if abs(slope - expected) > bar + LINE_AGREEMENT * size:
        raise ValueError(
            f"method: 'complex' gives {expected:.10g} for the slope of the loss along a line where differences give "
            f"{slope:.10g}: the loss is not analytic (abs, a norm, a comparison, a real part?); use 'direct'"
        )


def _leave_something_out(point: Point, entries: NDArray[np.intp], steps: NDArray[np.float64]) -> bool:
    """Whether a small part of the function is not analytic, such as a penalty: differences of entries hide that."""
    theta, base, direction = point.theta, point.value, _direction(point, entries)
    own = direction[entries]
    expected, size = float(steps @ own), float(np.abs(steps) @ np.abs(own))
    h = (EPSILON / len(entries)) ** 0.5
    most = 4.0 * AGREEMENT * size  # entry by entry they agree to less: the function bends too much, or has a kink
    if most <= NOISES * EPSILON * abs(base) / h:
        return False
    cost = point.cost_beside(theta + h * direction)
    noise = NOISES * EPSILON * max(abs(cost), abs(base)) / h
    if not noise + GLANCE * size < abs((cost - base) / h - expected) <= most:
        return False
    _, slope, bar, _ = _along_a_line(point, entries, steps)
    return bar + LINE_AGREEMENT * size < abs(slope - expected) <= most


def _direction(point: Point, entries: NDArray[np.intp]) -> NDArray[np.float64]:
    """Of a line that moves some entries, each by its size, and no others."""
    direction = np.zeros(len(point.theta))
    direction[entries] = np.random.default_rng(0).choice((-1.0, 1.0), len(entries))
    return direction * np.maximum(1.0, np.abs(point.theta))


def _along_a_line(
    point: Point, entries: NDArray[np.intp], gradient: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """The slope along a line through some entries: as their gradient says, as differences do, and how far they may be
    off; and the sizes of what is added up."""
    theta, direction = point.theta, _direction(point, entries)
    own = direction[entries]
    slopes, noise = [], 0.0
    for h in (PLAIN_STEP / len(entries) ** 0.5, 0.25 * PLAIN_STEP / len(entries) ** 0.5):
        plus, minus = (point.cost_beside(theta + sign * h * direction) for sign in (1.0, -1.0))
        slopes.append((plus - minus) / (2.0 * h))
        noise = NOISES * EPSILON * max(abs(plus), abs(minus)) / h
    bar = 4.0 * abs(slopes[1] - slopes[0]) + noise
    return float(gradient @ own), slopes[1], bar, float(np.abs(gradient) @ np.abs(own))

"""Finds derivatives by complex steps, Im f(p + ih) / h.

Where f is analytic they have no error but rounding, and where it is not they are wrong. Whether f is analytic cannot be
known (abs, comparisons and real parts look like any other function). So complex steps are never trusted by themselves:
differences of real values must agree with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.gradient import EPSILON, PLAIN_STEP, Numerical, Refined, jitter
from gradcheck_fast.numerical.step_ladder import NOISES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.numerical.point import Point

#: The imaginary step, in sizes of the parameter. Truncation is of the order of its square, which is nothing beside 1.
STEP = 1e-20
#: To which part of it the difference to one side must agree with an entry's complex step. If it does not, a central
#: difference is tried, with a step for which rounding is about the square of this part.
AGREEMENT = 1e-3
#: The step of that central difference, and of a second difference along a line: at most this part of the first one.
SMALLER = 0.25
#: To which part of the sizes that are added up the slope along a line must agree: differences are better there.
LINE_AGREEMENT = 1e-8
#: To which part of these sizes the difference of one more cost must agree for a line not to be differenced.
GLANCE = 3e-7
#: The error bar of the slope along a line, in changes from one step to the smaller one.
LINE_CHANGES = 4.0
#: How far the slope along a line may be off, in parts `AGREEMENT` of the sizes that are added up, for a part of the
#: function to have been left out. If it is farther off although all entries agree, the function bends too much, or has
#: a kink on the line.
MOST_LEFT_OUT = 4.0
#: How many entries, the first, show whether a function takes complex arrays.
FEW = 2


def by_complex_steps(point: Point, step: float | None) -> Numerical:
    """Finds the gradient by complex steps.

    Squire and Trapp, Using complex variables to estimate derivatives of real functions, SIAM Review 40, 1998.

    Parameters
    ----------
    point : Point
        The function and the parameters.
    step : float or None
        The imaginary step, h; None if it is to be chosen for each parameter.

    Raises
    ------
    ValueError
        If the function is not a Python function of one set of parameters, or if a central difference along a line
        contradicts the gradient.
    """
    if not point.costs.takes_complex:
        raise ValueError("method: 'complex' needs a Python function of one set of parameters; use 'direct'")
    gradient = _steps(point, point.entries, step)
    _require_analytic(point, gradient)
    quietly = point.quietly()
    again = lambda times: _steps(quietly.moved_to(jitter(point.theta)), point.entries, step, times)
    return Numerical(gradient, "complex", True, step, again, lambda: 0.0)


def confirmed_steps(point: Point) -> NDArray[np.float64]:
    """Finds the derivatives of all entries by complex steps; NaN where differences of real values do not agree.

    All are NaN if none of the first few agrees, or if a part of the function turns out not to be analytic.
    """
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
    """Takes complex steps in place of central differences where they lie within their error bars.

    The bars become wider by what the derivatives have changed.
    """
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
    """Finds complex steps; NaN where differences do not agree. A difference to one side is enough if it agrees."""
    theta, base = point.theta[entries], point.value
    moved = theta + PLAIN_STEP * np.maximum(1.0, np.abs(theta))
    steps, costs = point.steps_and_costs(entries, STEP * np.maximum(1.0, np.abs(theta)), moved)
    noise = NOISES * EPSILON * np.maximum(np.abs(costs), abs(base)) / (moved - theta)
    agree = np.abs((costs - base) / (moved - theta) - steps) <= AGREEMENT * np.abs(steps) + noise
    doubted = np.flatnonzero(np.isfinite(steps) & ~agree)
    h = EPSILON / AGREEMENT**2 * np.maximum(np.abs(base / steps), np.abs(theta))[doubted]
    plus, minus, width = point.quietly().pairs(entries[doubted], np.minimum(h, SMALLER * (moved - theta)[doubted]))
    agree[doubted] = np.abs((plus - minus) / width - steps[doubted]) <= AGREEMENT * np.abs(steps[doubted])
    return np.where(agree, steps, np.nan)


def _tried(point: Point, entries: NDArray[np.intp]) -> NDArray[np.float64]:
    """Finds complex steps; NaN if the function raises anything at all: it may not be written for complex arrays."""
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
    """Raises a ValueError if differences along a line contradict a gradient."""
    if not len(point.theta):
        return
    expected, slope, bar, size = _along_a_line(point, point.entries, gradient)
    if abs(slope - expected) > bar + LINE_AGREEMENT * size:
        raise ValueError(
            f"method: 'complex' gives {expected:.10g} for the slope of the loss along a line where differences give "
            f"{slope:.10g}: the loss is not analytic (abs, a norm, a comparison, a real part?), or has an "
            "imaginary part of its own; use 'direct'"
        )


def _leave_something_out(point: Point, entries: NDArray[np.intp], steps: NDArray[np.float64]) -> bool:
    """Whether a small part of the function is not analytic, such as a penalty, which differences of entries can hide.

    A difference along a line of all entries shows it: there the parts that are left out add up.
    """
    theta, base, direction = point.theta, point.value, _direction(point, entries)
    own = direction[entries]
    expected, size = float(steps @ own), float(np.abs(steps) @ np.abs(own))
    h = (EPSILON / len(entries)) ** 0.5
    most = MOST_LEFT_OUT * AGREEMENT * size
    if most <= NOISES * EPSILON * abs(base) / h:
        return False
    cost = point.cost_beside(theta + h * direction)
    noise = NOISES * EPSILON * max(abs(cost), abs(base)) / h
    if not noise + GLANCE * size < abs((cost - base) / h - expected) <= most:
        return False
    _, slope, bar, _ = _along_a_line(point, entries, steps)
    return bar + LINE_AGREEMENT * size < abs(slope - expected) <= most


def _direction(point: Point, entries: NDArray[np.intp]) -> NDArray[np.float64]:
    """Returns the direction of a line that moves some entries, each by about its size up or down, and no others.

    Entries at the bounds of their domain are not moved. Moved by their very size, whole numbers may cancel.
    """
    direction, random = np.zeros(len(point.theta)), np.random.default_rng(0)
    direction[entries] = random.choice((-1.0, 1.0), len(entries)) * random.uniform(0.75, 1.0, len(entries))
    direction *= np.maximum(1.0, np.abs(point.theta))
    if point.domain is not None:
        direction[~point.domain.has_room(point.theta, PLAIN_STEP * np.abs(direction))] = 0.0
    return direction


def _along_a_line(
    point: Point, entries: NDArray[np.intp], gradient: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Finds the slope along a line that moves some entries.

    Returns the slope as the gradient of the entries says, the slope as differences say, the error bar of the latter,
    and the sizes of what is added up in the former.
    """
    theta, direction = point.theta, _direction(point, entries)
    own = direction[entries]
    slopes, noise = [], 0.0
    for h in (PLAIN_STEP / len(entries) ** 0.5, SMALLER * PLAIN_STEP / len(entries) ** 0.5):
        plus, minus = (point.cost_beside(theta + sign * h * direction) for sign in (1.0, -1.0))
        slopes.append((plus - minus) / (2.0 * h))
        noise = NOISES * EPSILON * max(abs(plus), abs(minus)) / h
    bar = LINE_CHANGES * abs(slopes[1] - slopes[0]) + noise
    return float(gradient @ own), slopes[1], bar, float(np.abs(gradient) @ np.abs(own))

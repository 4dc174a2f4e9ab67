"""Second derivatives of functions of which only values are known, by second differences along pairs of directions.

For directions a and b

    D(h) = (f(x + h(a + b)) - f(x + h(a - b)) - f(x + h(b - a)) + f(x - h(a + b))) / 4h²

is the second derivative along both but for terms of h², which (4 D(h) - D(2h)) / 3 is free of (Richardson). Rounding of
f is divided by h², so that about half of the digits are left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.numerical.errorbars import COST_ROUNDINGS
from gradcheck_fast.numerical.gradient import EPSILON, Closer, Numerical, jitter
from gradcheck_fast.numerical.noise import noise_around
from gradcheck_fast.numerical.steadiest import CHANGES, confirmed_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

#: A function of a flat vector that gives one or several values.
Values: TypeAlias = "Callable[[Reals], Reals]"
#: The step: near ε^(1/6), which balances truncation of the order h⁴ against rounding over h².
STEP = 2.0**-9
#: How many times smaller each smaller step is that is tried for a parameter.
SMALLER = 8.0
#: How many steps are tried for each parameter.
STEPS = 9
#: A step is used only if smaller ones change no more than this part, beyond rounding.
CONFIRMED = 0.3
#: How many steps beside the point the second derivatives to both sides of a kink are found.
BESIDE = 3.0
#: It is a kink if what they differ by stays the same, but for this part, with steps that are `SMALLER` times smaller.
STAYS = 0.1
#: The roundings of eight values in (4 D(h) - D(2h)) / 3, over h².
ROUNDINGS = 1.5


class SecondDifferences:
    """Second differences of a function at a point.

    Parameters
    ----------
    values : callable
        ``values(theta)`` gives one or several values, which each depend on the whole vector, as a vector; it may raise
        where the function is not defined.
    theta : ndarray of float64, shape (size,)
    step : float, optional
        h for every parameter. None: it is chosen for each.
    """

    def __init__(self, values: Values, theta: Reals, step: float | None = None) -> None:
        self._values, self.theta, self._step = values, theta, step
        self.here = self._at(theta)

    @cached_property
    def noise(self) -> float:
        """The size of a rounding of the function, or of its noise if that is more."""
        signs = np.random.default_rng(0).choice((-1.0, 1.0), len(self.here))
        level = noise_around(self.theta, lambda theta: float(signs @ self._at(theta))).level
        # of a function that is 0 nothing tells how large the terms are that cancel in it
        return max(level, EPSILON * float(np.abs(self.here).max(initial=0.0))) or EPSILON

    @cached_property
    def steps(self) -> Reals:
        """The step of each parameter: that for which the second derivative by it is known best."""
        if self._step is not None:
            return np.full(len(self.theta), self._step)
        return np.array([self._best_step(entry) for entry in range(len(self.theta))])

    def _best_step(self, entry: int) -> float:
        """Chooses the step that all smaller ones confirm best; NaN if they confirm none."""
        unit = (np.arange(len(self.theta)) == entry).astype(np.float64)
        steps = STEP * max(1.0, abs(float(self.theta[entry]))) / SMALLER ** np.arange(STEPS)
        values = []
        for h in steps.tolist():
            near, far = self._difference(h * unit, h * unit), self._difference(2.0 * h * unit, 2.0 * h * unit)
            with np.errstate(invalid="ignore", over="ignore"):
                values.append((4.0 * near - 0.25 * far) / (3.0 * h**2))
        noise = np.repeat((ROUNDINGS * COST_ROUNDINGS * self.noise / steps**2)[:, np.newaxis], len(self.here), axis=1)
        errors = confirmed_errors(np.stack(values), noise).max(axis=1)
        errors[~np.isfinite(errors)] = np.inf
        best = int(np.argmin(errors))
        rounding = noise[best].max() + CHANGES * noise[best + 1].max()
        is_confirmed = errors[best] <= rounding + CONFIRMED * np.abs(values[best]).max()
        return float(steps[best]) if is_confirmed else np.nan

    def along(self, first: Reals, second: Reals, tell: Callable[[float], object] | None = None) -> Numerical:
        """Finds the second derivative of all values along pairs of directions.

        Parameters
        ----------
        first, second : ndarray of float64, shape (pairs, size)
            The directions, in units of each parameter; where they are both zero, nothing is moved.
        tell : callable, optional
            Is called with the fraction of the pairs that are done.

        Returns
        -------
        Numerical
            For each pair those of all values: shape (pairs · values,).
        """
        scales = np.stack([self._lengths(first), self._lengths(second)])
        pairs = [*zip(first, second, *scales, strict=True)]

        def found(theta: Reals, times: float, tell: Callable[[float], object] | None = None) -> Reals:
            rows = []
            for a, b, one, other in pairs:
                rows.append(self._along(a, b, times * one, times * other, theta))
                if tell is not None:
                    tell(len(rows) / len(pairs))
            return np.concatenate(rows) if rows else np.empty(0)

        noise = np.repeat(ROUNDINGS * self.noise / EPSILON / (scales[0] * scales[1]), len(self.here))
        gradient = found(self.theta, 1.0, tell)

        def closer(some: NDArray[np.intp], _: Reals) -> Closer:
            low, high = np.zeros(len(some)), np.zeros(len(some))
            for place, entry in enumerate(some.tolist()):
                a, b, one, other = pairs[entry // len(self.here)]
                sides = self._sides(a, b, one, other, entry % len(self.here))
                if sides is not None:
                    low[place], high[place] = (side - gradient[entry] for side in sides)
            return Closer(gradient[some], COST_ROUNDINGS * EPSILON * noise[some], low, high)

        return Numerical(
            gradient, "direct", False, self._step, partial(self._again, found), noise=lambda: noise, closer=closer
        )  # fmt: skip

    def _along(self, a: Reals, b: Reals, one: float, other: float, theta: Reals) -> Reals:
        """Returns the second derivatives along a pair of directions, with steps `one` and `other`; NaN without any."""
        if not np.isfinite(one * other):
            return np.full(len(self.here), np.nan)
        near = self._difference(one * a, other * b, theta)
        far = self._difference(2.0 * one * a, 2.0 * other * b, theta)
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray((4.0 * near - 0.25 * far) / (3.0 * one * other))

    def _sides(self, a: Reals, b: Reals, one: float, other: float, value: int) -> tuple[float, float] | None:
        """Returns the least and the largest second derivative beside the point, if they differ as at a kink."""
        spreads: list[tuple[float, float]] = []
        for h, k in ((one, other), (one / SMALLER, other / SMALLER)):
            moves = [BESIDE * (sign * h * a + turn * k * b) for sign in (1.0, -1.0) for turn in (1.0, -1.0)]
            beside = [self._along(a, b, h, k, self.theta + move)[value] for move in moves if move.any()]
            spreads.append((float(np.min(beside)), float(np.max(beside))))
        (low, high), (nearer_low, nearer_high) = spreads
        spread, noise = high - low, ROUNDINGS * COST_ROUNDINGS * self.noise * SMALLER**2 / (one * other)
        stays = abs(low - nearer_low) + abs(high - nearer_high) <= STAYS * spread + noise
        return (nearer_low - noise, nearer_high + noise) if stays and spread > noise else None

    def _again(self, found: Callable[[Reals, float], Reals], times: float) -> Reals:
        return found(jitter(self.theta), times)

    def _lengths(self, directions: Reals) -> Reals:
        """Returns how long a step along each direction is, so that no parameter is moved by more than its own."""
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = np.where(directions != 0.0, self.steps / np.abs(directions), np.inf)
        lengths = reached.min(axis=1, initial=np.inf)
        return np.where(np.isinf(lengths), STEP, lengths)

    def _difference(self, a: Reals, b: Reals, theta: Reals | None = None) -> Reals:
        """Returns 4h² D for steps h·a and h·b, over 4."""
        at = self.theta if theta is None else theta
        both, other = a + b, a - b
        found = self._at(at + both) + self._at(at - both)
        if other.any():
            middle = self._at(at + other) + self._at(at - other)
        else:
            middle = 2.0 * (self.here if theta is None else self._at(at))
        with np.errstate(invalid="ignore", over="ignore"):
            return 0.25 * (found - middle)

    def _at(self, theta: Reals) -> Reals:
        """Returns the values; NaN where the function raises, which is taken to mean that it is not defined there."""
        try:
            return np.asarray(self._values(theta), np.float64).reshape(-1)
        except MemoryError:
            raise
        except Exception:
            if not hasattr(self, "here"):
                raise
            return np.full(len(self.here), np.nan)

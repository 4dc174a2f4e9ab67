"""Differences some entries of a function with their first steps, and makes the differences better where needed."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.inputs import _norms
from gradcheck_fast.numerical.closer import look_closer
from gradcheck_fast.numerical.gradient import (
    EPSILON,
    PLAIN_STEP,
    SMALLER_STEP,
    Closer,
    Refined,
    plain_steps,
    where_it_exists,
)
from gradcheck_fast.numerical.noise import Noise, noise_around
from gradcheck_fast.numerical.step_ladder import NOISES, QUICK, THOROUGH, Ladder, Level, Start, refine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.numerical.point import Point

#: A central difference is doubted if the slopes to both sides differ from it by more than this part of it: the function
#: then bends too much for the step.
DOUBT = 3e-3
#: Noise, or what values are rounded to multiples of, is mentioned only if it is more than this many roundings of the
#: values: so much does not come from the rounding of a sum.
ROUNDED = 1e3
#: And noise is mentioned only if it is more than this part of the root mean square of the differences of values.
SPOILT = 1e-6
#: A tiny step, in sizes of the parameters, that tells whether values have noise. It is much smaller than those of
#: differences, so that it shows noise that they do not.
GLANCE = 2.0**-34
#: After the tiny step the cost must have changed by what the gradient says, to this part of the sizes of what is added
#: up in that; otherwise its values may have noise.
AGREEMENT = 1e-2
#: The points on the line of the tiny step, in such steps, at which values without noise lie on a straight line. They
#: are some steps off the parameters, where kinks and jumps often are.
ON_LINE = (8, 9, 10)
#: Entries whose differences are zero are moved together, by at least this many of their first steps.
FLAT = 64.0
#: How much farther than that some are moved, at most, as a factor: by moves of the same size their changes could
#: cancel.
UNEVEN = 1.5
#: How many evaluations may be spent on finding the entries that leave the cost as it is, for each entry whose
#: difference is zero. Two more are always made, which is enough if none of them changes the cost.
FEW = 0.25
#: How many times the noise of one value that of an extrapolated one counts: √(3² + 3² + 1), and some more.
EXTRAPOLATED = 5.0


class Central:
    """Central differences of some entries, which can be made better.

    Parameters
    ----------
    point : Point
        The function and the parameters.
    entries : ndarray of int, shape (size,)
        The numbers of the entries.
    step : float or None
        h; None if it is to be chosen for each entry.
    times : float
        A factor by which the step is multiplied.

    Attributes
    ----------
    values : ndarray of float64, shape (2, size)
        The costs at p + h and at p - h; NaN where the function is not defined.
    width : ndarray of float64, shape (size,)
        The distance of the two points.
    gradient : ndarray of float64, shape (size,)
        The difference of the two values over the width.

    Raises
    ------
    ValueError
        If a given step is lost in a parameter.
    Exception
        What the function raises on both sides of an entry, if the step is given.
    """

    def __init__(self, point: Point, entries: NDArray[np.intp], step: float | None, times: float = 1.0) -> None:
        theta, domain = point.theta[entries], None if point.domain is None else point.domain.of(entries)
        plus, minus, width = plain_steps(theta, step, lambda k: point.costs.name(int(entries[k])), times, domain)
        self._points = np.stack([plus, minus])
        self.values = point.moved(entries, self._points)
        self._pairs = where_it_exists(self.values, self._points, width, theta, point.value)
        self.width = self._pairs[2]
        with np.errstate(invalid="ignore", over="ignore"):
            self.gradient: NDArray[np.float64] = (self._pairs[0] - self._pairs[1]) / self.width
        self._entries = entries
        self._point = point.quietly()
        self._noise: Noise | None = None
        lost = ~np.isfinite(self.values).any(axis=0)
        if step is not None:
            self._raise_where(np.flatnonzero(lost))

    def noise(self) -> Noise:
        """Measures, once, how much of the function's values is noise."""
        if self._noise is None:
            self._noise = noise_around(self._point.theta, self._point.cost_beside, self._point.along)
        return self._noise

    def refined(self, some: NDArray[np.intp], enough: NDArray[np.float64] | float = 0.0) -> Refined:
        """Differences some of the entries with the steps that suit them, and finds error bars.

        The bars do not reach over kinks. Bars of the size `enough` need not be narrower.

        Parameters
        ----------
        some : ndarray of int
            Places in `entries`.
        enough : float or ndarray of float64
        """
        if not len(some):
            return Refined(np.empty(0), np.empty(0))
        return self._refine(some, self.noise().level, THOROUGH, enough)

    def flat(self, some: NDArray[np.intp]) -> NDArray[np.float64]:
        """Returns how far the derivatives of entries may be from 0 that change no bit of the cost when they are moved.

        So a unit that is off, or a pixel that is zero, takes hardly more calls than its first difference. The result is
        infinite for entries that change the cost, and for all if its values have more noise than rounding.
        """
        bars = np.full(len(some), np.inf)
        still = (self.values[:, some] == self._point.value).all(axis=0)
        if still.any() and not self.has_noise(self.gradient):
            found = np.flatnonzero(still)[self._stay(some[still])]
            bars[found] = NOISES * EPSILON * abs(self._point.value) / (FLAT * self.width[some[found]])
        return bars

    def closer(self, some: NDArray[np.intp], given: NDArray[np.float64]) -> Closer:
        """Looks more closely at some of the entries, whose derivatives do not seem to be those that are `given`."""
        h, size = 0.5 * (self._points[0] - self._points[1])[some], np.abs(self._point.theta[self._entries[some]])
        # no larger than in proportion to the parameter: the function may change over its size
        h = np.fmin(h / SMALLER_STEP, np.where(size > 0.0, PLAIN_STEP * size, np.inf))
        return look_closer(self._point, self._entries[some], h, self.noise().level, given)

    def has_noise(self, gradient: NDArray[np.float64]) -> bool:
        """Whether the values have more noise than rounding; noise is measured only if a tiny step hints at it.

        Parameters
        ----------
        gradient : ndarray of float64
            The derivatives of all entries of the point.
        """
        if self._noise is None and not self._is_suspicious(gradient):
            return False
        return self.noise().level > NOISES * EPSILON * abs(self._point.value)

    def _is_suspicious(self, gradient: NDArray[np.float64]) -> bool:
        """Whether a tiny step of all parameters does not change the cost as the gradient says."""
        theta, base, line = self._point.theta, self._point.value, self._line()
        known = np.where(np.isfinite(gradient), gradient, 0.0)
        moved = theta + line
        with np.errstate(invalid="ignore", over="ignore"):
            expected, size = float(known @ (moved - theta)), float(np.abs(known) @ np.abs(line))
        cost = self._point.cost_beside(moved)
        allowed = AGREEMENT * size + NOISES * EPSILON * max(abs(cost), abs(base))
        if not isfinite(cost) or allowed > 2.0 * AGREEMENT * size:  # where rounding is most of it, nothing is shown
            return True
        if cost != base and abs(cost - base - expected) <= allowed:
            return False
        # It may be a kink or a jump at the parameters. Beside them it is not seen, and values lie on a straight line;
        # values that are rounded lie on stairs.
        values, apart = self._on(line)
        return apart > allowed or not np.diff(values).all()

    def _line(self) -> NDArray[np.float64]:
        """Returns a tiny step of all parameters."""
        theta = self._point.theta
        signs = np.random.default_rng(0).choice((-1.0, 1.0), len(theta))
        return self._point.along(np.asarray(GLANCE * signs * np.maximum(1.0, np.abs(theta))), float(ON_LINE[-1]))

    def _on(self, line: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Returns the values at a few points beside the parameters, and how far they are from a straight line."""
        values = np.array([self._point.cost_beside(self._point.theta + k * line) for k in ON_LINE])
        with np.errstate(invalid="ignore", over="ignore"):
            return values, float(np.abs(np.diff(values, 2)).max())

    def notes(self) -> tuple[str, ...]:
        """Returns notes on what was noticed of the values, as far as they were looked at."""
        said, noise = [], self._noise or Noise(0.0)
        visible = (
            ROUNDED * EPSILON * np.abs(self.values).max(initial=abs(self._point.value), where=np.isfinite(self.values))
        )
        if noise.quantum > visible:
            said.append(
                f"the values of the loss are rounded, to multiples of {noise.quantum:.2g} or so: differences show "
                "nothing less. Give the loss as it was computed"
            )
        elif noise.level > max(visible, SPOILT * _norms.root_mean_square(self.gradient * self.width)):
            said.append(
                f"the values of the loss have noise of about {noise.level:.2g}, as if something was rounded to less "
                "than float64 on the way, an iteration stopped early, or chance had a part: differences show nothing "
                "less"
            )
        missing = np.argwhere(np.isnan(self.values.T))
        if len(missing):
            k, side = missing[0]
            error = self._point.error_at(int(self._entries[k]), float(self._points[side, k]))
            if error is not None:
                where = f"{self._point.costs.name(int(self._entries[k]))} = {self._points[side, k]:.6g}"
                message, *_ = str(error).split("\n")
                words = f"{type(error).__name__}: {message}".removesuffix(": ")
                said.append(
                    f"the loss raises {words} beside the parameters, such as at {where}. It was taken as not defined "
                    "there: smaller steps were used, or steps to one side"
                )
        return tuple(said)

    def repaired(self) -> NDArray[np.float64]:
        """Returns the differences of all entries, with smaller steps where the function bends much."""
        plus, minus, _ = self._pairs
        with np.errstate(invalid="ignore", over="ignore"):
            bend = np.abs(plus + minus - 2.0 * self._point.value) / self.width
            rounding = NOISES * EPSILON * np.fmax(np.abs(plus), np.abs(minus)) / self.width
            doubted = np.flatnonzero(~(bend <= DOUBT * np.abs(self.gradient) + 2.0 * rounding))
        repaired = self.gradient.copy()
        repaired[doubted] = self._refine(doubted, 0.0, QUICK).derivatives
        return repaired

    def _refine(
        self, some: NDArray[np.intp], noise: float, ladder: Ladder, enough: NDArray[np.float64] | float = 0.0
    ) -> Refined:
        entries = self._entries[some]
        theta = self._point.theta[entries]
        h = 0.5 * (self._points[0] - self._points[1])[some]
        # what is extrapolated has the noise of three values, and their roundings, in place of one
        one_sided = self._point.extrapolates(entries, h)
        level = np.where(one_sided, EXTRAPOLATED * noise + 2.0 * EPSILON * abs(self._point.value), noise)
        first = Level.of(self._pairs[:, some], theta, level)
        scale = np.full(len(some), _norms.root_mean_square(self.gradient[some]))
        found = refine(self._point.pairs, entries, Start(theta, h, first, scale, level), ladder, enough)
        self._raise_where(some[~np.isfinite(found.derivatives)])
        return found

    def _raise_where(self, some: NDArray[np.intp]) -> None:
        """Raises what the function raises on both sides of one of some entries."""
        for k in some.tolist():
            if not np.isfinite(self.values[:, k]).any():
                error = self._point.error_at(int(self._entries[k]), float(self._points[0, k]))
                if error is not None:
                    raise error

    def _stay(self, some: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Finds entries that leave every bit of the cost as it is when they are moved together, and farther.

        Groups that change the cost are halved, as long as there are evaluations to spend.
        """
        base = self._point.value
        direction = 0.5 * FLAT * self.width[some] * np.random.default_rng(0).uniform(1.0, UNEVEN, len(some))
        flat = np.zeros(len(some), np.bool_)
        groups, budget = [np.arange(len(some))], FEW * len(some) + 2.0
        while groups and budget > 0.0:
            group = groups.pop()
            moved = np.zeros(len(self._point.theta))
            moved[self._entries[some[group]]] = direction[group]
            places = (self._point.inside(self._point.theta + sign * moved) for sign in (1.0, -1.0))
            costs = [self._point.cost_beside(place) for place in places]
            budget -= 2.0
            if costs == [base, base]:
                flat[group] = True
            elif len(group) > 1:
                groups += [group[: len(group) // 2], group[len(group) // 2 :]]
        return flat

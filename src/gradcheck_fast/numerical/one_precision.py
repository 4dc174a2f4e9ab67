"""Differences functions that compute in one coarse precision only: float32, float16, bfloat16, float8.

Steps go from about the cube root of a rounding, where noise and truncation of a single difference would be balanced, to
twice the size of what is moved, and farther where that helps. `one_precision_fit` finds a derivative from all of them.
Where its error bar is too wide to say whether a given number is right, more steps are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.numerical.one_precision_fit import Samples, fit, fit_kinks, typical_noise
from gradcheck_fast.numerical.one_precision_line import Line, Means, Roundings, Sample, roughness
from gradcheck_fast.numerical.one_precision_search import Wanted, compare_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.numerical.one_precision_line import Slopes

#: How many steps are taken first, and how many more in each round that follows.
FIRST_STEPS, MORE_STEPS = 8, 8
#: How often more steps are taken, at most.
ROUNDS = 2
#: The largest of the first steps, in sizes of what is moved.
LARGEST = 2.0
#: An entry that is smaller than this part of its array is also moved in proportion to itself.
SMALL = 0.1
#: Parameters that are smaller than this part of their array are moved as if they were of that size.
LEAST = 1e-3
#: A number that differs by more than this part of the error bar is looked at with more steps.
DOUBT = 0.4
#: An error bar of this part of what is too wide is narrow enough for means along a line not to be needed, for an entry,
#: or for the least that is looked for, a small part of what is typical.
CLEAR = 0.3
#: A bar of the first part of what is too wide is to be made narrower if it can be made narrower than the second, for
#: entries of at least this part of what is typical.
NEEDED, NARROW, ORDINARY = 0.6, 0.85, 0.5
#: A number that is off by no more than this many tolerances is wrong only if means along a line say so, too.
MARGINAL = 2.0
#: So is one where the given derivatives are not smooth within the steps, by more than this part of how far it is off.
ROUGH = 0.15
#: Noise of more than this many roundings may be kinks within all steps: then smaller ones are taken, how many, and from
#: which part to which of the smallest.
NOISY, SMALLER_STEPS, SMALLER = 8.0, 6, (1.0 / 64.0, 0.5)
#: If more than this share of the entries then seems wrong, it is no kinks, but the stairs of a table or the like.
MOST_BEYOND = 0.25
#: By which factor the range of steps is extended, where the best ones are at its end.
WIDER = 16.0


class OnePrecision(NamedTuple):
    """Derivatives of a function of one precision; arrays of shape (size,).

    Attributes
    ----------
    derivatives, bars : ndarray of float64
        The derivatives and their error bars; infinite bars where nothing is known.
    low, high : ndarray of float64
        As in `Kinks`: the least and the largest of the slopes at a kink, minus the derivative; both 0 without one. They
        are infinite where it cannot be told whether there is one.
    steepest : ndarray of float64
        The largest size of a mean slope that was seen between two points.
    rounding : ndarray of float64
        How far rounding may have moved the number that is compared, besides; 0 where the bar has that already.
    """

    derivatives: NDArray[np.float64]
    bars: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    steepest: NDArray[np.float64]
    rounding: NDArray[np.float64]


class Given(NamedTuple):
    """What is to be compared with the derivatives; arrays of shape (size,).

    Attributes
    ----------
    numbers : ndarray of float64
        The gradient that is checked.
    rounding : ndarray of float64
        How far rounding may have moved it.
    steady : ndarray of float64
        The part of that which is the same wherever it is found.
    wide : float
        An error bar that is more than this part of an entry, and of what is typical of its array, is too wide.
    lost : float
        A slope of this size may be missing from what differences show, as intermediate values are rounded.
    hidden : float
        A change of the function by no more than this may not show at all, as all outputs are rounded.
    """

    numbers: NDArray[np.float64]
    rounding: NDArray[np.float64]
    steady: NDArray[np.float64]
    wide: float
    lost: float
    hidden: float = 0.0


def first_steps(theta: NDArray[np.float64], size: float, unit_roundoff: float) -> NDArray[np.float64]:
    """Chooses the first steps of some entries of an array, in ascending order.

    Parameters
    ----------
    theta : ndarray of float64, shape (entries,)
    size : float
        The root mean square of the array.
    unit_roundoff : float
        The relative size of a rounding.

    Returns
    -------
    ndarray of float64, shape (entries, FIRST_STEPS)
    """
    size = size or 1.0
    own = np.abs(theta)
    least = np.where(own < SMALL * size, np.maximum(own, LEAST * size), np.maximum(own, size))
    return np.asarray(
        np.geomspace(0.5 * np.cbrt(unit_roundoff) * least, LARGEST * np.maximum(own, size), FIRST_STEPS, axis=-1)
    )


def differentiate(
    sample: Sample, steps: NDArray[np.float64], given: Given, slopes: Slopes | None = None
) -> OnePrecision:
    """Finds derivatives of the entries of one array, as well as is needed to judge the given numbers.

    Parameters
    ----------
    sample : callable
    steps : ndarray of float64, shape (size, steps)
        The first steps of each entry.
    given : Given
    slopes : callable, optional
        Gives the given derivatives at other places; see `one_precision_line`.
    """
    every, here = np.arange(len(steps)), np.zeros(len(steps))
    samples = sample(every, steps, here)
    found = _look(samples, given.numbers)
    if found.noise > NOISY:
        smaller = steps[:, :1] * np.geomspace(*SMALLER, SMALLER_STEPS)
        more = samples.with_more(every, sample(every, smaller, here))
        closer = _look(more, given.numbers)
        if closer.fits(given, found):
            samples, found = more, closer
    for k in range(ROUNDS):
        farther = found.is_unsure(given) & found.is_at_top(samples)
        some = np.flatnonzero(found.is_doubtful(given) | farther)
        if not len(some):
            break
        more = sample(some, _more_steps(samples.h[some], found.steps[some], k), here[some])
        samples = samples.with_more(some, more)
        found = _look(samples, given.numbers)
    if slopes is not None:
        found = found.with_stairs(samples, given)
    some = np.flatnonzero(found.is_unsure(given))
    means, rough = Means.unknown(len(steps)), np.zeros(len(steps))
    if slopes is not None and len(some):
        longest = np.fmax(steps[:, -1], found.steps)[some]
        roundings = Roundings(found.noise, given.rounding, given.steady, _stair(samples)).of(some)
        seen = compare_means(Line(sample, slopes).of(some), roundings, longest, found.wanted(given).of(some))
        means.take(some, seen, np.ones(len(some), np.bool_))
        beyond = some[found.is_beyond(given)[some]]
        if len(beyond):
            rough[beyond] = roughness(Line(sample, slopes), beyond, found.steps[beyond])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean_slopes = np.abs(0.5 * samples.odd / samples.h)
    steepest = np.max(np.where(np.isfinite(mean_slopes), mean_slopes, 0.0), axis=1, initial=0.0)
    judged = found.judged(given, means, rough, steepest)
    return judged._replace(bars=np.where(_is_hidden(samples, given), np.inf, judged.bars))


def _stair(samples: Samples) -> NDArray[np.float64]:
    """Gives the least change to one side of each entry, that is not zero; 0 if there is none."""
    to_each_side = samples.even + samples.odd, samples.even - samples.odd
    changes = 0.5 * np.abs(np.concatenate(to_each_side, axis=1))
    least = np.where(changes > 0.0, changes, np.inf).min(axis=1)
    return np.asarray(np.where(np.isfinite(least), least, 0.0))


def _is_hidden(samples: Samples, given: Given) -> NDArray[np.bool_]:
    """Whether nothing changes with any step, and what is given would change no more than rounding hides."""
    known = np.isfinite(samples.odd)
    flat = ~(known & ((samples.odd != 0.0) | (samples.even != 0.0))).any(axis=1)
    farthest = np.where(known, samples.h, 0.0).max(axis=1, initial=0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        change = 2.0 * farthest * np.abs(given.numbers)
    return np.asarray(flat & (change > 0.0) & (change <= given.hidden))


class _Look(NamedTuple):
    """What is known of some entries.

    `jumps` are differences of slopes at kinks, with bars of their own.
    """

    derivatives: NDArray[np.float64]
    bars: NDArray[np.float64]
    steps: NDArray[np.float64]
    jumps: NDArray[np.float64]
    jump_bars: NDArray[np.float64]
    noise: float

    def with_stairs(self, samples: Samples, given: Given) -> _Look:
        """Leaves it open whether there are kinks where a function may have stairs.

        It has, or is constant, where the best steps change nothing at all while larger ones do: it looks up a table, or
        computes with fewer digits than it gives. And so may 1 + z with a small z, as it is rounded; treads may slope
        then. What a derivative should be is the slope of the stairs as a whole, which small steps do not show.
        """
        changes = np.isfinite(samples.odd) & ((samples.odd != 0.0) | (samples.even != 0.0))
        with np.errstate(invalid="ignore"):
            used = samples.h <= self.steps[:, None]
            stairs = ~(changes & used).any(axis=1) & changes.any(axis=1)
            may_be = stairs | (changes.any(axis=1) & (np.abs(given.numbers - self.derivatives) <= given.lost))
        return self._replace(jump_bars=np.where(may_be, np.inf, self.jump_bars))

    def size(self, least: float) -> NDArray[np.float64]:
        """The size of each derivative, or a part of what is typical if that is larger."""
        known = self.derivatives[np.isfinite(self.derivatives)]
        return np.fmax(np.abs(self.derivatives), least * root_mean_square(known))

    def is_doubtful(self, given: Given) -> NDArray[np.bool_]:
        """Whether more steps are wanted: a number is not where it should be, or little is known of it."""
        with np.errstate(invalid="ignore"):
            off = np.abs(given.numbers - self.derivatives)
            doubtful = (off > DOUBT * self.bars + given.rounding) | ~(self.bars <= given.wide * self.size(1.0))
        return np.asarray(doubtful & np.isfinite(given.numbers) & (self.bars > 0.0))

    def is_at_top(self, samples: Samples) -> NDArray[np.bool_]:
        """Whether the largest step gave the best derivative: still larger ones have less noise, and may be no worse."""
        return np.asarray(self.steps >= np.nanmax(np.where(np.isnan(samples.h), 0.0, samples.h), axis=1))

    def is_unsure(self, given: Given) -> NDArray[np.bool_]:
        """Whether a number is not where it should be, or an error of a small part of it would not be seen."""
        with np.errstate(invalid="ignore"):
            off = np.abs(given.numbers - self.derivatives)
            unsure = (off > self.bars + given.rounding) | ~(self.bars <= CLEAR * given.wide * self.size(SMALL))
            unsure |= ~(self.bars + given.rounding <= NEEDED * given.wide * self.size(ORDINARY))
        return np.asarray(unsure & np.isfinite(given.numbers) & (self.bars > 0.0))

    def fits(self, given: Given, other: _Look) -> bool:
        """Whether most numbers are where they should be, and no more are in doubt than in another look."""
        with np.errstate(invalid="ignore"):
            beyond = np.abs(given.numbers - self.derivatives) > self.bars + given.rounding
        return bool(beyond.mean() <= MOST_BEYOND and self.is_unsure(given).sum() <= other.is_unsure(given).sum())

    def wanted(self, given: Given) -> Wanted:
        """How narrow the bars of means are to be: an error of a small part, or what seems to be one, is to be seen."""
        off = np.abs(given.numbers - self.derivatives)
        enough = CLEAR * given.wide * self.size(SMALL)
        enough = np.where(off > self.bars + given.rounding, np.fmin(enough, CLEAR * off), enough)
        seen = given.wide * self.size(ORDINARY)
        return Wanted(enough, NEEDED * seen, NARROW * seen)

    def is_beyond(self, given: Given) -> NDArray[np.bool_]:
        """Whether a number is farther away than bars and rounding explain."""
        with np.errstate(invalid="ignore"):
            return np.asarray(~(np.abs(given.numbers - self.derivatives) <= self.bars + given.rounding))

    def judged(
        self, given: Given, means: Means, rough: NDArray[np.float64], steepest: NDArray[np.float64]
    ) -> OnePrecision:
        """Decides what is known of each entry, from the fit of its differences and from the means on its line.

        A number that differs may be one of the slopes at a kink, or lie between them. If differences show no kink, and
        none can be there of the size that would explain it, it is wrong. If one can, or if the given derivatives are
        rough within the steps, means decide: they are those of a right derivative wherever kinks are. Means also show
        smaller errors than the fit, as they have no truncation.
        """
        errors, tolerance = given.numbers - self.derivatives, self.bars + given.rounding
        beyond = self.is_beyond(given)
        with np.errstate(invalid="ignore"):
            off = np.abs(errors)
            half = 0.5 * (np.abs(self.jumps) + self.jump_bars)
            half = np.where(np.isfinite(half), half, np.inf)
            may_be_kink = (off <= tolerance + half) | (off <= MARGINAL * tolerance) | (rough > ROUGH * off)
            may_be_kink = beyond & (may_be_kink | ~np.isfinite(off))
            agrees = np.abs(means.errors) <= means.bars
            clear = means.bars <= 0.5 * off
            same_sign = means.errors * errors > 0.0
            same = (np.abs(means.errors - errors) <= tolerance + means.bars) & same_sign
        derivatives, bars = self.derivatives.copy(), self.bars.copy()
        better = np.isfinite(means.errors) & np.where(beyond, may_be_kink & ~agrees, agrees | same)
        better &= means.bars < tolerance
        marginal = beyond & (off <= MARGINAL * tolerance)
        better |= marginal & agrees & (means.bars <= CLEAR * given.wide * self.size(1.0))
        derivatives[better] = (given.numbers - means.errors)[better]
        bars[better], rounding = means.bars[better], np.where(better, 0.0, given.rounding)
        confirmed = may_be_kink & ~agrees & same_sign & (np.abs(means.errors) > 0.5 * off)
        kink = may_be_kink & agrees & clear
        is_kink = np.abs(self.jumps) > self.jump_bars
        reach = np.where(kink | (may_be_kink & is_kink & np.isnan(means.errors)), np.fmax(off, half), np.inf)
        reach = np.where(may_be_kink & ~better & ~confirmed, reach, 0.0)
        with np.errstate(invalid="ignore"):
            is_lost = (np.abs(given.numbers) <= given.lost) & (np.abs(self.derivatives) <= given.lost) & beyond
        reach = np.where(is_lost & np.isinf(self.jump_bars), given.lost, reach)
        return OnePrecision(derivatives, bars, -reach, reach, steepest, rounding)


def _look(samples: Samples, given: NDArray[np.float64]) -> _Look:
    """Fits all entries; kinks are looked for where the given numbers differ."""
    noise = typical_noise(samples)
    fitted = fit(samples, noise)
    jumps, jump_bars = np.zeros(len(given)), np.zeros(len(given))
    with np.errstate(invalid="ignore"):
        some = np.flatnonzero(~(np.abs(given - fitted.derivatives) <= fitted.bars))
    if len(some):
        kinks = fit_kinks(samples.some(some), noise)
        jumps[some], jump_bars[some] = kinks.derivatives, kinks.bars
    return _Look(fitted.derivatives, fitted.bars, fitted.steps, jumps, jump_bars, noise)


def _more_steps(known: NDArray[np.float64], best: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Chooses more steps for some entries: around the best ones, and beyond the ends of the range if these lie there.

    Parameters
    ----------
    known : ndarray of float64, shape (entries, steps)
        The steps that were taken, in ascending order.
    best : ndarray of float64, shape (entries,)
        The largest of the steps that gave the best derivative; NaN if none did.
    number : int
        The number of the round: each has other steps.

    Returns
    -------
    ndarray of float64, shape (entries, MORE_STEPS)
    """
    least, most = np.nanmin(known, axis=1), np.nanmax(known, axis=1)
    at_top = best >= most
    at_bottom = ~(best > least * WIDER**0.5)
    low = np.where(at_bottom, least / WIDER, 0.25 * np.where(at_top, most, best))
    high = np.where(at_bottom, np.where(np.isnan(best), least, best), np.where(at_top, WIDER * most, 1.3 * best))
    places = (np.arange(MORE_STEPS) + (0.31 + 0.618 * number) % 1.0) / MORE_STEPS
    return np.asarray(low[:, None] * (high / low)[:, None] ** places)

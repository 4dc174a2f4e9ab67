"""Derivatives from differences of a function whose values are rounded to few digits, with many steps at once.

With points at x + h and x - h, the odd half of a function is ``(f(x + h) - f(x - h)) / 2 = f' h + f''' h³ / 6 + …``. It
is measured with N steps, and every measurement has noise of the same size: that of two rounded values. So f' is found
by least squares, with one to three odd powers of h, from all steps up to one of them. The sum of the squared residuals
is the noise, measured; at least, it is the rounding of the values. The largest step and the number of powers are chosen
so that the error bar is the least. A bar is made of noise and of what the derivative changes by when one more power is
fitted, or when only smaller steps are used: that is truncation (as in Richardson's extrapolation; the choice among
windows is that of Lepski, Theory of Probability and its Applications 35, 1990).

The even half, ``f(x + h) + f(x - h) - 2 f(x) = J h + f'' h² + …``, shows a kink at x: J is the difference of the slopes
to its two sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: How many standard deviations of noise an error bar has.
DEVIATIONS = 4.0
#: How many times what one more power, or one more step, changes is added to an error bar: by chance it may be little.
CHANGES = 2.0
#: How many odd powers of h are fitted, at most. One more is fitted to see what it changes.
POWERS = 3
#: The share of the entries whose noise, over the rounding of their values, is no more than what is taken for typical.
TYPICAL = 0.75
#: Steps tell powers apart if the least eigenvalue of the normal equations is more than this part of the largest.
SINGULAR = 1e-12
#: The residuals of this many degrees of freedom, or more, tell what noise is typical.
FREEDOM = 3


class Samples(NamedTuple):
    """Differences of some entries, with steps in ascending order; NaN where a step is missing. Shapes (entries, steps).

    Attributes
    ----------
    h : ndarray of float64
        Half of the distance of the two points.
    odd : ndarray of float64
        f(x + h) - f(x - h).
    even : ndarray of float64
        f(x + h) + f(x - h) - 2 f(x).
    floor : ndarray of float64
        The standard deviation that rounding to the nearest gives each of the values, at least.
    independent : ndarray of float64
        How many of the steps that were taken together have roundings of their own. It is less than their number where
        outputs stay on one stair, for there they keep theirs.
    """

    h: NDArray[np.float64]
    odd: NDArray[np.float64]
    even: NDArray[np.float64]
    floor: NDArray[np.float64]
    independent: NDArray[np.float64]

    def some(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Samples:
        """Picks some entries."""
        return Samples(*(array[which] for array in self))

    def with_more(self, some: NDArray[np.intp], more: Samples) -> Samples:
        """Adds steps of some entries, and sorts all. A step that was there already adds nothing and is left out."""
        arrays = []
        for own, new in zip(self, more, strict=True):
            padded = np.full((len(own), new.shape[1]), np.nan)
            padded[some] = new
            arrays.append(np.concatenate([own, padded], axis=1))
        order = np.argsort(arrays[0], axis=1, kind="stable")  # NaN comes last
        h, *rest = (np.take_along_axis(array, order, axis=1) for array in arrays)
        h[:, 1:][h[:, 1:] == h[:, :-1]] = np.nan
        return Samples(h, *rest)


class Fitted(NamedTuple):
    """What differences show of some entries; arrays of shape (entries,).

    Attributes
    ----------
    derivatives, bars : ndarray of float64
        The derivatives and their error bars; infinite bars where nothing is known.
    deviations : ndarray of float64
        The part of the bars that is one standard deviation of noise.
    steps : ndarray of float64
        The largest step of those that the derivative was found with.
    """

    derivatives: NDArray[np.float64]
    bars: NDArray[np.float64]
    deviations: NDArray[np.float64]
    steps: NDArray[np.float64]


class Windows(NamedTuple):
    """Estimates with all steps up to each one (the last axis) and with one more power each (the axis before)."""

    estimates: NDArray[np.float64]
    deviations: NDArray[np.float64]


def typical_noise(samples: Samples) -> float:
    """Finds what noise is typical of some entries, as a multiple of the rounding of their values; at least 1.

    For each entry that is the least that the residuals of a window show.
    """
    least = np.full(len(samples.h), np.inf)
    for _, freedom, _, _, squares, floor in _windows(samples.h, samples.odd, samples.floor, _odd_powers(POWERS + 1)):
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = squares / freedom / floor**2
        np.fmin(least, np.where((freedom >= FREEDOM) & (floor > 0.0), ratio, np.inf), out=least)
    known = least[np.isfinite(least)]
    return max(1.0, float(np.sqrt(np.quantile(known, TYPICAL)))) if len(known) else 1.0


def fit(samples: Samples, noise: float) -> Fitted:
    """Finds derivatives with error bars.

    Parameters
    ----------
    samples : Samples
    noise : float
        What noise is typical, as `typical_noise` gives it.
    """
    found = [_fit(samples.h, samples.odd, samples.floor, noise, _odd_powers(q)) for q in range(1, POWERS + 2)]
    return _best(Windows(*(np.stack(arrays, axis=1) for arrays in zip(*found, strict=True))), samples.h)


def fit_kinks(samples: Samples, noise: float) -> Fitted:
    """Finds by how much the slope to the right exceeds that to the left, with error bars."""
    found = [
        _fit(samples.h, samples.even, samples.floor, noise, powers, slope=1)
        for powers in ((0, 1, 2), (0, 1, 2, 4), (0, 1, 2, 4, 6))
    ]
    return _best(Windows(*(np.stack(arrays, axis=1) for arrays in zip(*found, strict=True))), samples.h, half=1.0)


def _odd_powers(count: int) -> tuple[int, ...]:
    return tuple(range(1, 2 * count, 2))


def _windows(
    h: NDArray[np.float64], values: NDArray[np.float64], floor: NDArray[np.float64], powers: tuple[int, ...]
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64],
                    NDArray[np.float64]]]:  # fmt: skip
    """Fits powers of h to values over √2, whose noise is then that of one value, with all steps up to each.

    Yields the number of the last step, the degrees of freedom, the coefficients in units of that step, the matrix of
    their covariances over the variance of the noise, the sum of the squared residuals, and the largest floor.
    """
    known = np.isfinite(values) & np.isfinite(h)
    y = np.where(known, values, 0.0) / np.sqrt(2.0)
    floors = np.fmax.accumulate(np.where(known, floor, 0.0), axis=1)
    # of a constant it is known that it is the rounding of one value: that is one more measurement of it
    prior = np.diag([0.5 if p == 0 else 0.0 for p in powers])
    for j in range(h.shape[1]):
        last = np.where(known[:, j], h[:, j], np.nan)
        with np.errstate(invalid="ignore"):
            z = np.where(known[:, : j + 1], h[:, : j + 1] / last[:, None], 0.0)
        terms = np.stack([z**p for p in powers], axis=-1) * known[:, : j + 1, None]
        count = known[:, : j + 1].sum(axis=1)
        fits = known[:, j] & (count >= len(powers) - (0 in powers))
        gram = np.where(fits[:, None, None], np.swapaxes(terms, 1, 2) @ terms + prior, np.eye(len(powers)))
        sizes, vectors = np.linalg.eigh(gram)
        fits &= sizes[:, 0] > SINGULAR * sizes[:, -1]
        sizes = np.where(fits[:, None], sizes, 1.0)
        covariance = (vectors / sizes[:, None, :]) @ np.swapaxes(vectors, 1, 2)
        own = np.where(fits[:, None], y[:, : j + 1], np.nan)
        beta = (covariance @ (np.swapaxes(terms, 1, 2) @ own[:, :, None]))[:, :, 0]
        residuals = own - (terms @ beta[:, :, None])[:, :, 0]
        squares = np.sum(np.where(known[:, : j + 1], residuals, 0.0) ** 2, axis=1)
        freedom = np.where(fits, count - len(powers) + (0 in powers), 0).astype(np.float64)
        yield j, freedom, beta, covariance, np.where(fits, squares, np.nan), floors[:, j]


def _fit(
    h: NDArray[np.float64], values: NDArray[np.float64], floor: NDArray[np.float64], noise: float,
    powers: tuple[int, ...], slope: int = 0,
) -> Windows:  # fmt: skip
    """Finds the coefficient of the power number `slope` with its standard deviation, with all steps up to each."""
    estimates, deviations = np.full(h.shape, np.nan), np.full(h.shape, np.inf)
    for j, freedom, beta, covariance, squares, floors in _windows(h, values, floor, powers):
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            measured = np.where(freedom > 0.0, squares / np.maximum(freedom, 1.0), 0.0)
            sigma = np.sqrt(np.maximum(measured, (noise * floors) ** 2))
            scale = np.sqrt(2.0) / h[:, j]
            estimates[:, j] = scale * beta[:, slope]
            deviations[:, j] = np.where(
                np.isfinite(estimates[:, j]), scale * sigma * np.sqrt(np.abs(covariance[:, slope, slope])), np.inf
            )
    return Windows(estimates, deviations)


def _best(windows: Windows, h: NDArray[np.float64], half: float = 0.5) -> Fitted:
    """Chooses for each entry the window and the number of powers with the least bar. `half` is 1/2 for odd halves."""
    estimates, deviations = half * windows.estimates, half * windows.deviations
    noise = DEVIATIONS * deviations
    with np.errstate(invalid="ignore", over="ignore"):
        change = np.abs(np.diff(estimates, axis=1))
        before = np.abs(np.diff(estimates[:, :-1], axis=2, prepend=np.nan))
        change = np.where(np.isfinite(change), np.fmax(change, before), np.inf)
        bars = noise[:, :-1] + CHANGES * change
        smaller_low = np.fmax.accumulate(np.fmax.reduce(estimates - noise, axis=1), axis=1)
        smaller_high = np.fmin.accumulate(np.fmin.reduce(estimates + noise, axis=1), axis=1)
        beyond = np.fmax(smaller_low[:, None] - estimates[:, :-1], estimates[:, :-1] - smaller_high[:, None])
        bars = bars + np.fmax(beyond - noise[:, :-1], 0.0)
    bars = np.where(np.isnan(bars), np.inf, bars)
    count = len(h)
    flat = bars.reshape(count, -1)
    best = np.argmin(flat, axis=1)
    rows = np.arange(count)

    def pick(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(array.reshape(count, -1)[rows, best])

    steps = np.broadcast_to(h[:, None, :], bars.shape)
    found = pick(estimates[:, :-1])
    known = np.isfinite(flat[rows, best])
    return Fitted(
        np.where(known, found, np.nan), np.where(known, flat[rows, best], np.inf), pick(deviations[:, :-1]),
        np.where(known, pick(steps), np.nan),
    )  # fmt: skip

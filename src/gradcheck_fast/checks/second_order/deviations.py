"""Second derivatives that boosting libraries change on purpose, and how to recognise them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.numerical.gradient import Numerical, Refined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

#: What is below this part of a constant that stands for zero is zero.
ZERO = 1e-6
#: A lower bound is no more than this part of the largest second derivative.
SMALL = 0.1
#: Constants are the same to this part, as those of float32 are.
ALIKE = 1e-6


class Deviation(NamedTuple):
    """A change of second derivatives that is made on purpose.

    Attributes
    ----------
    said : str
        What is changed, and who does so.
    change : callable
        ``change(values, places)`` changes second derivatives, given with their numbers.
    slope : float
        The largest factor by which an error of theirs grows.
    """

    said: str
    change: Callable[[Reals, NDArray[np.intp]], Reals]
    slope: float = 1.0

    def of(self, numerical: Numerical) -> Numerical:
        """Returns the numerical second derivatives, changed."""
        every, again, refine = np.arange(len(numerical.gradient)), numerical.again, numerical.refine

        def better(some: NDArray[np.intp], enough: Reals) -> Refined:
            assert refine is not None
            found = refine(some, enough / self.slope)
            return Refined(self.change(found.derivatives, some), self.slope * found.bars)

        return numerical._replace(
            gradient=self.change(numerical.gradient, every),
            again=None if again is None else lambda times: self.change(again(times), every),
            noise=lambda: self.slope * numerical.noise(),
            roundings=lambda: self.slope * numerical.roundings(),
            refine=None if refine is None else better,
            kinks=None,
        )


def deviations(given: Reals, numerical: Reals, classes: int, weights: Reals) -> Iterator[Deviation]:
    """Yields what libraries change on purpose in second derivatives, as far as it may have been done here.

    Parameters
    ----------
    given : ndarray of float64, shape (size,)
        Those that an objective gives.
    numerical : ndarray of float64, shape (size,)
        Those that were found.
    classes : int
        How many predictions there are for each row.
    weights : ndarray of float64, shape (size,)
        The weights of the rows.
    """
    yield from _constants(given, numerical, weights)
    factors: list[tuple[str, float]] = [("", 1.0)]
    if classes > 1:
        ratio = classes / (classes - 1)
        said = f"K / (K - 1) = {ratio:.4g} times the second derivatives, as LightGBM's for K = {classes} classes"
        twice = "twice the second derivatives, as XGBoost's for several classes, 2 p (1 - p)"
        factors += [(twice, 2.0)]
        factors += [(said, ratio)] if ratio != 2.0 else []
    for said, factor in factors:
        if factor != 1.0:
            yield Deviation(f"hess is {said}", _scaled(factor), factor)
        low = float(given.min(initial=np.inf))
        below = factor * numerical < low
        is_small = low <= SMALL * np.abs(numerical).max(initial=0.0)
        if _is_bound(low) and is_small and below.any() and (given[below] <= low).all():
            clipped = f"hess is {said or 'the second derivatives'}, and no less than {low:.4g}"
            yield Deviation(clipped, _no_less(factor, low), factor)
    if (numerical < 0.0).any() and not (given < 0.0).any():
        yield Deviation("hess is the absolute value of the second derivatives", lambda values, _: np.abs(values))
        positive = "hess is the second derivatives where these are positive, and 0 elsewhere"
        yield Deviation(positive, lambda values, _: np.maximum(values, 0.0))


def _is_bound(low: float) -> bool:
    """Whether a number may be a lower bound that somebody has written: it has no more than two digits."""
    return 0.0 < low < np.inf and abs(float(f"{low:.1e}") - low) <= ALIKE * low


def _constants(given: Reals, numerical: Reals, weights: Reals) -> Iterator[Deviation]:
    """Yields that a constant, times the weights, stands where the second derivatives are zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = given / weights
    zero = np.abs(numerical) <= ZERO * np.abs(given)
    if not zero.any() or not np.isfinite(ratio[zero]).all():
        return
    constant = float(np.median(ratio[zero]))
    if constant <= 0.0:
        return
    if not zero.all() and abs(constant - 1.0) > ALIKE:  # any wrong entry may stand where one is zero
        return
    times = "" if (weights == 1.0).all() else " times the weight of the row"
    where = "" if zero.all() else " where the second derivative is 0"

    def changed(values: Reals, places: NDArray[np.intp]) -> Reals:
        return np.where(zero[places], constant * weights[places], values)

    yield Deviation(
        f"hess is {constant:.6g}{times}{where}, as LightGBM and XGBoost have it for absolute errors and quantiles, "
        "whose second derivative is 0",
        changed,
    )


def _scaled(factor: float) -> Callable[[Reals, NDArray[np.intp]], Reals]:
    return lambda values, _: factor * values


def _no_less(factor: float, low: float) -> Callable[[Reals, NDArray[np.intp]], Reals]:
    return lambda values, _: np.maximum(factor * values, low)

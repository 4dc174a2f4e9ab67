"""Central differences as numbers: what was found, with which step, and what else can be asked about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EPSILON = float(np.finfo(np.float64).eps)
#: The default h of plain arithmetic, for parameters up to 1 in size.
PLAIN_STEP = float(np.cbrt(EPSILON))
#: The default h of difference arithmetic: truncation is then below rounding, for nothing is lost to cancellation. Where
#: a value lies exactly on a jump of the curvature (elu, softsign, Huber) truncation is of the order of h, not h².
EXACT_STEP = 2.0**-40
#: The steps to try: a network that multiplies differences by very much may overflow with the first.
EXACT_STEPS = (EXACT_STEP, 2.0**-70, 2.0**-130)
#: By how much of its size a parameter is moved to see what rounding does: more than the roundings of a sum.
JITTER = 12.0 * EPSILON
#: The same for what a coarser dtype rounds, that of float32: it shows in plain differences.
COARSE_JITTER = 12.0 * float(np.finfo(np.float32).eps)
#: The second step, in first steps: no power of two, or nothing would be rounded differently; and so large that what
#: changes is more than the truncation of the first, be that of the order of h or h².
SECOND_STEP = 3.0
#: Steps beyond these would make h² or 2h under- or overflow.
SMALLEST_STEP, LARGEST_STEP = 1e-150, 1e150
#: In plain arithmetic a kink is where the slopes to both sides differ by more than this part of them, and than so many
#: roundings of the cost; and with a step so many times smaller are the same, up to a part of their difference.
KINK, KINK_ROUNDINGS, SMALLER_STEP, SAME_SLOPES = 1e-3, 64.0, 16.0, 0.1


class Kinks(NamedTuple):
    """What kinks leave open: where a value lies on one, the cost has several slopes, and back-propagation takes one.

    Attributes
    ----------
    crossed : int
        How many values lie on different sides of a kink for +h and for -h, over all perturbations and samples.
    low, high : ndarray, shape (size,)
        How far from each central difference the least and the largest of the slopes lie; both 0 where there is no kink.
    """

    crossed: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def where(self) -> NDArray[np.bool_]:
        """Which entries meet one."""
        met: NDArray[np.bool_] = (self.low != 0.0) | (self.high != 0.0)
        return met

    def of(self, entries: NDArray[np.intp]) -> Kinks:
        """Those of some entries; how many were crossed besides is not known apart."""
        return self._replace(low=self.low[entries], high=self.high[entries])


class Numerical(NamedTuple):
    """A numerical gradient and how it was found.

    Attributes
    ----------
    gradient : ndarray, shape (size,)
    method : str
    exact : bool
        Whether no two costs were subtracted: by difference arithmetic, or complex steps.
    step : float or None
        None: chosen for each parameter.
    again : callable, optional
        Gives the gradient once more, with a step so many times as large and all parameters moved by some roundings:
        what changes is truncation and rounding. None where no error bars were wanted.
    noise : callable
        How far rounding a cost by one part in EPSILON moves each entry, in plain arithmetic: the cost over 2h.
    roundings : callable
        Gives, for each entry, one rounding of everything that it is found from, over EPSILON; asked for only where
        something looks wrong.
    kinks : Kinks, optional
        None: none were met, or they were not looked for.
    refine : callable, optional
        Gives some entries (an array of their numbers) with better steps, and error bars (`Refined`) that need not be
        narrower than those of a second array. Where there is none, `again` tells what error bars are made of.
    flat : callable, optional
        Gives, for some entries whose differences are 0, how far from that they may be, infinite where it does not know.
    closer : callable, optional
        Gives a `Closer` look at some entries, of which a second array says what they are given as.
    polish : callable, optional
        Gives the gradient as well as can be, from one with error bars.
    finish : callable
        To be called at the end; gives what should be known of the function.
    coarse_roundings : callable
        In plain arithmetic: how far each entry moves when all parameters are moved by some roundings of float32, over
        the relative size of that. For gradients of a coarser dtype than float64; asked for as `roundings` are. None: it
        is not known, or not needed, since `roundings` say it all.
    """

    gradient: NDArray[np.float64]
    method: str
    exact: bool
    step: float | None
    again: Callable[[float], NDArray[np.float64]] | None = None
    noise: Callable[[], float | NDArray[np.float64]] = lambda: 0.0
    roundings: Callable[[], float | NDArray[np.float64]] = lambda: 0.0
    kinks: Kinks | None = None
    refine: Callable[[NDArray[np.intp], NDArray[np.float64]], Refined] | None = None
    flat: Callable[[NDArray[np.intp]], NDArray[np.float64]] | None = None
    closer: Callable[[NDArray[np.intp], NDArray[np.float64]], Closer] | None = None
    polish: Callable[[Refined], Refined] | None = None
    finish: Callable[[], tuple[str, ...]] = tuple
    coarse_roundings: Callable[[], NDArray[np.float64] | None] = lambda: None

    def of(self, entries: NDArray[np.intp]) -> Numerical:
        """The same of some entries, or in another order; what looks at single entries again is left out."""
        again, noise, roundings, kinks = self.again, self.noise, self.roundings, self.kinks

        def picked(found: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
            return found[entries] if isinstance(found, np.ndarray) else found

        return self._replace(
            gradient=self.gradient[entries],
            again=None if again is None else lambda times: again(times)[entries],
            noise=lambda: picked(noise()),
            roundings=lambda: picked(roundings()),
            kinks=None if kinks is None else kinks.of(entries),
            refine=None,
            flat=None,
            closer=None,
            polish=None,
        )


class Refined(NamedTuple):
    """Derivatives with a bound on the error of each; infinite where the differences do not converge."""

    derivatives: NDArray[np.float64]
    bars: NDArray[np.float64]


class Closer(NamedTuple):
    """What a closer look at some entries has found; arrays of shape (size,).

    Attributes
    ----------
    derivatives, bars : ndarray
        As in `Refined`.
    low, high : ndarray
        As in `Kinks`; infinite where a number is beside the slopes that were found, but by less than these differ.
    """

    derivatives: NDArray[np.float64]
    bars: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def jitter(theta: NDArray[np.float64], size: float = JITTER) -> NDArray[np.float64]:
    """Every parameter moved by `size` of its own, up or down at random but the same each time."""
    bits = np.frombuffer(np.random.default_rng(0).bytes(-(-len(theta) // 8)), np.uint8)
    up = np.unpackbits(bits, count=len(theta))
    factors: NDArray[np.float64] = np.array([1.0 - size, 1.0 + size])[up]
    return theta * factors


def plain_steps(
    theta: NDArray[np.float64], step: float | None, name: Callable[[int], str], times: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What to put in each parameter's place, and by what to divide: p + h, p - h, 2h.

    Parameters
    ----------
    theta : ndarray, shape (size,)
    step : float or None
        None: h = ∛ε max(1, |p|), which balances truncation against rounding (Press et al., Numerical Recipes, 5.7),
        and the divisor is the distance of the two rounded points. Given: that h, as it stands in textbooks.
    name : callable
        What the parameter of a number is called.
    times : float
        Takes so many times the step.

    Raises
    ------
    ValueError
        If p + h and p - h are the same number.
    """
    h = times * PLAIN_STEP * np.maximum(1.0, np.abs(theta)) if step is None else np.full_like(theta, times * step)
    plus, minus = theta + h, theta - h
    lost = plus == minus
    if lost.any():
        k = int(np.argmax(lost))
        raise ValueError(f"step: {h[k]:.6g} is lost in {name(k)} = {theta[k]:.6g}; use a larger step")
    return plus, minus, plus - minus if step is None else 2.0 * h


def where_it_exists(
    values: NDArray[np.float64], points: NDArray[np.float64], width: NDArray[np.float64], theta: NDArray[np.float64],
    value: float | NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """The values at two points and their distance: three rows, shape (3, size).

    Where a function is not defined on one side of `theta` (its value there is not finite), `value`, which it has at
    `theta` itself, stands in for it: that is the difference to the other side.
    """
    plus, minus = values
    right, left = np.isfinite(plus), np.isfinite(minus)
    here = np.broadcast_to(value, plus.shape)
    distance = np.where(right & ~left, points[0] - theta, np.where(left & ~right, theta - points[1], width))
    return np.stack([np.where(left & ~right, here, plus), np.where(right & ~left, here, minus), distance])


def may_be_kinks(
    right: NDArray[np.float64], left: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Where the slopes to both sides differ visibly, so that it is worth looking again with a smaller step.

    `noise` is how far rounding by one part in EPSILON moves a slope that is found with that step.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        jump, size = np.abs(right - left), np.maximum(np.abs(right), np.abs(left))
        visible: NDArray[np.bool_] = np.isfinite(jump) & (jump > KINK * size + KINK_ROUNDINGS * EPSILON * noise)
    return visible


def find_kinks(
    gradient: NDArray[np.float64],
    slopes: tuple[NDArray[np.float64], NDArray[np.float64]],
    nearer: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Kinks | None:
    """The entries whose slopes to the right and left are the same when found with a step SMALLER_STEP times smaller.

    Of a curve, a step, or a kink close by they are others then. `nearer` is NaN where nobody has looked.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.maximum(np.abs(nearer[0] - slopes[0]), np.abs(nearer[1] - slopes[1]))
        met = moved < SAME_SLOPES * np.abs(nearer[0] - nearer[1])
        curvature = moved / (0.5 * SMALLER_STEP)
        low = np.where(met, np.minimum(*nearer) - curvature - gradient, 0.0)
        high = np.where(met, np.maximum(*nearer) + curvature - gradient, 0.0)
    return Kinks(int(met.sum()), low, high) if met.any() else None

"""A numerical gradient as a value: what was found, with which step, and what else can be asked about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gradcheck_fast.inputs.domain import Domain
    from gradcheck_fast.numerical.certificate import Certificate

#: The distance from 1 to the next larger float64, called ε below.
EPSILON = float(np.finfo(np.float64).eps)
#: The default h of plain arithmetic, ∛ε, for parameters of size 1 or less; see `plain_steps`.
PLAIN_STEP = float(np.cbrt(EPSILON))
#: The default h of difference arithmetic. Truncation is then smaller than rounding, and h may be as small as that
#: because nothing is lost to cancellation. Where a value lies exactly on a jump of the curvature (elu,
#: softsign, Huber), truncation is of the order of h, not h².
EXACT_STEP = 2.0**-40
#: The steps that difference arithmetic tries, one after the other: a network that multiplies differences by huge
#: factors may overflow with the first.
EXACT_STEPS = (EXACT_STEP, 2.0**-70, 2.0**-130)
#: A value that is no farther from a kink than this, or than the step, counts as lying on it: rounding may have put it
#: there, or moved it away.
NEAR_KINK = 2.0**-32
#: The steps of slopes that are chained. They are smaller, so that even where the curvature jumps truncation is below
#: rounding: no difference passes through other steps, so that none can be lost.
CHAIN_STEPS = (2.0**-60, 2.0**-130)
#: The part of its size by which a parameter is moved to see what rounding does: more than the roundings of a sum make.
JITTER = 12.0 * EPSILON
#: The part of its size by which a parameter is moved to see what rounding to float32 does. It is large enough to show
#: in plain differences.
COARSE_JITTER = 12.0 * float(np.finfo(np.float32).eps)
#: How many times the first step the second one is. It is no power of two, or nothing would be rounded differently; and
#: it is so large that what changes is more than the truncation of the first, be that of the order of h or of h².
SECOND_STEP = 3.0
#: The smallest h: the square of a smaller one could underflow.
SMALLEST_STEP = 1e-150
#: The largest h: the square of a larger one could overflow.
LARGEST_STEP = 1e150
#: In plain arithmetic a kink is looked for where the slopes to both sides differ by more than this part of them: more
#: than curvature makes with the default step of a function that is not bent very much.
KINK = 1e-3
#: And by more than this many roundings of the cost, which rounding alone does not reach.
KINK_ROUNDINGS = 64.0
#: How many times smaller the step is with which the slopes at a possible kink are found once more. At a kink they stay
#: as they are; what curvature makes of their difference becomes as much smaller.
SMALLER_STEP = 16.0
#: It is a kink if the slopes then change by less than this part of their difference.
SAME_SLOPES = 0.1


class Kinks(NamedTuple):
    """What kinks leave open: where a value lies on one, the cost has several slopes, and back-propagation takes one.

    Attributes
    ----------
    crossed : int
        How many values lie on different sides of a kink for +h and for -h, counted over all perturbations and samples;
        in a chain, how many values lie within h of a kink, or within `NEAR_KINK` where h is smaller.
    low, high : ndarray of float64, shape (size,)
        The least and the largest of the slopes of each entry, minus its central difference; both 0 without a kink.
    """

    crossed: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def where(self) -> NDArray[np.bool_]:
        """A mask of the entries that have a kink."""
        met: NDArray[np.bool_] = (self.low != 0.0) | (self.high != 0.0)
        return met

    def of(self, entries: NDArray[np.intp]) -> Kinks:
        """Picks some entries. `crossed` stays as it is: how often each entry has crossed a kink is not known."""
        return self._replace(low=self.low[entries], high=self.high[entries])


class Numerical(NamedTuple):
    """A numerical gradient, how it was found, and what can still be asked about it.

    Attributes
    ----------
    gradient : ndarray of float64, shape (size,)
        The derivative of each entry.
    method : str
        How it was found.
    exact : bool
        Whether it was found without a subtraction of two costs: by difference arithmetic or by complex steps.
    step : float or None
        h; None if it was chosen for each parameter.
    again : callable, optional
        ``again(times)`` finds the gradient once more, with a step that is `times` as large and with all parameters
        moved by some roundings. What changes is truncation and rounding. None if no error bars were wanted.
    noise : callable
        Gives, in plain arithmetic, how far each entry moves if a cost is rounded by a relative error of 1: the cost
        over 2h.
    roundings : callable
        Gives how far each entry moves if everything that it is found from is rounded once, over EPSILON. It is called
        only if something looks wrong.
    kinks : Kinks, optional
        None if no kinks were met, or none were looked for.
    refine : callable, optional
        ``refine(some, enough)`` finds some entries, given by their numbers, with better steps and with error bars, as
        `Refined`. Bars of the size `enough`, given for each, need not be narrower. If it is None, error bars are found
        by `again`.
    flat : callable, optional
        ``flat(some)`` gives how far from 0 some entries may be whose differences are 0; infinite if that is not known.
    closer : callable, optional
        ``closer(some, given)`` looks more closely at some entries whose analytic derivatives are `given`, and returns
        a `Closer`.
    polish : callable, optional
        Makes a gradient with error bars, a `Refined`, as accurate as can be.
    finish : callable
        To be called at the end; returns notes on what should be known of the function.
    coarse_roundings : callable
        Gives, in plain arithmetic, how far each entry moves if all parameters are moved by some roundings of float32,
        over the relative size of these moves. It is called for gradients of a coarser dtype than float64, and only if
        something looks wrong. It gives None if that is not known, or not needed because `roundings` tell it all.
    certificate : Certificate, optional
        What vouches for a gradient that was chained. If it does not hold, the gradient is NaN.
    doubted : callable, optional
        ``doubted(errors)`` is asked before any entry is called wrong. `errors` has how far a given gradient lies from
        this one where it seems wrong, and 0 elsewhere. It returns None if they stand, or else what the given gradient
        is to be compared with instead.
    in_double : callable, optional
        Gives the gradient that is checked as the same code finds it in float64, if its own dtype is coarser than
        float32. It is called only if something looks wrong, and gives None if it is not known.
    every : ndarray of float64, optional
        Of some entries that were picked: the whole gradient, if it was found with them.
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
    certificate: Certificate | None = None
    doubted: Callable[[NDArray[np.float64]], Numerical | None] | None = None
    in_double: Callable[[], NDArray[np.float64] | None] | None = None
    every: NDArray[np.float64] | None = None

    def of(self, entries: NDArray[np.intp]) -> Numerical:
        """Picks some entries, or puts them in another order; what looks at single entries again is left out."""
        again, noise, roundings, kinks, doubted = self.again, self.noise, self.roundings, self.kinks, self.doubted

        def picked(found: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
            return found[entries] if isinstance(found, np.ndarray) else found

        def coarse_roundings() -> NDArray[np.float64] | None:
            found = self.coarse_roundings()
            return None if found is None else found[entries]

        def in_double() -> NDArray[np.float64] | None:
            found = None if self.in_double is None else self.in_double()
            return None if found is None else found[entries]

        def doubted_there(errors: NDArray[np.float64]) -> Numerical | None:
            every = np.zeros_like(self.gradient)
            every[entries] = errors
            other = doubted(every) if doubted else None
            return other.of(entries) if other else None

        return self._replace(
            gradient=self.gradient[entries],
            again=None if again is None else lambda times: again(times)[entries],
            noise=lambda: picked(noise()),
            roundings=lambda: picked(roundings()),
            kinks=None if kinks is None else kinks.of(entries),
            refine=None,
            coarse_roundings=coarse_roundings,
            flat=None,
            closer=None,
            polish=None,
            doubted=None if doubted is None else doubted_there,
            in_double=in_double,
            every=self.gradient,
        )


class Refined(NamedTuple):
    """Derivatives with error bars.

    Attributes
    ----------
    derivatives : ndarray of float64, shape (size,)
    bars : ndarray of float64, shape (size,)
        A bound on the error of each derivative; infinite where the differences do not converge.
    """

    derivatives: NDArray[np.float64]
    bars: NDArray[np.float64]


class Closer(NamedTuple):
    """What a closer look at some entries has found.

    Attributes
    ----------
    derivatives, bars : ndarray of float64, shape (size,)
        As in `Refined`.
    low, high : ndarray of float64, shape (size,)
        As in `Kinks`. They are infinite where the given number lies beside the slopes that were found, but is nearer to
        them than they are to each other: then it cannot be decided.
    """

    derivatives: NDArray[np.float64]
    bars: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def jitter(theta: NDArray[np.float64], size: float = JITTER) -> NDArray[np.float64]:
    """Moves every parameter by the part `size` of itself, up or down at random, but in the same way each time."""
    bits = np.frombuffer(np.random.default_rng(0).bytes(-(-len(theta) // 8)), np.uint8)
    up = np.unpackbits(bits, count=len(theta))
    factors: NDArray[np.float64] = np.array([1.0 - size, 1.0 + size])[up]
    return theta * factors


def plain_steps(
    theta: NDArray[np.float64], step: float | None, name: Callable[[int], str], times: float = 1.0,
    domain: Domain | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Returns what to put in each parameter's place, and by what to divide: p + h, p - h, 2h.

    Parameters
    ----------
    theta : ndarray of float64, shape (size,)
        The parameters, p.
    step : float or None
        The same h for all parameters, as it stands in textbooks. If it is None, h = ∛ε max(1, \\|p\\|), which balances
        truncation against rounding (Press et al., Numerical Recipes, 5.7), and the divisor is the distance of the two
        rounded points.
    name : callable
        Gives the name of the parameter with a number.
    times : float
        A factor by which the step is multiplied.
    domain : Domain, optional
        Where the parameters may be moved. Steps are smaller where a larger one would leave no room for a difference,
        not even for one to one side; and where the user has a step for an entry, that takes the place of `step`.

    Returns
    -------
    plus, minus, width : ndarray of float64, shape (size,)

    Raises
    ------
    ValueError
        If p + h and p - h are the same number.
    """
    h = PLAIN_STEP * np.maximum(1.0, np.abs(theta)) if step is None else np.full_like(theta, step)
    is_given = np.full(len(theta), step is not None)
    if domain is not None:
        if domain.steps is not None:
            is_given = ~np.isnan(domain.steps)
            h = np.where(is_given, domain.steps, h)
        h = np.minimum(h, domain.largest_steps(theta) / SECOND_STEP)
    h *= times
    plus, minus = theta + h, theta - h
    lost = plus == minus
    if lost.any():
        k = int(np.argmax(lost))
        raise ValueError(f"step: {h[k]:.6g} is lost in {name(k)} = {theta[k]:.6g}; use a larger step")
    return plus, minus, np.where(is_given, 2.0 * h, plus - minus)


def where_it_exists(
    values: NDArray[np.float64], points: NDArray[np.float64], width: NDArray[np.float64], theta: NDArray[np.float64],
    value: float | NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """Returns the values at two points and the distance of the points, as three rows.

    Where a function is not defined on one side of `theta` (its value there is not finite), the value at `theta` itself
    takes the place of the one that is missing: that makes a difference to the other side.

    Parameters
    ----------
    values, points : ndarray of float64, shape (2, size)
        The values of the function, and the parameters at which it has them: p + h and p - h.
    width : ndarray of float64, shape (size,)
        The distance of the two points.
    theta : ndarray of float64, shape (size,)
        The parameters, p.
    value : float or ndarray of float64, shape (size,)
        The value of the function at `theta`.

    Returns
    -------
    ndarray of float64, shape (3, size)
    """
    plus, minus = values
    right, left = np.isfinite(plus), np.isfinite(minus)
    here = np.broadcast_to(value, plus.shape)
    distance = np.where(right & ~left, points[0] - theta, np.where(left & ~right, theta - points[1], width))
    return np.stack([np.where(left & ~right, here, plus), np.where(right & ~left, here, minus), distance])


def may_be_kinks(
    right: NDArray[np.float64], left: NDArray[np.float64], noise: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Returns a mask of the entries whose slopes to both sides differ so much that a kink is to be looked for.

    Parameters
    ----------
    right, left : ndarray of float64, shape (size,)
        The slopes to both sides.
    noise : ndarray of float64, shape (size,)
        How far a slope that is found with the smaller step moves if a cost is rounded by a relative error of 1.
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
    """Finds the entries with a kink: there the slopes to the right and left stay the same with a smaller step.

    The smaller step is `SMALLER_STEP` times smaller. With it, the slopes of a curve, of a jump, or of a kink close by
    are others than before.

    Parameters
    ----------
    gradient : ndarray of float64, shape (size,)
        The central differences.
    slopes : tuple of ndarray of float64, shape (size,)
        The slopes to the right and to the left.
    nearer : tuple of ndarray of float64, shape (size,)
        The slopes that the smaller step gives; NaN where they were not found.

    Returns
    -------
    Kinks or None
        None if there are none.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        moved = np.maximum(np.abs(nearer[0] - slopes[0]), np.abs(nearer[1] - slopes[1]))
        met = moved < SAME_SLOPES * np.abs(nearer[0] - nearer[1])
        curvature = moved / (0.5 * SMALLER_STEP)  # about twice what it still makes with the smaller step
        low = np.where(met, np.minimum(*nearer) - curvature - gradient, 0.0)
        high = np.where(met, np.maximum(*nearer) + curvature - gradient, 0.0)
    return Kinks(int(met.sum()), low, high) if met.any() else None

"""Remainders of Taylor's formula along a direction, and what their rates say of a gradient and a Hessian.

With the gradient g and a direction r, the remainders J(m + hr) - J(m) and J(m + hr) - J(m) - h g·r are of the order of
h and h². If g·r is off by e, the second is e h + c h² + …, of the order of h: its *rate*, log(R(h)/R(h'))/log(h/h'), is
1 in place of 2. Where h is so small that a remainder consists of the noise of J, rates say nothing; these steps are
left out. The signed remainder over h also gives e itself, extrapolated to h = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isfinite, log, nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.numerical.gradient import EPSILON
from gradcheck_fast.numerical.noise import scatter

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What the remainders of each order are called.
REMAINDERS = ("|J(m + h dm) - J(m)|", "|… - h dJ·dm|", "|… - h²/2 dm·H dm|")
#: The powers of h by which the remainders of a right gradient and Hessian fall.
RATES = (1, 2, 3)
#: The first step, the ratio of each to the next, how many are taken at first, how many more at once, and at most.
FIRST, RATIO, COUNT, MORE, MOST = 2.0**-4, 2.0, 8, 4, 32
#: A remainder counts if it is this many times the noise: its rate is then right to 0.2.
CLEAR = 16.0
#: How many roundings of the values, and of the parameters, a remainder may always have.
ROUNDINGS = 4.0
#: How many times the measured scatter of values counts as noise.
SCATTERS = 4.0
#: How many points on a line the scatter is measured at, and how far they go, in smallest steps.
POINTS, REACH = 9, 0.5
#: Some more points between these, and the degree of the polynomial with which the values there are compared.
BETWEEN, DEGREE = (1.41, 3.27, 4.87, 6.62, 8.18), 4
#: This many rates, the last, must be the same for them to have settled.
LAST = 3
#: A rate less than this below the expected one is that of another order.
SETTLED = 0.4
#: An error shows if it is this many times its bar.
SURE = 8.0
#: Nothing is decided if an error of this part of the slope could have been missed.
POWERLESS = 0.1


class Remainder(NamedTuple):
    """The remainders of one order.

    Attributes
    ----------
    sizes : tuple of float
        \\|remainder\\| at each step.
    used : tuple of bool
        Where it is more than noise.
    rates : tuple of float
        From each step to the next smaller one; NaN where one of the two is not used.
    """

    sizes: tuple[float, ...]
    used: tuple[bool, ...]
    rates: tuple[float, ...]

    @property
    def known_rates(self) -> list[float]:
        """The rates of steps that are used."""
        return [rate for rate in self.rates if isfinite(rate)]


class Remainders(NamedTuple):
    """What is found along a direction.

    Attributes
    ----------
    name : str
        The array that is moved alone; "" if all are moved.
    status : str
        ``"right"``, ``"wrong"``, ``"inconclusive"`` or ``"nothing to check"``.
    says : str
        Why, in a clause.
    steps : tuple of float
        From the largest to the smallest.
    orders : tuple of Remainder
        Without the gradient, with it, and with the Hessian if there is one.
    slope : float
        dJ·dm of the gradient that is tested.
    error : float
        How far that is from the derivative of the loss along the direction; NaN if it is not known.
    bar : float
        How far the error may be off.
    noise : float
        The size of remainders that say nothing.
    curvature_error : float
        The same as `error` of dm·H dm; NaN without a Hessian, or if it is not known.
    seen_from : float
        The error of the slope from which on it would have been seen, relative to the slope; infinite if that is not
        known.
    """

    name: str
    status: str
    says: str
    steps: tuple[float, ...]
    orders: tuple[Remainder, ...]
    slope: float
    error: float
    bar: float
    noise: float
    curvature_error: float = nan
    seen_from: float = inf

    @property
    def last_rate(self) -> float:
        """The rate of the remainder with the gradient between the two smallest steps that are used; NaN without any."""
        return next(reversed(self.orders[1].known_rates), nan)

    @property
    def lowest_rate(self) -> float:
        """The lowest rate of the remainder with the gradient, or with the Hessian if there is one; NaN without any."""
        return min(self.orders[-1].known_rates, default=nan)

    @property
    def left_out(self) -> int:
        """At how many steps the remainder with the gradient is only noise, or not finite."""
        return self.orders[1].used.count(False)


def remainders(
    name: str, value: Callable[[float], float], base: float, slope: float, *, curvature: float | None = None,
    steps: Sequence[float] | None = None, rounding: float = 0.0,
) -> Remainders:  # fmt: skip
    """Tests a derivative along a direction.

    Parameters
    ----------
    name : str
    value : callable
        ``value(h)`` gives J(m + h dm); NaN where it is not defined.
    base : float
        J(m).
    slope : float
        dJ·dm.
    curvature : float, optional
        dm·H dm.
    steps : sequence of float, optional
        From the largest to the smallest. None: 8 from 2⁻⁴ on, each half of the one before, and more as long as the
        rates do not settle.
    rounding : float
        How far J moves if the parameters are rounded, over EPSILON.
    """
    tried = [FIRST / RATIO**k for k in range(COUNT)] if steps is None else list(steps)
    values = [value(h) for h in tried]
    noise = _noise(value, tried[-1], values, base, slope, rounding)
    while steps is None and len(tried) < MOST and not _has_settled(_orders(tried, values, base, slope, None, noise)):
        more = [tried[-1] / RATIO**k for k in range(1, MORE + 1)]
        tried, values = tried + more, values + [value(h) for h in more]
    orders = _orders(tried, values, base, slope, curvature, noise)
    error, bar = _error(tried, values, base, slope, orders[1], 1)
    found = Remainders(name, "", "", tuple(tried), orders, slope, error, bar, noise)
    return _judged(found, value, base, curvature, values)


def _noise(
    value: Callable[[float], float], smallest: float, values: Sequence[float], base: float, slope: float,
    rounding: float,
) -> float:  # fmt: skip
    places = np.append(np.arange(1.0, POINTS + 1), BETWEEN)
    near = np.array([value(REACH * smallest * place / POINTS) for place in places])
    largest = max((abs(v) for v in (base, *values) if isfinite(v)), default=0.0)
    noise = max(scatter(near[:POINTS]), _scatter_between(places, near))
    return ROUNDINGS * EPSILON * (largest + rounding) + SCATTERS * noise


def _scatter_between(places: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Returns how far values between equally spaced points are off a polynomial through these.

    Where values are rounded to multiples of something, those at equal distances may by chance rise evenly.
    """
    if not np.isfinite(values).all():
        return 0.0
    centred = places / POINTS - 0.5
    fitted = np.polynomial.Polynomial.fit(centred[:POINTS], values[:POINTS], DEGREE)
    return float(np.abs(values[POINTS:] - fitted(centred[POINTS:])).max())


def _orders(
    steps: Sequence[float], values: Sequence[float], base: float, slope: float, curvature: float | None, noise: float
) -> tuple[Remainder, ...]:
    h = np.array(steps)
    change = np.array(values) - base
    terms = [change, change - h * slope]
    if curvature is not None:
        terms.append(terms[1] - 0.5 * h * h * curvature)
    return tuple(_remainder(h, np.abs(term), noise + EPSILON * h * abs(slope)) for term in terms)


def _remainder(h: NDArray[np.float64], sizes: NDArray[np.float64], noise: NDArray[np.float64]) -> Remainder:
    with np.errstate(invalid="ignore"):
        used = np.isfinite(sizes) & (sizes > CLEAR * noise)
    rates = [
        log(sizes[k] / sizes[k + 1]) / log(h[k] / h[k + 1]) if used[k] and used[k + 1] else nan
        for k in range(len(h) - 1)
    ]
    return Remainder(tuple(sizes.tolist()), tuple(used.tolist()), tuple(float(rate) for rate in rates))


def _has_settled(orders: tuple[Remainder, ...]) -> bool:
    """Whether smaller steps say nothing more: the last is all noise, or the last rates are one whole number each."""
    return not orders[1].used[-1] or (_is_smooth(orders[0]) and _is_whole(orders[1].rates[-LAST:]))


def _is_smooth(change: Remainder) -> bool:
    """Whether the loss changes by h or h² where steps are smallest, and not as one that turns between two of them."""
    known = change.known_rates[-LAST:]
    return not any(change.used) or (len(known) > 1 and round(known[-1]) > 0 and _is_whole(known))


def _is_whole(rates: Sequence[float]) -> bool:
    return all(isfinite(rate) and abs(rate - round(rates[-1])) < 0.25 * SETTLED for rate in rates)


def _error(
    steps: Sequence[float], values: Sequence[float], base: float, slope: float, remainder: Remainder, order: int,
    curvature: float = 0.0,
) -> tuple[float, float]:  # fmt: skip
    """Extrapolates the remainder over h (or 2/h² of the next one) to h = 0, from the smallest steps that are used.

    Returns what that is, and how far it may be off.
    """
    places = np.flatnonzero(remainder.used)[-3:]
    if len(places) < 2:
        return nan, inf
    h = np.array(steps)[places]
    over = h if order == 1 else 0.5 * h * h
    with np.errstate(invalid="ignore"):
        u = (np.array(values)[places] - base - h * slope - (order > 1) * 0.5 * h * h * curvature) / over
    level = max(_size(remainder, places)) * EPSILON
    first = [(h[k] * u[k + 1] - h[k + 1] * u[k]) / (h[k] - h[k + 1]) for k in range(len(h) - 1)]
    if len(h) == 2:
        return float(first[0]), float(abs(first[0] - u[1]))
    second = (h[0] * first[1] - h[2] * first[0]) / (h[0] - h[2])
    return float(second), float(abs(second - first[1]) + level)


def _size(remainder: Remainder, places: NDArray[np.intp]) -> list[float]:
    return [remainder.sizes[k] for k in places.tolist()]


def _judged(
    found: Remainders, value: Callable[[float], float], base: float, curvature: float | None, values: Sequence[float]
) -> Remainders:
    """Decides what the rates say."""
    h, (change, remainder, *_) = np.array(found.steps), found.orders
    finite = np.isfinite(values)
    if not isfinite(base) or not finite.any():
        return found._replace(status="inconclusive", says="the loss is not finite there")
    count, noise = remainder.used.count(True), CLEAR * found.noise
    if count < 2:
        smaller = h[finite & ~np.array(remainder.used)]
        unseen = noise / float(smaller.max()) if len(smaller) else inf
        linear = np.array(change.used) & ~np.array(remainder.used)
        size = max(abs(found.slope), float((np.array(change.sizes)[linear] / h[linear]).max(initial=0.0)))
        found = found._replace(error=0.0 if len(smaller) else nan, bar=unseen, seen_from=unseen / size if size else inf)
        if size <= unseen:
            return found._replace(status="nothing to check", says="the loss does not change along it, but for rounding")
        if unseen > POWERLESS * size:
            return found._replace(status="inconclusive", says="the remainders are hardly more than rounding")
        return _with_hessian(found._replace(
            status="right", says="the remainder is only rounding: the loss is linear along it, with this slope"
        ), base, curvature, values)  # fmt: skip
    first, last = np.flatnonzero(remainder.used)[[0, -1]]
    unsure = SURE * (found.bar + found.noise / float(h[last]))
    size = max(abs(found.slope), abs(found.slope + found.error))
    found = found._replace(seen_from=unsure / size if size else inf)
    rate, is_seen = found.last_rate, abs(found.error) > unsure
    if not isfinite(rate):
        return found._replace(status="inconclusive", says="no two neighbouring steps can be compared")
    if rate < 2.0 - SETTLED:
        if is_seen and _is_smooth(change):
            return _at_kink(found, value, base)
        return found._replace(
            status="inconclusive", says="the rates do not settle; smaller steps, or larger ones, may tell"
        )
    if is_seen:
        return found._replace(
            status="inconclusive", says=f"the remainder seems to have a part of {found.error:.2g} h, but its rate is "
            "not that yet; smaller steps tell",
        )  # fmt: skip
    if unsure > POWERLESS * max(size, remainder.sizes[first] / float(h[first])):
        return found._replace(status="inconclusive", says="the loss bends so much that an error could be missed")
    return _with_hessian(found._replace(status="right", says="the remainder falls as h²"), base, curvature, values)


def _at_kink(found: Remainders, value: Callable[[float], float], base: float) -> Remainders:
    """Looks at the other side before a gradient is called wrong: at a kink, every slope between the two is right."""
    places = np.flatnonzero(found.orders[1].used)[-3:]
    steps = [found.steps[k] for k in places.tolist()]
    values = [value(-h) for h in steps]
    (other,) = _orders(steps, values, base, -found.slope, None, found.noise)[1:2]
    error, bar = _error(steps, values, base, -found.slope, other, 1)
    error = -error
    wrong = f"the remainder falls only as h: the slope of the loss is {found.slope + found.error:.6g}"
    apart = abs(error - found.error)
    if isfinite(error) and apart > SURE * (bar + found.bar) and apart > POWERLESS * abs(found.error):
        slopes = f"{found.slope + found.error:.6g} ahead and {found.slope + error:.6g} behind"
        if min(error, found.error) < 0.0 < max(error, found.error):
            return found._replace(
                status="inconclusive", says=f"the loss has a kink: its slopes are {slopes}, and yours lies between"
            )
        return found._replace(status="wrong", says=f"the loss has a kink: its slopes are {slopes}")
    if not isfinite(error) and not any(other.used) and np.isfinite(values).any():
        return found._replace(
            status="inconclusive", says=f"the loss has a kink: your slope is that behind, ahead it is "
            f"{found.slope + found.error:.6g}",
        )  # fmt: skip
    return found._replace(status="wrong", says=wrong)


def _with_hessian(found: Remainders, base: float, curvature: float | None, values: Sequence[float]) -> Remainders:
    """Looks at the third remainder, where the gradient is right."""
    if curvature is None:
        return found
    third = found.orders[2]
    error, bar = _error(found.steps, values, base, found.slope, third, 2, curvature)
    rates = third.known_rates
    found = found._replace(curvature_error=error)
    if len(rates) == 0:
        if any(found.orders[1].used):
            return found._replace(says="the remainder falls as h², and that with the Hessian is only rounding")
        return found
    noise = found.noise / (0.5 * min(h for h, used in zip(found.steps, third.used, strict=True) if used) ** 2)
    is_seen = abs(error) > SURE * (bar + noise)
    if rates[-1] >= 3.0 - SETTLED and not is_seen:
        return found._replace(says="the remainder falls as h³ with the Hessian")
    if is_seen:
        own = curvature + error
        return found._replace(
            status="wrong", says="the gradient is right, but the remainder with the Hessian has a part of h²: "
            f"dm·H dm is {curvature:.6g} in yours, and {own:.6g} of the loss",
        )  # fmt: skip
    return found._replace(status="inconclusive", says="the gradient is right; the rates with the Hessian do not settle")

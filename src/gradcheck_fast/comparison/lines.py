"""Whole arrays checked along random directions: a few evaluations of the cost, however large the array.

For an array with the analytic gradient g and the true one t, and a random direction r, g·r is compared with the central
difference D of the cost along r. What remains, e·r with e = g - t, tells of an error anywhere in the array.

**The directions are normal, not ±1.** Two errors that cancel, e = (c, -c), are missed by a vector of random signs with
probability ½, and by m of them with 2^-m. Of a vector r of independent normal numbers, e·r is normal with standard
deviation ‖e‖ *whatever e is*: one entry, two that cancel, or all of them. So m directions all have \\|e·r\\| <= x ‖e‖
with the probability P(\\|N(0, 1)\\| <= x)^m exactly.

**Power.** The central differences have error bars b, so \\|e·r\\| <= \\|g·r - D\\| + b. Let c be the largest right side
that was measured. However steps and bars came about, c <= x ‖e‖ has no more than the probability above. How many
directions are taken is decided on the way, in one of four manners; x is such that each has the probability 0.00025
(0.079 for m = 3), so that an error of ‖e‖ >= c/x would have been seen with probability >= 0.999. Divided by ‖g‖ this is
the `power` of an array: every array has its own, so that a large one cannot hide a small one. The entries of an array
that has no more than three are moved one by one instead: ‖e‖ is then known, to its bar.

**Steps and bars.** The cost is evaluated at θ + hr, θ - hr and θ + 2hr. With E(θ), known once for all, these give D and
a third difference, E(2h) - 3E(h) + 3E(0) - E(-h): rounding makes it √20 times that of one evaluation, truncation 6h
times that of D, and a kink between -h and 2h about 2h times the error that it makes in D. The bar is a multiple of what
is typical of the array's lines, over 2h. A step that moves many rectifiers crosses kinks; so h is the smallest that
keeps rounding down to 2√ε ‖g‖, and smaller yet where a pilot shows that this is too large. It begins with a small part
of the array's parameters; but these may be tiny beside all that matters, and where only rounding is seen it grows.

**No alarm without more evidence.** Where a residual is beyond its bar, eight fresh directions are taken. The array is
wrong only if the root mean square of all residuals is beyond the widest bar, which can hardly be small by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property, partial
from math import frexp, hypot, inf, isfinite, prod, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.comparison.compare import ANALYTIC_ROUNDINGS
from gradcheck_fast.inputs.trees import as_matrix_shape
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.arrays import Precision
    from gradcheck_fast.running.replay import Answer, Answers

#: The probability with which an error of the stated size is seen: one of a thousand is missed at most.
CONFIDENCE = 0.999
#: In how many manners an array may be compared: with or without its pilot, and with or without more directions.
_MANNERS = 4
#: DIRECTIONS are taken of an array whose gradient is right, at three evaluations each: with fewer the `power` would be
#: poor. MORE are added where something looks wrong.
DIRECTIONS, MORE = 3, 8
#: How many roundings of the cost a third difference may always have: rounding makes it √20 times as large.
ROUNDINGS = 4.0
#: How many times the error that a typical third difference stands for an error bar is.
BAR = 3.0
#: The first h of an array lies between these two, in root mean squares of its parameters.
SMALLEST, LARGEST = 2.0**-32, 2.0**-4
#: The size from which on a standard normal number is rare: it is beyond 4 once in 16,000 times.
_RARE = 4.0
#: A better step is taken if the error of a line is more than _BALANCED times what it need be. _LARGEST_CHANGE is the
#: largest factor by which a step changes at once. A step that is more than _UNTRIED times that of the pilot is not
#: taken before another pilot has tried it.
_BALANCED, _LARGEST_CHANGE, _UNTRIED = 8.0, 256.0, 16.0
_CHUNK = 1 << 16


class Line(NamedTuple):
    """The cost along one direction: the step h, g·r, the central difference D, and the size of the third difference."""

    step: float
    analytic: float
    slope: float
    third: float

    @property
    def residual(self) -> float:
        """The residual g·r - D."""
        return self.analytic - self.slope

    def bar(self, typical: float) -> float:
        """Returns how far D may be from the derivative, if `typical` is the typical size of third differences."""
        bar = BAR * max(self.third, typical) / (2.0 * self.step)
        return bar if isfinite(bar) and isfinite(self.slope) else inf


class Table:
    """One array as a matrix: its parameters, its gradient, and directions in it.

    Attributes
    ----------
    shape : tuple of int
        The numbers of rows and columns.
    place : slice
        Where the array lies in the flat vectors.
    theta, gradient : ndarray of float64, shape (rows, columns)
        The parameters, and the analytic gradient, which is 0 in the entries that are left out.
    left_out : ndarray of bool, shape (rows, columns), or None
        The entries that no direction moves, as they are already found to be wrong; None if there are none.
    scale : float
        The unit of h: the root mean square of the parameters, or what has turned out to be needed.
    """

    def __init__(
        self, array_shape: tuple[int, ...], begin: int, theta: NDArray[np.float64], gradient: NDArray[np.float64],
        seed: tuple[int, int],
    ) -> None:  # fmt: skip
        self.shape = as_matrix_shape(array_shape) if prod(array_shape) else (1, 0)
        self.place = slice(begin, begin + self.shape[0] * self.shape[1])
        self.theta = theta[self.place].reshape(self.shape)
        self.gradient = gradient[self.place].reshape(self.shape)
        self.left_out: NDArray[np.bool_] | None = None
        self.scale = _norm(self.theta) / sqrt(max(self.theta.size, 1)) or 1.0
        self._seed = seed
        self._drawn = 0

    def leave_out(self, where: NDArray[np.bool_]) -> None:
        """Leaves out these entries, and those left out before: no direction moves them any more."""
        self.left_out = where if self.left_out is None else self.left_out | where
        self.gradient = np.where(self.left_out, 0.0, self.gradient)

    @property
    def largest(self) -> float:
        """The largest h to which a step may grow."""
        return max(self.scale, LARGEST)

    @property
    def axes(self) -> tuple[int, ...]:
        """The numbers of the directions that move one entry each; none if there are more entries than `DIRECTIONS`."""
        moved = self.theta.size if self.left_out is None else int(np.count_nonzero(~self.left_out))
        return tuple(range(-moved, 0)) if moved <= DIRECTIONS else ()

    def new_direction(self) -> int:
        """Returns the number of a direction that was not used before."""
        self._drawn += 1
        return self._drawn

    def generator(self, *numbers: int) -> np.random.Generator:
        """Returns a generator of random numbers, which are the same for the same `numbers`, and this array's own."""
        return np.random.default_rng((*self._seed, *numbers))

    def direction(self, number: int) -> NDArray[np.float64]:
        """Returns the direction of a number: independent standard normal numbers, or an axis if `number` is negative.

        An axis is as long as a direction of normal numbers is in the root mean square.
        """
        if number < 0:
            moved = np.flatnonzero(np.ones(self.shape, np.bool_) if self.left_out is None else ~self.left_out)
            axis = np.zeros(self.shape)
            axis.flat[moved[number]] = sqrt(len(moved))
            return axis
        r = self.generator(number).standard_normal(self.shape)
        if self.left_out is not None:
            r[self.left_out] = 0.0
        return r


#: A part of a table: a slice of rows and one of columns.
Part = tuple[slice, slice]
WHOLE: Part = (slice(None), slice(None))
#: Makes a direction in a part, an array of the shape of the part.
Direction = Callable[[], "NDArray[np.float64]"]


class Probe:
    """Evaluates the cost where a part of one array is moved.

    Parameters
    ----------
    cost : callable
        Gives the cost at a flat vector.
    theta : ndarray of float64, shape (size,)
        The parameters.
    base : float
        The cost there.
    answers : Answers
        Knows the evaluations that were made before, and makes the others.

    Attributes
    ----------
    base : float
        The cost at the parameters.
    noise : float
        The size of the third differences that rounding makes. A cost that is a float32 number is rounded to float32.
    """

    def __init__(
        self, cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64], base: float, answers: Answers
    ) -> None:
        self._cost = cost
        self._theta = theta
        self._answers = answers
        self.base = base
        with np.errstate(over="ignore", invalid="ignore"):
            single = base == float(np.float32(base)) != float(np.float16(base))
        epsilon = float(np.finfo(np.float32).eps) if single else EPSILON
        self.noise = ROUNDINGS * epsilon * abs(base)

    @property
    def accuracy(self) -> float:
        """How accurately slopes are to be found, relative to ‖g‖: to half of the digits that the cost has."""
        return 2.0 * sqrt(self.noise / (ROUNDINGS * abs(self.base)) if self.base else EPSILON)

    def line(self, table: Table, part: Part, direction: Direction, h: float) -> Line:
        """Measures the cost along a direction in a part of the array; the direction is made only if it is needed."""
        find = partial(self._evaluate, table, part, cache(direction))
        (plus, ahead), (minus, behind), (twice, _) = (self._answers.next(step, find) for step in (h, -h, 2.0 * h))
        with np.errstate(all="ignore"):
            third = abs((twice - plus) - 2.0 * (plus - self.base) + (self.base - minus))
            slope = (plus - minus) / (2.0 * h)
        return Line(h, (ahead - behind) / (2.0 * h), slope, third if isfinite(third) else inf)

    def _evaluate(self, table: Table, part: Part, direction: Direction, step: float) -> Answer:
        """Returns the cost after a step, and g·r of the step as rounding has left it."""
        here, there = table.theta[part], self._moved[table.place].reshape(table.shape)[part]
        try:
            np.multiply(direction(), step, out=there)
            there += here
            return float(self._cost(self._moved)), _project(table.gradient[part], there, here)
        finally:
            there[...] = here

    @cached_property
    def _moved(self) -> NDArray[np.float64]:
        return self._theta.copy()

    def step(self, accuracy: float, scale: float) -> float:
        """Returns the smallest h at which rounding makes no wider bar than `accuracy`, from `SMALLEST` to `LARGEST`."""
        wanted = BAR * self.noise / (2.0 * accuracy) if accuracy > 0.0 else inf
        return min(max(wanted, SMALLEST * scale), LARGEST * scale)


class Tested(NamedTuple):
    """What the directions say of an array.

    Attributes
    ----------
    wrong : bool
        Whether the array is wrong.
    lines : tuple of Line
        The lines along the axes, if these were taken; otherwise along all directions.
    bar : float
        The widest error bar.
    power : float
        The size, relative to ‖g‖, from which on an error would have been seen with probability `CONFIDENCE`.
    number : int
        The number of the direction with the largest residual; of those that move all entries, if there are any.
    residual : float
        This residual.
    """

    wrong: bool
    lines: tuple[Line, ...]
    bar: float
    power: float
    number: int
    residual: float

    @property
    def silent(self) -> bool:
        """Whether no slope is larger than the widest bar."""
        return all(abs(line.slope) <= self.bar for line in self.lines)

    @property
    def size(self) -> float:
        """An estimate of ‖n‖, the norm of the true gradient."""
        return hypot(*(line.slope for line in self.lines)) / sqrt(len(self.lines))

    @property
    def norms(self) -> tuple[float, float]:
        """Estimates of ‖a - n‖ and ‖a + n‖: their squares are the expectations of the squares along a direction."""
        count = sqrt(len(self.lines))
        total = hypot(*(line.analytic + line.slope for line in self.lines))
        return hypot(*(line.residual for line in self.lines)) / count, total / count


class Tolerance(NamedTuple):
    """The norm of e that is right, ``atol √size + rtol ‖g‖``: as the user says, or by the gradient's dtype."""

    rtol: float
    atol: float

    def of_part(self, table: Table, part: Part) -> float:
        """Returns the \\|e·r\\| up to which a part is right."""
        g = table.gradient[part]
        return _RARE * (self.rtol * _norm(g) + self.atol * sqrt(g.size))

    def of_entry(self, size: float) -> float:
        """Returns the error up to which an entry of this size is right."""
        return _RARE * (self.rtol * size + self.atol)

    @classmethod
    def of_precision(cls, precision: Precision) -> Tolerance:
        """Returns the tolerance of what rounding in this precision does to a right gradient."""
        return cls(ANALYTIC_ROUNDINGS * precision.eps, ANALYTIC_ROUNDINGS * precision.tiny)


def quantile(directions: int) -> float:
    """Returns the x of P(\\|N(0, 1)\\| <= x)^directions = (1 - CONFIDENCE) / 4."""
    missed = (1.0 - CONFIDENCE) / _MANNERS
    return NormalDist().inv_cdf(0.5 * (1.0 + missed ** (1.0 / directions)))


def check_along(probe: Probe, table: Table, tolerance: Tolerance, step: float | None) -> Tested:
    """Compares an array along random directions.

    Parameters
    ----------
    probe : Probe
        Evaluates the cost.
    table : Table
        The array.
    tolerance : Tolerance
        What is right.
    step : float or None
        h; None if it is to be chosen.
    """
    size = _norm(table.gradient)
    lines: dict[int, Line] = {}
    axes = table.axes

    def add(number: int, h: float) -> Line:
        lines[number] = probe.line(table, WHOLE, partial(table.direction, number), h)
        return lines[number]

    pilot, h = _pilot(probe, table, probe.accuracy * size, step, add)
    # A pilot with another step than the other lines is dropped, and so is one that earlier pilots have led to, which is
    # no independent evidence. Nothing takes its place: a third line after it would cost too much.
    if h != pilot.step or len(lines) > 1:
        lines.clear()
    for number in axes or [table.new_direction() for _ in range(DIRECTIONS - 1)]:
        if number not in lines:
            add(number, h)
    typical = _typical(lines.values())
    if 4.0 * h < pilot.step and pilot.step * typical > h * pilot.third:
        # a smaller step has made the bars wider: they come from rounding, not from truncation or kinks
        probe.noise = max(pilot.third, typical)
        return check_along(probe, table, tolerance, step)
    allowed = tolerance.of_part(table, WHOLE)
    bars = _bars(probe, lines)
    if any(abs(line.residual) > bars[number] + allowed for number, line in lines.items()):
        for _ in range(MORE):
            add(table.new_direction(), h)
        bars = _bars(probe, lines)
    wide = max(bars.values())
    together = hypot(*(line.residual for line in lines.values())) / sqrt(len(lines))
    number = max(lines, key=lambda number: (number > 0, abs(lines[number].residual)))
    own = [lines[axis] for axis in axes] or list(lines.values())
    if axes:
        unseen = hypot(*(abs(line.residual) + wide for line in own)) / sqrt(len(own))
    else:
        unseen = (abs(lines[number].residual) + wide) / quantile(len(lines))
    return Tested(
        wrong=len(lines) > DIRECTIONS and together > wide + allowed,
        lines=tuple(own),
        bar=wide,
        power=unseen / size if size and isfinite(wide) else inf,
        number=number,
        residual=lines[number].residual,
    )


def _pilot(
    probe: Probe, table: Table, accuracy: float, step: float | None, add: Callable[[int, float], Line]
) -> tuple[Line, float]:
    """Returns a first line, and the h that it should have had. If that is too far off, another first line is taken."""
    h = probe.step(accuracy, table.scale) if step is None else step
    while True:
        pilot = add(table.axes[0] if table.axes else table.new_direction(), h)
        if step is not None:
            return pilot, h
        h = better_step(probe, pilot, accuracy, table.largest)
        if not isfinite(pilot.third) and h > SMALLEST * table.scale:  # out of the domain
            continue
        if h <= _UNTRIED * pilot.step:
            table.scale = max(table.scale, h / LARGEST)
            return pilot, h


def better_step(probe: Probe, line: Line, accuracy: float, largest: float) -> float:
    """Returns the step that a line should have had: its own, if there is little to be gained.

    With the step h, rounding makes an error of n/h, and truncation one of c, which is of the order of h². The two
    balance at the step h (n / hc)^(1/3). Where there is only rounding, the step becomes as large as the accuracy needs,
    up to `largest`.
    """
    h = line.step
    rounding, measured = BAR * probe.noise / (2.0 * h), BAR * line.third / (2.0 * h)
    if not isfinite(measured):
        return h / _LARGEST_CHANGE
    if measured > _BALANCED * max(rounding, accuracy):
        return h * max(float(np.cbrt(rounding / measured)), 1.0 / _LARGEST_CHANGE)
    if rounding > _BALANCED * accuracy:
        growth = min(rounding / accuracy, _LARGEST_CHANGE) if accuracy else _LARGEST_CHANGE
        return max(h, min(growth * h, largest))
    return h


def _bars(probe: Probe, lines: dict[int, Line]) -> dict[int, float]:
    typical = max(probe.noise, _typical(lines.values()))
    return {number: line.bar(typical) for number, line in lines.items()}


def _typical(lines: Iterable[Line]) -> float:
    """Returns the root mean square of the third differences of some lines."""
    thirds = [line.third for line in lines]
    return hypot(*thirds) / sqrt(len(thirds))


def _norm(x: NDArray[np.float64]) -> float:
    largest = float(np.abs(x).max(initial=0.0))
    if not 0.0 < largest < inf:
        return largest
    scale = 2.0 ** frexp(largest)[1]  # whose squares neither over- nor underflow
    return scale * float(np.sqrt(np.einsum("ij,ij->", x / scale, x / scale)))


def _project(g: NDArray[np.float64], there: NDArray[np.float64], here: NDArray[np.float64]) -> float:
    """Returns g·(there - here), piece by piece: a difference of whole arrays would take as much memory again."""
    rows = max(1, _CHUNK // max(g.shape[1], 1))
    return float(
        sum(
            np.einsum("ij,ij->", g[k : k + rows], there[k : k + rows] - here[k : k + rows])
            for k in range(0, len(g), rows)
        )
    )

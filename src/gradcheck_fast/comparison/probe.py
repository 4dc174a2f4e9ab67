"""One array, and the cost along directions in it: what `lines` and `localise` ask, evaluation by evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property, partial
from math import frexp, inf, isfinite, prod, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs.trees import as_matrix_shape
from gradcheck_fast.numerical.gradient import EPSILON

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.running.replay import Answer, Answers

#: How many directions are taken for an array whose gradient is right. Each takes three evaluations.
DIRECTIONS = 3
#: Roundings of the cost that a third difference may always have.
ROUNDINGS = 4.0
#: An error bar is this many times the error that a typical third difference stands for.
BAR = 3.0
#: The smallest and largest h to begin with, in root mean squares of the array's parameters.
SMALLEST, LARGEST = 2.0**-32, 2.0**-4
#: Another step is taken if the error of a line is more than this many times that of the best step.
_BALANCED = 8.0
#: The factor by which a step may change at most.
_LARGEST_CHANGE = 256.0
#: How many numbers are subtracted at once where a gradient is projected on a step.
_CHUNK = 1 << 16


class Line(NamedTuple):
    """The cost along one direction: h, g·r, the central difference D, and the size of the third difference."""

    step: float
    analytic: float
    slope: float
    third: float

    @property
    def residual(self) -> float:
        """g·r - D."""
        return self.analytic - self.slope

    def bar(self, typical: float) -> float:
        """How far D may be from the derivative, if third differences are of that size."""
        bar = BAR * max(self.third, typical) / (2.0 * self.step)
        return bar if isfinite(bar) and isfinite(self.slope) else inf


class Table:
    """One array as a matrix: its parameters, its gradient, and directions in it.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    gradient : ndarray
        The analytic one; 0 in the entries that are left out.
    left_out : ndarray of bool, or None
        Entries that no direction moves: those already found to be wrong.
    scale : float
        What h is measured by: the root mean square of the parameters, or what has turned out to be needed.
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
        self.scale = norm(self.theta) / sqrt(max(self.theta.size, 1)) or 1.0
        self._seed = seed
        self._drawn = 0

    def leave_out(self, where: NDArray[np.bool_]) -> None:
        """No direction moves these entries any more, besides those left out before."""
        self.left_out = where if self.left_out is None else self.left_out | where
        self.gradient = np.where(self.left_out, 0.0, self.gradient)

    @property
    def largest(self) -> float:
        """The h up to which it may grow."""
        return max(self.scale, LARGEST)

    @property
    def axes(self) -> tuple[int, ...]:
        """The numbers of directions that move one entry each, of all, if these are no more than `DIRECTIONS`."""
        moved = self.theta.size if self.left_out is None else int(np.count_nonzero(~self.left_out))
        return tuple(range(-moved, 0)) if moved <= DIRECTIONS else ()

    def new_direction(self) -> int:
        """The number of a direction that was not used before."""
        self._drawn += 1
        return self._drawn

    def generator(self, *numbers: int) -> np.random.Generator:
        """Random numbers, the same for the same numbers, and of this array alone."""
        return np.random.default_rng((*self._seed, *numbers))

    def direction(self, number: int) -> NDArray[np.float64]:
        """Independent standard normal numbers, the same for the same number; or one of the axes, as long as these."""
        if number < 0:
            moved = np.flatnonzero(np.ones(self.shape, np.bool_) if self.left_out is None else ~self.left_out)
            axis = np.zeros(self.shape)
            axis.flat[moved[number]] = sqrt(len(moved))
            return axis
        r = self.generator(number).standard_normal(self.shape)
        if self.left_out is not None:
            r[self.left_out] = 0.0
        return r


#: A part of a table: rows and columns.
Part = tuple[slice, slice]
WHOLE: Part = (slice(None), slice(None))
#: Makes a direction in a part.
Direction = Callable[[], "NDArray[np.float64]"]


class Probe:
    """Evaluates the cost where a part of one array is moved.

    Parameters
    ----------
    cost : callable
        The cost at a flat vector.
    theta : ndarray
        The parameters.
    base : float
        The cost there.
    answers : Answers
        Who is asked for evaluations.

    Attributes
    ----------
    base : float
    noise : float
        The size of the third differences that rounding makes.
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
        """How well slopes are to be found, relative to ‖g‖: to half of the digits of the cost."""
        return 2.0 * sqrt(self.noise / (ROUNDINGS * abs(self.base)) if self.base else EPSILON)

    def line(self, table: Table, part: Part, direction: Direction, h: float) -> Line:
        """The cost along a direction in a part of the array; it is not made if the answers are known."""
        find = partial(self._evaluate, table, part, cache(direction))
        (plus, ahead), (minus, behind), (twice, _) = (self._answers.next(step, find) for step in (h, -h, 2.0 * h))
        with np.errstate(all="ignore"):
            third = abs((twice - plus) - 2.0 * (plus - self.base) + (self.base - minus))
            slope = (plus - minus) / (2.0 * h)
        return Line(h, (ahead - behind) / (2.0 * h), slope, third if isfinite(third) else inf)

    def _evaluate(self, table: Table, part: Part, direction: Direction, step: float) -> Answer:
        """The cost after a step, and the g·r of what rounding has left of the step."""
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
        """The smallest h at which rounding alone makes a bar of this accuracy, within reason."""
        wanted = BAR * self.noise / (2.0 * accuracy) if accuracy > 0.0 else inf
        return min(max(wanted, SMALLEST * scale), LARGEST * scale)


def better_step(probe: Probe, line: Line, accuracy: float, largest: float) -> float:
    """The step that the line should have had: its own, if there is little to be gained.

    Rounding makes an error n/h, truncation one c of the order of h²: they balance at h (n / hc)^(1/3). Where there is
    only rounding, the step becomes as large as the accuracy needs, up to `largest`.
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


def norm(x: NDArray[np.float64]) -> float:
    """The Euclidean norm of a matrix, whose squares neither over- nor underflow."""
    largest = float(np.abs(x).max(initial=0.0))
    if not 0.0 < largest < inf:
        return largest
    scale = 2.0 ** frexp(largest)[1]
    return scale * float(np.sqrt(np.einsum("ij,ij->", x / scale, x / scale)))


def _project(g: NDArray[np.float64], there: NDArray[np.float64], here: NDArray[np.float64]) -> float:
    """g·(there - here), by pieces: no more than some rows are subtracted at once."""
    rows = max(1, _CHUNK // max(g.shape[1], 1))
    return float(
        sum(
            np.einsum("ij,ij->", g[k : k + rows], there[k : k + rows] - here[k : k + rows])
            for k in range(0, len(g), rows)
        )
    )

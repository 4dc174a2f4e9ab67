"""One array, and the cost along directions in it: what `lines` and `localise` ask, evaluation by evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property, partial
from math import frexp, inf, isfinite, prod, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs.arrays import as_matrix_shape
from gradcheck_fast.numerical.gradient import EPSILON, EXACT_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.running.replay import Answer, Answers

#: How many directions are taken for an array whose gradient is right. Each takes three evaluations.
DIRECTIONS = 3
#: Roundings of the cost that a third difference may always have.
ROUNDINGS = 4.0
#: An error bar is this many times the error that a typical third difference stands for.
BAR = 3.0
#: The smallest h to begin with, in root mean squares of the array's parameters.
SMALLEST = 2.0**-32
#: The largest h to begin with, in the same unit.
LARGEST = 2.0**-4
#: Another step is taken if the error of a line is more than this many times that of the best step.
_BALANCED = 8.0
#: The unit of exact steps is at least this part of the root mean square of the parameters, far above underflow.
SMALLEST_UNIT = 1e-100
#: The factor by which a step may change at most.
_LARGEST_CHANGE = 256.0
#: How accurately exact differences are to give slopes, relative to ‖g‖.
EXACT_ACCURACY = 1e-12
#: How many numbers are subtracted at once where a gradient is projected on a step.
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
    fixed : ndarray of bool, shape (rows, columns), or None
        The entries among these that are not checked; None if there are none.
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
        self.fixed: NDArray[np.bool_] | None = None
        self.scale = norm(self.theta) / sqrt(max(self.theta.size, 1)) or 1.0
        self._seed = seed
        self._drawn = 0

    def leave_out(self, where: NDArray[np.bool_]) -> None:
        """Leaves out these entries, and those left out before: no direction moves them any more."""
        self.left_out = where if self.left_out is None else self.left_out | where
        self.gradient = np.where(self.left_out, 0.0, self.gradient)

    def fix(self, where: NDArray[np.bool_]) -> None:
        """Leaves out entries that are not checked."""
        self.fixed = where
        self.leave_out(where)

    @property
    def free(self) -> int:
        """The number of entries that are not fixed."""
        return int(self.theta.size - (0 if self.fixed is None else np.count_nonzero(self.fixed)))

    @property
    def largest(self) -> float:
        """The largest h to which a step may grow."""
        return max(self.scale, LARGEST)

    @cached_property
    def least(self) -> float:
        """The size of the smallest parameter that is not zero; `scale` if there is none."""
        sizes = np.abs(self.theta)
        return float(sizes.min(initial=self.scale, where=sizes > 0.0))

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
    origin : float
        What an evaluation gives there.
    noise : float
        The size of the third differences that rounding makes. A cost that is a float32 number is rounded to float32.
    """

    def __init__(
        self, cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64], base: float, answers: Answers
    ) -> None:
        self._cost = cost
        self._theta = theta
        self._answers = answers
        self.base = self.origin = base
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
            third = abs((twice - plus) - 2.0 * (plus - self.origin) + (self.origin - minus))
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

    def learns(self, noise: float) -> bool:
        """Takes the noise to be as large as that, and returns whether other steps follow from it."""
        self.noise = noise
        return True

    def unit(self, table: Table) -> float:
        """Returns the unit of the steps for a table."""
        return table.scale

    def step(self, accuracy: float, scale: float) -> float:
        """Returns the smallest h at which rounding makes no wider bar than `accuracy`, from `SMALLEST` to `LARGEST`."""
        wanted = BAR * self.noise / (2.0 * accuracy) if accuracy > 0.0 else inf
        return min(max(wanted, SMALLEST * scale), LARGEST * scale)

    def better_step(self, line: Line, accuracy: float, largest: float) -> float:
        """Returns the step that a line should have had: its own, if there is little to be gained.

        With the step h, rounding makes an error of n/h, and truncation one of c, which is of the order of h². The two
        balance at the step h (n / hc)^(1/3). Where there is only rounding, the step becomes as large as the accuracy
        needs, up to `largest`.
        """
        h = line.step
        rounding, measured = BAR * self.noise / (2.0 * h), BAR * line.third / (2.0 * h)
        if not isfinite(measured):
            return h / _LARGEST_CHANGE
        if measured > _BALANCED * max(rounding, accuracy):
            return h * max(float(np.cbrt(rounding / measured)), 1.0 / _LARGEST_CHANGE)
        if rounding > _BALANCED * accuracy:
            growth = min(rounding / accuracy, _LARGEST_CHANGE) if accuracy else _LARGEST_CHANGE
            return max(h, min(growth * h, largest))
        return h


class ExactProbe(Probe):
    """Evaluates how much the cost changes where a part of one array is moved: a difference that is exact at any step.

    So steps are as small as those of difference arithmetic, nothing is lost to rounding of the cost, and what third
    differences show is the rounding of the changes themselves.

    Parameters
    ----------
    change : callable
        ``change(direction, step)`` gives the change of the cost when the flat parameters move by step times direction.
    size : int
        The number of parameters.
    base : float
        The cost at the parameters.
    answers : Answers
    """

    def __init__(
        self, change: Callable[[NDArray[np.float64], float], float], size: int, base: float, answers: Answers
    ) -> None:
        self._change = change
        self._size = size
        self._answers = answers
        self.base, self.origin, self.noise = base, 0.0, 0.0

    @property
    def accuracy(self) -> float:
        """How accurately slopes are to be found, relative to ‖g‖: smaller steps are tried only beyond this."""
        return EXACT_ACCURACY

    def learns(self, noise: float) -> bool:
        """Returns that no other steps follow: what third differences show is not made by a rounded cost."""
        return False

    def unit(self, table: Table) -> float:
        """Returns the size of the smallest parameter: a step that suits it loses nothing in the others."""
        return max(table.least, SMALLEST_UNIT * table.scale)

    def step(self, accuracy: float, scale: float) -> float:
        """Returns the step of difference arithmetic, in units of `scale`."""
        return EXACT_STEP * scale

    def better_step(self, line: Line, accuracy: float, largest: float) -> float:
        """Returns the step of the line, or a smaller one if it led out of the domain or shows truncation."""
        bar = BAR * line.third / (2.0 * line.step)
        return line.step if bar <= accuracy else line.step / _LARGEST_CHANGE

    def _evaluate(self, table: Table, part: Part, direction: Direction, step: float) -> Answer:
        there, r = self._moved[table.place].reshape(table.shape)[part], direction()
        try:
            there[...] = r
            ahead = step * _project(table.gradient[part], r, np.broadcast_to(0.0, r.shape))
            return float(self._change(self._moved, step)), ahead
        finally:
            there[...] = 0.0

    @cached_property
    def _moved(self) -> NDArray[np.float64]:
        return np.zeros(self._size)


def norm(x: NDArray[np.float64]) -> float:
    """Returns the Euclidean norm of a matrix, without over- or underflow; infinite or NaN where an entry is."""
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

"""Certifies a chained gradient: compares it with differences of the whole cost, which know nothing of the chain rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.numerical.certificate import PROBABILITY, Certificate
from gradcheck_fast.numerical.gradient import EPSILON, EXACT_STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradcheck_fast.engine.chain import Point

#: How many directions there are by default.
DIRECTIONS = 2
#: The agreement up to which a difference is taken for rounding without a second look.
ALLOWED = 2e-14
#: An array whose gradient is small is moved up to this many times further than others, so that it counts as much.
LARGEST_SCALE = 2.0**20
#: The large step, in root mean squares of the parameters of each array.
LARGE_STEP = 2.0**-10
#: Two costs are subtracted to see whether the difference of the large step is right: they may have this many roundings.
LARGE_ROUNDINGS = 4096.0
#: The standard deviation of the sum of two uniform 16-bit integers.
_DEVIATION = 2.0**16 / math.sqrt(6.0)


class Directions:
    """Random directions: independent numbers, with a standard deviation of its own for each array.

    A number is the sum of two uniform ones, and so nearly normal: its density at 0 is 0.408, that of a normal one
    0.399. It takes a fifth of the time.

    Parameters
    ----------
    sizes : sequence of int
        The numbers of entries of the arrays.
    seed : int
    """

    def __init__(self, sizes: Sequence[int], seed: int) -> None:
        self._ends = np.cumsum([0, *sizes])
        self._bits = np.random.SFC64(seed)

    def draw(self, scales: Sequence[float]) -> NDArray[np.float64]:
        """Returns the next direction; `scales` are the standard deviations in each array."""
        size = int(self._ends[-1])
        raw = self._bits.random_raw(-(-size // 2)).view(np.int16)
        direction = np.empty(size)
        for begin, end, scale in zip(self._ends[:-1], self._ends[1:], scales, strict=True):
            part = direction[begin:end]
            np.add(raw[2 * begin : 2 * end : 2], raw[2 * begin + 1 : 2 * end : 2], out=part, dtype=np.float64)
            part *= scale / _DEVIATION
        return direction

    def norms(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the Euclidean norm of each array of a flat vector."""
        pairs = zip(self._ends[:-1], self._ends[1:], strict=True)
        return np.array([math.sqrt(np.einsum("i,i->", vector[a:b], vector[a:b])) for a, b in pairs])


def certify(
    point: Point, gradient: NDArray[np.float64], *, directions: int = DIRECTIONS, seed: int = 0
) -> Certificate:
    """Compares a gradient with differences of the whole cost along random directions, and with one large step.

    An array moves in inverse proportion to the norm of its gradient, within limits, so that an error in any array shows
    alike. The steps are so small that truncation is below rounding, however far an array moves.

    Parameters
    ----------
    point : Point
        The program at the parameters, in use.
    gradient : ndarray of float64, shape (size,)
        The derivative of the program's cost by every parameter, all finite.
    directions : int
    seed : int
        Of the random numbers.
    """
    program = point.engine.program
    sizes = [int(np.prod(program.steps[number].shape, dtype=np.intp)) for number in program.parameters]
    drawn = Directions(sizes, seed)
    norms = drawn.norms(gradient)
    largest = float(norms.max(initial=0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.where(norms > 0.0, np.minimum(largest / norms, LARGEST_SCALE), 1.0)
    typical = math.sqrt(float(np.sum((scales * norms) ** 2)))  # the standard deviation of g·r
    h = EXACT_STEP / float(scales.max(initial=1.0))
    worst = 0.0
    for _ in range(directions):
        direction = drawn.draw(scales)
        plus, minus = point.along(direction, (h, -h))
        worst = max(worst, abs((plus - minus) / (2.0 * h) - float(np.einsum("i,i->", gradient, direction))))
    agreement = worst / typical if typical else (0.0 if worst == 0.0 else math.inf)
    large, large_allowed = _large_step(point, drawn, sizes)
    with np.errstate(divide="ignore"):
        power = _seen(directions) * ALLOWED * typical / (scales * norms)[norms > 0.0]
    return Certificate(directions, agreement, ALLOWED, large, large_allowed, float(power.max(initial=0.0)))


def _seen(directions: int) -> float:
    """Returns how many times an agreement that is allowed an error must be to be seen with `PROBABILITY`.

    An error of the standard deviation s goes unseen along all n directions if each of n normal numbers is less than
    1/s: with the probability erf(1 / (s √2))^n, where erf(x) is about 2 x / √π.
    """
    missed = (1.0 - PROBABILITY) ** (1.0 / directions)
    return math.sqrt(2.0 / math.pi) / missed


def _large_step(point: Point, drawn: Directions, sizes: Sequence[int]) -> tuple[float, float]:
    """Compares the exact difference of a large step with the difference of two costs; both over the larger cost."""
    roots = drawn.norms(point.theta) / np.sqrt(np.maximum(sizes, 1))
    direction = drawn.draw(np.where(roots > 0.0, roots, 1.0))
    (change,), before = point.along(direction, (LARGE_STEP,)), point.cost()
    direction *= LARGE_STEP
    direction += point.theta
    with point.engine.at(direction, point.n_threads) as moved:
        after = moved.cost()
    size = max(abs(before), abs(after))
    return (abs((after - before) - change) / size if size else 0.0), LARGE_ROUNDINGS * EPSILON

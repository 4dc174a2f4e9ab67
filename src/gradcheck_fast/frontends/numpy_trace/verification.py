"""No trace is believed: what it says is compared with the user's function, at the parameters and beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.trace import Traced, record
from gradcheck_fast.numerical.gradient import EPSILON, jitter
from gradcheck_fast.program.program import Source
from gradcheck_fast.program.steps.leaves import PARAMETER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rules import RulesEngine
    from gradcheck_fast.inputs.trees import Packed

#: The changes of the cost are compared for steps of these sizes, in root mean squares of each array. If the largest
#: crosses a branch, the trace holds only in between.
SIZES = (2.0**-16, 2.0**-26)
#: The steps with which the function is asked which of two gradients is right; larger ones show smaller errors.
LOOKS = (2.0**-8, 2.0**-14, 2.0**-20)
#: An error shows if it changes the cost by this many times what may be rounding.
FEWEST_NOISES = 2.0
#: Along this many directions, to both sides.
DIRECTIONS = 2
#: The costs may have this many roundings.
ROUNDINGS = 256.0
#: How many times what some roundings of the parameters change in the cost it may be off.
CONDITION = 16.0


class Verification:
    """Compares a trace with the function that was traced.

    Parameters
    ----------
    cost : callable
        The function, of flat vectors: it is called with plain arrays, and may raise anything.
    value : float
        What the trace gave at the parameters.
    engine : RulesEngine
        Of the program that was traced.
    theta : ndarray of float64, shape (size,)
        The parameters.
    """

    def __init__(
        self, cost: Callable[[NDArray[np.float64]], float], value: float, engine: RulesEngine,
        theta: NDArray[np.float64],
    ) -> None:  # fmt: skip
        self._cost, self._value, self._engine, self._theta = cost, value, engine, theta

    def disagreement(self, alone: NDArray[np.bool_]) -> str:
        """Returns where the trace and the function part; an empty string if they do not.

        Parameters
        ----------
        alone : ndarray of bool, shape (size,)
            Entries that are moved once more by themselves, so that nothing hides what they do.
        """
        base = self._cost(self._theta)
        value = self._value
        if not abs(value - base) <= self._allowed(base, base):
            return f"its value is {value!r} where the function's is {base!r}"
        random = np.random.default_rng(0)
        sizes = self._sizes()
        directions = [random.standard_normal(self._theta.size) * sizes for _ in range(DIRECTIONS)]
        return self._first_of(directions, base) or self.of_entries(alone, base)

    def of_entries(self, alone: NDArray[np.bool_], base: float | None = None) -> str:
        """Returns where the trace and the function part if only some entries are moved; "" if they do not."""
        if not alone.any():
            return ""
        direction = np.random.default_rng(1).standard_normal(self._theta.size) * self._sizes()
        return self._first_of([np.where(alone, direction, 0.0)], self._cost(self._theta) if base is None else base)

    def sides_with_trace(self, errors: NDArray[np.float64]) -> bool | None:
        """Tells whether the function itself says that a gradient which differs from the trace's by `errors` is wrong.

        The parameters are moved along the errors. The trace says exactly by how much the cost then changes, and the
        other gradient says something else, by the size of the errors. Returns None if rounding hides the difference.
        """
        direction = errors / np.linalg.norm(errors)
        moving = direction != 0.0
        farthest = float((self._sizes()[moving] / np.abs(direction[moving])).min())
        for size in LOOKS:
            h = size * farthest
            expected = h * float(np.linalg.norm(errors))
            with self._engine.at(self._theta, 1) as point:
                plus, minus = point.along(direction, (h, -h)).tolist()
            right, left = self._cost(self._theta + h * direction), self._cost(self._theta - h * direction)
            if not FEWEST_NOISES * self._allowed(right, left) <= expected:
                return None
            if abs(0.5 * (right - left) - 0.5 * (plus - minus)) <= 0.5 * expected:
                return True
        return False

    def _first_of(self, directions: Sequence[NDArray[np.float64]], base: float) -> str:
        for direction in directions:
            said = ""
            for size in SIZES:
                said = self._along(direction, size, base)
                if not said:
                    break
            if said:
                return said
        return ""

    def _sizes(self) -> NDArray[np.float64]:
        """Returns for each entry the root mean square of its array, or 1 where that is zero."""
        sizes = np.empty_like(self._theta)
        begin = 0
        for count in self._engine.sizes:
            part = self._theta[begin : begin + count]
            root = float(np.sqrt(np.mean(np.square(part)))) if count else 0.0
            sizes[begin : begin + count] = root or 1.0
            begin += count
        return sizes

    def _along(self, direction: NDArray[np.float64], size: float, base: float) -> str:
        """Compares the changes of the cost along a direction, to both sides."""
        with self._engine.at(self._theta, 1) as point:
            traced = point.along(direction, (size, -size))
        for sign, change in zip((1.0, -1.0), traced.tolist(), strict=True):
            moved = self._theta + sign * size * direction
            found = self._cost(moved)
            off, allowed = abs((found - base) - change), self._allowed(found, base)
            if not off <= allowed:
                rounded = abs(self._cost(jitter(moved)) - found) + abs(self._cost(jitter(self._theta)) - base)
                if not off <= allowed + CONDITION * rounded:
                    return (
                        f"beside the parameters the cost changes by {found - base:.6g}, and the trace says {change:.6g}"
                    )
        return ""

    @staticmethod
    def _allowed(found: float, base: float) -> float:
        return ROUNDINGS * EPSILON * max(abs(found), abs(base), 1e-300)


def first_parting(function: Callable[[Any], Any], params: Packed, traced: Traced, theta: NDArray[np.float64]) -> str:
    """Returns the line at which a trace first parts from another one of the same function, made at `theta`."""
    moved = replace(params, join=lambda: theta)
    try:
        other = record(function, moved)
    except Untraceable as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__} was raised beside the parameters: {error}"
    for step, again in zip(traced.program.steps, other.program.steps, strict=False):
        if (step.name, step.inputs, step.shape, step.source) != (again.name, again.inputs, again.shape, again.source):
            return f"{again.source}: another way is taken beside the parameters"
        if step.name != PARAMETER.name and not _same_attributes(step.attributes, again.attributes):
            return f"{step.source}: a number that was taken for a constant is another beside the parameters"
    if len(traced.program.steps) != len(other.program.steps):
        source: Source = other.program.steps[min(len(traced.program.steps), len(other.program.steps)) - 1].source
        return f"{source}: beside the parameters there are more steps after this line, or fewer"
    return ""


def _same_attributes(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(first[name], second[name], equal_nan=True)
        if isinstance(first[name], np.ndarray) and first[name].dtype.kind == "f"
        else np.array_equal(first[name], second[name])
        if isinstance(first[name], np.ndarray)
        else callable(first[name]) or first[name] == second[name]
        for name in first
    )

"""No trace is believed: what it says is compared with the user's function, at the parameters and beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.trace import Traced, record
from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.arrays import by_arrays
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.numerical.evaluate import cost_beside
from gradcheck_fast.numerical.gradient import COARSE_JITTER, EPSILON, JITTER, jitter
from gradcheck_fast.numerical.in_domain import inside
from gradcheck_fast.program.steps.leaves import PARAMETER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rules import RulesEngine
    from gradcheck_fast.inputs.domain import Domain
    from gradcheck_fast.inputs.trees import Packed

#: The parameters are moved by these sizes, in root mean squares of each array; if the trace does not hold there, also
#: in sizes of each entry. If the largest crosses a branch, the trace holds only in between.
SIZES = (2.0**-16, 2.0**-26)
#: What a trace lacks may hide beside a large constant: agreement counts if the move changes the cost by this many times
#: what may be rounding, and larger moves are tried until one does.
POWER = 2.0**20
LARGER_SIZES = (2.0**-10, 2.0**-6, 2.0**-2)
#: Where plain numbers were made of traced ones, what is computed from them may be lacking: every array is then moved
#: alone, too, if there are no more arrays than this.
MOST_ARRAYS = 64
_COMPARISONS = {"greater", "greater_equal", "less", "less_equal", "equal", "not_equal"}
#: The same for a function that rounds to fewer digits than those of float64, such as one that fills arrays of float32.
COARSE_SIZES = (2.0**-6, 2.0**-10)
#: The steps with which the function is asked which of two gradients is right; larger ones show smaller errors.
LOOKS = (2.0**-2, 2.0**-8, 2.0**-14, 2.0**-20)
#: An error shows if it changes the cost by this many times what may be rounding.
FEWEST_NOISES = 2.0
#: A gradient explains a change of the cost if it gives it to this part of the error that it is said to have.
EXPLAINED = 0.1
#: Along this many random directions, along the first of them to both sides.
DIRECTIONS = 2
SIDES = np.array([1.0, -1.0])
#: The costs may have this many roundings.
ROUNDINGS = 256.0
#: And so many where it rounds to fewer digits, for then nothing smaller would show.
COARSE_ROUNDINGS = 16.0
#: How many times what some roundings of the parameters change in the cost it may be off.
CONDITION = 16.0


class Verification:
    """Compares a trace with the function that was traced.

    Parameters
    ----------
    cost : callable
        The function, of flat vectors: it is called with plain arrays, and may raise anything.
    engine : RulesEngine
        Of the program that was traced.
    theta : ndarray of float64, shape (size,)
        The parameters.
    rounding : float
        To which part of their size the function rounds numbers.
    has_leaks : bool
        Whether plain numbers were made of values that depend on the parameters: these may matter.
    base : float, optional
        The cost of the function at the parameters, if it is known.
    """

    def __init__(
        self, cost: Callable[[NDArray[np.float64]], float], engine: RulesEngine, theta: NDArray[np.float64],
        rounding: float = EPSILON, has_leaks: bool = False, base: float | None = None,
    ) -> None:  # fmt: skip
        self.cost, self._engine, self._theta, self._rounding = cost, engine, theta, rounding
        self._has_leaks = has_leaks and rounding == EPSILON
        self._base = base
        #: Where the parameters may be moved; None: anywhere.
        self.domain: Domain | None = None
        #: Whether the function had to be called at parameters that are moved by some roundings, to see what these do.
        self.has_jittered = False

    def disagreement(self, alone: NDArray[np.bool_]) -> str:
        """Returns where the trace and the function part; an empty string if they do not.

        Parameters
        ----------
        alone : ndarray of bool, shape (size,)
            Entries that are moved once more by themselves, so that nothing hides what they do.
        """
        base = self.base
        value = self._other_cost(self._theta, base)
        if value is not None:
            return f"its value is {value!r} where the function's is {base!r}"
        random = generator(0)
        directions = [random.standard_normal(self._theta.size) for _ in range(DIRECTIONS)]
        if self._has_leaks and 1 < len(self._engine.sizes) <= MOST_ARRAYS:
            array_of = np.repeat(np.arange(len(self._engine.sizes)), self._engine.sizes)
            directions += [np.where(array_of == number, directions[0], 0.0) for number in np.unique(array_of)]
        return self._first_of(directions, base) or self.of_entries(alone)

    @property
    def base(self) -> float:
        """The cost of the function at the parameters."""
        if self._base is None:
            self._base = self.cost(self._theta)
        return self._base

    def moved(self, size: float) -> NDArray[np.float64]:
        """Returns the parameters, each moved at random by about this part of its size."""
        move = size * self._own_sizes * generator(0).standard_normal(self._theta.size)
        return inside(self.domain, self._theta + move, self._theta)

    def has_value(self, base: float) -> bool:
        """Whether the trace has the value of the function at the parameters, which is `base`."""
        return self._other_cost(self._theta, base) is None

    def of_entries(self, alone: NDArray[np.bool_]) -> str:
        """Returns where the trace and the function part if only some entries are moved; "" if they do not."""
        if not alone.any():
            return ""
        direction = generator(1).standard_normal(self._theta.size)
        return self._first_of([np.where(alone, direction, 0.0)], self.base)

    def sides_with_trace(self, gradient: NDArray[np.float64], errors: NDArray[np.float64]) -> bool | None:
        """Tells whether the function itself says that a gradient which differs from the trace's by `errors` is wrong.

        The parameters are moved along the errors. The trace says exactly by how much the cost then changes, and the
        other gradient says something else, by the size of the errors. The trace is right where its change is that of
        the function, unless the other gradient explains that change, too: then the function goes in small stairs, and
        its slope is not that of their treads. Nor does the trace decide if the other slope lies between those to both
        sides of a kink. Returns None if rounding hides the difference.

        Parameters
        ----------
        gradient, errors : ndarray of float64, shape (size,)
            The gradient of the trace, and how far the other one lies from it.
        """
        errors, to_both_sides = self._that_can_move(errors)
        largest = np.abs(errors).max()
        norm = float(np.linalg.norm(errors / largest))
        direction, norm = errors / largest / norm, float(largest * norm)
        moving, seen, base = direction != 0.0, False, self.base
        slope = float(gradient[moving] @ direction[moving])
        if to_both_sides and self._is_between(direction, slope + norm, EXPLAINED * norm):
            return False
        for sizes in (self._sizes, self._own_sizes):
            with np.errstate(over="ignore"):
                farthest = float((sizes[moving] / np.abs(direction[moving])).min())
            for size in LOOKS:
                h = size * farthest
                costs = np.array([self._cost_inside(self._theta + sign * h * direction) for sign in SIDES])
                defined = np.isfinite(costs)  # if it is defined to one side only, that has to do
                largest = np.abs(costs[defined]).max(initial=0.0)
                if not defined.any() or not FEWEST_NOISES * self._allowed(largest, base) <= h * norm:
                    continue
                seen = True
                with self._engine.at(self._theta, 1) as point:
                    traced = point.along(direction, (h, -h))
                change, own = (float(np.mean((of * SIDES)[defined])) for of in (costs - base, traced))
                is_explained = abs(change - h * (slope + norm)) <= EXPLAINED * h * norm
                if abs(change - own) <= 0.5 * h * norm and not is_explained:
                    return True
        return False if seen else None

    def _that_can_move(self, errors: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
        """Leaves out errors of entries at bounds, unless these are most of them: then those that one move allows.

        Also returns whether the others can be moved to both sides.
        """
        if self.domain is None:
            return errors, True
        above, below = self.domain.high - self._theta, self._theta - self.domain.low
        ahead, behind = np.where(errors > 0.0, above, below), np.where(errors > 0.0, below, above)
        size = LOOKS[1] * self._own_sizes
        choices = [np.where(room >= size, errors, 0.0) for room in (np.minimum(ahead, behind), ahead, behind)]
        norms = [float(np.linalg.norm(choice)) for choice in choices]
        best = 0 if norms[0] >= 0.5 * max(norms) else int(np.argmax(norms))
        return (choices[best], best == 0) if norms[best] else (errors, True)

    def _cost_inside(self, theta: NDArray[np.float64]) -> float:
        """Returns the cost of the function beside the parameters; NaN where they must not be moved."""
        moved = theta if self.domain is None else self.domain.on_constraints(theta)
        return cost_beside(self.cost, moved) if self.domain is None or self.domain.holds(moved) else np.nan

    def _is_between(self, direction: NDArray[np.float64], slope: float, unit: float) -> bool:
        """Tells whether the slopes to both sides differ by more than a unit, and a slope is one of these or between."""
        moving = direction != 0.0
        with np.errstate(over="ignore"):
            h = self._engine.smallest_step * float((self._own_sizes[moving] / np.abs(direction[moving])).min())
        with self._engine.at(self._theta, 1) as point:
            low, high = sorted((point.along(direction, (h, -h)) * SIDES / h).tolist())
        return bool(high - low > unit and low - unit <= slope <= high + unit)

    def _first_of(self, directions: Sequence[NDArray[np.float64]], base: float) -> str:
        signs: tuple[float, ...] = (1.0, -1.0)  # to both sides along the first direction
        for direction in directions:
            said = self._along(direction, signs, base)
            if said:
                return said
            signs = (1.0,)
        return ""

    def _along(self, direction: NDArray[np.float64], signs: tuple[float, ...], base: float) -> str:
        steps, scales = SIZES if self._rounding == EPSILON else COARSE_SIZES, (self._sizes, self._own_sizes)
        for scale, size in itertools.product(scales, steps):
            said, change = self._beside(size * scale * direction, signs, base)
            if said:
                continue
            if self._rounding > EPSILON or self._shows(change, base):
                return ""
            if size == steps[0] or self._has_leaks or not self._has_branches():
                return self._farther(scale * direction, base)
            return ""  # a branch lies in between
        return said

    def _farther(self, direction: NDArray[np.float64], base: float) -> str:
        """Compares the costs where they change more, for what changed was too little to show what the trace lacks."""
        change = 0.0
        for size in LARGER_SIZES:
            said, change = self._beside(size * direction, SIDES[:1], base)
            if said or self._shows(change, base):
                return said
        if self._has_leaks and change > self._allowed(base, base):
            return "its value is rounded so much that nothing confirms it"
        return ""

    def _has_branches(self) -> bool:
        """Tells whether the function compares values to branch on what it finds: no step needs that."""
        steps, needed = self._engine.program.steps, set(self._engine.program.needed)
        return any(step.name in _COMPARISONS and number not in needed for number, step in enumerate(steps))

    def _shows(self, change: float, base: float) -> bool:
        """Tells whether the cost changes so much that what the trace lacks would show."""
        return change >= POWER * self._allowed(base, base)

    @cached_property
    def _sizes(self) -> NDArray[np.float64]:
        """Returns for each entry the root mean square of its array, or 1 where that is zero."""
        sizes = by_arrays(self._theta, self._engine.sizes, root_mean_square)
        return np.where(sizes == 0.0, 1.0, sizes)

    @cached_property
    def _own_sizes(self) -> NDArray[np.float64]:
        """Returns the size of each entry; where that is zero, the root mean square of its array."""
        return np.where(self._theta == 0.0, self._sizes, np.abs(self._theta))

    def _beside(self, move: NDArray[np.float64], signs: Iterable[float], base: float) -> tuple[str, float]:
        """Compares the costs of the function and of its trace where the parameters are moved, to one side or to both.

        Returns where they part, and by how much the cost changes.
        """
        change = 0.0
        for sign in signs:
            moved = inside(self.domain, self._theta + sign * move, self._theta)
            try:
                found = self.cost(moved)
            except Exception as error:
                said = f"{type(error).__name__} is raised: {str(error).partition(chr(10))[0]}"
                return f"beside the parameters {said}", change
            traced, change = self._other_cost(moved, found), abs(found - base)
            if traced is not None:
                here, there = found - base, traced - base
                digits = 6 if f"{here:.6g}" != f"{there:.6g}" else 17
                changes = f"the cost changes by {here:.{digits}g}, and the trace says {there:.{digits}g}"
                return f"beside the parameters {changes}", change
        return "", change

    def _other_cost(self, theta: NDArray[np.float64], cost: float) -> float | None:
        """Returns the cost that the trace gives; None if that is the function's, but for rounding."""
        with self._engine.at(theta, 1) as point:
            traced = point.cost()
        with np.errstate(invalid="ignore"):
            off, allowed = abs(traced - cost), self._allowed(cost, cost)
        if off <= allowed or traced == cost or (np.isnan(traced) and np.isnan(cost)):  # infinities, too
            return None
        self.has_jittered = True
        near = jitter(theta, JITTER if self._rounding == EPSILON else COARSE_JITTER)
        beside = cost_beside(self.cost, inside(self.domain, near, theta))
        return None if off <= allowed + CONDITION * abs(beside - cost) else traced

    def _allowed(self, found: float, base: float) -> float:
        roundings = ROUNDINGS if self._rounding == EPSILON else COARSE_ROUNDINGS
        return roundings * self._rounding * max(abs(found), abs(base), 1e-300)


def first_parting(function: Callable[[Any], Any], params: Packed, traced: Traced, theta: NDArray[np.float64]) -> str:
    """Returns the line at which a trace first parts from another one of the same function, made at `theta`.

    If a plain number was made of a traced value before that, it returns the line of that, and what to write there.
    """
    try:
        other = record(function, replace(params, join=lambda: theta))
    except Untraceable as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__} was raised beside the parameters: {error}"
    steps, others = traced.program.steps, other.program.steps
    said, place = "", min(len(steps), len(others))
    for number, (step, again) in enumerate(zip(steps, others, strict=False)):
        if (step.name, step.inputs, step.shape, step.source) != (again.name, again.inputs, again.shape, again.source):
            said, place = f"{again.source}: another way is taken beside the parameters", number
            break
        if step.name != PARAMETER.name and not _same_attributes(step.attributes, again.attributes):
            said = f"{step.source}: a number that was taken for a constant is another beside the parameters"
            place = number
            break
    else:
        if len(steps) != len(others):
            said = f"{others[place - 1].source}: beside the parameters there are more steps after this line, or fewer"
    leaks = [leak for leak in traced.leaks if leak.steps <= place]
    return str(leaks[-1].error) if leaks else said


def _same_attributes(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(first[name], second[name], equal_nan=True)
        if isinstance(first[name], np.ndarray) and first[name].dtype.kind == "f"
        else np.array_equal(first[name], second[name])
        if isinstance(first[name], np.ndarray)
        else callable(first[name]) or first[name] == second[name]
        for name in first
    )

"""Goes back through the steps of any program, right or wrong in a known way. It only serves the diagnosis.

Back-propagation is linear: what a mistake changes on the way back can be followed by itself, as the difference between
the wrong sensitivities and the right ones, from the place of the mistake to the parameters. Most steps are not reached.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from gradcheck_fast.diagnosis.graph.rows import MOVES, Moves, of_matrices, of_rows
from gradcheck_fast.program.primitive import same_entry, sum_to_shape
from gradcheck_fast.program.steps.arithmetic import ADD, MULTIPLY
from gradcheck_fast.program.steps.movement import GATHER, RESHAPE
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.rows import OfRows
    from gradcheck_fast.engine.rules import RulesEngine
    from gradcheck_fast.program.program import Step

    Reals: TypeAlias = NDArray[np.float64]

T = TypeVar("T")
#: A function of a step's number: the sensitivity of that step, as the mistakes above have left it.
Bars: TypeAlias = "Callable[[int], Reals]"
#: A function of the sensitivities, and of that of the step. It returns what goes back along an edge; None if nothing.
EdgeRule: TypeAlias = "Callable[[Bars, Reals], Reals | None]"
#: The same for all that goes back from a step: pairs of a step, which may lie far below, and of what goes back to it.
BlockRule: TypeAlias = "Callable[[Bars, Reals], Iterable[tuple[int, Reals]]]"


@dataclass(frozen=True, eq=False)
class OfSensitivity:
    """The edge rule by which what goes back is computed as it should be, but from the sensitivity of another step.

    Attributes
    ----------
    backward : Backward
    number, k : int
        The edge.
    other : int
        The other step.
    """

    backward: Backward
    number: int
    k: int
    other: int

    def __call__(self, bars: Bars, up: Reals) -> Reals:
        return self.backward.through(self.number, self.k, bars(self.other))


@dataclass(frozen=True, eq=False)
class Scaled:
    """The edge rule by which what goes back as it should is multiplied by a factor.

    Attributes
    ----------
    backward : Backward
    number, k : int
        The edge.
    factor : float
    """

    backward: Backward
    number: int
    k: int
    factor: float

    def __call__(self, bars: Bars, up: Reals) -> Reals:
        return self.factor * self.backward.through(self.number, self.k, up)


#: The slopes of the steps that add their inputs up, with these signs.
_SIGNS = {"add": (1.0, 1.0), "subtract": (1.0, -1.0), "negative": (-1.0,)}
#: What is smaller than this part of the largest entry of a gradient is rounding.
_ROUNDING = 1e-14


class Change(NamedTuple):
    """The rules that replace the right ones.

    Attributes
    ----------
    edges : mapping of (int, int) to callable
        By the step and the number of its input: what goes back from the step to that input.
    blocks : mapping of int to callable
        By the step: all that goes back from it. The steps between it and those that the rule names get nothing from it.
    """

    edges: Mapping[tuple[int, int], EdgeRule] = {}
    blocks: Mapping[int, BlockRule] = {}

    @property
    def steps(self) -> set[int]:
        """The numbers of the steps from which something else goes back."""
        return {number for number, _ in self.edges} | set(self.blocks)


def merged(changes: Iterable[Change]) -> Change:
    """Merges changes that do not overlap into one."""
    found = list(changes)
    return Change(
        {place: rule for change in found for place, rule in change.edges.items()},
        {place: rule for change in found for place, rule in change.blocks.items()},
    )


class Backward:
    """A program at some parameters, with the right sensitivities of all of its steps.

    Parameters
    ----------
    engine : RulesEngine
    theta : ndarray of float64, shape (size,)
        The parameters.

    Attributes
    ----------
    steps : list of Step
        Those of the program.
    values : list of ndarray or None
        The value of each step; None for those that no cost depends on.
    bars : dict of int to ndarray
        The derivatives of the cost by the steps that depend on a parameter, by the numbers of the steps.
    parameters : list of int
        The numbers of the steps that are arrays of parameters, in the order of the flat vector.
    """

    def __init__(self, engine: RulesEngine, theta: Reals) -> None:
        self.engine, self.theta, self.program = engine, theta, engine.program
        self.steps: Sequence[Step] = engine.program.steps
        self.parameters = engine.program.parameters
        self._point = engine.at(theta, 1)
        self.values: list[Reals] = self._point.values
        self.bars: dict[int, Reals] = self._point.sensitivities()
        self._rules = {row[0]: row for row in engine.plan.backs}
        self._slopes: dict[tuple[int, int], Reals] = {}
        self._flows: dict[tuple[int, int], Reals] = {}
        self._in_series: dict[tuple[tuple[int, int] | int, ...], bool] = {}
        self._computed: dict[Hashable, Any] = {}
        self._ways: dict[tuple[int, int], OfRows] = {}
        self._moves: dict[int, Moves] = {}
        self._rows: dict[tuple[int, int], OfRows] = {}

    # ---- the right way back

    def x(self, number: int) -> list[Reals]:
        """Returns the values of the inputs of a step."""
        return [self.values[k] for k in self.steps[number].inputs]

    def inner(self, number: int) -> list[tuple[int, int]]:
        """Returns the inputs of a step that depend on parameters: their places among the inputs, and their numbers."""
        return self._rules[number][5] if number in self._rules else []

    def is_entrywise(self, number: int) -> bool:
        """Whether a step acts entry by entry, on inputs that may be broadcast."""
        return self.steps[number].primitive.reach is same_entry

    def slope(self, number: int, k: int) -> Reals:
        """Returns the slopes of an entrywise step by its input k, of the shape of the step's value."""
        if (number, k) not in self._slopes:
            self._slopes[number, k] = self._slope(number, k)
        return self._slopes[number, k]

    def _slope(self, number: int, k: int) -> Reals:
        name, x, shape = self.steps[number].name, self.x(number), np.shape(self.values[number])
        if name in _SIGNS:  # linear steps: their slopes need no differences
            return np.full(shape, _SIGNS[name][k])
        if name == MULTIPLY.name:
            return np.broadcast_to(x[1 - k], shape)
        wide = [at if np.shape(at) == shape else np.broadcast_to(at, shape) for at in x]
        return self._by_rule(number, k, np.ones(shape), wide)

    def through(self, number: int, k: int, up: Reals) -> Reals:
        """Returns what goes back from a step to its input k, if `up` is the sensitivity of the step."""
        ways = self._ways
        way = ways[number, k] if (number, k) in ways else ways.setdefault((number, k), self._way(number, k))
        return way(up)

    def _way(self, number: int, k: int) -> OfRows:
        """Returns the function that takes a sensitivity of a step back to its input k."""
        step, x = self.steps[number], self.x(number)
        if self.is_entrywise(number):
            slope, shape = self.slope(number, k), np.shape(x[k])
            if slope.shape == shape and step.primitive is ADD:
                return lambda up: up
            if slope.shape == shape:
                return partial(np.multiply, slope)
            return lambda up: sum_to_shape(up * slope, shape)
        if step.primitive is GATHER:  # its rule finds all inputs, whichever is asked for
            of_rows = self.of_rows(number, k)
            return lambda up: np.asarray(of_rows(up[np.newaxis])[0])
        rule, attributes = self._rules[number][1], step.attributes
        if step.primitive is MATMUL:
            return of_matrices(x[0], x[1], k) or (lambda up: np.asarray(rule(x, k, up)))
        if step.primitive is RESHAPE:
            return lambda up: up.reshape(x[0].shape)
        if step.primitive in MOVES:
            return lambda up: np.asarray(rule(x, k, up, **attributes))
        if {"axis", "keepdims"} <= attributes.keys():  # each part has a weight
            weights = self._by_rule(number, k, np.ones(step.shape), x)
            kept = [1 if at in attributes["axis"] else length for at, length in enumerate(weights.shape)]
            return lambda up: up.reshape(kept) * weights
        return partial(self._by_rule, number, k, x=x)

    def flow(self, number: int, k: int) -> Reals:
        """Returns what rightly goes back from a step to its input k."""
        if (number, k) not in self._flows:
            self._flows[number, k] = self.through(number, k, self.bars[number])
        return self._flows[number, k]

    def _by_rule(self, number: int, k: int, up: Reals, x: list[Reals]) -> Reals:
        rule, attributes = self._rules[number][1], self._rules[number][4]
        with np.errstate(all="ignore"):
            return np.asarray(rule(x, k, up, **attributes))

    @cached_property
    def learned(self) -> set[int]:
        """The arrays of parameters whose gradient is more than rounding, unlike that of a bias before a normalisation.

        They are given by the numbers of their steps.
        """
        sizes = {n: float(np.abs(self.bars[n]).max(initial=0.0)) for n in self.parameters if n in self.bars}
        largest = max(sizes.values(), default=0.0)
        return {number for number, size in sizes.items() if size > _ROUNDING * largest}

    @cached_property
    def readers(self) -> dict[int, list[tuple[int, int]]]:
        """The steps that read each step, and through which the cost depends on it: (step, number of the input)."""
        found: dict[int, list[tuple[int, int]]] = {}
        for number in self.bars:
            for k, source in self.inner(number):
                found.setdefault(source, []).append((number, k))
        return found

    @cached_property
    def above(self) -> list[int]:
        """For each step the set of the steps that it depends on, as bits of one integer, itself included."""
        found = [0] * len(self.steps)
        for number, step in enumerate(self.steps):
            bits = 1 << number
            for source in step.inputs:
                bits |= found[source]
            found[number] = bits
        return found

    def is_in_series(self, change: Change) -> bool:
        """Whether a mistake changes what comes to another of its own places, as one that is made at every time does."""
        key: tuple[tuple[int, int] | int, ...] = (*change.edges, *change.blocks)
        if key not in self._in_series:
            bits = sum(1 << number for number in change.steps)
            below = [self.above[self.steps[number].inputs[k]] for number, k in change.edges]
            below += [self.above[number] ^ 1 << number for number in change.blocks]
            self._in_series[key] = any(above & bits for above in below)
        return self._in_series[key]

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Returns what a function computes from the values alone; it is called the first time that a key is given."""
        if key not in self._computed:
            self._computed[key] = compute()
        found: T = self._computed[key]
        return found

    def reach(self, change: Change) -> int:
        """Returns the steps that those where a mistake is made depend on, as bits."""
        bits, last = 0, -1
        for number, _ in change.edges:
            if number != last:
                bits |= self.above[number]
                last = number
        for number in change.blocks:
            bits |= self.above[number]
        return bits

    def arrays_below(self, numbers: Iterable[int]) -> set[int]:
        """Returns the arrays of parameters that some steps depend on, as places in `parameters`."""
        bits = 0
        for number in numbers:
            bits |= self.above[number]
        return {place for place, number in enumerate(self.parameters) if bits >> number & 1}

    # ---- a wrong way back

    def change_of_gradient(self, change: Change) -> dict[int, Reals]:
        """Returns by how much a mistake changes the gradient, by the numbers of the steps that are parameters."""
        return {number: found for number, found in self.change_of_bars(change).items() if number in self._is_parameter}

    def change_of_bars(self, change: Change) -> dict[int, Reals]:
        """Returns by how much a mistake changes the sensitivities, by the numbers of all steps that it reaches."""
        off: dict[int, Reals] = {}
        bars, changed = self.bars_with(off), change.steps & self.bars.keys()

        def add(source: int, back: Reals) -> None:
            off[source] = off[source] + back if source in off else back

        with np.errstate(all="ignore"):
            for number in range(max(changed, default=-1), -1, -1):
                own = off.get(number)
                block = change.blocks.get(number) if number in changed else None
                for source, back in block(bars, bars(number)) if block is not None else ():
                    add(source, back)
                for k, source in self.inner(number) if number in changed or own is not None else ():
                    rule = change.edges.get((number, k))
                    if block is not None:
                        add(source, -self.flow(number, k))
                    elif rule is not None and number in changed:
                        instead = rule(bars, bars(number))
                        add(source, -self.flow(number, k) if instead is None else instead - self.flow(number, k))
                    elif own is not None:
                        add(source, self.through(number, k, own))
        return off

    def local(self, change: Change) -> dict[object, Reals]:
        """Returns by how much a mistake changes what goes back at its own places, if nothing above is wrong.

        The keys are edges; or, for a block, the step and the one that something goes back to.
        """
        found: dict[object, Reals] = {}
        with np.errstate(all="ignore"):
            for (number, k), rule in change.edges.items():
                if number in self.bars:
                    back = rule(self.right, self.bars[number])
                    found[number, k] = -self.flow(number, k) if back is None else back - self.flow(number, k)
            for number, block in change.blocks.items():
                for source, back in block(self.right, self.bars[number]) if number in self.bars else ():
                    found["block", number, source] = back
        return found

    def after(self, change: Change) -> Backward:
        """Returns the same program, in which a mistake has been made on the way back: its sensitivities are wrong."""
        other = copy(self)
        off = self.change_of_bars(change)
        other.bars = {number: bar + off[number] if number in off else bar for number, bar in self.bars.items()}
        other._flows = {}
        return other

    @cached_property
    def _is_parameter(self) -> set[int]:
        return set(self.parameters)

    # ---- forward, and many at once

    def moved(self, direction: Reals, h: float) -> list[Reals | None]:
        """Returns by how much each step changes if the parameters move by h times a direction; None if it does not."""
        return self._point.changes(direction, h)

    def leading_to(self, places: Collection[int]) -> list[bool]:
        """Marks the steps that depend on one of some places, or are one."""
        bits = sum(1 << number for number in places)
        return [bool(above & bits) for above in self.above]

    def bars_with(self, off: Mapping[int, Reals], row: int | None = None) -> Bars:
        """Returns the sensitivities by number, as mistakes leave them: the right ones, and by how much they are off.

        If a row is given, `off` has rows, and that one is meant; what it lacks is not off.
        """

        def bars(number: int) -> Reals:
            if number not in off or (row is not None and row >= len(off[number])):
                return self.right(number)
            return self.right(number) + (off[number] if row is None else off[number][row])

        return bars

    def moves(self, number: int) -> Moves:
        """Returns where the entries of a step come from that moves entries of its inputs."""
        if number not in self._moves:
            self._moves[number] = Moves(self.steps[number], self.x(number))
        return self._moves[number]

    def of_rows(self, number: int, k: int) -> OfRows:
        """Returns the function that takes rows of sensitivities of a step back to its input k; see `rows`."""
        if (number, k) not in self._rows:
            slope, moves = partial(self.slope, number, k), partial(self.moves, number)
            through = partial(self.through, number, k)
            self._rows[number, k] = of_rows(self.steps[number], self.x(number), k, slope, moves, through)
        return self._rows[number, k]

    def right(self, number: int) -> Reals:
        """Returns the right sensitivity of a step; zeros if the cost does not depend on it."""
        right = self.bars.get(number)
        return np.zeros_like(self.values[number]) if right is None else right

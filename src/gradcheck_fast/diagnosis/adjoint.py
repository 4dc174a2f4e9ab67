"""Computes the gradient backwards through the steps, right or wrong in a known way. It only serves the diagnosis.

This module contains no formula for a derivative either: the slope of each step is found by difference arithmetic. A
mistake is a `Change`. It replaces what goes back along some edges, from a step to one of its inputs, or what some terms
add to the gradients of their parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.engine._program import NOTHING
from gradcheck_fast.engine.rounding import slopes
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.losses.network_loss import decay_of
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps.affine import terms_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.unrolled import Unrolled
    from gradcheck_fast.engine.rows import RowProgram, Term
    from gradcheck_fast.engine.tables import Tables

    Rows: TypeAlias = NDArray[np.float64]

#: The derivatives of the cost by the values of each step, shape (samples, width), for the steps reached so far.
Sensitivities: TypeAlias = "dict[int, Rows]"
#: A function of the sensitivities so far and of that of the step. It returns what goes back along an edge, or what a
#: term adds to the gradient of its parameter; None if that is nothing.
Rule: TypeAlias = "Callable[[Sensitivities, Rows], Rows | None]"

#: The costs of rows with about this many entries in all are differenced together.
_BLOCK = 1_000_000


class Change(NamedTuple):
    """The rules that replace the right ones, by (step, number of the input) and by (step, number of the term)."""

    edges: Mapping[tuple[int, int], Rule]
    terms: Mapping[tuple[int, int], Rule]


#: The change that replaces nothing.
RIGHT = Change({}, {})


class Tape:
    """The values of all steps at some parameters, and their slopes.

    The steps are those of the row program, and are referred to by their numbers there.

    Attributes
    ----------
    network : Network
    program : RowProgram
    values : dict
        The value of each step that is no cost, of shape (samples, width).
    decay : ndarray, shape (size,)
        The strength of the penalty on each parameter.
    """

    def __init__(self, unrolled: Unrolled, theta: NDArray[np.float64]) -> None:
        self.network, self._source, engine = unrolled
        self.program: RowProgram = engine.program
        self.theta, self.samples, self.decay = theta, engine.samples, decay_of(self.network)
        self._slopes: dict[int, Rows] = {}
        self._backs: dict[int, Callable[[int, Rows], Rows]] = {}
        steps = [number for number, step in enumerate(self.program.steps) if not step.is_cost]
        ends = np.cumsum([self.program.steps[number].width for number in steps])
        self.values = dict(zip(steps, np.split(engine.values(theta, steps, 1), ends[:-1], axis=1), strict=True))
        self._numbers = {row: number for number, row in self.program.numbers.items()}
        self._given = self._source.with_parts(self._source.leaves(theta, engine.inputs, engine.targets))

    def _of_source(self, number: int) -> Rows:
        """Returns the value of a step of the program that the row program was lowered from."""
        row = self.program.numbers.get(number)
        return self._given[number] if row is None else self.values[row]

    def _back(self, number: int, k: int, up: Rows) -> Rows:
        """Returns what goes back from a step to input k of its primitive."""
        if number not in self._backs:
            step = self._source.steps[self._numbers[number]]
            x = [self._of_source(source) for source in step.inputs]
            self._backs[number] = partial(step.primitive.back, x, **step.attributes)
        return self._backs[number](k, up)

    def slope(self, number: int) -> Rows:
        """Returns the slopes of an entrywise step, or of a cost, by its input."""
        if number not in self._slopes:
            step = self.program.steps[number]
            x = self.values[step.inputs[0]]
            self._slopes[number] = self.cost_slope(number, step.name, x) if step.is_cost else slope(step.name, x)
        return self._slopes[number]

    def through(self, number: int, position: int, up: Rows) -> Rows:
        """Returns what goes back from a step to one of its inputs; `up` is the sensitivity of the step."""
        step = self.program.steps[number]
        if step.is_entrywise or step.is_cost:
            return np.asarray(up * self.slope(number))
        return self._back(number, step.positions[position], up)

    def cost_slope(self, number: int, name: str, x: Rows) -> Rows:
        """Returns the slopes that a cost step would have, sample by sample, if it were the cost `name` of x."""
        step = self.program.steps[number]
        targets = self._of_source(self._source.steps[self._numbers[number]].inputs[1])
        slopes = step.scale * cost_slope(name, x, targets, step.constant)
        return slopes if step.mask == NOTHING else slopes * (self.values[step.mask] != 0)

    def term(self, number: int, k: int, up: Rows) -> Rows:
        """Returns what term k of a step adds to the gradient of its parameter, as a matrix; `up` is as in `through`."""
        source = self._source.steps[self._numbers[number]]
        term, block = terms_of(source.attributes["terms"])[k], self.program.steps[number].terms[k].parameter
        return self._back(number, term.parameter, up).reshape(block.rows, block.columns)

    def contributions(
        self, change: Change = RIGHT, costs: set[int] | None = None, bars: Sensitivities | None = None
    ) -> Iterator[tuple[int, Term, Rows]]:
        """Yields step, term, and what the term adds to the gradient of its parameter, from the last step to the first.

        If `costs` are given, only these cost steps count. `bars` is filled with the sensitivities.
        """
        bars = {} if bars is None else bars
        steps = self.program.steps
        for number in range(len(steps) - 1, -1, -1):
            step = steps[number]
            if step.is_cost and (costs is None or number in costs):
                bars[number] = np.ones((self.samples, 1))
            up = bars.get(number)
            if up is None:
                continue
            for position, source in enumerate(step.inputs):
                if steps[source].is_input:
                    continue
                rule = change.edges.get((number, position))
                back = self.through(number, position, up) if rule is None else rule(bars, up)
                if back is not None:
                    bars[source] = bars[source] + back if source in bars else back
            for position, term in enumerate(step.terms):
                rule = change.terms.get((number, position))
                share = self.term(number, position, up) if rule is None else rule(bars, up)
                if share is not None:
                    yield number, term, share

    def gradient(self, change: Change = RIGHT) -> NDArray[np.float64]:
        """Returns the gradient of the cost and the penalty as a flat vector, with the mistake of `change` in it."""
        gradient = self.decay * self.theta
        for _, term, share in self.contributions(change):
            term.parameter.of(gradient)[...] += share
        return gradient


def sweep_seconds(tables: Tables, samples: int) -> float:
    """Estimates how many seconds one gradient takes."""
    multiplied = sum(4.0 * term.parameter.size for _, term in tables.rows.terms)
    return 6e-6 * len(tables.rows.steps) + 1e-10 * samples * (multiplied + 20.0 * tables.tape_stride)


def slope(operation: str, z: Rows) -> Rows:
    """Returns the slopes of an elementwise operation at z."""
    return slopes(operation, z, instruction_set())


def cost_slope(name: str, x: Rows, targets: Rows, constant: float) -> Rows:
    """Returns the slopes of a cost by its inputs x, of the shape of x.

    Each is a central difference, for which one input of a sample changes and the others stay as they are.
    """
    slopes = np.empty_like(x)
    samples, width = x.shape
    several = max(1, _BLOCK // (width * width))
    h = SLOPE_STEP * np.eye(width)
    for begin in range(0, samples, several):
        part = slice(begin, begin + several)
        rows, y = np.repeat(x[part], width, axis=0), np.repeat(targets[part], width, axis=0)
        d = np.tile(h, (len(x[part]), 1))
        plus, minus = (_kernels.cost(name, rows, y, constant, change, instruction_set())[1] for change in (d, -d))
        slopes[part] = ((plus - minus) / (2.0 * SLOPE_STEP)).reshape(-1, width)
    return slopes

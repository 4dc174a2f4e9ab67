"""The gradient once more, backwards through the steps: for gradients that are wrong in a known way.

It only serves the diagnosis. No derivative is written down here either: how a step changes with its input is found by
difference arithmetic, step by step. A mistake is a `Change`: what goes back along some edge, or what a parameter gets
from some term, is replaced.
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
from gradcheck_fast.numerical.gradient import EXACT_STEP
from gradcheck_fast.program.steps.affine import terms_of
from gradcheck_fast.program.steps.movement import SLICE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.unrolled import Unrolled
    from gradcheck_fast.engine.rows import RowProgram, Term
    from gradcheck_fast.engine.tables import Tables

    Rows: TypeAlias = NDArray[np.float64]

#: What the cost does per value of each step, for all samples, as far as it is known.
Sensitivities: TypeAlias = "dict[int, Rows]"
#: The sensitivities so far and that of the step -> what reaches the edge's or term's other end; None: nothing does.
Rule: TypeAlias = "Callable[[Sensitivities, Rows], Rows | None]"

#: Doubles of the rows whose costs are differenced together: one for each input of each sample.
_BLOCK = 1_000_000


class Change(NamedTuple):
    """Rules in place of the right ones: by (step, number of the input), and by (step, number of the term)."""

    edges: Mapping[tuple[int, int], Rule]
    terms: Mapping[tuple[int, int], Rule]


RIGHT = Change({}, {})


class Tape:
    """The values of all steps at some parameters, and how they change.

    Steps are those of the row program, and named by their numbers there.

    Attributes
    ----------
    network : Network
    program : RowProgram
    values : dict
        Of each step that is no cost, shape (samples, width).
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
        self._given = self._source.leaves(theta, engine.inputs, engine.targets)
        for number, step in enumerate(self._source.steps):
            if step.name == SLICE.name:
                x = [self._given[source] for source in step.inputs]
                self._given[number] = SLICE.value(x, **step.attributes)

    def _of_source(self, number: int) -> Rows:
        """The value of a step of the program that the row program was lowered from."""
        row = self.program.numbers.get(number)
        return self._given[number] if row is None else self.values[row]

    def _back(self, number: int, k: int, up: Rows) -> Rows:
        """What goes back from a step to input k of its primitive."""
        if number not in self._backs:
            step = self._source.steps[self._numbers[number]]
            x = [self._of_source(source) for source in step.inputs]
            self._backs[number] = partial(step.primitive.back, x, **step.attributes)
        return self._backs[number](k, up)

    def slope(self, number: int) -> Rows:
        """How an entrywise step, or a cost, changes with its input."""
        if number not in self._slopes:
            step = self.program.steps[number]
            x = self.values[step.inputs[0]]
            self._slopes[number] = self.cost_slope(number, step.name, x) if step.is_cost else slope(step.name, x)
        return self._slopes[number]

    def through(self, number: int, position: int, up: Rows) -> Rows:
        """What goes back from a step to one of its inputs."""
        step = self.program.steps[number]
        if step.is_entrywise or step.is_cost:
            return np.asarray(up * self.slope(number))
        return self._back(number, step.positions[position], up)

    def cost_slope(self, number: int, name: str, x: Rows) -> Rows:
        """How a cost step would change with its input, sample by sample, if it were the cost `name` and its input x."""
        step = self.program.steps[number]
        targets = self._of_source(self._source.steps[self._numbers[number]].inputs[1])
        slopes = step.scale * cost_slope(name, x, targets, step.constant)
        return slopes if step.mask == NOTHING else slopes * (self.values[step.mask] != 0)

    def term(self, number: int, k: int, up: Rows) -> Rows:
        """What a step's sensitivity means for the parameter of its term k, as a matrix."""
        source = self._source.steps[self._numbers[number]]
        term, block = terms_of(source.attributes["terms"])[k], self.program.steps[number].terms[k].parameter
        return self._back(number, term.parameter, up).reshape(block.rows, block.columns)

    def contributions(
        self, change: Change = RIGHT, costs: set[int] | None = None, bars: Sensitivities | None = None
    ) -> Iterator[tuple[int, Term, Rows]]:
        """Step, term, and what the term adds to the gradient of its parameter, from the last step to the first.

        Only of some cost steps, if they are given; `bars` is filled with the sensitivities.
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
        """The gradient of the cost, the penalty's included, as a flat vector; wrong in the way of `change`."""
        gradient = self.decay * self.theta
        for _, term, share in self.contributions(change):
            term.parameter.of(gradient)[...] += share
        return gradient


def sweep_seconds(tables: Tables, samples: int) -> float:
    """About how many seconds one gradient takes."""
    multiplied = sum(4.0 * term.parameter.size for _, term in tables.rows.terms)
    return 6e-6 * len(tables.rows.steps) + 1e-10 * samples * (multiplied + 20.0 * tables.tape_stride)


def slope(operation: str, z: Rows) -> Rows:
    """How an operation changes with its input."""
    return slopes(operation, z, instruction_set())


def cost_slope(name: str, x: Rows, targets: Rows, constant: float) -> Rows:
    """How a cost changes with its inputs x, sample by sample: one central difference for each, all others at rest."""
    slopes = np.empty_like(x)
    samples, width = x.shape
    several = max(1, _BLOCK // (width * width))
    h = EXACT_STEP * np.eye(width)
    for begin in range(0, samples, several):
        part = slice(begin, begin + several)
        rows, y = np.repeat(x[part], width, axis=0), np.repeat(targets[part], width, axis=0)
        d = np.tile(h, (len(x[part]), 1))
        plus, minus = (_kernels.cost(name, rows, y, constant, change, instruction_set())[1] for change in (d, -d))
        slopes[part] = ((plus - minus) / (2.0 * EXACT_STEP)).reshape(-1, width)
    return slopes

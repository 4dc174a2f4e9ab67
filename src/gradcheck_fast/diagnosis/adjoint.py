"""The gradient once more, backwards through the steps: for gradients that are wrong in a known way.

It only serves the diagnosis. No derivative is written down here either: how a step changes with its input is found by
difference arithmetic, step by step. A mistake is a `Change`: what goes back along some edge, or what a parameter gets
from some term, is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.engine._program import Kind
from gradcheck_fast.engine.rounding import OPERATION_NAMES, slopes
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.numerical.gradient import EXACT_STEP
from gradcheck_fast.program.parameters import NOTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.unrolled import Unrolled
    from gradcheck_fast.program.program import Program, Term

    Rows: TypeAlias = NDArray[np.float64]

#: What the cost does per value of each step, for all samples, as far as it is known.
Sensitivities: TypeAlias = "dict[int, Rows]"
#: The sensitivities so far and that of the step -> what reaches the edge's or term's other end; None: nothing does.
Rule: TypeAlias = "Callable[[Sensitivities, Rows], Rows | None]"

_COSTS = {index: name for name, (index, *_) in _kernels.COSTS.items()}
#: Doubles of the rows whose costs are differenced together: one for each input of each sample.
_BLOCK = 1_000_000


class Change(NamedTuple):
    """Rules in place of the right ones: by (step, number of the input), and by (step, number of the term)."""

    edges: Mapping[tuple[int, int], Rule]
    terms: Mapping[tuple[int, int], Rule]


RIGHT = Change({}, {})


class Tape:
    """The values of all steps at some parameters, and how they change.

    Attributes
    ----------
    values : dict
        Of each step that is no cost, shape (samples, width).
    """

    def __init__(self, unrolled: Unrolled, theta: NDArray[np.float64]) -> None:
        self.network, self.program, engine, self.targets = unrolled
        self.theta = theta
        self.samples = engine.samples
        self._slopes: dict[int, Rows] = {}
        steps = [k for k, step in enumerate(self.program.steps) if step.kind != Kind.COST]
        ends = np.cumsum([self.program.steps[k].width for k in steps])
        self.values = dict(zip(steps, np.split(engine.values(theta, steps, 1), ends[:-1], axis=1), strict=True))

    def operation(self, number: int) -> str:
        """The name of an elementwise step's operation, or of a cost step's kernel."""
        step = self.program.steps[number]
        return (_COSTS if step.kind == Kind.COST else OPERATION_NAMES)[step.operation]

    def slope(self, number: int) -> Rows:
        """How an elementwise step, or a cost, changes with its input."""
        if number not in self._slopes:
            step = self.program.steps[number]
            x = self.values[step.inputs[0]]
            if step.kind == Kind.COST:
                self._slopes[number] = self.cost_slope(number, self.operation(number), x)
            else:
                self._slopes[number] = slope(self.operation(number), x)
        return self._slopes[number]

    def through(self, number: int, position: int, up: Rows) -> Rows:
        """What goes back from a step to one of its inputs."""
        step = self.program.steps[number]
        if step.kind == Kind.AFFINE:
            term = [term for term in step.terms if term.step != NOTHING][position]
            weights: Rows = term.parameter.of(self.theta)
            return np.asarray(up * weights if term.diagonal else up @ weights.T)
        if step.kind == Kind.SOFTMAX:
            return softmax_jacobian(self.values[number], up)
        if step.kind == Kind.PRODUCT:
            return up * self.values[step.inputs[1 - position]]
        if step.kind == Kind.CHOOSE:
            return np.asarray(up * ((self.values[step.mask] != 0) == (position == 0)))
        if step.kind == Kind.ADD:
            return up if position == 0 else step.constant * up
        return np.asarray(up * self.slope(number))

    def cost_slope(self, number: int, name: str, x: Rows) -> Rows:
        """How a cost step would change with its input, sample by sample, if it were the cost `name` and its input x."""
        step = self.program.steps[number]
        targets = self.targets[:, step.column : step.column + step.target_width]
        slopes = step.scale * cost_slope(name, x, targets, step.constant)
        return slopes if step.mask == NOTHING else slopes * (self.values[step.mask] != 0)

    def term(self, term: Term, up: Rows) -> Rows:
        """What a step's sensitivity means for the parameter of one of its terms."""
        if term.step == NOTHING:
            return np.asarray(up.sum(axis=0, keepdims=True))
        left = self.values[term.step]
        return np.asarray((left * up).sum(axis=0, keepdims=True) if term.diagonal else left.T @ up)

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
            if step.kind == Kind.COST and (costs is None or number in costs):
                bars[number] = np.ones((self.samples, 1))
            up = bars.get(number)
            if up is None:
                continue
            for position, source in enumerate(step.inputs):
                if steps[source].kind == Kind.INPUT:
                    continue
                rule = change.edges.get((number, position))
                back = self.through(number, position, up) if rule is None else rule(bars, up)
                if back is not None:
                    bars[source] = bars[source] + back if source in bars else back
            for position, term in enumerate(step.terms):
                rule = change.terms.get((number, position))
                share = self.term(term, up) if rule is None else rule(bars, up)
                if share is not None:
                    yield number, term, share

    def gradient(self, change: Change = RIGHT) -> NDArray[np.float64]:
        """The gradient of the cost, the penalty's included, as a flat vector; wrong in the way of `change`."""
        gradient = self.program.decay() * self.theta
        for _, term, share in self.contributions(change):
            term.parameter.of(gradient)[...] += share
        return gradient


def sweep_seconds(program: Program, samples: int) -> float:
    """About how many seconds one gradient takes."""
    per_sample = sum(4.0 * term.parameter.size for _, term in program.terms) + 20.0 * program.tape_stride
    return 6e-6 * len(program.steps) + 1e-10 * samples * per_sample


def slope(operation: str, z: Rows) -> Rows:
    """How an operation changes with its input."""
    return slopes(operation, z, instruction_set())


def softmax_jacobian(p: Rows, up: Rows) -> Rows:
    """The Jacobian of softmax, where it is p, times `up`; it is symmetric, so that is a difference along `up`."""
    h = EXACT_STEP / max(1.0, float(np.abs(up).max(initial=0.0)))

    def rise(d: Rows) -> Rows:
        u = np.expm1(d)
        mean = (p * u).sum(axis=1, keepdims=True)
        return np.asarray(p * (u - mean) / (1.0 + mean))

    return (rise(h * up) - rise(-h * up)) / (2.0 * h)


def cost_slope(name: str, x: Rows, targets: Rows, constant: float) -> Rows:
    """How a cost changes with its inputs x, sample by sample: one central difference for each, all others at rest."""
    slopes = np.empty_like(x)
    samples, width = x.shape
    block = max(1, _BLOCK // (width * width))
    h = EXACT_STEP * np.eye(width)
    for begin in range(0, samples, block):
        part = slice(begin, begin + block)
        rows, y = (np.repeat(array[part], width, axis=0) for array in (x, targets))
        plus, minus = (_kernels.cost(name, rows, y, constant, np.tile(d, (len(x[part]), 1)), instruction_set())[1]
                       for d in (h, -h))  # fmt: skip
        slopes[part] = ((plus - minus) / (2.0 * EXACT_STEP)).reshape(-1, width)
    return slopes

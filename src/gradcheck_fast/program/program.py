"""A program: the list of steps that a network lowers to, and the tables from which the engine runs it.

Steps are general and layers are sugar. A step is one primitive operation on per-sample vectors, and is named by its
number. Parameters enter only through affine steps, ``sum_t a_t @ W_t + b``: each product is a *term*, and a parameter
may stand in several terms. A parameter is a block of one of the user's arrays: the gates of an LSTM are blocks of one.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.engine._program import Kind
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.parameters import NOTHING, Array, Packing, Parameter, integers, padded, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# These mirror the structs of _program.pxd, field for field.
STEP = np.dtype(
    [
        *integers("kind", "operation", "first", "second", "width", "padded", "row", "offset", "first_term", "n_terms"),
        *integers("needed", "slot", "slot_offset", "first_ends", "second_ends", "mask"),
        ("constant", "d"),
        ("scale", "d"),
    ]
)
TERM = np.dtype(integers("step", "parameter", "diagonal", "ends"))


class Term(NamedTuple):
    """A summand of an affine step: ``step @ parameter``; ``step * parameter``; or the bias, with no step."""

    step: int
    parameter: Parameter
    diagonal: bool = False


class Step(NamedTuple):
    """One primitive operation; see `Program` for what each kind needs."""

    kind: Kind
    width: int
    inputs: tuple[int, ...] = ()
    operation: int = 0
    cached: int = 0
    terms: tuple[Term, ...] = ()
    column: int = 0
    target_width: int = 0
    separable: bool = True
    constant: float = 0.0
    scale: float = 1.0
    mask: int = NOTHING


class Slots(NamedTuple):
    """The slot of each step that has one, and for each slot the doubles of a row."""

    numbers: dict[int, int]
    widths: list[int]


class Program:
    """Steps in the order in which they are computed; built by the methods below, each returning its step's number."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.arrays: list[Array] = []
        self.parameters: list[Parameter] = []
        self.input_width = 0
        self.target_width = 0

    # ---- building

    def array(self, shape: tuple[int, ...], decay: float = 0.0) -> Array:
        """The next entries of the flat parameter vector, as a matrix in C order (a vector is one row)."""
        rows, columns = (1, *shape)[-2:]
        array = Array(rows, columns, self.size, decay)
        self.arrays.append(array)
        return array

    def block(
        self, array: Array, *, row: int = 0, rows: int | None = None, column: int = 0, columns: int | None = None
    ) -> Parameter:
        """The part of an array that begins at (row, column), to the end where its extent is not given.

        The blocks of an array must cover it, and not overlap.
        """
        rows = array.rows - row if rows is None else rows
        columns = array.columns - column if columns is None else columns
        parameter = Parameter(array, row, column, rows, columns, len(self.parameters))
        self.parameters.append(parameter)
        return parameter

    def parameter(self, shape: tuple[int, ...], decay: float = 0.0) -> Parameter:
        """A new array, as one block."""
        return self.block(self.array(shape, decay))

    def _add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def input(self, width: int) -> int:
        """The next `width` columns of the data."""
        self.input_width += width
        return self._add(Step(Kind.INPUT, width, column=self.input_width - width))

    def affine(
        self,
        matrices: Sequence[tuple[int, Parameter]],
        bias: Parameter | None = None,
        *,
        more_biases: Sequence[Parameter] = (),
        diagonals: Sequence[tuple[int, Parameter]] = (),
        offset: float = 0.0,
    ) -> int:
        """``sum of step @ matrix`` ``+ bias`` ``+ sum of step * vector`` (a diagonal matrix) ``+ offset``."""
        terms = [Term(NOTHING, vector) for vector in ([] if bias is None else [bias]) + list(more_biases)]
        terms += [Term(step, matrix) for step, matrix in matrices]
        terms += [Term(step, vector, diagonal=True) for step, vector in diagonals]
        if len({term.parameter for term in terms}) < len(terms):
            raise ValueError("an affine step uses one parameter twice; use two affine steps and add them")
        inputs = tuple(term.step for term in terms if term.step != NOTHING)
        return self._add(Step(Kind.AFFINE, terms[0].parameter.columns, inputs, terms=tuple(terms), constant=offset))

    def zeros(self, width: int) -> int:
        """An affine step without terms."""
        return self._add(Step(Kind.AFFINE, width))

    def elementwise(self, name: str, step: int) -> int:
        """One of `gradcheck_fast.kernels._kernels.OPERATIONS`, entry by entry."""
        operation, cached = _kernels.OPERATIONS[name]
        return self._add(Step(Kind.ELEMENTWISE, self.steps[step].width, (step,), operation, cached))

    def softmax(self, step: int) -> int:
        return self._add(Step(Kind.SOFTMAX, self.steps[step].width, (step,)))

    def product(self, first: int, second: int) -> int:
        return self._add(Step(Kind.PRODUCT, self.steps[first].width, (first, second)))

    def add(self, first: int, second: int) -> int:
        return self._add(Step(Kind.ADD, self.steps[first].width, (first, second), constant=1.0))

    def subtract(self, first: int, second: int) -> int:
        return self._add(Step(Kind.ADD, self.steps[first].width, (first, second), constant=-1.0))

    def choose(self, mask: int, first: int, second: int) -> int:
        """`first` for the samples in which the input step `mask`, of width 1, is not 0; else `second`."""
        return self._add(Step(Kind.CHOOSE, self.steps[first].width, (first, second), mask=mask))

    def cost(
        self, name: str, step: int, target_width: int, constant: float = 0.0, scale: float = 1.0, mask: int = NOTHING
    ) -> int:
        """Adds ``scale * cost(step, the next target_width columns of the targets)`` to each sample's cost.

        Not to those in which the input step `mask`, of width 1, is 0.
        """
        operation, separable, cached = _kernels.COSTS[name]
        self.target_width += target_width
        return self._add(
            Step(
                Kind.COST,
                self.steps[step].width,
                (step,),
                operation,
                cached,
                column=self.target_width - target_width,
                target_width=target_width,
                separable=separable,
                constant=constant,
                scale=scale,
                mask=mask,
            )
        )

    def input_of(self, step: int, activation: str) -> int | None:
        """The step that `step` applies the activation to; None if it is something else."""
        kind, operation = self.steps[step].kind, self.steps[step].operation
        is_softmax = activation == "softmax" and kind == Kind.SOFTMAX
        same = is_softmax or (kind == Kind.ELEMENTWISE and _kernels.OPERATIONS.get(activation, (-1,))[0] == operation)
        return self.steps[step].inputs[0] if same else None

    @staticmethod
    def is_separable(cost: str) -> bool:
        """Whether a cost is a sum over the entries of its input."""
        return _kernels.COSTS[cost][1]

    # ---- parameters

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.arrays[-1].offset + self.arrays[-1].size if self.arrays else 0

    def decay(self) -> NDArray[np.float64]:
        """The L2 penalty's strength for each entry of the flat vector."""
        flat = np.empty(self.size)
        for p in self.parameters:
            p.of(flat)[...] = p.array.decay
        return flat

    @cached_property
    def packing(self) -> Packing:
        """Where the engine wants the parameters: once the program is complete."""
        multiplied = {t.parameter.number for _, t in self.terms if not t.diagonal and t.step in self.slots.numbers}
        return Packing(self.parameters, multiplied)

    # ---- tables

    @cached_property
    def offsets(self) -> list[int]:
        """Where each step lies on the tape of a sample; one more: the length of the tape."""
        sizes = [padded(s.width) * (s.cached + (s.kind != Kind.COST)) for s in self.steps]
        return list(accumulate(sizes, initial=0))

    @property
    def tape_stride(self) -> int:
        """Doubles per sample on the tape; never a multiple of 4 KiB, so that samples spread over the cache."""
        return self.offsets[-1] + (8 if self.offsets[-1] % 512 == 0 else 0)

    @cached_property
    def terms(self) -> list[tuple[int, Term]]:
        """All terms, each with its affine step."""
        return [(number, term) for number, step in enumerate(self.steps) for term in step.terms]

    @cached_property
    def first_term(self) -> list[int]:
        """Where in `terms` those of each step begin."""
        return list(accumulate((len(step.terms) for step in self.steps), initial=0))

    def unit_offsets(self) -> dict[int, int]:
        """Where the sensitivities of each affine step's outputs (the units) begin, per sample of a chunk."""
        steps = [number for number, step in enumerate(self.steps) if step.terms]
        begins = accumulate((padded(self.steps[number].width) for number in steps), initial=0)
        return dict(zip(steps, begins, strict=False))

    @cached_property
    def needed(self) -> set[int]:
        """The steps on which a cost depends."""
        needed: set[int] = set()
        for number, step in reversed(list(enumerate(self.steps))):
            if step.kind == Kind.COST or number in needed:
                needed.update([number, *step.inputs])
        return needed

    @cached_property
    def last_reader(self) -> dict[int, int]:
        """The last step that reads each step's difference."""
        return {i: number for number in sorted(self.needed) for i in self.steps[number].inputs}

    @cached_property
    def slots(self) -> Slots:
        """Where each needed step's difference goes.

        A slot is free again after the last step that reads it. All but affine steps write over an input that ends with
        them, if there is one: the next step, fused with them, must not be given that slot while it is being read.
        """
        numbers: dict[int, int] = {}
        widths: list[int] = []
        free: list[int] = []

        def allocate(width: int, ended: list[int]) -> int:
            if not (ended or free):
                widths.append(width)
                return len(widths) - 1
            slot = max(ended or free, key=widths.__getitem__)
            free.remove(slot)
            widths[slot] = max(widths[slot], width)
            return slot

        for number in sorted(self.needed):
            step = self.steps[number]
            inputs = (i for i in dict.fromkeys(step.inputs) if self.steps[i].kind != Kind.INPUT)
            ended = [numbers[i] for i in inputs if self.last_reader[i] == number]
            if step.kind != Kind.AFFINE:
                free += ended
            if step.kind not in (Kind.INPUT, Kind.COST):
                in_place = ended if step.kind != Kind.AFFINE else []
                numbers[number] = allocate(spread(padded(step.width)), in_place)
            if step.kind == Kind.AFFINE:
                free += ended
        return Slots(numbers, widths)

    @cached_property
    def tables(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Steps and terms, as the engine reads them."""
        begins = list(accumulate(self.slots.widths, initial=0))
        steps, terms = [], []
        for number, step in enumerate(self.steps):
            first, second = (*step.inputs, NOTHING, NOTHING)[:2]
            ends = [self._ends(first, number), self._ends(second, number)]
            if step.kind == Kind.INPUT:
                first = step.column
            elif step.kind == Kind.COST:
                second = step.column
            slot = self.slots.numbers.get(number, 0)
            steps.append(
                (step.kind, step.operation, first, second, step.width, padded(step.width), spread(padded(step.width)),
                 self.offsets[number], self.first_term[number], len(step.terms), number in self.needed, slot,
                 begins[slot], *ends, step.mask, step.constant, step.scale)
            )  # fmt: skip
            terms += [(t.step, t.parameter.number, t.diagonal, self._ends(t.step, number)) for t in step.terms]
        return np.array(steps, STEP), np.array(terms, TERM)

    def _ends(self, step: int, reader: int) -> bool:
        """Whether `reader` is the last to read the difference of `step`."""
        return step in self.slots.numbers and self.last_reader.get(step) == reader

"""A program: the list of steps that a network lowers to, and the tables from which the engine runs it.

Steps are general and layers are sugar. A step is one primitive operation on per-sample vectors, and is named by its
number. Parameters enter only through affine steps, ``sum_t a_t @ W_t + b``: each product is a *term*, and a parameter
may stand in several terms. A parameter is a block of one of the user's arrays: the gates of an LSTM are blocks of one.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _program
from ._program import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

PANEL = _program.PANEL
NOTHING = -1


def integers(*names: str) -> list[tuple[str, str]]:
    """Fields of a structured dtype."""
    return [(name, "n") for name in names]


# These mirror the structs of _program.pxd, field for field.
STEP = np.dtype(
    [
        *integers("kind", "operation", "first", "second", "width", "padded", "offset", "first_term", "n_terms"),
        *integers("needed", "slot", "slot_offset", "first_ends", "second_ends", "mask"),
        ("constant", "d"),
        ("scale", "d"),
    ]
)
TERM = np.dtype(integers("step", "parameter", "rows", "panel_stride", "diagonal", "ends"))


def aligned(*shape: int) -> NDArray[np.float64]:
    """Zeros, C-contiguous, beginning on a cache line."""
    size = int(np.prod(shape))
    raw: NDArray[np.float64] = np.zeros(size + 8)
    begin = -raw.ctypes.data // 8 % 8
    return raw[begin : begin + size].reshape(shape)


def padded(width: int) -> int:
    """`width` rounded up to whole panels."""
    return -(-width // PANEL) * PANEL


class Array(NamedTuple):
    """An array of the user's parameters, and where it begins in the flat vector.

    A vector is a matrix of one row. `decay` is the strength of the L2 penalty on it.
    """

    rows: int
    columns: int
    offset: int
    decay: float

    @property
    def size(self) -> int:
        return self.rows * self.columns


class Parameter(NamedTuple):
    """A block of an array that some step uses as a matrix: from (row, column) on.

    `packed_offset` is where it lies in the packed parameters, in which it is cut into panels of 16 columns (see
    ``csrc/kernels.h``).
    """

    array: Array
    row: int
    column: int
    rows: int
    columns: int
    packed_offset: int

    @property
    def size(self) -> int:
        return self.rows * self.columns

    @property
    def panels(self) -> int:
        return padded(self.columns) // PANEL

    @property
    def panel_stride(self) -> int:
        """One row more than the matrix has: else the panels of many matrices would share few cache sets."""
        return PANEL if self.rows == 1 else (self.rows + 1) * PANEL

    @property
    def packed_size(self) -> int:
        return self.panels * self.panel_stride

    def of(self, flat: NDArray[Any]) -> NDArray[Any]:
        """The block in a flat vector of all parameters, as a view of shape (rows, columns)."""
        whole = flat[self.array.offset : self.array.offset + self.array.size].reshape(-1, self.array.columns)
        return whole[self.row : self.row + self.rows, self.column : self.column + self.columns]


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
    separable: bool = True
    constant: float = 0.0
    scale: float = 1.0
    mask: int = NOTHING


class Slots(NamedTuple):
    """The slot of each step that has one, and the width of each slot."""

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
        parameter = Parameter(array, row, column, rows, columns, self.packed_size)
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
        """One of `gradcheck_fast._program.operations()`, entry by entry."""
        operation, cached = _program.operations()[name]
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
        operation, separable, cached = _program.costs()[name]
        self.target_width += target_width
        return self._add(
            Step(
                Kind.COST,
                self.steps[step].width,
                (step,),
                operation,
                cached,
                column=self.target_width - target_width,
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
        same = is_softmax or (kind == Kind.ELEMENTWISE and _program.operations().get(activation, (-1,))[0] == operation)
        return self.steps[step].inputs[0] if same else None

    @staticmethod
    def is_separable(cost: str) -> bool:
        """Whether a cost is a sum over the entries of its input."""
        return _program.costs()[cost][1]

    # ---- parameters

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.arrays[-1].offset + self.arrays[-1].size if self.arrays else 0

    @property
    def packed_size(self) -> int:
        last = self.parameters[-1] if self.parameters else None
        return last.packed_offset + last.packed_size if last else 0

    def _blocks(self, packed: NDArray[np.float64]) -> Iterator[tuple[Parameter, NDArray[np.float64]]]:
        """Every parameter, with its entries in `packed` as (panels, rows, 16)."""
        for p in self.parameters:
            block = packed[p.packed_offset : p.packed_offset + p.packed_size].reshape(p.panels, -1, PANEL)
            yield p, block[:, : p.rows]

    def pack(self, flat: NDArray[np.float64]) -> NDArray[np.float64]:
        """The flat parameter vector in panels, zero elsewhere; aligned to cache lines."""
        packed = aligned(self.packed_size)
        for p, block in self._blocks(packed):
            matrix = p.of(flat)
            whole, rest = divmod(p.columns, PANEL)
            split = whole * PANEL
            block[:whole] = matrix[:, :split].reshape(p.rows, whole, PANEL).swapaxes(0, 1)
            if rest:
                block[whole, :, :rest] = matrix[:, split:]
        return packed

    def unpack(self, packed: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `pack`."""
        flat = np.empty(self.size)
        for p, block in self._blocks(packed):
            matrix = p.of(flat)
            whole, rest = divmod(p.columns, PANEL)
            for k in range(whole):
                matrix[:, k * PANEL : (k + 1) * PANEL] = block[k]
            if rest:
                matrix[:, whole * PANEL :] = block[whole, :, :rest]
        return flat

    def positions(self) -> NDArray[np.intp]:
        """Where each entry of the flat vector lies in the packed one."""
        places = np.empty(self.size, np.intp)
        for p in self.parameters:
            panel, column = np.divmod(np.arange(p.columns), PANEL)
            row = np.arange(p.rows)[:, np.newaxis]
            p.of(places)[...] = p.packed_offset + panel * p.panel_stride + row * PANEL + column
        return places

    def spread(self, values: Iterable[float]) -> NDArray[np.float64]:
        """A flat vector with one value for all entries of each of the `parameters`."""
        flat = np.empty(self.size)
        for p, value in zip(self.parameters, values, strict=True):
            p.of(flat)[...] = value
        return flat

    def decay(self) -> NDArray[np.float64]:
        """The L2 penalty's strength for each entry of the flat vector."""
        return self.spread(p.array.decay for p in self.parameters)

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

        A slot is free again after the last step that reads it; all but affine steps may then write over their input.
        """
        numbers: dict[int, int] = {}
        widths: list[int] = []
        free: list[int] = []

        def allocate(width: int) -> int:
            if not free:
                widths.append(width)
                return len(widths) - 1
            slot = max(free, key=widths.__getitem__)
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
                numbers[number] = allocate(padded(step.width))
            if step.kind == Kind.AFFINE:
                free += ended
        return Slots(numbers, widths)

    @property
    def tables(self) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Steps and terms, as the engine reads them."""
        begins = list(accumulate(self.slots.widths, initial=0))
        steps, terms = [], []
        for number, step in enumerate(self.steps):
            first, second = (*step.inputs, NOTHING, NOTHING)[:2]
            ends = [
                i != NOTHING and i in self.slots.numbers and self.last_reader.get(i) == number for i in (first, second)
            ]
            if step.kind == Kind.INPUT:
                first = step.column
            elif step.kind == Kind.COST:
                second = step.column
            slot = self.slots.numbers.get(number, 0)
            steps.append(
                (step.kind, step.operation, first, second, step.width, padded(step.width), self.offsets[number],
                 self.first_term[number], len(step.terms), number in self.needed, slot, begins[slot], *ends, step.mask,
                 step.constant, step.scale)
            )  # fmt: skip
            terms += [
                (t.step, t.parameter.packed_offset, t.parameter.rows, t.parameter.panel_stride, t.diagonal,
                 t.step in self.slots.numbers and self.last_reader.get(t.step) == number)
                for t in step.terms
            ]  # fmt: skip
        return np.array(steps, STEP), np.array(terms, TERM)

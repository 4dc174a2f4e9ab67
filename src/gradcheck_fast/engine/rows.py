"""Defines row programs, in which each sample's vector is processed on its own, and lowers programs to them.

A row step is one operation on the vector of each sample; steps refer to each other by their numbers. Parameters enter
only through affine steps, ``sum_t a_t @ W_t + b``, in which each summand is a *term*. A parameter of a term is a block
of one of the user's arrays, such as the columns of one gate of an LSTM; it may be part of several terms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.engine._program import NOTHING, Kind
from gradcheck_fast.engine.layout import Array, ParameterBlock
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.steps.affine import DIAGONAL, terms_of
from gradcheck_fast.program.steps.leaves import DATA, INPUT, PARAMETER, TARGETS
from gradcheck_fast.program.steps.movement import SLICE

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Program, Step


class Term(NamedTuple):
    """A summand of an affine step: ``step @ parameter``, ``step * parameter`` if `diagonal`, or a bias without step.

    `step` is then `NOTHING`.
    """

    step: int
    parameter: ParameterBlock
    diagonal: bool = False


class RowStep(NamedTuple):
    """One operation on the vector of each sample.

    Attributes
    ----------
    kind : Kind
        The way in which the executor runs it.
    name : str
        The name of the primitive from which it was lowered.
    width : int
        The length of its vector; for a cost, that of its input.
    inputs : tuple of int
        The row steps whose vectors it reads, except masks.
    operation : int
        Which of the kernels for its kind is used.
    cached : int
        How many vectors it keeps on the tape beside its value.
    terms : tuple of Term
        The summands of an affine step.
    column : int
        The first column of the data that an input step reads, or of the targets that a cost reads.
    target_width : int
        How many columns of the targets a cost reads.
    separable : bool
        Whether it is no cost, or a cost that is a sum over the entries of its input.
    constant : float
        The constant of a cost, or what an affine step adds to every entry.
    scale : float
        What a cost is multiplied by.
    mask : int
        The input step that says in which samples a choice takes its first input, or in which a cost counts.
    positions : tuple of int
        Which inputs of the primitive `inputs` are.
    """

    kind: Kind
    name: str
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
    positions: tuple[int, ...] = (0,)

    @property
    def is_input(self) -> bool:
        return self.kind == Kind.INPUT

    @property
    def is_affine(self) -> bool:
        return self.kind == Kind.AFFINE

    @property
    def is_cost(self) -> bool:
        return self.kind == Kind.COST

    @property
    def is_entrywise(self) -> bool:
        """Whether it is a function of one number, entry by entry."""
        return self.kind == Kind.ELEMENTWISE

    @property
    def stays_in_column(self) -> bool:
        """Whether a change in one column of the inputs can be computed from that column alone.

        So it is if this step changes in that column only, or is a sum over columns.
        """
        return self.kind != Kind.SOFTMAX and self.separable


class RowProgram:
    """Row steps in the order in which they are computed, and the parameters as blocks; `lower` makes it.

    Attributes
    ----------
    steps : list of RowStep
    arrays : list of Array
        The arrays of the user's parameters.
    parameters : list of ParameterBlock
        The blocks, which cover all arrays and do not overlap.
    numbers : dict
        The number of the row step for each step of the original program that has one.
    input_width, target_width : int
        The number of columns of the data and of the targets.
    """

    def __init__(self, input_width: int, target_width: int) -> None:
        self.steps: list[RowStep] = []
        self.arrays: list[Array] = []
        self.parameters: list[ParameterBlock] = []
        self.numbers: dict[int, int] = {}
        self.input_width, self.target_width = input_width, target_width

    @property
    def size(self) -> int:
        """The number of parameters, counted entry by entry."""
        return self.arrays[-1].offset + self.arrays[-1].size if self.arrays else 0

    @cached_property
    def terms(self) -> list[tuple[int, Term]]:
        """All terms, each with the number of its affine step."""
        return [(number, term) for number, step in enumerate(self.steps) for term in step.terms]

    @cached_property
    def first_term(self) -> list[int]:
        """The place in `terms` at which the terms of each step begin."""
        return list(accumulate((len(step.terms) for step in self.steps), initial=0))

    @cached_property
    def needed(self) -> set[int]:
        """The numbers of the costs and of the steps on which they depend."""
        needed: set[int] = set()
        for number, step in reversed(list(enumerate(self.steps))):
            if step.is_cost or number in needed:
                needed.update([number, *step.inputs])
        return needed

    @cached_property
    def last_reader(self) -> dict[int, int]:
        """The last step that reads the difference of each step, by the number of the step that is read."""
        return {i: number for number in sorted(self.needed) for i in self.steps[number].inputs}


def lower(program: Program) -> RowProgram:
    """Translates a program into one that the row executor runs.

    Raises
    ------
    ValueError
        If a step does not act on each sample's vector alone; the message names it.
    """
    return _Lowering(program).rows


class _Lowering:
    """The translation of one program, step by step."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.rows = RowProgram(program.width(DATA), program.width(TARGETS))
        self._arrays: dict[int, Array] = {}
        self._blocks: dict[int, ParameterBlock] = {}
        cut = {step.inputs[0] for step in program.steps if step.name == SLICE.name}
        for number, step in enumerate(program.steps):
            try:
                self._lower(number, step, number not in cut)
            except ValueError as error:
                raise ValueError(f"step {number}, {step}: {error}") from None
        covered = np.zeros(self.rows.size, np.intp)
        for block in self.rows.parameters:
            block.of(covered)[...] += 1
        if (covered != 1).any():
            gaps, overlaps = int((covered == 0).sum()), int((covered > 1).sum())
            raise ValueError(
                "the row executor takes parts of parameters that cover them and do not overlap; of "
                f"{self.rows.size} entries {gaps} are in no part, and {overlaps} in several"
            )

    def _lower(self, number: int, step: Step, whole: bool) -> None:
        """Lowers one step; of a parameter, `whole` says whether no parts of it are used."""
        if step.name == PARAMETER.name:
            self._add_array(number, step, whole)
        elif step.name == SLICE.name:
            self._add_block(number, step)
        elif step.name in _LOWERED:
            self._require_vectors(step)
            self._add(number, _LOWERED[step.name](self, step))
        elif step.name != INPUT.name:
            raise ValueError("the row executor has no such steps")
        elif step.attributes["matrix"] == DATA:  # a cost step itself says which targets it reads
            self._add(number, RowStep(Kind.INPUT, step.name, step.shape[1], column=step.attributes["begin"]))

    def _require_vectors(self, step: Step) -> None:
        """Raises a ValueError unless the value of the step is a vector, or a cost, for each sample."""
        expected = 1 if step.name in _kernels.COSTS else 2
        if len(step.shape) != expected or step.shape[0] != self._program.samples:
            raise ValueError(f"the row executor takes vectors of samples, not {step.shape}")

    def _add(self, number: int, step: RowStep) -> None:
        self.rows.numbers[number] = len(self.rows.steps)
        self.rows.steps.append(step)

    def _add_array(self, number: int, step: Step, whole: bool) -> None:
        rows, columns = (1, *step.shape)[-2:]
        self._arrays[number] = array = Array(rows, columns, self.rows.size)
        self.rows.arrays.append(array)
        if whole:
            self._blocks[number] = self._new_block(array, 0, 0, rows, columns)

    def _add_block(self, number: int, step: Step) -> None:
        if step.inputs[0] not in self._arrays:
            raise ValueError("the row executor takes parts of parameters only")
        (row, row_end), (column, column_end) = ((0, 1), *step.attributes["ranges"])[-2:]
        array = self._arrays[step.inputs[0]]
        self._blocks[number] = self._new_block(array, row, column, row_end - row, column_end - column)

    def _new_block(self, array: Array, row: int, column: int, rows: int, columns: int) -> ParameterBlock:
        block = ParameterBlock(array, row, column, rows, columns, len(self.rows.parameters))
        self.rows.parameters.append(block)
        return block

    def _numbers(self, *inputs: int) -> tuple[int, ...]:
        """Returns the numbers of the row steps of some inputs."""
        missing = [self._program.steps[number] for number in inputs if number not in self.rows.numbers]
        if missing:
            raise ValueError(f"the row executor multiplies and adds parameters in affine steps only, not {missing[0]}")
        return tuple(self.rows.numbers[number] for number in inputs)

    # ---- the row step of a step, for each kind

    def _affine(self, step: Step) -> RowStep:
        terms, positions = [], []
        for kind, multiplied, parameter in terms_of(step.attributes["terms"]):
            if step.inputs[parameter] in self._arrays and step.inputs[parameter] not in self._blocks:
                raise ValueError(f"parameter {step.inputs[parameter]} is used as a whole here, and in parts elsewhere")
            if step.inputs[parameter] not in self._blocks:
                raise ValueError("the row executor multiplies by parameters only")
            at = NOTHING
            if multiplied is not None:
                (at,) = self._numbers(step.inputs[multiplied])
                positions.append(multiplied)
            terms.append(Term(at, self._blocks[step.inputs[parameter]], kind == DIAGONAL))
        inputs = self._numbers(*(step.inputs[position] for position in positions))
        return RowStep(
            Kind.AFFINE, step.name, step.shape[1], inputs, terms=tuple(terms), constant=step.attributes["offset"],
            positions=tuple(positions),
        )  # fmt: skip

    def _elementwise(self, step: Step) -> RowStep:
        operation = _kernels.ELEMENTWISE[step.name]
        inputs = self._numbers(*step.inputs)
        return RowStep(Kind.ELEMENTWISE, step.name, step.shape[1], inputs, operation.number, operation.cached)

    def _softmax(self, step: Step) -> RowStep:
        return RowStep(Kind.SOFTMAX, step.name, step.shape[1], self._numbers(*step.inputs))

    def _pairwise(self, step: Step) -> RowStep:
        operation = _kernels.PAIRWISE[step.name]
        shapes = [self._program.steps[number].shape for number in step.inputs]
        if any(shape != step.shape for shape in shapes):
            raise ValueError(
                f"the row executor broadcasts no inputs, such as these of shapes {' and '.join(map(str, shapes))}"
            )
        return RowStep(
            Kind.PAIRWISE, step.name, step.shape[1], self._numbers(*step.inputs), operation, positions=(0, 1)
        )

    def _where(self, step: Step) -> RowStep:
        mask, *both = step.inputs
        return RowStep(
            Kind.WHERE, step.name, step.shape[1], self._numbers(*both), mask=self._mask(mask), positions=(1, 2)
        )

    def _mask(self, number: int) -> int:
        """Returns the number of the row step by which a choice or a cost is masked."""
        (mask,) = self._numbers(number)
        if not self.rows.steps[mask].is_input:
            raise ValueError("the row executor takes masks from the data only")
        return mask

    def _cost(self, step: Step) -> RowStep:
        operation = _kernels.COSTS[step.name]
        x, target, *mask = step.inputs
        (width, columns), begin = (self._program.steps[k].shape[1] for k in (x, target)), self._target(target)
        return RowStep(
            Kind.COST, step.name, width, self._numbers(x), operation.number, operation.cached, column=begin,
            target_width=columns, separable=operation.separable, constant=step.attributes["constant"],
            scale=step.attributes["scale"], mask=self._mask(*mask) if mask else NOTHING,
        )  # fmt: skip

    def _target(self, number: int) -> int:
        """Returns the first column of the targets that a cost reads."""
        step = self._program.steps[number]
        if step.name != INPUT.name or step.attributes["matrix"] != TARGETS:
            raise ValueError(f"the row executor compares with columns of the targets only, not {step}")
        return int(step.attributes["begin"])


#: The functions that lower steps, by the names of the primitives. A kernel has the same name as its primitive.
_LOWERED: dict[str, Callable[[_Lowering, Step], RowStep]] = {
    "affine": _Lowering._affine,
    "softmax": _Lowering._softmax,
    "where": _Lowering._where,
    **dict.fromkeys(_kernels.ELEMENTWISE, _Lowering._elementwise),
    **dict.fromkeys(_kernels.PAIRWISE, _Lowering._pairwise),
    **dict.fromkeys(_kernels.COSTS, _Lowering._cost),
}

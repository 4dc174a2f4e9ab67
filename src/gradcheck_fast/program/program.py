"""Defines a program: a list of steps over tensors, in which a front end writes down what a forward pass computes.

Layers become steps, and so does a traced function. A step is one primitive applied to earlier steps, which it refers to
by their numbers. In the program of a network the samples are the first axis of everything that depends on the data. The
cost of a program is the sum of all entries of its cost steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.inputs.arguments import nearest
from gradcheck_fast.program.primitive import Primitive, Shape
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.program.steps.affine import AFFINE, BIAS, DIAGONAL, MATRIX
from gradcheck_fast.program.steps.leaves import CONSTANT, DATA, INPUT, PARAMETER, TARGETS
from gradcheck_fast.program.steps.movement import SLICE


class Source(NamedTuple):
    """The origin of a step: a place in the user's file, or the layer or node that it is part of.

    Attributes
    ----------
    name : str
        The layer or node.
    file : str
    line : int
    instruction : int
        Where in the compiled code of that line: a loop comes to the same instruction again and again.
    caller : Source, optional
        Where the function that the line belongs to was called, if that is in the user's files, too.
    """

    name: str = ""
    file: str = ""
    line: int = 0
    instruction: int = 0
    caller: Source | None = None

    def __str__(self) -> str:
        place = f"{self.file} line {self.line}" if self.line else self.file
        return ", ".join(filter(None, (place, self.name)))


class Step(NamedTuple):
    """A primitive applied to earlier steps.

    Attributes
    ----------
    name : str
        The name of the primitive.
    inputs : tuple of int
        The numbers of the steps that it reads.
    shape : tuple of int
        The shape of its value.
    attributes : mapping
        The keyword arguments of the primitive's rules.
    source : Source
        Where the step comes from.
    """

    name: str
    inputs: tuple[int, ...]
    shape: Shape
    attributes: Mapping[str, Any]
    source: Source

    @property
    def primitive(self) -> Primitive:
        """The primitive of that name."""
        return PRIMITIVES[self.name]

    def __str__(self) -> str:
        return f"{self.name} ({self.source})" if any(self.source) else self.name


class Program:
    """A list of steps in the order in which they are computed. A method that adds a step returns its number.

    Parameters
    ----------
    samples : int
        The length of the first axis of the data; 0 if the program reads none.

    Attributes
    ----------
    steps : list of Step
    costs : list of int
        The numbers of the cost steps, as `cost` and `total` have added them.
    """

    def __init__(self, samples: int = 0) -> None:
        self.samples = samples
        self.steps: list[Step] = []
        self.costs: list[int] = []
        self._widths = {DATA: 0, TARGETS: 0}
        self._source = Source()

    @contextmanager
    def at(self, source: Source) -> Iterator[None]:
        """Gives this source to all steps that are added inside the ``with`` block."""
        before, self._source = self._source, source
        try:
            yield
        finally:
            self._source = before

    def add(self, name: str, *inputs: int, **attributes: Any) -> int:
        """Adds a step of any primitive.

        Parameters
        ----------
        name : str
            The name of the primitive.
        *inputs : int
            The numbers of the steps that it reads.
        **attributes
            The keyword arguments of the primitive's rules.

        Raises
        ------
        ValueError
            If there is no such primitive, or if the inputs or attributes do not fit it. The message then says where the
            step comes from.
        """
        if name not in PRIMITIVES:
            raise ValueError(f"there is no primitive {name!r}{nearest(name, list(PRIMITIVES))}")
        step, count = Step(name, inputs, (), attributes, self._source), len(self.steps)
        for number in inputs:
            if not 0 <= number < count:
                raise ValueError(f"step {count}, {step}: expected inputs from 0 to {count - 1}, got {number}")
        try:
            shape = step.primitive.shape([self.steps[number].shape for number in inputs], **attributes)
        except (TypeError, ValueError) as error:  # TypeError: an attribute is missing, or is none of the primitive's
            raise ValueError(f"step {count}, {step}: {error}") from None
        self.steps.append(step._replace(shape=shape))
        return len(self.steps) - 1

    # ---- leaves

    def input(self, width: int) -> int:
        """Adds an input step that reads the next `width` columns of the data, of shape (samples, width)."""
        return self._columns(DATA, width)

    def target(self, width: int) -> int:
        """Adds an input step that reads the next `width` columns of the targets, of shape (samples, width)."""
        return self._columns(TARGETS, width)

    def _columns(self, matrix: str, width: int) -> int:
        begin = self._widths[matrix]
        self._widths[matrix] += width
        return self.add(INPUT.name, matrix=matrix, begin=begin, shape=(self.samples, width))

    def parameter(self, shape: Shape) -> int:
        """Adds the next array of the user's parameters."""
        return self.add(PARAMETER.name, shape=shape)

    def constant(self, value: Any) -> int:
        """Adds a constant, of which a float64 copy is kept."""
        return self.add(CONSTANT.name, value=np.array(value, np.float64, order="C"))

    def block(
        self, array: int, *, row: int = 0, rows: int | None = None, column: int = 0, columns: int | None = None
    ) -> int:
        """Adds the part of a matrix or vector that begins at (row, column); returns `array` if that is all of it.

        Without `rows` or `columns`, the part extends to the end.
        """
        shape = self.steps[array].shape
        rows = shape[0] - row if rows is None else rows
        columns = shape[-1] - column if columns is None else columns
        ranges = ((row, row + rows), (column, column + columns))[2 - len(shape) :]
        if ranges == tuple((0, extent) for extent in shape):
            return array
        return self.add(SLICE.name, array, ranges=ranges)

    # ---- what is computed

    def affine(
        self,
        matrices: Sequence[tuple[int, int]],
        bias: int | None = None,
        *,
        more_biases: Sequence[int] = (),
        diagonals: Sequence[tuple[int, int]] = (),
        offset: float = 0.0,
    ) -> int:
        """Adds an affine step, ``sum of step @ matrix + sum of step * vector + sum of biases + offset``.

        Parameters
        ----------
        matrices : sequence of (int, int)
            Pairs of a step and the matrix by which it is multiplied.
        bias : int, optional
        more_biases : sequence of int
            Further biases.
        diagonals : sequence of (int, int)
            Pairs of a step and the vector by which it is multiplied entry by entry, as by a diagonal matrix.
        offset : float
            A number that is added to every entry.

        Raises
        ------
        ValueError
            If a parameter is used twice, or if a shape does not fit.
        """
        biases = [] if bias is None else [bias]
        biases += more_biases
        pairs = [*matrices, *diagonals]
        used = biases + [parameter for _, parameter in pairs]
        if len(set(used)) < len(used):
            raise ValueError("an affine step uses one parameter twice; use two affine steps and add them")
        terms = (BIAS,) * len(biases) + (MATRIX,) * len(matrices) + (DIAGONAL,) * len(diagonals)
        inputs = biases + [number for pair in pairs for number in pair]
        width = self.steps[used[0]].shape[-1]
        return self.add(AFFINE.name, *inputs, terms=terms, shape=(self.samples, width), offset=offset)

    def zeros(self, width: int) -> int:
        """Adds an affine step without terms, whose value is zero."""
        return self.add(AFFINE.name, terms=(), shape=(self.samples, width), offset=0.0)

    def cost(
        self, name: str, step: int, target: int, *, constant: float = 0.0, scale: float = 1.0, mask: int | None = None
    ) -> int:
        """Adds a cost step: the cost of each sample times `scale`.

        Samples in which the input step `mask`, of width 1, is 0 cost nothing. `constant` is the cost's own, such as
        Huber's delta.
        """
        masks = () if mask is None else (mask,)
        number = self.add(name, step, target, *masks, constant=constant, scale=scale)
        self.costs.append(number)
        return number

    def total(self, step: int) -> None:
        """Makes any step a cost step: all of its entries are added to the cost of the program.

        Raises
        ------
        ValueError
            If there is no such step, or if it is a cost step already.
        """
        if not 0 <= step < len(self.steps):
            raise ValueError(f"the cost: expected a step from 0 to {len(self.steps) - 1}, got {step}")
        if step in self.costs:
            raise ValueError(f"step {step}, {self.steps[step]}: it is a cost step already; add it to itself")
        self.costs.append(step)

    # ---- what there is

    def width(self, matrix: str) -> int:
        """Returns how many columns of the data (`DATA`) or of the targets (`TARGETS`) the input steps read."""
        return self._widths[matrix]

    @property
    def parameters(self) -> list[int]:
        """The numbers of the steps that are arrays of the user's parameters, in their order."""
        return [number for number, step in enumerate(self.steps) if step.name == PARAMETER.name]

    @property
    def needed(self) -> list[int]:
        """The numbers of the costs and of all steps on which they depend, in order."""
        needed = bytearray(len(self.steps))
        for number in self.costs:
            needed[number] = True
        for number in range(max(self.costs, default=-1), -1, -1):
            if needed[number]:
                for source in self.steps[number].inputs:
                    needed[source] = True
        return [number for number, is_needed in enumerate(needed) if is_needed]

    @property
    def sizes(self) -> list[int]:
        """The number of entries of each array of the parameters."""
        return [int(np.prod(self.steps[number].shape, dtype=np.intp)) for number in self.parameters]

    @property
    def size(self) -> int:
        """The number of parameters, counted entry by entry."""
        return sum(self.sizes)

    @property
    def work(self) -> list[float]:
        """The estimated operations of each step."""
        return [
            step.primitive.work([self.steps[number].shape for number in step.inputs], **step.attributes)
            for step in self.steps
        ]

    def arrays(self, flat: Any) -> dict[int, Any]:
        """Returns the arrays of a flat vector like that of the parameters, as views, by the numbers of their steps."""
        found, begin = {}, 0
        for number in self.parameters:
            shape = self.steps[number].shape
            end = begin + int(np.prod(shape, dtype=np.intp))
            found[number] = flat[begin:end].reshape(shape)
            begin = end
        return found

    def with_parts(self, arrays: Mapping[int, Any]) -> dict[int, Any]:
        """Adds to the arrays of some steps, by their numbers, the parts that are taken of them, as views."""
        found = dict(arrays)
        for number, step in enumerate(self.steps):
            if step.name == SLICE.name and step.inputs[0] in found:
                found[number] = SLICE.value([found[step.inputs[0]]], **step.attributes)
        return found

    def leaves(self, theta: Any, data: Any, targets: Any) -> dict[int, Any]:
        """Returns the values of the inputs and parameters, by the numbers of their steps.

        They are views of `theta`, the flat vector of all parameters, of shape (size,), and of the matrices `data` and
        `targets`, of shape (samples, width).
        """
        values = self.arrays(theta)
        for number, step in enumerate(self.steps):
            if step.name == INPUT.name:
                matrix = data if step.attributes["matrix"] == DATA else targets
                first = step.attributes["begin"]
                values[number] = matrix[:, first : first + step.shape[1]]
        return values

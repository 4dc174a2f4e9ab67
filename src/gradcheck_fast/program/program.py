"""A program: a list of steps over tensors, of which a front end says what a forward pass computes.

Layers are sugar, and a traced function is a list of steps, too. A step is one primitive applied to earlier steps, which
it names by their numbers. The samples are the first axis of everything that depends on the data. What a program costs
is the sum of all entries of its cost steps.
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
from gradcheck_fast.program.steps.costs import Cost
from gradcheck_fast.program.steps.leaves import DATA, INPUT, PARAMETER, TARGETS
from gradcheck_fast.program.steps.movement import SLICE


class Source(NamedTuple):
    """Where a step comes from: a place in the user's file, or the layer or node that it is part of."""

    name: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file} line {self.line}" if self.line else self.file
        return ", ".join(filter(None, (place, self.name)))


class Step(NamedTuple):
    """A primitive applied to earlier steps.

    Attributes
    ----------
    name : str
        Of the primitive.
    inputs : tuple of int
        The numbers of the steps that it reads.
    shape : tuple of int
        Of its value.
    attributes : mapping
        What else the primitive's rules take, by name.
    source : Source
    """

    name: str
    inputs: tuple[int, ...]
    shape: Shape
    attributes: Mapping[str, Any]
    source: Source

    @property
    def primitive(self) -> Primitive:
        """What is known of steps of that name."""
        return PRIMITIVES[self.name]

    def __str__(self) -> str:
        return f"{self.name} ({self.source})" if any(self.source) else self.name


class Program:
    """Steps in the order in which they are computed; each method that builds one returns its number.

    Parameters
    ----------
    samples : int
        The length of the first axis of the data.
    """

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.steps: list[Step] = []
        self._widths = {DATA: 0, TARGETS: 0}
        self._source = Source()

    @contextmanager
    def at(self, source: Source) -> Iterator[None]:
        """Inside, steps come from there."""
        before, self._source = self._source, source
        yield
        self._source = before

    def add(self, name: str, *inputs: int, **attributes: Any) -> int:
        """A step of any primitive.

        Raises
        ------
        ValueError
            If there is no such primitive, or the inputs do not fit it; the message says where the step comes from.
        """
        if name not in PRIMITIVES:
            raise ValueError(f"there is no primitive {name!r}{nearest(name, list(PRIMITIVES))}")
        step = Step(name, inputs, (), attributes, self._source)
        try:
            shape = step.primitive.shape([self.steps[number].shape for number in inputs], **attributes)
        except ValueError as error:
            raise ValueError(f"step {len(self.steps)}, {step}: {error}") from None
        self.steps.append(step._replace(shape=shape))
        return len(self.steps) - 1

    # ---- leaves

    def input(self, width: int) -> int:
        """The next `width` columns of the data, shape (samples, width)."""
        return self._columns(DATA, width)

    def target(self, width: int) -> int:
        """The next `width` columns of the targets, likewise."""
        return self._columns(TARGETS, width)

    def _columns(self, matrix: str, width: int) -> int:
        begin = self._widths[matrix]
        self._widths[matrix] += width
        return self.add(INPUT.name, matrix=matrix, begin=begin, shape=(self.samples, width))

    def parameter(self, shape: Shape) -> int:
        """The next array of the user's parameters."""
        return self.add(PARAMETER.name, shape=shape)

    def block(
        self, array: int, *, row: int = 0, rows: int | None = None, column: int = 0, columns: int | None = None
    ) -> int:
        """The part of a matrix or vector that begins at (row, column), to the end where its extent is not given."""
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
        """``sum of step @ matrix`` ``+ bias`` ``+ sum of step * vector`` (a diagonal matrix) ``+ offset``."""
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
        """An affine step without terms."""
        return self.add(AFFINE.name, terms=(), shape=(self.samples, width), offset=0.0)

    def cost(
        self, name: str, step: int, target: int, *, constant: float = 0.0, scale: float = 1.0, mask: int | None = None
    ) -> int:
        """What each sample costs, times `scale`; nothing in samples where the input step `mask`, of width 1, is 0."""
        masks = () if mask is None else (mask,)
        return self.add(name, step, target, *masks, constant=constant, scale=scale)

    # ---- what there is

    def width(self, matrix: str) -> int:
        """How many columns of the data, or of the targets, are read."""
        return self._widths[matrix]

    @property
    def parameters(self) -> list[int]:
        """The steps that are arrays of the user's parameters, in their order."""
        return [number for number, step in enumerate(self.steps) if step.name == PARAMETER.name]

    @property
    def costs(self) -> list[int]:
        """The cost steps."""
        return [number for number, step in enumerate(self.steps) if isinstance(step.primitive, Cost)]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(int(np.prod(self.steps[number].shape, dtype=np.intp)) for number in self.parameters)

    def leaves(self, theta: Any, data: Any, targets: Any) -> dict[int, Any]:
        """The values of inputs and parameters, as views of a flat vector and of the two matrices."""
        values, begin = {}, 0
        for number, step in enumerate(self.steps):
            if step.name == PARAMETER.name:
                size = int(np.prod(step.shape, dtype=np.intp))
                values[number] = theta[begin : begin + size].reshape(step.shape)
                begin += size
            elif step.name == INPUT.name:
                matrix = data if step.attributes["matrix"] == DATA else targets
                first = step.attributes["begin"]
                values[number] = matrix[:, first : first + step.shape[1]]
        return values

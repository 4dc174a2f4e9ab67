"""Defines what a layer is, and the dense layer. Layers are dataclasses that lower themselves to the steps of a program.

Lowering means that a layer adds the steps that compute it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from gradcheck_fast.inputs.arguments import choose, integer, true_or_false
from gradcheck_fast.program.steps import ACTIVATIONS


def activations() -> tuple[str, ...]:
    """Returns the names of all activations, which are those of PyTorch and Keras."""
    return ("identity", *ACTIVATIONS)


class Signal(NamedTuple):
    """What one layer passes to the next.

    Attributes
    ----------
    parts : tuple of tuple of int
        For each time, the steps whose values stand side by side in it. Without a sequence there is one time.
    sequence : bool
        Whether it is a sequence.
    masks : tuple of int, optional
        For each time, the input step that is 0 for samples that have ended before.
    """

    parts: tuple[tuple[int, ...], ...]
    sequence: bool = False
    masks: tuple[int, ...] | None = None


class HasShape(Protocol):
    """Anything that has a shape."""

    @property
    def shape(self) -> tuple[int, ...]: ...


class Steps(Protocol):
    """What layers write their steps to: a `Program`, or `ArraySteps`, which computes them at once."""

    @property
    def steps(self) -> Sequence[HasShape]: ...

    def add(self, name: str, /, *inputs: int) -> int: ...

    def affine(
        self, matrices: Sequence[tuple[int, int]], bias: int | None = None, *, more_biases: Sequence[int] = (),
        diagonals: Sequence[tuple[int, int]] = (), offset: float = 0.0,
    ) -> int: ...  # fmt: skip

    def block(
        self, array: int, *, row: int = 0, rows: int | None = None, column: int = 0, columns: int | None = None
    ) -> int: ...

    def zeros(self, width: int) -> int: ...

    def input(self, width: int) -> int: ...


def row_blocks(
    program: Steps, array: int, widths: Sequence[int], *, first_row: int = 0, column: int = 0,
    columns: int | None = None,
) -> list[int]:  # fmt: skip
    """Cuts an array that multiplies several steps side by side into blocks one below the other, one for each step.

    `widths` are the widths of the steps. Returns the numbers of the blocks.
    """
    begins = accumulate(widths, initial=first_row)
    return [
        program.block(array, row=row, rows=width, column=column, columns=columns)
        for row, width in zip(begins, widths, strict=False)
    ]


@runtime_checkable
class Layer(Protocol):
    """The protocol of a layer that acts on each sample's row, or sequence of rows, by itself.

    `shapes` has the layer's own names of its arrays. The network adds the number of the layer to them (``W1``), or puts
    the layer's `name` before them (``hidden.W``). `state_widths` has the widths of the initial states that are data.
    """

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def name(self) -> str | None: ...
    @property
    def shapes(self) -> dict[str, tuple[int, ...]]: ...
    @property
    def takes_sequences(self) -> bool: ...
    @property
    def return_sequences(self) -> bool: ...
    @property
    def state_widths(self) -> dict[str, int]: ...

    def lower(self, program: Steps, signal: Signal, arrays: dict[str, int]) -> Signal:
        """Adds the layer's steps after those of `signal`, and returns what the layer passes on.

        `arrays` has the steps of the layer's arrays, by the layer's own names.
        """
        ...


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, ``activation(x @ W + b)``, which is applied to a sequence at every time.

    Parameters
    ----------
    inputs, outputs : int
        The widths. W has the shape (inputs, outputs), and b has (outputs,).
    activation : str
        identity, sigmoid, tanh, relu, leaky_relu (slope 0.01), elu (alpha 1), selu, softplus, softsign, silu,
        gelu (exact), gelu_tanh, hardtanh, relu6, exp or softmax.
    bias : bool
        Whether there is a b.
    name : str, optional
        With a name, the arrays are called ``name.W`` and ``name.b``; without it they are numbered, ``W1`` and ``b1``.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    inputs: int
    outputs: int
    activation: str = "identity"
    bias: bool = True
    name: str | None = None

    takes_sequences: ClassVar[bool] = False
    return_sequences: ClassVar[bool] = True  # if it takes one
    state_widths: ClassVar[dict[str, int]] = {}

    def __post_init__(self) -> None:
        integer("Dense: inputs", self.inputs, positive=True)
        integer("Dense: outputs", self.outputs, positive=True)
        choose("Dense: activation", self.activation, activations())
        true_or_false("Dense: bias", self.bias)
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise TypeError(f"Dense: name: expected a non-empty string or None, got {self.name!r}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        weights: dict[str, tuple[int, ...]] = {"W": (self.inputs, self.outputs)}
        return {**weights, "b": (self.outputs,)} if self.bias else weights

    def lower(self, program: Steps, signal: Signal, arrays: dict[str, int]) -> Signal:
        weights = row_blocks(program, arrays["W"], [program.steps[step].shape[1] for step in signal.parts[0]])
        bias = program.block(arrays["b"]) if self.bias else None
        outputs = []
        for parts in signal.parts:
            step = program.affine(list(zip(parts, weights, strict=True)), bias)
            if self.activation != "identity":
                step = program.add(self.activation, step)
            outputs.append((step,))
        return signal._replace(parts=tuple(outputs))

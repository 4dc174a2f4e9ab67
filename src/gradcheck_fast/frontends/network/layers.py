"""Layers: frozen dataclasses that name their parameters and lower themselves to steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from gradcheck_fast.inputs.arguments import choose, integer, true_or_false
from gradcheck_fast.program.steps import ACTIVATIONS

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Program


def activations() -> tuple[str, ...]:
    """The names of all activations, as PyTorch and Keras name them."""
    return ("identity", *ACTIVATIONS)


class Signal(NamedTuple):
    """What goes from layer to layer.

    Attributes
    ----------
    parts : tuple of tuple of int
        For each time, the steps whose values side by side make it up; one time only where there is no sequence.
    sequence : bool
    masks : tuple of int, optional
        For each time, the input step that is 0 for samples that have ended before.
    """

    parts: tuple[tuple[int, ...], ...]
    sequence: bool = False
    masks: tuple[int, ...] | None = None


def row_blocks(
    program: Program, array: int, widths: Sequence[int], *, first_row: int = 0, column: int = 0,
    columns: int | None = None,
) -> list[int]:  # fmt: skip
    """One block under the other, one for each of several steps side by side that an array multiplies."""
    begins = accumulate(widths, initial=first_row)
    return [
        program.block(array, row=row, rows=width, column=column, columns=columns)
        for row, width in zip(begins, widths, strict=False)
    ]


@runtime_checkable
class Layer(Protocol):
    """What a network asks of a layer.

    `shapes` gives the layer's own names of its arrays; the network numbers them (``W1``), or puts the layer's
    `name` before them (``hidden.W``).
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

    def lower(self, program: Program, signal: Signal, arrays: dict[str, int]) -> Signal:
        """Adds the layer's steps after those of `signal`; returns what it gives. `arrays` are steps, by own names."""
        ...


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, ``activation(x @ W + b)``; of a sequence, at every time.

    Parameters
    ----------
    inputs, outputs : int
        Widths; W has the shape (inputs, outputs), b (outputs,).
    activation : str
        identity, sigmoid, tanh, relu, leaky_relu (slope 0.01), elu (alpha 1), selu, softplus, softsign, silu,
        gelu (exact), gelu_tanh, hardtanh, relu6, exp or softmax.
    bias : bool
        Whether there is a b.
    name : str, optional
        Names the arrays ``name.W`` and ``name.b``; without it they are numbered, ``W1`` and ``b1``.

    Raises
    ------
    TypeError, ValueError
        If a width is not a positive integer, or the activation is unknown.
    """

    inputs: int
    outputs: int
    activation: str = "identity"
    bias: bool = True
    name: str | None = None

    takes_sequences: ClassVar[bool] = False
    return_sequences: ClassVar[bool] = True  # of a sequence
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

    def lower(self, program: Program, signal: Signal, arrays: dict[str, int]) -> Signal:
        weights = row_blocks(program, arrays["W"], [program.steps[step].shape[1] for step in signal.parts[0]])
        bias = program.block(arrays["b"]) if self.bias else None
        outputs = []
        for parts in signal.parts:
            step = program.affine(list(zip(parts, weights, strict=True)), bias)
            if self.activation != "identity":
                step = program.add(self.activation, step)
            outputs.append((step,))
        return signal._replace(parts=tuple(outputs))

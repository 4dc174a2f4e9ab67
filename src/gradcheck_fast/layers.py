"""Layers: frozen dataclasses that name their parameters and lower themselves to steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from . import _program
from .names import choose, positive_integer, true_or_false

if TYPE_CHECKING:
    from .program import Parameter, Program


def activations() -> tuple[str, ...]:
    """The names of all activations, as PyTorch and Keras name them."""
    return ("identity", *_program.operations(), "softmax")


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

    def lower(self, program: Program, step: int, parameters: dict[str, Parameter]) -> int:
        """Adds the layer's steps after `step`; returns the last."""
        ...


@dataclass(frozen=True)
class Dense:
    """A fully connected layer, ``activation(x @ W + b)``.

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

    def __post_init__(self) -> None:
        positive_integer("Dense: inputs", self.inputs)
        positive_integer("Dense: outputs", self.outputs)
        choose("Dense: activation", self.activation, activations())
        true_or_false("Dense: bias", self.bias)
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise TypeError(f"Dense: name: expected a non-empty string or None, got {self.name!r}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        weights: dict[str, tuple[int, ...]] = {"W": (self.inputs, self.outputs)}
        return {**weights, "b": (self.outputs,)} if self.bias else weights

    def lower(self, program: Program, step: int, parameters: dict[str, Parameter]) -> int:
        step = program.affine([(step, parameters["W"])], parameters.get("b"))
        if self.activation == "identity":
            return step
        if self.activation == "softmax":
            return program.softmax(step)
        return program.elementwise(self.activation, step)

"""Runs the layers that act on rows (Dense, RNN, GRU, LSTM) on arrays: their steps are computed instead of written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.network.layers import Layer, Signal
from gradcheck_fast.frontends.network.tensor_layer import BIAS_SCALE, Arrays, Misfit, TensorLayer, require_form, settle
from gradcheck_fast.frontends.operators.elementary import primitive

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ArraySteps:
    """Has the methods of a `Program` by which layers write their steps, and computes each of them at once.

    Parameters
    ----------
    samples : int

    Attributes
    ----------
    steps : list
        The values of all steps so far.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self.steps: list[Any] = []

    def keep(self, value: Any) -> int:
        """Takes a value for that of the next step, and returns its number."""
        self.steps.append(value)
        return len(self.steps) - 1

    def add(self, name: str, /, *inputs: int) -> int:
        """Computes an elementwise primitive, or softmax."""
        return self.keep(primitive(name, *(self.steps[number] for number in inputs)))

    def affine(
        self, matrices: Sequence[tuple[int, int]], bias: int | None = None, *, more_biases: Sequence[int] = (),
        diagonals: Sequence[tuple[int, int]] = (), offset: float = 0.0,
    ) -> int:  # fmt: skip
        """Computes ``sum of step @ matrix + sum of step * vector + sum of biases + offset``."""
        value = self.steps
        products = [value[step] @ value[matrix] for step, matrix in matrices]
        products += [value[step] * value[vector] for step, vector in diagonals]
        biases = [value[number] for number in ((bias,) if bias is not None else ()) + tuple(more_biases)]
        if not products:
            biases[0] = np.broadcast_to(biases[0], (self._samples, biases[0].shape[-1]))
        first, *rest = products + biases
        total = sum(rest, start=first)
        return self.keep(total + offset if offset else total)

    def block(
        self, array: int, *, row: int = 0, rows: int | None = None, column: int = 0, columns: int | None = None
    ) -> int:
        """Takes the part of a matrix or vector that begins at (row, column); without a size it extends to the end."""
        whole = self.steps[array]
        across = slice(column, None if columns is None else column + columns)
        if whole.ndim == 1:
            return self.keep(whole[across])
        return self.keep(whole[slice(row, None if rows is None else row + rows), across])

    def zeros(self, width: int) -> int:
        """Makes zeros for all samples."""
        return self.keep(np.zeros((self._samples, width)))

    def input(self, width: int) -> int:
        """Refuses initial states that are data, which these networks do not take."""
        raise Misfit('initial_state: "data" needs a network of dense and recurrent layers alone')


@dataclass(frozen=True, eq=False, repr=False)
class RowLayer(TensorLayer):
    """A layer that acts on rows, among layers on arrays of any number of axes.

    A dense layer acts on the last axis. A recurrent layer takes the shape (samples, times, inputs).

    Parameters
    ----------
    layer : Layer
    """

    layer: Layer

    def __post_init__(self) -> None:
        settle(self, name=self.layer.name)

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.layer.shapes

    def require(self, x: Any) -> None:
        if self.layer.takes_sequences:
            require_form(x, ("samples", "times", self.layer.inputs))
        elif np.ndim(x) < 2 or np.shape(x)[-1] != self.layer.inputs:
            hint = "; a Flatten() before it makes rows" if np.ndim(x) > 2 else ""
            raise ValueError(f"expected the shape (samples, ..., {self.layer.inputs}), got {np.shape(x)}{hint}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        if self.layer.takes_sequences:
            steps = ArraySteps(len(x))
            parts = tuple((steps.keep(x[:, time]),) for time in range(x.shape[1]))
        else:
            rows = x.reshape(-1, x.shape[-1])
            steps = ArraySteps(len(rows))
            parts = ((steps.keep(rows),),)
        numbers = {own: steps.keep(array) for own, array in arrays.items()}
        signal = self.layer.lower(steps, Signal(parts, self.layer.takes_sequences), numbers)
        outputs = [_side_by_side([steps.steps[step] for step in parts]) for parts in signal.parts]
        if signal.sequence:
            return np.stack(outputs, axis=1)
        return outputs[0].reshape(*(x.shape[:1] if self.layer.takes_sequences else x.shape[:-1]), -1)

    def initial(self, own: str, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
        return generator.normal(0.0, shape[0] ** -0.5 if len(shape) > 1 else BIAS_SCALE, shape)

    def __repr__(self) -> str:
        return repr(self.layer)


def _side_by_side(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

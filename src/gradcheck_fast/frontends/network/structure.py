"""Layers of layers (one after another, residual, side by side), and what changes shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import numpy as np

from gradcheck_fast.frontends.network.tensor_layer import Arrays, Misfit, TensorLayer, settle
from gradcheck_fast.frontends.operators.elementary import reshaped
from gradcheck_fast.inputs.arguments import integer


def _as_layers(layers: Any) -> tuple[Any, ...]:
    return tuple(layers) if isinstance(layers, Sequence) else (layers,)


def _one_after_another(x: Any, run: Sequence[Callable[[Any], Any]]) -> Any:
    return reduce(lambda value, function: function(value), run, x)


@dataclass(frozen=True, eq=False, repr=False)
class Flatten(TensorLayer):
    """Makes one axis of several, of which the last changes fastest.

    Parameters
    ----------
    start_axis, end_axis : int
        The first and the last of them; PyTorch calls them start_dim and end_dim. The samples stay.
    name : str, optional
        As for every layer.
    """

    start_axis: int = 1
    end_axis: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{self.kind}: start_axis", self.start_axis, positive=True)
        if isinstance(self.end_axis, bool) or not isinstance(self.end_axis, int):
            raise TypeError(f"{self.kind}: end_axis: expected an integer, got {self.end_axis!r}")

    def _ends(self, axes: int) -> tuple[int, int]:
        return self.start_axis, self.end_axis if self.end_axis >= 0 else axes + self.end_axis

    def require(self, x: Any) -> None:
        start, end = self._ends(np.ndim(x))
        if not start <= end < np.ndim(x):
            raise ValueError(f"expected axes {self.start_axis} to {self.end_axis}, got the shape {np.shape(x)}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        start, end = self._ends(np.ndim(x))
        return reshaped(x, (*x.shape[:start], prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


@dataclass(frozen=True, eq=False, repr=False)
class Sequential(TensorLayer):
    """Layers one after another, as one layer.

    Parameters
    ----------
    layers : layer or sequence of layers
    name : str, optional
        The names of all arrays inside begin with it.
    """

    layers: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, layers=_as_layers(self.layers))

    @property
    def inner(self) -> tuple[Any, ...]:
        return tuple(self.layers)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        return _one_after_another(x, run)


@dataclass(frozen=True, eq=False, repr=False)
class Residual(TensorLayer):
    """The input plus what some layers make of it (He et al. 2016), ``shortcut(x) + layers(x)``.

    Parameters
    ----------
    layers : layer or sequence of layers
        They run one after another.
    shortcut : layer, optional
        What the input goes through before it is added, such as a Conv2d with kernel_size 1.
    name : str, optional
        The names of all arrays inside begin with it.

    Examples
    --------
    >>> import gradcheck_fast as gf
    >>> block = gf.Residual([gf.LayerNorm(8), gf.MultiHeadAttention(8, 2)], name="attention")
    >>> list(gf.Network(block, gf.SquaredError()).shapes)[:3]
    ['attention.weight1', 'attention.bias1', 'attention.in_proj_weight2']
    """

    layers: Any
    shortcut: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, layers=_as_layers(self.layers))

    @property
    def inner(self) -> tuple[Any, ...]:
        return (*self.layers, *(() if self.shortcut is None else (self.shortcut,)))

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        *inner, shortcut = run if self.shortcut is not None else (*run, _same)
        found, beside = _one_after_another(x, inner), shortcut(x)
        if np.shape(found) != np.shape(beside):
            raise Misfit(
                f"expected layers that give the shape {np.shape(beside)} of what they are added to, got "
                f"{np.shape(found)}; a shortcut= changes the shape of the input"
            )
        return beside + found


def _same(x: Any) -> Any:
    return x


@dataclass(frozen=True, eq=False, repr=False)
class Concatenate(TensorLayer):
    """What several layers make of the same input, side by side.

    Parameters
    ----------
    layers : sequence of layers
        The branches. A branch of several layers is a `Sequential`; ``Sequential([])`` gives the input itself.
    axis : int
        The axis along which they are joined: by default that of the channels. Keras's default is -1.
    name : str, optional
        The names of all arrays inside begin with it.
    """

    layers: Any
    axis: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, layers=_as_layers(self.layers))
        if not self.layers:
            raise ValueError(f"{self.kind}: layers: expected at least one branch, got none")
        if isinstance(self.axis, bool) or not isinstance(self.axis, int):
            raise TypeError(f"{self.kind}: axis: expected an integer, got {self.axis!r}")

    @property
    def inner(self) -> tuple[Any, ...]:
        return tuple(self.layers)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        found = [branch(x) for branch in run]
        try:
            return np.concatenate(found, axis=self.axis)
        except ValueError:
            shapes = " and ".join(str(np.shape(part)) for part in found)
            raise Misfit(
                f"expected branches that differ in the length of axis {self.axis} alone, got the shapes {shapes}"
            ) from None

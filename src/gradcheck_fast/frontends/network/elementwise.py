"""Layers that act entry by entry: activations, gated ones, and dropout with a given mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from gradcheck_fast.frontends.network.layers import activations
from gradcheck_fast.frontends.network.tensor_layer import Arrays, TensorLayer, kept, settle
from gradcheck_fast.frontends.operators.activations import NAMES, activation
from gradcheck_fast.frontends.operators.elementary import primitive
from gradcheck_fast.inputs.arguments import choose, integer, number
from gradcheck_fast.inputs.arrays import real_array, require_finite

#: What PReLU's weights are drawn around, as PyTorch sets them.
PRELU_SLOPE = 0.25
#: The activations that take an array of parameters, or change the shape.
_NO_LAYERS = {"prelu", "glu", "logsumexp"}


def activation_names() -> tuple[str, ...]:
    """Returns the names of the activations that a layer can have: those of `Dense`, and all of PyTorch's."""
    return tuple(dict.fromkeys((*activations(), *(name for name in NAMES if name not in _NO_LAYERS))))


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Activation(TensorLayer):
    """An activation.

    Parameters
    ----------
    activation : str
        relu, leaky_relu, elu, celu, selu, gelu, silu, sigmoid, logsigmoid, tanh, softplus, softsign, hardtanh, relu6,
        hardswish, hardsigmoid, hardshrink, softshrink, tanhshrink, threshold, mish, softmax, log_softmax, or any other
        that `Dense` knows.
    name : str, optional
        As for every layer.
    **settings
        Those of PyTorch: negative_slope, alpha, approximate, beta, threshold, lambd, min_val, max_val, value; and axis
        for softmax and log_softmax.

    Raises
    ------
    TypeError, ValueError
        If there is no such activation, or it does not have such a setting.

    Examples
    --------
    >>> import gradcheck_fast as gf
    >>> gf.Activation("leaky_relu", negative_slope=0.2)
    Activation('leaky_relu', negative_slope=0.2)
    """

    activation: str
    settings: dict[str, Any]

    def __init__(self, activation: str, *, name: str | None = None, **settings: Any) -> None:
        settle(self, activation=activation, settings=settings, name=name)
        super().__post_init__()
        choose(f"{self.kind}: activation", activation, activation_names())
        axis = settings.get("axis", -1)
        if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
            raise TypeError(f"{self.kind}: {activation}: axis: expected an integer, got {axis!r}")
        try:
            with np.errstate(all="ignore"):
                found = self.forward(np.ones((2,) * max(axis + 1, -axis, 2)), {}, ())
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.kind}: {activation}: {error}") from None
        if not np.isfinite(found).all():
            raise ValueError(
                f"{self.kind}: {activation}: expected settings with which it is finite at 1, got {settings}"
            )

    def require(self, x: Any) -> None:
        axis = self.settings.get("axis", -1)
        if not -np.ndim(x) <= axis < np.ndim(x):
            raise ValueError(f"expected an array with an axis {axis}, got the shape {np.shape(x)}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        if self.activation in NAMES:
            return activation(self.activation, x, **self.settings)
        if self.settings:
            raise TypeError(f"expected no settings, got {', '.join(self.settings)}")
        return primitive(self.activation, x)

    def __repr__(self) -> str:
        more = {**self.settings, **({"name": self.name} if self.name else {})}
        return (
            f"{self.kind}({', '.join([repr(self.activation), *(f'{key}={value!r}' for key, value in more.items())])})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class PReLU(TensorLayer):
    """max(x, 0) + weight * min(x, 0) (He et al. 2015). The array is ``weight``, of shape (num_parameters,).

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels.
    axis : int
        The axis of the channels: 1 as in PyTorch, or -1.
    name : str, optional
        As for every layer.
    """

    num_parameters: int = 1
    _: KW_ONLY
    axis: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{self.kind}: num_parameters", self.num_parameters, positive=True)
        if self.axis not in (1, -1):
            raise ValueError(f"{self.kind}: axis: expected 1 or -1, got {self.axis!r}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.num_parameters,)}

    def require(self, x: Any) -> None:
        if self.num_parameters > 1 and (np.ndim(x) < 2 or np.shape(x)[self.axis] != self.num_parameters):
            raise ValueError(f"expected {self.num_parameters} channels along axis {self.axis}, got {np.shape(x)}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        return activation("prelu", x, arrays["weight"], axis=self.axis)

    def initial(self, own: str, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
        return generator.normal(PRELU_SLOPE, 0.1 * PRELU_SLOPE, shape)


@dataclass(frozen=True, eq=False, repr=False)
class GLU(TensorLayer):
    """The gated linear unit (Dauphin et al. 2017): one half of an array times the sigmoid of the other half.

    Parameters
    ----------
    axis : int
        Which axis is cut in two.
    gate : {"second", "first"}
        The half that goes through the sigmoid. "second" is PyTorch's.
    name : str, optional
        As for every layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    axis: int = -1
    _: KW_ONLY
    gate: str = "second"

    through: ClassVar[str] = "sigmoid"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.axis, bool) or not isinstance(self.axis, int):
            raise TypeError(f"{self.kind}: axis: expected an integer, got {self.axis!r}")
        choose(f"{self.kind}: gate", self.gate, ("second", "first"))

    def require(self, x: Any) -> None:
        axis = self.axis if self.axis >= 0 else np.ndim(x) + self.axis
        if not 0 < axis < np.ndim(x) or np.shape(x)[axis] % 2:
            raise ValueError(f"expected an even length of axis {self.axis}, got the shape {np.shape(x)}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        first, second = np.split(x, 2, axis=self.axis)
        value, gate = (first, second) if self.gate == "second" else (second, first)
        return value * activation(self.through, gate)


class SwiGLU(GLU):
    """As `GLU`, with silu in place of sigmoid (Shazeer 2020); in LLaMA's code the gate is the first half."""

    through = "silu"


class GEGLU(GLU):
    """As `GLU`, with gelu in place of sigmoid (Shazeer 2020)."""

    through = "gelu"


@dataclass(frozen=True, eq=False, repr=False)
class Dropout(TensorLayer):
    """Dropout with a given mask, x * mask / (1 - p): what one draw of the mask makes of it.

    Parameters
    ----------
    mask : array_like of bool or float
        What is kept; it is broadcast to x. It is copied.
    p : float
        The probability with which entries are dropped. With 0 nothing is scaled, as for a mask that is scaled already.
    name : str, optional
        As for every layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    mask: Any
    p: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        mask = real_array(f"{self.kind}: mask", self.mask, allow_bool=True)
        require_finite(f"{self.kind}: mask", mask)
        settle(self, mask=kept(mask.astype(np.float64)))
        if number(f"{self.kind}: p", self.p) >= 1.0:
            raise ValueError(f"{self.kind}: p: expected a number of at least 0 and less than 1, got {self.p!r}")

    def require(self, x: Any) -> None:
        try:
            fits = np.broadcast_shapes(np.shape(x), self.mask.shape) == np.shape(x)
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"expected a shape that the mask {self.mask.shape} is broadcast to, got {np.shape(x)}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        return x * (self.mask / (1.0 - self.p))

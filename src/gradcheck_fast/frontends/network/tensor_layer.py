"""`TensorLayer`, the base class of the layers whose arrays have any number of axes, and what they have in common.

The first axis is that of the samples. A layer is written once, in NumPy: on plain arrays it computes, and on arrays
that record what is done to them it writes its steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arguments import integer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Misfit(ValueError):
    """Layers inside of another one do not fit together."""


#: The arrays of a layer, by its own names.
Arrays = Mapping[str, Any]
#: The names of the spatial axes in errors, by their number.
SPATIAL = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
#: The standard deviation of what biases are drawn from.
BIAS_SCALE = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class TensorLayer(ABC):
    """The base class of the layers on arrays of any number of axes, of which the first is that of the samples.

    Two layers are the same only if they are one object. A layer that a network has twice has one set of arrays.

    Parameters
    ----------
    name : str, optional
        With a name, the arrays are called ``name.weight``, ...; without it they are numbered, ``weight1``, ...

    Raises
    ------
    TypeError, ValueError
        If an argument is none of those that the layer takes.
    """

    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.name is not None and not (isinstance(self.name, str) and self.name):
            raise TypeError(f"{self.kind}: name: expected a non-empty string or None, got {self.name!r}")

    @property
    def kind(self) -> str:
        """What errors and reports call the layer."""
        return type(self).__name__

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the layer's arrays, by its own names."""
        return {}

    @property
    def inner(self) -> tuple[Any, ...]:
        """The layers that it consists of, if it consists of layers."""
        return ()

    def require(self, x: Any) -> None:  # noqa: B027 # a layer may take any array
        """Looks whether the layer takes an array like `x`.

        Raises
        ------
        TypeError, ValueError
            If not; the message says which shape is expected, and which was got.
        """

    @abstractmethod
    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        """Returns what the layer makes of `x`.

        Parameters
        ----------
        x : ndarray, or traced array
            `require` has taken it.
        arrays : mapping of str to ndarray, or to traced arrays
            The layer's arrays, by its own names.
        run : sequence of callable
            The forward passes of the layers that it consists of, each of one array.

        Raises
        ------
        Misfit
            If these do not fit together.
        """

    def initial(self, own: str, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
        """Draws one of the layer's arrays: weights of variance 1/fan-in, vectors of standard deviation 0.1."""
        scale = np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else BIAS_SCALE
        return generator.normal(0.0, scale, shape)

    def __repr__(self) -> str:
        given = []
        for part in sorted(fields(self), key=lambda part: part.name == "name"):  # the name is written last
            value = _as_one(getattr(self, part.name), getattr(self, "axes", 0))
            if isinstance(value, np.ndarray):
                given.append(f"{part.name}=<array of shape {value.shape}>")
            elif part.default is MISSING or value != part.default:
                given.append(f"{part.name}={value!r}")
        return f"{self.kind}({', '.join(given)})"


def _as_one(value: Any, axes: int) -> Any:
    """Returns the one number that stands for all of a setting of each spatial axis; anything else as it is."""
    if not isinstance(value, tuple) or len(value) != axes or len(set(value)) > 1:
        return value
    first = value[0]
    if isinstance(first, tuple):
        return first[0] if first[0] == first[1] else value
    return first


def sizes(what: str, value: Any, axes: int, *, positive: bool = True) -> tuple[int, ...]:
    """Reads one integer, or one for each spatial axis.

    Raises
    ------
    TypeError, ValueError
        If it is neither; the message begins with `what`.
    """
    if isinstance(value, (tuple, list)):
        if len(value) != axes:
            raise ValueError(f"{what}: expected an integer or {axes} of them, got {value!r}")
        return tuple(integer(what, one, positive=positive) for one in value)
    return (integer(what, value, positive=positive),) * axes


def settle(layer: TensorLayer, **values: Any) -> None:
    """Sets fields of a layer, while it is made, to what was read from its arguments."""
    for name, value in values.items():
        object.__setattr__(layer, name, value)


def kept(array: Any) -> NDArray[Any]:
    """Returns a copy of an array of data that nobody can write to."""
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def require_form(x: Any, form: Sequence[int | str], hint: str = "") -> None:
    """Raises a ValueError unless an array has a shape of this form, in which a string stands for any length."""
    shape = np.shape(x)
    fits = len(shape) == len(form) and all(
        isinstance(expected, str) or length == expected for length, expected in zip(shape, form, strict=True)
    )
    if not fits:
        raise ValueError(f"expected the shape ({', '.join(map(str, form))}), got {shape}{hint}")


def channels(axes: int, count: int | str, channels_last: bool) -> tuple[int | str, ...]:
    """Returns the form of an array of so many spatial axes and channels."""
    return ("samples", *SPATIAL[axes], count) if channels_last else ("samples", count, *SPATIAL[axes])


def require_channels(x: Any, axes: int, count: int | str, channels_last: bool) -> None:
    """Raises a ValueError unless an array has these spatial axes and channels; says so if they stand elsewhere."""
    other = np.ndim(x) == axes + 2 and np.shape(x)[1 if channels_last else -1] == count
    hint = f"; channels that come {'first' if channels_last else 'last'} need channels_last={not channels_last}"
    require_form(x, channels(axes, count, channels_last), hint * bool(other))

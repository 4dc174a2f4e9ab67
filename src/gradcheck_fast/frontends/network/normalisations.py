"""Normalisations: by the numbers of a batch or given ones, of a layer, of groups of channels, or of a channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from gradcheck_fast.frontends.network.tensor_layer import Arrays, TensorLayer, kept, require_form, settle
from gradcheck_fast.frontends.operators.normalisation import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
from gradcheck_fast.inputs.arguments import integer, number, true_or_false
from gradcheck_fast.inputs.arrays import real_array, require_finite

#: The standard deviation of weights, around 1, and of biases, around 0, that are drawn.
SCALE = 0.1


@dataclass(frozen=True, eq=False, repr=False)
class _Normalising(TensorLayer):
    """What normalisations have in common: the names of their arrays, and what these are drawn from."""

    def _affine(self, shape: tuple[int, ...], affine: bool, bias: bool) -> dict[str, tuple[int, ...]]:
        names = ("weight", "bias") if bias else ("weight",)
        return dict.fromkeys(names, shape) if affine else {}

    def _require_axis(self, x: Any, axis: int, count: int) -> None:
        """Raises a ValueError unless `x` has so many channels along an axis."""
        if np.ndim(x) < 2 or not -np.ndim(x) <= axis < np.ndim(x) or np.shape(x)[axis] != count:
            form = ["samples", *["..."] * (axis != 1), count, *["..."] * (axis != -1)]
            raise ValueError(f"expected the shape ({', '.join(map(str, form))}), got {np.shape(x)}")

    def initial(self, own: str, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
        return generator.normal(1.0 if own == "weight" else 0.0, SCALE, shape)


@dataclass(frozen=True, eq=False, repr=False)
class BatchNorm(_Normalising):
    """Batch normalisation (Ioffe and Szegedy 2015), (x - mean) / sqrt(var + eps) * weight + bias, for each channel.

    PyTorch's BatchNorm1d, BatchNorm2d and BatchNorm3d in one. Without `mean` and `var` it is that of training: mean and
    (biased) variance are those of the batch, over the samples and the spatial axes. With them it is that of evaluation.
    The arrays are ``weight`` and ``bias``, of shape (num_features,).

    Parameters
    ----------
    num_features : int
        The number of channels.
    eps : float
        PyTorch's is 1e-5, Keras's 1e-3.
    affine : bool
        Whether there are a weight and a bias.
    mean, var : array_like, shape (num_features,), optional
        The running mean and variance, both or none. They are copied.
    axis : int
        The axis of the channels: 1 as in PyTorch, -1 as in Keras.
    name : str, optional
        As for every layer.
    """

    num_features: int
    eps: float = 1e-5
    _: KW_ONLY
    affine: bool = True
    mean: Any = None
    var: Any = None
    axis: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{self.kind}: num_features", self.num_features, positive=True)
        number(f"{self.kind}: eps", self.eps)
        true_or_false(f"{self.kind}: affine", self.affine)
        if self.axis not in (1, -1):
            raise ValueError(f"{self.kind}: axis: expected 1 or -1, got {self.axis!r}")
        if (self.mean is None) != (self.var is None):
            raise ValueError(f"{self.kind}: mean and var: expected both, or none, got one of them")
        for own in ("mean", "var") if self.mean is not None else ():
            array = real_array(f"{self.kind}: {own}", getattr(self, own))
            require_finite(f"{self.kind}: {own}", array)
            if array.shape != (self.num_features,):
                raise ValueError(f"{self.kind}: {own}: expected the shape ({self.num_features},), got {array.shape}")
            settle(self, **{own: kept(array.astype(np.float64))})
        if self.var is not None and (self.var < 0.0).any():
            raise ValueError(f"{self.kind}: var: expected numbers of at least 0, got {self.var.min()}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._affine((self.num_features,), self.affine, True)

    def require(self, x: Any) -> None:
        self._require_axis(x, self.axis, self.num_features)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        first = np.moveaxis(x, self.axis, 1)
        found = batch_norm(first, arrays.get("weight"), arrays.get("bias"), self.mean, self.var, self.eps)
        return np.moveaxis(found, 1, self.axis)


@dataclass(frozen=True, eq=False, repr=False)
class GroupNorm(_Normalising):
    """Group normalisation (Wu and He 2018): by mean and variance of each group of channels of each sample.

    The arrays are ``weight`` and ``bias``, of shape (num_channels,).

    Parameters
    ----------
    num_groups, num_channels : int
    eps : float
        PyTorch's is 1e-5, Keras's 1e-3.
    affine : bool
        Whether there are a weight and a bias.
    axis : int
        The axis of the channels: 1 as in PyTorch, -1 as in Keras.
    name : str, optional
        As for every layer.
    """

    num_groups: int
    num_channels: int
    eps: float = 1e-5
    affine: bool = True
    _: KW_ONLY
    axis: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{self.kind}: num_groups", self.num_groups, positive=True)
        integer(f"{self.kind}: num_channels", self.num_channels, positive=True)
        if self.num_channels % self.num_groups:
            raise ValueError(
                f"{self.kind}: num_groups: expected a divisor of {self.num_channels} channels, got {self.num_groups}"
            )
        number(f"{self.kind}: eps", self.eps)
        true_or_false(f"{self.kind}: affine", self.affine)
        if self.axis not in (1, -1):
            raise ValueError(f"{self.kind}: axis: expected 1 or -1, got {self.axis!r}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._affine((self.num_channels,), self.affine, True)

    def require(self, x: Any) -> None:
        self._require_axis(x, self.axis, self.num_channels)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        first = np.moveaxis(x, self.axis, 1)
        found = group_norm(first, self.num_groups, arrays.get("weight"), arrays.get("bias"), self.eps)
        return np.moveaxis(found, 1, self.axis)


@dataclass(frozen=True, eq=False, repr=False)
class InstanceNorm(_Normalising):
    """Instance normalisation (Ulyanov et al. 2016): by mean and variance of each channel of each sample.

    PyTorch's InstanceNorm1d, InstanceNorm2d and InstanceNorm3d in one. The arrays, if there are any, are ``weight`` and
    ``bias``, of shape (num_features,).

    Parameters
    ----------
    num_features : int
        The number of channels.
    eps : float
    affine : bool
        Whether there are a weight and a bias; PyTorch's default is that there are none.
    axis : int
        The axis of the channels: 1 as in PyTorch, or -1.
    name : str, optional
        As for every layer.
    """

    num_features: int
    eps: float = 1e-5
    _: KW_ONLY
    affine: bool = False
    axis: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(f"{self.kind}: num_features", self.num_features, positive=True)
        number(f"{self.kind}: eps", self.eps)
        true_or_false(f"{self.kind}: affine", self.affine)
        if self.axis not in (1, -1):
            raise ValueError(f"{self.kind}: axis: expected 1 or -1, got {self.axis!r}")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._affine((self.num_features,), self.affine, True)

    def require(self, x: Any) -> None:
        if np.ndim(x) < 3:
            raise ValueError(f"expected an array with at least one spatial axis, got the shape {np.shape(x)}")
        self._require_axis(x, self.axis, self.num_features)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        first = np.moveaxis(x, self.axis, 1)
        found = instance_norm(first, arrays.get("weight"), arrays.get("bias"), self.eps)
        return np.moveaxis(found, 1, self.axis)


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(_Normalising):
    """Layer normalisation (Ba et al. 2016): by mean and variance over the last axes.

    The arrays are ``weight`` and ``bias``, of shape `normalized_shape`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of the last axes.
    eps : float
        PyTorch's is 1e-5, Keras's 1e-3.
    elementwise_affine : bool
        Whether there is a weight.
    bias : bool
        Whether there is a bias, too.
    name : str, optional
        As for every layer.

    Examples
    --------
    >>> import gradcheck_fast as gf
    >>> gf.LayerNorm(8).shapes
    {'weight': (8,), 'bias': (8,)}
    """

    normalized_shape: Any
    eps: float = 1e-5
    elementwise_affine: bool = True
    bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, normalized_shape=_last_axes(f"{self.kind}: normalized_shape", self.normalized_shape))
        number(f"{self.kind}: eps", self.eps)
        true_or_false(f"{self.kind}: elementwise_affine", self.elementwise_affine)
        true_or_false(f"{self.kind}: bias", self.bias)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._affine(self.normalized_shape, self.elementwise_affine, self.bias)

    def require(self, x: Any) -> None:
        _require_last(x, self.normalized_shape)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        axes = tuple(range(-len(self.normalized_shape), 0))
        return layer_norm(x, axes, arrays.get("weight"), arrays.get("bias"), self.eps)


@dataclass(frozen=True, eq=False, repr=False)
class RMSNorm(_Normalising):
    """Root mean square normalisation (Zhang and Sennrich 2019), x / sqrt(mean of x^2 + eps) over the last axes.

    The array is ``weight``, of shape `normalized_shape`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of the last axes.
    eps : float, optional
        By default the distance from 1 to the next float64, as in PyTorch.
    elementwise_affine : bool
        Whether there is a weight.
    name : str, optional
        As for every layer.
    """

    normalized_shape: Any
    eps: float | None = None
    elementwise_affine: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, normalized_shape=_last_axes(f"{self.kind}: normalized_shape", self.normalized_shape))
        if self.eps is not None:
            number(f"{self.kind}: eps", self.eps)
        true_or_false(f"{self.kind}: elementwise_affine", self.elementwise_affine)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._affine(self.normalized_shape, self.elementwise_affine, False)

    def require(self, x: Any) -> None:
        _require_last(x, self.normalized_shape)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        eps = float(np.finfo(np.float64).eps) if self.eps is None else self.eps
        return rms_norm(x, tuple(range(-len(self.normalized_shape), 0)), arrays.get("weight"), eps)


def _last_axes(what: str, shape: Any) -> tuple[int, ...]:
    lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not lengths:
        raise ValueError(f"{what}: expected at least one length, got none")
    return tuple(integer(what, length, positive=True) for length in lengths)


def _require_last(x: Any, lengths: tuple[int, ...]) -> None:
    """Raises a ValueError unless these are the last axes of `x`, after that of the samples."""
    if np.ndim(x) <= len(lengths) or np.shape(x)[-len(lengths) :] != lengths:
        require_form(x, ("samples", "...", *lengths))

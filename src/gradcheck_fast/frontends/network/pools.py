"""Pooling layers: the largest entries or averages of windows, of as many windows as wanted, or of everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from gradcheck_fast.frontends.network.convolutions import (
    Pairs,
    Sizes,
    channels_as_given,
    channels_first,
    read_padding,
)
from gradcheck_fast.frontends.network.tensor_layer import Arrays, TensorLayer, require_channels, settle, sizes
from gradcheck_fast.frontends.operators.convolution import same_padding
from gradcheck_fast.frontends.operators.pooling import (
    adaptive_average_pool,
    adaptive_max_pool,
    average_pool,
    max_pool_values,
)
from gradcheck_fast.frontends.operators.windows import output_size
from gradcheck_fast.inputs.arguments import integer, number, true_or_false


@dataclass(frozen=True, eq=False, repr=False)
class Pooling(TensorLayer):
    """The base class of the layers that pool windows of an array of shape ``(samples, channels, *spatial)``.

    Parameters
    ----------
    kernel_size : int or sequence of int
        For all spatial axes, or for each.
    stride : int or sequence of int, optional
        By default `kernel_size`.
    padding : int, sequence of int, sequence of pairs, or {"valid", "same"}
        As for `Convolution`.
    ceil_mode : bool
        Whether a last window may reach beyond the padding, as in PyTorch.
    channels_last : bool
        Whether the channels are the last axis.
    name : str, optional
        As for every layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    kernel_size: Sizes
    stride: Sizes = None
    padding: Any = 0
    _: KW_ONLY
    ceil_mode: bool = False
    channels_last: bool = False

    axes: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        kernel = sizes(f"{self.kind}: kernel_size", self.kernel_size, self.axes)
        stride = kernel if self.stride is None else sizes(f"{self.kind}: stride", self.stride, self.axes)
        padding = read_padding(f"{self.kind}: padding", self.padding, self.axes, ("valid", "same"))
        settle(self, kernel_size=kernel, stride=stride, padding=padding)
        if not isinstance(padding, str) and any(2 * max(pair) > k for pair, k in zip(padding, kernel, strict=True)):
            raise ValueError(f"{self.kind}: padding: expected at most half of kernel_size {kernel}, got {padding}")
        true_or_false(f"{self.kind}: ceil_mode", self.ceil_mode)
        true_or_false(f"{self.kind}: channels_last", self.channels_last)

    @property
    def _dilation(self) -> tuple[int, ...]:
        return (1,) * self.axes

    def require(self, x: Any) -> None:
        require_channels(x, self.axes, "channels", self.channels_last)
        spatial = np.shape(x)[1:-1] if self.channels_last else np.shape(x)[2:]
        settings = zip(spatial, self.kernel_size, self.stride, self._pads(spatial), self._dilation, strict=True)
        if any(output_size(*each, self.ceil_mode) < 1 for each in settings):
            raise ValueError(
                f"expected spatial axes of at least kernel_size {self.kernel_size}, got the shape {np.shape(x)}"
            )

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        x = channels_first(x, self.channels_last)
        return channels_as_given(self._pool(x, self._pads(x.shape[2:])), self.channels_last)

    def _pool(self, x: Any, padding: Pairs) -> Any:
        """Returns what is pooled of an array of channels first."""
        raise NotImplementedError

    def _pads(self, spatial: Sequence[int]) -> Pairs:
        if self.padding == "valid":
            return ((0, 0),) * self.axes
        if self.padding == "same":
            return tuple(same_padding(spatial, self.kernel_size, self.stride, self._dilation))
        pairs: Pairs = self.padding
        return pairs


@dataclass(frozen=True, eq=False, repr=False)
class _MaxPool(Pooling):
    """The largest entry of each window."""

    _: KW_ONLY
    dilation: Sizes = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, dilation=sizes(f"{self.kind}: dilation", self.dilation, self.axes))

    @property
    def _dilation(self) -> tuple[int, ...]:
        return tuple(self.dilation)

    def _pool(self, x: Any, padding: Pairs) -> Any:
        settings = {"stride": self.stride, "padding": padding, "dilation": self._dilation}
        return max_pool_values(x, self.kernel_size, ceil_mode=self.ceil_mode, **settings)


class MaxPool1d(_MaxPool):
    """The largest entry of each window along one axis; see `Pooling`. `dilation` is as for `Convolution`."""

    axes = 1


class MaxPool2d(_MaxPool):
    """The largest entry of each window along two axes; see `Pooling`. `dilation` is as for `Convolution`.

    Examples
    --------
    >>> import gradcheck_fast as gf
    >>> gf.Network([gf.MaxPool2d(2), gf.Flatten()], gf.SquaredError()).output_shape((16, 6, 24, 24))
    (16, 864)
    """

    axes = 2


class MaxPool3d(_MaxPool):
    """The largest entry of each window along three axes; see `Pooling`. `dilation` is as for `Convolution`."""

    axes = 3


@dataclass(frozen=True, eq=False, repr=False)
class _AvgPool(Pooling):
    """The average of each window."""

    _: KW_ONLY
    count_include_pad: bool = True
    divisor_override: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false(f"{self.kind}: count_include_pad", self.count_include_pad)
        if self.divisor_override is not None:
            number(f"{self.kind}: divisor_override", self.divisor_override, positive=True)

    def _pool(self, x: Any, padding: Pairs) -> Any:
        return average_pool(
            x, self.kernel_size, stride=self.stride, padding=padding, ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad, divisor=self.divisor_override,
        )  # fmt: skip


class AvgPool1d(_AvgPool):
    """The average of each window along one axis; see `AvgPool2d`."""

    axes = 1


class AvgPool2d(_AvgPool):
    """The average of each window along two axes; see `Pooling`.

    With ``count_include_pad=False`` zeros of the padding are not counted, as Keras's "same" has it. What is not None as
    `divisor_override` divides the sum of each window in place of the number of its entries.
    """

    axes = 2


class AvgPool3d(_AvgPool):
    """The average of each window along three axes; see `AvgPool2d`."""

    axes = 3


@dataclass(frozen=True, eq=False, repr=False)
class AdaptivePooling(TensorLayer):
    """The base class of the layers that pool an array to a given size, whatever its own is.

    Window k of n along an axis goes from floor(k length / n) to ceil((k + 1) length / n).

    Parameters
    ----------
    output_size : int or sequence of int or None
        For all spatial axes, or for each. An axis of None keeps its length.
    channels_last : bool
        Whether the channels are the last axis.
    name : str, optional
        As for every layer.
    """

    output_size: Sizes
    _: KW_ONLY
    channels_last: bool = False

    axes: ClassVar[int]
    is_max: ClassVar[bool]

    def __post_init__(self) -> None:
        super().__post_init__()
        what, size = f"{self.kind}: output_size", self.output_size
        given = size if isinstance(size, (tuple, list)) else (size,) * self.axes
        if len(given) != self.axes:
            raise ValueError(f"{what}: expected an integer, None, or {self.axes} of them, got {size!r}")
        settle(self, output_size=tuple(None if one is None else integer(what, one, positive=True) for one in given))
        true_or_false(f"{self.kind}: channels_last", self.channels_last)

    def require(self, x: Any) -> None:
        require_channels(x, self.axes, "channels", self.channels_last)

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        x = channels_first(x, self.channels_last)
        size = [own if one is None else one for one, own in zip(self.output_size, x.shape[2:], strict=True)]
        found = adaptive_max_pool(x, size)[0] if self.is_max else adaptive_average_pool(x, size)
        return channels_as_given(found, self.channels_last)


class AdaptiveAvgPool1d(AdaptivePooling):
    """Averages of as many windows as wanted along one axis; see `AdaptivePooling`."""

    axes, is_max = 1, False


class AdaptiveAvgPool2d(AdaptivePooling):
    """Averages of as many windows as wanted along two axes; see `AdaptivePooling`."""

    axes, is_max = 2, False


class AdaptiveAvgPool3d(AdaptivePooling):
    """Averages of as many windows as wanted along three axes; see `AdaptivePooling`."""

    axes, is_max = 3, False


class AdaptiveMaxPool1d(AdaptivePooling):
    """The largest entries of as many windows as wanted along one axis; see `AdaptivePooling`."""

    axes, is_max = 1, True


class AdaptiveMaxPool2d(AdaptivePooling):
    """The largest entries of as many windows as wanted along two axes; see `AdaptivePooling`."""

    axes, is_max = 2, True


class AdaptiveMaxPool3d(AdaptivePooling):
    """The largest entries of as many windows as wanted along three axes; see `AdaptivePooling`."""

    axes, is_max = 3, True


@dataclass(frozen=True, eq=False, repr=False)
class GlobalAvgPool(TensorLayer):
    """The average over all spatial axes of an array of shape ``(samples, channels, *spatial)``.

    Parameters
    ----------
    keepdims : bool
        Whether the spatial axes stay, with length 1.
    channels_last : bool
        Whether the channels are the last axis.
    name : str, optional
        As for every layer.
    """

    _: KW_ONLY
    keepdims: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        true_or_false(f"{self.kind}: keepdims", self.keepdims)
        true_or_false(f"{self.kind}: channels_last", self.channels_last)

    def require(self, x: Any) -> None:
        if np.ndim(x) < 3:
            form = "samples, ..., channels" if self.channels_last else "samples, channels, ..."
            raise ValueError(f"expected the shape ({form}) with at least one spatial axis, got {np.shape(x)}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        axes = tuple(range(1, x.ndim - 1) if self.channels_last else range(2, x.ndim))
        return self._over(x, axes)

    def _over(self, x: Any, axes: tuple[int, ...]) -> Any:
        return np.mean(x, axis=axes, keepdims=self.keepdims)


class GlobalMaxPool(GlobalAvgPool):
    """The largest entry over all spatial axes; see `GlobalAvgPool`."""

    def _over(self, x: Any, axes: tuple[int, ...]) -> Any:
        return np.max(x, axis=axes, keepdims=self.keepdims)

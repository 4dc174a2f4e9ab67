"""Convolutions and transposed convolutions in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from gradcheck_fast.frontends.network.tensor_layer import Arrays, TensorLayer, require_channels, settle, sizes
from gradcheck_fast.frontends.operators.convolution import convolution, same_padding, transposed_convolution
from gradcheck_fast.inputs.arguments import choose, integer, true_or_false

#: One integer for all spatial axes, or one for each; layers keep one for each.
Sizes: TypeAlias = Any
#: Padding before and after, for each spatial axis.
Pairs: TypeAlias = "tuple[tuple[int, int], ...]"
#: What is around an array, by PyTorch's names, and by those of `np.pad`.
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def read_padding(what: str, padding: Any, axes: int, words: Sequence[str]) -> str | Pairs:
    """Reads a padding: one of some words, a number, one for each axis, or a pair (before, after) for each axis.

    Raises
    ------
    TypeError, ValueError
        If it is none of these; the message begins with `what`.
    """
    if isinstance(padding, str):
        return choose(what, padding, words)
    if isinstance(padding, (tuple, list)) and any(isinstance(one, (tuple, list)) for one in padding):
        if len(padding) != axes:
            raise ValueError(f"{what}: expected {axes} pairs (before, after), got {padding!r}")
        pairs = [sizes(what, pair, 2, positive=False) for pair in padding]
    else:
        pairs = [(one, one) for one in sizes(what, padding, axes, positive=False)]
    return tuple((before, after) for before, after in pairs)


def channels_first(x: Any, channels_last: bool) -> Any:
    """Returns an array with its channels as the second axis."""
    return np.moveaxis(x, -1, 1) if channels_last else x


def channels_as_given(x: Any, channels_last: bool) -> Any:
    """Returns an array of channels first as it was before `channels_first`."""
    return np.moveaxis(x, 1, -1) if channels_last else x


@dataclass(frozen=True, eq=False, repr=False)
class _Convolving(TensorLayer):
    """What convolutions and transposed ones have in common."""

    in_channels: int
    out_channels: int
    kernel_size: Sizes

    axes: ClassVar[int]

    def _read(self, stride: Sizes, dilation: Sizes, groups: int, bias: bool, channels_last: bool) -> None:
        """Reads the arguments that both have."""
        for own in ("in_channels", "out_channels"):
            integer(f"{self.kind}: {own}", getattr(self, own), positive=True)
        settle(
            self,
            kernel_size=sizes(f"{self.kind}: kernel_size", self.kernel_size, self.axes),
            stride=sizes(f"{self.kind}: stride", stride, self.axes),
            dilation=sizes(f"{self.kind}: dilation", dilation, self.axes),
        )
        integer(f"{self.kind}: groups", groups, positive=True)
        if self.in_channels % groups or self.out_channels % groups:
            raise ValueError(
                f"{self.kind}: groups: expected a divisor of {self.in_channels} and {self.out_channels} channels, "
                f"got {groups}"
            )
        true_or_false(f"{self.kind}: bias", bias)
        true_or_false(f"{self.kind}: channels_last", channels_last)

    @property
    def _kernel(self) -> tuple[int, ...]:
        kernel: tuple[int, ...] = self.kernel_size
        return kernel


@dataclass(frozen=True, eq=False, repr=False)
class Convolution(_Convolving):
    """The base class of the convolutions: out[o] = bias[o] + sum over c of weight[o, c] * x[c], as PyTorch has it.

    The shape of x is (samples, in_channels, *spatial). The arrays are ``weight``, of shape
    (out_channels, in_channels / groups, *kernel_size), and ``bias``, of shape (out_channels,).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or sequence of int
        For all spatial axes, or for each.
    padding : int, sequence of int, sequence of pairs, or {"valid", "same", "causal"}
        How many zeros there are before and after each spatial axis, or before and after it as a pair. "valid" is 0.
        "same" gives ceil(length / stride) outputs, as in Keras; what is odd comes after. "causal" puts all of it
        before, so that no output sees what comes later.
    groups : int
        Into how many groups the channels are divided; outputs of a group see only its channels.
    bias : bool
        Whether there is a bias.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding consists of.
    channels_last : bool
        Whether x has the shape (samples, *spatial, in_channels) and ``weight``
        (*kernel_size, in_channels / groups, out_channels), as in Keras and Flax.
    name : str, optional
        As for every layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    stride: Sizes = 1
    padding: Any = 0
    dilation: Sizes = 1
    groups: int = 1
    bias: bool = True
    padding_mode: str = "zeros"
    _: KW_ONLY
    channels_last: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._read(self.stride, self.dilation, self.groups, self.bias, self.channels_last)
        words = ("valid", "same", "causal")
        settle(self, padding=read_padding(f"{self.kind}: padding", self.padding, self.axes, words))
        choose(f"{self.kind}: padding_mode", self.padding_mode, PADDING_MODES)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        each = self.in_channels // self.groups
        weight = (*self._kernel, each, self.out_channels)
        if not self.channels_last:
            weight = (self.out_channels, each, *self._kernel)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}

    def require(self, x: Any) -> None:
        require_channels(x, self.axes, self.in_channels, self.channels_last)
        spatial = np.shape(x)[1:-1] if self.channels_last else np.shape(x)[2:]
        pads = self._pads(spatial)
        for length, kernel, dilation, around in zip(spatial, self._kernel, self.dilation, pads, strict=True):
            if length + sum(around) < dilation * (kernel - 1) + 1:
                raise ValueError(
                    f"expected spatial axes that are, with their padding, at least as long as the kernel "
                    f"{self.kernel_size} with dilation {self.dilation}, got the shape {np.shape(x)}"
                )

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        x, weight = channels_first(x, self.channels_last), arrays["weight"]
        if self.channels_last:
            weight = np.moveaxis(weight, (-1, -2), (0, 1))
        pads = self._pads(x.shape[2:])
        if self.padding_mode != "zeros":
            mode: Any = PADDING_MODES[self.padding_mode]
            x = np.pad(x, ((0, 0), (0, 0), *pads), mode=mode)
            pads = ((0, 0),) * self.axes
        found = convolution(
            x, weight, arrays.get("bias"), stride=self.stride, padding=pads, dilation=self.dilation, groups=self.groups
        )
        return channels_as_given(found, self.channels_last)

    def _pads(self, spatial: Sequence[int]) -> Pairs:
        if self.padding == "valid":
            return ((0, 0),) * self.axes
        if self.padding == "same":
            return tuple(same_padding(spatial, self._kernel, self.stride, self.dilation))
        if self.padding == "causal":
            return tuple((d * (k - 1), 0) for k, d in zip(self._kernel, self.dilation, strict=True))
        pairs: Pairs = self.padding
        return pairs

    def initial(self, own: str, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
        if own == "weight" and self.channels_last:
            return generator.normal(0.0, np.prod(shape[:-1]) ** -0.5, shape)
        return super().initial(own, shape, generator)


class Conv1d(Convolution):
    """A convolution over one spatial axis; see `Convolution`."""

    axes = 1


class Conv2d(Convolution):
    """A convolution over two spatial axes; see `Convolution`.

    Examples
    --------
    >>> import gradcheck_fast as gf
    >>> gf.Conv2d(3, 8, kernel_size=5, padding="same").shapes
    {'weight': (8, 3, 5, 5), 'bias': (8,)}
    """

    axes = 2


class Conv3d(Convolution):
    """A convolution over three spatial axes; see `Convolution`."""

    axes = 3


@dataclass(frozen=True, eq=False, repr=False)
class TransposedConvolution(_Convolving):
    """The base class of the transposed convolutions, which do what a convolution sends back to its input.

    The shape of x is (samples, in_channels, *spatial). The arrays are ``weight``, of shape
    (in_channels, out_channels / groups, *kernel_size), and ``bias``, of shape (out_channels,), as in PyTorch.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or sequence of int
        For all spatial axes, or for each.
    padding : int, sequence of int, sequence of pairs, or {"valid", "same"}
        How many entries of the whole result are cut off before and after each spatial axis, or before and after it as
        a pair. "valid" is 0; "same" gives length * stride outputs, as in TensorFlow.
    output_padding : int or sequence of int
        How many entries longer the result is at its end.
    groups : int
    bias : bool
    dilation : int or sequence of int
    channels_last : bool
        Whether x has the shape (samples, *spatial, in_channels) and ``weight``
        (*kernel_size, out_channels / groups, in_channels), as in Keras.
    name : str, optional
        As for every layer.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    """

    stride: Sizes = 1
    padding: Any = 0
    output_padding: Sizes = 0
    groups: int = 1
    bias: bool = True
    dilation: Sizes = 1
    _: KW_ONLY
    channels_last: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._read(self.stride, self.dilation, self.groups, self.bias, self.channels_last)
        settle(
            self,
            padding=read_padding(f"{self.kind}: padding", self.padding, self.axes, ("valid", "same")),
            output_padding=sizes(f"{self.kind}: output_padding", self.output_padding, self.axes, positive=False),
        )
        for more, stride, dilation in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(stride, dilation):
                raise ValueError(
                    f"{self.kind}: output_padding: expected less than stride or dilation, got {more} with stride "
                    f"{stride} and dilation {dilation}"
                )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        each = self.out_channels // self.groups
        weight = (*self._kernel, each, self.in_channels)
        if not self.channels_last:
            weight = (self.in_channels, each, *self._kernel)
        return {"weight": weight, "bias": (self.out_channels,)} if self.bias else {"weight": weight}

    def require(self, x: Any) -> None:
        require_channels(x, self.axes, self.in_channels, self.channels_last)
        spatial = np.shape(x)[1:-1] if self.channels_last else np.shape(x)[2:]
        cut, more = self._cut()
        settings = zip(spatial, self.stride, self.dilation, self._kernel, more, cut, strict=True)
        if any((n - 1) * s + d * (k - 1) + 1 + added - sum(pair) < 1 for n, s, d, k, added, pair in settings):
            raise ValueError(f"the padding {cut} cuts everything off, for the shape {np.shape(x)}")

    def forward(self, x: Any, arrays: Arrays, run: Sequence[Callable[[Any], Any]]) -> Any:
        x, weight = channels_first(x, self.channels_last), arrays["weight"]
        if self.channels_last:
            weight = np.moveaxis(weight, (-1, -2), (0, 1))
        padding, more = self._cut()
        found = transposed_convolution(
            x, weight, arrays.get("bias"), stride=self.stride, padding=padding, output_padding=more,
            dilation=self.dilation, groups=self.groups,
        )  # fmt: skip
        return channels_as_given(found, self.channels_last)

    def _cut(self) -> tuple[Pairs, tuple[int, ...]]:
        """Returns how many entries are cut off, and how many are added at the end."""
        if self.padding == "valid":
            return ((0, 0),) * self.axes, tuple(self.output_padding)
        if self.padding != "same":
            return self.padding, tuple(self.output_padding)
        # the whole result has the length (n - 1) stride + dilation (kernel - 1) + 1, of which n stride are to be left
        longer = [d * (k - 1) + 1 - s for k, d, s in zip(self._kernel, self.dilation, self.stride, strict=True)]
        cut = tuple((max(over, 0) // 2, max(over, 0) - max(over, 0) // 2) for over in longer)
        return cut, tuple(max(-over, 0) for over in longer)

    def initial(self, own: str, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
        if own == "weight":
            fan_in = self.in_channels // self.groups * int(np.prod(self._kernel))
            return generator.normal(0.0, fan_in**-0.5, shape)
        return super().initial(own, shape, generator)


class ConvTranspose1d(TransposedConvolution):
    """A transposed convolution over one spatial axis; see `TransposedConvolution`."""

    axes = 1


class ConvTranspose2d(TransposedConvolution):
    """A transposed convolution over two spatial axes; see `TransposedConvolution`.

    Examples
    --------
    >>> import gradcheck_fast as gf
    >>> gf.ConvTranspose2d(8, 3, kernel_size=4, stride=2, padding=1).shapes
    {'weight': (8, 3, 4, 4), 'bias': (3,)}
    """

    axes = 2

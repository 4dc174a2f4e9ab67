"""Matrix products, convolutions and pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.arrays import along, zeros
from gradcheck_fast.frontends.onnx.registry import Node, Unsupported, integers, operator, plain
from gradcheck_fast.frontends.operators.convolution import convolution, same_padding, transposed_convolution
from gradcheck_fast.frontends.operators.pooling import average_pool, max_pool, max_pool_values

#: Before and after each spatial axis.
Padding = list[tuple[int, int]]


@operator("MatMul")
def _matmul(node: Node, x: Any, y: Any) -> Any:
    return np.matmul(x, y)


@operator("Gemm", since=11)
def _gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    product = (a.T if node.get("transA") else a) @ (b.T if node.get("transB") else b)
    alpha, beta = node.get("alpha"), node.get("beta")
    product = product if alpha == 1.0 else alpha * product
    return product if c is None else product + (c if beta == 1.0 else beta * c)


@operator("Einsum", since=12)
def _einsum(node: Node, *x: Any) -> Any:
    return np.einsum(node.get("equation").replace(" ", ""), *x)


class _Windows:
    """The attributes of a convolution or a pool, for an input of some spatial sizes."""

    def __init__(self, node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> None:
        axes = len(sizes)
        self.kernel = kernel
        self.stride = list(node.get("strides") or [1] * axes)
        self.dilation = list(node.get("dilations") or [1] * axes)
        self.ceil = bool(node.get("ceil_mode"))
        mode = node.get("auto_pad", "NOTSET")
        pads = node.get("pads") or [0] * (2 * axes)
        self.padding: Padding = list(zip(pads[:axes], pads[axes:], strict=True))
        if mode == "VALID":
            self.padding = [(0, 0)] * axes
        elif mode in ("SAME_UPPER", "SAME_LOWER"):
            self.padding = same_padding(sizes, kernel, self.stride, self.dilation, mode == "SAME_UPPER")
            self.ceil = False


@operator("Conv")
def _conv(node: Node, x: Any, weight: Any, bias: Any = None) -> Any:
    of = _Windows(node, x.shape[2:], weight.shape[2:])
    return convolution(
        x, weight, bias, stride=of.stride, padding=of.padding, dilation=of.dilation, groups=node.get("group")
    )


@operator("ConvTranspose")
def _conv_transpose(node: Node, x: Any, weight: Any, bias: Any = None) -> Any:
    """The whole of it is computed without padding, and then cut, or continued by zeros."""
    sizes, kernel, axes = x.shape[2:], weight.shape[2:], x.ndim - 2
    stride = list(node.get("strides") or [1] * axes)
    dilation = list(node.get("dilations") or [1] * axes)
    more = list(node.get("output_padding") or [0] * axes)
    whole = transposed_convolution(
        x, weight, None, stride=stride, padding=[(0, 0)] * axes, output_padding=[0] * axes, dilation=dilation,
        groups=node.get("group"),
    )  # fmt: skip
    full = [s * (n - 1) + (k - 1) * d + 1 for n, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)]
    mode, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    pads = node.get("pads") or [0] * (2 * axes)
    padding = list(zip(pads[:axes], pads[axes:], strict=True))
    if wanted or mode.startswith("SAME"):
        wanted = list(wanted)[-axes:] if wanted else [n * s for n, s in zip(sizes, stride, strict=True)]
        totals = [n + extra - out for n, extra, out in zip(full, more, wanted, strict=True)]
        halves = [total // 2 for total in totals]
        upper = mode == "SAME_UPPER"
        padding = [(h, t - h) if upper else (t - h, h) for t, h in zip(totals, halves, strict=True)]
    ends = [n + extra - after for n, extra, (_, after) in zip(full, more, padding, strict=True)]
    found = cut(whole, 2, [before for before, _ in padding], ends)
    return found if bias is None else found + along(bias, x.ndim)


def cut(x: Any, first: int, begins: list[int], ends: list[int], fill: float = 0.0) -> Any:
    """Returns what lies from `begins` to `ends` along the axes from `first` on; outside of the array it is `fill`."""
    key, pad = [slice(None)] * first, [(0, 0)] * first
    for begin, end, size in zip(begins, ends, x.shape[first:], strict=True):
        key.append(slice(max(begin, 0), min(end, size)))
        pad.append((max(-begin, 0), max(end - size, 0)))
    found = x[tuple(key)]
    return np.pad(found, pad, constant_values=fill) if any(map(any, pad)) else found


@operator("MaxPool")
def _max_pooled(node: Node, x: Any) -> Any:
    of = _Windows(node, x.shape[2:], tuple(node.get("kernel_shape")))
    settings: dict[str, Any] = {
        "stride": of.stride, "padding": of.padding, "dilation": of.dilation, "ceil_mode": of.ceil
    }  # fmt: skip
    if not node.wants(1):
        return max_pool_values(x, of.kernel, **settings)
    value, places = max_pool(x, of.kernel, **settings)
    sizes, places = x.shape[2:], plain(places).astype(np.int64)
    if node.get("storage_order"):  # the places are counted with the first axis the fastest
        places = np.ravel_multi_index(np.unravel_index(places, sizes), sizes, order="F").astype(np.int64)
    images = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2] + (1,) * len(sizes))
    return value, places + images * int(np.prod(sizes))


@operator("AveragePool")
def _average_pooled(node: Node, x: Any) -> Any:
    of = _Windows(node, x.shape[2:], tuple(node.get("kernel_shape")))
    counted = bool(node.get("count_include_pad"))
    if all(d == 1 for d in of.dilation):
        return average_pool(
            x, of.kernel, stride=of.stride, padding=of.padding, ceil_mode=of.ceil, count_include_pad=counted
        )
    if of.ceil:
        raise Unsupported("a dilated average pool with ceil_mode")
    ones = np.ones((1, 1, *of.kernel))
    images = x.reshape(-1, 1, *x.shape[2:])
    sums = convolution(images, ones, stride=of.stride, padding=of.padding, dilation=of.dilation)
    counts: Any = float(np.prod(of.kernel))
    if not counted:
        counts = convolution(
            np.ones((1, 1, *x.shape[2:])), ones, stride=of.stride, padding=of.padding, dilation=of.dilation
        )
    return (sums / counts).reshape(x.shape[:2] + sums.shape[2:])


@operator("LpPool")
def _lp_pooled(node: Node, x: Any) -> Any:
    of = _Windows(node, x.shape[2:], tuple(node.get("kernel_shape")))
    return _norm_pool(x, of, float(node.get("p")))


def _norm_pool(x: Any, of: _Windows, p: float) -> Any:
    """The p-th root of the sum of |x|^p in each window; padding is zero."""
    if of.ceil:
        raise Unsupported("LpPool with ceil_mode")
    ones = np.ones((1, 1, *of.kernel))
    size = np.abs(x).reshape(-1, 1, *x.shape[2:])
    sums = convolution(size if p == 1.0 else size**p, ones, stride=of.stride, padding=of.padding, dilation=of.dilation)
    return (sums if p == 1.0 else sums ** (1.0 / p)).reshape(x.shape[:2] + sums.shape[2:])


def _spatial(x: Any) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


@operator("GlobalAveragePool")
def _global_average(node: Node, x: Any) -> Any:
    return np.mean(x, axis=_spatial(x), keepdims=True)


@operator("GlobalMaxPool")
def _global_max(node: Node, x: Any) -> Any:
    return np.max(x, axis=_spatial(x), keepdims=True)


@operator("GlobalLpPool")
def _global_lp(node: Node, x: Any) -> Any:
    p = float(node.get("p"))
    return np.sum(np.abs(x) ** p, axis=_spatial(x), keepdims=True) ** (1.0 / p)


@operator("MaxUnpool")
def _max_unpool(node: Node, x: Any, places: Any, shape: Any = None) -> Any:
    """The places count the entries of an output of the size that the attributes say."""
    sizes, kernel = x.shape[2:], tuple(node.get("kernel_shape"))
    of = _Windows(node, sizes, kernel)
    own = [(n - 1) * s + k - sum(pad) for n, k, s, pad in zip(sizes, kernel, of.stride, of.padding, strict=True)]
    found = zeros((x.shape[0] * x.shape[1] * int(np.prod(own)),), x)
    found[plain(places).ravel()] = x.reshape(-1)
    found = found.reshape(x.shape[:2] + tuple(own))
    return found if shape is None else cut(found, 0, [0] * x.ndim, integers(shape))


@operator("Col2Im", since=18)
def _col2im(node: Node, x: Any, image: Any, block: Any) -> Any:
    """Windows that lie beside each other in columns are added up to the image that they come from."""
    size, kernel = integers(image), integers(block)
    of = _Windows(node, tuple(size), tuple(kernel))
    channels = x.shape[1] // int(np.prod(kernel))
    padded = [n + sum(pad) for n, pad in zip(size, of.padding, strict=True)]
    places = np.arange(int(np.prod(padded))).reshape(padded)
    key: Any = tuple(slice(None, None, s) for s in of.stride)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, of.dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(places, spans)[key]
    inner: Any = (..., *(slice(None, None, d) for d in of.dilation))
    windows = windows[inner].reshape(-1, int(np.prod(kernel)))  # (windows, places in the window)
    flat = zeros((x.shape[0], channels, places.size), x)
    add_at: Any = np.add.at
    add_at(flat, (slice(None), slice(None), windows.T), x.reshape(x.shape[0], channels, windows.shape[1], -1))
    whole = flat.reshape(x.shape[0], channels, *padded)
    begins = [before for before, _ in of.padding]
    return cut(whole, 2, begins, [begin + n for begin, n in zip(begins, size, strict=True)])

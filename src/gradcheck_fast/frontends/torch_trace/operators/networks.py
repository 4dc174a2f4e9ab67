"""Operators of networks: convolutions, pooling, normalisation, embeddings and attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators import convolution as convolutions
from gradcheck_fast.frontends.operators import normalisation, pooling
from gradcheck_fast.frontends.operators.attention import scaled_dot_product_attention
from gradcheck_fast.frontends.operators.elementary import is_traced, reshaped, values_of
from gradcheck_fast.frontends.torch_trace.operators.movement import added
from gradcheck_fast.frontends.torch_trace.operators.registry import Call, Unsupported, aten

Numbers = Sequence[int]


def _filled(numbers: Numbers, axes: int) -> list[int]:
    """Returns a number for each axis: PyTorch takes one for all."""
    found = list(numbers)
    return found * axes if len(found) == 1 else found


def _pairs(numbers: Numbers, axes: int) -> list[tuple[int, int]]:
    return [(n, n) for n in _filled(numbers, axes)]


@aten("convolution")
def convolution(
    call: Call, x: Any, weight: Any, bias: Any, stride: Numbers, padding: Numbers, dilation: Numbers,
    transposed: bool, output_padding: Numbers, groups: int, *_: Any,
) -> Any:  # fmt: skip
    """``convolution``, also transposed."""
    axes = weight.ndim - 2
    settings: dict[str, Any] = {
        "stride": _filled(stride, axes), "padding": _pairs(padding, axes), "dilation": _filled(dilation, axes),
        "groups": groups,
    }  # fmt: skip
    batch = x if x.ndim == weight.ndim else x[np.newaxis]
    if transposed:
        settings["output_padding"] = _filled(output_padding, axes)
        found = convolutions.transposed_convolution(batch, weight, bias, **settings)
    else:
        found = convolutions.convolution(batch, weight, bias, **settings)
    return found if x.ndim == weight.ndim else found[0]


def _batched(x: Any, axes: int) -> Any:
    """Returns an input of so many spatial axes with an axis of samples."""
    return x if x.ndim == axes + 2 else x.reshape((1, *x.shape))


def _unbatched(found: Any, x: Any) -> Any:
    return found if found.ndim == x.ndim else found.reshape(found.shape[1:])


def _max_pool(axes: int) -> Any:
    def rule(
        call: Call, x: Any, kernel: Numbers, stride: Numbers = (), padding: Numbers = (0,), dilation: Numbers = (1,),
        ceil_mode: bool = False,
    ) -> Any:  # fmt: skip
        kernel = _filled(kernel, axes)
        found = pooling.max_pool_values(
            _batched(x, axes), kernel, stride=_filled(stride or kernel, axes), padding=_pairs(padding, axes),
            dilation=_filled(dilation, axes), ceil_mode=ceil_mode,
        )  # fmt: skip
        return _unbatched(found, x), call.found[1]

    return rule


def _average_pool(axes: int) -> Any:
    def rule(
        call: Call, x: Any, kernel: Numbers, stride: Numbers = (), padding: Numbers = (0,), ceil_mode: bool = False,
        count_include_pad: bool = True, divisor: int | None = None,
    ) -> Any:  # fmt: skip
        kernel = _filled(kernel, axes)
        found = pooling.average_pool(
            _batched(x, axes), kernel, stride=_filled(stride or kernel, axes), padding=_pairs(padding, axes),
            ceil_mode=ceil_mode, count_include_pad=count_include_pad, divisor=divisor,
        )  # fmt: skip
        return _unbatched(found, x)

    return rule


def _adaptive_average_pool(axes: int) -> Any:
    def rule(call: Call, x: Any, size: Numbers) -> Any:
        return _unbatched(pooling.adaptive_average_pool(_batched(x, axes), list(size)), x)

    return rule


def _adaptive_max_pool(axes: int) -> Any:
    def rule(call: Call, x: Any, size: Numbers) -> Any:
        found, _ = pooling.adaptive_max_pool(_batched(x, axes), list(size))
        return _unbatched(found, x), call.found[1]

    return rule


for _axes in (2, 3):  # PyTorch pools along one axis as along two
    aten(f"max_pool{_axes}d_with_indices")(_max_pool(_axes))
    aten(f"avg_pool{_axes}d")(_average_pool(_axes))
    aten(f"_adaptive_avg_pool{_axes}d")(_adaptive_average_pool(_axes))
    aten(f"adaptive_max_pool{_axes}d")(_adaptive_max_pool(_axes))


# ---- normalisation


@aten("native_batch_norm", "_native_batch_norm_legit")
def batch_norm(
    call: Call, x: Any, weight: Any, bias: Any, mean: Any, var: Any = None, training: Any = None, momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:  # fmt: skip
    """``native_batch_norm``. In training it moves the running mean and variance towards those of the batch."""
    if isinstance(mean, bool):  # the overload without running statistics
        mean, var, training, momentum, eps = None, None, mean, var, training
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if not training:
        found = normalisation.batch_norm(x, weight, bias, mean, var, eps)
        return (found, None, None, mean, var)[: len(call.found)]
    axes = (0, *range(2, x.ndim))
    middle = np.mean(x, axis=axes)
    centred = x - middle.reshape(shape)
    variance = np.mean(np.square(centred), axis=axes)
    scale = 1.0 / np.sqrt(variance + eps)
    found = centred * scale.reshape(shape)
    found = found if weight is None else found * weight.reshape(shape)
    found = found if bias is None else found + bias.reshape(shape)
    kept: tuple[Any, ...] = (middle, scale)
    if mean is not None:
        count = x.size // middle.size
        unbiased = variance * (count / max(count - 1, 1))
        kept += (1.0 - momentum) * mean + momentum * middle, (1.0 - momentum) * var + momentum * unbiased
    return found, *kept


@aten("native_layer_norm")
def layer_norm(call: Call, x: Any, shape: Numbers, weight: Any, bias: Any, eps: float) -> Any:
    """``native_layer_norm``."""
    axes = tuple(range(-len(shape), 0))
    middle = np.mean(x, axis=axes, keepdims=True)
    centred = x - middle
    scale = 1.0 / np.sqrt(np.mean(np.square(centred), axis=axes, keepdims=True) + eps)
    found = centred * scale
    found = found if weight is None else found * weight
    return found if bias is None else found + bias, middle, scale


@aten("native_group_norm")
def group_norm(
    call: Call, x: Any, weight: Any, bias: Any, samples: int, channels: int, size: int, groups: int, eps: float
) -> Any:
    """``native_group_norm``, and the mean and the scale of each group."""
    rows = reshaped(x, (samples, groups, -1))
    middle = np.mean(rows, axis=-1, keepdims=True)
    centred = rows - middle
    scale = 1.0 / np.sqrt(np.mean(np.square(centred), axis=-1, keepdims=True) + eps)
    found = (centred * scale).reshape(x.shape)
    shape = (1, channels, *(1,) * (x.ndim - 2))
    found = found if weight is None else found * weight.reshape(shape)
    found = found if bias is None else found + bias.reshape(shape)
    return found, middle.reshape((samples, groups)), scale.reshape((samples, groups))


@aten("_weight_norm_interface")
def weight_norm(call: Call, v: Any, g: Any, axis: int = 0) -> Any:
    """``_weight_norm_interface``: v times g over the norm of v along all axes but one."""
    norm = np.sqrt(np.sum(np.square(v), axis=tuple(k for k in range(v.ndim) if k != axis % v.ndim), keepdims=True))
    return v * (g / norm), norm.reshape(call.found[1].shape)


# ---- embeddings


@aten("embedding")
def embedding(call: Call, weight: Any, index: Any, padding_idx: int = -1, *_: Any) -> Any:
    """``embedding``. Autograd gives the row of the padding no gradient where it is looked up."""
    index = _plain(index)
    found = np.take(weight, index, axis=0)
    is_padding = index == padding_idx
    if call.held is None or padding_idx < 0 or not is_padding.any() or not is_traced(weight):
        return found
    call.held.padding.append((padding_idx, call.recording.source()))
    return np.where(is_padding[..., None], call.found[0].copy(), found)


def _plain(index: Any) -> Any:
    if not isinstance(values_of(index), np.ndarray) or type(index) is not np.ndarray:
        raise Unsupported
    return index


@aten("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(
    call: Call, weight: Any, index: Any, offsets: Any, scale_grad_by_freq: bool = False, mode: int = 0,
    sparse: bool = False, per_sample_weights: Any = None, include_last_offset: bool = False, padding_idx: int = -1,
) -> Any:  # fmt: skip
    """``_embedding_bag``: sum, mean or maximum of the rows of each bag, but of the padding."""
    index, begins = np.asarray(index), np.asarray(offsets)
    ends = np.append(begins[1:], len(index)) if not include_last_offset else begins[1:]
    begins = begins[: len(ends)]
    bag = np.searchsorted(begins, np.arange(len(index)), side="right") - 1
    kept = (index != padding_idx) & (np.arange(len(index)) < ends[-1] if len(ends) else False)
    rows, bag = np.take(weight, index[kept], axis=0), bag[kept]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[kept][:, np.newaxis]
    count = np.bincount(bag, minlength=len(begins))
    shape = (len(begins), weight.shape[1])
    if mode == 2:
        parts = [np.max(rows[bag == k], axis=0) if count[k] else np.zeros(shape[1]) for k in range(len(begins))]
        return np.stack(parts), *call.found[1:]
    found = added(rows, bag[:, np.newaxis] * shape[1] + np.arange(shape[1]), shape)
    if mode == 1:
        found = found / np.maximum(count, 1)[:, np.newaxis]
    return found, *call.found[1:]


# ---- attention


@aten("_scaled_dot_product_flash_attention_for_cpu")
def flash_attention(
    call: Call, q: Any, k: Any, v: Any, dropout_p: float = 0.0, is_causal: bool = False, *, attn_mask: Any = None,
    scale: float | None = None,
) -> Any:  # fmt: skip
    """``_scaled_dot_product_flash_attention_for_cpu``."""
    if dropout_p:
        raise Unsupported
    return scaled_dot_product_attention(q, k, v, attn_mask, causal=is_causal, scale=scale), None


# ---- other sizes


@aten("im2col")
def im2col(call: Call, x: Any, kernel: Numbers, dilation: Numbers, padding: Numbers, stride: Numbers) -> Any:
    """``unfold``: the windows of a picture as columns."""
    places = _window_places(x.shape[-2:], kernel, dilation, padding, stride)
    padded = np.pad(x, [*[(0, 0)] * (x.ndim - 2), *_pairs(padding, 2)])
    flat = padded.reshape((*x.shape[:-2], -1))
    found = np.take(flat, places.reshape(-1), axis=-1)
    return found.reshape((*x.shape[:-3], x.shape[-3] * kernel[0] * kernel[1], -1))


@aten("col2im")
def col2im(
    call: Call, x: Any, size: Numbers, kernel: Numbers, dilation: Numbers, padding: Numbers, stride: Numbers
) -> Any:
    """``fold``: the transpose of ``unfold``."""
    places = _window_places(size, kernel, dilation, padding, stride)
    leading = (*x.shape[:-2], x.shape[-2] // (kernel[0] * kernel[1]))
    whole = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    columns = x.reshape((int(np.prod(leading)), -1))
    index = np.arange(columns.shape[0])[:, np.newaxis] * (whole[0] * whole[1]) + places.reshape(-1)
    found = added(columns, index, (*leading, *whole))
    return found[..., padding[0] : whole[0] - padding[0], padding[1] : whole[1] - padding[1]]


def _window_places(size: Numbers, kernel: Numbers, dilation: Numbers, padding: Numbers, stride: Numbers) -> Any:
    """Returns where each entry of each window lies in the padded picture: shape (kernel entries, windows)."""
    whole = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    rows, columns = (
        d * np.arange(k)[:, np.newaxis] + s * np.arange((n - d * (k - 1) - 1) // s + 1)
        for n, k, d, s in zip(whole, kernel, dilation, stride, strict=True)
    )
    places = rows[:, np.newaxis, :, np.newaxis] * whole[1] + columns[np.newaxis, :, np.newaxis, :]
    return places.reshape(kernel[0] * kernel[1], -1)


@aten("pixel_shuffle")
def pixel_shuffle(call: Call, x: Any, factor: int) -> Any:
    """``pixel_shuffle``."""
    *leading, channels, rows, columns = x.shape
    n = len(leading)
    parts = x.reshape((*leading, channels // factor**2, factor, factor, rows, columns))
    moved = np.transpose(parts, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshaped(moved, (*leading, channels // factor**2, rows * factor, columns * factor))


@aten("pixel_unshuffle")
def pixel_unshuffle(call: Call, x: Any, factor: int) -> Any:
    """``pixel_unshuffle``."""
    *leading, channels, rows, columns = x.shape
    n = len(leading)
    parts = x.reshape((*leading, channels, rows // factor, factor, columns // factor, factor))
    moved = np.transpose(parts, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshaped(moved, (*leading, channels * factor**2, rows // factor, columns // factor))


@aten("channel_shuffle")
def channel_shuffle(call: Call, x: Any, groups: int) -> Any:
    """``channel_shuffle``."""
    samples, channels, *spatial = x.shape
    parts = x.reshape((samples, groups, channels // groups, *spatial))
    return reshaped(np.swapaxes(parts, 1, 2), x.shape)

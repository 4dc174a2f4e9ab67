"""Attention: scaled products, rotary positions, and layers of several heads with PyTorch's weights."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gradcheck_fast.frontends.operators.activations import softmax
from gradcheck_fast.frontends.operators.elementary import contiguous, reshaped, values_of


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Returns x W^T + b, where the weight has the shape (outputs, inputs)."""
    found = x @ np.swapaxes(weight, -1, -2)
    return found if bias is None else found + bias


def repeated(x: Any, times: int, axis: int) -> Any:
    """Returns an array with each entry along an axis as often as that, one after the other, as ``np.repeat`` does."""
    axis %= x.ndim
    shape = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    wide = np.broadcast_to(np.expand_dims(x, axis + 1), shape)
    return reshaped(wide, (*x.shape[:axis], times * x.shape[axis], *x.shape[axis + 1 :]))


def attention_weights(
    query: Any, key: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None,
    softcap: float | None = None,
) -> Any:  # fmt: skip
    """Returns softmax of (query key^T scale + mask) along the last axis; rows in which nothing is kept are 0.

    Parameters
    ----------
    query : ndarray or TracedArray, shape (..., queries, size)
    key : ndarray or TracedArray, shape (..., keys, size)
    mask : array of bool, or ndarray or TracedArray of float64, optional
        Broadcast to (..., queries, keys). A mask of bool is true for what is kept; a mask of numbers is added.
    causal : bool
        Whether query k only sees the keys up to k.
    scale : float, optional
        By default 1 / sqrt(size).
    softcap : float, optional
        Scores s are replaced with softcap tanh(s / softcap) before the mask.
    """
    scores = (query * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)) @ np.swapaxes(key, -1, -2)
    if softcap:
        scores = np.tanh(scores / softcap) * softcap
    keep = np.tri(*scores.shape[-2:], dtype=np.bool_) if causal else None
    if mask is not None and values_of(mask).dtype == np.bool_:
        keep = values_of(mask) if keep is None else keep & values_of(mask)
    elif mask is not None:
        scores = scores + mask
        lost = values_of(mask) == -np.inf
        if lost.any() and lost.all(axis=-1).any():  # a row without any key
            keep = ~lost if keep is None else keep & ~lost
    if keep is None:
        return softmax(scores)
    rows = keep.any(axis=-1, keepdims=True)
    if rows.all():
        return softmax(np.where(keep, scores, -np.inf))
    # there, any finite scores will do: what they give is left out
    scores = np.where(rows, np.where(keep, scores, -np.inf), 0.0)
    return softmax(scores) * rows


def scaled_dot_product_attention(
    q: Any, k: Any, v: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None,
    softcap: float | None = None,
) -> Any:  # fmt: skip
    """Returns the averages of values with the weights softmax(q k^T scale + mask).

    Parameters
    ----------
    q : ndarray or TracedArray, shape (..., heads, queries, size)
    k, v : ndarray or TracedArray, shape (..., heads, keys, size)
        If they have fewer heads than the queries, each is used by as many heads of queries in a row.
    mask, causal, scale, softcap
        See `attention_weights`.

    Raises
    ------
    ValueError
        If the number of heads of the queries is no multiple of the others.
    """
    if q.ndim > 2 and k.ndim > 2 and q.shape[-3] != k.shape[-3] and k.shape[-3] > 1:
        if q.shape[-3] % k.shape[-3]:
            raise ValueError(f"{q.shape[-3]} heads of queries cannot share {k.shape[-3]} heads of keys")
        k, v = (repeated(x, q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    return attention_weights(q, k, mask, causal=causal, scale=scale, softcap=softcap) @ v


def rotary_angles(length: int, size: int, base: float = 10000.0) -> tuple[Any, Any]:
    """Returns the cosines and sines of the angles position / base^(2 k / size), each of the shape (length, size / 2).

    That is RoFormer (Su et al., 2021), equation 15.
    """
    angles = np.arange(length)[:, np.newaxis] / base ** (np.arange(0, size, 2) / size)
    return np.cos(angles), np.sin(angles)


def rotary(x: Any, cos: Any, sin: Any, interleaved: bool = False) -> Any:
    """Returns an array with pairs of entries of its last axis turned by angles.

    Parameters
    ----------
    x : ndarray or TracedArray, shape (..., positions, size)
    cos, sin : ndarray or TracedArray, shape (..., positions, size / 2) or (..., positions, size)
        The second form gives the angles of both entries of each pair, in the order of the entries.
    interleaved : bool
        Whether the pairs are neighbours (RoFormer), or entry k and entry k + size / 2 (Llama).
    """
    half = x.shape[-1] // 2
    parts = (np.s_[..., 0::2], np.s_[..., 1::2]) if interleaved else (np.s_[..., :half], np.s_[..., half:])
    a, b = (x[part] for part in parts)
    if cos.shape[-1] == x.shape[-1]:
        (cos_a, cos_b), (sin_a, sin_b) = ([angle[part] for part in parts] for angle in (cos, sin))
    else:
        cos_a, cos_b, sin_a, sin_b = cos, cos, sin, sin
    first, second = a * cos_a - b * sin_a, b * cos_b + a * sin_b
    if not interleaved:
        return np.concatenate([first, second], axis=-1)
    pairs = np.stack([first, second], axis=-1)
    return reshaped(pairs, (*pairs.shape[:-2], 2 * half))


class HeadWeights(NamedTuple):
    """The parameters of attention with several heads, as ``torch.nn.MultiheadAttention`` has them.

    Attributes
    ----------
    into : ndarray or TracedArray, shape (sum of the sizes of query, key and value, inputs), or a tuple of three
        ``in_proj_weight``, or the weights of query, key and value, each of the shape (size, inputs).
    out : ndarray or TracedArray, shape (outputs, size of all heads)
        ``out_proj.weight``.
    into_bias, out_bias : ndarray or TracedArray, optional
        ``in_proj_bias``, or a tuple of three, and ``out_proj.bias``.
    more_key, more_value : ndarray or TracedArray, optional
        ``bias_k`` and ``bias_v``, of which each sample has one more key.
    """

    into: Any
    out: Any
    into_bias: Any = None
    out_bias: Any = None
    more_key: Any = None
    more_value: Any = None


def multi_head_attention(
    query: Any, key: Any, value: Any, heads: int, weights: HeadWeights, *, key_heads: int | None = None,
    mask: Any = None, padding: Any = None, causal: bool = False, turn: tuple[Any, ...] | None = None,
    zero_key: bool = False, scale: float | None = None, dropped: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Returns the output of attention with several heads, and its weights.

    Parameters
    ----------
    query, key, value : ndarray or TracedArray, shape (samples, positions, inputs)
        The same array three times is multiplied once by a packed weight.
    heads : int
    weights : HeadWeights
    key_heads : int, optional
        How many heads the keys and values have, if fewer.
    mask : array, optional
        Broadcast to (samples, heads, queries, keys): true for what is kept, or numbers that are added.
    padding : array of bool, shape (samples, keys), optional
        True for the keys that are left out.
    causal : bool
        Whether query k only sees the keys up to k.
    turn : (cos, sin) or (cos, sin, interleaved), optional
        Rotary positions; see `rotary`.
    zero_key : bool
        Whether there is one more key of zeros (``add_zero_attn``).
    scale : float, optional
    dropped : ndarray, optional
        What the weights are multiplied with: the mask of dropout.

    Returns
    -------
    output : ndarray or TracedArray, shape (samples, queries, outputs)
    weights : ndarray or TracedArray, shape (samples, heads, queries, keys)
    """
    key_heads = key_heads or heads
    q, k, v = _projected(query, key, value, heads, key_heads, weights)
    samples = q.shape[0]
    more = 0
    zeros: tuple[Any, Any] = (np.zeros(1), np.zeros(1)) if zero_key else (None, None)
    for last in ((weights.more_key, weights.more_value), zeros):
        if last[0] is None:
            continue
        k, v = (
            np.concatenate([x, np.broadcast_to(one, (samples, 1, x.shape[-1]))], axis=1)
            for x, one in zip((k, v), (np.reshape(one, (1, 1, -1)) for one in last), strict=True)
        )
        more += 1
    q, k, v = (_in_heads(x, n) for x, n in ((q, heads), (k, key_heads), (v, key_heads)))
    if turn is not None:
        q, k = (rotary(x, *turn) for x in (q, k))
    if key_heads != heads:
        k, v = (repeated(x, heads // key_heads, 1) for x in (k, v))
    keep = _joined_masks(mask, padding, causal, (q.shape[2], k.shape[2] - more), more)
    found = attention_weights(q, k, keep, scale=scale)
    used = found if dropped is None else found * dropped
    joined = reshaped(np.swapaxes(used @ v, 1, 2), (samples, q.shape[2], -1))
    return linear(joined, weights.out, weights.out_bias), found


def _projected(query: Any, key: Any, value: Any, heads: int, key_heads: int, weights: HeadWeights) -> tuple[Any, ...]:
    into, bias = weights.into, weights.into_bias
    if isinstance(into, tuple):
        biases = (None, None, None) if bias is None else bias
        return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), into, biases, strict=True))
    each = into.shape[0] // (heads + 2 * key_heads)
    ends = [each * heads, each * (heads + key_heads)]
    if query is key is value:
        return tuple(np.split(linear(query, into, bias), ends, axis=-1))
    parts = np.split(into, ends)
    biases = (None, None, None) if bias is None else np.split(bias, ends)
    return tuple(linear(x, w, b) for x, w, b in zip((query, key, value), parts, biases, strict=True))


def _in_heads(x: Any, heads: int) -> Any:
    """Returns (samples, positions, heads * size) as (samples, heads, positions, size)."""
    x = contiguous(x)
    return np.swapaxes(x.reshape((*x.shape[:2], heads, x.shape[2] // heads)), 1, 2)


def _joined_masks(mask: Any, padding: Any, causal: bool, shape: tuple[int, int], more: int) -> Any:
    """Returns all masks as one; keys that were added are always kept."""
    found: Any = np.tri(*shape, dtype=np.bool_) if causal else None
    if padding is not None:
        kept = ~np.asarray(padding)[:, np.newaxis, np.newaxis]
        found = kept if found is None else found & kept
    if mask is not None:
        if values_of(mask).dtype == np.bool_:
            found = values_of(mask) if found is None else found & values_of(mask)
        else:
            found = mask if found is None else np.where(found, mask, -np.inf)
    if found is None or not more:
        return found
    shape_of_more = (*found.shape[:-1], more)
    is_mask = values_of(found).dtype == np.bool_
    return np.concatenate([found, np.ones(shape_of_more, np.bool_) if is_mask else np.zeros(shape_of_more)], axis=-1)

"""Costs under PyTorch's names and with its options; the classes are axis 1, as there, unless said otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_fast.frontends.operators.activations import log_softmax, logsigmoid, logsumexp, relu, softplus
from gradcheck_fast.frontends.operators.elementary import as_float, reduced, values_of

#: What is added in the squares of a cosine embedding, as in PyTorch.
COSINE_EPS = 1e-12


def class_axis(x: Any, axis: int | None) -> int:
    """Returns the axis of the classes, from 0 up: by default 1, or 0 if there is no other."""
    return (0 if x.ndim == 1 else 1) if axis is None else axis % x.ndim


def picked(x: Any, targets: Any, axis: int) -> Any:
    """Returns the entry of each target along an axis, which is left out; `targets` are plain integers."""
    places = np.expand_dims(np.asarray(targets), axis)
    return np.squeeze(np.take_along_axis(x, places, axis=axis), axis=axis)


def nll(
    log_p: Any, targets: Any, *, weights: Any = None, ignore_index: int = -100, reduction: str = "mean",
    axis: int | None = None,
) -> Any:  # fmt: skip
    """Returns the negative log-likelihood -w_t log p_t of classes t, given as integers.

    Parameters
    ----------
    log_p : ndarray or TracedArray, shape (samples, classes, ...)
    targets : ndarray of int, shape (samples, ...)
    weights : array, shape (classes,), optional
    ignore_index : int
        The class of what does not count.
    reduction : {"mean", "sum", "none"}
        The mean is over the sum of the weights w_t that count.
    axis : int, optional
        The axis of the classes.
    """
    axis = class_axis(log_p, axis)
    targets, kept, each = _counted(targets, weights, ignore_index)
    losses = -picked(log_p, targets, axis)
    return _weighted(losses, kept, each, reduction)


def _counted(targets: Any, weights: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Returns targets that can be looked up, which of them count, and the weight of each."""
    targets = np.asarray(targets)
    kept = targets != ignore_index
    targets = np.where(kept, targets, 0).astype(np.int64)
    each = np.ones(targets.shape) if weights is None else weights[targets]
    return targets, kept, each * kept


def _weighted(losses: Any, kept: Any, each: Any, reduction: str) -> Any:
    if not kept.all():
        losses = np.where(kept, losses, 0.0)
    return reduced(losses * each, reduction, np.sum(each))


def cross_entropy(
    logits: Any, targets: Any, *, weights: Any = None, ignore_index: int = -100, label_smoothing: float = 0.0,
    reduction: str = "mean", axis: int | None = None,
) -> Any:  # fmt: skip
    """Returns the cross-entropy of softmax of logits with classes, or with probabilities.

    Parameters
    ----------
    logits : ndarray or TracedArray, shape (samples, classes, ...)
    targets : ndarray of int, shape (samples, ...), or array of float64, of the shape of the logits
        Classes, or the probability of each class.
    weights : array, shape (classes,), optional
    ignore_index : int
        The class of what does not count.
    label_smoothing : float
        The share s of the uniform distribution in the targets: (1 - s) t + s / classes.
    reduction : {"mean", "sum", "none"}
        With classes, the mean is over the sum of the weights of those that count; with probabilities, over the samples.
    axis : int, optional
        The axis of the classes.
    """
    axis = class_axis(logits, axis)
    classes = logits.shape[axis]
    along = tuple(-1 if k == axis else 1 for k in range(logits.ndim))
    if values_of(targets).dtype.kind == "f" and np.shape(targets) == logits.shape:
        p = targets if not label_smoothing else targets * (1.0 - label_smoothing) + label_smoothing / classes
        p = p if weights is None else p * weights.reshape(along)
        losses = -np.sum(log_softmax(logits, axis) * p, axis=axis)
        return reduced(losses, reduction)
    targets, kept, each = _counted(targets, weights, ignore_index)
    total = logsumexp(logits, axis)
    losses = total - picked(logits, targets, axis)
    if not label_smoothing:
        return _weighted(losses, kept, each, reduction)
    log_p = logits - np.expand_dims(total, axis)
    smooth = -np.sum(log_p if weights is None else log_p * weights.reshape(along), axis=axis)
    both = losses * each * (1.0 - label_smoothing) + smooth * (label_smoothing / classes)
    return reduced(both if kept.all() else np.where(kept, both, 0.0), reduction, np.sum(each))


def binary_cross_entropy(p: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Any:
    """Returns -(t log p + (1 - t) log(1 - p)), where a logarithm counts as -100 if it is less, as in PyTorch."""
    with np.errstate(divide="ignore"):
        log_p, log_q = np.maximum(np.log(p), -100.0), np.maximum(np.log1p(-p), -100.0)
    losses = -(targets * log_p + (1.0 - targets) * log_q)
    return reduced(losses if weights is None else losses * weights, reduction)


def binary_cross_entropy_with_logits(
    x: Any, targets: Any, *, weights: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Any:
    """Returns the binary cross-entropy of the sigmoid of x; `pos_weight` multiplies the term of the targets 1."""
    if pos_weight is None:
        losses = softplus(x) - x * targets
    else:
        losses = (1.0 - targets) * x + (1.0 + (pos_weight - 1.0) * targets) * softplus(-x)
    return reduced(losses if weights is None else losses * weights, reduction)


def mse(x: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Any:
    """Returns the squared errors."""
    losses = np.square(x - targets)
    return reduced(losses if weights is None else losses * weights, reduction)


def l1(x: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Any:
    """Returns the sizes of the errors."""
    losses = np.abs(x - targets)
    return reduced(losses if weights is None else losses * weights, reduction)


def _huber(error: Any, delta: float) -> Any:
    """Returns c (error - c / 2) with c the error, clipped to delta: its square / 2, and beyond a straight line."""
    near = np.clip(error, -delta, delta)
    return near * (error - 0.5 * near)


def huber(x: Any, targets: Any, *, delta: float = 1.0, weights: Any = None, reduction: str = "mean") -> Any:
    """Returns half the squared errors where these are at most delta, and delta (abs(error) - delta / 2) elsewhere."""
    losses = _huber(x - targets, delta)
    return reduced(losses if weights is None else losses * weights, reduction)


def smooth_l1(x: Any, targets: Any, *, beta: float = 1.0, reduction: str = "mean") -> Any:
    """Returns the Huber cost over beta; the sizes of the errors if that is 0."""
    return reduced(_huber(x - targets, beta) / beta, reduction) if beta else l1(x, targets, reduction=reduction)


def kl_div(log_q: Any, targets: Any, *, log_target: bool = False, reduction: str = "mean") -> Any:
    """Returns p (log p - log q), where the targets are p, or log p with `log_target`."""
    if log_target:
        return reduced(np.exp(targets) * (targets - log_q), reduction)
    positive = targets > 0.0
    entropy = np.where(positive, targets * np.log(np.where(positive, targets, 1.0)), 0.0)
    return reduced(entropy - targets * log_q, reduction)


def hinge_embedding(x: Any, targets: Any, *, margin: float = 1.0, reduction: str = "mean") -> Any:
    """Returns x where the target is 1, and max(0, margin - x) where it is -1."""
    targets = np.asarray(targets)
    losses = np.where(targets != 1.0, relu(margin - x), 0.0) + np.where(targets != -1.0, x, 0.0)
    return reduced(losses, reduction)


def margin_ranking(x: Any, y: Any, targets: Any, *, margin: float = 0.0, reduction: str = "mean") -> Any:
    """Returns max(0, -t (x - y) + margin)."""
    return reduced(relu(-np.asarray(targets) * (x - y) + margin), reduction)


def soft_margin(x: Any, targets: Any, *, reduction: str = "mean") -> Any:
    """Returns log(1 + exp(-t x))."""
    return reduced(softplus(-np.asarray(targets) * x), reduction)


def multi_margin(
    x: Any, targets: Any, *, p: int = 1, margin: float = 1.0, weights: Any = None, reduction: str = "mean"
) -> Any:
    """Returns the sum over all other classes of w_t max(0, margin - x_t + x_k)^p, over the number of classes."""
    single = x.ndim == 1
    x, targets = x.reshape((1, -1)) if single else x, np.atleast_1d(targets)
    gaps = relu(margin - np.expand_dims(picked(x, targets, 1), 1) + x)
    gaps = gaps if p == 1 else np.power(gaps, p)
    others = np.arange(x.shape[1]) != targets[:, np.newaxis]
    losses = np.sum(np.where(others, gaps, 0.0), axis=1) / x.shape[1]
    losses = losses if weights is None else losses * weights[targets]
    return reduced(losses.reshape(()) if single and reduction == "none" else losses, reduction)


def multilabel_margin(x: Any, targets: Any, *, reduction: str = "mean") -> Any:
    """Returns the sum over targets t and other classes k of max(0, 1 - (x_t - x_k)), over the number of classes.

    The targets of a sample are its classes up to the first -1.
    """
    single = x.ndim == 1
    x, targets = (x.reshape((1, -1)), np.asarray(targets)[np.newaxis]) if single else (x, np.asarray(targets))
    used = np.logical_and.accumulate(targets >= 0, axis=1)
    classes = np.arange(x.shape[1])
    others = ~((targets[:, :, np.newaxis] == classes) & used[:, :, np.newaxis]).any(axis=1)
    own = np.take_along_axis(x, np.where(used, targets, 0), axis=1)
    gaps = relu(1.0 - (np.expand_dims(own, 2) - np.expand_dims(x, 1)))
    counted = used[:, :, np.newaxis] & others[:, np.newaxis]
    losses = np.sum(np.where(counted, gaps, 0.0), axis=(1, 2)) / x.shape[1]
    return reduced(losses.reshape(()) if single and reduction == "none" else losses, reduction)


def multilabel_soft_margin(x: Any, targets: Any, *, weights: Any = None, reduction: str = "mean") -> Any:
    """Returns the mean over the classes of the binary cross-entropy of the sigmoid of x."""
    losses = -(targets * logsigmoid(x) + (1.0 - targets) * logsigmoid(-x))
    losses = losses if weights is None else losses * weights
    return reduced(np.mean(losses, axis=-1), reduction)


def cosine_similarity(x: Any, y: Any, axis: int = 1, eps: float = 1e-8) -> Any:
    """Returns the sum of x y over the norms of x and y, which count as eps if they are less."""
    norms = [np.maximum(np.sqrt(np.sum(np.square(one), axis=axis)), eps) for one in (x, y)]
    return np.sum(x * y, axis=axis) / (norms[0] * norms[1])


def cosine_embedding(x: Any, y: Any, targets: Any, *, margin: float = 0.0, reduction: str = "mean") -> Any:
    """Returns 1 - cos where the target is 1, and max(0, cos - margin) where it is -1; the vectors are the last axis."""
    sizes = [np.sum(np.square(one), axis=-1) + COSINE_EPS for one in (x, y)]
    cos = np.sum(x * y, axis=-1) / np.sqrt(sizes[0] * sizes[1])
    return reduced(np.where(np.asarray(targets) == 1.0, 1.0 - cos, relu(cos - margin)), reduction)


def pairwise_distance(x: Any, y: Any, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Any:
    """Returns the p-norm of x - y + eps along the last axis."""
    off = x - y + eps
    if p == 2.0:
        return np.sqrt(np.sum(np.square(off), axis=-1, keepdims=keepdims))
    if p == math.inf:
        return np.max(np.abs(off), axis=-1, keepdims=keepdims)
    if p == 1.0:
        return np.sum(np.abs(off), axis=-1, keepdims=keepdims)
    return np.power(np.sum(np.power(np.abs(off), p), axis=-1, keepdims=keepdims), 1.0 / p)


def triplet_margin(
    anchor: Any, positive: Any, negative: Any, *, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """Returns max(0, margin + distance to the positive - distance to the negative).

    With `swap` the latter is the distance of the negative from the positive, if that is less (Balntas et al., 2016).
    """
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = np.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(relu(margin + near - far), reduction)


def gaussian_nll(
    x: Any, targets: Any, var: Any, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """Returns (log(var) + (x - t)^2 / var) / 2, where var counts as eps if it is less; with log(2 pi) / 2 if `full`."""
    var = np.maximum(var, eps)
    losses = 0.5 * (np.log(var) + np.square(x - targets) / var)
    return reduced(losses + 0.5 * math.log(2.0 * math.pi) if full else losses, reduction)


def poisson_nll(
    x: Any, targets: Any, *, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
) -> Any:
    """Returns e^x - t x, or x - t log(x + eps); with Stirling's formula for log(t!) where t > 1 if `full`."""
    losses = np.exp(x) - targets * x if log_input else x - targets * np.log(x + eps)
    if full:
        t = np.asarray(as_float(values_of(targets)))
        inside = np.where(t > 1.0, t, 1.0)
        losses = losses + np.where(
            t > 1.0, inside * np.log(inside) - inside + 0.5 * np.log(2.0 * math.pi * inside), 0.0
        )
    return reduced(losses, reduction)

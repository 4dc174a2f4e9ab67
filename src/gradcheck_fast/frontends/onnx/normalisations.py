"""Normalisations."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.arrays import along, plus
from gradcheck_fast.frontends.onnx.registry import Node, operator
from gradcheck_fast.frontends.operators.normalisation import batch_norm, instance_norm, rms_norm
from gradcheck_fast.frontends.operators.windows import padded, windows


@operator("BatchNormalization")
def _batch_normalization_9(node: Node, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    """In opsets before 14 a node of more than one output is one in training."""
    return _batch_norm(node, x, scale, bias, mean, var, training=node.wants(1))


@operator("BatchNormalization", since=14)
def _batch_normalization(node: Node, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
    return _batch_norm(node, x, scale, bias, mean, var, training=bool(node.get("training_mode")))


def _batch_norm(node: Node, x: Any, scale: Any, bias: Any, mean: Any, var: Any, *, training: bool) -> Any:
    """In training, by the numbers of the batch; the new running variance has that over the number of entries."""
    eps = node.get("epsilon")
    x = x.reshape(*x.shape, *(1,) * (2 - x.ndim)) if x.ndim < 2 else x
    if not training:
        return batch_norm(x, scale, bias, mean, var, eps)
    found = batch_norm(x, scale, bias, None, None, eps)
    if not (node.wants(1) or node.wants(2)):
        return found
    axes, momentum = (0, *range(2, x.ndim)), node.get("momentum")
    running = [
        old * momentum + new * (1.0 - momentum)
        for old, new in ((mean, np.mean(x, axis=axes)), (var, np.var(x, axis=axes)))
    ]
    return (found, *running)


@operator("InstanceNormalization")
def _instance_normalization(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    return instance_norm(x, scale, bias, node.get("epsilon"))


@operator("LayerNormalization", since=17)
def _layer_normalization(node: Node, x: Any, scale: Any, bias: Any = None) -> Any:
    axes = tuple(range(node.get("axis") % x.ndim, x.ndim))
    mean = np.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    deviation = np.sqrt(np.mean(np.square(centred), axis=axes, keepdims=True) + node.get("epsilon"))
    found = plus(centred / deviation * scale, bias)
    return (found, mean, 1.0 / deviation) if node.wants(1) or node.wants(2) else found


@operator("RMSNormalization", since=23)
def _rms_normalization(node: Node, x: Any, scale: Any) -> Any:
    return rms_norm(x, tuple(range(node.get("axis") % x.ndim, x.ndim)), scale, node.get("epsilon"))


@operator("GroupNormalization", since=18)
def _group_normalization_18(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    """In opset 18 scale and bias are those of groups."""
    groups = node.get("num_groups")
    rows = _grouped(node, x, groups)
    return (rows * along(scale, rows.ndim) + along(bias, rows.ndim)).reshape(x.shape)


@operator("GroupNormalization", since=21)
def _group_normalization(node: Node, x: Any, scale: Any, bias: Any) -> Any:
    found = _grouped(node, x, node.get("num_groups")).reshape(x.shape)
    return found * along(scale, x.ndim) + along(bias, x.ndim)


def _grouped(node: Node, x: Any, groups: int) -> Any:
    """Returns (samples, groups, entries), each group of mean 0 and variance 1."""
    rows = x.reshape(x.shape[0], groups, x.shape[1] // groups * prod(x.shape[2:]))
    centred = rows - np.mean(rows, axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(np.square(centred), axis=-1, keepdims=True) + node.get("epsilon"))


@operator("LRN")
def _local_response(node: Node, x: Any) -> Any:
    """Of an even size, one channel more is counted after than before."""
    size = node.get("size")
    before = (size - 1) // 2
    around = padded(np.moveaxis(np.square(x), 1, -1), [(before, size - 1 - before)])
    total = np.moveaxis(np.sum(windows(around, (size,), (1,), (1,), (x.shape[1],)), axis=-1), -1, 1)
    return x / np.power(node.get("bias") + node.get("alpha") / size * total, node.get("beta"))


@operator("LpNormalization")
def _lp_normalization(node: Node, x: Any) -> Any:
    """Where the norm is zero, so is the result."""
    axis = node.get("axis")
    if node.get("p") == 1:
        norm = np.sum(np.abs(x), axis=axis, keepdims=True)
    else:
        norm = np.sqrt(np.sum(np.square(x), axis=axis, keepdims=True))
    return x / np.where(norm == 0.0, 1.0, norm)

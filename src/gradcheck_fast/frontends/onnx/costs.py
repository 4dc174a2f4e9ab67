"""Operators that are losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.registry import Node, operator, plain
from gradcheck_fast.frontends.operators.activations import log_softmax


@operator("NegativeLogLikelihoodLoss", since=12)
def _negative_log_likelihood(node: Node, logs: Any, targets: Any, weights: Any = None) -> Any:
    return _picked(node, logs, targets, weights)


@operator("SoftmaxCrossEntropyLoss", since=12)
def _softmax_cross_entropy(node: Node, scores: Any, targets: Any, weights: Any = None) -> Any:
    logs = log_softmax(scores, axis=1)
    found = _picked(node, logs, targets, weights)
    return (found, logs) if node.wants(1) else found


def _picked(node: Node, logs: Any, targets: Any, weights: Any) -> Any:
    """Returns minus the logarithms at the targets times their class's weight; the mean is over these weights."""
    places = np.asarray(plain(targets), np.int64)
    ignored = node.get("ignore_index")
    counted = np.ones(places.shape, bool) if ignored is None else places != ignored
    places = np.where(counted, places, 0)
    if places.size and (places.min() < 0 or places.max() >= logs.shape[1]):
        raise node.error(
            f"the targets run from {places.min()} to {places.max()}, and there are {logs.shape[1]} classes"
        )
    found = -np.take_along_axis(logs, places[:, np.newaxis], axis=1).reshape(places.shape)
    weight = counted * 1.0 if weights is None else np.where(counted, weights[places], 0.0)
    found = np.where(counted, found, 0.0) if weights is None else found * weight
    reduction = node.get("reduction")
    if reduction == "none":
        return found
    return np.sum(found) if reduction == "sum" else np.sum(found) / np.sum(weight)

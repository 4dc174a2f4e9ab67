"""Operators that draw random numbers: which ones, a model does not say."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.float64 import RANDOM
from gradcheck_fast.frontends.onnx.registry import Node, operator, plain


@operator("Dropout")
def _dropout_10(node: Node, x: Any) -> Any:
    """Before opset 12 the operator leaves nothing out."""
    return x, np.ones(x.shape, bool)


@operator("Dropout", since=12)
def _dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    """Not in training, it leaves nothing out."""
    share = 0.5 if ratio is None else plain(ratio).item()
    if training is None or not plain(training).all() or share == 0.0:
        return x, np.ones(x.shape, bool)
    raise node.error(
        "in training it leaves out entries at random, and neither the model nor its seed says which, for each library "
        f"draws others. Give those that your trainer kept: draws={{{_key(node)!r}: mask}}, of the shape {x.shape}, "
        "True where an entry is kept; or export the model for inference"
    )


def drawn(node: Node, *x: Any) -> Any:
    """Refuses to draw."""
    raise node.error(
        "it draws random numbers, and neither the model nor its seed says which, for each library draws others. Give "
        f"those that your trainer drew: draws={{{_key(node)!r}: array}}"
    )


for _name in sorted(RANDOM):
    operator(_name)(drawn)


def _key(node: Node) -> str:
    return node.outputs[0]

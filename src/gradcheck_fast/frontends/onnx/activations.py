"""Activation functions, and softmax and its relatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_fast.frontends.onnx.arrays import flattened_from
from gradcheck_fast.frontends.onnx.registry import Node, operator
from gradcheck_fast.frontends.operators.activations import activation


def _simple(name: str) -> Any:
    return lambda node, x: activation(name, x)


for _onnx, _torch in {
    "Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign", "Mish": "mish",
}.items():  # fmt: skip
    operator(_onnx)(_simple(_torch))


@operator("LeakyRelu")
def _leaky_relu(node: Node, x: Any) -> Any:
    return activation("leaky_relu", x, negative_slope=node.get("alpha"))


@operator("Elu")
def _elu(node: Node, x: Any) -> Any:
    return activation("elu", x, alpha=node.get("alpha"))


@operator("Celu", since=12)
def _celu(node: Node, x: Any) -> Any:
    return activation("celu", x, alpha=node.get("alpha"))


@operator("Selu")
def _selu(node: Node, x: Any) -> Any:
    """gamma (alpha e^x - alpha) where x <= 0, and gamma x elsewhere."""
    return activation("selu", x, node.get("alpha"), node.get("gamma"))


@operator("Gelu", since=20)
def _gelu(node: Node, x: Any) -> Any:
    return activation("gelu", x, approximate=node.get("approximate"))


@operator("HardSigmoid")
def _hard_sigmoid(node: Node, x: Any) -> Any:
    return activation("hardsigmoid", x, node.get("alpha"), node.get("beta"))


@operator("HardSwish", since=14)
def _hard_swish(node: Node, x: Any) -> Any:
    return x * np.clip(x / 6.0 + 0.5, 0.0, 1.0)


@operator("Swish", since=24)
def _swish(node: Node, x: Any) -> Any:
    alpha = node.get("alpha")
    return activation("silu", x) if alpha == 1.0 else x * activation("sigmoid", alpha * x)


@operator("PRelu")
def _prelu(node: Node, x: Any, slope: Any) -> Any:
    """The slope is broadcast as NumPy does it."""
    return activation("relu", x) - slope * activation("relu", -x)


@operator("ThresholdedRelu")
def _thresholded_relu(node: Node, x: Any) -> Any:
    return activation("threshold", x, node.get("alpha"))


@operator("Shrink")
def _shrink(node: Node, x: Any) -> Any:
    return activation("shrink", x, node.get("bias"), node.get("lambd"))


def _over(name: str) -> Any:
    """Returns the function since opset 13, which acts along one axis."""
    return lambda node, x: activation(name, x, axis=node.get("axis"))


def _over_all_following(name: str) -> Any:
    """Returns the function before opset 13, which acts along all axes from one on, taken as one."""
    return lambda node, x: activation(name, flattened_from(x, node.get("axis")), axis=1).reshape(x.shape)


for _onnx, _torch in {"Softmax": "softmax", "LogSoftmax": "log_softmax"}.items():
    operator(_onnx, since=13)(_over(_torch))
    operator(_onnx)(_over_all_following(_torch))


@operator("Hardmax")
def _hardmax_of_following(node: Node, x: Any) -> Any:
    return activation("hardmax", flattened_from(x, node.get("axis")), 1).reshape(x.shape)


@operator("Hardmax", since=13)
def _hardmax(node: Node, x: Any) -> Any:
    return activation("hardmax", x, node.get("axis"))

"""Operators that act entry by entry, and activations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .registry import Random, calls, draw, pick, positive

# ---- single entries


@calls("Abs", "Neg", "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Floor", "Ceil", "Round",
       "Sign", "Erf", "IsNaN", "Identity", "Relu", "Sigmoid", "Softplus", "Softsign", "Mish", "HardSwish")  # fmt: skip
def unary(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {}, 1


@calls("Log", "Sqrt", "Reciprocal")
def of_positive(rng: Random, opset: int) -> Any:
    return [positive(rng, 2, 3)], {}, 1


@calls("Asin", "Acos", "Atanh")
def of_small(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3) / 4], {}, 1


@calls("Acosh")
def above_one(rng: Random, opset: int) -> Any:
    return [positive(rng, 2, 3) + 1], {}, 1


@calls("IsInf")
def is_infinite(rng: Random, opset: int) -> Any:
    options = {"detect_positive": pick(rng, 0, 1), "detect_negative": pick(rng, 0, 1)}
    return [np.array([1.0, np.inf, -np.inf, np.nan])], options, 1


@calls("Add", "Sub", "Mul", "Div", "Max", "Min", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
def binary(rng: Random, opset: int) -> Any:
    if pick(rng, True, False):
        shape = pick(rng, (3,), (2, 1), (2, 3), ())
        return [draw(rng, 2, 3), draw(rng, *shape)], {}, 1
    other = rng.integers(1, 9, (2, 3)) * pick(rng, 1, -1)
    return [rng.integers(-9, 9, (2, 3)), other], {}, 1


@calls("Sum", "Mean")
def variadic(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3), draw(rng, 3), draw(rng, 2, 1)][: pick(rng, 1, 2, 3)], {}, 1


@calls("And", "Or", "Xor")
def logical(rng: Random, opset: int) -> Any:
    return [rng.random((2, 3)) < 0.5, rng.random(3) < 0.5], {}, 1


@calls("Not")
def negation(rng: Random, opset: int) -> Any:
    return [rng.random((2, 3)) < 0.5], {}, 1


@calls("BitShift")
def shift(rng: Random, opset: int) -> Any:
    numbers = rng.integers(0, 9, 4).astype(np.uint32), rng.integers(0, 4, 4).astype(np.uint32)
    return [*numbers], {"direction": pick(rng, "LEFT", "RIGHT")}, 1


@calls("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(rng: Random, opset: int) -> Any:
    return [rng.integers(0, 9, 4), rng.integers(0, 9, 4)], {}, 1


@calls("BitwiseNot")
def bitwise_not(rng: Random, opset: int) -> Any:
    return [rng.integers(0, 9, 4)], {}, 1


@calls("Pow")
def power(rng: Random, opset: int) -> Any:
    exponent = pick(rng, np.array(2.0), np.array(0.5), draw(rng, 3), np.array(3.0))
    return [positive(rng, 2, 3), exponent], {}, 1


@calls("Mod")
def modulo(rng: Random, opset: int) -> Any:
    if pick(rng, True, False):
        return [rng.integers(-9, 9, (2, 3)), rng.integers(1, 5, 3) * pick(rng, 1, -1)], {"fmod": pick(rng, 0, 1)}, 1
    return [draw(rng, 2, 3), positive(rng, 3)], {"fmod": 1}, 1


@calls("Clip")
def clip(rng: Random, opset: int) -> Any:
    low, high = pick(rng, None, np.array(-0.5)), pick(rng, None, np.array(0.75))
    return [draw(rng, 2, 3), low, high][: 1 if low is high is None else 2 if high is None else 3], {}, 1


@calls("Where")
def where(rng: Random, opset: int) -> Any:
    return [rng.random((2, 3)) < 0.5, draw(rng, 3), draw(rng, 2, 1)], {}, 1


@calls("CumSum", "CumProd")
def cumulative(rng: Random, opset: int) -> Any:
    options = {"exclusive": pick(rng, 0, 1), "reverse": pick(rng, 0, 1)}
    return [draw(rng, 2, 4), np.array(pick(rng, 0, 1, -1))], options, 1


@calls("Cast")
def cast(rng: Random, opset: int) -> Any:
    x = pick(rng, draw(rng, 4), rng.integers(-3, 3, 4), rng.random(4) < 0.5)
    return [x], {"to": pick(rng, onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.INT32)}, 1


@calls("Det")
def determinant(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 3)], {}, 1


# ---- activations


@calls("LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "Swish")
def with_alpha(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"alpha": pick(rng, None, 0.5, 1.5)}, 1


@calls("Selu")
def selu(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"alpha": pick(rng, None, 0.5), "gamma": pick(rng, None, 1.5)}, 1


@calls("HardSigmoid")
def hard_sigmoid(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"alpha": pick(rng, None, 0.25), "beta": pick(rng, None, 0.25)}, 1


@calls("Shrink")
def shrink(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"bias": pick(rng, None, 0.25), "lambd": pick(rng, None, 1.0)}, 1


@calls("Gelu")
def gelu(rng: Random, opset: int) -> Any:
    return [draw(rng, 3, 4)], {"approximate": pick(rng, None, "none", "tanh")}, 1


@calls("PRelu")
def prelu(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4), draw(rng, *pick(rng, (3, 1), (1,), (2, 3, 4), (4,)))], {}, 1


@calls("Softmax", "LogSoftmax", "Hardmax")
def softmax(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 3, 4)], {"axis": pick(rng, None, 0, 1, 2, -1, -2)}, 1


@calls("SwiGLU")
def swiglu(rng: Random, opset: int) -> Any:
    return [draw(rng, 2, 4), draw(rng, 2, 4)], {}, 1

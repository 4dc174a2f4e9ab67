"""Operators of single entries: arithmetic, functions of one number, comparisons, logic, casts."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx

from gradcheck_fast.frontends.numpy_trace.array import TracedArray
from gradcheck_fast.frontends.onnx.arrays import is_integral
from gradcheck_fast.frontends.onnx.registry import Node, Unsupported, integer, operator, plain
from gradcheck_fast.frontends.operators.elementary import as_float, erf, recording_of

_UNARY: dict[str, Callable[[Any], Any]] = {
    "Abs": np.abs, "Neg": np.negative, "Exp": np.exp, "Log": np.log, "Sqrt": np.sqrt, "Sin": np.sin, "Cos": np.cos,
    "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh,
    "Tanh": np.tanh, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh, "Floor": np.floor, "Ceil": np.ceil,
    "Round": np.rint, "Sign": np.sign, "Not": np.logical_not, "IsNaN": np.isnan, "BitwiseNot": np.invert,
    "Erf": erf, "Reciprocal": lambda x: 1.0 / x, "Det": np.linalg.det,
}  # fmt: skip
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "And": np.logical_and, "Or": np.logical_or,
    "Xor": np.logical_xor, "Equal": np.equal, "Greater": np.greater, "Less": np.less,
    "GreaterOrEqual": np.greater_equal, "LessOrEqual": np.less_equal, "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip
_VARIADIC: dict[str, Callable[[Any, Any], Any]] = {"Max": np.maximum, "Min": np.minimum, "Sum": np.add}


def _of_one(function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda node, x: function(x)


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda node, x, y: function(x, y)


def _of_many(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda node, *x: reduce(function, x)


for _name, _unary in _UNARY.items():
    operator(_name)(_of_one(_unary))
for _name, _binary in _BINARY.items():
    operator(_name)(_of_two(_binary))
for _name, _binary in _VARIADIC.items():
    operator(_name)(_of_many(_binary))


@operator("Identity")
def _identity(node: Node, x: Any) -> Any:
    return x


@operator("Mean")
def _mean(node: Node, *x: Any) -> Any:
    return reduce(np.add, x) / len(x)


@operator("Div")
def _divide(node: Node, x: Any, y: Any) -> Any:
    """Integers are divided towards zero."""
    if is_integral(x) and is_integral(y):
        return (np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))).astype(x.dtype)
    return x / y


@operator("Pow")
def _power(node: Node, x: Any, y: Any) -> Any:
    """The result has the type of the base."""
    if is_integral(x):
        return np.power(x.astype(np.float64), plain(y)).astype(x.dtype) if not is_integral(y) else np.power(x, y)
    return np.power(x, y if type(y) is TracedArray else np.asarray(y, np.float64))


@operator("Mod")
def _modulo(node: Node, x: Any, y: Any) -> Any:
    return np.fmod(x, y) if node.get("fmod") else np.mod(x, y)


@operator("IsInf")
def _is_infinite(node: Node, x: Any) -> Any:
    found = np.zeros(x.shape, bool)
    if node.get("detect_positive"):
        found = found | np.isposinf(x)
    if node.get("detect_negative"):
        found = found | np.isneginf(x)
    return found


@operator("BitShift")
def _shift(node: Node, x: Any, y: Any) -> Any:
    return np.left_shift(x, y) if node.get("direction") == "LEFT" else np.right_shift(x, y)


@operator("Clip", since=11)
def _clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    """Where the lower bound is above the upper one, the upper one counts."""
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@operator("Where")
def _where(node: Node, condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition, x, y)


@operator("CumSum", since=11)
def _cumulative_sum(node: Node, x: Any, axis: Any) -> Any:
    return _cumulated(node, np.cumsum, 0.0, x, integer(axis))


@operator("CumProd", since=26)
def _cumulative_product(node: Node, x: Any, axis: Any) -> Any:
    return _cumulated(node, np.cumprod, 1.0, x, integer(axis))


def _cumulated(node: Node, function: Any, first: float, x: Any, axis: int) -> Any:
    """With `exclusive`, an entry is that of the entries before it; with `reverse`, one begins at the end."""
    x = np.flip(x, axis) if node.get("reverse") else x
    if node.get("exclusive"):
        head = [slice(None)] * x.ndim
        head[axis] = slice(0, 1)
        rest = list(head)
        rest[axis] = slice(0, -1)
        start = np.full(x[tuple(head)].shape, first, x.dtype)
        found = np.concatenate([start, function(x[tuple(rest)], axis=axis)], axis=axis)
    else:
        found = function(x, axis=axis)
    found = found.astype(x.dtype) if is_integral(x) else found
    return np.flip(found, axis) if node.get("reverse") else found


_FLOATS = {"FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"}


@operator("Cast")
def _cast(node: Node, x: Any) -> Any:
    """All floating types are float64 here."""
    return cast_to(node, x, onnx.TensorProto.DataType.Name(node.get("to")))


@operator("CastLike", since=15)
def _cast_like(node: Node, x: Any, like: Any) -> Any:
    if like.dtype.kind == "f":
        return cast_to(node, x, "DOUBLE")
    return cast_to(node, x, onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(like.dtype)))


def cast_to(node: Node, x: Any, kind: str) -> Any:
    """Casts an array to a type of ONNX's, by its name."""
    if kind in _FLOATS:
        if type(x) is TracedArray:
            return as_float(x)
        return plain(x).astype(np.float64)
    if kind == "BOOL":
        return x.astype(np.bool_)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, kind)))
    if dtype.kind not in "iu" or dtype.type.__module__ != "numpy":
        if recording_of(x) is not None:
            raise node.error(f"a cast to {kind} rounds values that depend on parameters, and such a loss has no slope")
        raise Unsupported(f"a cast to {kind}")
    return x.astype(dtype)

"""Primitives that act entry by entry, and those that compare or choose."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from jax import numpy as jnp

from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.elementary import is_traced, primitive

#: What NumPy calls the primitive of this name.
_FLOATS: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "sqrt": np.sqrt,
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)), "cbrt": np.cbrt, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "floor": np.floor, "ceil": np.ceil,
    "atan2": np.arctan2, "logistic": lambda x: primitive("sigmoid", x), "erf": lambda x: primitive("erf", x),
    "erfc": lambda x: primitive("erfc", x), "lgamma": lambda x: primitive("gammaln", x),
    "digamma": lambda x: primitive("digamma", x), "erf_inv": lambda x: primitive("erfinv", x),
}  # fmt: skip
_NUMBERS: dict[str, Callable[..., Any]] = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.absolute,
    "sign": np.sign, "max": np.maximum, "min": np.minimum, "square": np.square,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[..., Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq_to": np.equal, "lt_to": np.less, "le_to": np.less_equal,
}  # fmt: skip
_BITS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "and": (np.logical_and, np.bitwise_and), "or": (np.logical_or, np.bitwise_or),
    "xor": (np.logical_xor, np.bitwise_xor), "not": (np.logical_not, np.invert),
}  # fmt: skip


def narrowed(x: Any) -> Any:
    """Returns an array without the copies that were made along axes to fit another one; these stay of length 1.

    NumPy fits arrays by itself, so that nothing has to be copied for an operation entry by entry.
    """
    leading, strides = 0, x.strides
    while leading < x.ndim and strides[leading] == 0 and x.shape[leading] > 1:
        leading += 1
    rest = tuple(
        slice(0, 1) if stride == 0 and length > 1 else slice(None)
        for stride, length in zip(strides[leading:], x.shape[leading:], strict=True)
    )
    return x[(0,) * leading + rest] if leading or slice(0, 1) in rest else x


def by_entries(function: Callable[..., Any], shape: tuple[int, ...], *x: Any) -> Any:
    """Returns what a function that acts entry by entry makes of arrays of one shape."""
    found = function(*(narrowed(array) for array in x))
    return found if np.shape(found) == shape else np.broadcast_to(found, shape)


def _entrywise(function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluated(op: Equation, *x: Any) -> Any:
        return by_entries(function, op.shape, *x)

    return evaluated


for _name, _function in _FLOATS.items():
    rule(_name, plain=True)(_entrywise(_function))


def _comparison(function: Callable[..., Any]) -> Callable[..., Any]:
    def compared(op: Equation, x: Any, y: Any) -> Any:
        if x is y and is_traced(x):  # ``jnp.isnan``: no difference changes what this finds
            return function(x._view, x._view)
        return by_entries(function, op.shape, x, y)

    return compared


for _name, _function in _NUMBERS.items():
    rule(_name, plain=True, counts=True)(_entrywise(_function))
for _name, _function in _COMPARISONS.items():
    rule(_name, plain=True, counts=True)(_comparison(_function))


def _bits(of_masks: Callable[..., Any], of_integers: Callable[..., Any]) -> Callable[..., Any]:
    def evaluated(op: Equation, *x: Any) -> Any:
        return by_entries(of_masks if op.dtype == np.bool_ else of_integers, op.shape, *x)

    return evaluated


for _name, _functions in _BITS.items():
    rule(_name, plain=True)(_bits(*_functions))


def _of_floats(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the rule of a function that JAX defines in another way for integers: there it evaluates plain ones."""

    def evaluated(op: Equation, *x: Any) -> Any:
        if op.dtype.kind in "iu" and not any(map(is_traced, x)):
            return op.machine.bound(op.equation, x)
        return by_entries(lambda *parts: function(op, *parts), op.shape, *x)

    return evaluated


rule("div", plain=True)(_of_floats(lambda op, x, y: np.divide(x, y)))
rule("rem", plain=True)(_of_floats(lambda op, x, y: np.fmod(x, y)))
rule("pow", plain=True)(_of_floats(lambda op, x, y: np.power(x, y if is_traced(y) else np.asarray(y, np.float64))))
rule("integer_pow", plain=True)(_of_floats(lambda op, x: np.power(x, float(op.params["y"]))))


@rule("is_finite", plain=True)
def _is_finite(op: Equation, x: Any) -> Any:
    return by_entries(np.isfinite, op.shape, x)


@rule("round", plain=True)
def _round(op: Equation, x: Any) -> Any:
    if int(op.params["rounding_method"]) == 1:
        return by_entries(np.rint, op.shape, x)
    return by_entries(lambda z: np.sign(z) * np.floor(np.abs(z) + 0.5), op.shape, x)  # away from zero


@rule("clamp", plain=True, counts=True)
def _clamp(op: Equation, low: Any, x: Any, high: Any) -> Any:
    low, high = (np.broadcast_to(bound, op.shape) for bound in (low, high))
    return by_entries(lambda a, z, b: np.minimum(np.maximum(z, a), b), op.shape, low, x, high)


@rule("select_n", plain=True, counts=True, parts="each")
def _select_n(op: Equation, which: Any, *cases: Any) -> Any:
    if len(cases) == 1:
        return cases[0]
    if not is_traced(which) and np.size(which) and (which == np.ravel(which)[0]).all():
        return cases[int(np.ravel(which)[0])]
    which = np.broadcast_to(which, op.shape)
    if which.dtype == np.bool_:
        return by_entries(np.where, op.shape, which, cases[1], cases[0])
    return by_entries(_chosen, op.shape, which, *cases)


def _chosen(which: Any, *cases: Any) -> Any:
    return reduce(lambda found, k: np.where(which > k - 0.5, cases[k], found), range(1, len(cases)), cases[0])


@rule("convert_element_type", plain=True, counts=True, parts="each")
def _convert_element_type(op: Equation, x: Any) -> Any:
    dtype = np.dtype(op.params["new_dtype"])
    if not is_traced(x):
        return x.astype(dtype)
    if jnp.issubdtype(dtype, jnp.floating):
        _note_rounding(op, float(jnp.finfo(dtype).eps), f"a cast to {dtype}")
        return op.recording.as_numbers(x)
    if dtype == np.bool_:
        return op.recording.mask(x)
    if jnp.issubdtype(op.dtypes[0], jnp.floating):
        return _cut_off(op, op.recording.as_numbers(x), dtype)
    return op.recording.as_numbers(x)


def _cut_off(op: Equation, x: Any, dtype: np.dtype[Any]) -> Any:
    """Returns numbers without what is behind the point: these jump from integer to integer, and have no slope between.

    Numbers that are no such integers have no rule: what they become is fixed.
    """
    found = np.trunc(x)
    plain = np.asarray(jnp.asarray(x._view).astype(dtype))
    if is_traced(found) and np.array_equal(found._view, plain):
        return found
    op.recording.leak(f"a cast to {dtype} of what it does not hold")
    return plain


@rule("reduce_precision")
def _reduce_precision(op: Equation, x: Any) -> Any:
    _note_rounding(op, 2.0 ** -int(op.params["mantissa_bits"]), "reduce_precision")
    return x


def _note_rounding(op: Equation, eps: float, what: str) -> None:
    if eps > np.finfo(np.float64).eps:
        op.recording.note_rounding(eps, f"{what} is left out: it is a plateau at every number, and has no slope")


@rule("copy", "optimization_barrier", "name", plain=True, counts=True, parts="each")
def _copy(op: Equation, *x: Any) -> Any:
    return list(x)


@rule("polygamma")
def _polygamma(op: Equation, order: Any, x: Any) -> Any:
    """The digamma function where the order is 0, and the trigamma function where it is 1; others are opaque."""
    orders = {0.0: "digamma", 1.0: "trigamma"}
    name = None if is_traced(order) or not order.size else orders.get(float(order.flat[0]))
    if name is None or (order != order.flat[0]).any():
        return op.machine.bound(op.equation, (order, x))
    return by_entries(lambda x: primitive(name, x), op.shape, x)

"""Functions of SciPy's that are no ufuncs, and what SciPy's ufuncs are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.reductions import axes_of
from gradcheck_fast.frontends.numpy_trace.registry import implements
from gradcheck_fast.program.steps import PRIMITIVES

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


@implements(scipy="logsumexp")
def logsumexp(
    recording: Recording, a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """``scipy.special.logsumexp``."""
    x = recording.as_numbers(recording.traced(a))
    if b is not None:
        weights = recording.traced(b)
        if return_sign or (weights._view < 0.0).any():
            raise recording.untraceable("logsumexp with a sign", "the logarithm of a sum of exponentials")
        x = x + np.log(weights)
    axes = axes_of(x, axis)
    if not axes:
        found = x.copy()
    else:
        top = x._view.max(axis=axes, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        with np.errstate(divide="ignore"):
            value = np.log(np.exp(x._view - top).sum(axis=axes, keepdims=True)) + top
        value = value if keepdims else value.reshape([n for k, n in enumerate(x.shape) if k not in axes])
        found = recording.step("logsumexp", [x], value, axis=axes, keepdims=bool(keepdims))
    return (found, np.ones(found.shape)) if return_sign else found


@implements(scipy="log_softmax")
def log_softmax(recording: Recording, x: Any, axis: Any = None) -> Any:
    """``scipy.special.log_softmax``."""
    x = recording.traced(x)
    return x - logsumexp(recording, x, axis, keepdims=True)


@implements(scipy="softmax")
def softmax(recording: Recording, x: Any, axis: Any = None) -> Any:
    """``scipy.special.softmax``."""
    return np.exp(log_softmax(recording, x, axis))


@implements(scipy="softplus")
def softplus(recording: Recording, x: Any, **_: Any) -> Any:
    """``scipy.special.softplus``."""
    return np.logaddexp(0.0, recording.traced(x))


def _step(name: str, x: TracedArray) -> Any:
    return x._recording.step(name, [x], PRIMITIVES[name].value([x._view]))


def _entropy(x: Any) -> Any:
    positive = x > 0.0
    inside = np.where(positive, x, 1.0)
    return np.where(positive, -inside * np.log(inside), np.where(x == 0.0, 0.0, -np.inf))


def _relative_entropy(x: Any, y: Any) -> Any:
    both = (x > 0.0) & (y > 0.0)
    inside = np.where(both, x, 1.0)
    found = inside * (np.log(inside) - np.log(np.where(both, y, 1.0)))
    return np.where(both, found, np.where((x == 0.0) & (y >= 0.0), 0.0, np.inf))


def _divergence(x: Any, y: Any) -> Any:
    return _relative_entropy(x, y) - x + y


def _huber(delta: Any, r: Any) -> Any:
    size = np.abs(r)
    return np.where(size <= delta, 0.5 * np.square(r), delta * (size - 0.5 * delta))


#: What a ufunc of SciPy's of this name does, said by others.
COMPOSITE: Mapping[str, Callable[..., Any]] = {
    "logit": lambda x: np.log(x) - np.log1p(-x),
    "log_expit": lambda x: -np.logaddexp(0.0, -x),
    "xlog1py": lambda x, y: np.where(x == 0.0, 0.0, x * np.log1p(y)),
    "entr": _entropy,
    "rel_entr": _relative_entropy,
    "kl_div": _divergence,
    "huber": _huber,
    "pseudo_huber": lambda delta, r: np.square(delta) * (np.hypot(1.0, r / delta) - 1.0),
    "ndtr": lambda x: 0.5 * _step("erfc", x * -math.sqrt(0.5)),
    "exp10": lambda x: np.power(10.0, x),
    "betaln": lambda a, b: _step("gammaln", a) + _step("gammaln", b) - _step("gammaln", a + b),
}

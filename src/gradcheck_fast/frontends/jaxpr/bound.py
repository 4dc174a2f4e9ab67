"""Calls JAX's own primitives with plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp


def is_key(dtype: Any) -> bool:
    """Whether a dtype is that of random keys, or another one that NumPy does not have."""
    return bool(jnp.issubdtype(dtype, jax.dtypes.extended))


def as_plain(value: Any) -> Any:
    """Returns an array as NumPy's, unless it is one of random keys, or none at all."""
    dtype = getattr(value, "dtype", None)
    if isinstance(value, (bool, int, float, complex)):
        return np.asarray(value)
    return value if dtype is None or is_key(dtype) else np.asarray(value)


class Bound:
    """An equation as a function of its inputs, evaluated by JAX.

    Parameters
    ----------
    equation : JaxprEqn
    within : callable
        Returns the context in which JAX computes in float64.
    """

    __module__ = "jax.lax"

    def __init__(self, equation: Any, within: Callable[[], AbstractContextManager[None]]) -> None:
        self._equation, self._within = equation, within
        self.__name__ = str(equation.primitive.name)

    def __call__(self, *x: Any) -> Any:
        """Returns an array, or a tuple of them if the primitive gives several."""
        equation = self._equation
        primitive, own = equation.primitive, getattr(equation, "ctx", None)
        with self._within(), nullcontext() if own is None else own.manager:
            given = [_as_declared(value, atom.aval) for value, atom in zip(x, equation.invars, strict=True)]
            params = primitive.get_bind_params(equation.params)
            functions, params = params if isinstance(params, tuple) else ((), params)
            found = primitive.bind(*functions, *given, **params)
            return tuple(map(as_plain, found)) if primitive.multiple_results else as_plain(found)


def _as_declared(value: Any, aval: Any) -> Any:
    dtype = getattr(aval, "dtype", None)
    return value if dtype is None or is_key(dtype) else jnp.asarray(value, dtype=dtype)

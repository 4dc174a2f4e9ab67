"""Functions whose loops and branches JAX compiles anew at each call, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from gradcheck_fast.frontends.jaxpr.control import sub_jaxpr

#: Outside of ``jax.jit``, these are compiled at each call, because what they contain is traced at each call.
_COMPILED_ALWAYS = {"scan", "while", "cond"}
#: What these contain is compiled with them, and then known.
_COMPILED_ONCE = {"jit", "pjit"}


def compiled_once(jaxpr: Any) -> Callable[..., Any] | None:
    """Returns a compiled function that does what a jaxpr does; None if that saves nothing.

    Parameters
    ----------
    jaxpr : ClosedJaxpr
        Of one output.

    Returns
    -------
    callable or None
        Of the arrays that the jaxpr takes. A jaxpr that does more than it returns is not compiled.
    """
    if jax.config.jax_disable_jit or jaxpr.effects or not _compiles_at_each_call(jaxpr):
        return None
    function = jax.jit(jaxpr_as_fun(jaxpr))
    return lambda *arrays: function(*arrays)[0]


def _compiles_at_each_call(jaxpr: Any) -> bool:
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name in _COMPILED_ALWAYS:
            return True
        inner = None if equation.primitive.name in _COMPILED_ONCE else sub_jaxpr(equation.params)
        if inner is not None and _compiles_at_each_call(inner):
            return True
    return False

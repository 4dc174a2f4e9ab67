"""Primitives that evaluate jaxprs of their own: calls, branches and loops. What they contain is done, turn by turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from gradcheck_fast.frontends.jaxpr.bound import is_key
from gradcheck_fast.frontends.jaxpr.registry import Equation, rule
from gradcheck_fast.frontends.operators.elementary import is_traced, primitive

#: The names under which primitives keep the jaxpr that they call.
_NAMES = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
#: Functions of JAX's with a rule of their own for derivatives that are single steps. Their jaxprs have kinks that the
#: functions have not.
_SINGLE_STEPS = {
    "logaddexp": (jnp.logaddexp, "logaddexp"),
    "xlogy": (jax.scipy.special.xlogy, "xlogy"),
}


def sub_jaxpr(params: Mapping[str, Any]) -> Any:
    """Returns the jaxpr that a primitive with these parameters calls; None if there is none."""
    return next((params[name] for name in _NAMES if name in params), None)


@rule(
    "jit", "pjit", "closed_call", "core_call", "core_closed_call", "remat", "remat2", "checkpoint",
    "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_vmap_call", plain=True, call=True,
)  # fmt: skip
def _call(op: Equation, *x: Any) -> Any:
    return op.machine.run(sub_jaxpr(op.params), x)


@rule("custom_jvp_call", "custom_jvp_call_jaxpr", plain=True, call=True)
def _custom_jvp_call(op: Equation, *x: Any) -> Any:
    inner = sub_jaxpr(op.params)
    function, step = _SINGLE_STEPS.get(_name_of(op, inner), (None, ""))
    if function is not None and str(_inside(function, op.equation.invars)) == str(inner):
        return primitive(step, *x)
    return op.machine.run(inner, x)


def _name_of(op: Equation, inner: Any) -> str:
    """Returns the name of a function with a rule of its own for derivatives, as far as JAX keeps it."""
    info = getattr(getattr(inner, "jaxpr", inner), "debug_info", None)
    return str(op.params.get("name") or getattr(info, "func_src_info", "")).partition(" ")[0]


def _inside(function: Any, variables: Any) -> Any:
    """Returns the jaxpr of a function with a rule of its own for derivatives, at arrays like these."""
    arrays = [jax.ShapeDtypeStruct(variable.aval.shape, variable.aval.dtype) for variable in variables]
    for equation in jax.make_jaxpr(function)(*arrays).eqns:
        if equation.primitive.name.startswith("custom_jvp_call"):
            return sub_jaxpr(equation.params)
    return None


@rule("cond", call=True)
def _cond(op: Equation, which: Any, *x: Any) -> Any:
    branches = op.params["branches"]
    return op.machine.run(branches[_choice(op, which, len(branches))], x)


def _choice(op: Equation, which: Any, count: int) -> int:
    """Returns the branch that is taken at the parameters."""
    if not is_traced(which):
        return min(max(int(which), 0), count - 1)
    if which.dtype == np.bool_:
        return int(op.recording.truth(which))
    number = 0
    for k in range(1, count):  # each is a comparison, whose margin is known
        number = k if op.recording.truth(which > k - 0.5) else number
    return number


@rule("while", call=True)
def _while(op: Equation, *x: Any) -> Any:
    first, second = op.params["cond_nconsts"], op.params["body_nconsts"]
    of_condition, of_body, state = x[:first], x[first : first + second], list(x[first + second :])
    while True:
        (goes_on,) = op.machine.run(op.params["cond_jaxpr"], [*of_condition, *state])
        goes: Any = np.any(goes_on)
        if not (op.recording.truth(goes) if is_traced(goes) else bool(goes)):
            return state
        before, state = state, op.machine.run(op.params["body_jaxpr"], [*of_body, *state])
        if goes_on.ndim:  # of a batch, the loops that have ended stay as they are
            state = [
                np.where(goes_on.reshape(goes_on.shape + (1,) * (new.ndim - goes_on.ndim)), new, old)
                for new, old in zip(state, before, strict=True)
            ]


@rule("scan", call=True)
def _scan(op: Equation, *x: Any) -> Any:
    params, length = op.params, op.params["length"]
    constants, carried = x[: params["num_consts"]], params["num_carry"]
    state, each = list(x[len(constants) : len(constants) + carried]), x[len(constants) + carried :]
    turns: list[list[Any]] = [[]] * length
    for k in reversed(range(length)) if params["reverse"] else range(length):
        found = op.machine.run(params["jaxpr"], [*constants, *state, *(_entry(part, k) for part in each)])
        state, turns[k] = found[:carried], found[carried:]
    variables = op.equation.outvars[carried:]
    return [*state, *(_stacked([turn[k] for turn in turns], var.aval) for k, var in enumerate(variables))]


def _entry(x: Any, k: int) -> Any:
    return x[k] if is_traced(x) or is_key(x.dtype) else np.asarray(x[k])


def _stacked(parts: list[Any], aval: Any) -> Any:
    if not parts:
        return np.zeros(aval.shape, aval.dtype)
    return jnp.stack(parts) if is_key(aval.dtype) else np.stack(parts)


@rule("custom_linear_solve", call=True)
def _custom_linear_solve(op: Equation, *x: Any) -> Any:
    lengths = op.params["const_lengths"]
    begin = lengths.matvec + lengths.vecmat
    constants = x[begin : begin + lengths.solve]
    return op.machine.run(
        op.params["jaxprs"].solve, [*constants, *x[begin + lengths.solve + lengths.transpose_solve :]]
    )


@rule("platform_index", plain=True)
def _platform_index(op: Equation) -> Any:
    own, platforms = jax.default_backend(), op.params["platforms"]
    return np.asarray(next(k for k, names in enumerate(platforms) if names is None or own in names), np.int32)


@rule("stop_gradient", counts=True, plain=True)
def _stop_gradient(op: Equation, x: Any) -> Any:
    return x._view if is_traced(x) and op.machine.is_constant(op.equation, x) else x

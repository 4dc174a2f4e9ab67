"""What is looked at of a JAX function besides its gradient: its outputs, forward mode, `jax.vmap` and `jax.jit`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp

from gradcheck_fast.comparison.aspects import Aspect, Status
from gradcheck_fast.inputs.random_numbers import generator

if TYPE_CHECKING:
    from gradcheck_fast.adapters.jax_function import FunctionCase

#: How many cotangents, or sets of arguments, are batched.
BATCH = 3
#: Of so many arrays, at most, each is looked at by itself.
MOST = 8
#: The sets of arguments in a batch differ by this part of their size.
MOVED = 2.0**-8

Found = tuple[Status, str]


class _Case:
    """A function at its arguments, in float64 if it computes in that, with random tangents and cotangents."""

    def __init__(self, case: FunctionCase, seed: int) -> None:
        self.rng = generator(seed)
        doubles = [array.astype(np.float64) for array in case.arrays]
        self.case, self.arrays = case, doubles
        try:
            with case.in_double(doubles):
                case.parts(*case.as_jax(doubles))
        except Exception:  # it computes in its own dtype only
            self.arrays = case.arrays
        with case.in_double(self.arrays):
            self.primals = case.as_jax(self.arrays)
            self.outputs, self.pull = jax.vjp(case.parts, *self.primals)
            self.cotangents = [self.like(output) for output in self.outputs]
            self.eps = _coarsest([*self.primals, *self.outputs], _with_gradient(case, self.cotangents), self.primals)

    def like(self, array: Any) -> Any:
        """Returns random numbers in the shape and dtype of an array."""
        return jnp.asarray(self.rng.standard_normal(array.shape), array.dtype)

    def differ(self, a: Sequence[Any], b: Sequence[Any], names: Sequence[str]) -> str:
        """Returns the name of the first array that differs from its counterpart by more than rounding; "" if none.

        Roundings may be those of larger numbers that cancel, so they are measured by the largest of all arrays, too.
        """
        pairs = [(np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in zip(a, b, strict=True)]
        largest = max((_size(x) for x in (*self.arrays, *(y for _, y in pairs))), default=0.0)
        for name, (x, y) in zip(names, pairs, strict=True):
            if x.shape != y.shape:
                return name
            allowed = self.eps**0.5 * _size(y) + self.eps**0.75 * largest
            with np.errstate(invalid="ignore"):
                off = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
            if not (off <= allowed).all():
                return name
        return ""


def _size(array: Any) -> float:
    finite = np.abs(np.asarray(array, np.float64))
    return float(finite[np.isfinite(finite)].max(initial=0.0))


def _coarsest(arrays: Sequence[Any], function: Callable[..., Any], primals: Sequence[Any]) -> float:
    """Gives the rounding of the coarsest dtype in arrays and in what a function computes: it may cast in between."""
    dtypes = {jnp.dtype(array.dtype) for array in arrays}
    with suppress(Exception):  # it may refuse to be traced; what it casts to is not known then
        dtypes |= _dtypes_in(jax.make_jaxpr(function)(*primals).jaxpr)
    return max(float(jnp.finfo(dtype).eps) for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact))


def _dtypes_in(jaxpr: Any) -> set[Any]:
    """Gives the dtypes of all that a jaxpr computes, with the jaxprs that it calls."""
    found: set[Any] = set()
    for equation in jaxpr.eqns:
        kinds = [getattr(variable.aval, "dtype", None) for variable in equation.outvars]
        found.update(jnp.dtype(kind) for kind in kinds if kind is not None and jnp.issubdtype(kind, jnp.number))
        inside = jax.tree_util.tree_leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        found.update(*(_dtypes_in(getattr(inner, "jaxpr", inner)) for inner in inside if _is_jaxpr(inner)))
    return found


def _is_jaxpr(value: Any) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")


def _outputs(at: _Case) -> Found:
    """The outputs that come with derivatives are those of the function: a rule computes them anew."""
    case = at.case
    right = case.parts(*at.primals)
    names = [_output(case, k) for k in range(len(right))]
    found = {"jax.vjp": at.outputs}
    with suppress(Exception):  # "forward mode" says what was raised
        found["jax.jvp"] = jax.jvp(case.parts, at.primals, [jnp.zeros_like(x) for x in at.primals])[0]
    for transform, outputs in found.items():
        name = at.differ(outputs, right, names)
        if name:
            return "wrong", f"{name} is another one under {transform}: a rule for derivatives computes something else"
    return "right", ""


def _forward_mode(at: _Case) -> Found:
    """For tangents t of inputs and a cotangent v of an output, <v, J t> = <Jᵀ v, t>, and Jᵀ v is the gradient.

    Inputs are moved one by one, and then together.
    """
    case, names = at.case, list(at.case.leaves.params)
    tangents = [at.like(x) for x in at.primals]
    gradients = [at.pull(_alone(at.cotangents, k)) for k in range(min(len(at.cotangents), MOST))]
    moves = [(name, _alone(tangents, j)) for j, name in enumerate(names[:MOST])]
    for name, moved in [*moves, *([("all inputs", tangents)] if len(tangents) > 1 else [])]:
        try:
            _, products = jax.jvp(case.parts, at.primals, moved)
        except Exception as error:
            return "not checked", _first_line(error)
        for k, by_inputs in enumerate(gradients):
            own, size = _inner(at.cotangents[k], products[k])
            pairs = [_inner(gradient, tangent) for gradient, tangent in zip(by_inputs, moved, strict=True)]
            right = sum(number for number, _ in pairs)
            sizes = (size, abs(own), abs(right), *(terms for _, terms in pairs))
            if abs(own - right) > at.eps**0.5 * max(sizes):
                return "wrong", (
                    f"moved along a tangent of {name}, {_output(case, k)} changes by {own:.6g} along its "
                    f"cotangent, and the gradient says {right:.6g}"
                )
    return "right", ""


def _alone(arrays: Sequence[Any], k: int) -> list[Any]:
    """Returns the arrays with zeros in all but one."""
    return [x if j == k else jnp.zeros_like(x) for j, x in enumerate(arrays)]


def _batched_backward(at: _Case) -> Found:
    """`jax.vmap` over cotangents gives the gradients of one after another."""
    names = list(at.case.leaves.params)
    batch = [jnp.stack([at.like(output) for _ in range(BATCH)]) for output in at.outputs]
    try:
        together = jax.vmap(at.pull)(batch)
    except Exception as error:
        return "not checked", _first_line(error)
    for k in range(BATCH):
        alone = at.pull([cotangents[k] for cotangents in batch])
        name = at.differ([gradients[k] for gradients in together], alone, names)
        if name:
            return "wrong", f"the gradient by {name} is another one where jax.vmap batches cotangents"
    return "right", ""


def _batched_inputs(at: _Case) -> Found:
    """`jax.vmap` over the arguments gives the outputs and the gradients of one set of arguments after another."""
    case = at.case
    moved = [
        [x * (1.0 + MOVED * k * at.like(x)) if k else x for x in at.primals] for k in range(BATCH)
    ]  # fmt: skip
    both = _with_gradient(case, at.cotangents)
    try:
        together = jax.vmap(both)(*(jnp.stack(column) for column in zip(*moved, strict=True)))
    except Exception as error:
        return "not checked", _first_line(error)
    for k, arrays in enumerate(moved):
        said = _other(at, [part[k] for part in together[0]], [part[k] for part in together[1]], both(*arrays))
        if said:
            return "wrong", f"{said} where jax.vmap batches the inputs"
    return "right", ""


def _compiled(at: _Case) -> Found:
    """`jax.jit` gives the same outputs and gradients."""
    both = _with_gradient(at.case, at.cotangents)
    try:
        outputs, gradients = jax.jit(both)(*at.primals)
    except Exception as error:
        return "not checked", _first_line(error)
    said = _other(at, outputs, gradients, both(*at.primals))
    return ("wrong", f"{said} under jax.jit") if said else ("right", "")


def _with_gradient(case: FunctionCase, cotangents: Sequence[Any]) -> Callable[..., tuple[Any, Any]]:
    def both(*arrays: Any) -> tuple[Any, Any]:
        outputs, pull = jax.vjp(case.parts, *arrays)
        return outputs, pull(list(cotangents))

    return both


def _other(at: _Case, outputs: Sequence[Any], gradients: Sequence[Any], right: tuple[Any, Any]) -> str:
    """Says which output or gradient differs from what is right; "" if none does."""
    case = at.case
    name = at.differ(outputs, right[0], [_output(case, k) for k in range(len(outputs))])
    if name:
        return f"{name} is another one"
    name = at.differ(gradients, right[1], list(case.leaves.params))
    return f"the gradient by {name} is another one" if name else ""


def _inner(one: Any, other: Any) -> tuple[float, float]:
    """Returns the inner product of two arrays, and the norm of its terms: they are rounded independently."""
    terms = np.asarray(one, np.float64) * np.asarray(other, np.float64)
    terms = terms[np.isfinite(terms)]
    return float(terms.sum()), float(np.linalg.norm(terms))


def _output(case: FunctionCase, k: int) -> str:
    name = case.outputs[k]
    return f"output{name}" if name.startswith("[") or not name else f"output.{name}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__} was raised: {str(error).partition(chr(10))[0]}"


#: What looks at each aspect, by its name.
LOOKS: dict[str, Callable[[_Case], Found]] = {
    "outputs": _outputs,
    "forward mode": _forward_mode,
    "batched backward": _batched_backward,
    "batched inputs": _batched_inputs,
    "jit": _compiled,
}


def look_at(case: FunctionCase, skip: Collection[str], seed: int) -> tuple[Aspect, ...]:
    """Looks at all aspects of a function whose gradient is right, but for those that are to be skipped.

    Parameters
    ----------
    case : FunctionCase
    skip : collection of str
    seed : int
        The seed of cotangents and tangents.
    """
    names = [name for name in LOOKS if name not in skip]
    if not names:
        return ()
    at = _Case(case, seed)
    with case.in_double(at.arrays):
        return tuple(Aspect(name, *LOOKS[name](at)) for name in names)

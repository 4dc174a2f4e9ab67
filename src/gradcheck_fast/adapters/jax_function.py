"""A JAX function of pytrees, with its derivatives, as functions of arrays of NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.tree_util import keystr, tree_flatten_with_path

from gradcheck_fast.adapters.jax_leaves import Leaves, explicit_x64_dtypes, float64, float64_where_asked_for
from gradcheck_fast.adapters.jax_loss import program_or_plain
from gradcheck_fast.frontends.jaxpr.jaxpr_loss import jaxpr_of
from gradcheck_fast.inputs.arrays import coarsest
from gradcheck_fast.inputs.complex_pairs import IMAG, REAL
from gradcheck_fast.losses.function_loss import python_loss

if TYPE_CHECKING:
    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.losses.tree_function import Products


class FunctionCase:
    """A function of pytrees with its arguments.

    All floating-point and complex numbers in these, and in what the function gives, are arrays here, one after another,
    of which a complex one is two.

    Parameters
    ----------
    function : callable
    inputs : tuple, or pytree
        The arguments; if it is no tuple, it is the only one.

    Attributes
    ----------
    leaves : Leaves
        The arrays in the arguments.
    arrays : list of ndarray
        These arrays in their own dtypes, which may be such as bfloat16.
    outputs : list of str
        The names of the arrays that the function gives.
    notes : tuple of str
        What is to be said of the way in which float64 is computed.

    Raises
    ------
    ValueError
        If there is no floating-point or complex number in the arguments, or in what the function gives.
    """

    def __init__(self, function: Callable[..., Any], inputs: Any) -> None:
        self._function = function
        self.leaves = Leaves(inputs if isinstance(inputs, tuple) else (inputs,), root="inputs", what="inputs")
        if not self.leaves.params:
            raise ValueError("inputs: expected arrays of floating-point or complex numbers, got none of them")
        self.arrays = self.leaves.own_arrays()
        self._doubles: Callable[[], AbstractContextManager[None]] = float64
        self.outputs: list[str] = []
        own = [np.asarray(part) for part in self.parts(*self.as_jax(self.arrays))]
        if not self.outputs:
            raise ValueError("function: it gives no floating-point or complex numbers")
        self.notes = self._choose_doubles(own)

    @property
    def eps(self) -> float:
        """The rounding of the coarsest array in the arguments."""
        return coarsest(self.leaves.precisions).eps

    def in_double(self, arrays: Sequence[Any]) -> AbstractContextManager[None]:
        """Gives the context in which to compute with these arrays: that for float64, if all are of it."""
        return self._doubles() if all(np.asarray(array).dtype == np.float64 for array in arrays) else nullcontext()

    def as_jax(self, arrays: Sequence[Any]) -> list[Any]:
        """Makes JAX's arrays of those in the place of the arguments'."""
        return list(self.leaves.as_jax(dict(zip(self.leaves.params, arrays, strict=True))).values())

    def parts(self, *arrays: Any) -> list[Any]:
        """Calls the function with JAX's arrays, traced or not, and gives the arrays in what it returns."""
        found = self._function(*self.leaves.tree(dict(zip(self.leaves.params, arrays, strict=True))))
        named = [(keystr(path).removeprefix("."), jnp.asarray(leaf)) for path, leaf in _arrays_in(found)]
        names, parts = [], []
        for name, leaf in named:
            if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
                names += [f"{name}.{REAL}".removeprefix("."), f"{name}.{IMAG}".removeprefix(".")]
                parts += [jnp.real(leaf), jnp.imag(leaf)]
            elif jnp.issubdtype(leaf.dtype, jnp.floating):
                names.append(name)
                parts.append(leaf)
        self.outputs = names
        return parts

    def forward(self, *arrays: Any) -> Any:
        """Gives an array, or a dict of arrays by their paths."""
        with self.in_double(arrays):
            found = [np.asarray(part) for part in self.parts(*self.as_jax(arrays))]
        return found[0] if self.outputs == [""] else dict(zip(self.outputs, found, strict=True))

    def backward(self, cotangents: Any, *arrays: Any) -> tuple[Any, ...]:
        """Finds, by `jax.vjp`, the gradients by all arrays."""
        given = [cotangents] if self.outputs == [""] else [cotangents[name] for name in self.outputs]
        with self.in_double(arrays):
            found, pull = jax.vjp(self.parts, *self.as_jax(arrays))
            gradients = pull([jnp.asarray(v, part.dtype) for v, part in zip(given, found, strict=True)])
            return tuple(map(np.asarray, gradients))

    def losses(
        self, options: Options, at: Packed, products: Products, names: Sequence[str]
    ) -> Callable[[str], Problem]:
        """Gives what makes the loss of a product with cotangents, traced by its jaxpr where that is possible."""

        def loss_of(name: str) -> Problem:
            product = products.loss(name)

            def value(arrays: dict[str, Any]) -> Any:
                terms = [
                    jnp.vdot(jnp.asarray(v, part.dtype), part)
                    for (own, v), part in zip(
                        products.cotangents.items(), self.parts(*(arrays[leaf] for leaf in at.shapes)), strict=True
                    )
                    if name in ("", own)
                ]
                return sum(terms[1:], start=terms[0])

            try:
                jaxpr = jaxpr_of(value, at, self._doubles)
            except Exception as error:
                jaxpr = error
            loss, held = program_or_plain(jaxpr, python_loss(product), product, at, self._doubles, options)
            loss.notes += held
            return loss

        return loss_of

    def _choose_doubles(self, own: list[Any]) -> tuple[str, ...]:
        """Chooses a way to compute in float64 that gives the same, but for rounding; see `ArrayLoss`."""
        if explicit_x64_dtypes is None or self._is_same(own):
            return ()
        self._doubles = float64_where_asked_for
        if self._is_same(own):
            return ("only the inputs are float64: where all is, the function draws other random numbers",)
        self._doubles = float64
        return ()

    def _is_same(self, own: list[Any]) -> bool:
        try:
            with self._doubles():
                found = self.parts(*self.as_jax([array.astype(np.float64) for array in self.arrays]))
        except Exception:  # it may compute in its own dtype only
            return True
        own = [np.asarray(part, np.float64) for part in own]
        allowed = self.eps**0.5 * max(float(np.abs(part).max(initial=0.0)) for part in own)
        return all(np.abs(np.asarray(a) - b).max(initial=0.0) <= allowed for a, b in zip(found, own, strict=True))


def _arrays_in(found: Any) -> list[tuple[Any, Any]]:
    """Gives the leaves of a pytree that are arrays or numbers, with their paths."""
    leaves = tree_flatten_with_path(found)[0]
    return [(path, leaf) for path, leaf in leaves if hasattr(leaf, "dtype") or isinstance(leaf, (float, complex))]

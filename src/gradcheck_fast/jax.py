"""Checks of JAX gradients of functions of pytrees: of ``jax.grad`` with its custom rules, or written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.tree_util import keystr, tree_flatten_with_path, tree_unflatten

from . import check
from .adapters import Arrays
from .arrays import require_float64
from .functions import python_loss
from .rounded import RoundedGradient

try:
    from jax import enable_x64
except ImportError:  # older versions
    from jax.experimental import enable_x64

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .check import Options
    from .report import Report


def gradcheck(
    loss: Callable[[Any], Any],
    params: Any,
    gradient: Any = None,
    **options: Unpack[Options],
) -> Report:
    """Checks the gradient of a JAX function of a pytree, entry by entry.

    The loss is evaluated in float64, under ``jax.enable_x64``, whatever the dtypes of `params`; the gradient in theirs.

    Parameters
    ----------
    loss : callable
        ``loss(params)`` gives one real number. It must compute in the dtypes that it is given.
    params : pytree
        Of arrays: dicts, lists, tuples, named tuples, registered dataclasses. What is not of floating-point numbers
        stays as it is, and is not checked.
    gradient : pytree or callable, optional
        A pytree like `params`, or a function of `params` that gives one. By default, ``jax.grad(loss)``: then the rules
        of `jax.custom_vjp` and `jax.custom_jvp` are what is checked.
    **options
        As for `gradcheck_fast.gradcheck`: method, step, rtol, atol, n_threads, progress, error_bars, executor,
        checkpoint, sample, seed.

    Returns
    -------
    Report
        Of the arrays by their paths, as `jax.tree_util.keystr` writes them: ``['dense'].weights[0]``.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    if not callable(loss):
        raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
    case = _Case(loss, params)
    if gradient is None:
        find = case.gradient
    elif callable(gradient):
        find = lambda arrays: case.by_name(gradient(case.tree(arrays)))
    else:
        find = lambda arrays: case.by_name(gradient)
    found = find(case.params)
    problem = RoundedGradient(python_loss(case.loss), found, lambda: enable_x64(True)(find)(case.params_in_double))
    return check.gradcheck(problem, found, case.params, **options)


class _Case:
    """A loss of a pytree as one of those of its arrays that are of floating-point numbers, by name."""

    def __init__(self, loss: Callable[[Any], Any], params: Any) -> None:
        self._loss = loss
        leaves, self._structure = tree_flatten_with_path(params)
        self._leaves = {keystr(path) or "params": leaf for path, leaf in leaves}
        arrays = {name: jnp.asarray(leaf) for name, leaf in self._leaves.items()}
        self.params = {name: np.asarray(a) for name, a in arrays.items() if jnp.issubdtype(a.dtype, jnp.floating)}
        self.params_in_double = {name: array.astype(np.float64) for name, array in self.params.items()}
        if not self.params:
            raise ValueError("params: expected a pytree with arrays of floating-point numbers, got none of them")

    def loss(self, arrays: Arrays) -> Any:
        """In float64."""
        with enable_x64(True):
            value = np.asarray(self._loss(self.tree(arrays)))
        if value.size != 1:
            raise TypeError(f"loss: expected it to give one real number, got the shape {value.shape}")
        require_float64("loss", value.dtype)
        return value.item()

    def gradient(self, arrays: Arrays) -> Arrays:
        """By ``jax.grad``."""
        found = jax.grad(lambda params: self._loss(self.tree(params)))({k: jnp.asarray(a) for k, a in arrays.items()})
        return {name: np.asarray(array) for name, array in found.items()}

    def tree(self, arrays: Arrays) -> Any:
        """The pytree, with these arrays as JAX's."""
        leaves = (jnp.asarray(arrays[name]) if name in arrays else leaf for name, leaf in self._leaves.items())
        return tree_unflatten(self._structure, leaves)

    def by_name(self, gradient: Any) -> Arrays:
        """Its arrays, but for those of the leaves that are not checked."""
        named = ((keystr(path) or "params", leaf) for path, leaf in tree_flatten_with_path(gradient)[0])
        return {name: np.asarray(leaf) for name, leaf in named if name in self.params or name not in self._leaves}

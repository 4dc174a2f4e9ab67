"""The arrays in pytrees of JAX by name, complex ones as pairs of real arrays, and the ways to compute in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.tree_util import keystr, tree_flatten_with_path, tree_unflatten

from gradcheck_fast.inputs.arrays import Precision
from gradcheck_fast.inputs.complex_pairs import IMAG, JAX, REAL

try:
    from jax import enable_x64
except ImportError:  # older versions
    from jax.experimental import enable_x64

try:  # float64 where it is asked for, float32 elsewhere; there is no public context for that yet
    from jax._src.config import explicit_x64_dtypes as explicit_x64_dtypes
except ImportError:  # older versions
    explicit_x64_dtypes = None

if TYPE_CHECKING:
    from gradcheck_fast.adapters.common import Arrays


@contextmanager
def float64() -> Iterator[None]:
    """Lets everything be computed in float64."""
    with enable_x64(True):
        yield


@contextmanager
def float64_where_asked_for() -> Iterator[None]:
    """Lets arrays of float64, and what is computed from them, be float64. What names no dtype is float32."""
    with enable_x64(False), explicit_x64_dtypes("allow"):
        yield


class Leaves:
    """The arrays of floating-point and complex numbers in a pytree, by name, and the pytree that others make.

    Parameters
    ----------
    tree : pytree
    root : str
        What the tree itself is called in names.
    alone : str
        What it is called if it is a single array.
    what : str
        What it is called in errors.

    Attributes
    ----------
    params : dict of ndarray
        The arrays. A complex one is two, whose names end in ``.real`` and ``.imag``.
    complex_names : tuple of str
        The names of the complex ones.
    """

    def __init__(self, tree: Any, root: str = "", alone: str = "params", what: str = "params") -> None:
        self._root, self._alone = root, alone
        leaves, self._structure = tree_flatten_with_path(tree)
        self._leaves = {self._name(path): leaf for path, leaf in leaves}
        arrays = {name: _as_array(what, name, leaf) for name, leaf in self._leaves.items()}
        known = {name: a for name, a in arrays.items() if a is not None and jnp.issubdtype(a.dtype, jnp.inexact)}
        self.complex_names = tuple(name for name, a in known.items() if jnp.issubdtype(a.dtype, jnp.complexfloating))
        self._own = self._pairs(known)
        self.params: Arrays = {name: as_numpy(array) for name, array in self._own.items()}

    @property
    def has_names_of_its_own(self) -> bool:
        """Whether all arrays are of dtypes that NumPy has."""
        return all(array.dtype == self.params[name].dtype for name, array in self._own.items())

    @property
    def precisions(self) -> list[Precision]:
        """The precision of each array."""
        return [_precision(array.dtype) for array in self._own.values()]

    def own_arrays(self) -> list[Any]:
        """Returns the arrays in their own dtypes, which may be such as bfloat16."""
        return [np.asarray(array) for array in self._own.values()]

    def tree(self, arrays: Arrays) -> Any:
        """Makes the pytree of these arrays, which become JAX's, and of the leaves that are not checked."""
        own = self.as_jax(arrays)
        for name in self.complex_names:
            own[name] = jax.lax.complex(own[f"{name}.{REAL}"], own[f"{name}.{IMAG}"])
        return tree_unflatten(self._structure, [own.get(name, leaf) for name, leaf in self._leaves.items()])

    def as_jax(self, arrays: Arrays) -> Arrays:
        """Makes JAX's arrays of these, of the same dtypes as far as JAX has them enabled."""
        return {
            name: jnp.asarray(x, self._own[name].dtype if x.dtype == self.params[name].dtype else x.dtype)
            for name, x in arrays.items()
        }

    def is_like(self, tree: Any) -> bool:
        """Whether a pytree has arrays where this one has them. Trees of equinox's modules can be called."""
        known = {*self.params, *self.complex_names}
        return any(path and self._name(path) in known for path, _ in tree_flatten_with_path(tree)[0])

    def derivatives(self, gradient: Any) -> Arrays:
        """Gives the derivatives by the arrays, by name, of a gradient with the conventions of JAX.

        Those by leaves that are not checked are left out.

        Raises
        ------
        TypeError
            If the gradient by a real array is complex.
        """
        named = {self._name(path): leaf for path, leaf in tree_flatten_with_path(gradient)[0]}
        found: Arrays = {}
        for name, leaf in named.items():
            if name in self.complex_names:
                pair = JAX.pair(np.asarray(leaf))
                found |= {f"{name}.{part}": x for part, x in zip((REAL, IMAG), pair, strict=True)}
            elif name in self.params or name not in self._leaves:
                if np.asarray(leaf).dtype.kind == "c":
                    raise TypeError(
                        f"gradient: {name}: expected real numbers, got {np.asarray(leaf).dtype}: is the real part "
                        "meant?"
                    )
                found[name] = as_numpy(leaf)
        return found

    def _name(self, path: Any) -> str:
        return self._root + keystr(path) or self._alone

    def _pairs(self, arrays: Arrays) -> Arrays:
        found: Arrays = {}
        for name, array in arrays.items():
            if name in self.complex_names:
                found |= {f"{name}.{REAL}": jnp.real(array), f"{name}.{IMAG}": jnp.imag(array)}
            else:
                found[name] = array
        return found


def _as_array(what: str, name: str, leaf: Any) -> Any:
    """Returns a leaf as an array; None if it is something else, such as an activation function.

    Raises
    ------
    TypeError
        If it is a dataclass, whose arrays JAX does not see.
    """
    if is_dataclass(leaf) and not isinstance(leaf, type):
        kind = type(leaf).__name__
        raise TypeError(
            f"{what}: {name} is a {kind}, which is no pytree of JAX's; jax.tree_util.register_dataclass({kind}) makes "
            "it one"
        )
    try:
        return jnp.asarray(leaf)
    except TypeError:
        return None


def as_numpy(array: Any) -> Any:
    """Returns an array of NumPy's; numbers of a dtype such as bfloat16, which NumPy does not have, are float32."""
    found = np.asarray(array)
    return found.astype(np.float32) if jnp.issubdtype(found.dtype, jnp.floating) and found.dtype.kind != "f" else found


def _precision(dtype: Any) -> Precision:
    info = jnp.finfo(dtype)
    return Precision(str(info.dtype), *(float(x) for x in (info.eps, info.tiny, info.smallest_subnormal)))

"""What a case is, and how mistakes are planted."""

from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """An operator with a backward pass at a point.

    Attributes
    ----------
    name : str
        What stands in the table.
    f : callable
        ``f(*inputs)`` gives one array.
    vjp : callable
        ``vjp(v, *inputs)`` gives a tuple with the gradient of ``<v, f(*inputs)>`` by each input.
    inputs : tuple of ndarray
    is_wrong : bool
        Whether `vjp` is wrong at the inputs.
    """

    name: str
    f: Any
    vjp: Any
    inputs: tuple[np.ndarray, ...]
    is_wrong: bool


def numbers(*shape, seed=0, size=1.0):
    """Normal random numbers."""
    return size * np.random.default_rng(seed).normal(size=shape)


def with_entry(vjp, entry, change):
    """The same backward pass but for one entry of the first gradient."""

    def changed(v, *inputs):
        first, *rest = vjp(v, *inputs)
        first = np.array(first)
        first[entry] = change(first[entry])
        return (first, *rest)

    return changed


def elementwise(f, slope):
    """An elementwise function of one array, and its backward pass."""
    return f, lambda v, x: (v * slope(x),)

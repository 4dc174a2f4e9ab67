"""Collects all primitives by name. Each family of steps has a file, in which each primitive is one record."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradcheck_fast.program.primitive import Primitive
from gradcheck_fast.program.steps import (
    affine,
    arithmetic,
    comparisons,
    costs,
    elementwise,
    fourier,
    functions,
    inverse_error_function,
    jumps,
    leaves,
    linear_algebra,
    movement,
    opaque,
    polygamma,
    powers,
    product,
    reduction,
    softmax,
    special,
)


def _by_name(*families: tuple[Primitive, ...]) -> Mapping[str, Primitive]:
    found: dict[str, Primitive] = {}
    for primitive in (primitive for family in families for primitive in family):
        if primitive.name in found:
            raise TypeError(f"two primitives are called {primitive.name!r}")
        found[primitive.name] = primitive
    return MappingProxyType(found)


#: All primitives, by name.
PRIMITIVES = _by_name(
    leaves.PRIMITIVES,
    movement.PRIMITIVES,
    affine.PRIMITIVES,
    elementwise.PRIMITIVES,
    softmax.PRIMITIVES,
    functions.PRIMITIVES,
    jumps.PRIMITIVES,
    special.PRIMITIVES,
    polygamma.PRIMITIVES,
    inverse_error_function.PRIMITIVES,
    arithmetic.PRIMITIVES,
    powers.PRIMITIVES,
    comparisons.PRIMITIVES,
    reduction.PRIMITIVES,
    product.PRIMITIVES,
    linear_algebra.PRIMITIVES,
    fourier.PRIMITIVES,
    opaque.PRIMITIVES,
    costs.PRIMITIVES,
)
#: The names of the functions of one number.
ENTRYWISE = tuple(primitive.name for primitive in elementwise.PRIMITIVES)
#: The names of what a layer can take as its activation.
ACTIVATIONS = (*ENTRYWISE, *(primitive.name for primitive in softmax.PRIMITIVES))

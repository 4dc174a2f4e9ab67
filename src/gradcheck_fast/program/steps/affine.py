"""Defines the affine step: sums of products with parameters, ``sum of x @ W + sum of x * w + sum of b + offset``.

The vectors w and b may have the shape (width,) or (1, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.program.primitive import Primitive, Shape, changes, linear_spread, require_inputs

if TYPE_CHECKING:
    from gradcheck_fast.program.primitive import Mask, Reals

#: The kinds of terms. A bias takes one input; the others take two, the step that is multiplied and the parameter.
BIAS, MATRIX, DIAGONAL = "bias", "matrix", "diagonal"


class Term(NamedTuple):
    """A summand of an affine step.

    Attributes
    ----------
    kind : str
        `BIAS`, `MATRIX` or `DIAGONAL`.
    multiplied : int or None
        Which input is multiplied; None for a bias.
    parameter : int
        Which input is the parameter.
    """

    kind: str
    multiplied: int | None
    parameter: int


@lru_cache
def terms_of(terms: tuple[str, ...]) -> tuple[Term, ...]:
    """Returns the terms of an affine step, whose attribute says of which kind each is."""
    found, at = [], 0
    for kind in terms:
        found.append(Term(kind, None, at) if kind == BIAS else Term(kind, at, at + 1))
        at += 1 if kind == BIAS else 2
    return tuple(found)


def _shape(shapes: Sequence[Shape], *, terms: tuple[str, ...], shape: Shape, offset: float) -> Shape:
    samples, width = shape
    require_inputs(shapes, sum(1 if kind == BIAS else 2 for kind in terms))
    for kind, multiplied, parameter in terms_of(terms):
        given = shapes[parameter]
        rows = given[0] if kind == MATRIX else width
        if given != (rows, width) if kind == MATRIX else given not in ((width,), (1, width)):
            raise ValueError(f"expected a {kind} of {width} columns, got the shape {given}")
        if multiplied is not None and shapes[multiplied] != (samples, rows):
            raise ValueError(f"a {kind} of shape {given} multiplies {(samples, rows)}, got {shapes[multiplied]}")
    return shape


def _value(x: Sequence[Reals], *, terms: tuple[str, ...], shape: Shape, offset: float) -> Reals:
    total = np.full(shape, offset)
    for kind, multiplied, parameter in terms_of(terms):
        w = x[parameter]
        if multiplied is None:
            total += w
        else:
            total += x[multiplied] @ w if kind == MATRIX else x[multiplied] * w
    return total


def _difference(
    x: Sequence[Reals], d: Sequence[Reals | None], *, terms: tuple[str, ...], shape: Shape, offset: float
) -> Reals:
    """Returns the exact difference; of a product it is (a + da)(W + dW) - a W = da (W + dW) + a dW."""
    full, total = changes(x, d), np.zeros(shape)
    for kind, multiplied, parameter in terms_of(terms):
        w, dw = x[parameter], full[parameter]
        if multiplied is None:
            total += dw
        elif kind == MATRIX:
            total += full[multiplied] @ (w + dw) + x[multiplied] @ dw
        else:
            total += full[multiplied] * (w + dw) + x[multiplied] * dw
    return total


def _back(x: Sequence[Reals], k: int, up: Reals, *, terms: tuple[str, ...], shape: Shape, offset: float) -> Reals:
    """Applies the transpose of the map from input k to the output, such as a -> a W or W -> a W.

    A vector is used by every sample, so what goes back to it is summed over the samples.
    """
    for kind, multiplied, parameter in terms_of(terms):
        w = x[parameter]
        if k == multiplied:
            return np.asarray(up @ w.T if kind == MATRIX else up * w)
        if k == parameter:
            if kind == MATRIX:
                return np.asarray(x[parameter - 1].T @ up)  # what is multiplied stands before
            summed = (up if multiplied is None else x[multiplied] * up).sum(axis=0)
            return np.asarray(summed.reshape(w.shape))
    raise IndexError(f"an affine step of {len(x)} inputs has no input {k}")


def _reach(masks: Sequence[Mask], *, terms: tuple[str, ...], shape: Shape, offset: float) -> Mask:
    reached = np.zeros(shape, np.bool_)
    for kind, multiplied, parameter in terms_of(terms):
        reached |= masks[parameter].any(axis=0) if kind == MATRIX else masks[parameter]
        if multiplied is not None:
            of = masks[multiplied]
            reached |= of.any(axis=1, keepdims=True) if kind == MATRIX else of
    return reached


def _work(shapes: Sequence[Shape], *, terms: tuple[str, ...], shape: Shape, offset: float) -> float:
    return 2.0 * shape[0] * float(sum(np.prod(shapes[term.parameter]) for term in terms_of(terms)))


def _smooth(x: Sequence[Reals], *, shape: Shape, **attributes: Any) -> Reals:
    return np.empty((0, *shape))


#: The affine step. Its attributes are terms (the kind of each), shape, and offset (a number that is added).
AFFINE = Primitive(
    "affine", "{0} @ W", _shape, _value, _difference, _back, _reach, _smooth, linear_spread(_back), _work
)

PRIMITIVES = (AFFINE,)

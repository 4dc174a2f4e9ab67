"""Products of traced arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.reductions import axes_of
from gradcheck_fast.frontends.numpy_trace.registry import implements

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


def numbers_of(recording: Recording, *values: Any) -> list[Any]:
    """Returns anything that NumPy takes for arrays as traced arrays of numbers."""
    return [recording.as_numbers(recording.traced(value)) for value in values]


@implements(np.dot)
def dot(recording: Recording, a: Any, b: Any, out: Any = None) -> Any:
    """``np.dot``: over the last axis of a and the last but one of b."""
    x, y = numbers_of(recording, a, b)
    if not x.ndim or not y.ndim:
        result = x * y
    elif y.ndim <= 2:
        result = x @ y
    else:
        result = tensordot(recording, x, y, ((x.ndim - 1,), (y.ndim - 2,)))
    return recording.into(out, result)


@implements(np.inner)
def inner(recording: Recording, a: Any, b: Any) -> Any:
    """``np.inner``."""
    x, y = numbers_of(recording, a, b)
    return x * y if not x.ndim or not y.ndim else tensordot(recording, x, y, ((x.ndim - 1,), (y.ndim - 1,)))


@implements(np.vdot)
def vdot(recording: Recording, a: Any, b: Any) -> Any:
    """``np.vdot``."""
    x, y = numbers_of(recording, a, b)
    return np.ravel(x) @ np.ravel(y)


@implements(np.outer, getattr(np.linalg, "outer", None))
def outer(recording: Recording, a: Any, b: Any, out: Any = None) -> Any:
    """``np.outer``."""
    x, y = numbers_of(recording, a, b)
    return recording.into(out, np.ravel(x)[:, np.newaxis] * np.ravel(y))


@implements(np.tensordot, getattr(np.linalg, "tensordot", None))
def tensordot(recording: Recording, a: Any, b: Any, axes: Any = 2) -> Any:
    """``np.tensordot``."""
    x, y = numbers_of(recording, a, b)
    if isinstance(axes, (int, np.integer)):
        first, second = tuple(range(x.ndim - axes, x.ndim)), tuple(range(axes))
    else:
        first, second = (axes_of(part, given) for part, given in zip((x, y), axes, strict=True))
    left = [k for k in range(x.ndim) if k not in first]
    right = [k for k in range(y.ndim) if k not in second]
    inside = math.prod(x.shape[k] for k in first)
    rows = np.transpose(x, [*left, *first]).reshape(-1, inside)
    columns = np.transpose(y, [*second, *right]).reshape(inside, -1)
    return (rows @ columns).reshape([x.shape[k] for k in left] + [y.shape[k] for k in right])


@implements(np.kron)
def kron(recording: Recording, a: Any, b: Any) -> Any:
    """``np.kron``."""
    x, y = numbers_of(recording, a, b)
    axes = max(x.ndim, y.ndim)
    x, y = (part.reshape((1,) * (axes - part.ndim) + part.shape) for part in (x, y))
    product = x.reshape([n for pair in zip(x.shape, (1,) * axes, strict=True) for n in pair]) * y.reshape(
        [n for pair in zip((1,) * axes, y.shape, strict=True) for n in pair]
    )
    return product.reshape([m * n for m, n in zip(x.shape, y.shape, strict=True)])


@implements(np.cross, getattr(np.linalg, "cross", None))
def cross(
    recording: Recording, a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None
) -> Any:
    """``np.cross`` of vectors in three dimensions."""
    x, y = numbers_of(recording, a, b)
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = np.moveaxis(x, axisa, -1), np.moveaxis(y, axisb, -1)
    if x.shape[-1] != 3 or y.shape[-1] != 3:
        return recording.opaque(np.cross, (a, b), {})
    following, before = [1, 2, 0], [2, 0, 1]
    found = x[..., following] * y[..., before] - x[..., before] * y[..., following]
    return np.moveaxis(found, -1, axisc)


@implements(np.trace)
def trace(
    recording: Recording, a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None
) -> Any:
    """``np.trace``."""
    return recording.into(out, np.sum(np.diagonal(recording.traced(a), offset, axis1, axis2), axis=-1))


@implements(np.einsum)
def einsum(recording: Recording, *operands: Any, **kwargs: Any) -> Any:
    """``np.einsum``: two operands after the other, each pair as one batched product of matrices."""
    if not isinstance(operands[0], str):
        operands = tuple(_with_letters(operands))
    formula, arrays = operands[0].replace(" ", ""), numbers_of(recording, *operands[1:])
    left, _, output = formula.partition("->")
    inputs = left.split(",")
    if "..." in formula:
        inputs, output = _without_dots(inputs, output if "->" in formula else None, arrays)
    elif "->" not in formula:
        output = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    terms = [_diagonals(labels, array) for labels, array in zip(inputs, arrays, strict=True)]
    while len(terms) > 1:
        (a, x), (b, y), *rest = terms
        kept = set(output).union(*(labels for labels, _ in rest))
        terms = [_pair(a, x, b, y, kept), *rest]
    ((labels, found),) = terms
    summed = tuple(k for k, label in enumerate(labels) if label not in output)
    if summed:
        found = np.sum(found, axis=summed)
        labels = "".join(label for label in labels if label in output)
    return recording.into(kwargs.get("out"), np.transpose(found, [labels.index(label) for label in output]))


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _with_letters(operands: Sequence[Any]) -> Sequence[Any]:
    """Returns operands that are each followed by the numbers of their axes with these as a formula."""
    pairs, output = operands[: len(operands) // 2 * 2], operands[len(operands) // 2 * 2 :]

    def letters(numbers: Any) -> str:
        return "".join("..." if number is Ellipsis else _LETTERS[number] for number in numbers)

    formula = ",".join(map(letters, pairs[1::2])) + "".join(f"->{letters(numbers)}" for numbers in output)
    return (formula, *pairs[::2])


def _without_dots(inputs: Sequence[str], output: str | None, arrays: Sequence[Any]) -> tuple[list[str], str]:
    free = [c for c in _LETTERS if not any(c in part for part in inputs)]
    most = max(x.ndim - len(part.replace("...", "")) for part, x in zip(inputs, arrays, strict=True) if "..." in part)
    dots = free[:most]
    found = []
    for part, x in zip(inputs, arrays, strict=True):
        count = x.ndim - len(part.replace("...", ""))
        found.append(part.replace("...", "".join(dots[most - count :])))
    if output is None:
        letters = "".join(inputs).replace(".", "")
        output = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return found, output.replace("...", "".join(dots))


def _diagonals(labels: str, x: Any) -> tuple[str, Any]:
    """Takes the diagonal of axes with the same label."""
    for label in sorted(set(labels)):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = np.diagonal(x, 0, first, second)
            labels = "".join(c for k, c in enumerate(labels) if k not in (first, second)) + label
    return labels, x


def _pair(a: str, x: Any, b: str, y: Any, kept: set[str]) -> tuple[str, Any]:
    for only, other in ((0, b), (1, a)):  # a label that nothing else has is summed first
        labels, part = ((a, x), (b, y))[only]
        alone = tuple(k for k, c in enumerate(labels) if c not in other and c not in kept)
        if alone:
            part = np.sum(part, axis=alone)
            labels = "".join(c for k, c in enumerate(labels) if k not in alone)
        if only == 0:
            a, x = labels, part
        else:
            b, y = labels, part
    batch = [c for c in a if c in b and c in kept]
    inside = [c for c in a if c in b and c not in kept]
    left, right = [c for c in a if c not in b], [c for c in b if c not in a]
    size: dict[str, int] = {}
    for labels, part in ((a, x), (b, y)):
        for c, n in zip(labels, part.shape, strict=True):
            size[c] = max(size.get(c, 1), n)

    def lengths(labels: Sequence[str]) -> list[int]:
        return [size[c] for c in labels]

    def ordered(labels: str, part: Any, first: list[str], second: list[str]) -> Any:
        part = np.transpose(part, [labels.index(c) for c in (*batch, *first, *second)])
        part = np.broadcast_to(part, lengths([*batch, *first, *second]))  # axes of length 1 stretch, as in einsum
        return part.reshape([*lengths(batch), math.prod(lengths(first)), math.prod(lengths(second))])

    if not inside:  # no sum: entry by entry
        product = np.multiply(
            np.transpose(x, [a.index(c) for c in (*batch, *left)]).reshape(
                [*(x.shape[a.index(c)] for c in batch), *(x.shape[a.index(c)] for c in left), *(1 for _ in right)]
            ),
            np.transpose(y, [b.index(c) for c in (*batch, *right)]).reshape(
                [*(y.shape[b.index(c)] for c in batch), *(1 for _ in left), *(y.shape[b.index(c)] for c in right)]
            ),
        )
        return "".join((*batch, *left, *right)), product
    product = ordered(a, x, left, inside) @ ordered(b, y, inside, right)
    return "".join((*batch, *left, *right)), product.reshape(lengths([*batch, *left, *right]))

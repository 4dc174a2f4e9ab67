"""Reads the user's own deltas, and says which variables their names may belong to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.numpy_trace.variables import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Program

#: What a name of a delta consists of besides the name of the variable. Each is tried in turn.
_SPELLINGS = (
    r"d[LJECl]_?d_?(.+)",
    r"d(?:loss|cost)_?d?_?(.+)",
    r"grad(?:ient)?s?_?(?:of_|wrt_)?(.+)",
    r"deltas?_?(.+)",
    r"d_?(.+)",
    r"g_?(.+)",
    r"(.+?)(?:_grad|_gradient|_delta|_bar|_error|\.grad)",
    r"(.+)",
)
#: The names of variables that a delta with a number only, as ``delta2``, may belong to.
_NUMBERED = ("z", "net", "u", "s", "a", "h", "o", "x")


def array_of(name: object, given: Any) -> NDArray[np.floating[Any]]:
    """Reads one of the user's intermediates.

    Raises
    ------
    TypeError
        If its name is no string, or it is no array of real numbers.
    """
    if not isinstance(name, str):
        raise TypeError(f"intermediates: expected names as keys, such as 'dz1', got {name!r}")
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise TypeError
        return array if array.dtype.kind == "f" else array.astype(np.float64)
    except (TypeError, ValueError):
        expected = "an array of real numbers, or a list of arrays of one shape"
        raise TypeError(f"intermediates[{name!r}]: expected {expected}, got {type(given).__name__}") from None


def stems(name: str) -> Iterator[str]:
    """Yields the variables that a delta may be named after: ``dz1``, ``grad_z1`` and ``delta1`` are all that of z1."""
    base = name.rsplit(".", 1)[-1] if not name.endswith(".grad") else name
    for spelling in _SPELLINGS:
        found = re.fullmatch(spelling, base)
        if found:
            stem = found[1]
            if stem.isdigit():
                yield from (f"{letter}{stem}" for letter in _NUMBERED)
            else:
                yield stem


def layers_variables(program: Program) -> dict[int, tuple[Variable, ...]]:
    """Names the steps of a described network: ``z2`` is what layer 2 gives to its activation, ``a2`` what it gives."""
    found: dict[int, list[Variable]] = {}
    readers: dict[int, set[str]] = {}
    for step in program.steps:
        for source in step.inputs:
            readers.setdefault(source, set()).add(step.source.name)
    for number, step in enumerate(program.steps):
        layer = re.match(r"layer (\d+)", step.source.name)
        if layer is None:
            continue
        if step.name == "affine":
            found.setdefault(number, []).append(Variable(f"z{layer[1]}", step.source))
        if readers.get(number, {""}) != {step.source.name}:
            found.setdefault(number, []).append(Variable(f"a{layer[1]}", step.source))
    return {number: tuple(variables) for number, variables in found.items()}

"""Recognises what steps compute together, such as a sigmoid that is written as 1 / (1 + exp(-z)), by their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.program.steps import ENTRYWISE, PRIMITIVES

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Reals

#: Two values are the same if they differ by less than this part of the largest.
SAME = 1e-9
#: So many numbers, of which no two are the same, must be the same before a function is recognised by them.
_ENOUGH = 3


class Entrywise(NamedTuple):
    """Steps that compute a function of single numbers.

    Attributes
    ----------
    bottom, top : int
        The step that the function is of, and the step that is its value.
    name : str
        The name of the function, such as "sigmoid"; "" if it is none that is known.
    """

    bottom: int
    top: int
    name: str


def same(a: Reals, b: Reals) -> bool:
    """Whether two arrays have the same shape, and the same values to rounding."""
    if np.shape(a) != np.shape(b):
        return False
    with np.errstate(all="ignore"):
        size = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
        return bool(np.abs(np.subtract(a, b)).max(initial=0.0) <= SAME * size)


def origins(backward: Backward) -> dict[int, int]:
    """Returns for each step the step that it is a function of, number by number; for most that is the step itself.

    A step that acts entry by entry has the origin of its inputs, if they have the same one and its shape.
    """
    found: dict[int, int] = {}
    for number in sorted(backward.bars):
        inner = {source for _, source in backward.inner(number)}
        roots = {found.get(source, source) for source in inner}
        if backward.is_entrywise(number) and len(roots) == 1:
            (root,) = roots
            shape = np.shape(backward.values[number])
            # a constant that varies from entry to entry makes a function of one number of it no longer
            others = [x for k, x in enumerate(backward.x(number)) if backward.steps[number].inputs[k] not in inner]
            if np.shape(backward.values[root]) == shape and all(np.size(x) == 1 for x in others):
                found[number] = root
                continue
        found[number] = number
    return found


def entrywise(backward: Backward) -> Iterator[Entrywise]:
    """Yields the functions of single numbers that a program computes, the largest first for each origin.

    A part of one is yielded, too, if its value is that of a function that is known, or if it is read elsewhere.
    """
    origin = origins(backward)
    members: dict[int, list[int]] = {}
    for number, root in origin.items():
        if number != root:
            members.setdefault(root, []).append(number)
    for root, inside in members.items():
        for top in reversed(inside):
            readers = [reader for reader, _ in backward.readers.get(top, ())]
            is_read_outside = not readers or any(origin.get(reader) != root for reader in readers)
            bottoms = [root] + [n for n in inside if backward.above[top] >> n & 1 and n != top]
            names = [(bottom, name_of(backward.values[bottom], backward.values[top])) for bottom in bottoms]
            known = [(bottom, name) for bottom, name in names if name]
            single = backward.steps[top].inputs[0] if len(backward.steps[top].inputs) == 1 else None
            for bottom, name in known:
                yield Entrywise(bottom, top, name)
            if is_read_outside and not any(bottom == root for bottom, _ in known):
                yield Entrywise(root, top, "")
            if single is not None and backward.steps[top].name in ENTRYWISE and single not in dict(known):
                yield Entrywise(single, top, backward.steps[top].name)


def name_of(z: Reals, a: Reals) -> str:
    """Returns the name of the function that gives a from z, by their values; "" if it is none of those that are known.

    Nothing is recognised by so few numbers that it may be chance.
    """
    if np.unique(z).size < _ENOUGH or np.unique(a).size < 2:
        return ""
    for name, function in _FUNCTIONS.items():
        with np.errstate(all="ignore"):
            if same(function(z), a):
                return name
    return ""


#: The functions that are recognised. Where the numbers do not tell two apart, the first is named.
_FUNCTIONS: Mapping[str, Callable[[Reals], Reals]] = {
    name: (lambda z, value=PRIMITIVES[name].value: value([np.asarray(z)])) for name in ENTRYWISE
}

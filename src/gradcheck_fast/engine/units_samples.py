"""Finds which part of the cost each entry of each step changes, from the cost back to the parameters.

The cost is a sum of parts, such as one for each sample. The rule `reach` of a primitive says which entries of the
output an entry of an input reaches. Read backwards, it says which parts of the cost that entry reaches: all that these
entries of the output reach. Where each entry of a step reaches one part at most, no step after it mixes samples.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.engine.entries_places import Book
from gradcheck_fast.engine.entries_rules import MOVEMENT, OF_MATRICES, REDUCTIONS, RUNNING, SUMS
from gradcheck_fast.engine.entries_step import BoundStep
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.program.primitive import same_entry
from gradcheck_fast.program.steps import PRIMITIVES
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Program

    Index: TypeAlias = NDArray[np.intp]

#: What stands in place of a part where none is reached.
NONE = int(np.iinfo(np.intp).max)
#: The primitives that act on each place by itself; inputs are broadcast.
ENTRYWISE = frozenset(name for name, each in PRIMITIVES.items() if each.reach is same_entry or name == "where")
#: The primitives of which it is known what an entry of an input reaches.
KNOWN = ENTRYWISE.union(
    MOVEMENT, SUMS, REDUCTIONS, RUNNING, OF_MATRICES, ("reshape", "max", "min", "softmax", "matmul")
)


class Reached(NamedTuple):
    """Which parts of the cost are reached.

    Attributes
    ----------
    apart : dict of int to ndarray of int
        The part that each entry reaches, as a flat array, for all steps of which no entry reaches two and that are a
        parameter or depend on one; `NONE` where no part is reached.
    spread : list of (int, int)
        The steps among these that let an entry of an input reach several parts, each with the number of the input's
        step.
    """

    apart: dict[int, Index]
    spread: list[tuple[int, int]]


def parts_reached(program: Program, count: int) -> Reached:
    """Finds which parts of the cost the entries of all steps reach.

    Parameters
    ----------
    program : Program
        The entries of each of its cost steps, in C order, are so many parts of one length.
    count : int
        The number of parts. It divides the number of entries of each cost step.
    """
    depends, isa = on_parameters(program), instruction_set()
    ends: dict[int, list[Index]] = {}  # the least part that is reached, and the largest one, negated
    for number in program.costs:
        size = math.prod(program.steps[number].shape)
        part = np.arange(size, dtype=np.intp) * count // max(size, 1)
        ends[number] = [part, -part]
    found = Reached({}, [])
    for number in reversed(program.needed):
        if number not in depends:
            continue
        own = ends.pop(number)
        if _is_one(*own):
            found.apart[number] = own[0]
        step = program.steps[number]
        shapes = [program.steps[k].shape for k in step.inputs]
        bound = BoundStep(step, [np.broadcast_to(0.0, shape) for shape in shapes], Book(), isa, False)
        for k, source in enumerate(step.inputs):
            if source in depends:
                back = [least_reached(bound, k, each) for each in own]
                if number in found.apart and not _is_one(*back):
                    found.spread.append((number, source))
                before = ends.get(source, back)
                ends[source] = [np.minimum(*pair) for pair in zip(before, back, strict=True)]
    return found


def _is_one(least: Index, largest: Index) -> bool:
    """Whether no entry reaches several parts, by the least and the largest one, which is negated."""
    return bool(((least == -largest) | (least == NONE)).all())


def least_reached(step: BoundStep, k: int, out: Index) -> Index:
    """Returns the least number of the entries of the output that each entry of input k reaches.

    Of a primitive that is not among `KNOWN`, each entry counts as reaching the whole output.

    Parameters
    ----------
    step : BoundStep
        Of its inputs only the shapes are used.
    k : int
    out : ndarray of int
        The number of each entry of the output, as a flat array.

    Returns
    -------
    ndarray of int
        A flat array; `NONE` where an entry reaches nothing.
    """
    shape = step.shapes[k]
    if step.name in ENTRYWISE:
        return _broadcast_back(out.reshape(step.shape), shape).ravel()
    if step.name == "reshape":
        return out
    if step.name in MOVEMENT:
        sizes = [math.prod(each) for each in step.shapes]
        found = np.full(sum(sizes), NONE)
        np.minimum.at(found, step.origins, out)
        return found[sum(sizes[:k]) :][: sizes[k]]
    if step.name in (*SUMS, *REDUCTIONS, "max", "min"):
        return out[step.targets]
    if step.name in (*RUNNING, "softmax"):
        found = np.full(math.prod(shape), NONE)
        found[step.table] = out[step.table].min(axis=1, keepdims=True, initial=NONE)
        return found
    if step.name in OF_MATRICES:
        of_each = out.reshape(*shape[:-2], -1).min(axis=-1, initial=NONE)
        return np.broadcast_to(of_each[..., np.newaxis, np.newaxis], shape).ravel()
    if step.name == "matmul":
        return _matmul_back(step, k, out).ravel()
    return np.full(math.prod(shape), out.min(initial=NONE))


def _broadcast_back(out: Index, shape: tuple[int, ...]) -> Index:
    """Returns the least numbers along the axes along which an array of this shape was broadcast."""
    new = out.ndim - len(shape)
    repeated = tuple(new + k for k, extent in enumerate(shape) if extent == 1)
    found: Index = out.min(axis=(*range(new), *repeated), keepdims=True, initial=NONE).reshape(shape)
    return found


def _matmul_back(step: BoundStep, k: int, out: Index) -> Index:
    """Finds what a row of the left factor reaches, which is a row of the product, or a column of the right factor."""
    a, b = step.shapes
    shapes = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    batch = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    matrices = out.reshape(*batch, shapes[0][-2], shapes[1][-1])
    lines = matrices.min(axis=-2 if k else -1, keepdims=True, initial=NONE)
    kept = (*shapes[k][:-2], *lines.shape[-2:])
    return np.broadcast_to(_broadcast_back(lines, kept), shapes[k])

"""Finds what is read from where: slices, transposes, windows, rows of a table, each as a map of places.

Slices, transposes, reshapes and lookups only move numbers. A row of such steps is one map, from each entry of the last
of them, the *top*, to the entry of an earlier step, the *base*, that it is a copy of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.mutants import block, merged
from gradcheck_fast.diagnosis.graph.places import Place
from gradcheck_fast.program.steps.movement import GATHER, RESHAPE, SLICE, STRIDED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import View

    Index: TypeAlias = NDArray[np.int64]

MOVEMENTS = frozenset(primitive.name for primitive in (GATHER, RESHAPE, SLICE, STRIDED))
#: The steps that multiply what they read by something else, such as a kernel.
PRODUCTS = ("matmul", "multiply")
#: A row of steps between a top and its base has at most so many.
_MOST_BETWEEN = 512
#: So many rows of steps are looked at, at most, from a top to bases further and further below.
_MOST_BASES = 6


class Read(NamedTuple):
    """What a step reads of an earlier step.

    Attributes
    ----------
    top, base : int
        The step that is read from, and the step that holds the numbers read.
    places : ndarray of int64, of the shape of the top
        The places in the base, in C order; -1 where an entry is a constant, such as the border of padding.
    first : int
        The step nearest to the base: the first that reads it.
    size : int
        How many entries the base has.
    """

    top: int
    base: int
    places: Index
    first: int
    size: int

    @property
    def is_moved(self) -> bool:
        """Whether each entry of the base is read just once."""
        if not 1 < self.places.size == self.size:
            return False
        return bool((np.sort(self.places, axis=None) == np.arange(self.size)).all())

    @property
    def is_kept(self) -> bool:
        """Whether the top has all entries of the base in the same order."""
        return self.places.size == self.size and bool((self.places.ravel() == np.arange(self.size)).all())


def reads(backward: Backward, top: int) -> Iterator[Read]:
    """Yields what a step that moves numbers reads, from the nearest base to the one furthest below.

    All entries of the top that depend on parameters come from that base.
    """
    if backward.steps[top].name not in MOVEMENTS:
        return
    between, frontier = [top], {source for _, source in backward.inner(top)}
    for _ in range(_MOST_BASES):
        while len(frontier) > 1:
            last = max(frontier)
            if backward.steps[last].name not in MOVEMENTS or len(between) > _MOST_BETWEEN:
                return
            frontier.remove(last)
            between.append(last)
            frontier |= {source for _, source in backward.inner(last)}
        if not frontier:
            return
        (base,) = frontier
        size = math.prod(backward.steps[base].shape)
        yield Read(top, base, _index(backward, between, base), between[-1], size)
        if backward.steps[base].name not in MOVEMENTS:
            return
        between.append(base)
        frontier = {source for _, source in backward.inner(base)}


def _index(backward: Backward, between: Sequence[int], base: int) -> Index:
    """Returns the map from the entries of a step to those of its base: places are moved as the numbers are."""
    shape = backward.steps[base].shape
    found = {base: np.arange(math.prod(shape), dtype=np.int64).reshape(shape)}
    for number in reversed(between):
        step = backward.steps[number]
        inputs = [found[k] if k in found else np.full(backward.steps[k].shape, -1) for k in step.inputs]
        found[number] = np.asarray(step.primitive.value(inputs, **step.attributes))
    return found[between[0]]


def rows_of_reads(view: View) -> Iterator[tuple[Place, list[Read]]]:
    """Yields for each place at which numbers are moved what its steps read: from the nearest base, then from others.

    The place is that of the steps that read the base, which may lie in another line than the tops.
    """
    backward, places = view.backward, view.by_step
    tops = [number for number in backward.bars if backward.steps[number].name in MOVEMENTS]
    known = {top: list(reads(backward, top)) for top in tops}
    steps, seen = backward.steps, set()
    is_last = {
        top for top in tops if any(steps[reader].name not in MOVEMENTS for reader, _ in backward.readers.get(top, ()))
    }
    for group in (*(place.steps for place in view.places_of(tops)), *_alike(view, known)):
        for depth in range(max(len(known[top]) for top in group)):
            of_depth = [known[top][depth] for top in group if len(known[top]) > depth]
            alike: dict[object, list[Read]] = {}
            for read in of_depth if depth == 0 else (read for read in of_depth if read.top in is_last):
                kind = steps[read.first].source[1:3], steps[read.base].source[1:3], view.name_of(read.base)
                alike.setdefault(kind, []).append(read)
            for found in alike.values():
                key = tuple((read.top, read.base) for read in found)
                if key not in seen:
                    seen.add(key)
                    yield places.place(tuple(dict.fromkeys(read.first for read in found))), found


def _alike(view: View, known: Mapping[int, Sequence[Read]]) -> Iterator[list[int]]:
    """Yields the tops that read one array of parameters alike, in all lines or in each, and those of one instruction.

    A part that was read before is not read again, so that one turn of a loop may read what another line of it read, and
    the first turn may take more steps than others.
    """
    steps = view.backward.steps
    everywhere: dict[object, list[int]] = {}
    of_line: dict[object, list[int]] = {}
    of_place: dict[object, list[int]] = {}
    for top, (nearest, *_) in ((top, found) for top, found in known.items() if found):
        kind = steps[top].name, view.name_of(nearest.base)
        of_place.setdefault((steps[top].source[1:4], kind), []).append(top)
        of_place.setdefault((steps[top].source, steps[top].shape, kind), []).append(top)
        if view.name_of(nearest.base):
            array = (nearest.base, steps[top].name, steps[top].shape)
            everywhere.setdefault(array, []).append(top)
            of_line.setdefault((array, steps[top].source[1:3]), []).append(top)
    yield from everywhere.values()
    yield from of_line.values()
    yield from (found for found in of_place.values() if len(found) > 1)


def put_back(places: Index, values: Reals, like: Reals) -> Reals:
    """Adds each value to the place that it comes from, in an array of the shape of `like`; places below 0 are none."""
    is_place = places >= 0
    if not is_place.all():
        places, values = places[is_place], values[is_place]
    found = np.bincount(places.ravel(), values.ravel(), like.size)
    return found.astype(np.float64, copy=False).reshape(like.shape)  # without any places it is of integers


def put_at(backward: Backward, found: Iterable[Read], places: Mapping[int, Index]) -> Change:
    """Makes the change in which what goes back from each top is put at other places in its base."""
    return back(backward, found, lambda read, up: put_back(places[read.top], up, backward.values[read.base]))


def back(backward: Backward, found: Iterable[Read], rule: Callable[[Read, Reals], Reals]) -> Change:
    """Makes the change of what goes back from the tops to their bases; `rule(read, up)` returns it for one top."""
    return merged(block(read.top, read.base, _ruled(rule, read)) for read in found)


def _ruled(rule: Callable[[Read, Reals], Reals], read: Read) -> Callable[[Bars, Reals], Reals]:
    return lambda bars, up: rule(read, up)


def with_other(backward: Backward, number: int, k: int, other: Reals) -> EdgeRule:
    """Makes the rule of what goes back from a product to its input k if the other factor is another array."""
    step = backward.steps[number]

    def rule(bars: object, up: Reals) -> Reals:
        x = backward.x(number)
        x[1 - k] = other
        return np.asarray(step.primitive.back(x, k, up, **step.attributes))

    return rule

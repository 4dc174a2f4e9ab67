"""All that rightly comes up on the way back through a program, so that arrays of the user's are recognised by values.

An array is recognised up to one factor (deltas that are not yet divided by the number of samples, for example), and in
any order of its axes; see `lookup`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.lookup import SAME, Lookup, factor_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward

    Reals = NDArray[np.float64]

#: So many arrays are kept, with all slices.
_MOST = 60_000
#: An array is cut into slices along an axis that has no more places than this.
_MOST_SLICES = 256
#: An array is compared with so many others, at most.
_MOST_LOOKED_AT = 64
#: What goes back to a step from all but one of those that read it is known if they are no more than these.
_MOST_READERS = 12
#: Of arrays of no more axes than these, the stack of a family is known.
_MOST_AXES = 3
#: What an array is recognised as, the likeliest first.
_KINDS = ("bar", "value", "slope", "flow")


class KnownArray(NamedTuple):
    """An array that rightly comes up.

    Attributes
    ----------
    kind : {"bar", "flow", "value", "slope"}
        The sensitivity of a step; what goes back to it from some of the steps that read it; its value; or the slope of
        an entrywise step by one of its inputs.
    step : int
        The number of that step.
    edges : tuple of (int, int)
        For a flow, the steps that read it, with the numbers of their inputs; for a slope, the step and its input.
    array : ndarray
    family : object
        The same for what one instruction gives again and again, as in a loop.
    order : int
        The place in the family.
    place : tuple of (int, int) or None
        For a slice, the axis along which it was cut, and where; for a stack of a whole family, (-1, 0).
    """

    kind: str
    step: int
    edges: tuple[tuple[int, int], ...]
    array: Reals
    family: object
    order: int
    place: tuple[int, int] | None = None


class Match(NamedTuple):
    """An array that was recognised: it is `factor` times the known one."""

    known: KnownArray
    factor: float

    @property
    def is_exact(self) -> bool:
        """Whether the factor is 1."""
        return abs(self.factor - 1.0) <= SAME


class KnownArrays:
    """The arrays that rightly come up on the way back through a program.

    Parameters
    ----------
    backward : Backward
    sizes : collection of int, optional
        The numbers of entries of the arrays that will be looked up; without them, any.
    """

    def __init__(self, backward: Backward, sizes: Collection[int] | None = None) -> None:
        self._backward, self._sizes = backward, None if sizes is None else frozenset(sizes)
        self._lookup = Lookup[KnownArray]()
        self._families: dict[object, list[KnownArray]] = {}
        self._wanted: dict[tuple[int, ...], bool] = {}
        self._count = 0
        #: So many pairs of arrays have been compared number by number.
        self.compared = 0
        with np.errstate(all="ignore"):
            whole = list(self._whole())
            for known in whole:
                self._add(known)
            for known in whole:
                self._add_slices(known)
            for members in list(self._families.values()):
                self._add_stack(members)

    # ---- what there is

    def of_size(self, size: int) -> list[KnownArray]:
        """Returns the known arrays with so many entries, without those that are not finite."""
        return self._lookup.of_size(size)

    def family(self, known: KnownArray) -> list[KnownArray]:
        """Returns the arrays of the same family, in their order."""
        return [member for member in self._families[known.family] if np.isfinite(member.array).all()]

    def _add(self, known: KnownArray) -> None:
        if self._count < _MOST and known.array.size:
            self._count += 1
            self._lookup.add(known.array, known)
            self._families.setdefault(known.family, []).append(known)

    def _is_wanted(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of a shape, or a slice of it, may be looked up."""
        if shape not in self._wanted:
            size = prod(shape)
            found = (size, *(size // length for length in shape if 1 < length <= _MOST_SLICES))
            self._wanted[shape] = self._sizes is None or not self._sizes.isdisjoint(found)
        return self._wanted[shape]

    def _whole(self) -> Iterator[KnownArray]:
        backward = self._backward
        steps, seen = backward.steps, dict[object, int]()
        names: dict[int, object] = {}
        last: object = None
        for number, step in enumerate(steps):
            seen = seen if step.source == last else {}
            count = seen[step.name] = seen.get(step.name, -1) + 1
            last = step.source
            names[number] = (last, step.name, count) if any(step.source) else number
        for number, bar in backward.bars.items():
            yield KnownArray("bar", number, (), bar, ("bar", names[number]), number)
        for number, value in enumerate(backward.values):
            if value is not None and value.dtype == np.float64:
                yield KnownArray("value", number, (), value, ("value", names[number]), number)
        several = {(names[number], k) for edges in backward.readers.values() if len(edges) > 1 for number, k in edges}
        for number in backward.bars:
            for k, source in backward.inner(number):
                edge, name = ((number, k),), (names[number], k)
                if name in several and self._is_wanted(steps[source].shape):
                    yield KnownArray("flow", source, edge, backward.flow(number, k), ("flow", *name), number)
                if backward.is_entrywise(number) and self._is_wanted(steps[number].shape):
                    yield KnownArray("slope", source, edge, backward.slope(number, k), ("slope", *name), number)
        for source, edges in backward.readers.items():
            if len(edges) < 2 or not self._is_wanted(steps[source].shape):
                continue
            groups: dict[object, list[tuple[int, int]]] = {}  # by step, and by instruction
            for number, k in edges:
                groups.setdefault(number, []).append((number, k))
                groups.setdefault(names[number], []).append((number, k))
            for made_by, group in groups.items():
                if 1 < len(group) < len(edges):
                    total = sum((backward.flow(*edge) for edge in group[1:]), start=backward.flow(*group[0]))
                    of_one = len({number for number, _ in group}) == 1
                    family: tuple[object, ...] = (names[group[0][0]], "together") if of_one else (made_by, source)
                    yield KnownArray("flow", source, tuple(group), total, ("flow", *family), group[0][0])
        for source, edges in backward.readers.items():
            if 2 < len(edges) <= _MOST_READERS and source in backward.bars and self._is_wanted(steps[source].shape):
                for left_out in edges:
                    others = tuple(edge for edge in edges if edge != left_out)
                    rest = backward.bars[source] - backward.flow(*left_out)
                    yield KnownArray("flow", source, others, rest, ("rest", names[source], names[left_out[0]]), source)

    def _add_slices(self, known: KnownArray) -> None:
        kind, step, edges, array, own, _, _ = known
        for axis, length in enumerate(array.shape):
            if not 1 < length <= _MOST_SLICES or array.size <= length:
                continue
            if self._sizes is not None and array.size // length not in self._sizes:
                continue
            family = own, step, axis
            for k in range(length):
                part = array[(slice(None),) * axis + (k,)]
                self._add(KnownArray(kind, step, edges, part, family, k, (axis, k)))

    def _add_stack(self, members: list[KnownArray]) -> None:
        first = members[0]
        if len(members) < 2 or first.place is not None or first.kind not in ("bar", "value"):
            return
        if self._sizes is not None and len(members) * first.array.size not in self._sizes:
            return
        if len({known.array.shape for known in members}) > 1 or first.array.ndim > _MOST_AXES:
            return
        stacked = np.stack([known.array for known in members])
        self._add(first._replace(array=stacked, family=("all", first.family), order=0, place=(-1, 0)))
        self._add(first._replace(array=stacked[::-1], family=("all backwards", first.family), order=0, place=(-1, 0)))

    # ---- what an array is

    def find(self, array: Reals) -> list[Match]:
        """Returns what an array may be: exact matches first, and sensitivities before flows, values and slopes.

        An array of zeros may be anything, and is recognised as nothing.
        """
        matches: list[Match] = []
        for known, _ in self._lookup.near(array, SAME, (1.0,))[:_MOST_LOOKED_AT]:
            self.compared += 1
            factor = factor_of(array, known.array)
            if factor is not None:
                matches.append(Match(known, factor))
        if len(matches) > 1:
            matches.sort(key=_likeliest)
        return matches


def _likeliest(match: Match) -> tuple[bool, int, bool]:
    return not match.is_exact, _KINDS.index(match.known.kind), match.known.place is not None

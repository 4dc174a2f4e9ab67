"""All that rightly comes up on the way back through a program, so that arrays of the user's are recognised by values.

An array is recognised up to one factor (deltas that are not yet divided by the number of samples, for example), and in
any order of its axes. What is looked up is a number that neither changes: Σx⁴ / (Σx²)².
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import permutations
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward

    Reals = NDArray[np.float64]

#: Two arrays are the same if they agree to this part of their largest entry.
SAME = 1e-9
#: The numbers by which arrays are looked up may differ by this part of them.
_NEAR = 1e-7
#: So many arrays are kept, with all slices.
_MOST = 60_000
#: An array is cut into slices along an axis that has no more places than this.
_MOST_SLICES = 256
#: An array is compared with so many others, at most.
_MOST_LOOKED_AT = 64
#: What goes back to a step from all but one of those that read it is known if they are no more than these.
_MOST_READERS = 12
#: In arrays of no more axes than these, they are recognised in any order.
_MOST_AXES = 4


class Known(NamedTuple):
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

    known: Known
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
    """

    def __init__(self, backward: Backward) -> None:
        self._backward = backward
        self._by_size: dict[int, list[Known]] = {}
        self._families: dict[object, list[Known]] = {}
        self._signs: dict[int, tuple[list[float], list[Known], list[float]]] = {}
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
        for size, found in self._by_size.items():
            signed = sorted(((_sign(known.array), k) for k, known in enumerate(found)), key=lambda pair: pair[0])
            ordered = [found[k] for _, k in signed]
            self._signs[size] = [sign for sign, _ in signed], ordered, [_peak(known.array) for known in ordered]

    # ---- what there is

    def of_size(self, size: int) -> list[Known]:
        """Returns the known arrays with so many entries."""
        return self._by_size.get(size, [])

    def family(self, known: Known) -> list[Known]:
        """Returns the arrays of the same family, in their order."""
        return self._families[known.family]

    def _add(self, known: Known) -> None:
        if self._count < _MOST and known.array.size and np.isfinite(known.array).all():
            self._count += 1
            self._by_size.setdefault(known.array.size, []).append(known)
            self._families.setdefault(known.family, []).append(known)

    def _whole(self) -> Iterator[Known]:
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
            yield Known("bar", number, (), bar, ("bar", names[number]), number)
        for number, value in enumerate(backward.values):
            if value is not None and value.dtype == np.float64:
                yield Known("value", number, (), value, ("value", names[number]), number)
        several = {(names[number], k) for edges in backward.readers.values() if len(edges) > 1 for number, k in edges}
        for number in backward.bars:
            for k, source in backward.inner(number):
                edge, name = ((number, k),), (names[number], k)
                if name in several:
                    yield Known("flow", source, edge, backward.flow(number, k), ("flow", *name), number)
                if backward.is_entrywise(number):
                    yield Known("slope", source, edge, backward.slope(number, k), ("slope", *name), number)
        for source, edges in backward.readers.items():
            groups: dict[object, list[tuple[int, int]]] = {}  # by step, and by instruction
            for number, k in edges:
                groups.setdefault(number, []).append((number, k))
                groups.setdefault(names[number], []).append((number, k))
            for made_by, group in groups.items():
                if 1 < len(group) < len(edges):
                    total = sum((backward.flow(*edge) for edge in group[1:]), start=backward.flow(*group[0]))
                    of_one = len({number for number, _ in group}) == 1
                    family: tuple[object, ...] = (names[group[0][0]], "together") if of_one else (made_by, source)
                    yield Known("flow", source, tuple(group), total, ("flow", *family), group[0][0])
        for source, edges in backward.readers.items():
            if 2 < len(edges) <= _MOST_READERS and source in backward.bars:
                for left_out in edges:
                    others = tuple(edge for edge in edges if edge != left_out)
                    rest = backward.bars[source] - backward.flow(*left_out)
                    yield Known("flow", source, others, rest, ("rest", names[source], names[left_out[0]]), source)

    def _add_slices(self, known: Known) -> None:
        array = known.array
        for axis, length in enumerate(array.shape):
            if not 1 < length <= _MOST_SLICES or array.size <= length:
                continue
            for k in range(length):
                part = array[(slice(None),) * axis + (k,)]
                self._add(known._replace(array=part, family=(known.family, known.step, axis), order=k, place=(axis, k)))

    def _add_stack(self, members: list[Known]) -> None:
        first = members[0]
        if len(members) < 2 or first.place is not None or first.kind not in ("bar", "value"):
            return
        if len({known.array.shape for known in members}) > 1 or first.array.ndim >= _MOST_AXES:
            return
        stacked = np.stack([known.array for known in members])
        self._add(first._replace(array=stacked, family=("all", first.family), order=0, place=(-1, 0)))
        self._add(first._replace(array=stacked[::-1], family=("all backwards", first.family), order=0, place=(-1, 0)))

    # ---- what an array is

    def find(self, array: Reals) -> list[Match]:
        """Returns what an array may be: exact matches first, and sensitivities before flows, values and slopes.

        An array of zeros may be anything, and is recognised as nothing.
        """
        if array.size not in self._signs or not np.isfinite(array).all() or not np.any(array):
            return []
        signs, found, peaks = self._signs[array.size]
        sign, peak = _sign(array), _peak(array)
        matches: list[Match] = []
        near = abs(sign) * _NEAR
        begin = bisect_left(signs, sign - near)
        for place in range(begin, min(begin + _MOST_LOOKED_AT, len(signs))):
            if signs[place] > sign + near:
                break
            if abs(peaks[place] - peak) > _NEAR:
                continue
            self.compared += 1
            factor = factor_of(array, found[place].array)
            if factor is not None:
                matches.append(Match(found[place], factor))
        kinds = ("bar", "value", "slope", "flow")
        matches.sort(
            key=lambda match: (not match.is_exact, kinds.index(match.known.kind), match.known.place is not None)
        )
        return matches


def _sign(array: Reals) -> float:
    if array.size == 1:  # of a single number no factor can be known
        return float(array.reshape(-1)[0])
    largest = float(np.abs(array).max())
    if largest and np.count_nonzero(array) == 1:  # nor of one among zeros
        return -largest
    squares = np.square(array.ravel() / largest) if largest else np.zeros(1)
    total = float(squares.sum())
    return float(squares @ squares) / (total * total) if total else 0.0


def _peak(array: Reals) -> float:
    """Returns the largest entry as a part of the root of the sum of squares, which no order and no factor changes."""
    sizes = np.abs(array).ravel()
    largest = float(sizes.max())
    return 1.0 / float(np.linalg.norm(sizes / largest)) if largest else 0.0


def factor_of(array: Reals, known: Reals) -> float | None:
    """Returns c if an array is c times a known one, whatever the order of the axes; else None.

    Of arrays whose entries are all of one size, the factor says nothing: it must be 1.
    """
    largest = float(np.abs(known).max(initial=0.0))
    own = float(np.abs(array).max(initial=0.0))
    if not largest or not own:
        return 1.0 if largest == own and np.shape(array) == np.shape(known) else None
    for k in oriented(known, array.shape):
        at = int(np.argmax(np.abs(k)))
        factor = float(array.flat[at] / k.flat[at])
        if factor and np.abs(array - factor * k).max() <= SAME * own:
            is_flat = float(np.abs(known).min()) > largest * (1.0 - SAME)
            return None if is_flat and abs(factor - 1.0) > SAME else factor
    return None


def oriented(array: Reals, shape: tuple[int, ...]) -> Iterable[Reals]:
    """Yields an array in a shape: as it is, with its axes in another order, or with its entries in the same order."""
    if array.size != prod(shape):
        return
    if array.shape == shape:
        yield array
    own, axes = array.squeeze(), tuple(length for length in shape if length != 1)
    if own.ndim <= _MOST_AXES and sorted(own.shape) == sorted(axes):
        for order in permutations(range(own.ndim)):
            if tuple(own.shape[k] for k in order) == axes and (array.shape != shape or order != tuple(range(own.ndim))):
                yield own.transpose(order).reshape(shape)
    elif array.shape != shape:
        yield array.reshape(shape)


def are_same(a: Reals, b: Reals) -> bool:
    """Whether two arrays of one shape agree to rounding."""
    if a.shape != b.shape:
        return False
    off = np.abs(a - b).max(initial=0.0)
    return bool(off <= SAME * max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))

"""Recognises an array by its numbers: as a value, a sensitivity, or what goes back along an edge of a program.

Users keep their arrays as they like: transposed, reshaped, times the number of samples, one time step of a buffer or
the whole of it. None of this changes the sum of the squares over the largest, which is what the known arrays are looked
up by; the few that have the same one are then compared number by number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator
from itertools import permutations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.recognise import count_distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.program.program import Source

    Reals = NDArray[np.float64]

SENSITIVITY, FLOW, VALUE = "sensitivity", "flow", "value"
#: Numbers are the same that differ by no more than this part of the largest.
SAME = 1e-9
#: In an array of less than float64, by no more than this many roundings of the largest.
_ROUNDINGS = 512.0
#: An array with fewer different sizes of numbers than this may be like another by chance, but for a factor.
_ENOUGH = 3
#: At most so many arrays with the same sum are compared.
_MOST_COMPARED = 256
#: The axes of arrays with more axes than this are not exchanged.
_MOST_AXES = 4
#: Sums and parts are not looked up in programs whose sensitivities have more numbers than this.
_MOST_NUMBERS = 2_000_000
#: What comes from all readers of a step but some is known if it has no more readers than this.
_MOST_READERS = 32
#: Axes longer than this are not taken apart.
_MOST_PARTS = 64


class Entry(NamedTuple):
    """An array that is known.

    Attributes
    ----------
    kind : str
        `SENSITIVITY`: the derivatives of the cost by the value of a step; `FLOW`: what goes back to a step from some of
        those that read it; or `VALUE`.
    steps : tuple of int
        The step; for a stack, those of all visits of a line, along the first axis; for what goes back, where it comes
        from.
    array : ndarray
    into : int
        The step that something goes back to; -1 if nothing does.
    part : str
        What of it is taken: "summed over axis 0", "[3] along axis 0"; "" for all.
    """

    kind: str
    steps: tuple[int, ...]
    array: Reals
    into: int = -1
    part: str = ""

    @property
    def is_stack(self) -> bool:
        """Whether it is made of the sensitivities of several steps, one after the other along the first axis."""
        return self.kind == SENSITIVITY and len(self.steps) > 1


class Match(NamedTuple):
    """A known array that another has the numbers of.

    Attributes
    ----------
    entry : Entry
    factor : float
        What the known array is multiplied by.
    how : str
        In what order the numbers are: "transposed", "reshaped", "backwards in time"; "" if it is the same.
    misfit : float
        The largest difference over the largest number.
    certain : bool
        Whether there are enough different numbers for it not to be chance. Without a factor it is taken for certain.
    """

    entry: Entry
    factor: float
    how: str
    misfit: float
    certain: bool


class _Signature(NamedTuple):
    largest: float
    sizes: float
    squares: float


class Known:
    """Arrays that others are looked up in.

    Parameters
    ----------
    entries : iterable of Entry
    factors : iterable of float
        By which an array may be multiplied even if that could be chance, besides -1, 2 and 1/2.
    """

    def __init__(self, entries: Iterable[Entry], factors: Iterable[float] = ()) -> None:
        found: dict[tuple[int, bool], list[tuple[float, int, float]]] = {}
        self.entries: list[Entry] = []
        for entry in entries:
            signature = _signature(entry.array)
            if signature is None:
                continue
            size, of_one = entry.array.size, _is_of_one_size(signature, entry.array.size)
            key = signature.largest if of_one else signature.squares
            found.setdefault((size, of_one), []).append((key, len(self.entries), signature.sizes))
            self.entries.append(entry)
        self._rows = {key: sorted(rows) for key, rows in found.items()}
        self._keys = {key: [row[0] for row in rows] for key, rows in self._rows.items()}
        lengths = {float(factor) for factor in factors if factor > 1.0}
        self.factors = tuple(
            sorted({1.0, 2.0, 0.5} | lengths | {1.0 / n for n in lengths} | {2.0 / n for n in lengths})
        )

    @classmethod
    def of(cls, backward: Backward, *, flows: bool = True, values: bool = True) -> Known:
        """Makes known what goes forward and back through a program.

        Parameters
        ----------
        backward : Backward
        flows, values : bool
            Whether what goes back along the edges, and the values, are known, too, besides the sensitivities.
        """
        lengths = {n for number in backward.bars for n in np.shape(backward.bars[number]) if n > 1}
        products = {int(np.prod(shape[:2])) for bar in backward.bars.values() if len(shape := np.shape(bar)) > 2}
        return cls(_entries(backward, flows, values), lengths | products)

    @property
    def both_factors(self) -> tuple[float, ...]:
        """The simple factors, of both signs."""
        return (*self.factors, *(-factor for factor in self.factors))

    def _alike(self, array: Reals, signature: _Signature, tolerance: float) -> Iterator[tuple[Entry, float | None]]:
        """Yields what may have these numbers; with it the factor, if the numbers do not tell it."""
        size, of_one = array.size, _is_of_one_size(signature, array.size)
        keys, rows = self._keys.get((size, of_one), []), self._rows.get((size, of_one), [])
        if of_one:
            for factor in self.factors:
                key = signature.largest / factor
                for row in _within(keys, rows, key, 2.0 * tolerance * key):
                    yield self.entries[row[1]], factor
            return
        # both the sizes of the numbers and the largest are off by as much as the tolerance allows
        width = 4.0 * tolerance * signature.sizes + 1e-12 * signature.squares
        for row in _within(keys, rows, signature.squares, width):
            if abs(row[2] - signature.sizes) <= 2.0 * tolerance * size + 1e-12 * signature.sizes:
                yield self.entries[row[1]], None


def match(
    array: NDArray[np.floating], known: Known, kinds: Container[str] = (SENSITIVITY, FLOW, VALUE)
) -> Match | None:
    """Returns what an array most likely is: the best of `matches`, if there is one that is certain."""
    return next((found for found in matches(array, known, kinds) if found.certain), None)


def matches(
    array: NDArray[np.floating], known: Known, kinds: Container[str] = (SENSITIVITY, FLOW, VALUE)
) -> list[Match]:
    """Finds all known arrays that have the numbers of an array.

    Parameters
    ----------
    array : ndarray of floats
    known : Known
    kinds : container of str

    Returns
    -------
    list of Match
        The simplest first: those that differ by no factor, whose numbers are in the same order, that are no parts.
    """
    given = np.asarray(array, np.float64)
    signature = _signature(given)
    if signature is None:
        return []
    tolerance = tolerance_of(array.dtype)
    enough = _has_enough(given, signature.largest)
    found = []
    for compared, (entry, factor) in enumerate(known._alike(given, signature, tolerance)):
        if compared >= _MOST_COMPARED:
            break
        if entry.kind not in kinds:
            continue
        fit = arranged(given, entry.array, tolerance, is_stack=entry.is_stack)
        if fit is not None:
            is_one = fit[0] == 1.0
            if factor is not None and not (is_one or any(np.isclose(abs(fit[0]), known.factors, rtol=tolerance))):
                continue
            found.append(Match(entry, _snapped(fit[0], known, tolerance), fit[1], fit[2], enough or is_one))
    return sorted(found, key=_complexity)


def tolerance_of(dtype: np.dtype[Any]) -> float:
    """Returns by how much of the largest the numbers of an array of this dtype may be off."""
    if not np.issubdtype(dtype, np.floating):
        return SAME
    return max(SAME, _ROUNDINGS * float(np.finfo(dtype).eps))


def arranged(a: Reals, b: Reals, tolerance: float, *, is_stack: bool = False) -> tuple[float, str, float] | None:
    """Finds by which factor and in what order the numbers of b are those of a, and the misfit; None if they are not."""
    for other, how in arrangements(a.shape, b, is_stack=is_stack):
        x, y = a.reshape(-1), other.reshape(-1)
        at = int(np.abs(y).argmax())
        if y[at] == 0.0:
            return None
        factor = float(x[at] / y[at])
        if abs(factor - 1.0) <= tolerance:
            factor = 1.0
        largest = float(np.abs(x).max())
        misfit = float(np.abs(x - factor * y).max()) / largest
        if misfit <= tolerance:
            return factor, how, misfit
    return None


def arrangements(shape: tuple[int, ...], b: Reals, *, is_stack: bool = False) -> Iterator[tuple[Reals, str]]:
    """Yields the orders that the numbers of an array may be in, as arrays of the shape, with words for the order."""
    wanted = tuple(n for n in shape if n > 1)
    squeezed = b.reshape(tuple(n for n in b.shape if n > 1))
    orders = list(permutations(range(squeezed.ndim))) if squeezed.ndim <= _MOST_AXES else [tuple(range(squeezed.ndim))]
    flips = ((squeezed, ""), (squeezed[::-1], "backwards in time")) if is_stack and squeezed.ndim else ((squeezed, ""),)
    for each, flipped in flips:
        for k, order in enumerate(orders):
            other = each.transpose(order)
            if other.shape == wanted:
                yield other.reshape(shape), " and ".join(filter(None, (flipped, "transposed" * bool(k))))
    for each, flipped in flips:  # a reshape is the last resort
        for k, order in enumerate(orders):
            other = each.transpose(order)
            if other.shape != wanted:
                yield other.reshape(shape), " and ".join(filter(None, (flipped, "transposed" * bool(k), "reshaped")))
        if 1 < len(wanted) <= _MOST_AXES:  # its axes may also be exchanged after it was reshaped
            for order in list(permutations(range(len(wanted))))[1:]:
                other = each.reshape(tuple(wanted[axis] for axis in order)).transpose(np.argsort(order).tolist())
                yield other.reshape(shape), " and ".join(filter(None, (flipped, "transposed", "reshaped")))


def first_off(a: Reals, entry: Entry, arranged: Reals, tolerance: float) -> tuple[int, str]:
    """Returns the last step of a stack at which an array differs from it; in words, how often it is right after that.

    Parameters
    ----------
    a : ndarray
    entry : Entry
        A stack; or a single step, which is returned.
    arranged : ndarray
        The numbers of the entry in one of their `arrangements`, to which `a` is compared.
    tolerance : float
    """
    count = len(entry.steps)
    if count == 1:
        return entry.steps[0], ""
    turns = np.arange(float(count)).reshape(-1, *[1] * (entry.array.ndim - 1))
    both = zip(
        arrangements(a.shape, entry.array),
        arrangements(a.shape, np.ascontiguousarray(np.broadcast_to(turns, entry.array.shape))),
        strict=True,
    )
    of_entries = next(times for (b, _), (times, _) in both if np.array_equal(b, arranged))
    off = np.abs(a - arranged) > tolerance * float(np.abs(a).max(initial=0.0))
    last = int(of_entries[off].max(initial=0.0))
    right = count - 1 - last
    return entry.steps[last], f"right at the last {right} of {count} times" * bool(right)


def _entries(backward: Backward, flows: bool, values: bool) -> Iterator[Entry]:
    bars = {number: np.asarray(bar, np.float64) for number, bar in backward.bars.items()}
    for number, bar in bars.items():
        yield Entry(SENSITIVITY, (number,), bar)
    total = sum(bar.size for bar in bars.values())
    for visits in _visits(backward):
        yield Entry(SENSITIVITY, visits, np.stack([bars[number] for number in visits]))
    if total <= _MOST_NUMBERS:
        for number, bar in bars.items():
            yield from _parts(number, bar)
    if flows and total <= _MOST_NUMBERS:
        yield from _flows(backward)
    if values:
        for number, value in enumerate(backward.values):
            if value is not None:
                yield Entry(VALUE, (number,), np.asarray(value, np.float64))


def _visits(backward: Backward) -> Iterator[tuple[int, ...]]:
    """Yields the steps that are the same in several visits of a line: in all of them, and in those of one caller."""
    groups: dict[object, list[int]] = {}
    for number in backward.bars:
        step = backward.steps[number]
        if step.source.line or step.source.name:
            own = step.source[:4]
            groups.setdefault((own, step.name, step.shape), []).append(number)
            groups.setdefault((step.source, step.name, step.shape), []).append(number)
    yield from dict.fromkeys(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _flows(backward: Backward) -> Iterator[Entry]:
    """Yields what goes back to a step from one reader, from all readers of one line, or of one call, and the rest.

    Where that is all that goes back, it is the sensitivity of the step.
    """
    left = _MOST_NUMBERS
    for into, readers in backward.readers.items():
        if len(readers) < 2 or len(readers) * np.size(backward.bars[into]) > left:
            continue
        flows = {pair: np.asarray(backward.flow(*pair), np.float64) for pair in readers}
        left -= len(readers) * np.size(backward.bars[into])
        groups: dict[object, dict[tuple[int, int], None]] = {}
        for pair in readers:
            groups[pair] = {pair: None}
            source: Source | None = backward.steps[pair[0]].source
            while source is not None:
                groups.setdefault((source.file, source.line, source.name), {})[pair] = None
                source = source.caller
        chosen = {tuple(group) for group in groups.values()}
        if len(readers) <= _MOST_READERS:
            chosen |= {tuple(pair for pair in readers if pair not in group) for group in groups.values()}
        for group in sorted(chosen):
            if 0 < len(group) < len(readers):
                total = np.sum([flows[pair] for pair in group], axis=0)
                yield Entry(FLOW, tuple(sorted({number for number, _ in group})), total, into)


def _parts(number: int, bar: Reals) -> Iterator[Entry]:
    """Yields the sums over axes, and the parts at single places of the first two axes."""
    if sum(n > 1 for n in bar.shape) < 2:
        return
    for axis in range(bar.ndim):
        if bar.shape[axis] > 1:
            yield Entry(SENSITIVITY, (number,), bar.sum(axis=axis), part=f"summed over axis {axis}")
    if bar.ndim > 2:
        rest = tuple(range(bar.ndim - 1))
        yield Entry(SENSITIVITY, (number,), bar.sum(axis=rest), part="summed over all axes but the last")
        for axis in (0, 1):
            if 1 < bar.shape[axis] <= _MOST_PARTS:
                for k in range(bar.shape[axis]):
                    part = f"[{k}] along axis {axis}"
                    yield Entry(SENSITIVITY, (number,), np.ascontiguousarray(bar.take(k, axis)), part=part)


def _signature(array: Reals) -> _Signature | None:
    """Returns the sum of sizes and of squares over the largest size; None for zeros, and for what is not finite."""
    sizes = np.abs(array).reshape(-1)
    largest = float(sizes.max(initial=0.0))
    if not 0.0 < largest < np.inf:
        return None
    sizes = sizes / largest
    return _Signature(largest, float(sizes.sum()), float(sizes @ sizes))


def _is_of_one_size(signature: _Signature, size: int) -> bool:
    return signature.squares >= size * (1.0 - 1e-6)


def _has_enough(array: Reals, largest: float) -> bool:
    return count_distinct(np.round(np.abs(array) / largest, 6)) >= _ENOUGH


def _within(
    keys: list[float], rows: list[tuple[float, int, float]], key: float, width: float
) -> list[tuple[float, int, float]]:
    return rows[bisect_left(keys, key - width) : bisect_right(keys, key + width)]


def _snapped(factor: float, known: Known, tolerance: float) -> float:
    """Returns the simple number that a factor is but for rounding, or the factor itself."""
    for simple in known.factors:
        if abs(abs(factor) - simple) <= 2.0 * tolerance * simple:
            return simple if factor > 0.0 else -simple
    return factor


def _complexity(found: Match) -> tuple[object, ...]:
    entry, order = found.entry, (SENSITIVITY, FLOW, VALUE)
    return (
        not found.certain, found.factor != 1.0, found.factor < 0.0, order.index(entry.kind), bool(entry.part),
        found.how.count("and"), bool(found.how), -entry.steps[-1],
    )  # fmt: skip

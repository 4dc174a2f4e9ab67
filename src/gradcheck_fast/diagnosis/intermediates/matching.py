"""Recognises an array by its numbers: as a value, a sensitivity, or what goes back along an edge of a program.

Users keep their arrays as they like: transposed, reshaped, times the number of samples (see `lookup`), one time step of
a buffer or the whole of it, summed over an axis.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.recognise import count_distinct
from gradcheck_fast.diagnosis.lookup import SAME, Lookup, arrangements, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.program.program import Source

    Reals = NDArray[np.float64]

SENSITIVITY, FLOW, VALUE = "sensitivity", "flow", "value"
#: In an array of less than float64, by no more than this many roundings of the largest.
_ROUNDINGS = 512.0
#: An array with fewer different sizes of numbers than this may be like another by chance, but for a factor.
_ENOUGH = 3
#: At most so many arrays with the same sum are compared.
_MOST_COMPARED = 256
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


class KnownSensitivities:
    """Arrays that others are looked up in.

    Parameters
    ----------
    entries : iterable of Entry
    factors : iterable of float
        By which an array may be multiplied even if that could be chance, besides -1, 2 and 1/2.
    """

    def __init__(self, entries: Iterable[Entry], factors: Iterable[float] = ()) -> None:
        self.entries = [entry for entry in entries if np.any(entry.array) and np.isfinite(entry.array).all()]
        self._lookup = Lookup[Entry]()
        for entry in self.entries:
            self._lookup.add(entry.array, entry)
        lengths = {float(factor) for factor in factors if factor > 1.0}
        self.factors = tuple(
            sorted({1.0, 2.0, 0.5} | lengths | {1.0 / n for n in lengths} | {2.0 / n for n in lengths})
        )

    @classmethod
    def of(cls, backward: Backward, *, flows: bool = True, values: bool = True) -> KnownSensitivities:
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

    def alike(self, array: Reals, tolerance: float) -> list[tuple[Entry, float | None]]:
        """Returns what may have these numbers; with it the factor, if the numbers do not tell it."""
        return self._lookup.near(array, tolerance, self.factors)


def match(
    array: NDArray[np.floating], known: KnownSensitivities, kinds: Container[str] = (SENSITIVITY, FLOW, VALUE)
) -> Match | None:
    """Returns what an array most likely is: the best of `matches`, if there is one that is certain."""
    return next((found for found in matches(array, known, kinds) if found.certain), None)


def matches(
    array: NDArray[np.floating], known: KnownSensitivities, kinds: Container[str] = (SENSITIVITY, FLOW, VALUE)
) -> list[Match]:
    """Finds all known arrays that have the numbers of an array.

    Parameters
    ----------
    array : ndarray of floats
    known : KnownSensitivities
    kinds : container of str

    Returns
    -------
    list of Match
        The simplest first: those that differ by no factor, whose numbers are in the same order, that are no parts.
    """
    given = np.asarray(array, np.float64)
    tolerance = tolerance_of(array.dtype)
    enough = _has_enough(given)
    found = []
    for entry, factor in known.alike(given, tolerance)[:_MOST_COMPARED]:
        if entry.kind not in kinds:
            continue
        fitted = fit(given, entry.array, tolerance, is_stack=entry.is_stack)
        if fitted is not None:
            is_one = fitted[0] == 1.0
            if factor is not None and not (is_one or any(np.isclose(abs(fitted[0]), known.factors, rtol=tolerance))):
                continue
            found.append(Match(entry, _snapped(fitted[0], known, tolerance), fitted[1], fitted[2], enough or is_one))
    return sorted(found, key=_complexity)


def tolerance_of(dtype: np.dtype[Any]) -> float:
    """Returns by how much of the largest the numbers of an array of this dtype may be off."""
    if not np.issubdtype(dtype, np.floating):
        return SAME
    return max(SAME, _ROUNDINGS * float(np.finfo(dtype).eps))


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


def _has_enough(array: Reals) -> bool:
    largest = float(np.abs(array).max(initial=0.0))
    return 0.0 < largest < np.inf and count_distinct(np.round(np.abs(array) / largest, 6)) >= _ENOUGH


def _snapped(factor: float, known: KnownSensitivities, tolerance: float) -> float:
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

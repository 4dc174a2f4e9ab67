"""Looks for the mistakes on the way back through a program that explain a wrong gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Backward, Change, Scaled
from gradcheck_fast.diagnosis.graph.families import GENERAL, NAMED
from gradcheck_fast.diagnosis.graph.mutants import View, nothing
from gradcheck_fast.diagnosis.graph.screening import Screen, in_words
from gradcheck_fast.diagnosis.graph.sizes import sizes_at, sizes_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gradcheck_fast.diagnosis.graph.backward import Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, Mutant
    from gradcheck_fast.engine.rules import RulesEngine

_T = TypeVar("_T")

#: A search ends after so many seconds.
SECONDS = 10.0
#: Programs of more steps, or whose steps have more numbers in all, are not searched.
MOST_STEPS, MOST_NUMBERS = 20_000, 20_000_000
#: At most this many mutants that explain a part of the arrays, but not those below, are tried together with another.
_BEGINNINGS = 2
#: At most so many mutants are screened together, and fewer if the program has many numbers: the time is looked at then.
_MOST_AT_ONCE, _MOST_ENTRIES = 2_048, 16_000_000
#: Families are screened together until they have so many mutants: few the first time, since the first ones often
#: explain what is wrong, then twice as many each time.
_FIRST_AT_ONCE = 16
#: An entry of a gradient is taken for no smaller than this part of the largest one.
_LEAST_SIZE = 1e-5
#: The factors that are tried where a mutant leaves out what goes back in a recurrence.
FACTORS = (-1.0, 2.0, 0.5)
#: At most this many mutants of one place are compared with each other.
_COMPARED = 8
#: Two mutants do different things if what goes back differs by more than this part of what they change.
_ANOTHER = 1e-3
#: What stands for a factor in the words of a mutant, and what it becomes if that is 0.
FACTOR, LEFT_OUT = "{factor}", "is left out"


def search_of(
    engine: RulesEngine, theta: Reals, analytic: Mapping[str, Reals], numerical: Mapping[str, Reals],
    wrong: Collection[str], tolerance: float,
) -> Search | None:  # fmt: skip
    """Returns the search for mistakes in the gradient of a program; None if the program is too long or too large.

    Parameters
    ----------
    engine : RulesEngine
    theta : ndarray of float64, shape (size,)
        The parameters.
    analytic, numerical : mapping of str to ndarray
        The two gradients, for all arrays of the parameters in their order.
    wrong : collection of str
        The arrays with wrong entries.
    tolerance : float
        The precision of the analytic gradient, relative to its size.
    """
    steps = engine.program.steps
    numbers = engine.program.size + sum(prod(steps[number].shape) for number in engine.computed)
    if len(steps) > MOST_STEPS or numbers > MOST_NUMBERS:
        return None
    backward = Backward(engine, theta)
    errors = [(analytic[name] - numerical[name]) * (name in wrong) for name in analytic]
    largest = max((float(np.abs(array).max(initial=0.0)) for array in numerical.values()), default=0.0)
    # an array of zeros, as the bias before a normalisation, has a gradient of rounding errors
    sizes = [np.abs(analytic[name]) + np.abs(numerical[name]) + _LEAST_SIZE * largest for name in analytic]
    view = View(backward, tuple(analytic), sizes_of(backward), frozenset(wrong), analytic)
    return Search(view, errors, sizes, tolerance)


class Found(NamedTuple):
    """A mutant that explains the gradient, or a part of it.

    Attributes
    ----------
    cause : str
    mutant : Mutant
    factor : float
        By how much what goes back is multiplied where the mutant leaves it out; 0 if it leaves it out.
    changes : mapping of str to ndarray
        By how much it changes the gradient of each array.
    above : tuple of Change
        What was wrong before, if it is the second of a pair.
    """

    cause: str
    mutant: Mutant
    factor: float
    changes: Mapping[str, Reals]
    above: tuple[Change, ...] = ()

    @property
    def lines(self) -> tuple[tuple[str, int], ...]:
        """The line of the user's that the mutant is about, and the one that calls it, if there is only one."""
        place, lines = self.mutant.place, list[tuple[str, int]]()
        if place.source.line:
            lines.append((place.source.file, place.source.line))
        if place.caller is not None and place.caller.line:
            lines.append((place.caller.file, place.caller.line))
        return tuple(lines)


#: ``holds(changes)``: the arrays whose gradient is wrong by just these changes; none if any array is wrong in another
#: way.
Holds: TypeAlias = "Callable[[Mapping[str, Reals]], Collection[str]]"


class Search:
    """The search for mutants that explain a wrong gradient.

    Parameters
    ----------
    view : View
    errors, sizes : sequence of ndarray
        As for `Screen`.
    tolerance : float
        As for `Screen`.
    end : float, optional
        When it ends, by `perf_counter`; without it, after `SECONDS`.

    Attributes
    ----------
    is_over_time : bool
        Whether the search was ended before all mutants were tried.
    failure : Exception or None
        The first error that a family of mutants has raised; such a family is left out.
    """

    def __init__(
        self, view: View, errors: Sequence[Reals], sizes: Sequence[Reals], tolerance: float, end: float | None = None
    ) -> None:
        self.view, self.backward = view, view.backward
        self.is_over_time = False
        self.failure: Exception | None = None
        self._errors, self._sizes, self._tolerance = errors, sizes, tolerance
        self._screen = Screen(self.backward, errors, sizes, tolerance)
        #: The arrays that are wrong, as bits of the numbers of their steps.
        self._wrong = sum(1 << n for n, error in zip(self.backward.parameters, errors, strict=True) if np.any(error))
        self._end = perf_counter() + SECONDS if end is None else end
        self._beginnings: list[Mutant] = []
        entries = sum(np.size(self.backward.values[number]) for number in self.backward.bars)
        self._at_once = int(np.clip(_MOST_ENTRIES // max(entries, 1), 1, _MOST_AT_ONCE))

    def of_families(self, holds: Holds, families: Sequence[Family]) -> list[Found]:
        """Returns the mutants that explain all that is wrong, or a part of it.

        It ends with the family in which one explains everything.
        """
        kept: list[Found] = []
        for found in self._by_family(families):
            new = [each for each in self._safely(found) if holds(each.changes)]
            kept += new
            if new and any(self.view.wrong <= set(holds(each.changes)) for each in self._distinct(kept)):
                break
        return self._distinct(kept)

    def _by_family(self, families: Sequence[Family]) -> Iterator[Iterator[Found]]:
        """Yields for each family its mutants that may hold. Those of some families are screened together."""
        waiting: list[list[Mutant]] = []
        count, most = 0, _FIRST_AT_ONCE
        for family in families:
            if self.is_over_time:
                break
            waiting.append([])
            for mutant in self._safely(self._worth_trying(family(self.view))):
                waiting[-1].append(mutant)
            count += len(waiting[-1])
            if count >= most:
                yield from self._screened(waiting)
                waiting, count, most = [], 0, 2 * most
        if waiting:
            yield from self._screened(waiting)

    def _safely(self, found: Iterator[_T]) -> Iterator[_T]:
        """Yields what there is until an error is raised, and keeps the first of them."""
        try:
            yield from found
        except Exception as error:  # the other families may still find the mistake
            self._has_failed(error)

    def _has_failed(self, error: Exception) -> None:
        if isinstance(error, MemoryError):
            raise error
        self.failure = self.failure or error

    def _worth_trying(self, mutants: Iterator[Mutant]) -> Iterator[Mutant]:
        """Yields those that may change what is wrong, and nothing else, until the time is over."""
        for mutant in mutants:
            if perf_counter() > self._end:
                self.is_over_time = True
                return
            if self.backward.reach(mutant.change) & self._wrong and not self._screen.touches_right(mutant.change):
                yield mutant
                if mutant.scales and self.backward.is_in_series(mutant.change):
                    yield from self._scaled(mutant)

    def _scaled(self, mutant: Mutant) -> Iterator[Mutant]:
        """Yields a mutant with some factors in the place of 0, where these are not found by themselves."""
        for factor in FACTORS:
            edges = {
                (number, k): Scaled(self.backward, number, k, factor)
                for (number, k), rule in mutant.change.edges.items()
                if rule is nothing
            }
            if len(edges) == len(mutant.change.edges) and not mutant.change.blocks:
                cause = mutant.cause.replace(FACTOR, in_words(factor, {}, 0.0))
                yield mutant._replace(cause=cause, change=Change(edges), scales=False)

    def pairs(self, holds: Holds) -> list[Found]:
        """Returns pairs of mutants: one that explains some arrays but not those below it, and one for the rest.

        The first are those that `of_families` has met.
        """
        kept: list[Found] = []
        for first in self._beginnings[:_BEGINNINGS]:
            begun = self._whole(first)
            rest = self._after(begun)
            for second in rest.of_families(partial(_holds_with, holds, begun.changes), (*NAMED, *GENERAL)):
                changes = _sum(begun.changes, second.changes)
                cause = f"{begun.cause}; and {second.cause}"
                kept.append(second._replace(cause=cause, changes=changes, above=(first.change,)))
            self.is_over_time |= rest.is_over_time
            self.failure = self.failure or rest.failure
        return kept

    def _after(self, first: Found) -> Search:
        """Returns the search for what is still wrong when one mutant is known to be a mistake."""
        left = []
        for name, error, size in zip(self.view.names, self._errors, self._sizes, strict=True):
            off = error - first.changes[name] if name in first.changes and np.any(error) else error
            left.append(np.where(np.abs(off) <= self._tolerance * size.max(initial=0.0), 0.0, off))
        view = replace(self.view, backward=self.backward.after(first.mutant.change))
        return Search(view, left, self._sizes, self._tolerance, self._end)

    def _screened(self, families: Sequence[Sequence[Mutant]]) -> Iterator[Iterator[Found]]:
        """Yields for each of some families those of its mutants that may hold; see `_tried`."""
        try:
            changes = self._changes([mutant for family in families for mutant in family])
        except Exception as error:
            if len(families) > 1:  # one of them is left out
                for family in families:
                    yield from self._screened([family])
            else:
                self._has_failed(error)
            return
        ends = np.cumsum([len(family) for family in families])
        for family, of_family in zip(families, np.split(changes, ends[:-1]), strict=True):
            yield self._tried(family, of_family)

    def _changes(self, mutants: Sequence[Mutant]) -> Reals:
        """Returns by how much mutants change the gradient along the directions, shape (mutants, directions)."""
        changes = np.zeros((len(mutants), self._screen.count))
        for begin in range(0, len(mutants), self._at_once):
            self.is_over_time |= perf_counter() > self._end
            if not self.is_over_time:
                some = slice(begin, begin + self._at_once)
                changes[some] = self._screen.changes([mutant.change for mutant in mutants[some]])
        return changes

    def _tried(self, mutants: Sequence[Mutant], changes: Reals) -> Iterator[Found]:
        """Yields the mutants that may hold, or those with a factor in their place.

        Parameters
        ----------
        mutants : sequence of Mutant
        changes : ndarray, shape (mutants, directions)
            By how much they change the gradient along the directions.
        """
        for mutant, change, seen in zip(mutants, changes, self._screen.seen(changes), strict=True):
            if seen.groups and not seen.contradicts:
                yield self._whole(mutant)
            elif mutant.scales and not self.backward.is_in_series(mutant.change):
                factor = self._screen.factor(change)
                said = "" if factor is None else self._said(factor, mutant)
                if said and factor is not None:
                    yield self._whole(mutant, factor, said)
            if seen.groups and seen.contradicts:
                self._beginnings.append(mutant)

    def _said(self, factor: float, mutant: Mutant) -> str:
        sizes = sizes_at(self.backward, self.view.sizes, mutant.place)
        return in_words(factor, sizes, self._screen.near)

    def _whole(self, mutant: Mutant, factor: float = 0.0, said: str = LEFT_OUT) -> Found:
        changes = self.backward.change_of_gradient(mutant.change)
        named = {self.view.name_of(number): (1.0 - factor) * change for number, change in changes.items()}
        return Found(mutant.cause.replace(FACTOR, said), mutant, factor, named)

    def _distinct(self, kept: list[Found]) -> list[Found]:
        """Returns what was found without the places at which it does not matter what goes back.

        Two mutants that do different things at one place, and to the same effect, say nothing about it.
        """
        by_place: dict[tuple[int, ...], list[Found]] = {}
        for found in kept:
            by_place.setdefault(found.mutant.place.steps, []).append(found)
        matters = {steps for steps, group in by_place.items() if self._does_matter(group)}
        return [found for found in kept if found.mutant.place.steps in matters]

    def _does_matter(self, group: list[Found]) -> bool:
        first, *others = (self.backward.local(found.mutant.change) for found in group[:_COMPARED])
        for other, found in zip(others, group[1:], strict=False):
            for at in first.keys() & other.keys():
                one, two = (1.0 - group[0].factor) * first[at], (1.0 - found.factor) * other[at]
                if np.abs(one - two).max(initial=0.0) > _ANOTHER * np.abs(one).max(initial=0.0):
                    return False
        return True


def _holds_with(holds: Holds, one: Mapping[str, Reals], other: Mapping[str, Reals]) -> Collection[str]:
    return holds(_sum(one, other))


def _sum(one: Mapping[str, Reals], other: Mapping[str, Reals]) -> dict[str, Reals]:
    """Adds the changes of two mutants, array by array."""
    return {**one, **{name: one[name] + change if name in one else change for name, change in other.items()}}

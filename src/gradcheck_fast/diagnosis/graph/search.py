"""Looks for the mistakes on the way back through a program that explain a wrong gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.graph import entrywise
from gradcheck_fast.diagnosis.graph.backward import Backward, Change
from gradcheck_fast.diagnosis.graph.mutants import View, nothing
from gradcheck_fast.diagnosis.graph.screening import Screen, in_words
from gradcheck_fast.diagnosis.graph.sizes import sizes_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gradcheck_fast.diagnosis.graph.backward import Bars, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, Mutant
    from gradcheck_fast.engine.rules import RulesEngine

#: A search ends after so many seconds.
SECONDS = 10.0
#: The families, in the order in which they are tried.
FAMILIES: tuple[Family, ...] = (*entrywise.FAMILIES,)


#: Programs of more steps are not searched.
MOST_STEPS = 20_000
#: At most this many mutants that explain a part of the arrays, but not those below, are tried together with another.
_BEGINNINGS = 2
#: At most so many mutants are tried together, and only if their sensitivities have no more numbers than these.
_MOST_AT_ONCE, _MOST_ENTRIES = 256, 4_000_000
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
    """Returns the search for mistakes in the gradient of a program; None if the program is too long.

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
    if len(engine.program.steps) > MOST_STEPS:
        return None
    backward = Backward(engine, theta)
    errors = [(analytic[name] - numerical[name]) * (name in wrong) for name in analytic]
    sizes = [np.abs(analytic[name]) + np.abs(numerical[name]) for name in analytic]
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
    """

    cause: str
    mutant: Mutant
    factor: float
    changes: Mapping[str, Reals]


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

    Attributes
    ----------
    is_over_time : bool
        Whether the search was ended before all mutants were tried.
    """

    def __init__(self, view: View, errors: Sequence[Reals], sizes: Sequence[Reals], tolerance: float) -> None:
        self.view, self.backward = view, view.backward
        self.is_over_time = False
        self._errors, self._sizes, self._tolerance = errors, sizes, tolerance
        self._screen = Screen(self.backward, errors, sizes, tolerance)
        self._wrong = {place for place, error in enumerate(errors) if np.any(error)}
        self._end = perf_counter() + SECONDS
        self._beginnings: list[Mutant] = []
        entries = sum(np.size(self.backward.values[number]) for number in self.backward.bars)
        self._at_once = int(np.clip(_MOST_ENTRIES // max(entries, 1), 1, _MOST_AT_ONCE))

    def found(self, holds: Holds) -> list[Found]:
        """Returns the mutants that explain all that is wrong, or a part of it, or two mutants that do it together."""
        single = self._of_families(holds)
        explained = set[str]().union(*(holds(found.changes) for found in single))
        if self.view.wrong <= explained or self.is_over_time:
            return single
        return single + self._pairs(holds)

    def _of_families(self, holds: Holds) -> list[Found]:
        """Returns the mutants that hold, up to the family in which one explains everything."""
        kept: list[Found] = []
        for family in FAMILIES:
            mutants = self._worth_trying(family(self.view))
            while some := list(islice(mutants, self._at_once)):
                kept += [found for found in self._tried(some) if holds(found.changes)]
            if self.is_over_time or any(self.view.wrong <= set(holds(each.changes)) for each in self._distinct(kept)):
                break
        return self._distinct(kept)

    def _worth_trying(self, mutants: Iterator[Mutant]) -> Iterator[Mutant]:
        """Yields those that reach an array in which something is wrong, until the time is over."""
        for mutant in mutants:
            if perf_counter() > self._end:
                self.is_over_time = True
                return
            if self.backward.arrays_below(mutant.change.steps) & self._wrong:
                yield mutant
                if mutant.scales and self.backward.is_in_series(mutant.change):
                    yield from self._scaled(mutant)

    def _scaled(self, mutant: Mutant) -> Iterator[Mutant]:
        """Yields a mutant with some factors in the place of 0, where these are not found by themselves."""
        for factor in FACTORS:
            edges = {
                (number, k): partial(self._times, number, k, factor)
                for (number, k), rule in mutant.change.edges.items()
                if rule is nothing
            }
            if len(edges) == len(mutant.change.edges) and not mutant.change.blocks:
                cause = mutant.cause.replace(FACTOR, in_words(factor, {}, 0.0))
                yield mutant._replace(cause=cause, change=Change(edges), scales=False)

    def _times(self, number: int, k: int, factor: float, bars: Bars, up: Reals) -> Reals:
        return factor * self.backward.through(number, k, up)

    def _pairs(self, holds: Holds) -> list[Found]:
        """Returns pairs of mutants: one that explains some arrays but not those below it, and one for the rest."""
        kept: list[Found] = []
        for first in self._beginnings[:_BEGINNINGS]:
            changes = self.backward.change_of_gradient(first.change)
            left = [
                error - changes.get(number, 0.0) if place in self._wrong else error
                for place, (number, error) in enumerate(zip(self.backward.parameters, self._errors, strict=True))
            ]
            left = [np.where(np.abs(e) <= self._tolerance * np.max(s, initial=0.0), 0.0, e)
                    for e, s in zip(left, self._sizes, strict=True)]  # fmt: skip
            view = replace(self.view, backward=self.backward.after(first.change))
            rest = Search(view, left, self._sizes, self._tolerance)
            rest._end = self._end

            def both(second: Mapping[str, Reals], first: Mapping[int, Reals] = changes) -> Collection[str]:
                named = {self.view.name_of(number): change for number, change in first.items()}
                return holds({name: named.get(name, 0.0) + second.get(name, 0.0) for name in {**named, **second}})

            for second in rest._of_families(both):
                of_both = {self.view.name_of(number): change for number, change in changes.items()}
                for name, change in second.changes.items():
                    of_both[name] = of_both.get(name, 0.0) + change
                cause = f"{first.cause.replace(FACTOR, LEFT_OUT)}; and {second.cause}"
                kept.append(Found(cause, second.mutant, second.factor, of_both))
            self.is_over_time |= rest.is_over_time
        return kept

    def _tried(self, mutants: Sequence[Mutant]) -> Iterator[Found]:
        """Yields the mutants that may hold, or those with a factor in their place."""
        changes = self._screen.changes([mutant.change for mutant in mutants])
        for mutant, change in zip(mutants, changes, strict=True):
            seen = self._screen.seen(change)
            if seen.groups and not seen.contradicts:
                yield self._whole(mutant)
            elif mutant.scales and not self.backward.is_in_series(mutant.change):
                factor = self._screen.factor(change)
                said = "" if factor is None else in_words(factor, self.view.sizes, self._screen.near)
                if said and factor is not None:
                    yield self._whole(mutant, factor, said)
            if seen.groups and seen.contradicts:
                self._beginnings.append(mutant)

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

"""The hypotheses about a wrong gradient, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from gradcheck_fast.diagnosis import constrained, patterns, recurrence, slopes, weights
from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.families import GENERAL, NAMED
from gradcheck_fast.diagnosis.graph.mutants import nothing
from gradcheck_fast.diagnosis.hypotheses import ENTRIES, Case, Hypothesis
from gradcheck_fast.diagnosis.view import Mutant, View, merged
from gradcheck_fast.inputs.trees import split

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.search import Found, Search
    from gradcheck_fast.diagnosis.hypotheses import Arrays
    from gradcheck_fast.diagnosis.patterns import Pattern

#: At most this many mistakes that explain the first wrong layer on the way back, but not the layers below, are tried
#: together with a second mistake.
_BEGINNINGS = 2


def stages(case: Case) -> Iterator[Iterator[Hypothesis]]:
    """Yields the hypotheses in stages; the next is for what the last has not explained.

    A line of the user's says more than a factor of an array, so the search of a program comes before that.
    """
    if case.turned:
        yield from (by_patterns(case, patterns.OF_TRANSPOSES), _by_mutants(case))
        return
    if case.search is None:
        yield from (by_patterns(case, (*constrained.EXACT, *patterns.SPECIFIC)), _by_mutants(case))
    else:
        yield from _by_search(case, case.search)
    yield by_patterns(case, constrained.PATTERNS)
    yield by_patterns(case, patterns.VAGUE)


def _by_search(case: Case, search: Search) -> Iterator[Iterator[Hypothesis]]:
    """Yields the stages for a program: mistakes on the way back through it, and patterns where these say more."""

    def as_arrays(changes: Arrays) -> Arrays:
        return {name: case.base[name] + change for name, change in changes.items()}

    def holds(changes: Arrays) -> Collection[str]:
        found = case.explained(as_arrays(changes))
        # a few entries may fit by chance
        is_little = sum(case.numerical[name].size for name in found) < ENTRIES and not set(case.wrong) <= set(found)
        return {} if is_little else found

    def hypotheses(find: Callable[[], Iterable[Found]]) -> Iterator[Hypothesis]:
        for found in find():
            cause = found.cause.replace("{", "{{").replace("}", "}}")
            mistakes = (*found.above, found.mutant.change)
            yield Hypothesis(cause, as_arrays(found.changes), lines=found.lines, mistakes=mistakes)

    def of_single_arrays(found: Iterable[Hypothesis]) -> Iterator[Hypothesis]:
        """What only these arrays have is wrong where they are made, and nowhere before."""
        backward = search.backward
        parameters = dict(zip(search.view.names, backward.parameters, strict=True))
        for each in found:
            own = [parameters[name] for name in each.arrays if name in case.wrong]
            edges = {edge: nothing for number in own for edge in backward.readers.get(number, ())}
            yield each._replace(mistakes=(Change(edges),))

    yield of_single_arrays(by_patterns(case, (*patterns.REORDERED, *constrained.EXACT)))
    yield hypotheses(lambda: search.of_families(holds, NAMED))
    yield by_patterns(replace(case, sizes={}), [patterns.everything_scaled])
    yield hypotheses(lambda: search.of_families(holds, GENERAL))
    yield hypotheses(lambda: search.pairs(holds))
    yield by_patterns(case, [pattern for pattern in patterns.SPECIFIC if pattern not in patterns.REORDERED])


def by_patterns(case: Case, chosen: Iterable[Pattern]) -> Iterator[Hypothesis]:
    """Yields the hypotheses of some patterns."""
    for pattern in chosen:
        yield from pattern(case)


def _by_mutants(case: Case) -> Iterator[Hypothesis]:
    """Yields the hypotheses that are mistakes on the way back through the network's steps."""
    tape = case.tape
    if tape is None:
        return
    shapes = tape.network.shapes
    right = dict(split(tape.gradient(), shapes))
    if any(case.is_changed(name, right[name]) for name in case.numerical):
        return  # for instance on a kink, where nothing that is found in this way is evidence
    view = View(tape)
    entry = max(case.layers[name] for name in case.wrong)
    first_wrong = [name for name in case.wrong if case.layers[name] == entry]
    beginnings = []
    for mutant in chain(_mutants(view), weights.updated_weights(view, case), weights.weighted_samples(view, case)):
        arrays = dict(split(tape.gradient(mutant.change), shapes))
        yield Hypothesis(mutant.cause, arrays)
        misfits = ((name, case.misfit(name, arrays[name], case.analytic[name])) for name in first_wrong)
        begins = all(misfit <= case.tolerance(name) for name, misfit in misfits)
        if begins and not case.explained(arrays):
            beginnings.append(mutant)
    for cause, gradient in recurrence.truncated(view):
        yield Hypothesis(cause, dict(split(gradient, shapes)))
    for above in beginnings[:_BEGINNINGS]:  # these explain the first wrong layer; a mistake below may explain the rest
        for below in _mutants(view):
            arrays = dict(split(tape.gradient(merged([above.change, below.change])), shapes))
            yield Hypothesis(f"{above.cause}; and {below.cause}", arrays)


def _mutants(view: View) -> Iterator[Mutant]:
    for family in (*slopes.FAMILIES, *weights.FAMILIES, *recurrence.FAMILIES):
        yield from family(view)

"""Looks for two statements of a gradient function that are wrong side by side, if none alone explains anything.

So it is with two mistakes in the parts of one sum. The rest of the function must make wrong arrays right with the right
values in both, and with those in one of them alone none of these.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

from gradcheck_fast.diagnosis.backward_pass.local import StatementVisit
from gradcheck_fast.diagnosis.backward_pass.options import turned
from gradcheck_fast.diagnosis.backward_pass.places import Wanted, where
from gradcheck_fast.diagnosis.backward_pass.search import FirstWrong
from gradcheck_fast.diagnosis.lookup import are_same, factor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_fast.diagnosis.backward_pass.search import FirstWrongSearch
    from gradcheck_fast.frontends.numpy_trace.statements import StatementLines

#: So many statements are looked at, in the order in which they run.
_MOST_STATEMENTS = 8
#: For each, so many of the right arrays that it may have to give.
_MOST_WANTED = 12
#: So many more steps are computed again, at most.
_MOST_WORK = 6_000


def first_pair(search: FirstWrongSearch) -> tuple[FirstWrong, FirstWrong] | None:
    """Returns the first two steps that stand the test together; None if there are none.

    Parameters
    ----------
    search : FirstWrongSearch
        A search that has not found one step.
    """
    at = search.at
    search.prolong(_MOST_WORK)
    wanted = {number: _wanted(search, number) for number in _results(search)}
    alone = {(number, k): _repaired(search, {number: one}) for number in wanted for k, one in enumerate(wanted[number])}
    for first, second in combinations(wanted, 2):
        for (j, one), (k, other) in product(enumerate(wanted[first]), enumerate(wanted[second])):
            if search.is_over():
                return None
            repaired = _repaired(search, {first: one, second: other})
            either = alone[first, j] | alone[second, k]
            if not repaired > either or not repaired >= at.wrong_below((first, second)):
                continue
            found = _found(search, first, one, repaired), _found(search, second, other, repaired)
            own, beside = (set(each.places) for each in found)
            # what the second reads may be what the first should have given
            is_clear = len(own) == 1 and len(beside - own) == 1 and all(each.kind == "parts" for each in found)
            if is_clear and _is_read_elsewhere(search, {first: own, second: beside - own}):
                return found[0], found[1]._replace(places=tuple(beside - own))
    return None


def _is_read_elsewhere(search: FirstWrongSearch, statements: Mapping[int, set[StatementLines]]) -> bool:
    """Whether all that two statements read shows to be right elsewhere, so that the mistake is not in one line above.

    The rest of the function reads it, too, and gives what is right once the two are.
    """
    at, own = search.at, {place for places in statements.values() for place in places}
    read = {k for number, places in statements.items() for k in StatementVisit(at, number, next(iter(places))).read}
    return all(
        at.is_given(k)
        or k in at.rescued
        or own.intersection(at.places(k))
        or any(own.isdisjoint(at.places(reader)) for reader in at.readers(k))
        for k in read
    )


def _results(search: FirstWrongSearch) -> list[int]:
    """Returns the results of the first statements that may be wrong."""
    at = search.at
    last: dict[object, int] = {}
    for number in search.candidates:
        if len(at.places(number)) == 1 and len(at.occurrences[at.instruction[number]]) == 1:
            last[at.places(number)[0]] = number
    return list(last.values())[:_MOST_STATEMENTS]


def _wanted(search: FirstWrongSearch, number: int) -> list[Wanted]:
    """Returns the sensitivities of the shape of a step, each once, those of the last steps first."""
    at, value, parameters = search.at, search.at.value(number), set(search.at.parameter.values())
    found: list[Wanted] = []
    for known in reversed(at.known.of_size(value.size)):
        is_whole = (
            known.kind == "bar"
            and known.step not in parameters
            and known.place is None
            and known.array.shape == value.shape
        )
        if is_whole and not any(are_same(known.array, other.array) for other in found):
            found.append(Wanted(known, known.array, turned(at, 0, 1.0)))
    return [wanted for wanted in found if not are_same(wanted.array, value)][:_MOST_WANTED]


def _repaired(search: FirstWrongSearch, wanted: dict[int, Wanted]) -> frozenset[str]:
    """Returns the wrong arrays that are right with other values at some steps; none if any right one gets wrong."""
    at, changed = search.at, search.replayed({number: one.array for number, one in wanted.items()})
    if changed is None:
        return frozenset()
    moved = {name: out for name, out in at.outputs.items() if out.step in changed}
    right = {name for name, out in moved.items() if at.agrees(name, out.of(changed[out.step]))}
    is_broken = any(at.is_right[name] and name not in right for name in moved)
    return frozenset() if is_broken else frozenset(name for name in at.wrong if name in right)


def _found(search: FirstWrongSearch, number: int, wanted: Wanted, repaired: frozenset[str]) -> FirstWrong:
    kind, places, _ = where(search.at, number, wanted)
    if kind == "unclear" and factor_of(search.at.value(number), wanted.array) is not None:
        kind = "parts"  # it is the right array but for a factor
    names = tuple(name for name in search.at.wrong if name in repaired)
    return FirstWrong(number, wanted, kind, names, tuple(places), (1, 1), is_beside=True)

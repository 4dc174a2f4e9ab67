"""Lists mistakes on the way from one turn of a loop to the turn before, as in back-propagation through time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.factors import multiplied
from gradcheck_fast.diagnosis.graph.mutants import Mutant, block, merged, nothing
from gradcheck_fast.diagnosis.graph.products import base, by_sensitivity, with_other
from gradcheck_fast.program.steps.movement import GATHER
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Bars, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place

Edge = tuple[int, int]
#: Truncations to at most so many turns are tried.
_MOST_TURNS = 6
#: The derivatives that are written by the value of the function.
_BY_VALUE: Mapping[str, Callable[[Reals], Reals]] = {
    "tanh": lambda a: 1.0 - a * a,
    "sigmoid": lambda a: a * (1.0 - a),
    "relu": lambda a: (a > 0.0).astype(np.float64),
}
#: In a turn there are at most so many gates whose sensitivities may be exchanged.
_MOST_GATES = 4


class State(NamedTuple):
    """A value that each turn of a loop hands on to the next.

    Attributes
    ----------
    place : Place
        What makes it.
    carried, others : list of (int, int)
        The edges of its readers in the next turn, and those of its other readers.
    """

    place: Place
    carried: list[Edge]
    others: list[Edge]

    @property
    def is_sum(self) -> bool:
        """Whether the next turn only adds to it, as to the sum of all costs."""
        return all(reader in self.place.steps for reader, _ in self.carried)


def states(view: View) -> list[State]:
    """Returns the states of all loops, in the order of their places."""
    backward, turns = view.backward, view.turns
    found = []
    for place in turns.places:
        if len(place.steps) < 2:
            continue
        edges = [edge for number in place.steps for edge in backward.readers.get(number, ())]
        carried = [edge for edge in edges if turns.is_carried(*edge)]
        if carried:
            state = State(place, carried, [edge for edge in edges if edge not in set(carried)])
            name = backward.steps[place.steps[0]].name
            if not (state.is_sum and name not in ("add", "subtract")):
                found.append(state)
    return found


def _loops(found: Sequence[State]) -> list[list[State]]:
    """Returns the states of each loop. Places that run by turns belong to one loop."""
    loops: list[list[State]] = []
    end = -1
    for state in sorted(found, key=lambda state: state.place.steps[0]):
        if not loops or state.place.steps[0] > end:
            loops.append([])
            end = state.place.steps[-1]
        loops[-1].append(state)
        end = max(end, state.place.steps[-1])
    return loops


def states_not_carried(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what comes from the next turn of a loop is left out, or replaces what comes otherwise."""
    for loop in _loops([state for state in states(view) if not state.is_sum]):
        place, names = loop[-1].place, _names(view, loop)
        whole = Change({edge: nothing for state in loop for edge in state.carried})
        if not view.can_explain(whole):
            continue
        many = "the states" if len(names) > 1 else "the state"
        yield Mutant(
            f"{place.where}: {many} {' and '.join(names)} {_be(names)} not carried back to the turn before: "
            "truncated to 1 step", whole, place
        )  # fmt: skip
        for state, name in zip(loop, names, strict=True):
            where = f"{state.place.where}: what goes back to {name}"
            if len(loop) > 1:
                change = Change(dict.fromkeys(state.carried, nothing))
                yield Mutant(
                    f"{where} from the next turn is left out: that state is not carried back", change, state.place
                )
            for reader in sorted({view.turns.place(number).steps for number, _ in state.carried}):  # type: ignore[union-attr]
                edges = [edge for edge in state.carried if edge[0] in reader]
                if len(edges) < len(state.carried):
                    line = view.backward.steps[reader[0]].source.line
                    change = Change(dict.fromkeys(edges, nothing))
                    yield Mutant(f"{where} from line {line} of the next turn is left out", change, state.place)
            last = state.place.steps[-1]
            inner = {edge for edge in state.others if view.backward.steps[edge[0]].inputs[edge[1]] != last}
            if inner:
                change = Change(dict.fromkeys(inner, nothing))
                cause = "counts only if it comes from the next turn: the rest is overwritten, not added (= for +=)"
                yield Mutant(f"{where} {cause}", change, state.place)


def states_added_late(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what comes from the next turn is added after some of what goes back was computed."""
    backward, turns = view.backward, view.turns
    for state in states(view):
        if state.is_sum:
            continue
        late: dict[int, list[Edge]] = {}
        for reader, k in state.carried:
            late.setdefault(backward.steps[reader].inputs[k], []).append((reader, k))
        name = turns.name(state.place.steps[-1], state.place.source)
        for ways in _ways_from(backward, state.place.steps):
            change = Change(
                {way[-1]: _without(backward, way, late[way[0][0]]) for way in ways if way[0][0] in late}
            )  # fmt: skip
            place = turns.place(ways[0][-1][0])
            if place is not None and change.edges and view.can_explain(change):
                to = turns.read(place, ways[0][-1][1])
                cause = f"what comes back to {name} from the next turn is added too late: it is missing in what goes to"
                yield Mutant(f"{place.where}: {cause} {to}", change, place)


def _ways_from(backward: Backward, steps: Sequence[int]) -> list[list[tuple[Edge, ...]]]:
    """Returns the edges from some steps to their inputs, and on to the inputs of these, each for all steps."""
    found: dict[tuple[int, ...], list[tuple[Edge, ...]]] = {}
    for number in steps:
        for k, source in backward.inner(number):
            found.setdefault((k,), []).append(((number, k),))
            if len(backward.readers.get(source, ())) == 1:
                for j, _ in backward.inner(source):
                    found.setdefault((k, j), []).append(((number, k), (source, j)))
    return list(found.values())


def _without(backward: Backward, way: Sequence[Edge], late: Sequence[Edge]) -> EdgeRule:
    """Makes the rule by which what comes along some edges is missing at the end of a way."""

    def rule(bars: Bars, up: Reals) -> Reals:
        missing = np.zeros(np.shape(backward.values[way[0][0]]))
        for reader, k in late:
            missing = missing + backward.through(reader, k, bars(reader))
        for number, k in way[:-1]:
            missing = backward.through(number, k, missing)
        return backward.through(*way[-1], up - missing)

    return rule


def _names(view: View, loop: Sequence[State]) -> list[str]:
    return [view.turns.name(state.place.steps[-1], state.place.source) for state in loop]


def _be(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"


def truncated(view: View) -> Iterator[Mutant]:
    """Yields mutants in which back-propagation through the turns of a loop ends early."""
    backward = view.backward
    for loop in _loops([state for state in states(view) if not state.is_sum]):
        place = loop[-1].place
        carried = [edge for state in loop for edge in state.carried]
        length = max(len(state.place.steps) for state in loop)
        if length < 3 or not view.can_explain(Change(dict.fromkeys(carried, nothing))):
            continue
        before: dict[int, Reals] = {}
        for k in range(1, min(length, _MOST_TURNS + 1)):
            # what has come through fewer turns goes back through one turn more
            change = Change({edge: _from(backward, *edge, dict(before)) for edge in carried})
            if k > 1:
                yield Mutant(f"{place.where}: back-propagation through time is truncated to {k} steps", change, place)
            off = backward.change_of_bars(change)
            before = {n: backward.bars[n] + off.get(n, 0.0) for n, _ in carried}
        at = {edge: view.turns.turn(edge[0]) for edge in carried}
        last = max(at.values())
        for k in range(1, min(last, _MOST_TURNS)):
            change = Change({edge: nothing for edge, turn in at.items() if turn == last + 1 - k})
            yield Mutant(
                f"{place.where}: back-propagation through time stops {k} turn{'s' * (k > 1)} before the end",
                change,
                place,
            )
        for k in range(2, min(last, _MOST_TURNS)):
            change = Change({edge: nothing for edge, turn in at.items() if turn % k == 0})
            yield Mutant(f"{place.where}: the state is detached every {k} turns", change, place)


def _from(backward: Backward, number: int, k: int, bars: dict[int, Reals]) -> EdgeRule:
    """Makes the rule by which a sensitivity that was found before goes back; nothing goes back if there is none."""
    if number not in bars:
        return nothing
    return lambda _, up: backward.through(number, k, bars[number])


def costs_left_out(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the cost of some turns is left out."""
    backward, turns = view.backward, view.turns
    terms: list[tuple[Place, list[Edge]]] = []
    for state in states(view):
        if state.is_sum:
            own = [(n, k) for n in state.place.steps for k, _ in backward.inner(n) if not turns.is_carried(n, k)]
            terms.append((state.place, own))
    for place in turns.places:
        readers = {reader for number in place.steps for reader, _ in backward.readers.get(number, ())}
        if len(place.steps) > 1 and len(readers) == 1 and np.prod(turns.shape(place.steps[0])) == 1:
            terms.append((place, [edge for number in place.steps for edge in backward.readers.get(number, ())]))
    for place in turns.places:  # the values of all turns, put together
        (number, *others) = place.steps
        step = backward.steps[number]
        if not others and step.name == GATHER.name and len(step.inputs) > 2:
            terms.append((place, [(number, k) for k, _ in backward.inner(number)]))
    for place, edges in terms:
        if len(edges) < 2:
            continue
        for words, some in {
            "only what the last turn adds counts: the other turns are left out": edges[:-1],
            "only what the first turn adds counts: the other turns are left out": edges[1:],
            "what the first turn adds is left out": edges[:1],
            "what the last turn adds is left out": edges[-1:],
        }.items():
            change = Change(dict.fromkeys(some, nothing))
            if view.can_explain(change):
                yield Mutant(f"{place.where}: {words} on the way back", change, place)


def values_of_other_turns(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the other factor of a product is that of the turn before, or of the turn after."""
    backward, turns = view.backward, view.turns
    for place in turns.places:
        name = backward.steps[place.steps[0]].name
        if len(place.steps) < 3 or name not in (MATMUL.name, "multiply"):
            continue
        for k in (0, 1):
            own = [backward.steps[number].inputs[1 - k] for number in place.steps]
            edges = [(number, k) for number in place.steps if k in dict(backward.inner(number))]
            if not edges or len(set(own)) < 2 or not view.can_explain(Change(dict.fromkeys(edges, nothing))):
                continue
            to = turns.read(place, k, [number for number, _ in edges])
            for words, shift in (("the turn before", -1), ("the next turn", 1)):
                rules: dict[Edge, EdgeRule] = {}
                for turn, number in enumerate(place.steps):
                    if (number, k) in edges:
                        rules[number, k] = _with(backward, number, k, turns.value_at(own, turn + shift))
                cause = (
                    f"is built with the value of {words}, in the place of {turns.read(place, 1 - k)} of its own turn"
                )
                yield Mutant(f"{place.where}: what goes back to {to} {cause}", Change(rules), place)


def slopes_of_states_before(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the derivative of a state's function is computed from the state of the turn before."""
    backward, turns = view.backward, view.turns
    functions = {function.top: function for function in view.functions if function.name in _BY_VALUE}
    for place in turns.places:
        if len(place.steps) < 2 or not all(number in functions for number in place.steps):
            continue
        for signal in turns.signals(place):
            shapes = [turns.shape(number) for number in signal.steps]
            if not _are_before(signal.steps, place.steps) or shapes != [turns.shape(n) for n in place.steps]:
                continue
            change = merged(
                block(n, functions[n].bottom, _times(_BY_VALUE[functions[n].name](backward.values[before])))
                for n, before in zip(place.steps, signal.steps, strict=True)
            )
            if view.can_explain(change):
                cause = f"the derivative of {functions[place.steps[0]].name} is taken at the state of the turn before"
                yield Mutant(f"{place.where}: {cause}", change, place)


def _are_before(steps: Sequence[int], states: Sequence[int]) -> bool:
    """Whether the steps of some turns are the states of the turns before; a loop that runs again begins with others."""
    before = dict(zip(states[1:], states[:-1], strict=True))
    carried = [step == before.get(state) for step, state in zip(steps, states, strict=True)]
    return any(carried) and not any(step in states for step, is_it in zip(steps, carried, strict=True) if not is_it)


def _times(factor: Reals) -> Callable[[Bars, Reals], Reals]:
    return lambda bars, up: up * factor


def stacked_values_of_other_turns(view: View) -> Iterator[Mutant]:
    """Yields mutants in which an array's gradient is built with the states of other turns, stacked for one product."""
    backward, turns = view.backward, view.turns
    for place in turns.places:
        if len(place.steps) > 1 or backward.steps[place.steps[0]].name != MATMUL.name:
            continue
        (number,) = place.steps
        for k in sorted(dict(backward.inner(number))):
            stack, moved = base(backward, backward.steps[number].inputs[1 - k])
            step = backward.steps[stack]
            made = turns.place(step.inputs[0]) if step.name == GATHER.name and len(step.inputs) > 2 else None
            if made is None or made.steps != step.inputs or not view.can_explain(Change({(number, k): nothing})):
                continue
            shapes = [turns.shape(source) for source in step.inputs]
            for signal in turns.signals(made):
                if signal.steps != made.steps and [turns.shape(source) for source in signal.steps] == shapes:
                    values = [backward.values[source] for source in signal.steps]
                    other = moved(step.primitive.value(values, **step.attributes))
                    change = Change({(number, k): with_other(backward, number, k, other)})
                    to, own = turns.read(place, k), turns.name(made.steps[-1])
                    cause = f"what goes back to {to} is built with {signal.words} instead of {own}"
                    yield Mutant(f"{place.where}: {cause}", change, place)


def _with(backward: Backward, number: int, k: int, value: Reals | None) -> EdgeRule:
    if value is None or np.shape(value) != np.shape(backward.x(number)[1 - k]):
        return nothing
    if backward.steps[number].name == MATMUL.name:
        return with_other(backward, number, k, value)
    return multiplied(backward, number, k, value)


def mixed_the_other_way(view: View) -> Iterator[Mutant]:
    """Yields mutants in which factors of two products that are added are exchanged on the way back, as z and 1 - z."""
    backward, turns = view.backward, view.turns
    for place in turns.places:
        step = backward.steps[place.steps[-1]]
        parts = [turns.place(source) for source in step.inputs]
        if step.name != "add" or len(parts) != 2 or any(part is None for part in parts):
            continue
        one, two = (part for part in parts if part is not None)
        is_pair = all(backward.steps[part.steps[-1]].name == "multiply" for part in (one, two))
        if not is_pair or len(one.steps) != len(two.steps) or one is two:
            continue
        for i in (0, 1):
            for j in (0, 1):
                rules: dict[Edge, EdgeRule] = {}
                for a, b in zip(one.steps, two.steps, strict=True):
                    x, y = backward.x(a)[i], backward.x(b)[j]
                    if np.shape(x) == np.shape(y):
                        for (number, k), factor in (((a, 1 - i), y), ((b, 1 - j), x)):
                            if k in dict(backward.inner(number)):
                                rules[number, k] = multiplied(backward, number, k, factor)
                change = Change(rules)
                if rules and view.can_explain(change):
                    cause = f"the factors {turns.read(one, i)} and {turns.read(two, j)} are exchanged on the way back"
                    yield Mutant(f"{place.where}: {cause}", change, place)


def exchanged_gates(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the sensitivities of two parts of one value, such as of two gates, are exchanged."""
    backward, turns = view.backward, view.turns
    parts: dict[tuple[int, ...], list[Place]] = {}
    for place in turns.places:
        if backward.steps[place.steps[0]].name in ("strided", "slice", "gather") and turns.shape(place.steps[0]):
            sources = tuple(backward.steps[number].inputs[0] for number in place.steps)
            if not all(source in turns.arrays for source in sources):
                parts.setdefault(sources, []).append(place)
    for gates in parts.values():
        for one, two in combinations(gates[:_MOST_GATES], 2):
            if turns.shape(one.steps[0]) != turns.shape(two.steps[0]):
                continue
            pairs = list(zip(one.steps, two.steps, strict=True))
            change = merged(
                Change({(a, 0): by_sensitivity(backward, a, 0, b), (b, 0): by_sensitivity(backward, b, 0, a)})
                for a, b in pairs
            )
            if view.can_explain(change):
                lines = " and ".join(str(place.source.line) for place in (_outer(view, one), _outer(view, two)))
                cause = f"the sensitivities of the parts that lines {lines} take are exchanged"
                yield Mutant(f"{one.where}: {cause}", change, one)


def _outer(view: View, place: Place) -> Place:
    """Returns a place with the line that called its function, if it is in one."""
    source = place.source
    while source.caller is not None and source.caller.line:
        source = source.caller
    return place._replace(source=source)


#: The families of this module, but for those of `OTHERS`.
FAMILIES: tuple[Family, ...] = (states_not_carried, costs_left_out, mixed_the_other_way)
#: Those in which another value stands in the place of the right one. They have many mutants, so they are tried last.
OTHERS: tuple[Family, ...] = (
    values_of_other_turns,
    stacked_values_of_other_turns,
    slopes_of_states_before,
    states_added_late,
    truncated,
    exchanged_gates,
)

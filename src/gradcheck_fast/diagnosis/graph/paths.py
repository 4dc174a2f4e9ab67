"""Lists mistakes with what goes back along one edge: it is left out, has a wrong factor, or is all that counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.graph.backward import Change
from gradcheck_fast.diagnosis.graph.mutants import Mutant, nothing
from gradcheck_fast.diagnosis.graph.places import MOVEMENT
from gradcheck_fast.diagnosis.graph.several_uses import equal_parts, the_use
from gradcheck_fast.program.steps.movement import GATHER

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, EdgeRule, Reals
    from gradcheck_fast.diagnosis.graph.mutants import Family, View
    from gradcheck_fast.diagnosis.graph.places import Place

#: At most this many readers of a value are tried as the only one that counts.
_MOST_READERS = 8
#: The strength of a penalty is fitted to at least so many entries.
_ENTRIES = 4
#: The steps that are linear; nobody calls a linear function of parameters a penalty.
_LINEAR = frozenset({*MOVEMENT, "add", "subtract", "negative", "sum", "divide"})
#: A penalty is one of squares if the quotients of its gradient and the parameters differ by less than this part.
_SAME_DECAY = 1e-9


def penalties(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a term of the cost that has only parameters in it sends nothing back, or too much."""
    backward = view.backward
    tops, parts = _penalties(view)
    for what, numbers in (("the penalty", tops), ("a part of the penalty", parts - tops)):
        for place in view.places_of(numbers):
            change = Change({(n, k): nothing for n in place.steps for k, _ in backward.inner(n)})
            yield Mutant(
                f"{place.where}: {what}{_of_arrays(view, place)} {{factor}} in the gradient", change, place, scales=True
            )


def penalties_of_another_strength(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a penalty has any other strength in the gradient; it is fitted to many entries."""
    backward = view.backward
    tops, parts = _penalties(view)
    for what, numbers in (("the penalty", tops), ("a part of the penalty", parts - tops)):
        for place in view.places_of(numbers):
            edges = [(n, k) for n in place.steps for k, _ in backward.inner(n)]
            strength = _strength(view, Change(dict.fromkeys(edges, nothing)))
            if strength is not None:
                change = Change({edge: _scaled(backward, *edge, strength) for edge in edges})
                cause = f"{what}{_of_arrays(view, place)} has {strength:.6g} times its strength in the gradient"
                yield Mutant(f"{place.where}: {cause}", change, place)


def _of_arrays(view: View, place: Place) -> str:
    arrays = [view.names[at] for at in sorted(view.backward.arrays_below(place.steps))]
    return f" of {', '.join(arrays)}" if len(arrays) < len(view.names) else ""


def _strength(view: View, left_out: Change) -> float | None:
    """Returns by what a penalty is multiplied, if it explains the arrays that are wrong as well as it can."""
    backward = view.backward
    without = backward.change_of_gradient(left_out)
    numbered = zip(backward.parameters, view.names, strict=True)
    found = [
        (np.ravel(without[number]), np.ravel(view.analytic[name] - backward.bars[number]))
        for number, name in numbered
        if number in without and name in view.wrong and name in view.analytic
    ]
    if sum(np.count_nonzero(part) for part, _ in found) < _ENTRIES:
        return None
    part, error = (np.concatenate(each) for each in zip(*found, strict=True))
    return 1.0 - float(part @ error / (part @ part))


def _scaled(backward: Backward, number: int, k: int, factor: float) -> EdgeRule:
    return lambda bars, up: factor * backward.through(number, k, up)


def _penalties(view: View) -> tuple[set[int], set[int]]:
    """Returns the terms of the cost that are computed from parameters alone, and the sums in them."""
    return view.backward.once("penalties", lambda: _find_penalties(view))


def _find_penalties(view: View) -> tuple[set[int], set[int]]:
    backward = view.backward
    # whether any data goes into a step, or more than one array into a product; single numbers are no data
    has_data = [False] * len(backward.steps)
    is_curved = [False] * len(backward.steps)
    for number, step in enumerate(backward.steps):
        is_product = step.name in ("multiply", "matmul") and len(backward.inner(number)) < 2
        is_linear = step.name in _LINEAR or is_product or not step.inputs
        is_curved[number] = not is_linear or any(is_curved[source] for source in step.inputs)
        is_data = step.name == GATHER.name or (view.turns.is_constant(number) and math.prod(step.shape) > 1)
        if step.name in ("multiply", "matmul") and len(backward.inner(number)) > 1 and not is_data:
            is_data = len(backward.arrays_below([number])) > 1
        has_data[number] = is_data or any(has_data[source] for source in step.inputs)
    terms = {n for n in backward.bars if is_curved[n] and not has_data[n] and view.turns.shape(n) == ()}
    with_data = {n: [reader for reader, _ in backward.readers.get(n, ()) if has_data[reader]] for n in terms}
    # what is added to each sample is a part of the cost of each
    tops = {n for n, readers in with_data.items() if readers and all(view.turns.shape(k) == () for k in readers)}
    return tops, {n for n in terms if backward.steps[n].name == "sum"}


def penalties_elsewhere(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a penalty of squares is in the gradient of what it does not cover in the loss."""
    backward = view.backward
    tops, _ = _penalties(view)
    for place in view.places_of(tops):
        without = backward.change_of_gradient(
            Change({(n, k): nothing for n in place.steps for k, _ in backward.inner(n)})
        )  # fmt: skip
        covered = [(-part[part != 0.0], backward.values[number][part != 0.0]) for number, part in without.items()]
        share = np.concatenate([part / theta for part, theta in covered] or [np.zeros(0)])
        if not share.size or not np.isfinite(share).all() or np.ptp(share) > _SAME_DECAY * np.abs(share).max():
            continue
        decay = float(np.median(share))
        for number, name in zip(backward.parameters, view.names, strict=True):
            readers = backward.readers.get(number, ())
            if name in view.wrong and readers:
                theta = backward.values[number]
                added = decay * np.where(without.get(number, np.zeros_like(theta)) == 0.0, theta, 0.0)
                edge = readers[0]
                change = Change({edge: _plus(backward, *edge, added)})
                cause = f"the penalty is in the gradient of {name}, too, which it does not cover in the loss"
                yield Mutant(f"{place.where}: {cause}", change, place)


def _plus(backward: Backward, number: int, k: int, added: Reals) -> EdgeRule:
    return lambda bars, up: backward.through(number, k, up) + added


def wrong_paths(view: View) -> Iterator[Mutant]:
    """Yields mutants in which nothing goes back along an edge, or what goes back there has a wrong factor."""
    backward, turns = view.backward, view.turns
    for place in view.places:
        sides = sorted({k for number in place.steps for k, _ in backward.inner(number)})
        for k in sides:
            found = _edges(view, place, k)
            sources = [backward.steps[number].inputs[k] for number, k in found]
            # where an array is read but once, that is the gradient of the array times a factor
            if all(source in backward.parameters and len(backward.readers[source]) == 1 for source in sources):
                continue
            if len(sides) == 1 and all(len(backward.readers.get(number, ())) == 1 for number, _ in found):
                continue  # the same as above, where the only reader sends something back
            change = Change(dict.fromkeys(found, nothing))
            if not view.can_explain(change):
                continue
            to = turns.read(place, k, [number for number, _ in found])
            twins = equal_parts(backward, found)
            if twins is None:
                said = f"what goes back to {to}{the_use(backward, place, found)}"
                yield Mutant(f"{place.where}: {said} {{factor}}", change, place, scales=True)
            else:
                of = f"{place.where}: what goes back to {to} from this line"
                yield Mutant(f"{of} is halved: of two equal parts one is left out", change, place)
                both = Change(dict.fromkeys([*found, *twins], nothing))
                yield Mutant(f"{of} in two equal parts is left out", both, place)
    yield from _parts_put_together(view)


def _parts_put_together(view: View) -> Iterator[Mutant]:
    """The same for one step of a call that puts parts together in several, as where one of the parts is a buffer."""
    backward, turns = view.backward, view.turns
    for place in view.places:
        kinds = {(backward.steps[n].shape, len(backward.steps[n].inputs)) for n in place.steps}
        if len(kinds) < 2 or len(kinds) < len(place.steps) or backward.steps[place.steps[0]].name != GATHER.name:
            continue
        for number in place.steps:
            own = place._replace(steps=(number,))
            for k, source in backward.inner(number):
                change = Change({(number, k): nothing})
                if turns.place(source) is not turns.place(number) and view.can_explain(change):
                    cause = f"{place.where}: what goes back to {turns.read(own, k)} {{factor}}"
                    yield Mutant(cause, change, place, scales=True)


def wrong_values(view: View) -> Iterator[Mutant]:
    """Yields mutants in which nothing goes back from a value that has a name, or all of it has a wrong factor."""
    backward, turns = view.backward, view.turns
    for place in turns.places:
        edges = [(number, k) for number in place.steps for k, _ in backward.inner(number)]
        change = Change(dict.fromkeys(edges, nothing))
        if len(edges) > len(place.steps) and turns.is_known(place.steps[-1]) and view.can_explain(change):
            name = turns.name(place.steps[-1], place.source)
            yield Mutant(f"{place.where}: all that goes back from {name} {{factor}}", change, place, scales=True)


def _edges(view: View, place: Place, k: int) -> list[tuple[int, int]]:
    return [(n, k) for n in place.steps if any(k == at for at, _ in view.backward.inner(n))]


def _by_reader(view: View, steps: Iterable[int], least: int = 1) -> dict[tuple[Place, int], list[tuple[int, int]]]:
    """Returns the edges of what reads some steps, by place and input, if anything goes back along them.

    It returns none if there are fewer than `least`.
    """
    backward, turns = view.backward, view.turns
    found: dict[tuple[Place, int], list[tuple[int, int]]] = {}
    for number in steps:
        for reader, k in backward.readers.get(number, ()):
            place = turns.place(reader)
            if place is not None:
                # a step of many inputs, as one that stacks the values of all turns, is one reader
                found.setdefault((place, k if len(backward.steps[reader].inputs) < 3 else 0), []).append((reader, k))
    if len(found) < least:
        return {}
    some = {key: [edge for edge in edges if np.any(backward.flow(*edge))] for key, edges in found.items()}
    return {key: edges for key, edges in some.items() if edges}


def only_readers(view: View) -> Iterator[Mutant]:
    """Yields mutants in which of all that reads a value only one place counts, as if = stood for +=."""
    backward, turns = view.backward, view.turns
    for steps in [place.steps for place in turns.places] + [(number,) for number in backward.parameters]:
        by_reader = _by_reader(view, steps, 3)
        if not 2 < len(by_reader) <= _MOST_READERS:  # of two, one is left out: see wrong_paths
            continue
        for kept in by_reader:
            others = [edge for key, edges in by_reader.items() if key != kept for edge in edges]
            change = Change(dict.fromkeys(others, nothing))
            if not view.can_explain(change):
                break
            name = turns.name(steps[-1])
            cause = f"of what goes back to {name} only the part from here counts (= for +=)"
            yield Mutant(f"{kept[0].where}: {cause}", change, kept[0])


def pairs_of_paths(view: View) -> Iterator[Mutant]:
    """Yields mutants in which nothing comes to a value from two of the places that read it, if there are several."""
    turns = view.turns
    for place in turns.places:
        by_reader = _by_reader(view, place.steps, 4)
        if not 3 < len(by_reader) <= _MOST_READERS:
            continue
        for (one, first), (two, second) in combinations(by_reader.items(), 2):
            change = Change(dict.fromkeys([*first, *second], nothing))
            if not view.can_explain(change):
                break
            both = (one[0], two[0])
            lines = " and ".join(dict.fromkeys(_line(view, reader, by_reader, both) for reader in both))
            name = turns.name(place.steps[-1], place.source)
            yield Mutant(f"{place.where}: what goes back to {name} from {lines} is left out", change, one[0])


def _line(view: View, reader: Place, readers: Iterable[tuple[Place, int]], chosen: Iterable[Place]) -> str:
    """Says in which line something reads a value, and what that is, if the line has other readers of it as well."""
    line = reader.source.line
    is_shared = any(other.source.line == line and other not in chosen for other, _ in readers)
    return f"line {line}" + f", {view.turns.name(reader.steps[-1], reader.source)}," * is_shared


def nothing_from_terms(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a term of the cost sends nothing back; penalties have words of their own."""
    backward, turns = view.backward, view.turns
    tops, _ = _penalties(view)
    found = [
        number
        for number in backward.bars
        if backward.steps[number].name in ("add", "subtract") and len(backward.inner(number)) == 2
        and turns.shape(number) == ()
    ]  # fmt: skip
    for place in view.places_of(found):
        for k in (0, 1):
            sources = {backward.steps[number].inputs[k] for number in place.steps}
            if any(turns.place(source) is turns.place(place.steps[-1]) for source in sources):
                continue  # the sum of the turns before
            if any(backward.above[top] >> source & 1 for top in tops for source in sources):
                continue
            change = Change({(number, k): nothing for number in place.steps})
            if view.can_explain(change):
                yield Mutant(f"{place.where}: what goes back to {turns.read(place, k)} is left out", change, place)


def nothing_from_lines(view: View) -> Iterator[Mutant]:
    """Yields mutants in which one line sends nothing back to a value that it reads more than once."""
    for mutant in factors_from_lines(view):
        yield mutant._replace(cause=mutant.cause.replace("{factor}", "is left out"), scales=False)


def factors_from_lines(view: View) -> Iterator[Mutant]:
    """Yields mutants in which all that one line sends back to a value that it reads more than once has a factor."""
    backward, turns = view.backward, view.turns
    for place in turns.places:
        lines: dict[tuple[str, int], list[tuple[int, int]]] = {}
        edges = [edge for number in place.steps for edge in backward.readers.get(number, ())]
        for reader, k in edges:
            source = backward.steps[reader].source
            lines.setdefault((source.file, source.line), []).append((reader, k))
        for (file, line), some in lines.items():
            is_own = (file, line) == (place.source.file, place.source.line)
            if is_own or not len(place.steps) < len(some) < len(edges):
                continue
            change, at = Change(dict.fromkeys(some, nothing)), turns.place(some[0][0])
            if at is not None and view.can_explain(change):
                name = turns.name(place.steps[-1], at.source)
                yield Mutant(f"{at.where}: all that goes back from here to {name} {{factor}}", change, at, scales=True)


def uses_in_turns(view: View) -> Iterator[Mutant]:
    """Yields mutants in which some turns of a loop that read a value add nothing to it, such as all but the first."""
    turns = view.turns
    for place in turns.places:
        number = place.steps[-1]
        if number in turns.arrays:
            continue
        name = turns.name(number)
        for (reader, _), edges in _by_reader(view, [number]).items():
            if 1 < len(edges) == len(reader.steps):
                for which, kept in (("first", edges[0]), ("last", edges[-1])):
                    change = Change(dict.fromkeys((edge for edge in edges if edge != kept), nothing))
                    if view.can_explain(change):
                        cause = f"of what all turns send back to {name} only that of the {which} counts (= for +=)"
                        yield Mutant(f"{reader.where}: {cause}", change, reader)
            elif len(edges) == 1 < len(reader.steps) and edges[0][0] == reader.steps[0]:
                change = Change({edges[0]: nothing})
                if view.can_explain(change):
                    cause = f"what goes back to {name} from the first turn of the loop {{factor}}"
                    yield Mutant(f"{reader.where}: {cause}", change, reader, scales=True)


def forgotten_uses(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the uses of an array in one line add nothing to its gradient, if there are others."""
    backward, turns = view.backward, view.turns
    uses: dict[int, dict[tuple[str, int], list[tuple[int, int]]]] = {}
    for number, array in turns.arrays.items():
        for reader, k in backward.readers.get(number, ()):
            if reader not in turns.arrays:
                source = backward.steps[reader].source
                uses.setdefault(array, {}).setdefault((source.file, source.line), []).append((reader, k))
    for array, by_line in uses.items():
        for edges in by_line.values() if len(by_line) > 1 else ():
            change = Change(dict.fromkeys(edges, nothing))
            place = turns.place(edges[0][0])
            if place is not None and view.can_explain(change):
                cause = f"{place.where}: this use of {view.name_of(array)} {{factor}} in its gradient"
                yield Mutant(cause, change, place, scales=True)


#: Those that say more than the derivative of a function that is read together with others.
EARLY: tuple[Family, ...] = (nothing_from_lines, nothing_from_terms)
#: All others of this module.
FAMILIES: tuple[Family, ...] = (
    penalties,
    penalties_elsewhere,
    penalties_of_another_strength,
    forgotten_uses,
    factors_from_lines,
    wrong_paths,
    wrong_values,
    only_readers,
    pairs_of_paths,
    uses_in_turns,
)

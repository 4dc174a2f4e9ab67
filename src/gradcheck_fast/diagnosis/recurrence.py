"""Lists mistakes of back-propagation through time: within a cell, and on the way from one time to another.

Most are families of mutants. The truncated gradients stand apart, because no change of single edges gives them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.adjoint import Change
from gradcheck_fast.diagnosis.view import Family, Mutant, Use, View, merged, nothing, times
from gradcheck_fast.engine._program import NOTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.adjoint import Rows, Rule
    from gradcheck_fast.diagnosis.cells import Group


# ---- from one time to another


def state_not_carried(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the state's sensitivity does not go back in time, or not everywhere."""
    for group in view.recurrent:
        every = range(1, group.times)
        cause = f"in {group.where} no state is carried back in time: truncated to 1 step"
        yield Mutant(cause, _cut(view, group, every))
        if len(group.state) > 1:
            for role in group.state:
                cause = f"in {group.where} {group.names[role]} is not carried back in time"
                yield Mutant(cause, _cut(view, group, every, {role}))
        for k in range(1, group.times):
            cause = f"in {group.where} back-propagation through time stops {k} steps before the end"
            yield Mutant(cause, _cut(view, group, [group.times - k]))
        for k in range(2, group.times):
            cause = f"in {group.where} the state is detached every {k} steps"
            yield Mutant(cause, _cut(view, group, range(k, group.times, k)))


def _cut(view: View, group: Group, at: range | list[int], roles: set[int] | None = None) -> Change:
    """Cuts the paths by which some times read the state of the time before, all of it or some roles.

    The paths that carry the state of a sample on after its end are not cut.
    """
    readers = [
        (reader, position)
        for role, found in group.state.items()
        for reader, position in found
        if (roles is None or role in roles) and view.steps[group.cells[0][reader]].name != "where"
    ]
    return Change({(group.cells[k][role], position): nothing for k in at for role, position in readers}, {})


def times_left_out(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the first or the last time adds nothing to the gradients, or its cost does not count."""
    found = view.recurrent
    for chosen in [[group] for group in found] + ([found] if len(found) > 1 else []):
        where = "every recurrent layer" if len(chosen) > 1 else chosen[0].where
        for which, k in (("first", 0), ("last", -1)):
            own = [_no_terms(view, group.cells[k]) for group in chosen]
            yield Mutant(f"in {where} the {which} time adds nothing to the gradient", merged(own))
            inputs = [_no_inputs(view, group, group.cells[k]) for group in chosen]
            cause = f"in {where} the {which} time adds nothing to the gradient, nor to the layer below"
            yield Mutant(cause, merged(own + inputs))
    for which, k in (("first", 0), ("last", -1)):
        there = {number for group in found for number in group.cells[k]}
        for name, uses in view.uses.items():
            terms = {(use.number, use.term): nothing for use in uses if use.number in there}
            yield Mutant(f"the {which} time adds nothing to the gradient of {name}", Change({}, terms))
    costs = view.costs
    if len(costs) > 1:
        yield Mutant("the cost of the first time is left out", Change({(costs[0], 0): nothing}, {}))
        yield Mutant("the cost of the last time is left out", Change({(costs[-1], 0): nothing}, {}))
        yield Mutant("only the cost of the last time counts", Change({(n, 0): nothing for n in costs[:-1]}, {}))


def _no_terms(view: View, cell: list[int]) -> Change:
    return Change({}, {(n, k): nothing for n in cell for k in range(len(view.steps[n].terms))})


def _no_inputs(view: View, group: Group, cell: list[int]) -> Change:
    """Cuts the paths on which the affine steps of a cell send something back to the layer below."""
    own = {n for steps in group.cells for n in steps}
    return Change(
        {(n, k): nothing for n in cell for k, source in enumerate(view.steps[n].inputs)
         if source not in own and view.steps[n].is_affine},
        {},
    )  # fmt: skip


def layers_not_joined(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a layer passes sensitivities to the layer below at some times only."""
    for group in view.groups:
        if group.times > 1 and group.layer > 1:
            for what, cells in {
                "at the last time only": group.cells[:-1],
                "at all times but the last": group.cells[-1:],
                "at all times but the first": group.cells[:1],
            }.items():
                cause = f"{group.where} passes its sensitivities to the layer below {what}"
                yield Mutant(cause, merged(_no_inputs(view, group, cell) for cell in cells))


def factors_of_another_time(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a weight's gradient is built with the state, or the input, of another time."""
    for group in view.recurrent:
        place = {number: (k, role) for k, cell in enumerate(group.cells) for role, number in enumerate(cell)}
        for name, uses in view.uses.items():
            own = [use for use in uses if use.number in place]
            # what each place of a cell reads at the last time: a step of the layer itself, or something from outside
            last = {(place[use.number][1], use.term): use.source for use in own}
            role_read = {at: place[source][1] for at, source in last.items() if source in place}
            state = [use for use in own if (place[use.number][1], use.term) in role_read]
            for which, shift in (("h[t]", 0), ("h[t-2]", -2)):
                sources = []
                for use in state:
                    k, role = place[use.number]
                    at = k + shift
                    sources.append(group.cells[at][role_read[role, use.term]] if at >= 0 else NOTHING)
                if state:
                    cause = f"the gradient of {name} is built with {which} where h[t-1] belongs"
                    yield Mutant(cause, view.built_with(state, sources))
            yield from _of_another_input(view, name, place, [use for use in own if use not in state])


def _of_another_input(view: View, name: str, place: dict[int, tuple[int, int]], uses: list[Use]) -> Iterator[Mutant]:
    sources = {(*place[use.number], use.term): use.source for use in uses}
    for which, shift in (("x[t-1]", -1), ("x[t+1]", 1)):
        found = []
        for use in uses:
            k, role = place[use.number]
            found.append(sources.get((k + shift, role, use.term), NOTHING))
        if uses:
            cause = f"the gradient of {name} is built with {which} where x[t] belongs"
            yield Mutant(cause, view.built_with(uses, found))


# ---- within a cell


def paths_cut(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back along one path of a cell is left out, or has the wrong sign."""
    for group in view.recurrent:
        for role, position, target in _paths(view, group):
            cells = group.cells
            path = f"from {group.names[role]} to {target}"
            edges = [(cell[role], position) for cell in cells]
            yield Mutant(f"in {group.where} nothing goes back {path}", Change(dict.fromkeys(edges, nothing), {}))
            signs = {(n, at): view.scaled(n, at, -1.0) for n, at in edges}
            yield Mutant(f"in {group.where} what goes back {path} has the wrong sign", Change(signs, {}))


def _paths(view: View, group: Group) -> Iterator[tuple[int, int, str]]:
    """Yields the inner paths of a cell as role, number of the input, and name of what is read there."""
    last, before = group.cells[-1], group.cells[-2]
    for role, number in enumerate(last):
        if view.steps[number].name == "where":
            continue
        for position, source in enumerate(view.steps[number].inputs):
            if source in last:
                yield role, position, group.names[last.index(source)]
            elif source in before:
                yield role, position, f"{group.names[before.index(source)]}[t-1]"


def wrong_multipliers(view: View) -> Iterator[Mutant]:
    """Yields mutants in which what goes back through a product is multiplied with something else, or with nothing."""
    for group in view.recurrent:
        width = view.steps[group.cells[0][-1]].width
        for role, position, target in _paths(view, group):
            if view.steps[group.cells[0][role]].name != "multiply":
                continue
            path = f"in {group.where} what goes back from {group.names[role]} to {target}"
            edges = [(cell[role], position) for cell in group.cells]
            yield Mutant(f"{path} is not multiplied by the other factor", Change(dict.fromkeys(edges, times(1.0)), {}))
            for other, name in enumerate(group.names):
                factors = [cell[other] for cell in group.cells]
                step = view.steps[factors[0]]
                if step.is_affine or step.width != width:
                    continue
                is_gate = step.name == "sigmoid"
                values = [view.tape.values[n] for n in factors]
                yield Mutant(f"{path} is multiplied by {name}", _all_times(edges, values))
                if is_gate:
                    yield Mutant(f"{path} is multiplied by 1 - {name}", _all_times(edges, [1 - a for a in values]))
            for other in group.state:
                before = [view.tape.values[cell[other]] for cell in group.cells[:-1]]
                change = _all_times(edges, [np.zeros_like(before[0]), *before])
                yield Mutant(f"{path} is multiplied by {group.names[other]}[t-1]", change)


def _all_times(edges: list[tuple[int, int]], factors: list[Rows]) -> Change:
    return Change({edge: times(factor) for edge, factor in zip(edges, factors, strict=True)}, {})


def mixed_the_other_way(view: View) -> Iterator[Mutant]:
    """Yields mutants in which ``new + z (old - new)`` gives the share of new to old, and that of old to new."""
    for group in view.recurrent:
        for role, number in enumerate(group.cells[-1]):
            step = view.steps[number]
            if step.name != "subtract":
                continue
            product, total = role + 1, role + 2
            rules: dict[tuple[int, int], Rule] = {}
            for cell in group.cells:
                rules[cell[total], 0] = nothing
                rules[cell[role], 0] = _the_rest_of(cell[total])
                rules[cell[role], 1] = times(1.0)
            gate = view.steps[group.cells[-1][product]].inputs[0]
            z = group.names[group.cells[-1].index(gate)]
            yield Mutant(f"in {group.where} {z} and 1 - {z} are exchanged on the way back", Change(rules, {}))


def _the_rest_of(number: int) -> Rule:
    return lambda bars, up: bars[number] - up


#: All families of this module.
FAMILIES: tuple[Family, ...] = (
    state_not_carried,
    times_left_out,
    layers_not_joined,
    factors_of_another_time,
    mixed_the_other_way,
    paths_cut,
    wrong_multipliers,
)


def truncated(view: View) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yields the gradients in which each cost is propagated back through k times only, each with its name.

    They exist only for networks with a cost at every time, whose layers all run forwards. Otherwise "back through k
    times" would have more than one meaning.
    """
    found = view.recurrent
    costs = view.costs
    if not found or any("backwards" in group.where for group in view.groups) or len(costs) != found[-1].times:
        return
    at = {number: k for group in found for k, cell in enumerate(group.cells) for number in cell}
    shares = np.zeros((len(costs) + 1, view.tape.program.size))
    for time, cost in enumerate(costs):
        for number, term, share in view.tape.contributions(costs={cost}):
            initial = view.owners[term.parameter.array.offset].own in ("h0", "c0")
            back = time + 1 if initial else time - at.get(number, time)
            term.parameter.of(shares[back])[...] += share
    gradients = view.tape.decay * view.tape.theta + np.cumsum(shares, axis=0)
    for k in range(1, len(costs)):
        yield f"back-propagation through time is truncated to {k} step{'s' * (k > 1)}", gradients[k - 1]

"""Lists mistakes in the derivatives of activations, of softmax and of costs, as families of mutants."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.adjoint import Change, slope
from gradcheck_fast.diagnosis.view import Family, Mutant, View, times
from gradcheck_fast.engine._program import NOTHING
from gradcheck_fast.program.steps import ENTRYWISE, PRIMITIVES
from gradcheck_fast.program.steps.costs import COSTS
from gradcheck_fast.program.steps.softmax import softmax_back

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.adjoint import Rows, Rule

#: Formulas that are written for slopes, rightly or wrongly, as functions of z and of the value a.
FORMULAS: dict[str, Callable[[Rows, Rows], Rows]] = {
    "1 - a": lambda z, a: 1 - a,
    "1 - z": lambda z, a: 1 - z,
    "a (1 - a)": lambda z, a: a * (1 - a),
    "z (1 - z)": lambda z, a: z * (1 - z),
    "1 - a²": lambda z, a: 1 - a * a,
    "1 - z²": lambda z, a: 1 - z * z,
    "1 + a²": lambda z, a: 1 + a * a,
    "(1 - a)²": lambda z, a: (1 - a) ** 2,
    "a": lambda z, a: a,
    "z": lambda z, a: z,
}
#: The wrong formulas in which z stands where a belongs, for activations whose slope is usually written by a.
BY_VALUE = {"sigmoid": "z (1 - z)", "tanh": "1 - z²", "exp": "z"}


def wrong_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants in which an activation's derivative is left out, taken at the wrong point, or another one."""
    for where, numbers in _activations(view):
        for how, factors in _slopes(view, numbers):
            rules = {(n, 0): times(factor) for n, factor in zip(numbers, factors, strict=True)}
            yield Mutant(f"in {where} {how}", Change(rules, {}))


def _activations(view: View) -> Iterator[tuple[str, list[int]]]:
    """Yields places, in words, with the steps there: an activation of one layer, the same of all layers, and all."""
    every: dict[str, list[tuple[int, list[int]]]] = {}
    for group in view.groups:
        for role, number in enumerate(group.cells[0]):
            numbers = [cell[role] for cell in group.cells if view.is_activation(cell[role])]
            if numbers:
                operation = view.steps[number].name
                of = f", of {group.names[role]}," if len(group.cells[0]) > 3 else ""
                yield f"{group.where} the derivative of {operation}{of}", numbers
                every.setdefault(operation, []).append((group.layer, numbers))
    for operation, found in every.items():
        if len({layer for layer, _ in found}) > 1:
            yield f"every layer the derivative of {operation}", [n for _, numbers in found for n in numbers]
    if len(every) > 1:
        together = [n for found in every.values() for _, numbers in found for n in numbers]
        yield "every layer the derivative of the activation", together


def _slopes(view: View, numbers: Sequence[int]) -> Iterator[tuple[str, list[Rows]]]:
    """Yields what may stand in place of the slopes of some steps, with the words for it."""
    tape = view.tape
    zs, values = ([tape.values[k] for k in ks] for ks in ([view.steps[n].inputs[0] for n in numbers], numbers))
    operation = view.steps[numbers[0]].name
    yield "is left out", [np.ones_like(a) for a in values]
    yield "is taken at the value a instead of at z", [slope(view.steps[n].name, tape.values[n]) for n in numbers]
    yield "is applied twice", [tape.slope(n) ** 2 for n in numbers]
    for words, formula in FORMULAS.items():
        at = "is taken at z instead of at a: " if BY_VALUE.get(operation) == words else "is "
        yield at + words, [formula(z, a) for z, a in zip(zs, values, strict=True)]
    for other in ENTRYWISE:
        if other != operation:
            yield f"is that of {other}", [slope(other, z) for z in zs]


def added_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants that apply the derivative of an activation in a layer that has none."""
    for group in view.groups:
        outputs = [cell[-1] for cell in group.cells]
        if not view.steps[outputs[0]].is_affine:
            continue
        found = [(f"the derivative of {name}", [slope(name, view.tape.values[n]) for n in outputs])
                 for name in ("sigmoid", "tanh", "relu")]  # fmt: skip
        found += [(f"a factor {words}", [formula(view.tape.values[n], view.tape.values[n]) for n in outputs])
                  for words, formula in FORMULAS.items() if "z" in words]  # fmt: skip
        for what, factors in found:
            edges = {
                (reader, position): view.scaled(reader, position, factor)
                for n, factor in zip(outputs, factors, strict=True)
                for reader, position in view.readers(n)
            }
            yield Mutant(f"in {group.where} {what} is applied, but the layer has no activation", Change(edges, {}))


def half_slopes(view: View) -> Iterator[Mutant]:
    """Yields mutants in which an activation's derivative is left out in some of what is made of it.

    It is left out in the layer's own arrays or some of them, or in what goes to the layer below.
    """
    for group in view.groups:
        pairs = [(cell[0], cell[1]) for cell in group.cells if len(cell) == 2 and cell[1] in view.tape.program.needed]
        inner = any(not view.is_data(source) for z, _ in pairs for source in view.steps[z].inputs)
        for which, has_step in (("own arrays", {True, False}), ("bias", {False}), ("weights", {True})):
            terms = {
                (z, k): view.term_by(z, k, a)
                for z, a in pairs
                for k, term in enumerate(view.steps[z].terms)
                if (term.step != NOTHING) in has_step
            }
            if inner or which != "own arrays":
                cause = f"in {group.where} the activation's derivative is left out in its {which} only"
                yield Mutant(cause, Change({}, terms))
        edges = {(z, k): view.passed_by(z, k, a) for z, a in pairs for k in range(len(view.steps[z].inputs))}
        cause = f"in {group.where} the activation's derivative is left out in what goes to the layer below"
        yield Mutant(cause, Change(edges, {}))


def slopes_of_other_layers(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the derivative of a layer's activation is that of another layer."""
    for group, other in view.pairs():
        own, theirs = ([cell[-1] for cell in layer.cells] for layer in (group, other))
        if all(map(view.is_activation, own + theirs)):
            edges = {(n, 0): times(view.tape.slope(m)) for n, m in zip(own, theirs, strict=True)}
            yield Mutant(f"in {group.where} the activation's derivative is that of {other.where}", Change(edges, {}))


def wrong_softmax(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the Jacobian of a softmax layer is left out, only its diagonal, or applied twice."""
    for group in view.groups:
        ps = {cell[-1]: view.tape.values[cell[-1]] for cell in group.cells
              if view.steps[cell[-1]].name == "softmax"}  # fmt: skip
        ways: dict[str, Callable[[Rows], Rule]] = {
            "is left out": lambda p: times(1.0),
            "is only its diagonal, p (1 - p)": lambda p: times(p * (1 - p)),
            "is applied twice": lambda p: lambda bars, up: softmax_back(p, softmax_back(p, up)),
        }
        for what, way in ways.items() if ps else ():
            edges = {(n, 0): way(p) for n, p in ps.items()}
            yield Mutant(f"in {group.where} the Jacobian of softmax {what}", Change(edges, {}))


def wrong_links(view: View) -> Iterator[Mutant]:
    """Yields mutants in which the derivative of the activation that a cost contains is applied twice, or not at all.

    These are softmax with cross-entropy, and sigmoid with binary cross-entropy.
    """
    tape = view.tape
    cost = COSTS[view.steps[view.costs[0]].name]
    if not cost.link:
        return
    twice: dict[tuple[int, int], Rule] = {}
    never: dict[tuple[int, int], Rule] = {}
    for n in view.costs:
        z = tape.values[view.steps[n].inputs[0]]
        p = PRIMITIVES[cost.link].value([z])
        if cost.link == "sigmoid":
            twice[n, 0] = view.scaled(n, 0, slope("sigmoid", z))
        else:
            twice[n, 0] = _through_softmax(view, n, p)
        never[n, 0] = times(tape.cost_slope(n, cost.of_link, p))
    yield Mutant(f"the derivative of {cost.link} is applied twice: p - y has it already", Change(twice, {}))
    yield Mutant(
        f"the derivative of {cost.link} is left out: the cost's slope by p is taken for that by z", Change(never, {})
    )


def _through_softmax(view: View, number: int, p: Rows) -> Rule:
    return lambda bars, up: softmax_back(p, view.tape.through(number, 0, up))


#: All families of this module.
FAMILIES: tuple[Family, ...] = (
    wrong_links,
    wrong_slopes,
    wrong_softmax,
    added_slopes,
    half_slopes,
    slopes_of_other_layers,
)

"""Lists mistakes with what is multiplied or summed: wrong weights, values, sensitivities or samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.adjoint import Change
from gradcheck_fast.diagnosis.hypotheses import ENTRIES
from gradcheck_fast.diagnosis.view import Family, Mutant, Use, View
from gradcheck_fast.inputs.trees import split
from gradcheck_fast.program.steps import ACTIVATIONS

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.adjoint import Rows, Rule
    from gradcheck_fast.diagnosis.hypotheses import Arrays, Case
    from gradcheck_fast.engine.layout import Array

#: The weights of samples are found only if there are at most this many, because each takes a way back of its own.
_MOST_SAMPLES = 64
#: The weights of samples are found from this many entries for each sample.
_ENTRIES_PER_SAMPLE = 16


def wrong_weights(view: View) -> Iterator[Mutant]:
    """Yields mutants that multiply sensitivities with other weights, or with the right ones, not transposed."""
    theta = view.tape.theta
    for name, uses in view.uses.items():
        inner = [use for use in uses if not view.is_data(use.source)]
        if not inner:
            continue
        if all(use.parameter.rows == use.parameter.columns for use in inner):
            change = view.sent_back(inner, lambda use: use.parameter.of(theta))
            yield Mutant(f"on the way back {name} is not transposed", change)
        own = inner[0].parameter.array
        for other in view.tape.program.arrays:
            theirs = view.owners[other.offset].name
            if other == own or other.rows == 1:
                continue
            if (other.rows, other.columns) == (own.rows, own.columns):
                cause = f"on the way back {theirs} is in the place of {name}"
                yield Mutant(cause, view.sent_back(inner, _of(other, theta, transposed=True)))
            elif (other.columns, other.rows) == (own.rows, own.columns) == (inner[0].parameter.rows, own.columns):
                cause = f"on the way back {theirs}, not transposed, is in the place of {name}.T"
                yield Mutant(cause, view.sent_back(inner, _of(other, theta, transposed=False)))


def _of(array: Array, theta: Rows, *, transposed: bool) -> Callable[[Use], Rows]:
    """Returns a function from a use to the part of another array at the same place, or to all of that array.

    It is the part, transposed, if `transposed`, and else all of the array.
    """
    whole = theta[array.offset : array.offset + array.size].reshape(array.rows, array.columns)

    def weights(use: Use) -> Rows:
        p = use.parameter
        return whole[p.row : p.row + p.rows, p.column : p.column + p.columns].T if transposed else whole

    return weights


def wrong_factors(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a weight's gradient is built with other values than the layer's input."""
    signals = {group.cells[0][-1]: f"the output of {group.where}" for group in view.groups if group.times == 1}
    if len(signals) == len(view.groups):
        signals |= {number: "the data" for number in range(len(view.steps)) if view.is_data(number)}
    for name, uses in view.uses.items():
        before = [view.steps[use.source] for use in uses]
        if all(step.name in ACTIVATIONS for step in before):
            cause = f"the gradient of {name} is built with the pre-activations z below, not with the outputs a"
            yield Mutant(cause, view.built_with(uses, [step.inputs[0] for step in before]))
        for number, what in signals.items() if len(uses) == 1 else ():
            if number != uses[0].source and view.steps[number].width == before[0].width:
                cause = f"the gradient of {name} is built with {what}, not with its layer's input"
                yield Mutant(cause, view.built_with(uses, [number]))


def wrong_sensitivities(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a layer's gradient is built with the sensitivities of a layer above."""
    for group, other in view.pairs():
        if other.layer > group.layer:
            terms = {
                (own[0], k): view.term_by(own[0], k, theirs[0])
                for own, theirs in zip(group.cells, other.cells, strict=True)
                for k in range(len(view.steps[own[0]].terms))
            }
            cause = f"the gradient of {group.where} is built with the sensitivities of {other.where}"
            yield Mutant(cause, Change({}, terms))


def wrong_biases(view: View) -> Iterator[Mutant]:
    """Yields mutants in which a bias's gradient is summed along the outputs, or not summed at all."""
    ways: dict[str, Rule] = {
        "is summed over the wrong axis": lambda bars, up: up.sum(axis=1)[np.newaxis],
        "is that of the first sample alone": lambda bars, up: up[:1],
        "is that of the last sample alone": lambda bars, up: up[-1:],
    }
    for name, places in view.biases.items():
        for what, way in ways.items():
            if "axis" not in what or all(view.steps[n].width == view.tape.samples for n, _ in places):
                yield Mutant(f"the gradient of {name} {what}", Change({}, dict.fromkeys(places, way)))


def some_samples(view: View) -> Iterator[Mutant]:
    """Yields mutants in which only some samples count."""
    order = np.arange(view.tape.samples)
    for what, counts in {
        "the first sample is left out": order > 0,
        "the last sample is left out": order < order[-1],
        "only the first sample counts": order == 0,
        "only the last sample counts": order == order[-1],
    }.items():
        edges = {(n, 0): view.scaled(n, 0, counts[:, np.newaxis]) for n in view.costs}
        yield Mutant(what, Change(edges, {}))


def updated_weights(view: View, case: Case) -> Iterator[Mutant]:
    """Yields the mutant in which the weights were updated before the layers below were reached, if there may be one.

    The learning rate is fitted.
    """
    shapes = view.tape.network.shapes
    if set(case.analytic) != set(shapes):
        return
    gradient = np.concatenate([np.ravel(case.analytic[name]) for name in shapes])
    inner = [use for uses in view.uses.values() for use in uses if not view.is_data(use.source)]
    entry = max(case.layers[name] for name in case.wrong)
    names = [name for name in case.wrong if case.layers[name] == entry]

    def updated(rate: float) -> Change:
        theta = view.tape.theta - rate * gradient
        return view.sent_back(inner, lambda use: use.parameter.of(theta).T)

    def errors(of: Arrays) -> Rows:
        return np.concatenate([np.ravel(of[name] - case.numerical[name]) for name in names])

    # the error of the first wrong layer on the way back is proportional to the rate
    trial, own = errors(dict(split(view.tape.gradient(updated(1.0)), shapes))), errors(case.analytic)
    if trial.any() and len(trial) >= ENTRIES:
        rate = float(own @ trial / (trial @ trial))
        cause = f"the weights were updated (learning rate {rate:.6g}) before the layers below were reached"
        yield Mutant(cause, updated(rate))


def weighted_samples(view: View, case: Case) -> Iterator[Mutant]:
    """Yields the mutant in which some samples are left out, or count with other weights, which are fitted."""
    shapes, n = view.tape.network.shapes, view.tape.samples
    if set(case.analytic) != set(shapes) or not 1 < n <= _MOST_SAMPLES or view.tape.program.size < n + ENTRIES:
        return

    def counting(weights: Rows) -> Change:
        return Change({(k, 0): view.scaled(k, 0, weights[:, np.newaxis]) for k in view.costs}, {})

    # some entries are enough to find the weights; later all of them must agree
    some = np.random.default_rng(0).permutation(view.tape.program.size)[: _ENTRIES_PER_SAMPLE * n]
    penalty = (view.tape.decay * view.tape.theta)[some]
    each = np.stack([view.tape.gradient(counting(alone))[some] - penalty for alone in np.eye(n)], axis=1)
    given = np.concatenate([np.ravel(case.analytic[name]) for name in shapes])[some] - penalty
    fitted, _, rank, _ = np.linalg.lstsq(each, given, rcond=case.fits)
    if rank < n:
        return
    weights: Rows = np.where(np.abs(fitted - np.round(fitted)) < case.fits, np.round(fitted), fitted)
    if set(weights.tolist()) <= {0.0, 1.0}:
        missing = np.flatnonzero(weights == 0.0)
        listed = ", ".join(map(str, missing[:6])) + ", …" * (len(missing) > 6)
        cause = f"of the {n} samples, {listed} {'do' if len(missing) > 1 else 'does'} not count"
    else:
        listed = ", ".join(f"{weight:.4g}" for weight in weights[:6]) + ", …" * (n > 6)
        cause = f"the samples count with different weights: {listed}"
    yield Mutant(cause, counting(weights))


#: All families of this module that need only the view.
FAMILIES: tuple[Family, ...] = (wrong_weights, wrong_factors, wrong_biases, some_samples, wrong_sensitivities)

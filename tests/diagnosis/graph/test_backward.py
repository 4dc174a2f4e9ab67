"""The way back through a program, right and wrong: what a mistake changes is what it changes in the whole gradient."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.graph.backward import Backward, Change, OfSensitivity, Scaled, merged
from gradcheck_fast.diagnosis.graph.tangents import Tangents

RNG = np.random.default_rng(5)
X = RNG.standard_normal((6, 4))
PARAMS = {
    "W": RNG.standard_normal((4, 3)),
    "U": 0.5 * RNG.standard_normal((3, 3)),
    "b": RNG.standard_normal(3),
    "v": RNG.standard_normal(3),
}


def recurrent(p, cut=None):
    """A network that runs six times; `cut` is what the way back does not pass: it is handed on as plain numbers."""
    h = np.zeros(3)
    total = 0.0
    for t in range(6):
        h_before = cut[t] if cut is not None else h
        h = np.tanh(X[t] @ p["W"] + h_before @ p["U"] + p["b"])
        total = total + np.sum(h * p["v"]) ** 2
    return total


def states(p):
    """The states that `recurrent` begins each turn with."""
    h, found = np.zeros(3), []
    for t in range(6):
        found.append(h)
        h = np.tanh(X[t] @ p["W"] + h @ p["U"] + p["b"])
    return found


@pytest.fixture
def backward():
    trace = gf.trace(recurrent, PARAMS)
    return Backward(trace.engine, trace.pack(PARAMS).flat)


def gradient(loss):
    return gf.numerical_gradient(loss, PARAMS)


def edges_of_the_state(backward):
    """The edges by which each turn reads the state of the turn before."""
    readers = [number for number, step in enumerate(backward.steps) if step.name == "matmul"]
    tanh = [number for number, step in enumerate(backward.steps) if step.name == "tanh"]
    return [(number, k) for number in readers for k, source in backward.inner(number) if source in tanh]


def test_its_sensitivities_of_the_parameters_are_the_gradient(backward):
    right = gradient(recurrent)
    for number, name in zip(backward.parameters, PARAMS, strict=True):
        np.testing.assert_allclose(backward.bars[number], right[name], rtol=1e-12)


def test_what_goes_back_along_all_edges_adds_up_to_the_sensitivity(backward):
    for number, readers in backward.readers.items():
        total = sum(backward.flow(*edge) for edge in readers)
        np.testing.assert_allclose(total, backward.bars[number], rtol=1e-11, atol=1e-14)


def test_edges_that_are_cut_change_the_gradient_as_if_their_values_were_constants(backward):
    edges = edges_of_the_state(backward)
    assert len(edges) == 5
    changes = backward.change_of_gradient(Change({edge: lambda bars, up: None for edge in edges}))
    right, fixed = gradient(recurrent), states(PARAMS)
    wrong = gradient(lambda p: recurrent(p, fixed))
    for number, name in zip(backward.parameters, PARAMS, strict=True):
        change = changes.get(number, 0.0)
        np.testing.assert_allclose(right[name] + change, wrong[name], rtol=1e-9, atol=1e-10)


def test_a_block_passes_all_steps_between(backward):
    """The way back past tanh and the sum before it, straight to the bias, is that of tanh alone: the rest gets nothing.

    So W and U lose what came through the last turn, and the bias keeps it.
    """
    last = max(number for number, step in enumerate(backward.steps) if step.name == "tanh")
    bias = backward.parameters[2]
    change = Change({}, {last: lambda bars, up: [(bias, up * backward.slope(last, 0))]})
    changes = backward.change_of_gradient(change)
    assert np.abs(changes.get(bias, np.zeros(3)) + _through_the_state(backward, last)).max() < 1e-12


def _through_the_state(backward, last):
    """What the bias gets from the last turn by way of the state of the turn before."""
    edge = max(edges_of_the_state(backward))
    changes = backward.change_of_gradient(Change({edge: lambda bars, up: None}))
    return -changes[backward.parameters[2]]


def flat_change(backward, change):
    changes = backward.change_of_gradient(change)
    return np.concatenate([np.ravel(changes.get(n, np.zeros(backward.steps[n].shape))) for n in backward.parameters])


def directions(count=2):
    return np.random.default_rng(0).standard_normal((count, sum(np.size(p) for p in PARAMS.values())))


def test_along_directions_a_mistake_at_one_place_needs_no_way_back(backward):
    mistakes = [
        Change({(number, k): lambda bars, up, number=number, k=k: 2.5 * backward.through(number, k, up)})
        for number in sorted(backward.bars)
        for k, _ in backward.inner(number)
    ]
    found = Tangents(backward, directions()).changes(mistakes)
    expected = [directions() @ flat_change(backward, mistake) for mistake in mistakes]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_along_directions_mistakes_at_every_turn_of_a_loop_compound(backward):
    """Slopes that are left out, squared or exchanged at all turns, and a state that is carried back twice."""
    tanh = [number for number, step in enumerate(backward.steps) if step.name == "tanh"]
    sums = [backward.steps[number].inputs[0] for number in tanh]
    mistakes = [
        Change({(number, 0): lambda bars, up: up for number in tanh}),
        Change({(number, 0): lambda bars, up, number=number: up * backward.slope(number, 0) ** 2 for number in tanh}),
        Change({}, {n: lambda bars, up, below=z: [(below, up * 0.5)] for n, z in zip(tanh, sums, strict=True)}),
        Change({edge: lambda bars, up, edge=edge: 2 * backward.through(*edge, up)
                for edge in edges_of_the_state(backward)}),
        Change({edge: lambda bars, up, n=tanh[2]: 0.1 * bars(n)[:3] for edge in edges_of_the_state(backward)[:2]}),
    ]  # fmt: skip
    assert backward.is_in_series(mistakes[0])
    found = Tangents(backward, directions()).changes(mistakes)
    expected = [directions() @ flat_change(backward, mistake) for mistake in mistakes]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_along_directions_mistakes_with_different_first_and_last_turns_are_followed_together(backward):
    """What is right times a factor, from another step's sensitivity, or nothing, at the first or at the last turns."""
    edges = edges_of_the_state(backward)
    tanh = [number for number, step in enumerate(backward.steps) if step.name == "tanh"]
    mistakes = [
        Change({edge: rule(edge) for edge in some})
        for some in (edges[:2], edges[-3:], edges[1:4], edges[:1])
        for rule in (
            lambda edge: Scaled(backward, *edge, -1.5),
            lambda edge: OfSensitivity(backward, *edge, edge[0]),
            lambda edge: lambda bars, up: None,
            lambda edge: lambda bars, up: backward.through(*edge, up) + bars(tanh[-1]),
        )
    ]
    assert [backward.is_in_series(mistake) for mistake in mistakes] == [True] * 12 + [False] * 4
    found = Tangents(backward, directions()).changes(mistakes)
    expected = [directions() @ flat_change(backward, mistake) for mistake in mistakes]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_series_are_known(backward):
    tanh = [number for number, step in enumerate(backward.steps) if step.name == "tanh"]
    squares = [number for number, step in enumerate(backward.steps) if step.name == "multiply"][:1]
    slopes, one, apart = (
        Change({(number, 0): lambda bars, up: up for number in numbers}) for numbers in (tanh, tanh[:1], squares)
    )
    assert backward.is_in_series(slopes)
    assert not backward.is_in_series(one)
    assert not backward.is_in_series(apart)


def test_after_a_mistake_another_one_adds_to_it(backward):
    first, second = edges_of_the_state(backward)[-1:], edges_of_the_state(backward)[:1]
    cut = [Change({edge: lambda bars, up: None for edge in some}) for some in (first, second)]
    both = backward.change_of_gradient(merged(cut))
    one, then = backward.change_of_gradient(cut[0]), backward.after(cut[0]).change_of_gradient(cut[1])
    for number in backward.parameters:
        np.testing.assert_allclose(both.get(number, 0.0), one.get(number, 0.0) + then.get(number, 0.0), atol=1e-12)

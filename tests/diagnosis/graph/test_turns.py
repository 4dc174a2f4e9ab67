"""Steps by place and turn: what is of one turn, what is carried to the next, and what values are called."""

from __future__ import annotations

import numpy as np
from searching import explain, is_said, line_of

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.graph.backward import Backward, Change
from gradcheck_fast.diagnosis.graph.mutants import View, nothing

RNG = np.random.default_rng(2)
X = RNG.standard_normal((4, 3, 2))
PARAMS = {"W": RNG.standard_normal((2, 3)), "U": RNG.standard_normal((3, 3)), "v": RNG.standard_normal(3)}


def recurrent(p):
    h = np.zeros((3, 3))
    for t in range(4):
        z = X[t] @ p["W"] + h @ p["U"].T
        h = np.tanh(z)
    return np.sum(h @ p["v"])


def view_of(loss, params, wrong=()):
    traced = gf.trace(loss, params)
    backward = Backward(traced.engine, np.concatenate([np.ravel(array) for array in params.values()]))
    return View(backward, tuple(params), wrong=frozenset(wrong))


def numbers(view, name):
    return [number for number, step in enumerate(view.backward.steps) if step.name == name]


def test_the_steps_of_an_instruction_are_one_place_and_have_turns():
    turns = view_of(recurrent, PARAMS).turns
    states = numbers(view_of(recurrent, PARAMS), "tanh")
    place = turns.place(states[0])
    assert place.steps == tuple(states) and turns.is_single(place)
    assert [turns.turn(number) for number in states] == [0, 1, 2, 3]


def test_what_a_turn_reads_of_the_turn_before_is_carried():
    view = view_of(recurrent, PARAMS)
    states = set(numbers(view, "tanh"))
    edges = [edge for number in states for edge in view.backward.readers[number]]
    carried = [edge for edge in edges if view.turns.is_carried(*edge)]
    assert len(carried) == 3  # the last state is read after the loop
    assert not any(view.turns.is_carried(number, k) for number in states for k, _ in view.backward.inner(number))


def test_a_value_that_is_read_in_its_own_turn_is_not_carried_where_one_turn_reads_it_in_another_way():
    def loss(p):
        total = 0.0
        for t in range(4):
            row = np.exp(X[t, 0] @ p["W"])
            total += row[:3].sum() if t == 3 else np.log(row[t])
        return total

    view = view_of(loss, PARAMS)
    rows = [step for place in view.turns.places for step in place.steps if view.backward.steps[step].name == "exp"]
    assert len(rows) == 4
    assert not any(view.turns.is_carried(*edge) for row in rows for edge in view.backward.readers[row])


def test_values_are_called_by_their_variables_lines_and_arrays():
    view = view_of(recurrent, PARAMS)
    turns, state = view.turns, numbers(view, "tanh")[1]
    assert turns.name(state) == f"`h` of line {line_of(recurrent, 'h = np.tanh')}"
    assert turns.name(state, view.backward.steps[state].source) == "`h`"
    assert [turns.name(number) for number in view.backward.parameters] == ["W", "U", "v"]
    assert turns.name(numbers(view, "strided")[0]) == "U"  # a transpose is still that array


def test_the_signals_of_a_place_have_a_value_in_each_of_its_turns():
    view = view_of(recurrent, PARAMS)
    states = tuple(numbers(view, "tanh"))
    signals = {signal.steps: signal.words for signal in view.turns.signals(view.turns.place(states[0]))}
    assert states in signals
    assert all(len(steps) == 4 for steps in signals)
    before = [words for steps, words in signals.items() if steps[1:] == states[:-1]]
    assert before and before[0].endswith("(one turn before)")


def test_a_mistake_cannot_explain_the_error_of_an_array_that_it_does_not_reach_or_if_it_reaches_a_right_one():
    def cut(view):
        (number,) = (n for n in numbers(view, "matmul") if view.turns.shape(n) == (3,))
        return Change({(number, 0): nothing})

    everything = view_of(recurrent, PARAMS, {"W", "U"})
    assert everything.can_explain(cut(everything))
    assert not (only := view_of(recurrent, PARAMS, {"W"})).can_explain(cut(only))
    assert not (other := view_of(recurrent, PARAMS, {"v"})).can_explain(cut(other))


def layers(rng, mistake=""):
    """Layers of one width in a loop."""
    data, y = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    params = {name: rng.normal(size=(4, 4)) for name in ("W1", "W2", "W3")}

    def loss(p):
        a = data
        for layer in (1, 2, 3):
            z = a @ p[f"W{layer}"]
            a = np.tanh(z)
        return 0.5 * np.sum((a - y) ** 2)

    def gradient(p):
        values = [data]
        for layer in (1, 2, 3):
            values.append(np.tanh(values[-1] @ p[f"W{layer}"]))
        grads, da = {}, values[-1] - y
        for layer in (3, 2, 1):
            dz = da * (1 - values[layer] ** 2)
            grads[f"W{layer}"] = values[layer if mistake and layer == 2 else layer - 1].T @ dz
            da = dz @ p[f"W{layer}"].T
        return grads

    return loss, gradient, params


def test_a_mistake_in_one_layer_of_a_loop_over_layers_is_named_with_its_turn():
    (cause, *_) = explain(*layers(np.random.default_rng(1), "own output"))
    assert is_said(cause, r"in turn 2 of the loop: the gradient of W2 is built with `a`", line_of(layers, "z = a @"))
    assert explain(*layers(np.random.default_rng(1))) == []

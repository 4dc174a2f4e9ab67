"""Which steps belong to which layer and time, and what they are called."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.adjoint import Tape
from gradcheck_fast.diagnosis.cells import groups, owners
from gradcheck_fast.diagnosis.unrolled import unroll


def tape_of(*layers, times=3, lengths=None):
    net = gf.Network(list(layers), cost=gf.SquaredError())
    random = np.random.default_rng(0)
    X = random.normal(size=(4, times, layers[0].inputs) if times else (4, layers[0].inputs))
    loss, params = net.loss(X, random.normal(size=(4, layers[-1].outputs)), lengths=lengths), net.init(0)
    return Tape(unroll(loss), loss.pack(params).flat)


def test_arrays_are_owned_by_their_layers():
    tape = tape_of(gf.LSTM(2, 3, bidirectional=True), gf.Dense(6, 1))
    found = {owner.name: (owner.layer, owner.reverse, owner.own) for owner in owners(tape).values()}
    assert found["Wx1"] == (1, False, "Wx")
    assert found["Wh_reverse1"] == (1, True, "Wh")
    assert found["b2"] == (2, False, "b")


def test_dense_layers_are_an_affine_step_and_an_activation():
    tape = tape_of(gf.Dense(2, 3, "tanh"), gf.Dense(3, 1), times=0)
    assert [(group.layer, group.where, group.names, group.times) for group in groups(tape)] == [
        (1, "layer 1", ["z", "a"], 1),
        (2, "layer 2", ["z"], 1),
    ]


@pytest.mark.parametrize(
    ("layer", "names", "state"),
    [
        (gf.RNN(2, 3), ["z", "h"], ["h"]),
        (gf.LSTM(2, 3), ["z_f", "f", "z_g", "g", "z_i", "i", "i * g", "f * c[t-1]", "c", "z_o", "o", "tanh(c)", "h"],
         ["c", "h"]),
    ],
    ids=["rnn", "lstm"],
)  # fmt: skip
def test_steps_of_a_cell_are_called_by_gates_and_state(layer, names, state):
    first, _ = groups(tape_of(layer, gf.Dense(3, 1)))
    assert first.names == names
    assert first.times == 3
    assert sorted(first.names[role] for role in first.state) == state


def test_each_direction_is_a_group():
    found = groups(tape_of(gf.GRU(2, 3, bidirectional=True), gf.Dense(6, 1)))
    assert [group.where for group in found] == ["layer 1", "layer 1 backwards", "layer 2"]


def test_a_choice_of_a_sample_that_has_ended_is_called_like_what_it_chooses():
    first, _ = groups(tape_of(gf.RNN(2, 3), gf.Dense(3, 1), lengths=[3, 2, 1, 3]))
    assert first.names == ["z", "h", "h"]

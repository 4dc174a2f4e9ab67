"""A network's steps are the same at each time: initial states that are zero become data."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.unrolled import unroll


@pytest.mark.parametrize("lengths", [None, [3, 1, 2]])
@pytest.mark.parametrize("layer", [gf.RNN, gf.GRU, gf.LSTM])
def test_it_costs_the_same_and_every_time_has_the_same_steps(layer, lengths):
    net = gf.Network([layer(2, 4), gf.Dense(4, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    loss, params = net.loss(random.normal(size=(3, 3, 2)), random.normal(size=(3, 2)), lengths=lengths), net.init(0)
    network, _, engine = unroll(loss)
    theta = loss.pack(params).flat
    assert engine.cost(theta, 1) == loss(params)
    assert [layer.initial_state for layer in network.layers[:-1]] == ["data"]
    names = [step.name for step in engine.program.steps if not step.is_input]
    per_time = names[: (len(names) - 2) // 3]  # without the dense layer and the cost
    assert names[:-2] == 3 * per_time


def test_states_that_are_given_stay_as_they_are():
    net = gf.Network([gf.RNN(2, 4, initial_state="data"), gf.Dense(4, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    states = {"h01": random.normal(size=(3, 4))}
    loss = net.loss(random.normal(size=(3, 3, 2)), random.normal(size=(3, 2)), states=states)
    params = net.init(0)
    assert unroll(loss).engine.cost(loss.pack(params).flat, 1) == loss(params)
    assert (loss.given.data.inputs[:, -4:] == states["h01"]).all()


def test_parameters_that_are_states_stay_parameters():
    net = gf.Network([gf.GRU(2, 3, initial_state="parameters"), gf.Dense(3, 1)], cost=gf.SquaredError())
    loss = net.loss(np.ones((2, 4, 2)), np.ones((2, 1)))
    network, *_ = unroll(loss)
    assert network.shapes == net.shapes

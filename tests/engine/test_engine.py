"""The engine: values, costs and gradients in chunks of the samples, whatever their size."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from networks import flat

import gradcheck_fast as gf
from gradcheck_fast.engine import engine as module
from gradcheck_fast.engine.engine import Engine
from gradcheck_fast.running.runner import Runner

STEP = 2.0**-40


@pytest.fixture
def problem():
    net = gf.Network([gf.Dense(3, 20, "tanh"), gf.Dense(20, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    X, y, params = random.normal(size=(50, 3)), random.normal(size=(50, 2)), net.init(0)
    return net, net.loss(X, y)._engine, X, y, flat(params), params


def test_the_cost_and_the_values_of_steps(problem):
    _, engine, X, y, theta, params = problem
    predicted = np.tanh(X @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
    assert engine.cost(theta, 1) == pytest.approx(np.mean((predicted - y) ** 2), rel=1e-14)
    np.testing.assert_allclose(engine.values(theta, [3], 1), predicted, rtol=1e-13)
    both = engine.values(theta, [1, 3], 2)
    np.testing.assert_allclose(both, np.hstack([X @ params["W1"] + params["b1"], predicted]), rtol=1e-13)


@pytest.mark.parametrize("method", ["units", "incremental"])
def test_chunks_change_nothing_but_the_order_of_sums(problem, method, monkeypatch):
    _, engine, X, y, theta, _ = problem
    whole = getattr(engine, method)(theta, STEP, Runner(1))[0]
    small = Engine(engine.tables, X, y, chunk_samples=7)
    assert len(small._chunks(np.zeros((7, engine.tables.tape_stride)))) == 8
    np.testing.assert_allclose(getattr(small, method)(theta, STEP, Runner(1))[0], whole, rtol=1e-12, atol=1e-15)


def test_a_part_has_the_samples_of_one_chunk(problem):
    _, engine, X, y, theta, _ = problem
    small = Engine(engine.tables, X, y, chunk_samples=20)
    assert [small.part(k).samples for k in range(3)] == [20, 20, 10]
    assert sum(small.part(k).cost(theta, 1) for k in range(3)) == pytest.approx(engine.cost(theta, 1), rel=1e-14)


def test_an_engine_can_be_pickled(problem):
    _, engine, _, _, theta, _ = problem
    other = pickle.loads(pickle.dumps(engine))
    assert other.cost(theta, 1) == engine.cost(theta, 1)
    assert np.array_equal(other.units(theta, STEP, Runner(1))[0], engine.units(theta, STEP, Runner(1))[0])


def test_memory_is_given_back_and_used_again(problem):
    _, engine, *_ = problem
    with engine._memory() as first, engine._memory() as second:
        assert second is not first
    with engine._memory() as again:
        assert again in (first, second)


def test_estimated_work_orders_the_methods(problem):
    _, engine, *_ = problem
    some = np.array([0, 1, 2])
    assert engine.work("units") < engine.work("incremental") < engine.work("direct")
    assert engine.work("incremental", some) < engine.work("incremental")
    assert engine.work("units", some) == engine.work("units")


def test_chunks_are_alike_and_neither_too_small_nor_too_large(problem, monkeypatch):
    _, engine, X, y, *_ = problem
    monkeypatch.setattr(module, "FEWEST_SAMPLES", 8)
    monkeypatch.setattr(module, "CHUNK_DOUBLES", 1)
    rows = Engine(engine.tables, X, y)._rows
    assert rows == 8  # 50 samples are 7 chunks of 8 or fewer

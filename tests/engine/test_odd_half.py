"""The odd half: one row for a pair where no kink is near, and two where one is or where the step is large."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Case, backprop, flat, make, random_network

import gradcheck_fast as gf
from gradcheck_fast.engine import engine as module
from gradcheck_fast.engine._tape import fill_slopes
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.numerical.gradient import NEAR_KINK
from gradcheck_fast.running.runner import Runner

METHODS = ("units", "incremental")
#: Costs whose curvature does not jump.
SMOOTH = ("squared", "class_logits")


def gradient(case, method, h=2.0**-40, **options):
    loss = case.loss
    return getattr(loss._engine, method)(flat(case.params), h, Runner(1), **options)[0]


def with_two_rows(monkeypatch, *arguments, **options):
    with monkeypatch.context() as patch:
        patch.setattr(module, "LARGEST_ODD_STEP", 0.0)
        return gradient(*arguments, **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(25))
def test_it_is_what_two_rows_give_to_rounding(method, seed, monkeypatch):
    case = random_network(np.random.default_rng(seed))
    both = with_two_rows(monkeypatch, case, method)
    scale = np.linalg.norm(both)
    assert np.linalg.norm(gradient(case, method) - both) <= 1e-14 * scale + 1e-300


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", [gf.RNN, gf.GRU, gf.LSTM])
def test_recurrent_layers(method, layer, monkeypatch):
    net = gf.Network([layer(3, 20), gf.Dense(20, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    loss, params = net.loss(random.normal(size=(5, 4, 3)), random.normal(size=(5, 2))), net.init(0)
    find = lambda: getattr(loss._engine, method)(flat(params), 2.0**-40, Runner(2))[0]
    one = find()
    monkeypatch.setattr(module, "LARGEST_ODD_STEP", 0.0)
    two = find()
    assert (one != two).any(), "the same rows were computed twice"
    assert np.linalg.norm(one - two) <= 1e-14 * np.linalg.norm(two)


@pytest.mark.parametrize("method", METHODS)
def test_a_larger_step_has_two_rows(method, monkeypatch):
    case = make(np.random.default_rng(0), [3, 5, 2], ["tanh", "sigmoid"])
    for h in (1e-3, 2.0**-26):
        assert (gradient(case, method, h) == with_two_rows(monkeypatch, case, method, h)).all()
    assert (gradient(case, method, 2.0**-27) != with_two_rows(monkeypatch, case, method, 2.0**-27)).any()


@pytest.mark.parametrize("method", METHODS)
def test_at_the_largest_step_truncation_is_below_rounding(method):
    """The bound that ``docs/odd-half.md`` derives."""
    for seed in range(10):
        case = random_network(np.random.default_rng(seed), costs=SMOOTH)
        small, large = (gradient(case, method, h) for h in (2.0**-40, module.LARGEST_ODD_STEP))
        assert np.linalg.norm(large - small) <= 4e-15 * np.linalg.norm(small) + 1e-300


def slopes_of(case, h=2.0**-40):
    engine = case.loss._engine
    with engine._memory() as memory:
        packed = engine._pack(memory, flat(case.params), 1)
        (chunk,) = memory.chunks
        engine._fill(chunk, packed, 1)
        _, odd = engine._compiled_unit_routes
        slopes, near = np.zeros((len(chunk.tape), engine.tables.slope_stride)), np.zeros(chunk.count, np.uint8)
        fill_slopes(odd, chunk, h, NEAR_KINK, slopes, near, 2)
    return near.astype(bool)


@pytest.mark.parametrize("name", [name for name, known in _kernels.ELEMENTWISE.items() if known.kinks])
@pytest.mark.parametrize("distance", [0.0, 2.0**-34, 2.0**-29])
def test_samples_near_a_kink_have_two_rows(name, distance):
    """A sample is near if one of its values is: here x + distance in the first unit, where x lies on a kink."""
    net = gf.Network([gf.Dense(1, 1, name), gf.Dense(1, 1)], cost=gf.SquaredError())
    kinks = np.array(_kernels.ELEMENTWISE[name].kinks)
    X = np.concatenate([kinks, kinks + 0.25])[:, np.newaxis]
    params = net.init(0) | {"W1": np.ones((1, 1)), "b1": np.full(1, distance)}
    near = slopes_of(Case(net, params, X, np.zeros_like(X)))
    assert (near == ([distance < NEAR_KINK] * len(kinks) + [False] * len(kinks))).all()


def test_samples_on_a_kink_of_the_cost_have_two_rows_and_masked_ones_have_not():
    net = gf.Network(gf.Dense(1, 1, bias=False), cost=gf.AbsoluteError())
    X = np.array([[1.0], [2.0], [3.0]])
    near = slopes_of(Case(net, {"W1": np.ones((1, 1))}, X, np.array([[1.0], [2.5], [3.0]])))
    assert near.tolist() == [True, False, True]


@pytest.mark.parametrize("method", METHODS)
def test_samples_with_and_without_kinks_in_one_chunk(method):
    net = gf.Network([gf.Dense(3, 4, "relu"), gf.Dense(4, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    X, y, params = random.normal(size=(40, 3)), random.normal(size=(40, 2)), net.init(0) | {"b1": np.zeros(4)}
    X[::7] = 0.0
    loss = net.loss(X, y)
    report = gf.gradcheck(loss, backprop(net, params, X, y), params, method=method)
    assert report.ok
    assert report.kinks_crossed == 6 * 4  # the biases of the first layer; with an input of 0 its weights move nothing
    shares = [net.loss(X[k : k + 1], y[k : k + 1])._engine for k in range(40)]
    parts = [getattr(engine, method)(flat(params), 2.0**-40, Runner(1))[0] for engine in shares]
    whole = getattr(loss._engine, method)(flat(params), 2.0**-40, Runner(1))[0]
    np.testing.assert_allclose(np.mean(parts, axis=0), whole, rtol=1e-13, atol=1e-17)

"""Tests of the chained gradient and of changes along a direction: the same bits however the work is divided, and right.

What they are compared with is back-propagation by hand, and at kinks the gradients of all choices of slopes.
"""

from __future__ import annotations

import pickle
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from threading import Barrier

import numpy as np
import pytest
from mistakes_in_time import draw, gru_backprop, lstm_backprop, rnn_backprop
from networks import Case, flat, random_network
from work import Inline

import gradcheck_fast as gf
from gradcheck_fast.engine import chain as chains
from gradcheck_fast.engine import plan as plans
from gradcheck_fast.engine.chain import TensorEngine, chain, spreads
from gradcheck_fast.program import twin
from gradcheck_fast.program.program import Program
from gradcheck_fast.running import executors
from gradcheck_fast.running.runner import Runner

H = 2.0**-40
SAMPLES = 37
either = pytest.mark.parametrize("chunks", ["one_chunk", "many_chunks"], indirect=True)


def shrink(fewest=8, put=setattr):
    """Makes chunks of at most eight samples, which of 37 are five, in three shares; in this process or a worker."""
    for name, number in (("CHUNK_DOUBLES", 1), ("FEWEST_SAMPLES", fewest), ("MOST_SHARES", 3)):
        put(chains, name, number)


@pytest.fixture
def small_chunks(monkeypatch):
    shrink(put=monkeypatch.setattr)


@pytest.fixture
def chunks(request, monkeypatch):
    """How many chunks and shares there are: one, or many."""
    if request.param == "many_chunks":
        shrink(put=monkeypatch.setattr)
    return request.param


@pytest.fixture
def many_parts(monkeypatch):
    """Makes small amounts of work worth while for several threads."""
    monkeypatch.setattr(plans, "ALONE_WORK", 0.0)
    monkeypatch.setattr(plans, "LEAST_WORK", 1.0)


def make_engine(samples=SAMPLES):
    """Returns an engine and parameters; some values lie on kinks.

    Products have more than 384 summands, and matrices with more rows than columns, and fewer.
    """
    random = np.random.default_rng(5)
    net = gf.Network(
        [gf.Dense(400, 100, "tanh"), gf.Dense(100, 130, "relu"), gf.Dense(130, 3, "softmax")], cost=gf.AbsoluteError()
    )
    params = net.init(5)
    params["W2"][:, ::9], params["b2"][::9] = 0.0, 0.0
    loss = net.loss(random.normal(size=(samples, 400)), random.random((samples, 3)))
    return TensorEngine(loss.program, loss.given.data.inputs, loss.given.targets), flat(params)


def all_of(engine, theta, n_threads=1):
    """Everything that a point can tell, as a list of arrays."""
    direction = np.random.default_rng(1).normal(size=theta.size)
    with engine.at(theta, n_threads) as point:
        gradient, kinks = chain(point, H, Runner(n_threads))
        backs = [back.copy() for chunk in point.chunks() for back in point.sensitivities(chunk, H).values()]
        along = point.along(direction, (1.0, 2.0**-30))
        return [gradient, kinks, point.cost(), along, spreads(point, H), point.gradient(H), *backs]


# ---- the same bits


@either
def test_all_results_are_bitwise_equal_for_any_number_of_threads(chunks, many_parts):
    engine, theta = make_engine()
    assert len(engine.shares) == (1 if chunks == "one_chunk" else 3)
    expected = all_of(engine, theta)
    for n_threads in (2, 3):
        np.testing.assert_equal(all_of(engine, theta, n_threads), expected)


def test_a_product_of_many_summands_does_not_depend_on_how_its_regions_are_cut(many_parts):
    """The shorter side of a region is packed, which for a cut one may be another than for the whole."""
    random, program = np.random.default_rng(2), Program(60)
    hidden = program.affine([(program.input(900), program.parameter((900, 61)))])
    program.cost("squared_error", hidden, program.target(61), constant=0.5)
    theta = random.normal(size=program.size)
    engine = TensorEngine(program, random.normal(size=(60, 900)), random.normal(size=(60, 61)))
    expected = all_of(engine, theta)
    for n_threads in (2, 3):
        np.testing.assert_equal(all_of(engine, theta, n_threads), expected)


def test_the_gradient_is_that_of_the_shares_added_up_in_their_order(small_chunks):
    engine, theta = make_engine()
    with engine.at(theta, 1) as point:
        total, kinks = np.zeros(theta.size), 0
        for share in range(len(engine.shares)):
            own = np.zeros(theta.size)
            kinks += point.chain(H, share, own)
            total = total + own if share else own
        found, count = chain(point, H, Runner(1))
        np.testing.assert_array_equal(point.gradient(H), total)
    np.testing.assert_array_equal(found, total)
    assert count == kinks > 0


def test_chunks_and_shares_change_roundings_alone(monkeypatch):
    expected = all_of(*make_engine())
    shrink(put=monkeypatch.setattr)
    for found, of_one in zip(all_of(*make_engine())[:6], expected[:6], strict=True):
        assert np.linalg.norm(found - of_one) <= 1e-13 * np.linalg.norm(of_one)


def test_a_pickled_engine_gives_the_same_bits(small_chunks):
    engine, theta = make_engine()
    again = pickle.loads(pickle.dumps(engine))
    np.testing.assert_equal(all_of(again, theta), all_of(engine, theta))


@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
def test_executors_give_the_same_bits(kind, small_chunks, monkeypatch):
    monkeypatch.setattr(executors, "first_size", lambda job: 1)
    monkeypatch.setattr(executors, "SHARE_SECONDS", 0.0)  # one share at a time
    engine, theta = make_engine()
    make = {
        "inline": Inline,
        "threads": lambda: ThreadPoolExecutor(3),
        "processes": lambda: ProcessPoolExecutor(2, get_context("spawn"), shrink),
    }[kind]
    with engine.at(theta, 1) as point:
        expected = chain(point, H, Runner(1))
        with make() as executor, Runner(executor=executor) as runner:
            found = chain(point, H, runner)
    np.testing.assert_equal(found, expected)
    if kind == "inline":
        assert set(executor.ranges) == {(0, 1), (1, 2), (2, 3)}


def test_a_point_gives_the_same_bits_again_whatever_was_asked_in_between():
    engine, theta = make_engine()
    direction = np.random.default_rng(1).normal(size=theta.size)
    asked = [
        lambda point: point.cost(),
        lambda point: point.gradient(H),
        lambda point: point.along(direction, (1.0,)),
        lambda point: point.along(direction, (-1.0, 2.0**-40)),
        lambda point: spreads(point, H),
        lambda point: point.gradient(2.0**-20),
    ]

    def alone(ask):
        with engine.at(theta, 1) as point:
            return ask(point)

    expected = [alone(ask) for ask in asked]
    with engine.at(theta, 1) as point:
        for first, second in product(range(len(asked)), repeat=2):
            np.testing.assert_equal(asked[first](point), expected[first])
            np.testing.assert_equal(asked[second](point), expected[second])


@either
def test_threads_of_python_may_use_one_engine_at_once(chunks):
    engine, theta = make_engine()
    expected, barrier = [all_of(engine, factor * theta) for factor in (1.0, 0.5)], Barrier(2)

    def ask(factor):
        barrier.wait()
        return [all_of(engine, factor * theta, 2) for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        for found, of_one in zip(pool.map(ask, (1.0, 0.5)), expected, strict=True):
            for once in found:
                np.testing.assert_equal(once, of_one)


def test_memory_is_used_again_unless_a_call_was_interrupted():
    engine, theta = make_engine(3)
    for _ in range(2):
        with engine.at(theta, 1) as point:
            point.cost()
    assert len(engine.memories) == 1
    with pytest.raises(KeyboardInterrupt), engine.at(theta, 1):
        raise KeyboardInterrupt
    assert not engine.memories


def test_a_point_does_not_keep_the_directions_that_it_was_moved_along():
    engine, theta = make_engine(3)
    with engine.at(theta, 1) as point:
        directions = [np.ones(theta.size) for _ in range(5)]
        alive = [weakref.ref(direction) for direction in directions]
        while directions:
            point.along(directions.pop(), (1.0,))
        assert sum(direction() is not None for direction in alive) <= 1
    assert all(direction() is None for direction in alive)


# ---- chunks and shares


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 37, 200])
def test_shares_have_all_samples_in_their_order_in_chunks_of_about_one_size(samples, small_chunks):
    engine, _ = make_engine(samples)
    chunks = [chunk for share in engine.shares for chunk in share]
    assert [k for chunk in chunks for k in range(chunk.start, chunk.stop)] == list(range(samples))
    sizes = [chunk.stop - chunk.start for chunk in chunks]
    assert max(sizes) <= 8
    assert sizes[:-1] == [engine.chunk_samples] * (len(sizes) - 1)
    assert len(engine.shares) == min(3, len(chunks))
    lengths = [len(share) for share in engine.shares]
    assert max(lengths) - min(lengths) <= 1


def test_gradients_of_shares_take_no_more_memory_than_they_may(small_chunks, monkeypatch):
    size = make_engine(1)[1].size
    for doubles, count in ((0, 1), (2 * size, 2), (3 * size - 1, 2), (9 * size, 3)):
        monkeypatch.setattr(chains, "SHARE_DOUBLES", doubles)
        assert len(make_engine()[0].shares) == count


# ---- accuracy


def error(found, exact):
    return np.linalg.norm(found - exact) / np.linalg.norm(exact)


def chained(loss, params):
    engine = TensorEngine(loss.program, loss.given.data.inputs, loss.given.targets)
    with engine.at(loss.pack(params).flat, 1) as point:
        return chain(point, H, Runner(1))[0]


def test_100_dense_networks_by_hand():
    random = np.random.default_rng(0)
    for number in range(100):
        case = random_network(random)
        case = Case(gf.Network(case.net.layers, cost=case.net.cost), *case[1:])  # the penalty is not in the program
        assert error(chained(case.loss, case.params), flat(case.gradient)) <= 1e-14, f"network {number}: {case.net}"


BY_HAND = {
    "rnn": (gf.RNN, 1, partial(rnn_backprop, layers=1)),
    "two-rnns": (gf.RNN, 2, partial(rnn_backprop, layers=2)),
    "lstm": (gf.LSTM, 1, lstm_backprop),
    "gru": (gf.GRU, 1, lambda *arguments, sequences: gru_backprop(*arguments)),
}


@pytest.mark.parametrize(("name", "sequences"), [*product(BY_HAND, [False]), *product(list(BY_HAND)[:3], [True])])
def test_recurrent_networks_by_hand(name, sequences):
    kind, layers, backprop = BY_HAND[name]
    for seed in range(5):
        net, params, X, y = draw(np.random.default_rng(seed), kind, layers, sequences)
        exact = flat(backprop(params, X, y, sequences=sequences))
        assert error(chained(net.loss(X, y), params), exact) <= 1e-14


@either
def test_the_change_along_a_direction_is_that_of_the_cost(chunks):
    engine, theta = make_engine()
    direction = 0.1 * np.random.default_rng(1).normal(size=theta.size)
    with engine.at(theta, 1) as point, engine.at(theta + direction, 1) as moved:
        assert point.along(direction, (1.0,))[0] == pytest.approx(moved.cost() - point.cost(), rel=1e-12)
        small, half = point.along(direction, (2.0**-40, 2.0**-41))
        assert small == pytest.approx(2.0 * half, rel=1e-10)
        off_kinks = spreads(point, H) == 0.0
        direction[~off_kinks] = 0.0
        change = point.along(direction, (2.0**-40, -(2.0**-40))) @ [1.0, -1.0] * 2.0**39
        assert change == pytest.approx(point.gradient(H) @ direction, rel=1e-12)


# ---- kinks


@pytest.mark.parametrize("h", [2.0**-32, 2.0**-20])
def test_values_within_h_of_a_kink_are_counted(h, small_chunks):
    """The steps read x, and their kinks are at 0; at -1 and 1; and, in all samples but one, where x is the target."""
    X = np.array([0.0, h, -h, 1.5 * h, -1.5 * h, 1.0, -1.0 - 0.5 * h, 1.0 + 1.5 * h, 3.0] + [0.5] * 30)[:, np.newaxis]
    program = Program(len(X))
    x = program.affine([(program.input(1), program.parameter((1, 1)))])
    for name in ("relu", "hardtanh"):
        program.cost("squared_error", program.add(name, x), program.target(1), constant=1.0)
    program.cost("absolute_error", x, program.target(1))
    y = np.concatenate([np.full((len(X), 2), 7.0), X + 2.0 * h], axis=1)
    y[20, 2] = X[20, 0] - h
    engine = TensorEngine(program, X, y)
    assert len(engine.shares) > 1
    with engine.at(np.ones(1), 1) as point:
        assert chain(point, h, Runner(1))[1] == 3 + 2 + 1


def rectifier_program(samples, layers):
    program = Program(samples)
    hidden = program.input(3)
    for width in layers:
        W, b = program.parameter((program.steps[hidden].shape[1], width)), program.parameter((width,))
        hidden = program.add("relu", program.affine([(hidden, W)], b))
    outputs = program.affine([(hidden, program.parameter((2, 2)))])
    program.cost("squared_error", outputs, program.target(2), constant=0.5)
    return program


def gradients_of_all_choices(program, theta, X, y):
    """Propagates back by hand, once for each choice of a slope 0 or 1 at every value that is exactly on its kink."""
    arrays = [program.leaves(theta, X, y)[number] for number in program.parameters]
    weights, biases, last = arrays[:-1:2], arrays[1::2], arrays[-1]
    signals, sums = [X], []
    for W, b in zip(weights, biases, strict=True):
        sums.append(signals[-1] @ W + b)
        signals.append(np.maximum(sums[-1], 0.0))
    on_kinks = [np.argwhere(z == 0.0) for z in sums]
    found = []
    for choice in product([0.0, 1.0], repeat=sum(map(len, on_kinks))):
        left, up = iter(choice), signals[-1] @ last - y
        slopes = [(z > 0.0).astype(float) for z in sums]
        for slope, places in zip(slopes, on_kinks, strict=True):
            for place in places:
                slope[tuple(place)] = next(left)
        gradient = [signals[-1].T @ up]
        up = up @ last.T
        for W, slope, signal in zip(weights[::-1], slopes[::-1], signals[-2::-1], strict=True):
            up = up * slope
            gradient = [signal.T @ up, up.sum(axis=0), *gradient]
            up = up @ W.T
        found.append(np.concatenate([array.ravel() for array in gradient]))
    return np.array(found)


@pytest.mark.parametrize("layers", [(2,), (2, 2)], ids=["one-layer", "two-layers"])
@pytest.mark.parametrize("seed", range(4))
def test_spreads_contain_the_gradients_of_all_choices_of_slopes(seed, layers, monkeypatch):
    """Samples of zeros and units without weights lie on kinks. In one layer the bound is the range of the choices."""
    if seed % 2:
        shrink(2, monkeypatch.setattr)
    random, program = np.random.default_rng(seed), rectifier_program(4, layers)
    X, y, theta = random.normal(size=(4, 3)), random.normal(size=(4, 2)), random.normal(size=program.size)
    X[0] = 0.0
    leaves = program.leaves(theta, X, y)
    for number in program.parameters[:-1]:
        leaves[number][..., 0] = 0.0  # a unit without weights and bias
        leaves[number][...] *= len(leaves[number].shape) - 1.0  # no bias at all
    gradients = gradients_of_all_choices(program, theta, X, y)
    engine = TensorEngine(program, X, y)
    assert len(engine.shares) == 1 + seed % 2
    with engine.at(theta, 1) as point:
        (gradient, kinks), half = chain(point, H, Runner(1)), spreads(point, H)
    assert 2**kinks == len(gradients) >= 32
    assert (np.abs(gradients - gradient) <= half + 1e-13 * np.abs(gradients).max()).all()
    at_kink = np.ptp(gradients, axis=0) > 0.0
    assert at_kink.any()
    np.testing.assert_array_equal(half > 0.0, at_kink)
    assert not program.leaves(half, X, y)[program.parameters[-1]].any()
    if len(layers) == 1:
        np.testing.assert_allclose(half, np.ptp(gradients, axis=0), rtol=1e-9, atol=0.0)


def test_spreads_are_those_of_the_twin(small_chunks):
    engine, theta = make_engine()
    program = engine.program
    at = twin.values(program, program.leaves(theta, engine.inputs, engine.targets))
    found = twin.spreads(program, at, twin.sensitivities(program, at), H)
    expected = np.concatenate([found[number].ravel() for number in program.parameters])
    with engine.at(theta, 1) as point:
        half = spreads(point, H)
    assert expected.any()
    np.testing.assert_array_equal(half == 0.0, expected == 0.0)
    assert error(half, expected) <= 1e-13

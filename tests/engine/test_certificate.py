"""The certificate of a chained gradient: it holds for right ones; planted faults of the engine are seen and named."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
from networks import flat, random_network

import gradcheck_fast as gf
from gradcheck_fast.engine import certificate as module
from gradcheck_fast.engine import plan
from gradcheck_fast.engine._directions import add_scaled, draw, norms
from gradcheck_fast.engine._tensors import SCRATCH, STEP, Places
from gradcheck_fast.engine.certificate import certified, certify
from gradcheck_fast.engine.chain import Point
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.numerical.certificate import PROBABILITY, Certificate
from gradcheck_fast.numerical.gradient import CHAIN_STEPS


def make(cost=None, hidden="tanh", seed=0):
    net = gf.Network(
        [gf.Dense(4, 6, hidden), gf.Dense(6, 5, "sigmoid"), gf.Dense(5, 3)], cost=cost or gf.CrossEntropy()
    )
    random = np.random.default_rng(seed)
    X = random.normal(size=(7, 4))
    y = random.integers(0, 3, 7) if isinstance(net.cost, gf.CrossEntropy) else random.normal(size=(7, 3))
    return net, net.loss(X, y), net.init(seed)


def certificate_of(loss, params, **options):
    with loss._tensors.at(flat(params), 1) as point:
        return certify(point, point.gradient(CHAIN_STEPS[0]), **options)


# ---- random directions


def drawn(seed, number, ends, scales, weights=None, n_threads=1, isa="baseline"):
    out = np.empty(ends[-1])
    weights = np.zeros(ends[-1]) if weights is None else weights
    return out, draw(seed, number, np.array(ends), np.array(scales, float), weights, out, isa, n_threads)


def test_directions_are_uncorrelated_numbers_of_the_given_deviation():
    ends = (40_000, 100_000)
    (first, _), (second, _), (third, _) = (drawn(5, k, ends, (1.0, 3.0)) for k in range(3))
    for one in (first, second, third):
        assert np.std(one[:40_000]) == pytest.approx(1.0, rel=0.02)
        assert np.std(one[40_000:]) == pytest.approx(3.0, rel=0.02)
        assert abs(np.mean(one[:40_000])) < 0.02
        assert len(np.unique(one)) > 0.999 * len(one)
    for one, other in ((first, second), (second, third), (first, third), (first[:-1], first[1:])):
        assert abs(np.corrcoef(one[:40_000], other[:40_000])[0, 1]) < 0.02


def test_the_density_at_0_is_that_of_nearly_normal_numbers():
    """The power counts on it: P(|r| < x) is about 2 x / sqrt(2 pi), times 1.02."""
    out, _ = drawn(1, 0, (400_000,), (1.0,))
    assert np.mean(np.abs(out) < 0.1) == pytest.approx(2.0 * 0.1 * 0.408, rel=0.05)


def test_a_direction_is_the_same_for_any_threads_instruction_set_and_cut():
    weights = np.random.default_rng(0).normal(size=50_001)
    expected = drawn(2, 1, (50_001,), (1.0,), weights)
    for isa in _kernels.instruction_sets():
        for n_threads in (1, 2, 3):
            out, product = drawn(2, 1, (50_001,), (1.0,), weights, n_threads, isa)
            assert (out == expected[0]).all()
            assert product == pytest.approx(float(weights @ out), rel=1e-12)
        products = {drawn(2, 1, (50_001,), (1.0,), weights, n, isa)[1] for n in (1, 2, 3)}
        assert len(products) == 1
    parts, _ = drawn(2, 1, (17, 30_000, 50_001), (1.0, 1.0, 1.0), weights)
    assert (parts == expected[0]).all()


def test_other_seeds_and_numbers_give_other_directions():
    found = [drawn(seed, number, (100,), (1.0,))[0] for seed in range(3) for number in range(4)]
    assert len({tuple(one) for one in found}) == len(found)


def test_norms_and_scaled_sums():
    vector = np.random.default_rng(0).normal(size=40_011)
    ends = np.array([3, 3, 20_000, 40_011])
    expected = [np.linalg.norm(part) for part in np.split(vector, ends[:-1])]
    for n_threads in (1, 2):
        np.testing.assert_allclose(norms(vector, ends, "baseline", n_threads), expected, rtol=1e-14)
        out = np.empty_like(vector)
        add_scaled(vector, 0.25, vector, out, "baseline", n_threads)
        assert (out == 1.25 * vector).all()


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_norms_of_tiny_and_huge_arrays_do_not_under_or_overflow(size):
    _, loss, params = make()
    vector = size * flat(params)
    found = module._norms(loss._tensors, vector, 1)
    expected = [np.linalg.norm(params[name]) for name in params]
    np.testing.assert_allclose(found / size, expected, rtol=1e-12)


# ---- right gradients


@pytest.mark.parametrize("seed", range(40))
def test_it_holds_for_random_networks(seed):
    case = random_network(np.random.default_rng(seed))
    with case.loss._tensors.at(flat(case.params), 1) as point:
        found = certify(point, point.gradient(CHAIN_STEPS[0]))
    assert found.holds, found
    assert found.agreement <= 1e-13
    assert found.power <= 1e-10


@pytest.mark.parametrize("n_threads", [1, 2])
def test_it_is_bitwise_the_same_for_any_number_of_threads(n_threads):
    _, loss, params = make()
    with loss._tensors.at(flat(params), n_threads) as point:
        found = certify(point, point.gradient(CHAIN_STEPS[0]))
    assert found == certificate_of(loss, params)


def test_more_directions_see_more():
    _, loss, params = make()
    two, ten = (certificate_of(loss, params, directions=count) for count in (2, 10))
    assert (two.directions, ten.directions) == (2, 10)
    assert ten.power < two.power / 3.0


def test_a_dead_network_has_nothing_to_disagree_on():
    net = gf.Network([gf.Dense(2, 3, "relu"), gf.Dense(3, 1, bias=False)], cost=gf.SquaredError())
    params = {"W1": np.ones((2, 3)), "b1": np.full(3, -9.0), "W2": np.ones((3, 1))}
    found = certificate_of(net.loss(np.ones((4, 2)), np.zeros((4, 1))), params)
    assert found.holds
    assert (found.agreement, found.power) == (0.0, 0.0)


def test_at_kinks_the_chain_is_certified_beside_them():
    net = gf.Network([gf.Dense(3, 4, "relu"), gf.Dense(4, 2)], cost=gf.SquaredError())
    params = net.init(0) | {"b1": np.zeros(4)}
    loss = net.loss(np.zeros((5, 3)), np.ones((5, 2)))
    with loss._tensors.at(flat(params), 1) as point:
        gradient, kinks = point.gradient(CHAIN_STEPS[0]), 20
        assert certified(point, gradient, kinks, CHAIN_STEPS[0]).holds
        near = module.aside(loss._tensors, flat(params), 1)
        assert (near != flat(params)).all()
        assert np.abs(near - flat(params)).max() < 1e-4


def test_with_a_large_step_it_is_the_chain_that_is_certified():
    _, loss, params = make()
    with loss._tensors.at(flat(params), 1) as point:
        assert certified(point, point.gradient(1e-2), 0, 1e-2).holds
        assert not certify(point, point.gradient(1e-2)).holds


# ---- errors are seen


@pytest.mark.parametrize("array", ["W1", "b1", "W2", "b2", "W3", "b3"])
def test_an_error_of_the_stated_power_in_any_array_is_seen(array, monkeypatch):
    """With the stated probability: of 100 seeds one may miss it. It is there at all parameters, as a fault is."""
    _, loss, params = make()
    at = loss.pack(params)
    part = dict(at.arrays(np.arange(len(at.flat))))[array].ravel()
    power, right = certificate_of(loss, params).power, Point.gradient

    def gradient(point, h):
        found = right(point, h)
        found[part[0]] += 1.01 * power * np.linalg.norm(found[part])
        return found

    monkeypatch.setattr(Point, "gradient", gradient)
    missed = sum(certificate_of(loss, params, seed=seed).holds for seed in range(40))
    assert missed <= 40 * (1.0 - PROBABILITY) + 2


def wrong_operation(monkeypatch, engine, number, operation):
    """The tables of a program in which one step has another operation."""
    real = plan.structured

    def structured(dtype, rows):
        if dtype is STEP:
            rows[number]["operation"] = operation
        return real(dtype, rows)

    with monkeypatch.context() as patch:
        patch.setattr(plan, "structured", structured)
        return engine.plan.compile(engine.isa)


def with_tables(point, chunk, tables):
    """The chunk, run with other tables: what its tapes hold stays as it is."""
    engine = point.engine
    data = engine.inputs[chunk.samples], engine.targets[chunk.samples]
    scratch = point._memory.get("scratch", point.n_threads, max(SCRATCH, engine.plan.scratch))
    chunk.places = Places(tables, chunk.count, point.theta, *data, chunk._tape, scratch)


def plant(monkeypatch, loss, step, operation, *methods):
    """Makes methods of `Point` run a step with another operation."""
    wrong = wrong_operation(monkeypatch, loss._tensors, step, operation)
    for method in methods:
        right = getattr(Point, method)

        def tampered(point, chunk, *arguments, right=right):
            with_tables(point, chunk, wrong)
            found = right(point, chunk, *arguments)
            if right.__name__ != "_change":  # whose result is read through these tables
                with_tables(point, chunk, point.engine.compiled)
            return found

        monkeypatch.setattr(Point, method, tampered)


def step_of(loss, name):
    return next(k for k, step in enumerate(loss.program.steps) if step.name == name)


def test_a_wrong_slope_is_seen_and_named(monkeypatch):
    _, loss, params = make()
    plant(
        monkeypatch,
        loss,
        step_of(loss, "tanh"),
        _kernels.ELEMENTWISE["softsign"].number,
        "chain_chunk",
        "sensitivities",
    )
    found = certificate_of(loss, params)
    assert not found.holds
    assert "what goes back to it from" in found.fault
    assert "tanh (layer 1, Dense)" in found.fault


def test_a_wrong_transpose_is_seen_and_named(monkeypatch):
    """A product whose factor is taken from the wrong side, as if its transpose were another."""
    net = gf.Network([gf.GRU(3, 4), gf.Dense(4, 2)], cost=gf.SquaredError())
    random = np.random.default_rng(0)
    loss, params = net.loss(random.normal(size=(5, 3, 3)), random.normal(size=(5, 2))), net.init(0)
    number = step_of(loss, "multiply")
    right = plan.Plan._pulls.fget

    def pulls(self):
        found = right(self).copy()
        chosen = found["step"] == number
        found["input"][chosen] = 1 - found["input"][chosen]
        return found

    monkeypatch.setattr(plan.Plan, "_pulls", property(pulls))
    found = certificate_of(loss, params)
    assert not found.holds
    assert f"step {number}, multiply (layer 1, GRU)" in found.fault


def test_a_wrong_difference_is_seen_and_named(monkeypatch):
    _, loss, params = make()
    number = step_of(loss, "tanh")
    plant(monkeypatch, loss, number, _kernels.ELEMENTWISE["softsign"].number, "_change")
    found = certificate_of(loss, params)
    assert not found.holds
    assert found.fault == f"step {number}, tanh (layer 1, Dense): its change is not that of its rule"


def test_a_difference_that_is_wrong_for_large_changes_only_is_seen_by_the_large_step(monkeypatch):
    _, loss, params = make()
    number, right = step_of(loss, "tanh"), Point._change
    plant(monkeypatch, loss, number, _kernels.ELEMENTWISE["softsign"].number, "_change")
    wrong = Point._change

    def tampered(point, chunk, direction, scales):
        return (wrong if max(scales) > 2.0**-20 else right)(point, chunk, direction, scales)

    monkeypatch.setattr(Point, "_change", tampered)
    found = certificate_of(loss, params)
    assert found.agreement <= found.allowed
    assert found.large > found.large_allowed
    assert not found.holds
    assert found.fault == f"step {number}, tanh (layer 1, Dense): its change is not that of its rule"


def test_a_wrong_value_is_named(monkeypatch):
    """Of a step that is computed twice in different ways: here the tape is spoilt after it was filled."""
    _, loss, params = make()
    number = step_of(loss, "tanh")
    with loss._tensors.at(flat(params), 1) as point:
        for chunk in point.chunks():
            chunk.values[number][2, 3] += 1e-3
        found = certify(point, point.gradient(CHAIN_STEPS[0]))
    assert not found.holds
    assert found.fault == f"step {number}, tanh (layer 1, Dense): its value is not that of its rule"


# ---- what users see of a fault


@pytest.fixture
def broken(monkeypatch):
    _, loss, params = make()
    gradient = gf.numerical_gradient(loss, params, method="units")
    plant(
        monkeypatch,
        loss,
        step_of(loss, "tanh"),
        _kernels.ELEMENTWISE["softsign"].number,
        "chain_chunk",
        "sensitivities",
    )
    return loss, gradient, params


def test_a_report_says_that_the_gradient_could_not_be_certified(broken):
    report = gf.gradcheck(*broken, method="chain")
    assert (report.verdict, bool(report), report.wrong) == ("INCONCLUSIVE", False, 0)
    assert report.certificate is not None
    assert not report.certificate.holds
    text = " ".join(str(report).split())
    assert "could not be certified" in text
    assert "tanh (layer 1, Dense)" in text
    assert "please report it" in text
    assert "Certificate:" not in text
    assert report.to_dict()["certificate"]["holds"] is False


def test_a_numerical_gradient_is_refused(broken):
    loss, _, params = broken
    with pytest.raises(RuntimeError, match=r"not confirm it .*tanh \(layer 1, Dense\).*please report it"):
        gf.numerical_gradient(loss, params, method="chain")


def test_other_methods_do_without_the_chain(broken):
    assert gf.gradcheck(*broken, method="units")


def test_a_certificate_of_what_is_not_a_number_does_not_hold():
    found = Certificate(2, math.nan, 1e-14, 0.0, 1e-12, 1e-13)
    assert not found.holds
    assert not Certificate(2, 0.0, 1e-14, math.nan, 1e-12, 1e-13).holds
    assert found.complaint


# ---- roundings of the chain


@pytest.mark.parametrize("is_rounding", [True, False])
def test_roundings_of_the_chain_are_no_fault_of_it(is_rounding, monkeypatch):
    """They are others at parameters that are moved by some roundings; a fault is the same."""
    exact = Point.gradient

    def rounded(self, h):
        seed = zlib.crc32(self.theta.tobytes()) if is_rounding else 0
        found = exact(self, h)
        return found * (1.0 + 1e-11 * np.random.default_rng(seed).normal(size=len(found)))

    monkeypatch.setattr(Point, "gradient", rounded)
    _, loss, params = make()
    found = certificate_of(loss, params)
    assert found.agreement > 1e-12
    assert found.holds is is_rounding


def test_sums_over_many_places_before_normalisations_lose_no_digits():
    """What goes back to a mean cancels, and each of the places then has the roundings of that sum."""
    random = np.random.default_rng(3)
    X = random.normal(size=(16384, 16))

    def loss(params):
        x = X
        for layer in range(5):
            z = x @ params[f"W{layer}"]
            z = z - z.mean(axis=0)
            x = np.maximum(z / np.sqrt((z * z).mean(axis=0) + 1e-5), 0.0)
        logits = x.reshape(4, 4096, 16).mean(axis=1) @ params["out"]
        return np.sum(np.log(np.exp(logits).sum(axis=1)))

    params = {f"W{layer}": random.normal(size=(16, 16)) / 4.0 for layer in range(5)}
    params["out"] = random.normal(size=(16, 10)) / 4.0
    traced = gf.trace(loss, params)
    with traced.engine.at(flat(params), 1) as point:
        found = certify(point, point.gradient(0.0))
    assert found.agreement < 2e-14

"""What holds for every network: drawn by hypothesis, with the data from a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import ACTIVATIONS, COSTS, REDUCTIONS, SMOOTH, Case, flat, loss, make

import gradcheck_fast as gf

METHODS = ("units", "incremental", "chain")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of small gradients: on a busy machine their threads would mostly wait for each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


modest = settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow], database=None
)
SMOOTH_COSTS = tuple(name for name in COSTS if name not in ("absolute", "huber"))


@st.composite
def cases(draw, activations=ACTIVATIONS, costs=tuple(COSTS), reductions=REDUCTIONS, penalty=True) -> Case:
    depth = draw(st.integers(1, 4), label="layers")
    cost = draw(st.sampled_from(costs))
    widths = draw(st.lists(st.integers(1, 20), min_size=depth + 1, max_size=depth + 1), label="widths")
    if COSTS[cost].targets in ("classes", "rows"):
        widths[-1] = max(2, widths[-1])
    return make(
        np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed")),
        widths,
        draw(st.lists(st.sampled_from(activations), min_size=depth, max_size=depth)),
        cost,
        draw(st.sampled_from(reductions)),
        samples=draw(st.integers(1, 60), label="samples"),
        bias=draw(st.lists(st.booleans(), min_size=depth, max_size=depth)),
        penalty=draw(st.sampled_from([None, gf.L2(0.1), gf.L2(2.0, biases=True)])) if penalty else None,
        scale=0.5,  # four exp layers in a row still do not overflow
    )


def gradient(case, method, **options):
    return flat(gf.numerical_gradient(case.loss, case.params, method=method, **options))


def assert_close(a, b, share):
    """Within that share of the largest entry."""
    largest = max(np.abs(a).max(), np.abs(b).max())
    np.testing.assert_allclose(a, b, rtol=0, atol=share * largest)


# ---- the methods against each other


@modest
@given(cases())
def test_units_and_incremental_agree(case):
    assert_close(gradient(case, "units"), gradient(case, "incremental"), 1e-11)


@modest
@given(cases())
def test_auto_is_one_of_the_two(case):
    auto = gradient(case, "auto")
    assert any((auto == gradient(case, method)).all() for method in METHODS)


@modest
@given(cases(SMOOTH, SMOOTH_COSTS))
def test_direct_agrees_as_far_as_plain_arithmetic_can(case):
    """Up to a millionth, and the rounding of two costs over 2h."""
    exact, plain = gradient(case, "incremental"), gradient(case, "direct")
    width = 2 * np.cbrt(2.0**-52) * np.maximum(1.0, np.abs(flat(case.params)))
    rounding = 16 * 2.0**-52 * abs(case.loss(case.params)) / width
    assert (np.abs(exact - plain) <= 1e-6 * np.abs(exact).max() + rounding).all()


@modest
@given(cases(SMOOTH, SMOOTH_COSTS), st.sampled_from([1e-9, 1e-8, 1e-7]))
def test_the_step_does_not_matter_while_it_is_small(case, step):
    for method in METHODS:
        assert_close(gradient(case, method), gradient(case, method, step=step), 1e-9)


# ---- against back-propagation by hand


@modest
@given(cases(costs=tuple(name for name in COSTS if name != "binary_probabilities")))
def test_agrees_with_back_propagation(case):
    assert case.loss(case.params) == pytest.approx(loss(*case), rel=1e-13)
    for method in METHODS:
        assert_close(gradient(case, method), flat(case.gradient), 1e-11)
        assert gf.gradcheck(case.loss, case.gradient, case.params, method=method)


@modest
@given(cases(), st.sampled_from([*METHODS, "direct"]))
def test_the_numerical_gradient_passes_its_own_check(case, method):
    numerical = gf.numerical_gradient(case.loss, case.params, method=method)
    report = gf.gradcheck(case.loss, numerical, case.params, method=method)
    assert report.wrong == 0
    assert method == "direct" or report.relative_error == 0.0  # direct may take the better of two steps


@modest
@given(cases(), st.data())
def test_any_wrong_entry_is_found(case, data):
    numerical = gf.numerical_gradient(case.loss, case.params)
    at = data.draw(st.integers(0, flat(numerical).size - 1), label="entry")
    wrong = flat(numerical)
    smallest = max(1e-5 * abs(wrong[at]), 1e-9 * np.abs(wrong).max(), 1e-300)
    wrong[at] += data.draw(st.sampled_from([-smallest, smallest]), label="error")
    report = gf.gradcheck(case.loss, wrong, case.params)
    assert report.wrong == 1
    assert report.worst(1)[0].analytic == wrong[at]


# ---- invariance


@modest
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(case, random):
    order = random.sample(range(len(case.X)), len(case.X))
    shuffled = case._replace(X=case.X[order], y=case.y[order])
    assert shuffled.loss(case.params) == pytest.approx(case.loss(case.params), rel=1e-13)
    for method in METHODS:
        assert_close(gradient(case, method), gradient(shuffled, method), 1e-12)


@modest
@given(cases())
def test_repeating_all_samples_doubles_the_sum_and_leaves_the_mean(case):
    twice = case._replace(X=np.tile(case.X, (2, 1)), y=np.concatenate([case.y, case.y]))
    factor = 2.0 if case.net.cost.reduction == "sum" else 1.0
    part = 0.0 if case.net.penalty is None else case.net.penalty.strength * flat(
        {n: a if n[0] == "W" or case.net.penalty.biases else 0 * a for n, a in case.params.items()}
    )  # fmt: skip
    for method in METHODS:
        assert_close(factor * (gradient(case, method) - part), gradient(twice, method) - part, 1e-12)


@modest
@given(cases(), st.sampled_from([*METHODS, "direct"]), st.randoms(use_true_random=False))
def test_the_form_of_the_parameters_does_not_matter(case, method, random):
    single = {name: array.astype(np.float32) for name, array in case.params.items()}
    exact = {name: array.astype(np.float64) for name, array in single.items()}
    order = random.sample(list(exact), len(exact))
    reference = gf.numerical_gradient(case.loss, exact, method=method)

    def found(params):
        return gf.numerical_gradient(case.loss, params, method=method)

    np.testing.assert_array_equal(found(flat(exact)), flat(reference))
    np.testing.assert_array_equal(flat(dict(enumerate(found(list(exact.values()))))), flat(reference))
    np.testing.assert_equal(found({name: exact[name] for name in order}), {name: reference[name] for name in order})
    np.testing.assert_equal(found(single), reference)
    np.testing.assert_equal(found({name: np.asfortranarray(array) for name, array in exact.items()}), reference)


# ---- linearity


@modest
@given(cases(reductions=("sum",), penalty=False), st.sampled_from(METHODS))
def test_a_sum_is_the_sum_over_samples(case, method):
    singles = [case._replace(X=case.X[k : k + 1], y=case.y[k : k + 1]) for k in range(len(case.X))]
    parts = np.array([gradient(single, method) for single in singles])
    np.testing.assert_allclose(
        gradient(case, method), parts.sum(axis=0), rtol=0, atol=1e-13 * np.abs(parts).sum(axis=0).max()
    )


@modest
@given(cases(costs=("squared",), penalty=False), st.sampled_from([0.5, 2.0, 0.1, 1e-6, 3e7]))
def test_a_factor_of_the_cost_is_a_factor_of_the_gradient(case, factor):
    cost = gf.SquaredError(factor=factor, reduction=case.net.cost.reduction)
    scaled = case._replace(net=gf.Network(case.net.layers, cost))
    for method in METHODS:
        assert_close(factor * gradient(case, method), gradient(scaled, method), 1e-13)
    if factor in (0.5, 2.0):
        np.testing.assert_array_equal(factor * gradient(case, "units"), gradient(scaled, "units"))


@modest
@given(cases(penalty=False))
def test_reductions_differ_by_their_factors(case):
    samples, outputs = len(case.X), case.net.outputs
    elements = 1 if isinstance(case.net.cost, gf.CrossEntropy) else outputs
    kind = next(k for k in COSTS.values() if k.make(reduction=case.net.cost.reduction) == case.net.cost)
    sums, batchmean, mean = (
        gradient(case._replace(net=gf.Network(case.net.layers, kind.make(reduction=reduction))), "units")
        for reduction in REDUCTIONS
    )
    assert_close(sums, samples * batchmean, 1e-13)
    assert_close(batchmean, elements * mean, 1e-13)


@modest
@given(cases(penalty=False), st.sampled_from([0.0, 1e-3, 5.0]), st.booleans())
def test_a_penalty_adds_its_strength_times_the_parameters(case, strength, biases):
    penalised = case._replace(net=gf.Network(case.net.layers, case.net.cost, gf.L2(strength, biases=biases)))
    decay = flat({name: a if biases or a.ndim == 2 else 0 * a for name, a in case.params.items()})
    for method in METHODS:
        assert_close(gradient(case, method) + strength * decay, gradient(penalised, method), 1e-13)

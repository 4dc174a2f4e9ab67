"""Error bars: the true derivative lies within them, and they are not much wider than the error."""

from __future__ import annotations

import numpy as np
import pytest
from networks import make, random_network
from reference import exact, mp, unit_differences

import gradcheck_fast as gf
from gradcheck_fast.numerical.errorbars import typical

METHODS = ("units", "incremental", "chain", "direct")
#: How many times its error a bar may be, in the median.
MOST = {"units": 100.0, "incremental": 100.0, "chain": 100.0, "direct": 1000.0}


def derivatives(case):
    """True to 40 digits and more: central differences at 60 digits with h = 1e-20."""
    targets = exact(case.y) if case.y.dtype.kind == "f" else case.y.tolist()
    found = unit_differences(case.net, exact(case.params), exact(case.X), targets, mp.mpf("1e-20"))
    return {name: np.array(values, object).reshape(case.net.shapes[name]) for name, values in found.items()}


def small_network(random):
    """Few samples and narrow layers: 60 digits take their time."""
    while True:
        case = random_network(random)
        if case.X.size + sum(p.size for p in case.params.values()) < 60:
            return case._replace(X=case.X * (10.0 ** random.uniform(-1, 1) if random.random() < 0.3 else 1.0))


def errors_in_bars(seed, count):
    """For each method the errors of all entries of random networks, and their bars."""
    random = np.random.default_rng(seed)
    found = {method: ([], []) for method in METHODS}
    for _ in range(count):
        case = small_network(random)
        true = derivatives(case)
        for method in METHODS:
            gradient, bars = gf.numerical_gradient(case.loss, case.params, method=method, error_bars=True)
            for name, exactly in true.items():
                error = [abs(mp.mpf(float(n)) - t) for n, t in zip(gradient[name].flat, exactly.flat, strict=True)]
                found[method][0].extend(map(float, error))
                found[method][1].extend(bars[name].flat)
    return {method: (np.array(errors), np.array(bars)) for method, (errors, bars) in found.items()}


def assert_trustworthy(found, least):
    for method, (errors, bars) in found.items():
        share = (errors <= bars).mean()
        assert share >= least, f"{method}: {share:.5f} of {len(errors)} entries"
        inexact = errors > 0
        assert np.median(bars[inexact] / errors[inexact]) <= MOST[method]


def test_true_derivatives_lie_within_the_bars():
    assert_trustworthy(errors_in_bars(0, 10), 0.99)  # of few entries


@pytest.mark.long
def test_true_derivatives_lie_within_the_bars_of_150_networks():
    assert_trustworthy(errors_in_bars(1, 150), 0.999)


@pytest.mark.parametrize("method", METHODS)
def test_a_large_step_has_wide_bars(method):
    case = make(np.random.default_rng(0), [3, 4, 2], ["tanh", "sigmoid"], "class_logits")
    good = gf.numerical_gradient(case.loss, case.params)
    gradient, bars = gf.numerical_gradient(case.loss, case.params, method=method, step=0.1, error_bars=True)
    for name in good:
        error = np.abs(gradient[name] - good[name])
        assert error.max() > 1e-6
        assert (error <= bars[name]).all()


def test_with_a_wide_bar_nothing_is_called_wrong_and_nothing_passes():
    case = make(np.random.default_rng(0), [3, 4, 2], ["tanh", "sigmoid"])
    report = gf.gradcheck(case.loss, case.gradient, case.params, step=1.0)
    assert (report.verdict, report.wrong) == ("INCONCLUSIVE", 0)
    assert "the error bars are too wide, in W1, b1" in str(report)


def test_bars_have_the_form_of_the_parameters():
    case = make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"])
    _, bars = gf.numerical_gradient(case.loss, case.params, error_bars=True)
    assert {name: bar.shape for name, bar in bars.items()} == case.net.shapes
    _, bar = gf.numerical_gradient(lambda x: x**2, 1.5, error_bars=True, trace=False)
    assert 0.0 < bar < 1e-8
    report = gf.gradcheck(case.loss, case.gradient, case.params, error_bars=True)
    assert {name: bar.shape for name, bar in report.error_bars.items()} == case.net.shapes


def test_direct_takes_the_larger_step_where_only_noise_would_change():
    """The cost is linear in the last layer's biases: a larger step has less noise, and no truncation."""
    case = make(np.random.default_rng(0), [20, 30, 4], ["tanh", "identity"], "class_logits", samples=40)
    good = gf.numerical_gradient(case.loss, case.params)
    plain = gf.numerical_gradient(case.loss, case.params, method="direct")
    better, _ = gf.numerical_gradient(case.loss, case.params, method="direct", error_bars=True)
    error = {name: (np.abs(plain[name] - good[name]).mean(), np.abs(better[name] - good[name]).mean()) for name in good}
    assert error["W1"][1] < error["W1"][0]


def test_the_parameters_are_as_they_were():
    theta = np.array([1.0, 2.0])
    seen = []

    def function(p):
        seen.append(p.copy())
        return float(p @ p)

    gf.numerical_gradient(function, theta, error_bars=True, trace=False)
    np.testing.assert_array_equal(theta, [1.0, 2.0])
    np.testing.assert_array_equal(seen[-1], theta)


def test_typical_is_of_the_row_and_the_column():
    rows, columns = np.array([1.0, 10.0, 100.0]), np.array([1.0, 1e-3])
    table = np.outer(rows, columns)
    np.testing.assert_allclose(typical(table.ravel(), {"W": (3, 2)}), table.ravel())
    np.testing.assert_allclose(typical(np.array([3.0, 4.0]), {"b": (2,)}), np.sqrt([12.5, 12.5]))
    np.testing.assert_allclose(typical(np.array([3.0, np.inf, 4.0]), {"b": (3,)})[0], np.sqrt(12.5))
    np.testing.assert_array_equal(typical(np.zeros(3), {"b": (3,)}), 0.0)
    np.testing.assert_allclose(typical(np.full(8, 1e300), {"T": (2, 2, 2)}), 1e300)


def test_an_entry_of_which_nothing_is_known_does_not_pass():
    """With three times the step the third root has no real value any more."""
    report = gf.gradcheck(
        lambda p: float(np.sqrt(p).sum()) if p.min() >= 0 else np.nan, np.array([0.5, 0.25, 158.0]),
        np.array([1.0, 4.0, 1e-5]),
    )  # fmt: skip
    assert not report.ok


def test_error_bars_do_not_change_a_verdict_by_atol():
    for atol in (1e-1, 1e-3):
        plain, shown = (gf.gradcheck(lambda p: p**3, 3.0, 1.0, step=0.1, atol=atol, error_bars=b) for b in (0, 1))
        assert (plain.verdict, plain.numerical) == (shown.verdict, shown.numerical)
        assert plain.error_bars is None
        assert shown.error_bars > 0.0

"""Python functions of every kind: steps, noise, kinks, verdicts, against known gradients."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest
from functions import Counted, functions, measure, peers

import gradcheck_fast as gf

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))]
#: An entry of ordinary size, as part of the largest of its array.
ORDINARY = 0.1
#: They have no derivative at 0, or none but zeros and kinks, and so all of the array is undecided.
UNDECIDED = ("steps at 0", "signs at 0", "small steps at 0", "rectifiers at 0")


def at_kink(function):
    """Entries where the function has no derivative: several numbers are right there."""
    return function.kind in ("kinked", "discontinuous") and "far" not in function.name


def test_the_suite_has_functions_of_every_kind():
    every = list(functions())
    assert len(every) >= 40
    assert {f.kind for f in every} == {
        "smooth", "badly scaled", "oscillating", "noisy", "kinked", "constant", "linear", "discontinuous"
    }  # fmt: skip


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_false_alarm(seed, trace):
    verdicts = {f.name: gf.gradcheck(f.f, f.gradient(f.x), f.x, trace=trace).verdict for f in functions(seed)}
    assert [name for name, verdict in verdicts.items() if verdict == "FAIL"] == []
    undecided = {name for name, verdict in verdicts.items() if verdict == "INCONCLUSIVE"}
    assert undecided <= {*UNDECIDED, "zero", "one million"}


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_planted_error_is_found(seed, trace):
    """A relative error of 1e-5 in one entry, wherever the function has a derivative; in the long tests in any entry."""
    missed, planted, most = [], 0, None if seed else 4
    for function in functions(seed):
        right = function.gradient(function.x)
        ordinary = np.flatnonzero(np.abs(right) > ORDINARY * np.abs(right).max(initial=0.0))
        for k in np.random.default_rng(seed).permutation(ordinary)[:most]:
            if at_kink(function) and function.x[k] in (0.0, function.x[0]):
                continue
            wrong = right.copy()
            wrong[k] *= 1.0 + 1e-5
            report = gf.gradcheck(function.f, wrong, function.x, trace=trace)
            planted += 1
            if report.worst(1)[0].index != (k,) or not report.wrong:
                missed.append((function.name, k, report.verdict))
    assert missed == []
    assert planted > (250 if seed else 100)


@pytest.mark.filterwarnings("ignore:the values of the loss", "ignore:the function could not be traced")
@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_bars_hold(seed, trace):
    inside = []
    for function in functions(seed):
        found, bars = gf.numerical_gradient(function.f, function.x, error_bars=True, trace=trace)
        inside.append(np.abs(found - function.gradient(function.x)) <= bars)
    assert np.concatenate(inside).mean() >= 0.99


def test_more_accurate_than_others_with_fewer_calls():
    pytest.importorskip("numdifftools")
    pytest.importorskip("scipy.optimize._numdiff")
    medians, calls = {}, {}
    ours = partial(gf.numerical_gradient, trace=False)
    for way, find in {"ours": ours, **peers()}.items():
        errors, calls[way] = measure(find)
        medians[way] = np.median(np.concatenate(list(errors.values())))
    assert medians["ours"] < min(medians["numdifftools"], medians["SciPy, 3-point"])
    without_noise = {way: sum(found.values()) - found["noisy"] for way, found in calls.items()}
    assert without_noise["ours"] <= 1.5 * without_noise["SciPy, 3-point"]
    assert sum(calls["ours"].values()) <= 1.9 * sum(calls["SciPy, 3-point"].values()), "noise is measured"
    assert sum(calls["ours"].values()) < sum(calls["numdifftools"].values())


# ---- what a check costs


def test_a_right_gradient_takes_two_calls_per_entry_and_a_few():
    x = np.random.default_rng(0).normal(size=50)
    counted = Counted(lambda p: np.sum(np.sin(p)))
    assert gf.gradcheck(counted, np.cos(x), x, trace=False)
    assert counted.calls == 2 * 50 + 2


def test_only_entries_that_do_not_agree_are_looked_at_again():
    x = np.random.default_rng(0).normal(size=200)
    counted = Counted(lambda p: np.sum(np.sin(p)))
    wrong = np.cos(x)
    wrong[17] += 1.0
    report = gf.gradcheck(counted, wrong, x, trace=False)
    assert report.wrong == 1
    assert counted.calls < 2 * 200 + 60
    assert np.isfinite(report.error_bars[17])
    assert np.isinf(np.delete(report.error_bars, 17)).all()


# ---- functions that are not what they should be


@pytest.mark.filterwarnings("ignore:the values of the loss have noise")
@pytest.mark.parametrize("trace", [True, False])
def test_a_function_that_is_not_deterministic_is_named(trace):
    noise = iter(1e-9 * np.random.default_rng(0).normal(size=10_000))
    loss = lambda p: float(p @ p + next(noise))
    with pytest.warns(UserWarning, match="the loss is not deterministic: two calls") as warned:
        gf.numerical_gradient(loss, np.ones(3), trace=trace)
    assert sum("deterministic" in str(warning.message) or "trace" in str(warning.message) for warning in warned) == 1
    report = gf.gradcheck(loss, 2 * np.ones(3), np.ones(3), trace=trace)
    assert "not deterministic" in str(report)
    assert "trace" not in str(report)
    assert report.verdict != "FAIL"


def test_too_much_noise_decides_nothing():
    random = np.random.default_rng(0)
    loss = lambda p: float(p @ p + random.normal())
    report = gf.gradcheck(loss, 2 * np.ones(3), np.ones(3), trace=False)
    assert report.verdict == "INCONCLUSIVE"


def test_the_random_numbers_of_a_traced_function_stay_the_same():
    random = np.random.default_rng(0)
    report = gf.gradcheck(lambda p: float(p @ p + random.normal()), 2 * np.ones(3), np.ones(3))
    assert report.verdict == "PASS"
    assert report.notes == ("the loss draws random numbers: each call of it gets the same ones",)


def test_the_function_is_left_at_the_parameters_themselves():
    seen = []
    x = np.array([1.0, 2.0])

    def loss(p):
        seen.append(p.copy())
        return np.sum(p**2)

    for call in (
        lambda: gf.numerical_gradient(loss, x),
        lambda: gf.numerical_gradient(loss, x, error_bars=True),
        lambda: gf.numerical_gradient(loss, x, method="complex"),
        lambda: gf.gradcheck(loss, 3 * x, x),
    ):
        call()
        np.testing.assert_array_equal(seen[-1], x)


# ---- complex steps


def test_complex_steps_have_no_error_but_rounding():
    x = np.random.default_rng(0).normal(size=9)
    found = gf.numerical_gradient(lambda p: np.sum(np.sin(p) * np.exp(p)), x, method="complex")
    np.testing.assert_allclose(found, np.exp(x) * (np.sin(x) + np.cos(x)), rtol=1e-15)
    report = gf.gradcheck(lambda p: np.sum(np.sin(p)), np.cos(x) * (1 + 1e-12), x, method="complex")
    assert report.verdict == "FAIL"
    assert report.method == "complex"


def test_complex_steps_in_a_tree():
    params = {"a": np.array([[1.0, 2.0]]), "b": (3.0, np.float32(0.5))}
    found = gf.numerical_gradient(
        lambda p: (p["a"] ** 2).sum() * p["b"][0] ** 2 + p["b"][1] ** 3, params, method="complex"
    )
    np.testing.assert_allclose(found["a"], [[18.0, 36.0]], rtol=1e-15)
    np.testing.assert_allclose(found["b"], [30.0, 0.75], rtol=1e-15)


@pytest.mark.parametrize(
    "loss",
    [lambda p: np.sum(np.abs(p)), lambda p: np.linalg.norm(p), lambda p: float(np.real(p) @ np.real(p))],
    ids=["abs", "norm", "real"],
)
def test_complex_steps_refuse_functions_that_are_not_analytic(loss):
    with pytest.raises(ValueError, match=r"method: 'complex' gives .* use 'direct'"):
        gf.numerical_gradient(loss, np.array([1.0, -2.0, 3.0]), method="complex")


@pytest.mark.parametrize(
    "loss", [lambda p: np.sum(np.abs(p)), lambda p: float(np.sum(p.astype(float))), lambda p: sum(map(float, p))],
    ids=["abs", "cast", "float"],
)  # fmt: skip
def test_without_a_method_they_are_not_taken_on_trust(loss):
    x = np.array([1.0, -2.0, 3.0])
    expected = np.sign(x) if loss(-x) == loss(x) else np.ones(3)
    np.testing.assert_allclose(gf.numerical_gradient(loss, x), expected, rtol=1e-9)


# ---- vectorised functions


@pytest.mark.parametrize("strength", [1e-3, 1e-4, 1e-5])
def test_a_small_part_that_is_not_analytic_is_not_left_out(strength):
    """A penalty by a norm is real for complex weights: complex steps would pass over it."""
    w = np.random.default_rng(0).normal(size=(5, 4))
    loss = lambda w: np.sum(np.tanh(w) ** 2) + 0.5 * strength * np.linalg.norm(w) ** 2
    true = 2 * np.tanh(w) * (1 - np.tanh(w) ** 2) + strength * w
    assert np.abs(gf.numerical_gradient(loss, w) - true).max() < 1e-9
    with pytest.raises(ValueError, match="not analytic"):
        gf.numerical_gradient(loss, w, method="complex")


@pytest.mark.parametrize("method", ["auto", "direct", "complex", "directional"])
def test_whatever_the_method_a_function_that_writes_or_changes_is_named(method):
    def writes(p):
        p *= 2
        return np.sum(p**2)

    drift = iter(range(1000))
    x = np.ones(3)
    assert "writes into its argument" in gf.gradcheck(writes, 8 * x, x, method=method).notes[0]
    changes = gf.gradcheck(lambda p: np.sum(p**2) + 1e-12 * next(drift), 2 * x, x, method=method)
    assert "not deterministic" in changes.notes[0]


@pytest.mark.parametrize("method", ["auto", "direct", "complex"])
def test_whatever_the_method_a_cost_that_is_not_finite_is_an_error(method):
    with pytest.raises(ValueError, match="it is nan at these parameters"):
        gf.numerical_gradient(lambda p: p.sum() * np.nan, np.ones(2), method=method)


def test_a_vectorised_function_that_writes_is_named():
    def writes(p):
        p *= 2
        return np.sum(p**2, axis=1)

    assert "writes into its argument" in gf.gradcheck(writes, 8 * np.ones(3), np.ones(3), vectorized=True).notes[0]


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_function_that_writes_only_where_parameters_are_perturbed_is_named(vectorized):
    """In place it clips to what the unchanged parameters keep to."""

    def clips(p):
        np.clip(p, 0.0, 1.0, out=p)
        return (p**2).sum(axis=-1) if vectorized else float((p**2).sum())

    x = np.array([0.5, 1.0])
    report = gf.gradcheck(clips, 2 * x, x, vectorized=vectorized, trace=False)
    assert "writes into its argument" in report.notes[0]
    assert not gf.gradcheck(clips, 2 * x[:1], x[:1], vectorized=vectorized, trace=False).notes


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes of exceptions")
def test_an_exception_of_a_vectorised_function_says_where():
    def raises(p):
        if (p[:, 1] != 1.0).any():
            raise KeyError("unchanged")
        return np.sum(p**2, axis=1)

    with pytest.raises(KeyError, match="unchanged") as caught:
        gf.numerical_gradient(raises, np.ones(3), vectorized=True)
    assert "raised by the loss while params[1] was 1.0000060" in caught.value.__notes__[0]


def small_network(seed):
    """A loss, its gradient in the dtype of the parameters, and parameters in float32."""
    rng = np.random.default_rng(seed)
    X, y = 30 * rng.normal(size=(5, 4)), rng.normal(size=(5, 3))

    def run(p):
        x = X.astype(p[0].dtype)
        a = 1 / (1 + np.exp(-x @ p[0]))
        out = np.tanh(a @ p[1])
        d2 = (out - y.astype(out.dtype)) * (1 - out**2)
        return np.sum((out - y) ** 2) / 2, [x.T @ (d2 @ p[1].T * a * (1 - a)), a.T @ d2]

    params = [(scale * rng.normal(size=shape)).astype(np.float32) for scale, shape in ((0.2, (4, 5)), (2, (5, 3)))]
    return lambda p: run(p)[0], lambda p: run(p)[1], params


def test_rounding_in_float32_is_no_mistake():
    """Units that are nearly saturated cancel digits: their gradient in float64 says how many."""
    with np.errstate(over="ignore"):
        failed = [seed for seed in range(40) if gf.gradcheck(*small_network(seed)).wrong]
    assert failed == []


def test_rounding_in_float32_is_no_mistake_where_float64_cannot_be_asked():
    """The gradient is handed over as arrays: what is lost in saturated units must not be more than undecided."""
    verdicts = []
    with np.errstate(over="ignore"):
        for seed in range(100):
            loss, gradient, params = small_network(seed)
            verdicts.append(gf.gradcheck(loss, gradient(params), params).verdict)
    assert verdicts.count("FAIL") <= 1  # of 100: 1 % of such networks lose even more
    assert verdicts.count("PASS") > 80


def test_an_error_in_float32_arrays_is_found():
    with np.errstate(over="ignore"):
        for seed in range(10):
            loss, gradient, params = small_network(seed)
            first, second = gradient(params)
            second[np.unravel_index(np.argmax(np.abs(second)), second.shape)] *= 1.001
            assert gf.gradcheck(loss, [first, second], params).wrong == 1


def test_an_error_in_float32_is_found_all_the_same():
    for seed in range(10):
        loss, gradient, params = small_network(seed)

        def wrong(p, gradient=gradient):
            first, second = gradient(p)
            first[np.unravel_index(np.argmax(np.abs(first)), first.shape)] *= 1.001
            return [first, second]

        with np.errstate(over="ignore"):
            assert gf.gradcheck(loss, wrong, params).wrong == 1


def test_a_gradient_of_float32_only_is_checked_as_it_is():
    def only(p):
        if p.dtype != np.float32:
            raise TypeError("float32 only")
        return 2.01 * p

    assert gf.gradcheck(lambda p: np.sum(p**2), only, np.ones(3, np.float32)).wrong == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_loss_of_less_than_float64_is_named(dtype):
    note = f"the loss gives {dtype.__name__}, though it was given float64: hardly any digits are left in differences"
    loss = lambda p: dtype(np.sum(p**2))
    said = f"the loss computes in {dtype.__name__} only (output is {dtype.__name__} where float64 is given)"
    assert gf.gradcheck(loss, 2 * np.ones(3), np.ones(3), trace=False).notes[0].startswith(said)
    report = gf.gradcheck(loss, 2 * np.ones(3), np.ones(3))
    assert note in report.notes
    assert len(report.notes) == 2, "the other is on the trace"


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_vectorised_loss_of_less_than_float64_is_named(dtype):
    report = gf.gradcheck(lambda p: np.sum(p**2, axis=1).astype(dtype), 2 * np.ones(3), np.ones(3), vectorized=True)
    assert f"the loss gives {dtype.__name__}" in report.notes[0]


def batch(p):
    assert p["W"].ndim == 3 and p["b"].ndim == 1
    return np.sum(np.sin(p["W"]), axis=(1, 2)) + p["b"] ** 2


def test_a_vectorised_function_is_given_many_sets_of_parameters_at_once():
    counted = Counted(batch)
    params = {"W": np.random.default_rng(0).normal(size=(4, 5)), "b": 3.0}
    right = {"W": np.cos(params["W"]), "b": 6.0}
    report = gf.gradcheck(counted, right, params, vectorized=True)
    assert report.ok
    assert counted.calls < 12
    wrong = {**right, "b": 6.001}
    assert gf.gradcheck(batch, wrong, params, vectorized=True).worst(1)[0].array == "b"
    found = gf.numerical_gradient(batch, params, vectorized=True)
    np.testing.assert_allclose(found["W"], right["W"], rtol=1e-8)


@pytest.mark.parametrize("returned", [None, 1.0, np.ones(3), np.ones((2, 2)), np.ones(1) * 1j], ids=repr)
def test_a_vectorised_function_that_does_not_return_as_many_costs(returned):
    with pytest.raises(TypeError, match="loss: with vectorized=True, expected it to return 1 real numbers"):
        gf.numerical_gradient(lambda p: returned, np.ones(2), vectorized=True)


def test_large_batches_are_cut(monkeypatch):
    from gradcheck_fast.numerical import evaluate

    monkeypatch.setattr(evaluate, "BATCH_NUMBERS", 30)
    rows = []

    def loss(p):
        rows.append(len(p))
        return np.sum(p**2, axis=1)

    np.testing.assert_allclose(gf.numerical_gradient(loss, np.ones(10), vectorized=True), 2.0, rtol=1e-8)
    assert max(rows) == 3

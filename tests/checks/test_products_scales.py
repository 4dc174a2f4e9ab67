"""check_vjp and check_jvp: small outputs and inputs do not hide beside large ones, and last bits may differ."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import gradcheck_fast as gf

AT = np.array([0.4, 0.9])


def shape_of(kind, outputs):
    return {"tuple": tuple(outputs), "list": list(outputs), "dict": dict(zip("ab", outputs, strict=True))}[kind]


def of(v):
    return list(v.values()) if isinstance(v, dict) else v


@pytest.mark.parametrize("directions", [1, 20])
@pytest.mark.parametrize(("kind", "name"), [("tuple", "output[1]"), ("list", "output[1]"), ("dict", "output.b")])
def test_a_wrong_sign_of_a_small_output_is_found_and_named(kind, name, directions):
    f = lambda x: shape_of(kind, (1e5 * x, 1e-7 * np.sin(x)))
    vjp = lambda sign, v, x: 1e5 * of(v)[0] + sign * 1e-7 * np.cos(x) * of(v)[1]
    jvp = lambda sign, t, x: shape_of(kind, (1e5 * t, sign * 1e-7 * np.cos(x) * t))
    for check, product in ((gf.check_vjp, vjp), (gf.check_jvp, jvp)):
        right = check(f, partial(product, 1.0), AT, directions=directions)
        assert right.ok
        assert max(right.seen_from.values()) < 1e-6
        wrong = check(f, partial(product, -1.0), AT, directions=directions)
        assert wrong.verdict == "FAIL"
        assert name in str(wrong)


def test_a_wrong_derivative_with_respect_to_a_small_input_is_found_and_named():
    f = lambda x, y: 1e3 * x + 1e-3 * np.sin(y)
    jvp = lambda factor, t, x, y: 1e3 * t[0] + factor * 1e-3 * np.cos(y) * t[1]
    assert gf.check_jvp(f, partial(jvp, 1.0), (AT, AT)).ok
    report = gf.check_jvp(f, partial(jvp, 1.01), (AT, AT))
    assert report.verdict == "FAIL"
    assert "inputs[1] alone" in str(report)


def test_the_report_says_from_what_size_an_error_is_seen_in_each_output_for_each_input():
    f = lambda x, y: (np.sin(x) + 0 * y, x * y)
    vjp = lambda v, x, y: (np.cos(x) * v[0] + y * v[1], x * v[1])
    report = gf.check_vjp(f, vjp, (AT, 2 * AT))
    pairs = {(f"output[{o}]", f"inputs[{i}]") for o in (0, 1) for i in (0, 1)}
    assert set(report.seen_from) == pairs
    assert np.isnan(report.seen_from["output[0]", "inputs[1]"]), "it does not depend on it"
    assert all(size < 1e-6 for pair, size in report.seen_from.items() if pair != ("output[0]", "inputs[1]"))
    assert "an error is seen from" in str(report)
    assert "What would have been seen" in report._repr_html_()
    assert len(report.to_dict()["seen_from"]) == 4


@pytest.mark.parametrize("trace", [True, False])
def test_what_is_seen_is_true(trace):
    """An error of twice the size that is stated is found, whatever its form.

    Of a traced function it is seen even where plain differences are too rough to say which of the two is wrong.
    """
    f = lambda x: np.sin(x) * np.array([1.0, 1e-3, 10.0])
    slope = lambda x: np.cos(x) * np.array([1.0, 1e-3, 10.0])
    at = np.array([0.3, 0.5, 0.7])
    size = gf.check_vjp(f, lambda v, x: slope(x) * v, at, trace=trace).seen_from["output", "inputs"]
    rng = np.random.default_rng(0)
    for _ in range(10):
        error = rng.normal(size=3) * rng.choice([0.0, 1.0], 3)
        if not error.any():
            continue

        def wrong(v, x, error=error):
            right = slope(x) * v
            return right + 2.0 * size * np.linalg.norm(right) * error / np.linalg.norm(error)

        assert gf.check_vjp(f, wrong, at, trace=trace).verdict in (("FAIL", "INCONCLUSIVE") if trace else ("FAIL",))


def test_a_product_that_is_right_for_each_cotangent_but_not_for_their_sum():
    f = lambda x: (np.sin(x), np.cos(x))
    vjp = lambda v, x: (np.cos(x) * v[0] - np.sin(x) * v[1]) * (1.0 if not v[0].any() or not v[1].any() else 2.0)
    report = gf.check_vjp(f, vjp, AT)
    assert report.verdict == "FAIL"
    assert "not linear in the cotangent" in report.notes[0]


def test_several_outputs_take_no_more_calls_than_one():
    calls = []

    def f(x):
        calls.append(1)
        return np.sin(x), x**2, 3 * x

    x = np.random.default_rng(0).normal(size=100)
    assert gf.check_vjp(f, lambda v, x: np.cos(x) * v[0] + 2 * x * v[1] + 3 * v[2], x).ok
    assert len(calls) <= 2 * 100 + 80


# ---- last bits


SHUFFLED = np.random.default_rng(0)


def in_some_order(x):
    terms = SHUFFLED.permutation(np.sin(np.arange(1.0, 200.0)[:, np.newaxis] * x), axis=0)
    return np.add.accumulate(terms, axis=0)[-1]


def slope_of_it(x):
    k = np.arange(1.0, 200.0)[:, np.newaxis]
    return np.sum(k * np.cos(k * x), axis=0)


@pytest.mark.parametrize("check", [gf.check_vjp, gf.check_jvp])
def test_sums_in_another_order_each_time(check):
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=4)
        report = check(in_some_order, lambda v, x: slope_of_it(x) * v, x)
        assert report.ok
        assert any("last bits of f differ from call to call" in note for note in report.notes)
        assert check(in_some_order, lambda v, x: 1.001 * slope_of_it(x) * v, x).verdict == "FAIL"


@pytest.mark.parametrize("check", [gf.check_vjp, gf.check_jvp])
def test_what_is_random_is_refused(check):
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"f: output gives other numbers each time, by .* without what is random"):
        check(lambda x: x * (random.random(2) > 0.5), lambda v, x: v, AT)


def test_a_derivative_that_uses_what_the_function_kept():
    class Layer:
        def forward(self, x):
            self.y = np.tanh(x)
            return self.y

        def backward(self, v, x):
            return v * (1 - self.y**2)

    layer = Layer()
    assert gf.check_vjp(layer.forward, layer.backward, AT, directions=3).ok
    assert gf.check_jvp(layer.forward, layer.backward, AT, directions=3).ok


# ---- many functions

KINDS = [
    (np.sin, np.cos),
    (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    (np.exp, np.exp),
    (np.square, lambda z: 2 * z),
    (lambda z: z, np.ones_like),
]


def random_function(rng):
    """A function with two to five outputs whose scales differ by up to 1e18, its products, and where."""
    count, size = int(rng.integers(2, 6)), int(rng.integers(1, 6))
    scales = 10.0 ** (rng.uniform(0, 18, count) - rng.uniform(0, 18))
    matrices = [rng.normal(size=(int(rng.integers(1, 6)), size)) for _ in range(count)]
    parts = [(s, A, *KINDS[rng.integers(len(KINDS))]) for s, A in zip(scales, matrices, strict=True)]

    def f(x):
        return tuple(s * g(A @ x) for s, A, g, _ in parts)

    def vjp(wrong, v, x):
        pieces = enumerate(zip(parts, v, strict=True))
        return sum(s * A.T @ (d(A @ x) * own) * (1 + 1e-3 * (k == wrong)) for k, ((s, A, _, d), own) in pieces)

    def jvp(wrong, t, x):
        return tuple(s * d(A @ x) * (A @ t) * (1 + 1e-3 * (k == wrong)) for k, (s, A, _, d) in enumerate(parts))

    return f, vjp, jvp, rng.normal(size=size), count


def hunt(seed, count):
    """How many planted errors are found or stated not to be seen, of how many; false alarms are none."""
    rng, found = np.random.default_rng(seed), 0
    for _ in range(count):
        f, vjp, jvp, x, outputs = random_function(rng)
        wrong = int(rng.integers(outputs))
        for check, product in ((gf.check_vjp, vjp), (gf.check_jvp, jvp)):
            assert check(f, partial(product, None), x).verdict == "PASS"
            report = check(f, partial(product, wrong), x)
            unseen = any(s > 1e-3 for (output, _), s in report.seen_from.items() if output == f"output[{wrong}]")
            found += (report.verdict == "FAIL" and f"output[{wrong}]" in str(report)) or unseen
    return found / (2 * count)


def test_outputs_of_any_scale():
    assert hunt(0, 40) == 1.0


@pytest.mark.long
def test_two_hundred_functions_with_outputs_of_any_scale():
    assert hunt(1, 200) >= 0.995


# ---- with other options


@pytest.mark.parametrize("check", [gf.check_vjp, gf.check_jvp])
def test_a_sample_of_many_outputs_with_error_bars(check):
    x = np.random.default_rng(0).normal(size=300)
    for digits in (15, 9):
        f = lambda x, digits=digits: np.round(np.sin(x), digits)
        report = check(f, lambda v, x: np.cos(x) * v, x, sample=20, error_bars=True)
        assert report.wrong == 0


def test_an_output_that_cancels_is_not_random():
    random = np.random.default_rng(0)

    def f(x):
        terms = random.permutation(np.concatenate([np.sin(x), -np.sin(x), 1e3 * x, -1e3 * x]))
        return np.add.accumulate(terms)[-1]

    x = np.random.default_rng(1).normal(size=20)
    assert gf.check_vjp(f, lambda v, x: np.zeros(20), x).verdict != "FAIL"

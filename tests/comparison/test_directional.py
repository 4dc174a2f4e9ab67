"""method="directional": right gradients pass in few evaluations, wrong ones are reported as what they are."""

from __future__ import annotations

import copy
import tracemalloc

import networks
import numpy as np
import pytest
from networks import ACTIVATIONS, COSTS, backprop, flat, make, random_network, statuses

import gradcheck_fast as gf


def check(loss, gradient, params, **options):
    return gf.gradcheck(loss, gradient, params, method="directional", **options)


@pytest.fixture(scope="module")
def case():
    return make(np.random.default_rng(0), [40, 30, 6], ["tanh", "identity"], "class_logits", samples=20)


# ---- right gradients


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_right_gradients_of_all_activations_pass(activation):
    for seed in range(20):
        case = make(
            np.random.default_rng(seed), [20, 30, 30, 5], [activation, activation, "identity"], samples=8, scale=0.5
        )
        report = check(case.loss, case.gradient, case.params, seed=seed)
        assert report.ok
        assert max(array.power for array in report.arrays) < 1e-4
        assert report.evaluations <= 10 * len(report.arrays)


@pytest.mark.parametrize("cost", COSTS)
def test_right_gradients_of_all_costs_pass(cost):
    for seed in range(10):
        case = make(np.random.default_rng(seed), [10, 20, 5], ["softplus", "identity"], cost)
        assert check(case.loss, case.gradient, case.params, seed=seed).ok


@pytest.mark.parametrize("networks", [100, pytest.param(300, marks=pytest.mark.long)])
def test_no_false_alarm_over_hundreds_of_networks(networks):
    evaluations = arrays = 0
    for seed in range(networks):
        case = random_network(np.random.default_rng(seed))
        report = check(case.loss, case.gradient, case.params, seed=seed)
        assert not report.wrong
        evaluations += report.evaluations
        arrays += len(report.arrays)
    assert evaluations <= 10 * arrays


@pytest.mark.parametrize("count", [12, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize("loss_in", [np.float64, np.float32])
def test_no_false_alarm_in_float32(loss_in, count):
    """A gradient in float32, of a cost in float64 or in float32."""
    for seed in range(count):
        case = random_network(np.random.default_rng(seed))
        single = {name: array.astype(np.float32) for name, array in case.params.items()}
        X = case.X.astype(np.float32)
        cast = lambda tree: {name: array.astype(loss_in) for name, array in tree.items()}
        loss = lambda p, case=case, X=X, cast=cast: loss_in(networks.loss(case.net, cast(p), X, case.y))
        with np.errstate(all="ignore"):
            report = check(loss, backprop(case.net, single, X, case.y), single, seed=seed)
        assert not report.wrong


def test_a_float32_gradient_given_as_float64_is_judged_as_what_it_is(case):
    single = {name: array.astype(np.float32).astype(float) for name, array in case.gradient.items()}
    report = check(case.loss, single, case.params)
    assert report.ok
    assert all(1e-8 < array.power < 1e-4 for array in report.arrays)


def test_a_float32_gradient_with_more_rounding_than_is_due_is_named(case):
    """Here of 1e-5, as where much cancels in an array."""
    off = {
        **case.gradient,
        "b1": case.gradient["b1"] + 3e-5 * np.abs(case.gradient["b1"]).max() * (-1.0) ** np.arange(30),
    }
    report = check(case.loss, {name: array.astype(np.float32) for name, array in off.items()}, case.params)
    assert statuses(report)["b1"] == "wrong"
    assert report.diagnoses[0].cause == "the gradient was computed in float32, and is right to its rounding"


def test_functions_and_networks_get_the_same_verdict(case):
    """Whatever is evaluated: a function of a tree of arrays, too."""
    for loss in (case.loss, lambda p: networks.loss(case.net, p, case.X, case.y)):
        assert check(loss, case.gradient, case.params).ok
        wrong = {**case.gradient, "W1": 2.0 * case.gradient["W1"]}
        assert statuses(check(loss, wrong, case.params)) == {
            "W1": "wrong", "b1": "right", "W2": "right", "b2": "right"
        }  # fmt: skip


def test_penalties_count():
    case = make(np.random.default_rng(0), [10, 8, 3], ["tanh", "identity"], penalty=gf.L2(0.3))
    assert check(case.loss, case.gradient, case.params).ok
    forgotten = backprop(case.net, case.params, case.X, case.y)
    forgotten["W1"] -= 0.3 * case.params["W1"]
    assert statuses(check(case.loss, forgotten, case.params))["W1"] == "wrong"


# ---- what cannot be checked


def test_nan_in_the_gradient_is_named_without_evaluations(case):
    wrong = copy.deepcopy(case.gradient)
    wrong["W1"][3, 4], wrong["W1"][5, 6] = np.nan, np.inf
    report = check(case.loss, wrong, case.params)
    assert report.evaluations == check(case.loss, case.gradient, case.params).evaluations
    assert (report.verdict, report.wrong) == ("FAIL", 2)
    assert {entry[:2] for entry in report.worst(2)} == {("W1", (3, 4)), ("W1", (5, 6))}
    assert np.isnan(report.relative_error)
    nothing_else = check(case.loss, {**case.gradient, "b2": np.full(6, np.nan)}, case.params)
    assert nothing_else.wrong == 6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite(value):
    report = check(lambda p: value, np.ones(30), np.ones(30))
    assert (report.verdict, report.evaluations) == ("INCONCLUSIVE", 1)
    assert "loss is not finite" in str(report)


def test_arrays_with_nothing_to_check(case):
    params = {**case.params, "unused": np.ones((5, 5)), "none": np.empty((0, 3))}
    loss = lambda p: networks.loss(case.net, p, case.X, case.y)
    gradient = {**case.gradient, "unused": np.zeros((5, 5)), "none": np.empty((0, 3))}
    report = check(loss, gradient, params)
    assert report.ok
    assert statuses(report)["unused"] == statuses(report)["none"] == "nothing to check"
    assert "any one of 4 of the arrays" in report.coverage
    assert statuses(check(loss, {**gradient, "unused": np.full((5, 5), 0.1)}, params))["unused"] == "wrong"
    only = check(lambda p: 1.0, {"a": np.zeros(3)}, {"a": np.ones(3)})
    assert (only.verdict, only.coverage) == ("INCONCLUSIVE", "")


def test_a_gradient_that_was_forgotten_is_wrong(case):
    report = check(case.loss, {**case.gradient, "W1": np.zeros((40, 30))}, case.params)
    assert report.wrong == 40 * 30
    assert "forgotten" in report.diagnoses[0].cause


def test_at_a_kink_in_every_direction_nothing_is_alarmed():
    """Biases of zero and samples of zeros: half of the units lie on their kinks."""
    params = np.zeros(40)
    report = check(lambda p: float(np.maximum(p, 0.0).sum()) + 1.0, np.full(40, 0.5), params)
    assert not report.wrong
    assert check(lambda p: float(np.maximum(p, 0.0).sum()) + 1.0, np.zeros(40), params).verdict == "INCONCLUSIVE"


def test_a_loss_that_is_random_is_inconclusive(case):
    rng = np.random.default_rng(0)
    report = check(lambda p: case.loss(p) + 10.0 * rng.normal(), case.gradient, case.params)
    assert report.verdict == "INCONCLUSIVE"


def test_no_parameters():
    assert check(lambda p: 1.0, {}, {}).verdict == "INCONCLUSIVE"


def test_a_scalar():
    assert check(lambda x: x**2, 3.0, 1.5).ok
    assert check(lambda x: x**2, 3.1, 1.5).arrays[0].entries == ((),)


def test_small_arrays_take_three_evaluations_for_each_entry():
    params = {"a": 1.0, "b": np.ones(2), "c": np.ones((1, 3)), "d": np.ones(4)}
    loss = lambda p: float(sum(np.sum(np.sin(array)) for array in p.values()))
    gradient = {name: np.cos(array) for name, array in params.items()}
    report = check(loss, gradient, params)
    assert report.ok
    assert report.evaluations == 1 + 3 + 6 + 9 + 9
    gradient["c"] = gradient["c"] * [1.0, 1.0, 1.1]
    report = check(loss, gradient, params)
    assert statuses(report) == {"a": "right", "b": "right", "c": "wrong", "d": "right"}
    assert report.arrays[2].entries == ((0, 2),)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-6])
def test_an_error_in_tiny_biases_is_found(case, scale):
    params = {**case.params, "b1": scale * case.params["b1"]}
    gradient = backprop(case.net, params, case.X, case.y)
    report = check(case.loss, gradient, params)
    assert report.ok
    assert report.arrays[1].power < 1e-5
    gradient["b1"][7] *= 1.0 + 1e-3
    assert check(case.loss, gradient, params).arrays[1].entries == ((7,),)


@pytest.mark.parametrize(
    ("name", "also"), [("W1", ""), ("b1", " (averaged over the samples where it should be summed)")]
)
def test_what_was_drawn_of_a_matrix_is_diagnosed_as_a_matrix(case, name, also):
    report = check(case.loss, {**case.gradient, name: case.gradient[name] / 20}, case.params)
    assert f"the gradient of {name} is divided by the number of samples N = 20{also}" == report.diagnoses[0].cause


# ---- arguments that do not fit


def test_arguments_that_do_not_fit(case):
    with pytest.raises(ValueError, match="error_bars: random directions find none"):
        check(case.loss, case.gradient, case.params, error_bars=True)
    with pytest.raises(ValueError, match="sample: method 'directional' compares every entry"):
        check(case.loss, case.gradient, case.params, sample=10)
    with pytest.raises(ValueError, match="step: expected"):
        check(case.loss, case.gradient, case.params, step=1e-200)
    with pytest.raises(ValueError, match="'directional' checks a gradient without finding one"):
        gf.numerical_gradient(case.loss, case.params, method="directional")
    for seed in (-1, 1.5, "0", True):
        with pytest.raises((TypeError, ValueError), match="seed: expected an integer of at least 0"):
            check(case.loss, case.gradient, case.params, seed=seed)


def test_user_arrays_are_not_changed(case):
    before = copy.deepcopy((case.params, case.gradient))
    check(lambda p: [array.fill(0.0) for array in p.values()] and 1.0, case.gradient, case.params)
    np.testing.assert_equal((case.params, case.gradient), before)


# ---- large networks


def test_memory():
    """The parameters, the gradient, and few vectors more."""
    size = 250_000
    params, gradient = {"W": np.full((500, 500), 0.5)}, {"W": np.full((500, 500), np.cos(0.5))}
    loss = lambda p: float(np.einsum("ij->", np.sin(p["W"][:, ::50])) + p["W"].ravel()[:1] @ np.ones(1))
    tracemalloc.start()
    check(loss, gradient, params, trace=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8.5 * 8 * size


class Large:
    """Two hidden layers, softmax cross-entropy, in NumPy: 10,027,520 parameters."""

    widths = (784, 3000, 2540, 20)

    def __init__(self, activation):
        rng = np.random.default_rng(0)
        self.X, self.y = rng.uniform(size=(16, 784)), rng.integers(0, 20, 16)
        self.f, self.slope = {
            "tanh": (np.tanh, lambda a: 1 - a * a),
            "relu": (lambda z: np.maximum(z, 0.0), lambda a: (a > 0.0) * 1.0),
        }[activation]
        self.params = {}
        for k, (inputs, outputs) in enumerate(zip(self.widths, self.widths[1:], strict=False), 1):
            self.params[f"W{k}"] = rng.normal(0.0, (2.0 / inputs) ** 0.5, (inputs, outputs))
            self.params[f"b{k}"] = rng.normal(0.0, 0.1, outputs)

    def forward(self, p):
        a1 = self.f(self.X @ p["W1"] + p["b1"])
        a2 = self.f(a1 @ p["W2"] + p["b2"])
        z = a2 @ p["W3"] + p["b3"]
        return a1, a2, z - z.max(axis=1, keepdims=True)

    def loss(self, p):
        z = self.forward(p)[2]
        return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(16), self.y]).mean())

    @property
    def gradient(self):
        p, (a1, a2, z) = self.params, self.forward(self.params)
        d3 = networks.softmax(z)
        d3[np.arange(16), self.y] -= 1.0
        d3 /= 16
        d2 = d3 @ p["W3"].T * self.slope(a2)
        d1 = d2 @ p["W2"].T * self.slope(a1)
        return {
            "W1": self.X.T @ d1, "b1": d1.sum(axis=0), "W2": a1.T @ d2, "b2": d2.sum(axis=0),
            "W3": a2.T @ d3, "b3": d3.sum(axis=0),
        }  # fmt: skip


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::gradcheck_fast.LongRunWarning")  # it may take more than a minute
@pytest.mark.parametrize(("activation", "count", "block"), [("tanh", 1, True), ("relu", 2, False)])
def test_ten_million_parameters(activation, count, block):
    net = Large(activation)
    gradient = net.gradient
    size = sum(array.size for array in gradient.values())
    assert size >= 10_000_000
    report = check(net.loss, gradient, net.params)
    assert report.ok
    assert report.evaluations <= 10 * len(report.arrays)
    typical = np.sqrt(np.mean(gradient["W2"] ** 2))
    rng = np.random.default_rng(count)
    places = sorted({(int(rng.integers(3000)), int(rng.integers(2540))) for _ in range(count)})
    for place in places:
        gradient["W2"][place] += typical
    report = check(net.loss, gradient, net.params)
    assert list(report.arrays[2].entries) == places
    assert report.wrong == count
    assert report.evaluations <= 60 * count * np.log2(size)
    if not block:
        return
    for place in places:
        gradient["W2"][place] -= typical
    gradient["W2"][100:164, 200:232] += typical
    report = check(net.loss, gradient, net.params)
    assert [block.label for block in report.arrays[2].blocks] == ["rows 100-163 x columns 200-231"]
    assert report.wrong == 64 * 32
    assert report.evaluations <= 60 * np.log2(size)


def test_flat_vectors(case):
    report = check(case.loss, flat(case.gradient), flat({n: case.params[n] for n in case.net.shapes}))
    assert report.ok


def test_a_loss_that_is_random_or_writes_into_its_argument_is_named():
    random, x = np.random.default_rng(0), np.linspace(0.0, 1.0, 30)
    loss = lambda p: np.sum(p**2) + 1e-3 * random.normal()
    noisy = gf.gradcheck(loss, 2 * x, x, method="directional", trace=False)
    assert "not deterministic" in noisy.notes[0]
    noisy = gf.gradcheck(loss, 2 * x, x, method="directional")
    assert noisy.verdict == "PASS"
    assert "draws random numbers" in noisy.notes[0]

    def writes(p):
        value = float(np.sum(p**2))
        p[0] = 7.0
        return value

    report = gf.gradcheck(writes, 2 * x, x, method="directional")
    assert report.ok
    assert "writes into its argument" in report.notes[0]
    assert gf.gradcheck(lambda p: np.sum(p**2), 2 * x, x, method="directional").notes == ()


@pytest.mark.parametrize("size", [1, 2, 3, 30])
def test_differences_without_any_error(size):
    """A linear loss at zeros: nothing is rounded, and no error is too small to be seen."""
    report = check(lambda p: 4.0 * np.sum(p), np.full(size, 4.0), np.zeros(size))
    assert report.verdict == "PASS", str(report)
    assert "any error in params would have been seen" in report.coverage or size == 30

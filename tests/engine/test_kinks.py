"""Tests that kinks are counted exactly, that every slope at a kink passes, and that nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Case, backprop, random_network

import gradcheck_fast as gf
from gradcheck_fast.running.runner import Runner

METHODS = ("units", "incremental", "chain")
ALL_METHODS = (*METHODS, "direct")


def find(case, method="units", step=None):
    loss = case.loss
    found = loss.central_differences(loss.pack(case.params), method=method, step=step, runner=Runner(1), kinks=True)
    return found.gradient, found.kinks


def one_unit(activation, z, slope=1.0, cost=None):
    """Returns a case of one sample and one unit at z = b, in which the cost is `slope` times the output."""
    net = gf.Network(
        [gf.Dense(1, 1, activation, name="h"), gf.Dense(1, 1, name="out")], cost=cost or gf.SquaredError(factor=0.5)
    )
    params = {"h.W": np.zeros((1, 1)), "h.b": np.array([z]), "out.W": np.ones((1, 1)), "out.b": np.zeros(1)}
    output = float(net.predict(params, np.zeros((1, 1)))[0, 0])
    return Case(net, params, np.zeros((1, 1)), np.array([[output - slope]]))


#: Where the slope of each activation jumps, and its slopes left and right of it.
KINKS = [
    ("relu", 0.0, 0.0, 1.0),
    ("leaky_relu", 0.0, 0.01, 1.0),
    ("selu", 0.0, 1.6732632423543772 * 1.0507009873554805, 1.0507009873554805),
    ("hardtanh", -1.0, 0.0, 1.0),
    ("hardtanh", 1.0, 1.0, 0.0),
    ("relu6", 0.0, 0.0, 1.0),
    ("relu6", 6.0, 1.0, 0.0),
]
SMOOTH = ["identity", "sigmoid", "tanh", "elu", "softplus", "softsign", "silu", "gelu", "gelu_tanh", "exp"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("activation", "z", "left", "right"), KINKS)
def test_at_a_kink_the_slopes_left_and_right_are_found(activation, z, left, right, method):
    case = one_unit(activation, z)
    gradient, kinks = find(case, method)
    assert kinks.crossed == 1
    at = list(case.net.shapes).index("h.b")  # each array has one entry
    assert gradient[at] == pytest.approx((left + right) / 2, rel=1e-9)
    assert gradient[at] + kinks.low[at] == pytest.approx(min(left, right), rel=1e-9, abs=1e-9)
    assert gradient[at] + kinks.high[at] == pytest.approx(max(left, right), rel=1e-9)
    others = np.arange(len(gradient)) != at
    assert not kinks.low[others].any()
    assert not kinks.high[others].any()


@pytest.mark.parametrize("method", ALL_METHODS)
@pytest.mark.parametrize(("activation", "z", "left", "right"), KINKS)
def test_at_a_kink_any_slope_between_passes_and_none_outside(activation, z, left, right, method):
    case = one_unit(activation, z)
    good = gf.numerical_gradient(case.loss, case.params)
    for share, ok in ((0.0, True), (0.5, True), (0.9, True), (1.0, True), (-0.01, False), (1.01, False)):
        gradient = {**good, "h.b": np.array([left + share * (right - left)])}
        report = gf.gradcheck(case.loss, gradient, case.params, method=method)
        assert (report.ok, report.arrays[1].at_kink) == (ok, int(ok))


@pytest.mark.parametrize("activation", SMOOTH)
def test_smooth_activations_have_none(activation):
    for z in (0.0, 1.0, -1.0, 6.0):
        assert find(one_unit(activation, z))[1] is None


def test_beside_a_kink_there_is_none():
    for z in (-1e-6, 1e-6):
        gradient, kinks = find(one_unit("relu", z))
        assert kinks is None
        assert gradient[1] == pytest.approx(float(z > 0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("z", [-1e-3, 1e-3])
def test_a_large_step_crosses_it_but_the_slope_here_is_known(z, method):
    case = one_unit("relu", z)
    gradient, kinks = find(case, method, step=0.1)
    assert kinks.crossed >= 1
    right = float(z > 0)
    assert gradient[1] + kinks.low[1] <= right <= gradient[1] + kinks.high[1]


@pytest.mark.parametrize("method", METHODS)
def test_absolute_error_has_one_at_the_target(method):
    case = one_unit("identity", 0.5, slope=0.0, cost=gf.AbsoluteError())
    gradient, kinks = find(case, method)
    assert kinks.crossed >= 1
    np.testing.assert_allclose([gradient[1] + kinks.low[1], gradient[1] + kinks.high[1]], [-1, 1], rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_all_crossings_are_counted(method):
    """There are three samples of zeros and two units, all at z = 0, and each bias moves one unit of each sample."""
    net = gf.Network([gf.Dense(2, 2, "relu")], cost=gf.SquaredError())
    case = Case(net, {"W1": np.eye(2), "b1": np.zeros(2)}, np.zeros((3, 2)), np.ones((3, 2)))
    assert find(case, method)[1].crossed == 6


def chain(activation, biases, *, target=5.0):
    """Returns a case in which a tanh unit feeds one unit of `activation` for each bias, and the cost sees their sum."""
    width = len(biases)
    layers = [gf.Dense(1, 1, "tanh", name="a"), gf.Dense(1, width, activation, name="h"), gf.Dense(width, 1, name="o")]
    params = {
        "a.W": np.zeros((1, 1)), "a.b": np.zeros(1), "h.W": np.ones((1, width)), "h.b": np.array(biases),
        "o.W": np.ones((width, 1)), "o.b": np.zeros(1),
    }  # fmt: skip
    return Case(gf.Network(layers, cost=gf.SquaredError()), params, np.ones((1, 1)), np.array([[target]]))


@pytest.mark.parametrize("method", ALL_METHODS)
@pytest.mark.parametrize(("activation", "biases"), [("hardtanh", [-1.0, 1.0]), ("relu6", [0.0, 6.0])])
def test_the_slope_may_be_zero_at_both_kinks_of_an_activation(activation, biases, method):
    """PyTorch takes zero at both kinks."""
    case = chain(activation, biases)
    gradient = gf.numerical_gradient(case.loss, case.params)
    gradient.update({name: np.zeros_like(case.params[name]) for name in ("a.W", "a.b", "h.W", "h.b")})
    assert gf.gradcheck(case.loss, gradient, case.params, method=method).wrong == 0
    gradient["a.b"] = np.full(1, 1e3)
    assert gf.gradcheck(case.loss, gradient, case.params, method=method).wrong == 1


@pytest.mark.parametrize("method", ALL_METHODS)
def test_a_tie_that_rounding_hides_is_one_all_the_same(method):
    """0.4 * 1.6 + 0.5 * 1.6 - 0.9 * 1.6 is 0, but rounding makes it 5e-17 if it is summed from the left."""
    net = gf.Network([gf.Dense(3, 1, "relu")], cost=gf.SquaredError())
    case = Case(net, {"W1": np.array([[1.6], [1.6], [-1.6]]), "b1": np.zeros(1)}, np.array([[0.4, 0.5, 0.9]]), 1.0)
    loss = net.loss(case.X, np.ones((1, 1)))
    nothing = {name: np.zeros_like(p) for name, p in case.params.items()}
    assert gf.gradcheck(loss, nothing, case.params, method=method).wrong == 0


@pytest.mark.parametrize("method", ALL_METHODS)
@pytest.mark.parametrize("slope", [0.3, 0.5, 0.9, 1.0, 1.2])
def test_where_only_the_step_crosses_a_kink_there_is_one_slope(slope, method):
    case = one_unit("relu", 3e-6)
    good = gf.numerical_gradient(case.loss, case.params)
    gradient = {**good, "h.b": slope * good["h.b"]}
    report = gf.gradcheck(case.loss, gradient, case.params, method=method, step=None if method == "direct" else 1e-5)
    assert report.arrays[1].wrong == (slope != 1.0)


def test_direct_looks_for_kinks_as_far_as_its_own_steps_reach():
    """The steps of `direct` grow with the parameters."""
    net = gf.Network([gf.Dense(1, 1, "relu", name="h")], cost=gf.SquaredError(factor=0.5))
    params = {"h.W": np.array([[1000.0]]), "h.b": np.array([-1000 + 1e-5])}
    loss = net.loss(np.ones((1, 1)), -np.ones((1, 1)))
    right = {"h.W": np.array([[1.00001]]), "h.b": np.array([1.00001])}
    assert gf.gradcheck(loss, right, params, method="direct").ok
    wrong = {**right, "h.W": np.array([[0.5]])}
    assert gf.gradcheck(loss, wrong, params, method="direct").wrong == 1


def test_a_kink_beside_a_large_number_is_not_lost_in_rounding():
    """Beside 6 a change of 1e-17 is lost in rounding, but its slope is not."""
    case = chain("relu6", [6.0])
    case.params["h.W"][...] = 1e-5
    _, kinks = find(case)
    at = list(case.net.shapes).index("a.b")
    assert kinks.low[at] < kinks.high[at]


def test_an_array_that_lies_on_kinks_altogether_is_no_check():
    case = dead_layer("relu")
    case.X[...] = 0.0
    report = gf.gradcheck(case.loss, case.gradient, case.params)
    assert {a.name: a.status for a in report.arrays if a.name in ("b1", "b3")} == {
        "b1": "nothing to check", "b3": "right"
    }  # fmt: skip


def dead_layer(activation):
    """Returns a case with samples of zeros and biases of zero: in these, every unit of every layer lies on its kink."""
    random = np.random.default_rng(1)
    net = gf.Network(
        [gf.Dense(3, 4, activation), gf.Dense(4, 5, activation), gf.Dense(5, 2)], cost=gf.SquaredError(reduction="sum")
    )
    params = {name: random.normal(size=shape) * (name[0] == "W") for name, shape in net.shapes.items()}
    X = random.normal(size=(4, 3))
    X[1] = X[3] = 0.0
    return Case(net, params, X, random.normal(size=(4, 2)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "selu", "relu6"])
def test_back_propagation_passes_whichever_slope_it_takes(activation, method):
    case = dead_layer(activation)
    left = backprop(*case)
    barely = {name: p + 1e-13 * (name[0] == "b") for name, p in case.params.items()}
    right = backprop(case.net, barely, case.X, case.y)
    for gradient in (left, right):
        report = gf.gradcheck(case.loss, gradient, case.params, method=method, rtol=1e-9, atol=1e-11)
        assert report.ok, str(report)
        assert sum(array.at_kink for array in report.arrays) > 0
    for any_method in (method, "direct"):
        assert gf.gradcheck(case.loss, left, case.params, method=any_method).ok


@pytest.mark.parametrize("method", METHODS)
def test_a_mistake_beside_kinks_is_found(method):
    case = dead_layer("relu")
    gradient = backprop(*case)
    for name, index in (("W1", (0, 0)), ("W2", (1, 1)), ("W3", (2, 0)), ("b3", (1,))):
        wrong = {key: array.copy() for key, array in gradient.items()}
        wrong[name][index] += 1e-3 * np.abs(wrong[name]).max()
        report = gf.gradcheck(case.loss, wrong, case.params, method=method)
        assert [(a.name, a.wrong) for a in report.arrays if a.wrong] == [(name, 1)]


def test_the_methods_see_the_same_kinks():
    case = dead_layer("leaky_relu")
    by_units, *others = (find(case, method) for method in METHODS)
    for gradient, kinks in others:
        np.testing.assert_allclose(gradient, by_units[0], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(kinks.low, by_units[1].low, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(kinks.high, by_units[1].high, rtol=1e-8, atol=1e-9)


def test_the_numerical_gradient_is_the_same_whether_kinks_are_counted_or_not():
    case = dead_layer("relu")
    for method in METHODS:
        counted, plain = find(case, method)[0], gf.numerical_gradient(case.loss, case.params, method=method)
        np.testing.assert_array_equal(counted, np.concatenate([plain[name].ravel() for name in case.net.shapes]))


def test_a_second_check_has_forgotten_the_first():
    """Both checks use the same memory for slopes."""
    case = dead_layer("relu")
    loss, elsewhere = case.loss, {name: p + 0.1 for name, p in case.params.items()}
    first = gf.gradcheck(loss, case.gradient, case.params)
    assert sum(array.at_kink for array in first.arrays) > 0
    second = gf.gradcheck(loss, backprop(case.net, elsewhere, case.X, case.y), elsewhere)
    assert sum(array.at_kink for array in second.arrays) == 0
    assert second.ok


def ties(random):
    """Returns a random network with ties: biases of zero, samples of zeros, equal samples, badly scaled inputs."""
    case = random_network(random)
    X = case.X * 10.0 ** random.uniform(-3, 3)
    X[random.random(len(X)) < 0.2] = 0.0
    X[random.integers(len(X))] = X[random.integers(len(X))]
    params = {name: p * (name[0] == "W") for name, p in case.params.items()}
    return case._replace(X=X, params=params)


def in_dtype(case, dtype):
    y = case.y.astype(dtype) if case.y.dtype.kind == "f" else case.y
    return Case(case.net, {name: p.astype(dtype) for name, p in case.params.items()}, case.X.astype(dtype), y)


both = pytest.mark.parametrize("method", [pytest.param("auto", marks=pytest.mark.long), "chain"])


def false_alarms(seed, count, method):
    """Checks right gradients of random networks.

    Returns the reports that find something wrong, the number of all reports, and the number of entries at kinks.
    """
    random, alarms, looked_at, at_kinks = np.random.default_rng(seed), [], 0, 0
    for k in range(count):
        drawn = ties(random) if k % 2 else random_network(random)
        for dtype in (np.float64, np.float32):
            case = in_dtype(drawn, dtype)
            with np.errstate(all="ignore"):
                gradient = case.gradient
            sizes = [float(np.abs(array).max(initial=0.0)) for array in gradient.values()]
            if not max(sizes) < 1e12:  # after exp of a large number no gradient is right
                continue
            report = gf.gradcheck(case.loss, gradient, case.params, method=method)
            looked_at += 1
            at_kinks += sum(array.at_kink for array in report.arrays)
            if report.wrong or (report.certificate and not report.certificate.holds):
                alarms.append((k, dtype.__name__, str(report)))
    return alarms, looked_at, at_kinks


@both
def test_no_false_alarm_in_random_networks_with_ties(method):
    alarms, looked_at, at_kinks = false_alarms(0, 150, method)
    assert not alarms
    assert looked_at > 250
    assert at_kinks > 100


@pytest.mark.long
@both
def test_hardly_a_false_alarm_in_800_random_networks(method):
    """The remaining false alarms come from units that multiply rounding errors beyond everything that is allowed."""
    alarms, looked_at, _ = false_alarms(1, 800, method)
    assert looked_at > 1500
    assert len(alarms) <= 0.001 * looked_at


def misses(seed, count, method):
    """Plants small errors in single entries of ordinary size, and counts the planted and the seen ones by dtype."""
    random = np.random.default_rng(seed)
    planted, seen = dict.fromkeys((np.float64, np.float32), 0), dict.fromkeys((np.float64, np.float32), 0)
    for _ in range(count):
        drawn = random_network(random)
        for dtype, size in ((np.float64, 1e-9), (np.float32, 1e-3)):
            case = in_dtype(drawn, dtype)
            with np.errstate(all="ignore"):
                gradient = case.gradient
            if not all(np.abs(array).max(initial=0.0) < 1e12 for array in gradient.values()):
                continue
            name = str(random.choice(list(gradient)))
            array = gradient[name].copy()
            ordinary = np.flatnonzero(np.abs(array) >= 0.5 * np.sqrt(np.mean(array.astype(float) ** 2)))
            if not array.any() or not gf.gradcheck(case.loss, gradient, case.params, method=method).ok:
                continue
            array.flat[random.choice(ordinary)] *= dtype(1 + size)
            planted[dtype] += 1
            seen[dtype] += not gf.gradcheck(case.loss, {**gradient, name: array}, case.params, method=method).ok
    return planted, seen


@both
def test_a_small_error_in_one_entry_is_found(method):
    planted, seen = misses(0, 150, method)
    assert min(planted.values()) > 100
    assert seen[np.float64] >= 0.99 * planted[np.float64]
    assert seen[np.float32] >= 0.98 * planted[np.float32]


@pytest.mark.long
@both
def test_hardly_a_small_error_in_400_random_networks_is_missed(method):
    """The errors that are missed are smaller than the rounding of saturated units in that dtype."""
    planted, seen = misses(1, 400, method)
    assert seen[np.float64] >= 0.995 * planted[np.float64]
    assert seen[np.float32] >= 0.985 * planted[np.float32]


# ---- Python functions: by the slopes to both sides


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize(
    ("function", "at", "slopes"),
    [
        (lambda p: max(p, 0.0), 0.0, (0.0, 1.0)),
        (abs, 0.0, (-1.0, 1.0)),
        (lambda p: abs(p - 2.0) + p**2, 2.0, (3.0, 5.0)),
        (lambda p: 1e6 + max(3.0 * p, p), 0.0, (1.0, 3.0)),
        (lambda p: min(p, p * p), 1.0, (2.0, 1.0)),
    ],
    ids=["relu", "abs", "abs-and-square", "beside-a-large-number", "minimum"],
)
def test_a_function_has_its_slopes_at_a_kink(function, at, slopes, trace):
    low, high = min(slopes), max(slopes)
    for share in (0.0, 0.5, 1.0):
        report = gf.gradcheck(function, low + share * (high - low), at, trace=trace)
        assert (report.wrong, report.arrays[0].at_kink) == (0, 1)
    for outside in (low - 0.1, high + 0.1):
        assert gf.gradcheck(function, outside, at, trace=trace).wrong == 1


@pytest.mark.parametrize("trace", [True, False])
@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda p: p**2, 0.0),
        (lambda p: 1e3 * p**2, 1e-9),
        (np.exp, 3.0),
        (lambda p: np.sin(50.0 * p), 0.3),
        (lambda p: float(p > 0.0), 0.0),
        (lambda p: 0.0 * p, 1.0),
    ],
    ids=["square", "steep-square", "exp", "oscillating", "step", "constant"],
)
def test_a_function_without_a_kink_has_none(function, at, trace):
    report = gf.gradcheck(function, gf.numerical_gradient(function, at, trace=trace), at, trace=trace)
    assert (report.kinks_crossed, report.arrays[0].at_kink) == (0, 0)


@pytest.mark.parametrize("trace", [True, False])
def test_a_tie_of_a_maximum(trace):
    theta = np.array([1.0, 1.0, 0.5])
    for gradient in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]):
        report = gf.gradcheck(lambda p: float(p.max()), np.array(gradient), theta, trace=trace)
        assert (report.wrong, report.arrays[0].at_kink) == (0, 2)
    assert gf.gradcheck(lambda p: float(p.max()), np.array([1.0, 0.0, 0.5]), theta, trace=trace).wrong == 1

"""gradcheck(bounds=, step={...}): no evaluation leaves the domain, and derivatives at a bound are those from inside."""

import numpy as np
import pytest

import gradcheck_fast as gf

#: At both bounds, next to them, and inside.
X = np.array([0.0, 2.0, 1e-9, 2.0 - 1e-7, 0.5, 1.0])
BOUNDS = {"x": (0, 2)}
WAYS = {
    "traced": {}, "plain": {"trace": False}, "error bars": {"trace": False, "error_bars": True},
    "step": {"step": 1e-5}, "own step": {"step": {"x": 1e-5}}, "sample": {"sample": 3, "trace": False},
    "tolerance": {"trace": False, "rtol": 1e-7},
}  # fmt: skip


class Guarded:
    """exp(x) x + √(x + 1/100), added up: it raises below 0, and is NaN above 2."""

    def __init__(self):
        self.calls = 0

    def __call__(self, p):
        self.calls += 1
        x = p["x"]
        if (x < 0.0).any():
            raise ValueError("negative")
        if (x > 2.0).any():
            pytest.fail("it was called above its bound")
        return (np.exp(x) * x).sum() + np.sqrt(x + 0.01).sum()

    @staticmethod
    def gradient(p):
        return {"x": np.exp(p["x"]) * (1.0 + p["x"]) + 0.5 / np.sqrt(p["x"] + 0.01)}


@pytest.mark.parametrize("way", WAYS)
def test_right_gradients_pass_and_wrong_ones_fail_without_a_call_outside(way):
    loss = Guarded()
    report = gf.gradcheck(loss, loss.gradient, {"x": X}, bounds=BOUNDS, **WAYS[way])
    assert report.ok, report
    assert report.notes == ()
    for k in (0, 3):
        given = loss.gradient({"x": X})
        given["x"][k] *= 1.001
        assert gf.gradcheck(loss, given, {"x": X}, bounds=BOUNDS, **WAYS[way]).wrong == 1


def test_error_bars_at_a_bound_hold():
    functions = (
        (lambda x: np.exp(3.0 * x).sum(), lambda x: 3.0 * np.exp(3.0 * x)),
        (lambda x: (x**1.5).sum(), lambda x: 1.5 * np.sqrt(x)),
        (lambda x: np.sin(40.0 * x).sum() + 1e5, lambda x: 40.0 * np.cos(40.0 * x)),
    )
    x = np.array([0.0, 1.0, 0.25, 1.0 - 1e-12])
    for loss, derivative in functions:
        found, bars = gf.numerical_gradient(loss, x, bounds=(0, 1), trace=False, error_bars=True)
        assert (np.abs(found - derivative(x)) <= bars).all()


def test_differences_to_one_side_have_the_digits_of_central_ones():
    x = np.array([0.0, 1.0])
    found = gf.numerical_gradient(lambda x: np.exp(x).sum(), x, bounds=(0, 1), trace=False, method="direct")
    assert found == pytest.approx(np.exp(x), rel=1e-9)


def test_narrow_bounds_on_both_sides():
    x = np.array([1.0])
    for width in (1e-2, 1e-5, 1e-8):
        bounds = (1.0 - 0.3 * width, 1.0 + width)
        report = gf.gradcheck(lambda x: np.exp(x).sum(), np.exp, x, bounds=bounds, trace=False)
        assert report.ok or report.verdict == "INCONCLUSIVE"
        assert not gf.gradcheck(lambda x: np.exp(x).sum(), lambda x: 2.0 * np.exp(x), x, bounds=bounds, trace=False).ok


def test_a_kink_inside_is_still_one():
    def loss(x):
        assert (x >= 0.0).all()
        return np.abs(x - 0.5).sum() + x.sum()

    for slope, verdict in ((1.0, "PASS"), (0.0, "PASS"), (2.5, "FAIL")):
        given = np.array([0.0, slope, 2.0])
        report = gf.gradcheck(loss, given, np.array([0.0, 0.5, 0.75]), bounds=(0, None), trace=False)
        assert report.verdict == verdict


@pytest.mark.parametrize("trace", [True, False])
def test_at_a_bound_only_the_slope_from_inside_is_right(trace):
    x = np.array([0.0, 1.0])
    for slope in (1.0, 0.0, -1.0):
        report = gf.gradcheck(lambda x: np.abs(x).sum(), np.array([slope, 1.0]), x, bounds=(0, None), trace=trace)
        assert report.wrong == (slope != 1.0)
        said = "params[0] lies at its bound: the derivative there is that from inside"
        assert (said in report.notes) == (slope != 1.0)


def test_a_trace_is_confirmed_inside_only():
    loss = Guarded()
    report = gf.gradcheck(loss, loss.gradient, {"x": X}, bounds=BOUNDS)
    assert report.method == "chain"
    loss.calls = 0
    wrong = {"x": loss.gradient({"x": X})["x"] * (1.0 + 1e-3)}
    assert gf.gradcheck(loss, wrong, {"x": X}, bounds=BOUNDS).wrong == len(X)
    assert loss.calls > 1


def test_steps_by_name():
    used = []

    def loss(p):
        used.append((p["a"].item(), p["b"].item()))
        return float(np.exp(p["a"]).sum() + np.sin(p["b"]).sum())

    params = {"a": np.array([1.0]), "b": np.array([2.0])}
    gf.numerical_gradient(loss, params, step={"b": 1e-3})
    moves = {round(abs(b - 2.0), 12) for _, b in used} - {0.0}
    assert 1e-3 in moves
    assert max(abs(a - 1.0) for a, _ in used) < 1e-4


@pytest.mark.parametrize("trace", [True, False])
def test_directions_stay_within_bounds_and_say_which_entries_have_no_room(trace):
    rng = np.random.default_rng(0)
    params = {"x": rng.uniform(0.5, 1.5, 40), "y": rng.uniform(0.5, 1.5, 30)}
    params["y"][[3, 7]] = 2.0, 0.0

    outside = []

    def loss(p):
        outside.extend(own for own in (*p["x"], *p["y"]) if own < 0.0)
        outside.extend(own for own in p["y"] if own > 2.0)
        return np.sqrt(p["x"]).sum() + (p["y"] ** 3).sum()

    right = {"x": 0.5 / np.sqrt(params["x"]), "y": 3.0 * params["y"] ** 2}
    check = lambda gradient: gf.gradcheck(
        loss, gradient, params, method="directional", bounds={"x": (0.0, None), "y": (0, 2)}, trace=trace
    )
    report = check(right)
    assert report.ok and [array.checked for array in report.arrays] == [40, 28], str(report)
    assert report.notes[0].startswith("y: 2 entries are at a bound, where directions cannot move to both sides")
    wrong = {**right, "x": right["x"] * np.where(np.arange(40) == 4, 1.5, 1.0)}
    assert check(wrong).arrays[0].entries == ((4,),)
    assert not outside


def test_directions_take_the_step_of_each_array():
    params = {"a": np.linspace(0.5, 1.5, 20), "b": np.linspace(1.0, 2.0, 20)}
    moves = {"a": set(), "b": set()}

    def loss(p):
        for name, own in p.items():
            moves[name].add(float(np.abs(own - params[name]).max()))
        return np.sin(p["a"]).sum() + np.cos(p["b"]).sum()

    gradient = {"a": np.cos(params["a"]), "b": -np.sin(params["b"])}
    assert gf.gradcheck(loss, gradient, params, method="directional", step={"a": 1e-3}).ok
    assert max(moves["a"]) > 1e-3 > 1e-4 > max(moves["b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": {"y": 1e-3}}, "step: no array is called 'y'"),
        ({"step": {"x": 0.0}}, "step: x: expected a positive number"),
        ({"step": {"x": 1e-3}, "method": "chain"}, "method: 'chain' needs"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        gf.gradcheck(Guarded(), Guarded.gradient, {"x": X}, **options)


def test_a_loss_that_differences_itself_knows_of_no_steps_by_name():
    net = gf.Network([gf.Dense(2, 1)], gf.SquaredError())
    params = {name: np.ones(shape) for name, shape in net.shapes.items()}
    function = net.loss(np.ones((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="step: this loss is differenced with one step for all parameters"):
        gf.gradcheck(function, params, params, step={"W1": 1e-3})
    assert gf.gradcheck(function, gf.numerical_gradient(function, params), params, bounds=(0, None)).ok

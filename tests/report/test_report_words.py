"""What a report says in words where a number, or silence, would mislead."""

from __future__ import annotations

import ctypes
import json
import re

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.report.html import page
from gradcheck_fast.report.text import format_error, short_text

X = np.linspace(0.5, 2.0, 6)


def cubes(x):
    return float(np.sum(x**3))


def row_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"{name} "))


# ---- a gradient of the opposite sign

OPPOSITE = {
    "exactly": -3 * X**2,
    "but for rounding": np.float32(-3 * X**2).astype(float),
    "but for a part in a thousand": -3.003 * X**2,
    "in a single precision": np.float32(-3 * X**2),
}
OPTIONS = {"entries": {}, "sample": {"sample": 3}, "directions": {"method": "directional"}, "step": {"step": 1e-5}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("gradient", OPPOSITE.values(), ids=OPPOSITE)
def test_an_opposite_sign_is_called_so_in_every_view(gradient, options):
    report = gf.gradcheck(cubes, gradient, X, **options)
    assert not report.ok
    for name in ("params", "total"):
        assert "opposite sign" in row_of(str(report), name)
        assert "opposite sign" in row_of(f"{short_text(report)}\n", name)
    assert "opposite sign" in repr(report)
    assert page(report).count("<td>opposite sign</td>") == 2
    assert not re.search(r"e\+(0[2-9]|[1-9])", str(report) + page(report))


def test_programs_get_the_number():
    report = gf.gradcheck(cubes, -3 * X**2, X)
    assert report.relative_error > 1e6
    assert json.loads(json.dumps(report.to_dict()))["arrays"][0]["relative_error"] == report.arrays[0].relative_error


def test_only_the_array_of_which_it_is_so_is_said_to_be():
    params = {"a": X, "b": X + 1}
    report = gf.gradcheck(lambda p: cubes(p["a"]) + cubes(p["b"]), {"a": -3 * X**2, "b": 3 * (X + 1) ** 2}, params)
    assert "opposite sign" in row_of(str(report), "a")
    assert "opposite sign" not in row_of(str(report), "b") + row_of(str(report), "total") + repr(report)


def test_a_gradient_that_is_tolerated_all_the_same():
    report = gf.gradcheck(cubes, -3 * X**2, X, atol=1e3)
    assert report.ok
    assert report.reason == "every entry agrees, opposite sign"


@pytest.mark.parametrize(
    ("gradient", "ratio"),
    [(-3.3 * X**2, 21), (-6 * X**2, 3), (-1.5 * X**2, 3), (3 * np.where(X < 1, -1, 1) * X**2, 0.15), (-(X**3), 4)],
)
def test_other_wrong_gradients_keep_their_number(gradient, ratio):
    report = gf.gradcheck(cubes, gradient, X)
    assert report.relative_error == pytest.approx(ratio, rel=0.5)
    assert "opposite" not in str(report) + repr(report) + page(report)


def test_what_is_no_ratio_is_no_sign():
    assert [format_error(x) for x in (0.0, float("nan"), 999.0, 1000.0, float("inf"))] == [
        "0.0e+00", "nan", "1.0e+03", "opposite sign", "opposite sign"
    ]  # fmt: skip


# ---- a loss that does not use its argument

DATA = np.random.default_rng(0).normal(size=(9, 4))


class Model:
    """Its loss uses the parameters that it holds, as in courses."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.params = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3)}

    def loss(self):
        h = np.tanh(DATA @ self.params["W"] + self.params["b"])
        d = 2 * h * (1 - h * h)
        return float(np.sum(h * h)), {"W": DATA.T @ d, "b": d.sum(axis=0)}


UNUSED = "whatever was done to the parameters, even to all of them at once: it does not seem to use its argument"
EVERY_WAY = {
    "entries": {}, "sample": {"sample": 2}, "directions": {"method": "directional"}, "step": {"step": 1e-4},
    "complex": {"method": "complex"}, "rtol": {"rtol": 1e-3},
}  # fmt: skip


@pytest.mark.parametrize("options", EVERY_WAY.values(), ids=EVERY_WAY)
def test_a_loss_that_looks_elsewhere_for_its_parameters(options):
    model = Model()
    report = gf.gradcheck(lambda _: model.loss()[0], model.loss()[1], model.params, **options)
    assert report.verdict == "FAIL"
    assert f"the loss was {model.loss()[0]!r} {UNUSED}" in report.notes[0]
    assert "model.params.update(p)" in report.notes[0]


def test_that_note_comes_before_others():
    model = Model()
    grads = model.loss()[1]
    report = gf.gradcheck(lambda _: model.loss()[0], {**grads, "b": grads["b"][None]}, model.params, loss_value=1.0)
    assert [UNUSED in note for note in report.notes] == [True, False, False, False]
    assert "the loss did not change with its argument; it seems to read model.params['W']" in report.notes
    options = {"loss_value": 1.0, "trace": False}
    report = gf.gradcheck(lambda _: model.loss()[0], {**grads, "b": grads["b"][None]}, model.params, **options)
    assert [UNUSED in note for note in report.notes] == [True, False, False]


@pytest.mark.parametrize("vectorized", [False, True])
def test_other_losses_that_do_not_use_their_argument(vectorized):
    w = np.ones(3)
    for loss in (lambda p: 7.0, lambda p: float(w @ w), lambda p: 0.0 * p.sum(axis=-1)[0] + 1.0):
        batch = lambda p, loss=loss: np.full(len(p), loss(p))
        report = gf.gradcheck(batch if vectorized else lambda p, loss=loss: loss(p[None]), w, w, vectorized=vectorized)
        assert UNUSED in report.notes[0]


def test_a_compiled_loss_that_does_not_use_its_argument():
    signature = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
    report = gf.gradcheck(gf.callback(signature(lambda theta, n, data: 7.0)), np.ones(3), np.ones(3))
    assert UNUSED in report.notes[0]


def test_writing_the_argument_into_the_model_is_what_helps():
    model = Model()
    at, gradient = {name: array.copy() for name, array in model.params.items()}, model.loss()[1]

    def loss(p):
        model.params.update(p)
        return model.loss()[0]

    assert gf.gradcheck(loss, gradient, at).ok
    gf.gradcheck(loss, {name: array + 1 for name, array in gradient.items()}, at)
    np.testing.assert_array_equal(model.params["W"], at["W"])


def rectified(p):
    return float(np.sum(np.maximum(DATA @ p["W"] - p["b"], 0.0)))


FLAT = {
    "dead rectifiers": (rectified, {"W": np.ones((4, 3)) / 10, "b": np.full(3, 5.0)}),
    "saturated": (lambda p: float(np.sum(np.tanh(p["W"]) + np.tanh(p["b"]))), {"W": np.full(3, 50.0), "b": 40.0}),
    "stairs": (lambda p: float(np.sum(np.floor(p["W"]))), {"W": np.linspace(0.2, 3.3, 4)}),
    "minimum": (lambda p: float(np.sum(p["W"] ** 8)), {"W": np.zeros(4)}),
    "raises elsewhere": (lambda p: 0.0 if np.abs(p["W"] - 1).max() < 1.5 else 1 / 0, {"W": np.ones(2)}),
}


@pytest.mark.parametrize(("loss", "params"), FLAT.values(), ids=FLAT)
def test_it_is_not_said_of_a_loss_that_is_flat_here(loss, params):
    report = gf.gradcheck(loss, {name: np.ones_like(array) for name, array in params.items()}, params)
    assert not report.ok
    assert UNUSED not in " ".join(report.notes)


def test_it_is_not_said_where_the_gradient_is_zero_too():
    report = gf.gradcheck(lambda p: 3.0, np.zeros(4), np.ones(4))
    assert (report.verdict, report.notes) == ("INCONCLUSIVE", ())


# ---- no derivative

BLIND = {
    "root at 0": (lambda x: float(np.sum(np.sqrt(x))), np.zeros(1)),
    "roots at 0": (lambda x: float(np.sum(np.sqrt(x))), np.zeros(3)),
    "arcsine at 1": (lambda x: float(np.sum(np.arcsin(x))), np.ones(2)),
    "a point": (lambda x: float("nan") if x.any() else 0.0, np.zeros(2)),
    "infinite beside it": (lambda x: float("inf") if x.any() else 0.0, np.zeros(2)),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("given", [np.inf, 1.0])
@pytest.mark.parametrize(("loss", "at"), BLIND.values(), ids=BLIND)
def test_a_loss_that_is_finite_here_is_not_said_not_to_be(loss, at, given):
    report = gf.gradcheck(loss, np.full(at.shape, given), at)
    assert not report.ok
    assert "is not finite here" not in str(report)
    if report.blind:
        assert report.reason == "the loss is finite here, but its differences are not, or do not converge"
        assert max(map(len, str(report).splitlines())) <= 100


def test_a_loss_that_is_not_finite_here_is_said_not_to_be():
    net = gf.Network([gf.Dense(1, 1, "exp")], cost=gf.SquaredError())
    params = {"W1": np.array([[1e5]]), "b1": np.ones(1)}
    report = gf.gradcheck(net.loss(np.ones((1, 1)), np.ones((1, 1))), params, params)
    assert report.reason == "the loss is not finite here, so no derivative could be found"


def test_a_function_of_several_results_has_no_one_value():
    report = gf.check_jvp(lambda x: np.where(x == 0, 0.0, np.inf), lambda t, x: t, np.zeros(2))
    assert report.blind
    assert "is not finite here" not in str(report)

"""plot_step_sweep(): the error of a numerical gradient against its step."""

import numpy as np
import pytest
from networks import make
from pictures import words

import gradcheck_fast as gf


@pytest.fixture
def case():
    return make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"], "squared", "batchmean")


def errors(figure):
    figure.canvas.draw()
    (axes,) = figure.axes
    return {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in axes.lines}


def test_plain_arithmetic_is_a_v_and_difference_arithmetic_flat(pyplot, case):
    found = errors(
        gf.plot_step_sweep(case.loss, case.gradient, case.params, methods=["direct", "incremental", "units"])
    )
    assert list(found) == ["direct", "incremental", "units"]
    direct = np.array(list(found["direct"].values()))
    assert len(direct) == 31
    best = int(direct.argmin())
    assert 1e-7 < list(found["direct"])[best] < 1e-3
    assert direct[0] > 1e3 * direct[best] < direct[-1]
    for method in ("incremental", "units"):
        assert max(error for h, error in found[method].items() if h < 1e-8) < 1e-14


def test_direct_agrees_with_the_method_of_that_name(pyplot, case):
    found = errors(gf.plot_step_sweep(case.loss, case.gradient, case.params, methods=["direct"], steps=[1e-2, 0.1]))
    for h, error in found["direct"].items():
        numerical = gf.numerical_gradient(case.loss, case.params, method="direct", step=h)
        assert error == pytest.approx(gf.relative_error(case.gradient, numerical), rel=1e-6)


def test_only_as_many_entries_as_asked_for_are_computed(pyplot):
    calls = []

    def loss(p):
        calls.append(p)
        return float(np.sum(p**3))

    w = np.arange(1.0, 101.0)
    figure = gf.plot_step_sweep(loss, lambda p: 3 * p**2, w, entries=5, steps=[1e-3, 1e-2])
    assert len(calls) == 5 * 2 * 2
    assert "5 of 100 entries" in words(figure)


def test_a_python_function_has_the_one_line(pyplot):
    assert list(errors(gf.plot_step_sweep(lambda p: float(p @ p), lambda p: 2 * p, np.ones(3)))) == ["direct"]


def test_a_network_has_two_lines_unless_told(pyplot, case):
    found = errors(gf.plot_step_sweep(case.loss, case.gradient, case.params, steps=[1e-6]))
    assert list(found) == ["direct", "units"]


def test_a_network_whose_steps_are_its_own_has_one_line(pyplot):
    loss = gf.Network([gf.LayerNorm(3), gf.Dense(3, 2)], gf.SquaredError()).loss(np.eye(3), np.ones((3, 2)))
    params = loss.network.init(0)
    found = errors(gf.plot_step_sweep(loss, gf.numerical_gradient(loss, params), params, steps=[1e-6]))
    assert list(found) == ["direct"]


def test_an_error_of_0_is_drawn(pyplot):
    found = errors(gf.plot_step_sweep(lambda p: 2 * p, 2.0, 1.0, steps=[0.25, 0.5]))
    assert list(found["direct"].values()) == [1e-17, 1e-17]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"methods": ["unit"]}, "methods: unknown name 'unit', did you mean 'units'"),
        ({"methods": ["units"]}, "needs the loss of a gf.Network"),
        ({"steps": [1e-3, -1.0]}, "steps: expected a positive number"),
        ({"entries": 0}, "entries: expected a positive integer"),
        ({"gradient": np.ones(4)}, "gradient: expected"),
        ({"params": np.empty(0), "gradient": np.empty(0)}, "params: there are no entries"),
    ],
)
def test_bad_arguments_are_named(pyplot, options, says):
    arguments = {"loss": lambda p: float(np.sum(p)), "gradient": np.ones(3), "params": np.ones(3)} | options
    with pytest.raises(ValueError, match=says):
        gf.plot_step_sweep(**arguments)


# ---- without matplotlib

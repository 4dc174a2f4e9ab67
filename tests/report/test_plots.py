"""The pictures: what is drawn, that nothing is lost, and what is said where they cannot be drawn."""

import subprocess
import sys

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf


@pytest.fixture
def pyplot():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


@pytest.fixture
def case():
    return make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"], "squared", "batchmean")


def check(gradient):
    """Of a loss with gradient 1 everywhere."""
    params = [np.ones_like(array) for array in gradient]
    return gf.gradcheck(lambda p: sum(float(np.sum(array)) for array in p), gradient, params, step=0.25)


def drawn(figure):
    """Draws it; the axes of its heat maps, and those of its scatter."""
    figure.canvas.draw()
    maps = [axes for axes in figure.axes if axes.images]
    scatter = next(axes for axes in figure.axes if axes.get_xlabel() == "numerical")
    return maps, scatter


def words(figure):
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


# ---- a report


def test_a_heat_map_for_each_array_and_a_scatter(pyplot, case):
    gradient = {name: array.copy() for name, array in case.gradient.items()}
    gradient["W2"][3, 1] = -7.0
    report = gf.gradcheck(case.loss, gradient, case.params)
    maps, scatter = drawn(report.plot())
    assert [axes.get_title() for axes in maps] == [
        "W1\n3×4, 0 of 12 wrong",
        "b1\n4, 0 of 4 wrong",
        "W2\n4×2, 1 of 8 wrong",
        "b2\n2, 0 of 2 wrong",
    ]
    errors = maps[2].images[0].get_array()
    assert errors.shape == (4, 2)
    assert np.argwhere(errors > 0).tolist() == [[3, 1]]
    points = {c.get_label(): np.asarray(c.get_offsets()) for c in scatter.collections}
    assert points["beyond the tolerance"].tolist() == [[report.numerical["W2"][3, 1], -7.0]]
    assert len(points["within the tolerance"]) == 25
    assert "FAIL" in words(pyplot.gcf())


def test_both_numbers_of_a_point_lie_on_their_axes(pyplot):
    _, scatter = drawn(check([np.array([1.0, -3.0])]).plot())
    for name, interval in (("numerical", scatter.get_xlim()), ("analytic", scatter.get_ylim())):
        assert interval[0] < -3 < 3 < interval[1], name


def test_entries_that_are_not_finite_are_black_and_said_to_be_missing(pyplot):
    figure = check([np.array([1.0, np.nan, np.inf, 1.0])]).plot()
    maps, scatter = drawn(figure)
    assert maps[0].images[0].get_array().mask.tolist() == [[False, True, True, False]]
    assert maps[0].images[0].cmap.get_bad()[:3].tolist() == [0, 0, 0]
    assert "NaN or infinite" in words(figure)
    assert "not finite, not drawn: 2" in scatter.get_title()
    assert sum(len(c.get_offsets()) for c in scatter.collections) == 2


def test_an_exact_entry_is_not_taken_for_nan(pyplot):
    figure = check([np.array([1.0, 1.0])]).plot()
    maps, _ = drawn(figure)
    assert not np.ma.is_masked(maps[0].images[0].get_array())
    assert "NaN" not in words(figure)


def test_a_large_array_is_reduced_and_its_one_wrong_entry_seen(pyplot, case):
    net = gf.Network([gf.Dense(300, 250, bias=False)], cost=gf.SquaredError(reduction="sum"))
    X, y, params = np.ones((1, 300)), np.zeros((1, 250)), {"W1": np.full((300, 250), 1.0)}
    gradient = np.full((300, 250), 600.0)
    gradient[211, 99] = 601.0
    figure = gf.gradcheck(net.loss(X, y), gradient, params).plot()
    maps, scatter = drawn(figure)
    errors = maps[0].images[0].get_array()
    assert errors.shape == (96, 96)
    assert np.argwhere(errors > 0).tolist() == [[211 * 96 // 300, 99 * 96 // 250]]
    assert maps[0].get_xlim() == (-0.5, 249.5)
    points = {c.get_label(): len(c.get_offsets()) for c in scatter.collections}
    assert points["beyond the tolerance"] == 1
    assert 2000 < points["within the tolerance"] <= 4000
    assert f"drawn: {sum(points.values()):,} of 75,000" in scatter.get_title()


def test_many_arrays_show_those_with_the_largest_errors(pyplot):
    report = check([np.full(2, 1.0 + (k % 3 == 0)) for k in range(60)])
    figure = report.plot()
    maps, _ = drawn(figure)
    assert [axes.get_title().split("\n")[0] for axes in maps] == [f"[{k}]" for k in range(0, 48, 3)]
    assert "44 more arrays" in words(figure)
    assert len(drawn(report.plot(most=3))[0]) == 3


@pytest.mark.parametrize(
    "gradient",
    [[], [np.float64(5.0)], [np.empty((0, 2))], [np.zeros(3)], [np.full((2, 3, 4), np.nan)], [np.full(2, 1e300)]],
    ids=["nothing", "scalar", "empty", "zeros", "nan", "huge"],
)
def test_any_report_can_be_drawn(pyplot, gradient):
    maps, _ = drawn(check(gradient).plot())
    assert len(maps) == sum(array.size > 0 for array in gradient)


def test_a_long_name_is_shortened(pyplot):
    name = "encoder.layers.11.attention.output.weight"
    figure = gf.gradcheck(lambda p: p[name] ** 2, {name: 2.0}, {name: 1.0}).plot()
    assert drawn(figure)[0][0].get_title().startswith("encoder.layers.11.attention.out…\n")


@pytest.mark.parametrize("most", [0, -1, 2.5])
def test_most_must_be_a_positive_integer(pyplot, most):
    with pytest.raises((TypeError, ValueError), match="most: expected a positive integer"):
        check([np.ones(2)]).plot(most)


# ---- a sweep of steps


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


@pytest.mark.parametrize("plot", ["report.plot()", "gf.plot_step_sweep(lambda x: x * x, 2.0, 1.0)"])
def test_without_matplotlib_the_error_says_how_to_install_it(plot, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = gf.gradcheck(lambda x: x * x, 2.0, 1.0)
    with pytest.raises(ImportError, match=r'pip install "gradcheck_fast\[plot\]"'):
        eval(plot, {"report": report, "gf": gf})


def test_matplotlib_and_rich_are_imported_only_when_used():
    code = (
        "import sys, gradcheck_fast as gf; r = gf.gradcheck(lambda x: x * x, 2.0, 1.0); str(r); r._repr_html_();"
        "assert not {'matplotlib', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

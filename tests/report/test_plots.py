"""The pictures: what is drawn, that nothing is lost, and what is said where they cannot be drawn."""

import subprocess
import sys

import numpy as np
import pytest
from networks import make
from pictures import words

import gradcheck_fast as gf


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

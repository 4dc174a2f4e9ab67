"""Heat maps: which entry is in which cell, and that none is lost."""

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.inputs.arrays import as_matrix_shape
from gradcheck_fast.report.heatmap import heat_maps


def report_of(gradient):
    """A check of a loss whose gradient is 1 everywhere, with absolute tolerance 0.5."""
    ones = {name: np.ones_like(array) for name, array in gradient.items()}
    loss = lambda p: sum(float(np.sum(array)) for array in p.values())
    return gf.gradcheck(loss, gradient, ones, step=0.25, rtol=0.0, atol=0.5)


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((), (1, 1)),
        ((7,), (1, 7)),
        ((3, 4), (3, 4)),
        ((1, 9), (1, 9)),
        ((2, 3, 4), (6, 4)),
        ((64, 32, 3, 3), (64, 288)),
        ((3, 3, 32, 64), (288, 64)),
    ],
)
def test_an_array_is_split_between_axes_nearest_to_a_square(shape, matrix):
    assert as_matrix_shape(shape) == matrix


def test_cells_are_the_logarithm_of_error_over_tolerance():
    (heat_map,) = heat_maps(report_of({"W": np.array([[1.0, 1.05], [6.0, 51.0]])}), 1, cells=(9, 9))
    assert heat_map.array.name == "W"
    assert heat_map.extent == (2, 2)
    np.testing.assert_allclose(heat_map.cells, [[-np.inf, -1], [1, 2]], rtol=1e-12)


def test_reduction_keeps_the_largest_error_of_each_cell():
    gradient = np.ones((20, 31))
    gradient[13, 17] = 6.0
    gradient[19, 30] = 51.0
    (heat_map,) = heat_maps(report_of({"W": gradient}), 1, cells=(4, 5))
    assert heat_map.extent == (20, 31)
    assert heat_map.cells.shape == (4, 5)
    expected = np.full((4, 5), -np.inf)
    expected[13 * 4 // 20, 17 * 5 // 31] = 1
    expected[3, 4] = 2
    np.testing.assert_allclose(heat_map.cells, expected, rtol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_seen_among_any_others(value):
    gradient = np.full(100, 1e6)
    gradient[42] = value
    (heat_map,) = heat_maps(report_of({"b": gradient}), 1, cells=(4, 10))
    assert np.isnan(heat_map.cells).tolist() == [[k == 4 for k in range(10)]]


def test_the_arrays_with_the_largest_errors_are_drawn_in_their_order():
    gradient = {name: np.array([1.0, value]) for name, value in zip("abcde", (2, 9, 1, 3, np.nan), strict=True)}
    maps = heat_maps(report_of(gradient), 3, cells=(9, 9))
    assert [heat_map.array.name for heat_map in maps] == ["b", "d", "e"]


def test_empty_arrays_are_not_drawn():
    maps = heat_maps(report_of({"none": np.empty((0, 3)), "x": np.array(1.0)}), 9, cells=(9, 9))
    assert [heat_map.array.name for heat_map in maps] == ["x"]
    assert heat_maps(report_of({}), 9, cells=(9, 9)) == []

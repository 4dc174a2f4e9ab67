import itertools

import numpy as np
import pytest
from operator_peer import agree, numbers

from gradcheck_fast.frontends.graphs.graph_loss import graph_loss
from gradcheck_fast.frontends.operators import resampling
from gradcheck_fast.inputs.trees import pack

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

X = numbers(2, 3, 5, 4)
MODES = ["nearest", "nearest-exact", "bilinear", "bicubic", "area"]


@pytest.mark.parametrize("size", [(10, 8), (7, 3), (5, 4), (1, 9)])
@pytest.mark.parametrize(
    ("mode", "align_corners"), [*((mode, None) for mode in MODES), ("bilinear", True), ("bicubic", True)]
)
def test_another_size_is_that_of_pytorch(mode, align_corners, size):
    agree(
        lambda of: resampling.upsample(of["x"], size, mode, align_corners=bool(align_corners)),
        lambda of: F.interpolate(of["x"], size, mode=mode, align_corners=align_corners),
        {"x": X},
    )


@pytest.mark.parametrize("factor", [0.6, 1.7, 2.0])
@pytest.mark.parametrize("mode", MODES[:4])
def test_factors_that_are_given_say_where_places_lie(mode, factor):
    size = tuple(int(length * factor) for length in (5, 4))
    agree(
        lambda of: resampling.upsample(of["x"], size, mode, scales=(factor, factor)),
        lambda of: F.interpolate(of["x"], scale_factor=factor, mode=mode),
        {"x": X},
    )


@pytest.mark.parametrize(("mode", "axes"), [("nearest", 1), ("linear", 1), ("nearest", 3), ("trilinear", 3)])
def test_other_dimensions(mode, axes):
    size = (7, 3, 6)[:axes]
    agree(
        lambda of: resampling.upsample(of["x"], size, mode),
        lambda of: F.interpolate(of["x"], size, mode=mode),
        {"x": numbers(2, 3, *(5, 4, 3)[:axes])},
    )


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_entries_at_given_places_are_those_of_pytorch(mode, padding_mode, align_corners):
    grid = 0.7 * numbers(2, 6, 7, 2)
    agree(
        lambda of: resampling.grid_sample(of["x"], grid, mode, padding_mode, align_corners),
        lambda of: F.grid_sample(of["x"], torch.tensor(grid), mode, padding_mode, align_corners),
        {"x": X},
    )


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_places_may_depend_on_parameters(mode, padding_mode, align_corners):
    theta = np.array([[[0.8, 0.1, 0.05], [-0.2, 0.7, 0.1]], [[1.1, -0.3, 0.2], [0.1, 0.9, -0.4]]])
    rows, columns = (np.linspace(-0.9, 0.93, n) for n in (3, 4))
    base = np.stack([*np.broadcast_arrays(columns, rows[:, np.newaxis]), np.ones((3, 4))], axis=-1).reshape(12, 3)
    agree(
        lambda of: resampling.grid_sample(
            of["x"], (base @ np.swapaxes(of["t"], 1, 2)).reshape(2, 3, 4, 2), mode, padding_mode, align_corners
        ),
        lambda of: F.grid_sample(
            of["x"], (torch.tensor(base) @ of["t"].mT).reshape(2, 3, 4, 2), mode, padding_mode, align_corners
        ),
        {"x": X, "t": theta},
    )


def test_places_on_entries_are_kinks_of_the_program():
    """As at the identity, with which spatial transformers begin: which entries are read changes there."""
    grid = np.stack(np.meshgrid(np.linspace(-1.0, 1.0, 4), np.linspace(-1.0, 1.0, 5)), axis=-1)
    weights = numbers(2, 3, 5, 4)

    def ours(of):
        moved = grid[np.newaxis] + np.reshape(of["t"], (2, 1, 1, 2))
        return np.sum(resampling.grid_sample(X, moved, "bilinear", "border", True) * weights)

    def theirs(of):
        moved = torch.tensor(grid[np.newaxis] + of["t"].reshape(2, 1, 1, 2))
        found = F.grid_sample(torch.tensor(X), moved, "bilinear", "border", True)
        return float((found * torch.tensor(weights)).sum())

    at = {"t": np.zeros((2, 2))}
    problem = graph_loss(theirs, lambda recording, of: ours(of), pack(at))
    for direction in np.random.default_rng(3).normal(size=(5, 4)):
        moved = theirs({"t": 0.1 * direction.reshape(2, 2)}) - theirs(at)
        assert problem.change(np.zeros(4), direction, 0.1) == pytest.approx(moved, rel=1e-12)
    with problem.engine.at(np.zeros(4), 1) as point:
        assert point.kinks(1e-9) > 0


def test_images_in_three_dimensions():
    grid = 0.7 * numbers(2, 3, 2, 4, 3)
    agree(
        lambda of: resampling.grid_sample(of["x"], grid),
        lambda of: F.grid_sample(of["x"], torch.tensor(grid), align_corners=False),
        {"x": numbers(2, 3, 4, 5, 3)},
    )


def test_a_linear_function_is_interpolated_exactly_and_a_cubic_matrix_has_rows_of_sum_1():
    places = np.array([0.0, 0.25, 1.5, 2.9, 4.0])
    matrix = resampling.interpolation_matrix(5, places, "linear")
    np.testing.assert_allclose(matrix @ (2.0 * np.arange(5.0) - 1.0), 2.0 * places - 1.0, rtol=1e-15)
    for a in (-0.75, -0.5):
        cubic = resampling.interpolation_matrix(5, places, "cubic", a)
        np.testing.assert_allclose(cubic.sum(axis=1), 1.0, rtol=1e-15)


def test_unknown_modes_are_named():
    with pytest.raises(ValueError, match=r"mode: expected nearest, .*, got 'lanczos'"):
        resampling.upsample(X, (2, 2), "lanczos")
    for mode, padding in itertools.product(("area", "bilinear"), ("circular", "zeros")):
        if (mode, padding) != ("bilinear", "zeros"):
            with pytest.raises(ValueError, match=f"mode='{mode}' and padding_mode='{padding}' is not known"):
                resampling.grid_sample(X, np.zeros((2, 1, 1, 2)), mode, padding)

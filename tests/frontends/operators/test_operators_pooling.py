import itertools

import numpy as np
import pytest
from operator_peer import agree, numbers

from gradcheck_fast.frontends.operators import pooling

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

X = numbers(2, 3, 7, 6)
#: Kernel, stride, padding and dilation, the same along both axes.
SETTINGS = [
    (kernel, stride, padding, dilation)
    for kernel, stride, padding, dilation in itertools.product((2, 3), (1, 2, 3), (0, 1), (1, 2))
    if padding <= kernel // 2
]


def max_pool(x, kernel, stride, padding=0, dilation=1, ceil_mode=False, axes=2):
    return pooling.max_pool(
        x, (kernel,) * axes, stride=(stride,) * axes, padding=((padding,) * 2,) * axes, dilation=(dilation,) * axes,
        ceil_mode=ceil_mode,
    )  # fmt: skip


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), SETTINGS)
def test_max_pooling_is_that_of_pytorch(kernel, stride, padding, dilation, ceil_mode):
    own = kernel, stride, padding, dilation, ceil_mode
    agree(lambda of: max_pool(of["x"], *own)[0], lambda of: F.max_pool2d(of["x"], *own), {"x": X})
    indices = F.max_pool2d(torch.tensor(X), *own, return_indices=True)[1]
    np.testing.assert_array_equal(max_pool(X, *own)[1], indices.numpy())


@pytest.mark.parametrize(("axes", "theirs"), [(1, F.max_pool1d), (3, F.max_pool3d)])
def test_max_pooling_in_other_dimensions(axes, theirs):
    x = numbers(2, 3, *(7, 5, 6)[:axes])
    agree(lambda of: max_pool(of["x"], 3, 2, 1, axes=axes)[0], lambda of: theirs(of["x"], 3, 2, 1), {"x": x})
    indices = theirs(torch.tensor(x), 3, 2, 1, return_indices=True)[1]
    np.testing.assert_array_equal(max_pool(x, 3, 2, 1, axes=axes)[1], indices.numpy())


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("entries", [(0.0, 1.0), (0.0, np.nan), (-np.inf, 0.0, np.nan), (-np.inf,)], ids=str)
def test_of_ties_the_first_wins_and_of_nan_the_last(entries, padding):
    x = np.random.default_rng(3).choice(entries, (4, 5, 9, 8))
    value, indices = F.max_pool2d(torch.tensor(x), 3, 2, padding, return_indices=True)
    found = max_pool(x, 3, 2, padding)
    np.testing.assert_array_equal(found[0], value.numpy())
    np.testing.assert_array_equal(found[1], indices.numpy())


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "padding"), sorted({setting[:3] for setting in SETTINGS}))
def test_average_pooling_is_that_of_pytorch(kernel, stride, padding, ceil_mode, count_include_pad):
    agree(
        lambda of: pooling.average_pool(
            of["x"], (kernel,) * 2, stride=(stride,) * 2, padding=((padding,) * 2,) * 2, ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        ),
        lambda of: F.avg_pool2d(of["x"], kernel, stride, padding, ceil_mode, count_include_pad),
        {"x": X},
    )  # fmt: skip


@pytest.mark.parametrize(("axes", "theirs"), [(1, F.avg_pool1d), (3, F.avg_pool3d)])
def test_average_pooling_in_other_dimensions(axes, theirs):
    own = {"stride": (2,) * axes, "padding": ((1, 1),) * axes, "ceil_mode": True}
    agree(
        lambda of: pooling.average_pool(of["x"], (3,) * axes, **own),
        lambda of: theirs(of["x"], 3, 2, 1, True),
        {"x": numbers(2, 3, *(7, 5, 6)[:axes])},
    )


def test_a_divisor_takes_the_place_of_the_number_of_entries():
    own = {"stride": (2, 2), "padding": ((1, 1),) * 2, "divisor": 5}
    agree(
        lambda of: pooling.average_pool(of["x"], (3, 3), **own),
        lambda of: F.avg_pool2d(of["x"], 3, 2, 1, divisor_override=5),
        {"x": X},
    )


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (7, 6), (5, 4), (2, 9)])
def test_adaptive_pooling_is_that_of_pytorch(size):
    agree(
        lambda of: pooling.adaptive_average_pool(of["x"], size),
        lambda of: F.adaptive_avg_pool2d(of["x"], size), {"x": X},
    )  # fmt: skip
    agree(
        lambda of: pooling.adaptive_max_pool(of["x"], size)[0],
        lambda of: F.adaptive_max_pool2d(of["x"], size), {"x": X},
    )  # fmt: skip
    indices = F.adaptive_max_pool2d(torch.tensor(X), size, return_indices=True)[1]
    np.testing.assert_array_equal(pooling.adaptive_max_pool(X, size)[1], indices.numpy())


@pytest.mark.parametrize("axes", [1, 3])
def test_adaptive_pooling_in_other_dimensions(axes):
    size, x = (3, 2, 5)[:axes], numbers(2, 3, *(7, 5, 6)[:axes])
    average = {1: F.adaptive_avg_pool1d, 3: F.adaptive_avg_pool3d}[axes]
    largest = {1: F.adaptive_max_pool1d, 3: F.adaptive_max_pool3d}[axes]
    agree(lambda of: pooling.adaptive_average_pool(of["x"], size), lambda of: average(of["x"], size), {"x": x})
    agree(lambda of: pooling.adaptive_max_pool(of["x"], size)[0], lambda of: largest(of["x"], size), {"x": x})


@pytest.mark.parametrize(
    ("norm_type", "kernel", "stride", "ceil_mode"), [(2.0, 2, 2, False), (3.0, 3, 1, False), (2.0, 3, 2, True)]
)
def test_power_average_pooling_is_that_of_pytorch(norm_type, kernel, stride, ceil_mode):
    own = {"stride": (stride,) * 2, "padding": ((0, 0),) * 2, "ceil_mode": ceil_mode}
    agree(
        lambda of: pooling.lp_pool(of["x"], norm_type, (kernel,) * 2, **own),
        lambda of: F.lp_pool2d(of["x"], norm_type, kernel, stride, ceil_mode),
        {"x": np.abs(X) + 0.1},
    )


def test_the_norms_of_windows_take_the_sizes_of_entries():
    found = pooling.lp_pool(np.array([[[-3.0, 4.0, -1.0]]]), 2.0, (2,), stride=(1,), padding=((0, 1),), absolute=True)
    np.testing.assert_allclose(found, [[[5.0, np.sqrt(17.0), 1.0]]], rtol=1e-15)


def test_a_kernel_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"a kernel of the size \(8, 8\) .* does not fit into an array of the size"):
        max_pool(X, 8, 1)

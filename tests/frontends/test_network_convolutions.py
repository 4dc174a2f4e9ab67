"""Convolutions and pools, with their options: cost and gradient are those of PyTorch's layer of the same name."""

from __future__ import annotations

import numpy as np
import pytest
from torch_networks import case, double, require_same, tensor, torch

import gradcheck_fast as gf

nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch")


# ---- convolutions

CONVOLUTIONS = {
    "1d": (gf.Conv1d, nn.Conv1d, (2, 4, 9)),
    "2d": (gf.Conv2d, nn.Conv2d, (2, 4, 7, 8)),
    "3d": (gf.Conv3d, nn.Conv3d, (2, 4, 4, 5, 4)),
}
SETTINGS = {
    "plain": {"kernel_size": 3},
    "stride": {"kernel_size": 3, "stride": 2},
    "padding": {"kernel_size": 3, "stride": 2, "padding": 1},
    "same": {"kernel_size": 2, "padding": "same"},
    "same-dilated": {"kernel_size": 3, "padding": "same", "dilation": 2},
    "valid": {"kernel_size": 2, "padding": "valid"},
    "dilation": {"kernel_size": 2, "dilation": 2},
    "groups": {"kernel_size": 2, "groups": 2},
    "depthwise": {"kernel_size": 3, "groups": 4, "padding": 1},
    "pointwise": {"kernel_size": 1},
    "no-bias": {"kernel_size": 2, "bias": False},
    "reflect": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    "replicate": {"kernel_size": 3, "padding": 1, "padding_mode": "replicate"},
    "circular": {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_convolution(form, setting):
    ours, theirs, shape = CONVOLUTIONS[form]
    settings = SETTINGS[setting]
    require_same(case(ours(4, 8, name="layer", **settings), double(theirs(4, 8, **settings)), shape))


def test_convolution_with_a_size_for_each_axis():
    settings = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 3)}
    require_same(case(gf.Conv2d(4, 6, name="layer", **settings), double(nn.Conv2d(4, 6, **settings)), (2, 4, 6, 7)))


def test_convolution_padded_before_and_after():
    def padded(X, own):
        return F.conv2d(F.pad(tensor(X), (0, 3, 2, 1)), own["weight"], own["bias"])

    layer = gf.Conv2d(2, 3, 3, padding=((2, 1), (0, 3)), name="layer")
    require_same(case(layer, padded, (2, 2, 4, 4)))


def test_causal_convolution_sees_nothing_that_comes_later():
    layer = gf.Conv1d(2, 3, 3, padding="causal", dilation=2, name="layer")
    require_same(case(layer, lambda X, own: F.conv1d(F.pad(tensor(X), (4, 0)), *own.values(), dilation=2), (2, 2, 7)))
    net = gf.Network(layer, gf.SquaredError())
    X, params = np.random.default_rng(0).normal(size=(1, 2, 7)), net.init(0)
    before = net.predict(params, X)
    X[..., 4] += 1.0
    after = net.predict(params, X)
    np.testing.assert_array_equal(before[..., :4], after[..., :4])
    assert (before[..., 4] != after[..., 4]).all()


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolution_of_channels_last_with_stride_and_padding_same(stride):
    """As Keras and Flax have it, against XLA's convolution."""
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(2, 7, 6, 4))
        layer = gf.Conv2d(4, 6, (3, 2), stride=stride, padding="same", groups=2, channels_last=True)
        net = gf.Network(layer, gf.SquaredError(reduction="sum"))
        params = net.init(0)

        def forward(p):
            numbers = ("NHWC", "HWIO", "NHWC")
            found = jax.lax.conv_general_dilated(
                X, p["weight1"], (stride, stride), "SAME", dimension_numbers=numbers, feature_group_count=2
            )
            return found + p["bias1"]

        y = rng.normal(size=net.output_shape(X.shape))
        value, gradient = jax.value_and_grad(lambda p: ((forward(p) - y) ** 2).sum())(params)
        loss = net.loss(X, y)
        assert loss(params) == pytest.approx(float(value), rel=1e-13)
        found = gf.numerical_gradient(loss, params, method="chain")
        assert gf.relative_error(found, {name: np.asarray(array) for name, array in gradient.items()}) < 1e-13


TRANSPOSED = {
    "1d": (gf.ConvTranspose1d, nn.ConvTranspose1d, (2, 4, 5)),
    "2d": (gf.ConvTranspose2d, nn.ConvTranspose2d, (2, 4, 3, 4)),
}
TRANSPOSED_SETTINGS = {
    "plain": {"kernel_size": 3},
    "stride": {"kernel_size": 3, "stride": 2},
    "padding": {"kernel_size": 3, "stride": 2, "padding": 1},
    "output-padding": {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    "groups": {"kernel_size": 2, "groups": 2},
    "dilation": {"kernel_size": 2, "dilation": 2, "stride": 2},
    "no-bias": {"kernel_size": 2, "bias": False},
}


@pytest.mark.parametrize("setting", TRANSPOSED_SETTINGS)
@pytest.mark.parametrize("form", TRANSPOSED)
def test_transposed_convolution(form, setting):
    ours, theirs, shape = TRANSPOSED[form]
    settings = TRANSPOSED_SETTINGS[setting]
    require_same(case(ours(4, 6, name="layer", **settings), double(theirs(4, 6, **settings)), shape))


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (2, 2), (2, 3), (1, 2), (5, 1)])
def test_transposed_convolution_padded_the_same(kernel, stride):
    """It is the transpose of the convolution that is padded the same, as TensorFlow has it."""
    layer = gf.ConvTranspose1d(3, 2, kernel, stride=stride, padding="same", bias=False, name="layer")
    net = gf.Network(layer, gf.SquaredError())
    assert net.output_shape((2, 3, 5)) == (2, 2, 5 * stride)
    over = max(kernel - stride, 0)

    def transposed(X, own):
        image = torch.zeros(2, 2, 5 * stride, dtype=torch.float64, requires_grad=True)
        out = F.conv1d(F.pad(image, (over // 2, over - over // 2)), own["weight"], stride=stride)
        return torch.autograd.grad(out, image, tensor(X), create_graph=True)[0]

    require_same(case(layer, transposed, (2, 3, 5)))


def test_transposed_convolution_of_channels_last():
    first = gf.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
    last = gf.ConvTranspose2d(4, 6, 3, stride=2, groups=2, channels_last=True)
    X = np.random.default_rng(0).normal(size=(2, 4, 3, 4))
    net = gf.Network(first, gf.SquaredError())
    params = net.init(0)
    moved = {**params, "weight1": np.transpose(params["weight1"], (2, 3, 1, 0))}
    found = gf.Network(last, gf.SquaredError()).predict(moved, np.moveaxis(X, 1, -1))
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), net.predict(params, X), rtol=1e-13)


# ---- pooling: after a convolution, so that there is something to perturb

POOLS = {
    "max-1d": (gf.MaxPool1d(3, stride=2), nn.MaxPool1d(3, stride=2), 1),
    "max-2d": (gf.MaxPool2d(2), nn.MaxPool2d(2), 2),
    "max-2d-padded": (gf.MaxPool2d(3, stride=2, padding=1), nn.MaxPool2d(3, stride=2, padding=1), 2),
    "max-2d-dilated": (gf.MaxPool2d(2, stride=1, dilation=2), nn.MaxPool2d(2, stride=1, dilation=2), 2),
    "max-2d-ceil": (gf.MaxPool2d(3, stride=2, ceil_mode=True), nn.MaxPool2d(3, stride=2, ceil_mode=True), 2),
    "max-2d-ceil-beyond": (
        gf.MaxPool2d(5, dilation=2, ceil_mode=True),
        nn.MaxPool2d(5, dilation=2, ceil_mode=True),
        2,
    ),
    "max-2d-each": (gf.MaxPool2d((3, 2), (1, 2)), nn.MaxPool2d((3, 2), (1, 2)), 2),
    "max-3d": (gf.MaxPool3d(2, stride=1), nn.MaxPool3d(2, stride=1), 3),
    "average-1d": (gf.AvgPool1d(3, stride=2, padding=1), nn.AvgPool1d(3, stride=2, padding=1), 1),
    "average-2d": (gf.AvgPool2d(2), nn.AvgPool2d(2), 2),
    "average-2d-without-pad": (
        gf.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        2,
    ),
    "average-2d-ceil": (
        gf.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
        2,
    ),
    "average-2d-ceil-without-pad": (
        gf.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        2,
    ),
    "average-2d-divisor": (gf.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2, divisor_override=3), 2),
    "average-3d": (gf.AvgPool3d(2, padding=1), nn.AvgPool3d(2, padding=1), 3),
    "adaptive-average-1d": (gf.AdaptiveAvgPool1d(3), nn.AdaptiveAvgPool1d(3), 1),
    "adaptive-average-2d": (gf.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveAvgPool2d((3, 2)), 2),
    "adaptive-average-2d-one-axis": (gf.AdaptiveAvgPool2d((None, 2)), nn.AdaptiveAvgPool2d((None, 2)), 2),
    "adaptive-average-3d": (gf.AdaptiveAvgPool3d(2), nn.AdaptiveAvgPool3d(2), 3),
    "adaptive-max-1d": (gf.AdaptiveMaxPool1d(3), nn.AdaptiveMaxPool1d(3), 1),
    "adaptive-max-2d": (gf.AdaptiveMaxPool2d((2, 3)), nn.AdaptiveMaxPool2d((2, 3)), 2),
    "adaptive-max-3d": (gf.AdaptiveMaxPool3d(2), nn.AdaptiveMaxPool3d(2), 3),
    "global-average": (gf.GlobalAvgPool(), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), 2),
    "global-max": (gf.GlobalMaxPool(), nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), 2),
    "global-average-kept": (gf.GlobalAvgPool(keepdims=True), nn.AdaptiveAvgPool2d(1), 2),
}


@pytest.mark.parametrize("pool", POOLS)
def test_pooling(pool):
    ours, theirs, axes = POOLS[pool]
    shape = {1: (2, 2, 9), 2: (2, 2, 8, 9), 3: (2, 2, 5, 6, 5)}[axes]
    first = {1: (gf.Conv1d, F.conv1d), 2: (gf.Conv2d, F.conv2d), 3: (gf.Conv3d, F.conv3d)}[axes]
    layer = gf.Sequential([first[0](2, 3, 2, name="c"), ours], name="layer")
    require_same(case(layer, lambda X, own: theirs(first[1](tensor(X), own["c.weight"], own["c.bias"])), shape))


POOLS_BY_AXIS = {
    "max": lambda last: gf.MaxPool2d(3, 2, padding="same", channels_last=last),
    "average": lambda last: gf.AvgPool2d(2, padding=1, channels_last=last),
    "adaptive": lambda last: gf.AdaptiveAvgPool2d(3, channels_last=last),
    "global": lambda last: gf.GlobalMaxPool(keepdims=True, channels_last=last),
}


@pytest.mark.parametrize("pool", POOLS_BY_AXIS)
def test_pooling_of_channels_last(pool):
    X = np.random.default_rng(0).normal(size=(2, 3, 7, 6))
    first, last = (gf.Network(POOLS_BY_AXIS[pool](is_last), gf.SquaredError()) for is_last in (False, True))
    found = np.moveaxis(last.predict({}, np.moveaxis(X, 1, -1)), -1, 1)
    np.testing.assert_array_equal(found, first.predict({}, X))


def test_pooling_padded_the_same_has_one_output_for_each_stride():
    net = gf.Network(gf.AvgPool2d(3, 2, padding="same", count_include_pad=False), gf.SquaredError())
    found = net.predict({}, np.ones((1, 1, 5, 4)))
    np.testing.assert_array_equal(found, np.ones((1, 1, 3, 2)))

"""The configuration at which a layer was checked: mistakes that cannot show there are said not to."""

from __future__ import annotations

from functools import partial

import layers
import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.checks.layers.configuration import trivial_settings

STRIDE = "checked at stride 1: mistakes in strides do not show here"
PAD = "checked without padding: mistakes at padded borders do not show here"
OVERLAP = "checked with windows that do not overlap: = for += does not show here"
DROPOUT = "checked at dropout probability 0: mistakes in the mask do not show here"
TEST = "checked in test mode: mistakes of the training mode do not show here"
rng = np.random.default_rng(0)


def said(called="layer", inputs=None, params=None, **settings):
    return trivial_settings(called, settings, inputs or {}, params or {})


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"stride": 1}, (STRIDE,)), ({"strides": (1, 1)}, (STRIDE,)), ({"stride_h": 1}, (STRIDE,)),
        ({"stride": 2}, ()), ({"stride": (1, 2)}, ()), ({"stride": True}, ()), ({"pad": 0}, (PAD,)),
        ({"padding": "valid"}, (PAD,)), ({"padding": "same"}, ()), ({"padding": 1}, ()), ({"keep_prob": 1.0},
        ("checked with nothing dropped: mistakes in the mask do not show here",)), ({"keep_prob": 0.9}, ()),
        ({"dropout": 0.0}, (DROPOUT,)), ({"drop_prob": 0.5}, ()), ({"mode": "test"}, (TEST,)), ({"mode": "train"}, ()),
        ({"training": False}, (TEST,)), ({"train_flg": True}, ()), ({"dilation": 1},
        ("checked at dilation 1: mistakes in dilations do not show here",)), ({"padlength": 0}, ()),
    ],
)  # fmt: skip
def test_settings(settings, expected):
    assert said(**settings) == expected


def test_windows_of_a_pool():
    assert said("max_pool_forward", stride=2, pool_height=2, pool_width=2) == (OVERLAP,)
    assert said("MaxPool", stride=2, kernel_size=(3, 3)) == ()
    assert said("MaxPool", stride=3, kernel_size=(3, 2)) == (OVERLAP,)
    assert said("Conv", stride=2, kernel_size=2) == ()


def test_kernels():
    x, w = np.ones((2, 3, 8, 8)), np.ones((4, 3, 1, 1))
    one = "checked with a kernel of 1 x 1, w: mistakes in the places of a window do not show here"
    assert said(inputs={"x": x, "w": w}, stride=2) == (one,)
    assert said(inputs={"x": x}, params={"w": w}, stride=2) == (one,)
    assert said(inputs={"x": x, "w": np.ones((4, 3, 2, 2))}, stride=2) == (OVERLAP,)
    assert said(inputs={"x": x, "w": np.ones((4, 3, 3, 3))}, stride=2) == ()


def test_axes_of_length_1_of_the_data():
    note = "checked with axis {} of x of length 1: mistakes in sums along it do not show here"
    assert said(inputs={"x": np.ones((1, 4)), "b": np.ones((1, 3))}) == (note.format(0),)
    assert said(inputs={"x": np.ones((4, 1, 2))}) == (note.format(1),)
    assert said(inputs={"x": np.ones(1)}) == ()


# ---- of layers


def conv_report(stride, pad, wrong=""):
    inputs = (
        rng.standard_normal((2, 3, 7, 7)),
        rng.standard_normal((4, 3, 3, 3)),
        np.zeros(4),
        {"stride": stride, "pad": pad},
    )
    return gf.check_layer(layers.conv_forward, partial(layers.conv_backward, wrong=wrong), inputs)


def test_a_mistake_that_does_not_show_is_said_not_to_show():
    report = conv_report(1, 1, wrong="stride")
    assert report.ok
    assert STRIDE in report.notes
    report = conv_report(2, 1, wrong="stride")
    assert not report.ok
    assert STRIDE not in report.notes
    assert PAD in conv_report(2, 0).notes


def test_overlap():
    check = lambda size, stride: gf.check_layer(
        layers.max_pool_forward,
        partial(layers.max_pool_backward, wrong="overlap"),
        (rng.standard_normal((2, 2, 7, 7)), {"pool_height": size, "pool_width": size, "stride": stride}),
    )
    assert check(2, 2).ok
    assert OVERLAP in check(2, 2).notes
    assert not check(3, 2).ok


class Scale:
    def __init__(self, stride):
        self.stride, self.W = stride, np.array(2.0)

    def forward(self, x, training=True):
        self.x = x
        return x[:: self.stride] * self.W

    def backward(self, dout):
        self.dW = (dout * self.x[:: self.stride]).sum()
        dx = np.zeros_like(self.x)
        dx[:: self.stride] = dout * self.W
        return dx


def test_attributes_and_arguments_of_objects():
    x = rng.standard_normal((4, 3))
    assert gf.check_layer(Scale(1), x).notes[-1] == STRIDE
    assert TEST in gf.check_layer(Scale(2), (x, False)).notes
    report = gf.check_layer(Scale(2), x)
    assert report.ok
    assert not any("checked" in note for note in report.notes)

"""Arrays that are filled part by part, at a stride: a stride that is forgotten on the way back is named."""

from __future__ import annotations

import numpy as np
import pytest
from searching import explain, is_said, line_of


def upsampled(rng, mistake=""):
    """A transposed convolution: each entry makes two, or three that overlap none."""
    x, width = rng.normal(size=(3, 4, 5)), int(rng.integers(2, 4))
    params = {"w": rng.normal(size=(4, 2)), "k": rng.normal(size=(2, 2, width))}
    c = rng.normal(size=(3, 2, 5 * width))

    def forward(p):
        h = np.tanh(np.einsum("ncl,cf->nfl", x, p["w"]))
        y = np.zeros((3, 2, 5 * width))
        for i in range(5):
            y[:, :, width * i : width * (i + 1)] = np.einsum("nf,fgk->ngk", h[:, :, i], p["k"])
        return h, y

    def loss(p):
        return np.sum(c * forward(p)[1] ** 2)

    def gradient(p):
        h, y = forward(p)
        dy, dh, dk = 2 * c * y, np.zeros_like(h), np.zeros_like(p["k"])
        for i in range(5):
            begin = i if mistake else width * i
            d = dy[:, :, begin : begin + width]
            dh[:, :, i] = np.einsum("ngk,fgk->nf", d, p["k"])
            dk += np.einsum("nf,ngk->fgk", h[:, :, i], d)
        return {"w": np.einsum("ncl,nfl->cf", x, dh * (1 - h * h)), "k": dk}

    return loss, gradient, params


@pytest.mark.parametrize("seed", range(3))
def test_a_stride_that_is_forgotten_where_parts_are_written(seed):
    causes = explain(*upsampled(np.random.default_rng(seed), "stride"))
    pattern = r"the stride [23] at which the parts are written is forgotten on the way back"
    assert causes and is_said(causes[0], pattern, line_of(upsampled, 'np.einsum("nf,fgk->ngk"')), causes


def test_nothing_is_said_of_right_strides_and_of_noise():
    loss, gradient, params = upsampled(np.random.default_rng(5))
    assert explain(loss, gradient, params) == []
    rng = np.random.default_rng(6)
    wrong = {name: array * (1 + 0.1 * rng.normal(size=array.shape)) for name, array in gradient(params).items()}
    assert explain(loss, wrong, params) == []

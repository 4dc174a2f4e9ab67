"""Networks of layers on arrays: shapes and arguments that are refused, and what the errors name."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

RNG = np.random.default_rng(0)


MISFITS = {
    "channels": ([gf.Conv2d(3, 4, 3)], (2, 1, 5, 5), r"layer 1, Conv2d: expected the shape \(samples, 3, height, "
                 r"width\), got \(2, 1, 5, 5\)"),
    "channels-last": ([gf.Conv2d(3, 4, 3)], (2, 5, 5, 3), "channels that come last need channels_last=True"),
    "channels-first": ([gf.Conv2d(3, 4, 3, channels_last=True)], (2, 3, 5, 5), "need channels_last=False"),
    "second": ([gf.Conv1d(3, 4, 3), gf.Conv1d(3, 4, 3)], (2, 3, 9), r"layer 2, Conv1d: .*\(samples, 3, length\), got "
               r"\(2, 4, 7\)"),
    "kernel": ([gf.Conv1d(3, 4, 3)], (2, 3, 2), "at least as long as the kernel"),
    "pool": ([gf.MaxPool2d(3)], (2, 3, 2, 4), "at least kernel_size"),
    "transposed": ([gf.ConvTranspose1d(3, 4, 1, padding=2)], (2, 3, 4), r"layer 1, ConvTranspose1d: the padding "
                   r"\(\(2, 2\),\) cuts everything off, for the shape \(2, 3, 4\)"),
    "dense": ([gf.Conv2d(1, 2, 3), gf.Dense(8, 2)], (2, 1, 4, 4), r"layer 2, Dense: expected .*, 8\), got .*Flatten"),
    "recurrent": ([gf.Conv1d(2, 3, 1), gf.LSTM(2, 3)], (2, 2, 4), r"layer 2, LSTM: expected the shape .*, times, 2\)"),
    "norm": ([gf.LayerNorm(4)], (2, 3), r"layer 1, LayerNorm: expected the shape \(samples, ..., 4\), got \(2, 3\)"),
    "batch": ([gf.BatchNorm(4)], (2, 3, 4), r"layer 1, BatchNorm: expected the shape \(samples, 4, ...\)"),
    "inside": ([gf.Sequential([gf.Flatten(), gf.Dense(3, 4)])], (2, 4, 1), r"layer 1.2, Dense: expected"),
    "residual": ([gf.Residual(gf.Conv1d(2, 3, 1))], (2, 2, 4), r"layer 1, Residual: .*\(2, 2, 4\) .*got \(2, 3, 4\)"),
    "attention": ([gf.MultiHeadAttention(4, 2)], (2, 4), r"expected the shape \(samples, times, 4\)"),
    "mask": ([gf.MultiHeadAttention(4, 2, key_padding_mask=np.zeros((2, 3), bool))], (2, 5, 4),
             r"key_padding_mask: expected the shape \(2, 5\)"),
    "dropout": ([gf.Dropout(np.ones((2, 3)))], (2, 4), r"the mask \(2, 3\) is broadcast to, got \(2, 4\)"),
    "softmax": ([gf.Activation("softmax", axis=3)], (2, 3), "layer 1, Activation: expected an array with an axis 3"),
    "glu": ([gf.GLU()], (2, 3), "expected an even length of axis -1"),
    "flatten": ([gf.Flatten(3)], (2, 3, 4), "expected axes 3 to -1"),
}  # fmt: skip


@pytest.mark.parametrize("misfit", MISFITS)
def test_shapes_that_do_not_fit(misfit):
    layers, shape, said = MISFITS[misfit]
    net = gf.Network([*layers, gf.Sequential([])], gf.SquaredError())
    with pytest.raises(ValueError, match=said):
        net.loss(np.zeros(shape), np.zeros(1))
    with pytest.raises(ValueError, match=said):
        net.predict(net.init(0), np.zeros(shape))


def test_no_key_to_see():
    mask = np.array([[False, True], [True, True]])
    net = gf.Network(gf.MultiHeadAttention(4, 2, key_padding_mask=mask), gf.SquaredError())
    with pytest.raises(ValueError, match="layer 1, MultiHeadAttention: the masks leave no key for time 0 of sample 1"):
        net.output_shape((2, 2, 4))
    net = gf.Network(gf.MultiHeadAttention(4, 2, attn_mask=np.array([[0.0, 1.0], [-np.inf, -np.inf]])), gf.Hinge())
    with pytest.raises(ValueError, match="the masks leave no key for time 1 of sample 0"):
        net.output_shape((2, 2, 4))


def test_masks_of_integers_could_mean_two_things():
    with pytest.raises(TypeError, match="attn_mask: expected bool, or float to add, got dtype int64"):
        gf.MultiHeadAttention(4, 2, attn_mask=np.ones((2, 2), np.int64))


def test_embeddings_take_integers():
    net = gf.Network([gf.Embedding(5, 2), gf.Flatten()], gf.SquaredError())
    with pytest.raises(TypeError, match=r"layer 1, Embedding: expected integers, got float64; use X\.astype"):
        net.predict(net.init(0), np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"layer 1, Embedding: expected integers from 0 to 4, got 5 at \[1, 2\]"):
        net.predict(net.init(0), np.array([[0, 1, 2], [3, 4, 5]]))


ARGUMENTS = {
    "groups": (lambda: gf.Conv2d(3, 4, 3, groups=2), "Conv2d: groups: expected a divisor of 3 and 4 channels, got 2"),
    "kernel": (lambda: gf.Conv2d(3, 4, (3, 3, 3)), "Conv2d: kernel_size: expected an integer or 2 of them"),
    "padding": (lambda: gf.Conv2d(3, 4, 3, padding="sam"), "did you mean 'same'"),
    "mode": (lambda: gf.Conv2d(3, 4, 3, padding_mode="wrap"), "Conv2d: padding_mode"),
    "output": (lambda: gf.ConvTranspose1d(3, 4, 3, output_padding=1), "output_padding: expected less than stride"),
    "pool": (lambda: gf.MaxPool2d(2, padding=2), "MaxPool2d: padding: expected at most half of kernel_size"),
    "adaptive": (lambda: gf.AdaptiveAvgPool2d((None, 2, 2)), "output_size: expected an integer, None, or 2 of them"),
    "heads": (lambda: gf.MultiHeadAttention(6, 4), "num_heads: expected a divisor of embed_dim 6, got 4"),
    "kv-heads": (lambda: gf.MultiHeadAttention(8, 4, num_kv_heads=3), "num_kv_heads: expected a divisor of 4 heads"),
    "rotary": (lambda: gf.MultiHeadAttention(6, 2, rotary=True), "rotary: expected heads of even width, got 3"),
    "groups-of": (lambda: gf.GroupNorm(3, 4), "num_groups: expected a divisor of 4 channels, got 3"),
    "batch": (lambda: gf.BatchNorm(3, mean=np.ones(3)), "mean and var: expected both"),
    "batch-shape": (lambda: gf.BatchNorm(3, mean=np.ones(2), var=np.ones(2)), r"mean: expected the shape \(3,\)"),
    "beta": (lambda: gf.Activation("softplus", beta=0.0), "softplus: expected settings with which it is finite at 1"),
    "activation": (lambda: gf.Activation("rleu"), "did you mean 'relu'"),
    "dropout": (lambda: gf.Dropout(np.ones(2), p=1.0), "less than 1"),
    "padding-index": (lambda: gf.Embedding(4, 2, padding_idx=4), "padding_idx: expected 0 to 3, got 4"),
    "branches": (lambda: gf.Concatenate([]), "expected at least one branch"),
    "columns": (lambda: gf.Network(gf.LayerNorm(2), gf.Hinge(), columns=True), "columns: only for a network of dense"),
    "names": (lambda: gf.Network([gf.PReLU(name="a"), gf.PReLU(name="a")], gf.Hinge()), "another layer has an array"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", ARGUMENTS)
def test_arguments_that_are_refused(mistake):
    make, said = ARGUMENTS[mistake]
    with pytest.raises(ValueError, match=said):
        make()


def test_a_setting_that_an_activation_does_not_have():
    with pytest.raises(TypeError, match=r"Activation: relu: .*alpha"):
        gf.Activation("relu", alpha=2.0)
    with pytest.raises(TypeError, match="Activation: softmax: axis: expected an integer, got None"):
        gf.Activation("softmax", axis=None)


def test_states_that_are_data_need_a_network_on_rows():
    net = gf.Network([gf.LSTM(2, 3, initial_state="data"), gf.Flatten()], gf.SquaredError())
    with pytest.raises(ValueError, match='layer 1, LSTM: initial_state: "data" needs a network of dense and recurrent'):
        net.loss(np.zeros((2, 4, 2)), np.zeros((2, 3)))


def test_something_that_is_no_layer():
    with pytest.raises(TypeError, match=r"layer 1\.2: expected a layer such as gf\.Dense"):
        gf.Network(gf.Sequential([gf.Flatten(), "relu"]), gf.SquaredError())

"""Normalisation, attention and layers entry by entry: cost and gradient are those of PyTorch's layers."""

from __future__ import annotations

import numpy as np
import pytest
from torch_networks import case, double, require_same, tensor, torch

import gradcheck_fast as gf

nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch")


# ---- normalisation

MEAN, VAR = np.array([0.3, -0.2, 0.1, 0.5]), np.array([0.5, 1.5, 2.0, 0.7])


def evaluated(theirs):
    module = double(theirs(4))
    module.running_mean, module.running_var = tensor(MEAN), tensor(VAR)
    return module.eval()


NORMALISATIONS = {
    "batch-rows": (gf.BatchNorm(4, name="layer"), double(nn.BatchNorm1d(4)), (6, 4)),
    "batch-1d": (gf.BatchNorm(4, name="layer"), double(nn.BatchNorm1d(4)), (3, 4, 5)),
    "batch-2d": (gf.BatchNorm(4, eps=1e-3, name="layer"), double(nn.BatchNorm2d(4, eps=1e-3)), (2, 4, 3, 3)),
    "batch-evaluated": (gf.BatchNorm(4, mean=MEAN, var=VAR, name="layer"), evaluated(nn.BatchNorm2d), (2, 4, 3, 2)),
    "layer": (gf.LayerNorm(6, name="layer"), double(nn.LayerNorm(6)), (3, 4, 6)),
    "layer-of-two-axes": (gf.LayerNorm((4, 6), name="layer"), double(nn.LayerNorm((4, 6))), (3, 4, 6)),
    "layer-without-bias": (gf.LayerNorm(6, bias=False, name="layer"), double(nn.LayerNorm(6, bias=False)), (3, 6)),
    "group": (gf.GroupNorm(2, 4, name="layer"), double(nn.GroupNorm(2, 4)), (3, 4, 3, 2)),
    "group-of-rows": (gf.GroupNorm(2, 4, name="layer"), double(nn.GroupNorm(2, 4)), (3, 4)),
    "instance": (
        gf.InstanceNorm(4, affine=True, name="layer"),
        double(nn.InstanceNorm2d(4, affine=True)),
        (2, 4, 3, 3),
    ),
    "instance-1d": (
        gf.InstanceNorm(4, affine=True, name="layer"),
        double(nn.InstanceNorm1d(4, affine=True)),
        (2, 4, 5),
    ),
    "rms": (gf.RMSNorm(6, name="layer"), double(nn.RMSNorm(6)), (3, 4, 6)),
    "rms-with-eps": (gf.RMSNorm((4, 6), eps=1e-2, name="layer"), double(nn.RMSNorm((4, 6), eps=1e-2)), (3, 4, 6)),
}


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_normalisation(kind):
    require_same(case(*NORMALISATIONS[kind]))


WITHOUT_ARRAYS = {
    "batch": (gf.BatchNorm(8, affine=False), double(nn.BatchNorm1d(8, affine=False))),
    "layer": (gf.LayerNorm(8, elementwise_affine=False), nn.LayerNorm(8, elementwise_affine=False)),
    "group": (gf.GroupNorm(2, 8, affine=False), nn.GroupNorm(2, 8, affine=False)),
    "rms": (gf.RMSNorm(8, elementwise_affine=False), nn.RMSNorm(8, elementwise_affine=False)),
}


@pytest.mark.parametrize("kind", WITHOUT_ARRAYS)
def test_normalisation_without_arrays(kind):
    ours, theirs = WITHOUT_ARRAYS[kind]
    layer = gf.Sequential([gf.Dense(3, 8), ours], name="layer")
    require_same(case(layer, lambda X, own: theirs(tensor(X) @ own["W1"] + own["b1"]), (5, 3)))


@pytest.mark.parametrize("make", [gf.BatchNorm, lambda n, axis: gf.GroupNorm(2, n, axis=axis), gf.InstanceNorm])
def test_normalisation_of_channels_last(make):
    X = np.random.default_rng(0).normal(size=(3, 4, 2, 5))
    first, last = (gf.Network(make(4, axis=axis), gf.SquaredError()) for axis in (1, -1))
    params = first.init(0)
    found = last.predict(params, np.moveaxis(X, 1, -1))
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), first.predict(params, X), rtol=1e-13)


# ---- embedding and attention


def test_embedding():
    require_same(case(gf.Embedding(7, 3, name="layer"), double(nn.Embedding(7, 3)), (4, 5), integers=7))


def test_embedding_of_one_integer_for_each_sample():
    require_same(case(gf.Embedding(7, 3, name="layer"), double(nn.Embedding(7, 3)), (4,), integers=7))


@pytest.mark.parametrize("padding", [0, 3, -1])
def test_embedding_with_a_padding_index(padding):
    """Its row is zeros and has no gradient."""
    module = double(nn.Embedding(7, 3, padding_idx=padding))
    found = case(gf.Embedding(7, 3, padding_idx=padding, name="layer"), module, (4, 5), integers=7)
    assert not found.params["layer.weight"][padding].any()
    require_same(found)
    assert not gf.numerical_gradient(found.loss, found.params)["layer.weight"][padding].any()


PADDING = np.array([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
UPPER = np.triu(np.ones((5, 5), bool), 2)
ADDED = np.random.default_rng(7).normal(size=(5, 5))
ATTENTION = {
    "plain": ({}, {}, {}),
    "no-bias": ({"bias": False}, {"bias": False}, {}),
    "bias-kv": ({"add_bias_kv": True}, {"add_bias_kv": True}, {}),
    "causal": ({"causal": True}, {}, {"attn_mask": np.triu(np.ones((5, 5), bool), 1)}),
    "padding": ({"key_padding_mask": PADDING}, {}, {"key_padding_mask": PADDING}),
    "mask": ({"attn_mask": UPPER}, {}, {"attn_mask": UPPER}),
    "added": ({"attn_mask": ADDED}, {}, {"attn_mask": ADDED}),
    "added-infinite": (
        {"attn_mask": np.where(UPPER, -np.inf, ADDED)}, {}, {"attn_mask": np.where(UPPER, -np.inf, ADDED)},
    ),
    "causal-padding": (
        {"causal": True, "key_padding_mask": PADDING},
        {},
        {"attn_mask": np.triu(np.ones((5, 5), bool), 1), "key_padding_mask": PADDING},
    ),
    "padding-bias-kv": (
        {"add_bias_kv": True, "key_padding_mask": PADDING}, {"add_bias_kv": True}, {"key_padding_mask": PADDING},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention(kind):
    ours, theirs, masks = ATTENTION[kind]
    module = double(nn.MultiheadAttention(6, 2, batch_first=True, **theirs))

    def attention(X, own):
        x, given = tensor(X), {name: tensor(mask) for name, mask in masks.items()}
        return torch.func.functional_call(module, own, (x, x, x), {"need_weights": False, **given})[0]

    require_same(case(gf.MultiHeadAttention(6, 2, name="layer", **ours), attention, (3, 5, 6)))


@pytest.mark.parametrize("rotary", ["none", "halves", "interleaved"])
def test_attention_of_grouped_queries_and_rotary_positions(rotary):
    """LLaMA's code turns the halves of a head; complex numbers turn neighbours, as in the paper."""

    def rotated(x):
        angles = torch.arange(5.0, dtype=torch.float64)[:, None] / 100.0 ** (torch.arange(0, 4, 2).double() / 4)
        if rotary == "interleaved":
            turned = torch.view_as_complex(x.unflatten(-1, (2, 2)).contiguous()) * torch.exp(1j * angles)
            return torch.view_as_real(turned).flatten(-2)
        cos, sin = (f(torch.cat([angles, angles], -1)) for f in (torch.cos, torch.sin))
        return x * cos + torch.cat([-x[..., 2:], x[..., :2]], -1) * sin

    def attention(X, own):
        q, k, v = (tensor(X) @ own["in_proj_weight"].T).split([16, 8, 8], -1)
        q, k, v = (x.unflatten(-1, (-1, 4)).transpose(1, 2) for x in (q, k, v))
        if rotary != "none":
            q, k = rotated(q), rotated(k)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True, scale=0.4)
        return out.transpose(1, 2).flatten(2) @ own["out_proj.weight"].T

    layer = gf.MultiHeadAttention(
        6, 4, num_kv_heads=2, head_dim=4, bias=False, causal=True, scale=0.4, rotary=rotary != "none",
        rotary_base=100.0, rotary_interleaved=rotary == "interleaved", name="layer",
    )  # fmt: skip
    require_same(case(layer, attention, (3, 5, 6)))


# ---- entry by entry

MODULES = {
    "relu": (nn.ReLU, {}), "leaky_relu": (nn.LeakyReLU, {"negative_slope": 0.2}), "elu": (nn.ELU, {"alpha": 0.7}),
    "celu": (nn.CELU, {"alpha": 1.5}), "selu": (nn.SELU, {}), "gelu": (nn.GELU, {"approximate": "tanh"}),
    "silu": (nn.SiLU, {}), "sigmoid": (nn.Sigmoid, {}), "logsigmoid": (nn.LogSigmoid, {}), "tanh": (nn.Tanh, {}),
    "softplus": (nn.Softplus, {"beta": 2.0, "threshold": 1.0}), "softsign": (nn.Softsign, {}),
    "hardtanh": (nn.Hardtanh, {"min_val": -0.5, "max_val": 0.7}), "relu6": (nn.ReLU6, {}), "mish": (nn.Mish, {}),
    "hardswish": (nn.Hardswish, {}), "hardshrink": (nn.Hardshrink, {"lambd": 0.3}),
    "softshrink": (nn.Softshrink, {"lambd": 0.3}), "tanhshrink": (nn.Tanhshrink, {}),
    "threshold": (nn.Threshold, {"threshold": 0.1, "value": 0.4}),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_activation(name):
    theirs, settings = MODULES[name]
    layer = gf.Sequential([gf.Dense(3, 8), gf.Activation(name, **settings)], name="layer")
    require_same(case(layer, lambda X, own: theirs(**settings)(tensor(X) @ own["W1"] + own["b1"]), (4, 3)))


def test_hardsigmoid():
    """Written out, for the slope of PyTorch's is the float32 number nearest to 1/6."""
    layer = gf.Sequential([gf.Dense(3, 8), gf.Activation("hardsigmoid")], name="layer")
    require_same(case(layer, lambda X, own: F.relu6(tensor(X) @ own["W1"] + own["b1"] + 3.0) / 6.0, (4, 3)))


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_activation_along_an_axis(name, axis):
    layer = gf.Sequential([gf.Dense(3, 4), gf.Activation(name, axis=axis)], name="layer")
    function = {"softmax": F.softmax, "log_softmax": F.log_softmax}[name]
    require_same(case(layer, lambda X, own: function(tensor(X) @ own["W1"] + own["b1"], axis), (2, 5, 3)))


@pytest.mark.parametrize("count", [1, 4])
def test_prelu(count):
    require_same(case(gf.PReLU(count, name="layer"), double(nn.PReLU(count)), (3, 4, 5)))


GATED = {
    "GLU": (gf.GLU(), lambda a, b: a * torch.sigmoid(b)),
    "SwiGLU": (gf.SwiGLU(), lambda a, b: a * F.silu(b)),
    "GEGLU": (gf.GEGLU(), lambda a, b: a * F.gelu(b)),
    "GLU-first": (gf.GLU(gate="first"), lambda a, b: torch.sigmoid(a) * b),
    "SwiGLU-first": (gf.SwiGLU(gate="first"), lambda a, b: F.silu(a) * b),
}


@pytest.mark.parametrize("kind", GATED)
def test_gated_unit(kind):
    ours, theirs = GATED[kind]
    layer = gf.Sequential([gf.Dense(3, 8), ours], name="layer")
    require_same(case(layer, lambda X, own: theirs(*(tensor(X) @ own["W1"] + own["b1"]).chunk(2, -1)), (4, 5, 3)))


def test_gated_unit_along_another_axis():
    layer = gf.Sequential([gf.Conv1d(2, 6, 3, name="c"), gf.GLU(axis=1)], name="layer")
    require_same(case(layer, lambda X, own: F.glu(F.conv1d(tensor(X), *own.values()), 1), (2, 2, 7)))


def test_dropout_with_a_mask():
    mask = np.random.default_rng(0).random((4, 8)) < 0.7
    layer = gf.Sequential([gf.Dense(3, 8), gf.Dropout(mask, p=0.3)], name="layer")
    dropped = lambda X, own: (tensor(X) @ own["W1"] + own["b1"]) * tensor(mask) / 0.7
    require_same(case(layer, dropped, (4, 3)))
    scaled = gf.Network(gf.Dropout(mask / 0.7), gf.SquaredError())
    X = np.ones((4, 8))
    np.testing.assert_allclose(
        scaled.predict({}, X), gf.Network(gf.Dropout(mask, 0.3), gf.SquaredError()).predict({}, X)
    )


def test_flatten():
    layer = gf.Sequential([gf.Dense(3, 2), gf.Flatten(2, 3)], name="layer")
    require_same(case(layer, lambda X, own: (tensor(X) @ own["W1"] + own["b1"]).flatten(2, 3), (2, 3, 4, 5, 3)))

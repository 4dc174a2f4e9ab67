"""Layers on arrays, each with its options: cost and gradient are those of PyTorch's layer of the same name."""

from __future__ import annotations

import numpy as np
import pytest
from torch_networks import require_same, tensor, torch, twins

import gradcheck_fast as gf

nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch")


def case(layer, module, shape, *, integers=None, seed=0):
    """A network of one layer, with a name, and squared error, beside a module or function of PyTorch's."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=shape) if integers is None else rng.integers(0, integers, shape)
    net = gf.Network(layer, gf.SquaredError(factor=0.5))
    y = rng.normal(size=net.output_shape(shape))

    def cost(leaves):
        own = {name.removeprefix("layer."): leaf for name, leaf in leaves.items()}
        out = torch.func.functional_call(module, own, tensor(X)) if isinstance(module, nn.Module) else module(X, own)
        assert tuple(out.shape) == y.shape
        return 0.5 * F.mse_loss(out, tensor(y))

    return twins(net, X, y, cost)


def double(module):
    return module.double()


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

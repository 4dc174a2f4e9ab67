"""Networks of layers on arrays: names, branches, shared layers, and layers on rows among them."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from torch_networks import require_same, tensor, torch, twins

import gradcheck_fast as gf

nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch")
RNG = np.random.default_rng(0)
IMAGES, CLASSES = RNG.normal(size=(4, 1, 14, 14)), RNG.integers(0, 3, 4)


def small_lenet(cost=None, **options):
    layers = [
        gf.Conv2d(1, 2, 3), gf.Activation("tanh"), gf.AvgPool2d(2),
        gf.Conv2d(2, 3, 3), gf.Activation("tanh"), gf.MaxPool2d(2),
        gf.Flatten(), gf.Dense(12, 5, "tanh"), gf.Dense(5, 3),
    ]  # fmt: skip
    return gf.Network(layers, cost or gf.CrossEntropy(), **options)


# ---- names, shapes, parameters


def test_arrays_are_named_as_in_pytorch_and_numbered_by_layer():
    net = small_lenet()
    assert net.shapes == {
        "weight1": (2, 1, 3, 3), "bias1": (2,), "weight4": (3, 2, 3, 3), "bias4": (3,), "W8": (12, 5), "b8": (5,),
        "W9": (5, 3), "b9": (3,),
    }  # fmt: skip
    assert net.output_shape((7, 1, 14, 14)) == (7, 3)


def test_arrays_inside_of_other_layers_have_the_names_and_numbers_of_all_of_these():
    block = gf.Sequential([gf.LayerNorm(4), gf.Residual([gf.Dense(4, 4), gf.Dense(4, 4, name="last")])], name="block")
    net = gf.Network([gf.Sequential([gf.Dense(3, 4), gf.PReLU()]), block], gf.SquaredError())
    assert list(net.shapes) == [
        "W1.1", "b1.1", "weight1.2", "block.weight1", "block.bias1", "block.W2.1", "block.b2.1", "block.last.W",
        "block.last.b",
    ]  # fmt: skip
    params = net.init(0)
    nested = {
        "block": {key.removeprefix("block."): params.pop(key) for key in list(params) if "block" in key},
        **params,
    }
    X, y = np.ones((2, 3)), np.ones((2, 4))
    assert net.loss(X, y)(nested) == net.loss(X, y)(net.init(0))


def test_arrays_may_have_other_names():
    names = [f"array{k}" for k in range(8)]
    net, other = small_lenet(names=names), small_lenet()
    params = dict(zip(names, other.init(0).values(), strict=True))
    assert net.loss(IMAGES, CLASSES)(params) == other.loss(IMAGES, CLASSES)(other.init(0))
    with pytest.raises(ValueError, match="names: expected 8 different ones, for weight1"):
        small_lenet(names=["a"])


def test_parameters_are_drawn_by_their_fan_in():
    net = gf.Network(
        [gf.Conv2d(9, 400, 5), gf.BatchNorm(400), gf.Conv2d(400, 2, 1, channels_last=False)], gf.SquaredError()
    )
    params = net.init(0)
    assert params["weight1"].std() == pytest.approx((9 * 25) ** -0.5, rel=0.02)
    assert params["weight2"].mean() == pytest.approx(1.0, abs=0.05)
    last = gf.Network(gf.Conv2d(9, 400, 5, channels_last=True), gf.SquaredError()).init(0)
    assert last["weight1"].std() == pytest.approx((9 * 25) ** -0.5, rel=0.02)
    np.testing.assert_equal(net.init(3), net.init(3))


def test_any_tree_or_flat_vector_of_parameters_is_taken():
    net = small_lenet()
    loss, params = net.loss(IMAGES, CLASSES), net.init(0)
    flat = np.concatenate([array.ravel() for array in params.values()])
    for tree in (list(params.values()), flat, dict(reversed(params.items()))):
        assert loss(tree) == loss(params)
    assert gf.gradcheck(loss, gf.numerical_gradient(loss, flat), flat)
    with pytest.raises(ValueError, match=r"weight4: expected the shape \(3, 2, 3, 3\), got \(2, 3, 3, 3\)"):
        loss({**params, "weight4": np.ones((2, 3, 3, 3))})


def test_repr_says_what_is_not_as_usual():
    assert repr(gf.Conv2d(1, 2, 3, stride=2, padding="same", name="c")) == (
        "Conv2d(in_channels=1, out_channels=2, kernel_size=3, stride=2, padding='same', name='c')"
    )
    assert repr(gf.Conv2d(1, 2, (3, 1), padding=((1, 0), (0, 0)))) == (
        "Conv2d(in_channels=1, out_channels=2, kernel_size=(3, 1), padding=((1, 0), (0, 0)))"
    )
    assert repr(gf.Dropout(np.ones((2, 3)), 0.5)) == "Dropout(mask=<array of shape (2, 3)>, p=0.5)"
    assert repr(small_lenet().loss(IMAGES, CLASSES)).endswith("on 4 samples>")


def test_loss_is_shown_by_layer():
    shown = str(small_lenet(penalty=gf.L2(0.1)).loss(IMAGES, CLASSES))
    for place in ("layer 1, Conv2d", "layer 6, MaxPool2d", "layer 8, Dense", "cost, CrossEntropy", "penalty, L2"):
        assert place in shown


# ---- branches, residuals, shared layers


def test_residual_with_a_shortcut():
    layers = [
        gf.Residual(
            [gf.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), gf.BatchNorm(4), gf.Activation("relu")],
            shortcut=gf.Conv2d(2, 4, 1, stride=2, bias=False, name="shortcut"),
        )
    ]
    net = gf.Network(layers, gf.SquaredError())
    X, y = RNG.normal(size=(3, 2, 5, 5)), RNG.normal(size=(3, 4, 3, 3))

    def theirs(p):
        inner = F.conv2d(tensor(X), p["weight1.1"], stride=2, padding=1)
        inner = F.batch_norm(inner, None, None, p["weight1.2"], p["bias1.2"], training=True)
        return F.mse_loss(F.conv2d(tensor(X), p["shortcut.weight"], stride=2) + torch.relu(inner), tensor(y))

    require_same(twins(net, X, y, theirs))


def test_concatenated_branches():
    net = gf.Network(
        [gf.Concatenate([gf.Conv1d(2, 3, 1), gf.Sequential([gf.Conv1d(2, 1, 3, padding=1), gf.GLU(axis=2)])], axis=-1)],
        gf.SquaredError(),
    )
    with pytest.raises(ValueError, match=r"layer 1, Concatenate: .* axis -1 alone, got .*\(2, 3, 6\) and \(2, 1, 3\)"):
        net.output_shape((2, 2, 6))
    branches = [gf.Conv1d(2, 3, 1), gf.Sequential([]), gf.Conv1d(2, 2, 3, padding=1)]
    net = gf.Network(gf.Concatenate(branches), gf.SquaredError())
    X, y = RNG.normal(size=(3, 2, 6)), RNG.normal(size=(3, 7, 6))

    def theirs(p):
        first = F.conv1d(tensor(X), p["weight1.1"], p["bias1.1"])
        last = F.conv1d(tensor(X), p["weight1.3"], p["bias1.3"], padding=1)
        return F.mse_loss(torch.cat([first, tensor(X), last], 1), tensor(y))

    require_same(twins(net, X, y, theirs))


def test_a_layer_that_is_there_twice_has_one_set_of_arrays():
    for make in (
        lambda: gf.Sequential([gf.Dense(4, 4, "tanh")]),
        lambda: gf.Sequential([gf.LayerNorm(4), gf.Dense(4, 4)]),
    ):
        shared = make()
        once, twice, copies = (
            gf.Network([*layers, gf.Dense(4, 2)], gf.SquaredError())
            for layers in ([shared], [shared, shared], [make(), make()])
        )
        assert list(twice.shapes.values()) == list(once.shapes.values())
        assert len(copies.shapes) == 2 * len(once.shapes) - 2
        X, y, params = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 2)), twice.init(0)
        values = list(params.values())
        as_copies = dict(zip(copies.shapes, [*values[:-2], *values], strict=True))
        loss, other = twice.loss(X, y), copies.loss(X, y)
        assert loss(params) == pytest.approx(other(as_copies), rel=1e-15)
        found = list(gf.numerical_gradient(loss, params, method="chain").values())
        apart = list(gf.numerical_gradient(other, as_copies, method="chain").values())
        count = len(values) - 2
        added = [a + b for a, b in zip(apart[:count], apart[count:], strict=False)]
        assert gf.relative_error(found, [*added, *apart[-2:]]) < 1e-14


def test_a_dense_layer_that_is_repeated_has_arrays_of_its_own_each_time():
    layers = [gf.Dense(2, 2, "tanh")] * 3
    assert list(gf.Network(layers, gf.SquaredError()).shapes) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    among = gf.Network([*layers, gf.LayerNorm(2)], gf.SquaredError())
    assert list(among.shapes) == ["W1", "b1", "W2", "b2", "W3", "b3", "weight4", "bias4"]


# ---- layers on rows among layers on arrays

RECURRENT = {
    "rnn": gf.RNN(3, 4, activation="relu", return_sequences=True),
    "gru": gf.GRU(3, 4, bias="double", return_sequences=True, initial_state="parameters"),
    "gru-before": gf.GRU(3, 4, reset_after=False, keep="1-z", joint="xh"),
    "lstm": gf.LSTM(3, 4, peepholes=True, forget_bias=1.0, return_sequences=True),
    "lstm-coupled": gf.LSTM(3, 4, coupled=True, peepholes=True, joint="hx", return_sequences=True),
    "both-ways": gf.LSTM(3, 4, bidirectional=True, bias=False, return_sequences=True),
    "last-of-both-ways": gf.GRU(3, 4, bidirectional=True, gates="zrn"),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_do_the_same_among_layers_on_arrays(kind):
    layer = RECURRENT[kind]
    head = gf.Dense(layer.outputs, 2, "softmax")
    rows = gf.Network([layer, head], gf.SquaredError())
    arrays = gf.Network([layer, gf.Sequential([]), head], gf.SquaredError(), names=list(rows.shapes))
    X, params = RNG.normal(size=(5, 4, 3)), rows.init(0)
    found = rows.predict(params, X)
    np.testing.assert_allclose(arrays.predict(params, X), found, rtol=1e-13)
    y = RNG.normal(size=found.shape)
    losses = [net.loss(X, y) for net in (rows, arrays)]
    gradients = [gf.numerical_gradient(loss, params, method="chain") for loss in losses]
    assert gf.relative_error(*gradients) < 1e-14


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "elu", "selu", "gelu_tanh", "exp", "softmax"])
def test_dense_layers_act_on_the_last_axis(activation):
    dense = gf.Dense(3, 4, activation)
    rows = gf.Network(dense, gf.SquaredError())
    arrays = gf.Network([dense, gf.Flatten()], gf.SquaredError())
    X, params = RNG.normal(size=(2, 5, 6, 3)), rows.init(0)
    expected = rows.predict(params, X.reshape(-1, 3)).reshape(2, -1)
    np.testing.assert_allclose(arrays.predict(params, X), expected, rtol=1e-13)


# ---- whole networks


def test_small_lenet():
    net = small_lenet(penalty=gf.L2(0.1))

    def theirs(p):
        x = F.avg_pool2d(torch.tanh(F.conv2d(tensor(IMAGES), p["weight1"], p["bias1"])), 2)
        x = F.max_pool2d(torch.tanh(F.conv2d(x, p["weight4"], p["bias4"])), 2).flatten(1)
        x = torch.tanh(x @ p["W8"] + p["b8"]) @ p["W9"] + p["b9"]
        decay = sum((array**2).sum() for name, array in p.items() if name[0] in "wW")
        return F.cross_entropy(x, tensor(CLASSES)) + 0.05 * decay

    require_same(twins(net, IMAGES, CLASSES, theirs))


def test_transformer():
    def block(name):
        attention = gf.Residual(
            [gf.LayerNorm(8, name="norm"), gf.MultiHeadAttention(8, 2, causal=True, name="attention")]
        )
        feed = gf.Residual(
            [gf.LayerNorm(8, name="norm"), gf.Dense(8, 16, "gelu", name="up"), gf.Dense(16, 8, name="down")]
        )
        return gf.Sequential([gf.Sequential(attention, name="a"), gf.Sequential(feed, name="f")], name=name)

    net = gf.Network([gf.Embedding(11, 8, name="tokens"), block("0"), block("1"), gf.Dense(8, 11)], gf.CrossEntropy())
    tokens = RNG.integers(0, 11, (3, 7))

    def theirs(p):
        x = p["tokens.weight"][tensor(tokens[:, :-1])]
        for k in "01":
            own = lambda name, k=k: p[f"{k}.{name}"]
            h = F.layer_norm(x, (8,), own("a.norm.weight"), own("a.norm.bias"))
            x = x + F.multi_head_attention_forward(
                *[h.transpose(0, 1)] * 3, 8, 2, own("a.attention.in_proj_weight"), own("a.attention.in_proj_bias"),
                None, None, False, 0.0, own("a.attention.out_proj.weight"), own("a.attention.out_proj.bias"),
                attn_mask=torch.ones(6, 6, dtype=torch.bool).triu(1), need_weights=False,
            )[0].transpose(0, 1)  # fmt: skip
            h = F.layer_norm(x, (8,), own("f.norm.weight"), own("f.norm.bias"))
            x = x + F.gelu(h @ own("f.up.W") + own("f.up.b")) @ own("f.down.W") + own("f.down.b")
        return F.cross_entropy((x @ p["W4"] + p["b4"]).flatten(0, 1), tensor(tokens[:, 1:]).flatten())

    require_same(twins(net, tokens[:, :-1], tokens[:, 1:], theirs))


def test_a_bias_before_a_normalisation_leaves_the_certificate_as_good_as_without_it():
    """Its gradient is nothing but roundings."""
    net = gf.Network([gf.Conv2d(2, 4, 3), gf.BatchNorm(4), gf.Activation("tanh")], gf.SquaredError())
    X = RNG.normal(size=(3, 2, 6, 6))
    loss, params = net.loss(X, RNG.normal(size=(3, 4, 4, 4))), net.init(0)
    report = gf.gradcheck(loss, gf.numerical_gradient(loss, params), params)
    assert report
    assert report.certificate.agreement < 2e-15


# ---- verdicts, and what gradcheck can do


def wrong(gradient, name, index, factor=1.0 + 1e-6):
    gradient = {key: array.copy() for key, array in gradient.items()}
    gradient[name][index] *= factor
    return gradient


def test_a_planted_error_is_found_in_each_array():
    net = small_lenet()
    loss, params = net.loss(IMAGES, CLASSES), net.init(0)
    right = gf.numerical_gradient(loss, params)
    assert gf.gradcheck(loss, right, params).verdict == "PASS"
    for name, array in right.items():
        index = np.unravel_index(np.abs(array).argmax(), array.shape)
        report = gf.gradcheck(loss, wrong(right, name, index), params)
        assert report.verdict == "FAIL"
        assert [found.name for found in report.arrays if found.wrong] == [name]


def test_a_single_entry_can_be_sampled_and_moved_alone():
    net = small_lenet()
    loss, params = net.loss(IMAGES, CLASSES), net.init(0)
    right = gf.numerical_gradient(loss, params)
    assert gf.gradcheck(loss, right, params, method="incremental", sample=20)
    assert gf.gradcheck(loss, right, params, method="direct", sample=20)


def test_losses_and_networks_are_pickled():
    net = small_lenet()
    loss, params = net.loss(IMAGES, CLASSES), net.init(0)
    again = pickle.loads(pickle.dumps(loss))
    assert again(params) == loss(params)
    np.testing.assert_equal(gf.numerical_gradient(again, params), gf.numerical_gradient(loss, params))
    assert pickle.loads(pickle.dumps(net)).loss(IMAGES, CLASSES)(params) == loss(params)


def test_workers_find_the_same():
    net = small_lenet()
    loss, params = net.loss(IMAGES, CLASSES), net.init(0)
    alone = gf.numerical_gradient(loss, params, method="incremental")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = gf.numerical_gradient(loss, params, method="incremental", executor=pool)
    np.testing.assert_equal(found, alone)


def test_checkpoint(tmp_path):
    net = small_lenet()
    loss, params = net.loss(IMAGES, CLASSES), net.init(0)
    right = gf.numerical_gradient(loss, params)
    for _ in range(2):
        assert gf.gradcheck(loss, right, params, method="direct", checkpoint=tmp_path / "kept")


def test_the_data_are_copied():
    X, y, mask = IMAGES.copy(), CLASSES.copy(), np.ones((4, 3))
    net = gf.Network([gf.Flatten(), gf.Dense(196, 3), gf.Dropout(mask)], gf.CrossEntropy())
    loss, params = net.loss(X, y), net.init(0)
    before, gradient = loss(params), gf.numerical_gradient(loss, params)
    X[...], y[...], mask[...] = 7.0, 0, 0.0
    assert loss(params) == before
    np.testing.assert_equal(gf.numerical_gradient(loss, params), gradient)


def test_a_loss_that_is_not_defined_says_so():
    net = gf.Network([gf.Flatten(), gf.Dense(196, 3)], gf.CrossEntropy(from_logits=False))
    loss = net.loss(IMAGES, CLASSES)
    with pytest.raises(ValueError, match="loss: it is nan at these parameters"):
        gf.numerical_gradient(loss, net.init(0))


def test_a_layer_of_the_users_own():
    class Scale(gf.TensorLayer):
        """Multiplies by a number that is trained."""

        @property
        def shapes(self):
            return {"scale": ()}

        def forward(self, x, arrays, run):
            return x * np.exp(arrays["scale"])

    net = gf.Network([gf.Dense(3, 2), Scale(name="own")], gf.SquaredError())
    X, y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))

    def theirs(p):
        return F.mse_loss((tensor(X) @ p["W1"] + p["b1"]) * torch.exp(p["own.scale"]), tensor(y))

    require_same(twins(net, X, y, theirs))

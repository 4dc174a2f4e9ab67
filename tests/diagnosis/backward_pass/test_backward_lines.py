"""The first line of a hand-written backward pass that parts, in networks of all styles, with planted mistakes."""

from __future__ import annotations

import pytest
from plant_lines import EXAMPLES, parting, planted_module

from gradcheck_fast import trace
from gradcheck_fast.diagnosis.backward_pass.known_arrays import KnownArrays
from gradcheck_fast.diagnosis.graph.backward import Backward
from gradcheck_fast.inputs.trees import pack

MLP = """
import numpy as np

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))


def forward(p):
    z1 = X @ p["W1"] + p["b1"]
    a1 = np.tanh(z1)
    z2 = a1 @ p["W2"] + p["b2"]
    a2 = np.maximum(z2, 0)
    out = a2 @ p["W3"] + p["b3"]
    return out, (z1, a1, z2, a2)


def loss(p):
    out, _ = forward(p)
    return 0.5 * np.sum((out - Y) ** 2) / len(X) + 0.05 * np.sum(p["W1"] ** 2)


def backprop(p):
    out, (z1, a1, z2, a2) = forward(p)
    dout = (out - Y) / len(X)
    dW3 = a2.T @ dout
    db3 = dout.sum(axis=0)
    da2 = dout @ p["W3"].T
    dz2 = da2 * (z2 > 0)
    dW2 = a1.T @ dz2
    db2 = dz2.sum(axis=0)
    da1 = dz2 @ p["W2"].T
    dz1 = da1 * (1 - a1**2)
    dW1 = X.T @ dz1 + 0.1 * p["W1"]
    db1 = dz1.sum(axis=0)
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2, "W3": dW3, "b3": db3}


def init_params():
    shapes = {"W1": (4, 6), "b1": (6,), "W2": (6, 6), "b2": (6,), "W3": (6, 3), "b3": (3,)}
    return {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
"""

COLUMNS = """
import numpy as np

rng = np.random.default_rng(1)
X, Y = rng.normal(size=(4, 7)), (rng.random((1, 7)) < 0.5).astype(float)


class Net:
    def forward(self, p):
        self.p = p
        self.Z1 = np.dot(p["W1"], X) + p["b1"]
        self.A1 = np.tanh(self.Z1)
        self.Z2 = np.dot(p["W2"], self.A1) + p["b2"]
        self.A2 = 1 / (1 + np.exp(-self.Z2))
        return -np.mean(Y * np.log(self.A2) + (1 - Y) * np.log(1 - self.A2))

    def backward(self, p):
        m = X.shape[1]
        dZ2 = self.A2 - Y
        dW2 = np.dot(dZ2, self.A1.T) / m
        db2 = np.sum(dZ2, axis=1, keepdims=True) / m
        dA1 = np.dot(p["W2"].T, dZ2)
        dZ1 = dA1 * (1 - self.A1**2)
        dW1 = np.dot(dZ1, X.T) / m
        db1 = np.sum(dZ1, axis=1, keepdims=True) / m
        return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


net = Net()
loss, backprop = net.forward, net.backward


def init_params():
    shapes = {"W1": (5, 4), "b1": (5, 1), "W2": (1, 5), "b2": (1, 1)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}
"""

SOURCES = {"mlp": MLP, "columns": COLUMNS} | {
    name: (EXAMPLES / f"numpy_{name}.py").read_text()
    for name in ("lstm_buffers", "cnn", "batchnorm", "transformer_block")
}

#: The network, the right piece of source, and the wrong one. The line of the piece must be named, and it alone.
MISTAKES = [
    ("mlp", "dout = (out - Y) / len(X)", "dout = (out - Y) * out / len(X)"),
    ("mlp", "db3 = dout.sum(axis=0)", "db3 = dout.mean(axis=0)"),
    ("mlp", "dz2 = da2 * (z2 > 0)", "dz2 = da2 * (z2 > 0) * a2"),
    ("mlp", "dz1 = da1 * (1 - a1**2)", "dz1 = da1 * a1"),
    ("mlp", "dz1 = da1 * (1 - a1**2)", "dz1 = da1 * (1 - z1**2)"),
    ("mlp", 'da1 = dz2 @ p["W2"].T', 'da1 = dz2 @ p["W2"]'),
    ("mlp", "dW2 = a1.T @ dz2", "dW2 = z1.T @ dz2"),
    ("mlp", 'dW1 = X.T @ dz1 + 0.1 * p["W1"]', "dW1 = X.T @ dz1"),
    ("columns", "dZ1 = dA1 * (1 - self.A1**2)", "dZ1 = dA1 * self.A1 * (1 - self.A1)"),
    ("columns", "dW1 = np.dot(dZ1, X.T) / m", "dW1 = np.dot(dZ1, X.T)"),
    ("columns", "dW2 = np.dot(dZ2, self.A1.T) / m", "dW2 = np.dot(dZ2, self.Z1.T) / m"),
    ("lstm_buffers", "dHout[t] * o * (1 - self.Ct[t] ** 2)", "dHout[t] * o * (1 - self.Ct[t])"),
    ("lstm_buffers", "dIFOG[t, :, :d] = dC[t] * g * i * (1 - i)", "dIFOG[t, :, :d] = dC[t] * g * i"),
    ("lstm_buffers", "dHout[t - 1] += dIFOG[t]", "dHout[t - 1] = dIFOG[t]"),
    ("lstm_buffers", "self.dW += self.Hin[t].T.dot(dIFOG[t])", "self.dW = self.Hin[t].T.dot(dIFOG[t])"),
    ("cnn", 'grads["b3"] = dscores.sum(axis=0)', 'grads["b3"] = dscores.mean(axis=0)'),
    ("cnn", "dW = dout.T.dot(cols).reshape(W.shape)", "dW = cols.T.dot(dout).reshape(W.shape)"),
    ("cnn", "dz1 = da1 * (z1 > 0)", "dz1 = da1 * z1"),
    ("batchnorm", "dgamma = np.sum(dout * xhat, axis=0)", "dgamma = np.mean(dout * xhat, axis=0)"),
    ("batchnorm", "return dout * (x > 0)", "return dout * x"),
    ("batchnorm", "np.sum(dxhat * xhat, axis=0)) / (N * std)", "np.mean(dxhat * xhat, axis=0)) / (N * std)"),
    ("transformer_block", "dv = att.transpose(0, 1, 3, 2) @ dheads", "dv = att @ dheads"),
    ("transformer_block", "dx2 = dx3 + dn2", "dx2 = dx3 + 2 * dn2"),
    ("transformer_block", "else att * (datt - (datt * att)", "else att * (datt + (datt * att)"),
]


@pytest.mark.parametrize(("network", "right", "wrong"), MISTAKES, ids=lambda piece: piece[:40])
def test_the_line_of_a_mistake_is_named(tmp_path, network, right, wrong):
    module, line = planted_module(SOURCES[network], tmp_path, right=right, wrong=wrong)
    found = parting(module.loss, module.backprop, module.init_params())
    assert found is not None
    assert found.line == line
    assert f"line {line}" in found.cause


@pytest.mark.parametrize("network", SOURCES)
def test_of_a_right_gradient_nothing_is_said(tmp_path, network):
    module, _ = planted_module(SOURCES[network], tmp_path)
    assert parting(module.loss, module.backprop, module.init_params(), doubt_all=True) is None


def test_what_should_have_been_added_is_named(tmp_path):
    right = 'dW1 = X.T @ dz1 + 0.1 * p["W1"]'
    module, _ = planted_module(MLP, tmp_path, right=right, wrong="dW1 = X.T @ dz1")
    found = parting(module.loss, module.backprop, module.init_params())
    assert "gives only a part of the gradient of W1" in found.cause
    assert "is not added" in found.cause
    assert found.arrays == ("W1",)


def test_a_factor_is_named(tmp_path):
    module, _ = planted_module(MLP, tmp_path, right="db3 = dout.sum(axis=0)", wrong="db3 = dout.mean(axis=0)")
    found = parting(module.loss, module.backprop, module.init_params())
    assert "gives 0.2 times that" in found.cause


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (
            "da1 * (1 - a1**2)",
            "da1 * (1 - z1**2)",
            "it reads `z1` where the value of line {a1}, `a1 =",
        ),
        ('dz2 @ p["W2"].T', 'dz2 @ p["W2"]', "it reads W2 the wrong way round"),
        (
            "db1 = dz1.sum(axis=0)",
            "db1 = dz1.sum(axis=1)",
            "it sums over axis 1; over axis 0, it would give",
        ),
        ("dW2 = a1.T @ dz2", "dW2 = a1.T @ da2", "it reads `da2` where the sensitivity of line {z2}, `z2 = a1 @"),
        ("da2 * (z2 > 0)", "-da2 * (z2 > 0)", "and gives -1 times that"),
    ],
    ids=["value", "transpose", "axis", "sensitivity", "sign"],
)
def test_what_is_wrong_in_the_line_is_said(tmp_path, right, wrong, words):
    square = MLP.replace("size=(5, 4)", "size=(6, 4)").replace("size=(5, 3)", "size=(6, 3)")
    module, line = planted_module(square, tmp_path, right=right, wrong=wrong)
    found = parting(module.loss, module.backprop, module.init_params())
    numbers = {name: line_of(square, f"{name} = ") for name in ("a1", "z2")}
    assert found.line == line
    assert words.format(**numbers) in found.cause


def line_of(source, piece):
    """The number of the first line with a piece of source."""
    return source[: source.index(piece)].count("\n") + 1


def test_a_sum_that_is_read_before_it_is_complete_is_said_to_be_a_part(tmp_path):
    source = MLP.replace("z2 = a1 @", "z2 = a1 + a1 @").replace("da1 = dz2 @ p", "da1 = dz2 + dz2 @ p")
    module, line = planted_module(source, tmp_path, right="da1 = dz2 + dz2 @", wrong="da1 = dz2 @")
    found = parting(module.loss, module.backprop, module.init_params())
    assert found.line == line
    assert "only a part of the sensitivity" in found.cause
    assert "what comes from line" in found.cause


def test_a_slope_left_out_has_no_line_that_computes_something_wrong(tmp_path):
    module, _ = planted_module(MLP, tmp_path, right="dz1 = da1 * (1 - a1**2)", wrong="dz1 = da1")
    assert parting(module.loss, module.backprop, module.init_params()) is None


def test_the_pass_of_a_loop_is_named(tmp_path):
    right = "                if not mistake:\n                    dC[t - 1] += dC[t] * f\n"
    module, _ = planted_module(SOURCES["lstm_buffers"], tmp_path, right=right, wrong="")
    found = parting(module.loss, module.backprop, module.init_params())
    assert "`dC[t] += dHout[t]" in found.cause
    assert "2nd pass of 6" in found.evidence
    assert "what comes from" in found.cause


def test_a_gradient_that_is_wrong_by_one_factor_has_no_wrong_line(tmp_path):
    module, _ = planted_module(COLUMNS, tmp_path)
    assert (
        parting(module.loss, lambda p: {k: 3 * v for k, v in module.backprop(p).items()}, module.init_params()) is None
    )


def test_exchanged_arrays_have_no_wrong_line(tmp_path):
    module, _ = planted_module(
        MLP, tmp_path, right='"b1": db1, "W2": dW2, "b2": db2', wrong='"b1": db2, "W2": dW2, "b2": db1'
    )
    assert parting(module.loss, module.backprop, module.init_params()) is None


def test_numbers_whose_squares_overflow_are_looked_up(tmp_path):
    module, _ = planted_module(MLP, tmp_path)
    params = module.init_params()
    backward = Backward(trace(module.loss, params).engine, pack(params).flat)
    known = KnownArrays(backward)
    assert known.find(1e200 * module.rng.normal(size=(4, 6))) == []
    right = backward.bars[backward.parameters[0]]
    assert known.find(1e200 * right)[0].factor == pytest.approx(1e200)


def test_unrelated_numbers_have_no_wrong_line(tmp_path):
    module, _ = planted_module(MLP, tmp_path, right="dz1 = da1 * (1 - a1**2)", wrong="dz1 = rng.normal(size=z1.shape)")
    assert parting(module.loss, module.backprop, module.init_params()) is None

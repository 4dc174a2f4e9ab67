"""check_layer: layers that are objects with their parameters."""

from __future__ import annotations

from copy import deepcopy

import layer_objects
import numpy as np
import pytest
from layer_objects import STYLES

import gradcheck_fast as gf

rng = np.random.default_rng(7)
X, W, B = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4)
STYLE = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.__name__)
NAMES = {"Lists": ("x", "params[0]", "params[1]"), "Dicts": ("X", "W", "b"),
         "Updates": ("input_data", "weights", "bias"), "OwnRate": ("input_data", "weights", "bias"),
         "ReturnsNothing": ("inputs", "weights", "biases"),
         "Nested": ("x", "layers[0].W", "layers[0].b", "layers[1].W", "layers[1].b")}  # fmt: skip


def made(style, wrong=""):
    return style(W.copy(), B.copy(), wrong)


def contents(value):
    """All that an object holds, to be compared."""
    if isinstance(value, (list, tuple)):
        return [contents(part) for part in value]
    return (
        {name: contents(part) for name, part in vars(value).items()} if hasattr(value, "__dict__") else deepcopy(value)
    )


def names(style):
    return NAMES.get(style.__name__, ("x", "W", "b"))


@STYLE
def test_a_right_layer_passes_and_its_arrays_have_their_names(style):
    report = gf.check_layer(made(style), X)
    assert report.ok, str(report)
    assert tuple(array.name for array in report.arrays) == names(style)
    assert report.method == "chain"


@STYLE
@pytest.mark.parametrize("place, wrong", [(0, "x"), (1, "W"), (2, "b")])
def test_a_mistake_fails_and_the_array_is_named(style, place, wrong):
    report = gf.check_layer(made(style, wrong), X)
    assert [array.name for array in report.arrays if array.status == "wrong"] == [names(style)[place]]


@STYLE
def test_the_layer_is_left_as_it_was(style):
    layer = made(style)
    before, objects = contents(layer), dict(vars(layer))
    gf.check_layer(layer, X)
    np.testing.assert_equal(contents(layer), before)
    assert all(vars(layer)[name] is value for name, value in objects.items())


@STYLE
def test_a_diagnosis_names_the_line_of_the_forward_pass(style):
    report = gf.check_layer(made(style, "tanh"), X)
    assert not report.ok
    assert "tanh" in report.diagnoses[0].cause


def test_notes_say_what_was_taken_for_what():
    said = {style.__name__: " ".join(gf.check_layer(made(style), X).notes) for style in STYLES}
    assert "dW is taken for the gradient of W, db for that of b" in said["KeepsGradients"]
    assert "dLdW is taken for the gradient of W" in said["Derivatives"]
    assert "grads[0] is taken for the gradient of params[0]" in said["Lists"]
    assert "grads['dW'] is taken for the gradient of W" in said["Dicts"]
    assert "W.grad is taken for the gradient of W" in said["Objects"]
    assert "backward adds to grad_W, grad_b, which are set to zero" in said["Accumulates"]
    assert "adds to" not in said["Lists"]
    assert "backward updates weights, bias in place" in said["Updates"]
    assert "output is taken for the output" in said["ReturnsNothing"]
    assert "dinputs is taken for the gradient of inputs" in said["ReturnsNothing"]
    assert "backward returns the gradient of W, b, too" in said["ReturnsAll"]


def test_two_methods_of_one_object_are_that_object():
    layer = made(layer_objects.KeepsGradients)
    report = gf.check_layer(layer.forward, layer.backward, X)
    assert [array.name for array in report.arrays] == ["x", "W", "b"]


class Recurrent:
    """h' = tanh(x W + h U): several inputs, of which the last is optional, and two outputs."""

    def __init__(self, right=True):
        self.W_x, self.W_h, self.h0 = W.copy(), np.eye(4) * 0.3, np.zeros((5, 4))
        self.right = right

    def forward(self, x, h_prev):
        self.x, self.h_prev = x, h_prev
        self.h = np.tanh(x @ self.W_x + h_prev @ self.W_h + self.h0)
        return self.h, self.h**2

    def backward(self, dh, dsquare):
        dz = (dh + dsquare * 2 * self.h) * (1 - self.h**2)
        self.dW_x, self.dW_h = self.x.T @ dz, self.h_prev.T @ dz
        return dz @ self.W_x.T, dz @ (self.W_h.T if self.right else self.W_h * 1.5)


class Buffers:
    """All that it finds lies in arrays of its own, which are filled; the input's gradient is that of the output."""

    def __init__(self, right=True):
        self.W, self.out, self.dW, self.right = W.copy(), np.zeros((5, 4)), np.zeros((3, 4)), right

    def forward(self, x):
        self.x = x
        np.dot(x, self.W, out=self.out)
        self.negative = self.out < 0
        self.out[self.negative] = 0
        return self.out

    def backward(self, dout):
        if self.right:
            dout[self.negative] = 0
        np.dot(self.x.T, dout, out=self.dW)
        return dout @ self.W.T


def test_a_layer_may_fill_buffers_and_write_into_the_gradient():
    layer = Buffers()
    report = gf.check_layer(layer, X)
    assert report.ok, str(report)
    assert not layer.out.any()
    assert not any("it seems to read" in note for note in report.notes)
    assert not gf.check_layer(Buffers(right=False), X)


class Loss:
    """Its backward pass takes the gradient of the output to be 1."""

    def forward(self, scores, labels):
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        self.p = e / e.sum(axis=1, keepdims=True)
        return -np.mean(np.log(self.p[range(len(labels)), labels]))

    def backward(self, dvalue, labels):
        dscores = self.p.copy()
        dscores[range(len(labels)), labels] -= 1
        return dscores / len(labels)


class LossWithoutArguments(Loss):
    def forward(self, scores, labels):
        self.labels = labels
        return super().forward(scores, labels)

    def backward(self):
        return super().backward(1.0, self.labels)


class Forgets(layer_objects.KeepsGradients):
    def backward(self, dout):
        return super().backward(np.ones_like(dout))


def test_a_loss_may_take_its_gradient_to_be_1_and_other_layers_may_not():
    for loss in (Loss(), LossWithoutArguments()):
        report = gf.check_layer(loss, (X, np.array([0, 2, 1, 1, 0])))
        assert report.ok, str(report)
        assert any("that is taken to be 1, as of a loss" in note for note in report.notes)
    report = gf.check_layer(made(Forgets), X)
    assert [array.name for array in report.arrays if array.wrong] == ["x", "W", "b"]


class Private:
    """One parameter is private, the other belongs to the class."""

    scale = np.array([2.0])

    def __init__(self):
        self.__W = W.copy()

    def forward(self, x):
        self.__x = x
        return self.scale * (x @ self.__W)

    def backward(self, dout):
        self.__dW, self.dscale = self.__x.T @ dout * self.scale, (dout * (self.__x @ self.__W)).sum()
        return self.scale * dout @ self.__W.T


def test_private_attributes_and_those_of_the_class():
    report = gf.check_layer(Private(), X)
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["x", "_Private__W", "scale"]
    assert Private.scale == [2.0]


class Table:
    """Rows of a table, whose gradients may be lost where a row is used twice."""

    def __init__(self, right=True):
        self.params, self.grads, self.right = [W.copy()], [np.zeros_like(W)], right

    def forward(self, rows):
        self.rows = rows
        return self.params[0][rows]

    def backward(self, dout):
        self.grads[0][...] = 0
        if self.right:
            np.add.at(self.grads[0], self.rows, dout)
        else:
            self.grads[0][self.rows] = dout


def test_the_inputs_may_all_be_integers():
    rows = np.array([1, 0, 1])
    report = gf.check_layer(Table(), rows)
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["params[0]"]
    assert not gf.check_layer(Table(right=False), rows)


def test_several_inputs_and_outputs_and_an_array_without_gradient():
    inputs = X, rng.standard_normal((5, 4))
    report = gf.check_layer(Recurrent(), inputs)
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["x", "h_prev", "W_x", "W_h"]
    assert "there is no gradient of h0: it is taken as fixed" in report.notes
    report = gf.check_layer(Recurrent(right=False), inputs)
    assert [array.name for array in report.arrays if array.wrong] == ["h_prev"]


class Gates:
    """W_f and W_g are no gradients, though ``_g`` often stands for one."""

    def __init__(self):
        self.W, self.W_g = W.copy(), 0.5 * W

    def forward(self, x):
        self.x = x
        return (x @ self.W) * (x @ self.W_g)

    def backward(self, dout):
        self.dW, self.dW_g = self.x.T @ (dout * (self.x @ self.W_g)), self.x.T @ (dout * (self.x @ self.W))
        return (dout * (self.x @ self.W_g)) @ self.W.T + (dout * (self.x @ self.W)) @ self.W_g.T


def test_an_array_that_the_output_depends_on_is_no_gradient():
    report = gf.check_layer(Gates(), X)
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["x", "W", "W_g"]


# ---- what does not fit


class Unnamed(layer_objects.KeepsGradients):
    def backward(self, dout):
        dx, self.update, self.other = self.back(dout)
        return dx


def test_a_parameter_without_a_gradient_is_an_error_that_says_what_was_looked_for():
    with pytest.raises(
        ValueError, match=r"gradient of W: looked for dW, W_grad, grad_W, grads\['W'\].*update.*gradients="
    ):
        gf.check_layer(made(Unnamed), X)
    report = gf.check_layer(made(Unnamed), X, gradients={"W": "update", "b": None})
    assert [array.name for array in report.arrays] == ["x", "W"]
    assert report.ok
    with pytest.raises(ValueError, match="keeps no array 'w', did you mean 'W'"):
        gf.check_layer(made(Unnamed), X, gradients={"w": "update"})
    with pytest.raises(ValueError, match="there is no array 'updates', did you mean 'update'"):
        gf.check_layer(made(Unnamed), X, gradients={"W": "updates", "b": None})


class Transposed(layer_objects.KeepsGradients):
    def backward(self, dout):
        dx = super().backward(dout)
        self.dW = self.dW.T
        return dx


class TooWide(layer_objects.ReturnsNothing):
    def backward(self, dvalues):
        super().backward(dvalues)
        self.dinputs = dvalues


class NoBackward:
    def forward(self, x):
        return x


class Hidden(layer_objects.Updates):
    def backward_propagation(self, output_error):
        return super().backward_propagation(output_error, 0.1)


class Clips(layer_objects.Updates):
    def backward_propagation(self, output_error, learning_rate):
        before = self.weights.copy()
        found = super().backward_propagation(output_error, learning_rate)
        self.weights = before + np.clip(self.weights - before, -0.5, 0.5)
        return found


ERRORS = [
    (made(Transposed), r"gradient: W: expected the shape \(3, 4\), got \(4, 3\); W looks transposed"),
    (made(TooWide), r"gradient: inputs: expected the shape \(5, 3\), got \(5, 4\)"),
    (NoBackward(), r"NoBackward has no method backward .* check_layer\(layer.forward, "),
    (object(), "object has neither a method forward nor one backward"),
    (np.tanh, r"backward: it is missing|neither a method forward"),
    (lambda x: x, r"backward: it is missing; call check_layer\(forward, backward, inputs\)"),
    (made(Hidden), "changes weights in place, and no learning rate is found"),
    (made(Clips), "its update of weights at learning rate 2 is not twice that at 1"),
]


@pytest.mark.parametrize("layer, said", ERRORS, ids=lambda value: value if isinstance(value, str) else "")
def test_errors_say_what_to_write(layer, said):
    with pytest.raises((TypeError, ValueError), match=said):
        gf.check_layer(layer, X)


def test_exceptions_come_through_and_the_layer_is_left_as_it_was():
    class Raises(layer_objects.Accumulates):
        def backward(self, dout):
            super().backward(dout)
            raise ZeroDivisionError("of the user's")

    layer = made(Raises)
    before = contents(layer)
    with pytest.raises(ZeroDivisionError, match="of the user's"):
        gf.check_layer(layer, X)
    np.testing.assert_equal(contents(layer), before)

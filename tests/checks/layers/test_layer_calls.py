"""check_layer: layers whose backward pass updates their parameters."""

from __future__ import annotations

import layer_objects
import numpy as np

import gradcheck_fast as gf

rng = np.random.default_rng(7)
X, W, B = rng.standard_normal((5, 3)), rng.standard_normal((3, 4)), rng.standard_normal(4)


def made(style, wrong=""):
    return style(W.copy(), B.copy(), wrong)


class Momentum(layer_objects.Updates):
    velocity = 0.0

    def backward_propagation(self, output_error, learning_rate):
        before = self.weights.copy()
        found = super().backward_propagation(output_error, learning_rate)
        self.velocity = 0.9 * self.velocity + (before - self.weights)
        self.weights = before - self.velocity
        return found


class Drops(layer_objects.Updates):
    """The mask is another in each call, unless its random numbers are put back."""

    def forward_propagation(self, input_data):
        self.mask = np.random.rand(*input_data.shape) < 0.7  # noqa: NPY002
        return super().forward_propagation(input_data * self.mask)

    def backward_propagation(self, output_error, learning_rate):
        return self.mask * super().backward_propagation(output_error, learning_rate)


def test_a_random_mask_is_no_momentum():
    report = gf.check_layer(made(Drops), X)
    assert report.ok, str(report)
    assert not any("second update" in note for note in report.notes)


def test_momentum_is_noted():
    report = gf.check_layer(made(Momentum), X)
    assert report.ok
    assert any("a second update of weights with the same data is another" in note for note in report.notes)


class Optimizer:
    def __init__(self):
        self.learning_rate = 0.01

    def update(self, w, gradient):
        return w - self.learning_rate * gradient


class HasOptimizers(layer_objects.Layer):
    def __init__(self, W, b, wrong=""):
        super().__init__(W, b, wrong)
        self.W_opt, self.b_opt = Optimizer(), Optimizer()

    def forward_pass(self, X, training=True):
        self.x, self.out = X, np.tanh(X @ self.W + self.b)
        return self.out

    def backward_pass(self, accum_grad):
        dx, dW, db = self.back(accum_grad)
        self.W, self.b = self.W_opt.update(self.W, dW), self.b_opt.update(self.b, db)
        return dx


def test_learning_rates_of_optimizers_that_the_layer_has():
    assert gf.check_layer(made(HasOptimizers), X)
    report = gf.check_layer(made(HasOptimizers, "b"), X)
    assert [array.name for array in report.arrays if array.wrong] == ["b"]

"""Layers written by hand as objects, in the styles of courses and books; each is tanh(x W + b) or a part of that.

`wrong` plants a mistake: "W", "b" and "x" in the gradient of that, "tanh" in all of them.
"""

import numpy as np


def gradients(dout, x, W, out, wrong):
    """The gradients of x, W and b of out = tanh(x W + b), or of what is wrong."""
    dz = dout if wrong == "tanh" else dout * (1.0 - out**2)
    dW = x.T @ dz * (1.01 if wrong == "W" else 1.0)
    db = dz[0] if wrong == "b" else dz.sum(axis=0)
    return (dout if wrong == "x" else dz) @ W.T, dW, db


class Layer:
    def __init__(self, W, b, wrong=""):
        self.W, self.b, self.wrong = W, b, wrong

    def back(self, dout):
        return gradients(dout, self.x, self.W, self.out, self.wrong)


class KeepsGradients(Layer):
    """dW and db are made in the backward pass."""

    def forward(self, x):
        self.x = x
        self.out = np.tanh(x @ self.W + self.b)
        return self.out

    def backward(self, dout):
        dx, self.dW, self.db = self.back(dout)
        return dx


class Accumulates(KeepsGradients):
    """The gradients are there from the beginning, and added to."""

    def __init__(self, W, b, wrong=""):
        super().__init__(W, b, wrong)
        self.grad_W, self.grad_b = np.ones_like(W), np.zeros_like(b)

    def backward(self, dout):
        dx, dW, db = self.back(dout)
        self.grad_W += dW
        self.grad_b = self.grad_b + db
        return dx


class Derivatives(KeepsGradients):
    """dLdW of CMU's course."""

    def backward(self, dLdA):
        dLdZ, self.dLdW, self.dLdb = self.back(dLdA)
        return dLdZ


class Lists:
    """The parameters in a list, and their gradients in another, whose arrays are filled."""

    def __init__(self, W, b, wrong=""):
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]
        self.wrong = wrong

    def forward(self, x):
        W, b = self.params
        out = np.tanh(np.dot(x, W) + b)
        self.cache = (x, out)
        return out

    def backward(self, dout):
        W, _ = self.params
        x, out = self.cache
        dx, dW, db = gradients(dout, x, W, out, self.wrong)
        self.grads[0][...] = dW
        self.grads[1][...] = db
        return dx


class Dicts:
    """The parameters in a dict, and their gradients in another, which is made anew."""

    def __init__(self, W, b, wrong=""):
        self.params, self.wrong = {"W": W, "b": b}, wrong

    def forward_pass(self, X, training=True):
        self.X, self.out = X, np.tanh(X @ self.params["W"] + self.params["b"])
        return self.out

    def backward_pass(self, accum_grad):
        dX, dW, db = gradients(accum_grad, self.X, self.params["W"], self.out, self.wrong)
        self.grads = {"dW": dW, "db": db}
        return dX


class Parameter:
    def __init__(self, value):
        self.value, self.grad = value, np.zeros_like(value)


class Objects:
    """Each parameter is an object with its gradient."""

    def __init__(self, W, b, wrong=""):
        self.W, self.b, self.wrong = Parameter(W), Parameter(b), wrong

    def __call__(self, x):
        self.x, self.out = x, np.tanh(x @ self.W.value + self.b.value)
        return self.out

    def backward(self, grad):
        dx, dW, db = gradients(grad, self.x, self.W.value, self.out, self.wrong)
        self.W.grad += dW
        self.b.grad += db
        return dx


class Updates:
    """The backward pass updates the parameters."""

    def __init__(self, W, b, wrong=""):
        self.weights, self.bias, self.wrong = W, b, wrong

    def forward_propagation(self, input_data):
        self.input, self.output = input_data, np.tanh(np.dot(input_data, self.weights) + self.bias)
        return self.output

    def backward_propagation(self, output_error, learning_rate):
        input_error, dW, db = gradients(output_error, self.input, self.weights, self.output, self.wrong)
        self.weights -= learning_rate * dW
        self.bias = self.bias - learning_rate * db
        return input_error


class OwnRate(Updates):
    """The same with a learning rate of its own."""

    def __init__(self, W, b, wrong=""):
        super().__init__(W, b, wrong)
        self.lr = 0.01

    def backward_propagation(self, output_error):
        return super().backward_propagation(output_error, self.lr)


class ReturnsNothing:
    """What the passes find is left in attributes."""

    def __init__(self, W, b, wrong=""):
        self.weights, self.biases, self.wrong = W, b, wrong

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.tanh(np.dot(inputs, self.weights) + self.biases)

    def backward(self, dvalues):
        self.dinputs, self.dweights, self.dbiases = gradients(
            dvalues, self.inputs, self.weights, self.output, self.wrong
        )


class ReturnsAll(Layer):
    """The backward pass returns the gradients of the parameters, too, and takes the input."""

    def fprop(self, x):
        return np.tanh(x @ self.W + self.b)

    def bprop(self, x, g):
        return gradients(g, x, self.W, np.tanh(x @ self.W + self.b), self.wrong)


class Lazy(KeepsGradients):
    """The weights are made in the first call."""

    def __init__(self, W, b, wrong=""):
        self._made, self.W, self.b, self.wrong = (W, b), None, None, wrong

    def forward(self, x):
        if self.W is None:
            self.W, self.b = self._made[0].copy(), self._made[1].copy()
        return super().forward(x)


class Nested:
    """A block of layers."""

    def __init__(self, W, b, wrong=""):
        self.layers = [KeepsGradients(W, b, wrong), KeepsGradients(np.eye(len(b)) + 0.1, b.copy())]

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


STYLES = (KeepsGradients, Accumulates, Derivatives, Lists, Dicts, Objects, Updates, OwnRate, ReturnsNothing, ReturnsAll,
          Lazy, Nested)  # fmt: skip

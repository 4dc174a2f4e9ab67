"""Layers in the idioms of courses and books: each is checked in one or two lines, and a mistake in each is found."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

rng = np.random.default_rng(11)
draw = lambda *shape: rng.standard_normal(shape)
IDIOMS = []


def idiom(check):
    """A function of `right` that checks one snippet."""
    IDIOMS.append(check)
    return check


# ---- functions with caches, as assignments of CS231n and of Coursera have them


@idiom
def functions_with_out_and_cache(right):
    def affine_relu_forward(x, w, b):
        a = x.dot(w) + b
        return np.maximum(0, a), (x, w, b, a)

    def affine_relu_backward(dout, cache):
        x, w, _, a = cache
        da = dout * (a > 0) if right else dout
        return da.dot(w.T), x.T.dot(da), np.sum(da, axis=0)

    return gf.check_layer(affine_relu_forward, affine_relu_backward, (draw(6, 5), draw(5, 4), draw(4)))


@idiom
def a_spatial_batchnorm_that_calls_another(right):
    def batchnorm_forward(x, gamma, beta, bn_param):
        mu, var = x.mean(axis=0), x.var(axis=0)
        x_hat = (x - mu) / np.sqrt(var + bn_param.setdefault("eps", 1e-5))
        return gamma * x_hat + beta, (x_hat, gamma, np.sqrt(var + bn_param["eps"]))

    def spatial_forward(x, gamma, beta, bn_param):
        N, C, H, W = x.shape
        out, cache = batchnorm_forward(x.transpose(0, 2, 3, 1).reshape(-1, C), gamma, beta, bn_param)
        return out.reshape(N, H, W, C).transpose(0, 3, 1, 2), cache

    def spatial_backward(dout, cache):
        N, C, H, W = dout.shape
        x_hat, gamma, std = cache
        flat = dout.transpose(0, 2, 3, 1).reshape(-1, C)
        dx_hat = flat * gamma
        dx = (dx_hat - dx_hat.mean(axis=0) - right * x_hat * (dx_hat * x_hat).mean(axis=0)) / std
        return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), (flat * x_hat).sum(axis=0), flat.sum(axis=0)

    return gf.check_layer(spatial_forward, spatial_backward, (draw(3, 2, 4, 5), draw(2), draw(2), {"mode": "train"}))


@idiom
def a_recurrence_over_time_with_a_list_of_caches(right):
    def rnn_forward(x, h0, Wx, Wh, b):
        h, prev, caches = np.zeros((*x.shape[:2], h0.shape[1])), h0, []
        for t in range(x.shape[1]):
            now = np.tanh(x[:, t] @ Wx + prev @ Wh + b)
            caches.append((x[:, t], prev, Wx, Wh, now))
            h[:, t] = prev = now
        return h, caches

    def rnn_backward(dh, cache):
        dx, dprev = np.zeros((*dh.shape[:2], cache[0][0].shape[1])), 0
        dWx, dWh, db = np.zeros_like(cache[0][2]), np.zeros_like(cache[0][3]), 0
        for t in reversed(range(dh.shape[1])):
            x, prev, Wx, Wh, now = cache[t]
            dz = (dh[:, t] + dprev) * (1 - now**2)
            dx[:, t], dprev = dz @ Wx.T, right * dz @ Wh.T
            dWx, dWh, db = dWx + x.T @ dz, dWh + prev.T @ dz, db + dz.sum(axis=0)
        return dx, dz @ Wh.T, dWx, dWh, db

    return gf.check_layer(rnn_forward, rnn_backward, (draw(2, 4, 3), draw(2, 5), draw(3, 5), draw(5, 5), draw(5)))


@idiom
def linear_and_activation_with_columns_as_samples(right):
    def linear_activation_forward(A_prev, W, b, activation):
        Z = np.dot(W, A_prev) + b
        A = 1 / (1 + np.exp(-Z)) if activation == "sigmoid" else np.maximum(0, Z)
        return A, ((A_prev, W, b), Z)

    def linear_activation_backward(dA, cache, activation):
        (A_prev, W, _), Z = cache
        s = 1 / (1 + np.exp(-Z))
        dZ = dA * s * (1 - s) if activation == "sigmoid" else np.array(dA, copy=True)
        return np.dot(W.T, dZ), np.dot(dZ, A_prev.T), np.sum(dZ, axis=1, keepdims=right)[:, :1] if right else dZ[:, :1]

    return gf.check_layer(
        linear_activation_forward, linear_activation_backward, (draw(4, 7), draw(3, 4), draw(3, 1), "sigmoid")
    )


# ---- objects that keep what they need


@idiom
def a_layer_object_with_two_biased_gradients(right):
    class Linear:
        def __init__(self, in_features, out_features):
            self.W, self.b = np.zeros((out_features, in_features)), np.zeros((out_features, 1))

        def forward(self, A):
            self.A, self.N = A, A.shape[0]
            return A @ self.W.T + np.ones((self.N, 1)) @ self.b.T

        def backward(self, dLdZ):
            self.dLdW, self.dLdb = dLdZ.T @ self.A, dLdZ.T @ np.ones((self.N, 1))
            return dLdZ @ (self.W if right else 1 + self.W)

    layer = Linear(4, 3)
    layer.W = draw(3, 4)
    return gf.check_layer(layer, draw(5, 4))


@idiom
def a_layer_with_lists_of_params_and_grads(right):
    class Affine:
        def __init__(self, W, b):
            self.params = [W, b]
            self.grads = [np.zeros_like(W), np.zeros_like(b)]
            self.x = None

        def forward(self, x):
            W, b = self.params
            self.x = x
            return np.dot(x, W) + b

        def backward(self, dout):
            W, _ = self.params
            self.grads[0][...] = np.dot(self.x.T, dout)
            self.grads[1][...] = np.sum(dout, axis=0) if right else dout[0]
            return np.dot(dout, W.T)

    return gf.check_layer(Affine(draw(4, 3), draw(3)), draw(5, 4))


@idiom
def a_convolution_by_columns_with_flags(right):
    class Convolution:
        def __init__(self, W, b, stride=1, pad=0):
            self.W, self.b, self.stride, self.pad = W, b, stride, pad
            self.x = self.col = self.col_W = self.dW = self.db = None

        def columns(self, x):
            n, c, h, w = x.shape
            fh, fw, s, p = *self.W.shape[2:], self.stride, self.pad
            img = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)], "constant")
            oh, ow = (h + 2 * p - fh) // s + 1, (w + 2 * p - fw) // s + 1
            col = np.zeros((n, c, fh, fw, oh, ow))
            for i in range(fh):
                for j in range(fw):
                    col[:, :, i, j] = img[:, :, i : i + s * oh : s, j : j + s * ow : s]
            return col.transpose(0, 4, 5, 1, 2, 3).reshape(n * oh * ow, -1), oh, ow

        def forward(self, x):
            self.x = x
            self.col, oh, ow = self.columns(x)
            self.col_W = self.W.reshape(len(self.W), -1).T
            return (np.dot(self.col, self.col_W) + self.b).reshape(len(x), oh, ow, -1).transpose(0, 3, 1, 2)

        def backward(self, dout):
            dout = dout.transpose(0, 2, 3, 1).reshape(-1, len(self.W))
            self.db = np.sum(dout, axis=0)
            dW = np.dot(self.col.T, dout)
            self.dW = (dW.transpose(1, 0) if right else dW).reshape(self.W.shape)

    return gf.check_layer(Convolution(draw(3, 2, 2, 2), draw(3), stride=2, pad=1), draw(2, 2, 4, 4))


@idiom
def a_layer_of_which_both_passes_return_nothing(right):
    class LayerDense:
        def __init__(self, n_inputs, n_neurons):
            self.weights, self.biases = 0.1 * draw(n_inputs, n_neurons), np.zeros((1, n_neurons))

        def forward(self, inputs):
            self.inputs = inputs
            self.output = np.dot(inputs, self.weights) + self.biases

        def backward(self, dvalues):
            self.dweights = np.dot(self.inputs.T, dvalues)
            self.dbiases = np.sum(dvalues, axis=0, keepdims=True) / (1 if right else len(dvalues))
            self.dinputs = np.dot(dvalues, self.weights.T)

    return gf.check_layer(LayerDense(3, 4), draw(6, 3))


@idiom
def a_layer_that_learns_in_its_backward_pass(right):
    class FCLayer:
        def __init__(self, input_size, output_size):
            self.weights, self.bias = draw(input_size, output_size), draw(1, output_size)

        def forward_propagation(self, input_data):
            self.input = input_data
            return np.dot(self.input, self.weights) + self.bias

        def backward_propagation(self, output_error, learning_rate):
            input_error = np.dot(output_error, self.weights.T)
            self.weights -= learning_rate * np.dot(self.input.T, output_error)
            self.bias -= learning_rate * output_error if right else 2 * learning_rate * output_error
            return input_error

    return gf.check_layer(FCLayer(3, 2), draw(1, 3))


@idiom
def a_softmax_layer_that_learns_from_one_image(right):
    class Softmax:
        def __init__(self, input_len, nodes):
            self.weights, self.biases = draw(input_len, nodes) / input_len, np.zeros(nodes)

        def forward(self, input):
            self.last_input_shape = input.shape
            self.last_input = input = input.flatten()
            exp = np.exp(np.dot(input, self.weights) + self.biases)
            self.last_probabilities = exp / np.sum(exp, axis=0)
            return self.last_probabilities

        def backprop(self, d_L_d_out, learn_rate):
            p = self.last_probabilities
            d_L_d_t = p * (d_L_d_out - right * np.dot(p, d_L_d_out))
            d_L_d_inputs = self.weights @ d_L_d_t
            self.weights -= learn_rate * self.last_input[np.newaxis].T @ d_L_d_t[np.newaxis]
            self.biases -= learn_rate * d_L_d_t
            return d_L_d_inputs.reshape(self.last_input_shape)

    return gf.check_layer(Softmax(12, 5), draw(2, 3, 2))


@idiom
def an_operation_with_the_input_as_an_argument(right):
    class Dense:
        def __init__(self, input_units, output_units):
            self.learning_rate, self.weights, self.biases = 0.1, draw(input_units, output_units), np.zeros(output_units)

        def forward(self, input):
            return np.dot(input, self.weights) + self.biases

        def backward(self, input, grad_output):
            grad_input = np.dot(grad_output, self.weights.T)
            grad_weights = np.dot(input.T, grad_output)
            self.weights = self.weights - self.learning_rate * grad_weights
            self.biases = self.biases - self.learning_rate * grad_output.sum(axis=0)
            return grad_input if right else 0.5 * grad_input

    return gf.check_layer(Dense(3, 4), draw(6, 3))


@idiom
def a_network_that_trains_in_place(right):
    class NeuralNetwork:
        def __init__(self, x, y):
            self.input, self.y = x, y
            self.weights1, self.weights2 = draw(x.shape[1], 4), draw(4, 1)

        def feedforward(self):
            self.layer1 = 1 / (1 + np.exp(-np.dot(self.input, self.weights1)))
            self.output = 1 / (1 + np.exp(-np.dot(self.layer1, self.weights2)))

        def loss(self):
            self.feedforward()
            return np.sum((self.y - self.output) ** 2)

        def backprop(self):
            self.feedforward()
            d = 2 * (self.y - self.output) * self.output * (1 - self.output)
            d_weights2 = np.dot(self.layer1.T, d)
            slope = self.layer1 * (1 - self.layer1) if right else 1 - self.layer1
            d_weights1 = np.dot(self.input.T, np.dot(d, self.weights2.T) * slope)
            self.weights1 += d_weights1
            self.weights2 += d_weights2

    net = NeuralNetwork(draw(6, 3), (draw(6, 1) > 0) * 1.0)
    return gf.check_training_step(net.backprop, net.loss, net, learning_rate=1)


CHECK = pytest.mark.parametrize("check", IDIOMS, ids=lambda check: check.__name__)


@CHECK
def test_the_right_one_passes(check):
    report = check(True)
    assert report.ok, str(report)


@CHECK
def test_one_with_a_mistake_fails(check):
    report = check(False)
    assert report.wrong > 0, str(report)

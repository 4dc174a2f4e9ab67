"""Two layers in NumPy with batch normalisation between them, in training mode, and softmax with cross-entropy.

The back-propagation is written by hand. The planted mistake takes the mean and the variance of the batch for constants,
so it divides by the standard deviation and stops there.
"""

import numpy as np

import gradcheck_fast as gf

rng = np.random.default_rng(2)
X = rng.normal(size=(12, 4))
y = rng.integers(0, 3, 12)


def affine_forward(x, w, b):
    return x.dot(w) + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout.dot(w.T), x.T.dot(dout), dout.sum(axis=0)


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mu = np.mean(x, axis=0)
    xmu = x - mu
    var = np.mean(xmu**2, axis=0)
    std = np.sqrt(var + eps)
    xhat = xmu / std
    bn_param["running_mean"] = momentum * bn_param.get("running_mean", 0) + (1 - momentum) * mu
    bn_param["running_var"] = momentum * bn_param.get("running_var", 0) + (1 - momentum) * var
    return gamma * xhat + beta, (xhat, gamma, std)


def batchnorm_backward(dout, cache, mistake=False):
    xhat, gamma, std = cache
    N = dout.shape[0]
    dbeta = np.sum(dout, axis=0)
    dgamma = np.sum(dout * xhat, axis=0)
    dxhat = dout * gamma
    if mistake:
        return dxhat / std, dgamma, dbeta
    dx = (N * dxhat - np.sum(dxhat, axis=0) - xhat * np.sum(dxhat * xhat, axis=0)) / (N * std)
    return dx, dgamma, dbeta


def relu_forward(x):
    return np.maximum(0, x), x


def relu_backward(dout, x):
    return dout * (x > 0)


def softmax_loss(scores, y):
    shifted = scores - np.max(scores, axis=1, keepdims=True)
    log_probs = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    N = scores.shape[0]
    loss = -np.sum(log_probs[np.arange(N), y]) / N
    dscores = np.exp(log_probs)
    dscores[np.arange(N), y] -= 1
    return loss, dscores / N


class TwoLayerNet:
    def __init__(self, params, reg=0.01):
        self.params = params
        self.reg = reg
        self.bn_param = {"mode": "train"}

    def loss(self, X, y, mistake=False):
        p = self.params
        z1, affine1 = affine_forward(X, p["W1"], p["b1"])
        n1, bn1 = batchnorm_forward(z1, p["gamma"], p["beta"], self.bn_param)
        a1, relu1 = relu_forward(n1)
        scores, affine2 = affine_forward(a1, p["W2"], p["b2"])
        loss, dscores = softmax_loss(scores, y)
        loss += 0.5 * self.reg * (np.sum(p["W1"] ** 2) + np.sum(p["W2"] ** 2))

        grads = {}
        da1, grads["W2"], grads["b2"] = affine_backward(dscores, affine2)
        dn1 = relu_backward(da1, relu1)
        dz1, grads["gamma"], grads["beta"] = batchnorm_backward(dn1, bn1, mistake)
        _, grads["W1"], grads["b1"] = affine_backward(dz1, affine1)
        grads["W1"] += self.reg * p["W1"]
        grads["W2"] += self.reg * p["W2"]
        return loss, grads


def loss(params):
    return TwoLayerNet(params).loss(X, y)[0]


def backprop(params, mistake=False):
    return TwoLayerNet(params).loss(X, y, mistake)[1]


def init_params(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "W1": rng.normal(size=(4, 6)), "b1": np.zeros(6),  # b1 is subtracted again with the mean
        "gamma": rng.uniform(0.5, 1.5, 6), "beta": 0.3 * rng.normal(size=6),
        "W2": rng.normal(size=(6, 3)), "b2": np.zeros(3),
    }  # fmt: skip


def main():
    params = init_params()
    right = gf.gradcheck(loss, backprop, params)
    print(right)
    print("\nNow with a mistake planted: the batch's mean and variance are taken for constants.\n")
    wrong = gf.gradcheck(loss, lambda p: backprop(p, mistake=True), params)
    print(wrong)
    return right, wrong


if __name__ == "__main__":
    main()
